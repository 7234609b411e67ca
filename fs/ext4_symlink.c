// SPDX-License-Identifier: BSD-2-Clause
// Where a fresh symbolic link leads: a short target lies in the inode, where others have their map; a longer
// one in a block of metadata. Thread or worker context, inside a transaction.
#include "fs/ext4_write.h"

#include "kernel/kstring.h"
#include "kernel/page.h"

// The link has no block yet: its first one comes as a directory's would.
static int set_slow(struct transaction *t, struct inode *link, const char *target, size_t len)
{
	struct page *page;
	uint64_t disk;
	void *data;
	link->size = 0;
	int error = ext4_append_dir_block(t, link, &disk, &data, &page);
	if (error)
		return error;
	memcpy(data, target, len);
	page_wire_put(page);
	return 0;
}

int ext4_set_link_target(struct transaction *t, struct inode *link, const char *target, size_t len)
{
	struct ext4_node *node = inode_format_data(link);
	if (!len || memchr(target, 0, len))
		return -EINVAL;
	if (len >= ext4_of(link)->block_bytes)
		return -ENAMETOOLONG;
	if (len >= EXT4_FAST_SYMLINK_MAX) {
		int error = set_slow(t, link, target, len);
		link->size = len;
		return error ? error : ext4_write_inode(t, link);
	}
	link->size = len;
	memset(node->block, 0, sizeof(node->block));
	memcpy(node->block, target, len);
	node->flags &= ~(uint32_t)EXT4_EXTENTS_FL;
	return ext4_write_inode(t, link);
}
