// SPDX-License-Identifier: BSD-2-Clause
// See file_change.h.
#include "fs/file_change.h"

#include <stdarg.h>

#include "kernel/kstring.h"
#include "kernel/panic.h"

#define AGAIN_MAX 5 // others may take what a commit has made free

int change_begin(struct change *c, struct volume *volume, ...)
{
	va_list kinds;
	uint32_t credits = 0;
	c->volume = volume;
	c->format = volume_filesystem(volume)->writing;
	c->made = NULL;
	c->count = 0;
	if (!c->format || !volume_writable(volume))
		return -EROFS;
	va_start(kinds, volume);
	for (int kind; (kind = va_arg(kinds, int)) != CHANGE_END;)
		credits += c->format->credits(volume, (enum filesystem_change)kind);
	va_end(kinds);
	return transaction_begin(&c->t, volume, credits);
}

void change_inode(struct change *c, struct inode *inode)
{
	for (unsigned i = 0; i < c->count; i++)
		if (c->saved[i].inode == inode)
			return;
	ASSERT(c->count < CHANGE_INODES);
	struct change_saved *saved = &c->saved[c->count++];
	saved->inode = inode;
	saved->mode = inode->mode;
	saved->links = inode->links;
	saved->size = inode->size;
	saved->mtime_sec = inode->mtime_sec;
	saved->mtime_nsec = inode->mtime_nsec;
	memcpy(saved->format, inode_format_data(inode), sizeof(saved->format));
}

int change_dir(struct change *c, struct inode *dir)
{
	if (dir->type != INODE_DIRECTORY)
		return -ENOTDIR;
	if (!dir->links)
		return -ENOENT;
	change_inode(c, dir);
	return 0;
}

int change_make(struct change *c, struct inode *dir, enum inode_type type, uint16_t mode)
{
	ASSERT(!c->made);
	return c->format->new_inode(&c->t, dir, type, mode & 07777, &c->made);
}

// Size and time of a file move on in fast WTDs while it is written (file_write): those are not ours.
static void put_back(const struct change_saved *saved)
{
	struct inode *inode = saved->inode;
	wtd_disable();
	inode->mode = saved->mode;
	inode->links = saved->links;
	if (inode->type != INODE_FILE) {
		inode->size = saved->size;
		inode->mtime_sec = saved->mtime_sec;
		inode->mtime_nsec = saved->mtime_nsec;
	}
	memcpy(inode_format_data(inode), saved->format, sizeof(saved->format));
	wtd_enable();
}

int change_end(struct change *c, int error)
{
	if (!error) {
		transaction_end(&c->t);
		return 0;
	}
	for (unsigned i = 0; i < c->count; i++)
		put_back(&c->saved[i]);
	if (c->made)
		inode_unmake(c->made);
	transaction_cancel(&c->t);
	return error;
}

bool change_again(struct volume *volume, int *error, unsigned *tries)
{
	if (*error != -EAGAIN)
		return false;
	*error = ++*tries > AGAIN_MAX ? -ENOSPC : transaction_wait_freed(volume);
	return !*error;
}

int change_link(struct change *c, struct inode *inode)
{
	if (inode->links >= c->format->links_max(inode))
		return -EMLINK;
	if (!inode->links && inode != c->made) {
		int error = c->format->orphan_remove(&c->t, inode);
		if (error)
			return error;
	}
	inode->links++;
	return c->format->write_inode(&c->t, inode);
}

int change_unlink(struct change *c, struct inode *inode)
{
	if (!inode->links) // a name more than it says: the volume is damaged
		return -EUCLEAN;
	inode->links = inode->type == INODE_DIRECTORY ? 0 : inode->links - 1;
	if (!inode->links) {
		int error = c->format->orphan_add(&c->t, inode);
		if (error)
			return error;
	}
	return c->format->write_inode(&c->t, inode);
}

// A directory with one link has more subdirectories than anybody counted.
int change_subdirectories(struct change *c, struct inode *dir, int by)
{
	if (dir->links == 1)
		return 0;
	if (by > 0 && dir->links >= c->format->links_max(dir))
		return -EMLINK;
	if (by < 0 && dir->links <= 2)
		return -EUCLEAN;
	dir->links += (uint32_t)by;
	return 0;
}

int change_look(struct inode *dir, const char *name, size_t len, struct inode **out)
{
	uint64_t number;
	*out = NULL;
	int error = volume_filesystem(dir->volume)->lookup(dir, name, len, &number);
	if (error)
		return error == -ENOENT ? 0 : error;
	error = inode_open_locked(dir->volume, number, out);
	return error == -ENOENT ? -EUCLEAN : error; // a name without an inode
}

int change_check_name(const char *name, size_t len)
{
	if (!len || (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'))))
		return -EINVAL;
	if (memchr(name, '/', len) || memchr(name, 0, len))
		return -EINVAL;
	return len > UINT8_MAX ? -ENAMETOOLONG : 0;
}
