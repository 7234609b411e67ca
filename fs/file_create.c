// SPDX-License-Identifier: BSD-2-Clause
// New files, directories and symbolic links, each in one transaction. A file is made without a name, on the
// list of orphans (it takes no place in any directory before all its bytes are there), and named by
// file_link; the others are made with their name. Thread or worker context.
#include "fs/file_change.h"

#include "kernel/kstring.h"

int file_create(struct inode *dir, uint16_t mode, struct inode **out)
{
	struct change c;
	*out = NULL;
	int error = change_begin(&c, dir->volume, CHANGE_NEW_INODE, CHANGE_INODE, CHANGE_ORPHAN,
				 CHANGE_END);
	if (error)
		return error;
	error = change_dir(&c, dir);
	if (!error)
		error = change_make(&c, dir, INODE_FILE, mode);
	if (!error)
		error = c.format->orphan_add(&c.t, c.made);
	*out = error ? NULL : c.made;
	return change_end(&c, error);
}

// What has a name from the beginning: 0 and c->made.
static int make_named(struct change *c, struct inode *dir, const char *name, size_t len,
		      enum inode_type type, uint16_t mode)
{
	uint64_t number;
	int error = change_dir(c, dir);
	if (error)
		return error;
	error = volume_filesystem(dir->volume)->lookup(dir, name, len, &number);
	if (error != -ENOENT)
		return error ? error : -EEXIST;
	error = change_make(c, dir, type, mode);
	if (!error && type == INODE_DIRECTORY)
		error = change_subdirectories(c, dir, 1);
	if (!error)
		error = c->format->add_name(&c->t, dir, name, len, c->made->number, type);
	return error;
}

static int try_dir(struct inode *dir, const char *name, size_t len, uint16_t mode,
		   struct inode **out)
{
	struct change c;
	*out = NULL;
	int error = change_check_name(name, len);
	if (!error)
		error = change_begin(&c, dir->volume, CHANGE_NEW_INODE, CHANGE_ADD_NAME,
				     CHANGE_INODE, CHANGE_END);
	if (error)
		return error;
	error = make_named(&c, dir, name, len, INODE_DIRECTORY, mode);
	if (!error) {
		*out = c.made;
		name_forget_leaf(dir->volume, dir->number, name, len);
		// Another directory may have had the number, and ".." led elsewhere.
		name_forget_leaf(dir->volume, c.made->number, "..", 2);
	}
	return change_end(&c, error);
}

int dir_create(struct inode *dir, const char *name, size_t len, uint16_t mode, struct inode **out)
{
	unsigned tries = 0;
	int error;
	do
		error = try_dir(dir, name, len, mode, out);
	while (change_again(dir->volume, &error, &tries));
	return error;
}

static int try_symlink(struct inode *dir, const char *name, size_t len, const char *target,
		       size_t target_len, struct inode **out)
{
	struct change c;
	*out = NULL;
	int error = change_check_name(name, len);
	if (!error && (!target_len || memchr(target, 0, target_len)))
		error = -EINVAL;
	if (!error)
		error = change_begin(&c, dir->volume, CHANGE_NEW_INODE, CHANGE_ADD_NAME,
				     CHANGE_ALLOCATE, CHANGE_INODE, CHANGE_END);
	if (error)
		return error;
	error = make_named(&c, dir, name, len, INODE_SYMLINK, 0777);
	if (!error)
		error = c.format->set_link_target(&c.t, c.made, target, target_len);
	if (!error)
		error = change_link(&c, c.made);
	if (!error) {
		*out = c.made;
		name_forget_leaf(dir->volume, dir->number, name, len);
	}
	return change_end(&c, error);
}

int symlink_create(struct inode *dir, const char *name, size_t len, const char *target,
		   size_t target_len, struct inode **out)
{
	unsigned tries = 0;
	int error;
	do
		error = try_symlink(dir, name, len, target, target_len, out);
	while (change_again(dir->volume, &error, &tries));
	return error;
}
