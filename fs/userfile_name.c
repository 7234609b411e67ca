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
	error = userfile_find(path, start ? start - 1 : 0, dir);
	if (!error && (*dir)->type != INODE_DIRECTORY) {
		inode_put(*dir);
		error = -ENOTDIR;
	}
	return error;
}

int userfile_create(const char *path, size_t len, uint32_t mode, struct inode **out)
{
	struct inode *dir;
	const char *name;
	size_t name_len;
	int error = userfile_parent(path, len, &dir, &name, &name_len);

	if (error)
		return error;
	error = file_create(dir, (uint16_t)mode, out);
	if (!error) {
		error = file_link(dir, name, name_len, *out, NAME_NEW);
		if (error)
			inode_put(*out);
	}
	inode_put(dir);
	return error;
}

int userfile_make_dir(const char *path, size_t len, uint32_t mode)
{
	struct inode *dir, *made;
	const char *name;
	size_t name_len;
	int error = userfile_parent(path, len, &dir, &name, &name_len);

	if (error)
		return error == -EINVAL ? -EEXIST : error;
	error = dir_create(dir, name, name_len, (uint16_t)mode, &made);
	if (!error)
		inode_put(made);
	inode_put(dir);
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
	error = userfile_find(path, len, &inode);
	if (!error) { // a link that leads nowhere is removed as what it is
		if (directory && inode->type != INODE_DIRECTORY)
			error = -ENOTDIR;
		else if (!directory && inode->type == INODE_DIRECTORY)
			error = -EISDIR;
		inode_put(inode);
	} else if (error == -ENOENT && !directory) {
		error = 0;
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

int userfile_link(const char *from, size_t from_len, const char *to, size_t to_len)
{
	struct inode *inode, *dir;
	const char *name;
	size_t name_len;
	int error = userfile_find(from, from_len, &inode);

	if (error)
		return error;
	error = userfile_parent(to, to_len, &dir, &name, &name_len);
	if (!error) {
		error = inode->volume != dir->volume
			    ? -EXDEV
			    : file_link(dir, name, name_len, inode, NAME_NEW);
		inode_put(dir);
	}
	inode_put(inode);
	return error;
}

int userfile_symlink(const char *target, size_t target_len, const char *path, size_t len)
{
	struct inode *dir, *made;
	const char *name;
	size_t name_len;
	int error = userfile_parent(path, len, &dir, &name, &name_len);

	if (error)
		return error;
	error = symlink_create(dir, name, name_len, target, target_len, &made);
	if (!error)
		inode_put(made);
	inode_put(dir);
	return error;
}

static int set(const char *path, size_t len, unsigned which, uint32_t mode, int64_t sec,
	       uint32_t nsec)
{
	struct inode *inode;
	int error = userfile_find(path, len, &inode);

	if (error)
		return error;
	error = inode_set_attributes(inode, which, (uint16_t)mode, sec, nsec);
	inode_put(inode);
	return error;
}

int userfile_set_mode(const char *path, size_t len, uint32_t mode)
{
	return set(path, len, INODE_SET_MODE, mode, 0, 0);
}

int userfile_set_times(const char *path, size_t len, int64_t mtime_sec, uint32_t mtime_nsec)
{
	return set(path, len, INODE_SET_MTIME, 0, mtime_sec, mtime_nsec);
}

int userfile_space(const char *path, size_t len, uint64_t out[7])
{
	struct volume_space space;
	struct inode *inode;
	int error = userfile_find(path, len, &inode);

	if (error)
		return error;
	volume_space(inode->volume, &space);
	out[0] = 0xef53; // ext4's magic, as statfs tells it
	out[1] = inode->volume->block_bytes;
	out[2] = space.blocks;
	out[3] = space.blocks_free;
	out[4] = space.blocks_free;
	out[5] = space.inodes;
	out[6] = space.inodes_free;
	inode_put(inode);
	return 0;
}
