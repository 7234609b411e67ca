// SPDX-License-Identifier: BSD-2-Clause
// Everything below a collection, removed or copied (DELETE, COPY, and what an overwriting MOVE does first).
// Worker context: sleeps, and takes as long as there are members; each member is a transaction of its own.
// The walk keeps a stack of levels, no recursion: directories may be nested as deep as a path has
// room. Names come from a directory in batches, because nothing may be changed while it is read
// (inode_read_dir); a batch ends with a directory, which is then gone into.
//
//	remove:  batch: files go at once; the directory: its level; at its end it goes itself
//	copy:    batch: files are copied;  the directory: is made, its level
//
// A member that fails stays, is named in the 207, and the walk goes on, unless the volume has failed.
#include "fs/name.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "server/http_change.h"

#define DEPTH_MAX     2048 // of a path of HTTP_PATH_MAX bytes with names of one letter
#define BATCH_BYTES   16384
#define FAILURES_MOST 1000 // then the walk ends

struct level {
	struct inode *dir, *to; // references; to: of a copy
	uint64_t cursor;
	uint32_t failures; // in all, when the level was begun
	uint16_t path_len, to_len;
	bool changed; // something was removed since cursor was 0
};

struct member { // in the batch, one behind the other
	uint64_t number;
	uint8_t type, len; // enum inode_type
	char name[];
};

struct walk {
	struct http_change *c;
	struct level *levels; // kpages
	unsigned depth, room;
	uint64_t made; // what a copy began with: the new collection's inode
	size_t batch_len;
	uint16_t path_len, to_len;
	char path[HTTP_PATH_MAX], to[HTTP_PATH_MAX];
	_Alignas(8) char batch[BATCH_BYTES]; // struct member
};

static struct walk *walk_new(struct http_change *c)
{
	struct walk *w = kpages_alloc(sizeof(*w));

	if (!w)
		return NULL;
	w->c = c;
	w->depth = 0;
	w->room = PAGE_SIZE / sizeof(struct level);
	w->levels = kpages_alloc(PAGE_SIZE);
	if (!w->levels) {
		kpages_free(w, sizeof(*w));
		return NULL;
	}
	return w;
}

static struct level *top(struct walk *w)
{
	return &w->levels[w->depth - 1];
}

static void pop(struct walk *w)
{
	inode_put(top(w)->dir);
	if (top(w)->to)
		inode_put(top(w)->to);
	w->depth--;
	if (w->depth) {
		w->path_len = top(w)->path_len;
		w->to_len = top(w)->to_len;
	}
}

static void walk_free(struct walk *w)
{
	while (w->depth)
		pop(w);
	kpages_free(w->levels, w->room * sizeof(struct level));
	kpages_free(w, sizeof(*w));
}

// The references are the level's, also when there is no room for it.
static int push(struct walk *w, struct inode *dir, struct inode *to)
{
	if (w->depth == w->room) {
		size_t bytes = w->room * sizeof(struct level);
		struct level *more = w->room < DEPTH_MAX ? kpages_alloc(2 * bytes) : NULL;
		if (!more) {
			inode_put(dir);
			if (to)
				inode_put(to);
			return -ENOMEM;
		}
		memcpy(more, w->levels, bytes);
		kpages_free(w->levels, bytes);
		w->levels = more;
		w->room *= 2;
	}
	w->levels[w->depth++] = (struct level){.dir = dir,
					       .to = to,
					       .failures = w->c->failures.count,
					       .path_len = w->path_len,
					       .to_len = w->to_len};
	return 0;
}

static bool append(char *path, uint16_t *len, const char *name, size_t n)
{
	size_t at = *len + (*len > 0);

	if (at + n > HTTP_PATH_MAX)
		return false;
	if (*len)
		path[*len] = '/';
	memcpy(path + at, name, n);
	*len = (uint16_t)(at + n);
	return true;
}

static void failed(struct walk *w, bool collection, int error)
{
	http_change_failed(w->c, w->path, w->path_len, collection, http_change_status(error));
}

// Nothing further can succeed.
static bool hopeless(const struct walk *w, int error)
{
	return error == -EROFS || error == -ENOSPC || w->c->failures.count >= FAILURES_MOST;
}

static bool collect(void *ctx, const struct dir_entry *entry)
{
	struct walk *w = ctx;
	struct member *m = (struct member *)(w->batch + w->batch_len);

	m->number = entry->number;
	m->type = (uint8_t)entry->type;
	m->len = entry->name_len;
	memcpy(m->name, entry->name, entry->name_len);
	w->batch_len += ALIGN_UP(sizeof(*m) + m->len, 8UL);
	return entry->type != INODE_DIRECTORY &&
	       w->batch_len + ALIGN_UP(sizeof(*m) + 255, 8UL) <= BATCH_BYTES;
}

static int next_batch(struct walk *w)
{
	w->batch_len = 0;
	return inode_read_dir(top(w)->dir, &top(w)->cursor, collect, w);
}

// ---- remove ------------------------------------------------------------------------------------------

// A directory with members: they go first.
static int enter_to_remove(struct walk *w, uint64_t number)
{
	struct inode *dir;
	int error = inode_open(http_root, number, &dir);

	if (error == 0 && http_change_hides(dir)) {
		inode_put(dir);
		error = -EPERM;
	}
	return error ? error : push(w, dir, NULL);
}

// A name in the innermost directory, whose path is the first `path_len` bytes of w->path.
static int remove_name(struct walk *w, uint16_t path_len, const char *name, size_t len)
{
	int error = http_change_unlocked_still(w->c, w->path, path_len, DAV_ITSELF);

	if (error == 0)
		error = name_remove(top(w)->dir, name, len);
	if (error == 0)
		http_change_gone(w->path, path_len);
	return error;
}

static int remove_member(struct walk *w, const struct member *m)
{
	uint16_t len = top(w)->path_len;
	int error;

	w->path_len = len;
	if (!append(w->path, &w->path_len, m->name, m->len))
		return -ENAMETOOLONG;
	if (!http_change_may(w->c, w->path, w->path_len, RIGHT_ERASE))
		error = -EPERM;
	else
		error = remove_name(w, w->path_len, m->name, m->len);
	if (error == -ENOENT) // somebody else was faster
		error = 0;
	if (error == 0)
		top(w)->changed = true;
	if (error == -ENOTEMPTY && m->type == INODE_DIRECTORY)
		error = enter_to_remove(w, m->number);
	if (error)
		failed(w, m->type == INODE_DIRECTORY, error);
	return error;
}

static int remove_batch(struct walk *w)
{
	int error = 0;

	for (size_t at = 0; at < w->batch_len && !hopeless(w, error);) {
		const struct member *m = (const struct member *)(w->batch + at);
		at += ALIGN_UP(sizeof(*m) + m->len, 8UL);
		error = remove_member(w, m);
	}
	return error;
}

// The level is at its end: its directory is empty, or what is left in it has failed. Its name goes where its
// parent's batch would have dealt with it.
static void leave_removed(struct walk *w)
{
	uint32_t failures = top(w)->failures;
	uint16_t len = top(w)->path_len, from;
	int error;

	pop(w);
	if (!w->depth || w->c->failures.count != failures)
		return;
	from = w->path_len ? (uint16_t)(w->path_len + 1) : 0;
	error = remove_name(w, len, w->path + from, len - from);
	w->path_len = len;
	if (error && error != -ENOENT)
		failed(w, true, error);
	else
		top(w)->changed = true;
}

// Below the top level. Entries that others add meanwhile are met by another round.
static void remove_all(struct walk *w)
{
	int error = 0;

	while (w->depth && !hopeless(w, error)) {
		struct level *level = top(w);
		w->path_len = level->path_len;
		error = next_batch(w);
		if (error) {
			failed(w, true, error);
			pop(w);
		} else if (w->batch_len) {
			error = remove_batch(w);
		} else if (level->changed && level->failures == w->c->failures.count) {
			level->changed = false;
			level->cursor = 0;
		} else {
			leave_removed(w);
		}
	}
}

int http_tree_remove(struct http_change *c, const char *path, size_t len, const struct inode *only)
{
	struct inode *parent, *dir;
	struct walk *w;
	const char *name;
	size_t name_len;
	int error = http_change_parent(path, len, &parent, &name, &name_len);

	if (error)
		return error;
	error = name_remove_if(parent, name, name_len, only);
	if (error == -ENOTEMPTY) {
		w = walk_new(c);
		error = w ? name_find_wait(http_root, path, len, &dir) : -ENOMEM;
		if (w && error == 0) {
			memcpy(w->path, path, len);
			w->path_len = (uint16_t)len;
			error = push(w, dir, NULL);
			remove_all(w);
		}
		if (w)
			walk_free(w);
		if (error == 0 && !c->failures.count)
			error = name_remove(parent, name, name_len);
	}
	inode_put(parent);
	return error;
}

// ---- copy --------------------------------------------------------------------------------------------

static int copy_link(struct inode *from, struct inode *dir, const char *name, size_t len)
{
	struct inode *made;
	char *target = kpages_alloc(PAGE_SIZE);
	int n, error;

	if (!target)
		return -ENOMEM;
	n = inode_read_link(from, target, PAGE_SIZE);
	error = n < 0 ? n : symlink_create(dir, name, len, target, (size_t)n, &made);
	kpages_free(target, PAGE_SIZE);
	if (error == 0)
		inode_put(made);
	return error;
}

static int copy_regular(struct inode *from, struct inode *dir, const char *name, size_t len,
			unsigned mode)
{
	struct inode *made;
	int error = file_create(dir, from->mode, &made);

	if (error)
		return error;
	error = http_file_copy(from, made);
	if (error == 0)
		error = file_link(dir, name, len, made, mode);
	inode_put(made);
	return error;
}

static int copy_directory(struct walk *w, struct inode *from, struct inode *dir, const char *name,
			  size_t len)
{
	struct inode *made;
	int error;

	if (!http_change_may(w->c, w->path, w->path_len, RIGHT_LIST))
		return -EPERM;
	error = dir_create(dir, name, len, from->mode, &made);
	if (error)
		return error;
	if (!w->depth)
		w->made = made->number;
	error = http_properties_copy(from, made);
	if (error) {
		inode_put(made);
		return error;
	}
	inode_get(from);
	return push(w, from, made);
}

static int copy_member(struct walk *w, const struct member *m)
{
	struct level *level = top(w);
	struct inode *from;
	int error;

	w->path_len = level->path_len;
	w->to_len = level->to_len;
	if (!append(w->path, &w->path_len, m->name, m->len) ||
	    !append(w->to, &w->to_len, m->name, m->len))
		return -ENAMETOOLONG;
	if (m->number == w->made) // a link led the copy into what is copied
		return 0;
	if (!http_change_may(w->c, w->path, w->path_len, RIGHT_READ) ||
	    !http_change_may(w->c, w->to, w->to_len, RIGHT_CREATE))
		return -EPERM;
	error = inode_open(http_root, m->number, &from);
	if (error)
		return error == -ENOENT ? 0 : error; // removed meanwhile
	if (http_change_hides(from)) // by a hard link to it, or below a symbolic one
		error = -EPERM;
	else if (from->type == INODE_DIRECTORY)
		error = copy_directory(w, from, level->to, m->name, m->len);
	else if (from->type == INODE_FILE)
		error = copy_regular(from, level->to, m->name, m->len, NAME_NEW);
	else if (from->type == INODE_SYMLINK)
		error = copy_link(from, level->to, m->name, m->len);
	else
		error = -EPERM;
	inode_put(from);
	return error;
}

static void copy_batch(struct walk *w, int *error)
{
	*error = 0;
	for (size_t at = 0; at < w->batch_len && !hopeless(w, *error);) {
		const struct member *m = (const struct member *)(w->batch + at);
		at += ALIGN_UP(sizeof(*m) + m->len, 8UL);
		*error = copy_member(w, m);
		if (*error)
			http_change_failed(w->c, w->to, w->to_len, m->type == INODE_DIRECTORY,
					   http_change_status(*error));
	}
}

static int copy_tree(struct http_change *c, struct inode *from, struct inode *dir, const char *name,
		     size_t len)
{
	struct walk *w = walk_new(c);
	int error, unused = 0;

	if (!w)
		return -ENOMEM;
	memcpy(w->path, c->path, c->path_len);
	memcpy(w->to, c->to, c->to_len);
	w->path_len = c->path_len;
	w->to_len = c->to_len;
	error = copy_directory(w, from, dir, name, len);
	while (c->deep && w->depth && !hopeless(w, unused)) {
		unused = next_batch(w);
		if (unused)
			failed(w, true, unused);
		if (unused || !w->batch_len)
			pop(w);
		else
			copy_batch(w, &unused);
	}
	walk_free(w);
	return error;
}

int http_tree_copy(struct http_change *c, struct inode *from, unsigned mode)
{
	struct inode *dir;
	const char *name;
	size_t len;
	int error = http_change_parent(c->to, c->to_len, &dir, &name, &len);

	if (error)
		return error;
	if (from->type == INODE_DIRECTORY)
		error = copy_tree(c, from, dir, name, len);
	else
		error = copy_regular(from, dir, name, len, mode);
	inode_put(dir);
	return error;
}
