// SPDX-License-Identifier: BSD-2-Clause
// Attributes of inodes, those of the format and those that others put there, and how much room there is.
// Thread or worker context, but for volume_space.
#include "fs/file.h"
#include "fs/file_change.h"

int inode_set_attributes(struct inode *inode, unsigned which, uint16_t mode, int64_t mtime_sec,
			 uint32_t mtime_nsec)
{
	struct change c;
	int error = change_begin(&c, inode->volume, CHANGE_INODE, CHANGE_END);
	if (error)
		return error;
	change_inode(&c, inode);
	wtd_disable();
	if (which & INODE_SET_MODE)
		inode->mode = mode & 07777;
	if (which & INODE_SET_MTIME) {
		inode->mtime_sec = mtime_sec;
		inode->mtime_nsec = mtime_nsec;
	}
	wtd_enable();
	error = c.format->write_inode(&c.t, inode);
	if (error && (which & INODE_SET_MTIME)) {
		wtd_disable();
		inode->mtime_sec = c.saved[0].mtime_sec;
		inode->mtime_nsec = c.saved[0].mtime_nsec;
		wtd_enable();
	}
	if (!error)
		inode_changed(inode);
	return change_end(&c, error);
}

int xattr_get(struct inode *inode, const char *name, void *value, size_t size)
{
	const struct filesystem_writing *format = volume_filesystem(inode->volume)->writing;
	if (!format)
		return -ENODATA;
	volume_lock_shared(inode->volume);
	int result = format->xattr_get(inode, name, value, size);
	volume_unlock_shared(inode->volume);
	return result;
}

int xattr_list(struct inode *inode, char *names, size_t size)
{
	const struct filesystem_writing *format = volume_filesystem(inode->volume)->writing;
	if (!format)
		return 0;
	volume_lock_shared(inode->volume);
	int result = format->xattr_list(inode, names, size);
	volume_unlock_shared(inode->volume);
	return result;
}

static int try_xattr(struct inode *inode, const char *name, const void *value, size_t size)
{
	struct change c;
	int error = change_begin(&c, inode->volume, CHANGE_XATTR, CHANGE_END);
	if (error)
		return error;
	change_inode(&c, inode);
	return change_end(&c, c.format->xattr_set(&c.t, inode, name, value, size));
}

int xattr_set(struct inode *inode, const char *name, const void *value, size_t size)
{
	unsigned tries = 0;
	int error;
	do
		error = try_xattr(inode, name, value, size);
	while (change_again(inode->volume, &error, &tries));
	return error;
}

void volume_space(const struct volume *volume, struct volume_space *out)
{
	const struct filesystem_writing *format = volume_filesystem(volume)->writing;
	*out = (struct volume_space){.blocks = volume->blocks,
				     .blocks_free = volume->blocks_free,
				     .inodes = volume->inodes,
				     .inodes_free = volume->inodes_free};
	if (format && volume_writable(volume))
		format->space(volume, out);
}
