// SPDX-License-Identifier: BSD-2-Clause
// Names on volumes that programs make, change and remove.
#include "fs/file.h"
#include "fs/name.h"
#include "fs/userfile.h"
#include "kernel/kstring.h"

int userfile_parent(const char *path, size_t len, struct inode **dir, const char **name,
		    size_t *name_len)
{
	size_t start = len;
	int error;

	while (start && path[start - 1] != '/')
		start--;
	*name = path + start;
	*name_len = len - start;
	if (!*name_len)
		return -EINVAL;
	error = userfile_find(path, start ? start - 1 : 0, true, dir);
	if (!error && (*dir)->type != INODE_DIRECTORY) {
		inode_put(*dir);
		error = -ENOTDIR;
	}
	return error;
}

enum what { NEW_FILE, NEW_DIRECTORY, NEW_LINK, NEW_SYMLINK };
struct new_name {
	enum what what;
	uint32_t mode;
	struct inode *inode; // NEW_LINK: of what; the others: what was made, with a reference
	const char *target;  // NEW_SYMLINK
	size_t target_len;
};

static int make_file(struct inode *dir, const char *name, size_t len, struct new_name *new)
{
	int error = file_create(dir, (uint16_t) new->mode, &new->inode);

	if (error)
		return error;
	error = file_link(dir, name, len, new->inode, NAME_NEW);
	if (error)
		inode_put(new->inode);
	return error;
}

static int make(const char *path, size_t len, struct new_name *new)
{
	struct inode *dir;
	const char *name;
	size_t name_len;
	int error = userfile_parent(path, len, &dir, &name, &name_len);

	if (error)
		return error == -EINVAL ? -EEXIST : error;
	if (new->what == NEW_FILE)
		error = make_file(dir, name, name_len, new);
	else if (new->what == NEW_DIRECTORY)
		error = dir_create(dir, name, name_len, (uint16_t) new->mode, &new->inode);
	else if (new->what == NEW_SYMLINK)
		error =
		    symlink_create(dir, name, name_len, new->target, new->target_len, &new->inode);
	else
		error = new->inode->volume != dir->volume
			    ? -EXDEV
			    : file_link(dir, name, name_len, new->inode, NAME_NEW);
	inode_put(dir);
	return error;
}

int userfile_create(const char *path, size_t len, uint32_t mode, struct inode **out)
{
	struct new_name new = {.what = NEW_FILE, .mode = mode};
	int error = make(path, len, &new);

	*out = new.inode;
	return error;
}

int userfile_make_dir(const char *path, size_t len, uint32_t mode)
{
	struct new_name new = {.what = NEW_DIRECTORY, .mode = mode};
	int error = make(path, len, &new);

	if (!error)
		inode_put(new.inode);
	return error;
}

int userfile_symlink(const char *target, size_t target_len, const char *path, size_t len)
{
	struct new_name new = {.what = NEW_SYMLINK, .target = target, .target_len = target_len};
	int error = make(path, len, &new);

	if (!error)
		inode_put(new.inode);
	return error;
}

int userfile_link(const char *from, size_t from_len, bool follow, const char *to, size_t to_len)
{
	struct new_name new = {.what = NEW_LINK};
	int error = userfile_find(from, from_len, follow, &new.inode);

	if (error)
		return error;
	error = make(to, to_len, &new);
	inode_put(new.inode);
	return error;
}

int userfile_remove(const char *path, size_t len, bool directory)
{
	struct inode *dir, *inode;
	const char *name;
	size_t name_len;
	int error = userfile_parent(path, len, &dir, &name, &name_len);

	if (error)
		return error == -EINVAL ? -EBUSY : error;
	error = userfile_find(path, len, false, &inode);
	if (!error) {
		if (directory && inode->type != INODE_DIRECTORY)
			error = -ENOTDIR;
		else if (!directory && inode->type == INODE_DIRECTORY)
			error = -EISDIR;
		inode_put(inode);
	}
	if (!error)
		error = name_remove(dir, name, name_len);
	inode_put(dir);
	return error;
}

int userfile_rename(const char *from, size_t from_len, const char *to, size_t to_len,
		    bool no_replace)
{
	struct inode *from_dir, *to_dir;
	const char *from_name, *to_name;
	size_t from_name_len, to_name_len;
	int error = userfile_parent(from, from_len, &from_dir, &from_name, &from_name_len);

	if (error)
		return error == -EINVAL ? -EBUSY : error;
	error = userfile_parent(to, to_len, &to_dir, &to_name, &to_name_len);
	if (!error) {
		error = from_dir->volume != to_dir->volume
			    ? -EXDEV
			    : name_rename(from_dir, from_name, from_name_len, to_dir, to_name,
					  to_name_len, no_replace ? NAME_NEW : NAME_REPLACE);
		inode_put(to_dir);
	}
	inode_put(from_dir);
	return error;
}

int64_t userfile_read_link(const char *path, size_t len, char *target, size_t size)
{
	struct inode *link;
	int64_t error = userfile_find(path, len, false, &link);

	if (error)
		return error;
	error = link->type == INODE_SYMLINK ? inode_read_link(link, target, size) : -EINVAL;
	inode_put(link);
	return error;
}

static int set_inode(struct inode *inode, const struct stream_attributes *set)
{
	unsigned which = (set->which & STREAM_SET_MODE ? INODE_SET_MODE : 0) |
			 (set->which & STREAM_SET_MTIME ? INODE_SET_MTIME : 0);

	if (inode->type == INODE_SYMLINK && which & INODE_SET_MODE)
		return -EOPNOTSUPP;
	return which ? inode_set_attributes(inode, which, (uint16_t)set->mode, set->mtime_sec,
					    set->mtime_nsec)
		     : 0;
}

int userfile_set(const char *path, size_t len, bool follow, const struct stream_attributes *set)
{
	struct inode *inode;
	int error = userfile_find(path, len, follow, &inode);

	if (error)
		return error;
	error = set_inode(inode, set);
	inode_put(inode);
	return error;
}

int userfile_set_open(struct stream *s, const struct stream_attributes *set)
{
	return set_inode(userfile_of(s)->inode, set);
}

static void tell_space(const struct volume *volume, uint64_t out[7])
{
	struct volume_space space;

	volume_space(volume, &space);
	out[0] = 0xef53; // ext4's magic, as statfs tells it
	out[1] = volume->block_bytes;
	out[2] = space.blocks;
	out[3] = space.blocks_free;
	out[4] = space.blocks_free;
	out[5] = space.inodes;
	out[6] = space.inodes_free;
}

int userfile_space(const char *path, size_t len, uint64_t out[7])
{
	struct inode *inode;
	int error = userfile_find(path, len, true, &inode);

	if (error)
		return error;
	tell_space(inode->volume, out);
	inode_put(inode);
	return 0;
}

int userfile_space_open(struct stream *s, uint64_t out[7])
{
	tell_space(userfile_of(s)->inode->volume, out);
	return 0;
}
