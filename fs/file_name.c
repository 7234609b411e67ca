// SPDX-License-Identifier: BSD-2-Clause
// Names: given to files, taken away, moved; each in one transaction (POSIX link, unlink, rmdir, rename). What
// look-ups remember of a name is forgotten before the volume's lock goes, so that nobody learns the old
// truth afterwards; who loses its last name is deleted with its last use. Thread or worker context.
#include "fs/file_change.h"

#include "kernel/panic.h"

#define DEPTH_MAX 100000 // directories above one: a walk up that takes longer goes in a circle

// Where a change happens: a name in a directory, and what it leads to now.
struct place {
	struct inode *dir;
	const char *name;
	size_t len;
	struct inode *inode; // with a reference; null: nothing
};

static int look(struct change *c, struct place *place)
{
	int error = change_dir(c, place->dir);
	if (!error)
		error = change_look(place->dir, place->name, place->len, &place->inode);
	if (error || !place->inode)
		return error;
	change_inode(c, place->inode);
	uint64_t root = volume_filesystem(place->dir->volume)->root_inode;
	return place->inode->number == root ? -EUCLEAN : 0; // it is in no directory
}

static void forget(const struct place *place)
{
	const struct inode *was = place->inode;
	bool way = was && (was->type == INODE_DIRECTORY || was->type == INODE_SYMLINK);
	(way ? name_forget : name_forget_leaf)(place->dir->volume, place->dir->number, place->name,
					       place->len);
}

// What was there lost a name: what others keep of it (heads, paths) counts no more.
static void lost_name(struct inode *inode)
{
	inode_changed(inode);
	if (inode->type == INODE_DIRECTORY)
		name_forget(inode->volume, inode->number, "..", 2);
}

static void put(struct inode *inode)
{
	if (inode)
		inode_put(inode);
}

// The name leads to `inode` now: one that was free, or one that led to something else before.
static int lead_to(struct change *c, struct place *place, struct inode *inode)
{
	const struct filesystem_writing *format = c->format;
	if (!place->inode)
		return format->add_name(&c->t, place->dir, place->name, place->len, inode->number,
					inode->type);
	int error = format->change_name(&c->t, place->dir, place->name, place->len, inode->number,
					inode->type);
	return error ? error : change_unlink(c, place->inode);
}

// ---- link ----

struct condition { // null: none
	uint64_t number;
	uint32_t generation;
};

static int check_link(const struct place *place, const struct inode *file, unsigned mode,
		      const struct condition *condition)
{
	const struct inode *there = place->inode;
	if (condition && (there ? there->number : 0) != condition->number)
		return -ESTALE;
	if (condition && there && there->generation != condition->generation)
		return -ESTALE;
	if (there && !(mode & NAME_REPLACE))
		return -EEXIST;
	if (there && there->type == INODE_DIRECTORY)
		return -EISDIR;
	return there == file; // 1: nothing is to be done
}

static int try_link(struct place *place, struct inode *file, unsigned mode,
		    const struct condition *condition)
{
	struct change c;
	int error = change_check_name(place->name, place->len);
	if (!error && file->type == INODE_DIRECTORY)
		error = -EPERM;
	if (!error && file->volume != place->dir->volume)
		error = -EXDEV;
	if (!error)
		error = change_begin(&c, file->volume, CHANGE_ADD_NAME, CHANGE_INODE, CHANGE_ORPHAN,
				     CHANGE_INODE, CHANGE_ORPHAN, CHANGE_END);
	if (error)
		return error;
	change_inode(&c, file);
	error = look(&c, place);
	if (!error)
		error = check_link(place, file, mode, condition);
	bool same = error > 0;
	if (!error)
		error = lead_to(&c, place, file);
	if (!error)
		error = change_link(&c, file);
	if (!error) {
		forget(place);
		if (place->inode)
			lost_name(place->inode);
	}
	error = change_end(&c, same ? 0 : error);
	put(place->inode);
	return error;
}

static int link(struct place *place, struct inode *file, unsigned mode,
		const struct condition *condition)
{
	unsigned tries = 0;
	int error;
	do {
		place->inode = NULL;
		error = try_link(place, file, mode, condition);
	} while (change_again(file->volume, &error, &tries));
	return error;
}

int file_link(struct inode *dir, const char *name, size_t len, struct inode *file, unsigned mode)
{
	struct place place = {.dir = dir, .name = name, .len = len};
	return link(&place, file, mode, NULL);
}

int file_link_if(struct inode *dir, const char *name, size_t len, struct inode *file,
		 uint64_t expected, uint32_t generation)
{
	struct place place = {.dir = dir, .name = name, .len = len};
	const struct condition condition = {.number = expected, .generation = generation};
	return link(&place, file, NAME_REPLACE, &condition);
}

// ---- remove ----

static int must_be_empty(struct change *c, struct inode *dir)
{
	int empty = c->format->dir_is_empty(dir);
	return empty > 0 ? 0 : empty ? empty : -ENOTEMPTY;
}

int name_remove_if(struct inode *dir, const char *name, size_t len, const struct inode *expected)
{
	struct place place = {.dir = dir, .name = name, .len = len};
	struct change c;
	int error = change_check_name(name, len);
	if (!error)
		error = change_begin(&c, dir->volume, CHANGE_REMOVE_NAME, CHANGE_INODE,
				     CHANGE_ORPHAN, CHANGE_END);
	if (error)
		return error;
	error = look(&c, &place);
	if (!error && !place.inode)
		error = -ENOENT;
	if (!error && expected && place.inode != expected)
		error = -ESTALE;
	bool is_dir = !error && place.inode->type == INODE_DIRECTORY;
	if (is_dir)
		error = must_be_empty(&c, place.inode);
	if (!error && is_dir)
		error = change_subdirectories(&c, dir, -1);
	if (!error)
		error = c.format->remove_name(&c.t, dir, name, len);
	if (!error)
		error = change_unlink(&c, place.inode);
	if (!error) {
		forget(&place);
		lost_name(place.inode);
	}
	error = change_end(&c, error);
	put(place.inode);
	return error;
}

int name_remove(struct inode *dir, const char *name, size_t len)
{
	return name_remove_if(dir, name, len, NULL);
}

// ---- rename ----

// 1 if `dir` is `above` or lies somewhere under it, 0 if not, or an error.
static int is_under(struct inode *dir, const struct inode *above)
{
	uint64_t root = volume_filesystem(dir->volume)->root_inode;
	struct inode *at = dir;
	inode_get(at);
	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		struct inode *parent;
		bool found = at == above;
		if (found || at->number == root) {
			inode_put(at);
			return found;
		}
		int error = change_look(at, "..", 2, &parent);
		inode_put(at);
		if (error || !parent)
			return error ? error : -EUCLEAN;
		at = parent;
	}
	inode_put(at);
	return -EUCLEAN;
}

// 0, an error, or 1: nothing is to be done.
static int check_rename(struct change *c, const struct place *from, const struct place *to,
			unsigned mode, const struct inode *expected)
{
	const struct inode *moves = from->inode;
	if (!moves)
		return -ENOENT;
	if (expected && moves != expected)
		return -ESTALE;
	if (moves == to->inode)
		return 1;
	if (moves->type == INODE_DIRECTORY) {
		int under = is_under(to->dir, moves);
		if (under)
			return under > 0 ? -EINVAL : under;
	}
	if (!to->inode)
		return 0;
	if (!(mode & NAME_REPLACE))
		return -EEXIST;
	if (to->inode->type != INODE_DIRECTORY)
		return moves->type == INODE_DIRECTORY ? -ENOTDIR : 0;
	return moves->type == INODE_DIRECTORY ? must_be_empty(c, to->inode) : -EISDIR;
}

// A directory leaves one and comes to another, perhaps in an empty one's place.
static int move_links(struct change *c, const struct place *from, const struct place *to)
{
	if (from->inode->type != INODE_DIRECTORY)
		return 0;
	int error = change_subdirectories(c, from->dir, -1);
	if (!error && !to->inode)
		error = change_subdirectories(c, to->dir, 1);
	if (!error && from->dir != to->dir)
		error = c->format->change_name(&c->t, from->inode, "..", 2, to->dir->number,
					       INODE_DIRECTORY);
	return error;
}

static int rename(struct change *c, struct place *from, struct place *to)
{
	int error = move_links(c, from, to);
	if (!error)
		error = lead_to(c, to, from->inode);
	if (!error)
		error = c->format->remove_name(&c->t, from->dir, from->name, from->len);
	return error ? error : c->format->write_inode(&c->t, from->inode);
}

static void forget_renamed(const struct place *from, const struct place *to)
{
	forget(from);
	forget(to);
	if (from->inode->type == INODE_DIRECTORY)
		name_forget(from->inode->volume, from->inode->number, "..", 2);
	if (to->inode)
		lost_name(to->inode);
}

static int try_rename(struct place from, struct place to, unsigned mode,
		      const struct inode *expected)
{
	struct change c;
	int error = change_check_name(from.name, from.len);
	if (!error)
		error = change_check_name(to.name, to.len);
	if (!error && from.dir->volume != to.dir->volume)
		error = -EXDEV;
	if (!error)
		error = change_begin(&c, from.dir->volume, CHANGE_REMOVE_NAME, CHANGE_ADD_NAME,
				     CHANGE_REMOVE_NAME, CHANGE_INODE, CHANGE_ORPHAN, CHANGE_INODE,
				     CHANGE_END);
	if (error)
		return error;
	error = look(&c, &from);
	if (!error)
		error = look(&c, &to);
	if (!error)
		error = check_rename(&c, &from, &to, mode, expected);
	bool same = error > 0;
	if (!error)
		error = rename(&c, &from, &to);
	if (!error)
		forget_renamed(&from, &to);
	error = change_end(&c, same ? 0 : error);
	put(from.inode);
	put(to.inode);
	return error;
}

int name_rename_if(struct inode *from_dir, const char *from_name, size_t from_len,
		   struct inode *to_dir, const char *to_name, size_t to_len, unsigned mode,
		   const struct inode *expected)
{
	struct place from = {.dir = from_dir, .name = from_name, .len = from_len};
	struct place to = {.dir = to_dir, .name = to_name, .len = to_len};
	unsigned tries = 0;
	int error;
	do
		error = try_rename(from, to, mode, expected);
	while (change_again(from_dir->volume, &error, &tries));
	return error;
}

int name_rename(struct inode *from_dir, const char *from, size_t from_len, struct inode *to_dir,
		const char *to, size_t to_len, unsigned mode)
{
	return name_rename_if(from_dir, from, from_len, to_dir, to, to_len, mode, NULL);
}
