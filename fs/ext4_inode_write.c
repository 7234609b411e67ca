// SPDX-License-Identifier: BSD-2-Clause
// Inodes in memory to the inode table, with their checksum, and back after a cancelled change. Thread and worker
// context, inside a transaction but for ext4_reload.
//
// What an inode maps changes in its block first and in memory last (ext4_write_map), so that a change that
// fails before leaves the inode in memory as it is.
#include "fs/ext4_alloc.h"

#include "kernel/kstring.h"
#include "kernel/page.h"
#include "kernel/panic.h"
#include "kernel/timer.h"

#define LARGE_FILE_MIN	 0x80000000UL // a file this large needs large_file
#define SECTOR_COUNT_MAX ((1UL << 48) - 1)

int ext4_inode_block_get(struct transaction *t, struct ext4 *fs, uint32_t number, bool fresh,
			 struct ext4_inode_block *out)
{
	uint32_t offset;
	void *data;
	int error = ext4_inode_place(fs, number, &out->disk, &offset);
	if (error)
		return error == -ENOENT ? ext4_corrupt(fs, number, 0, "beyond the inodes in use")
					: error;
	if (fresh)
		error = transaction_get_fresh(t, out->disk, &data, &out->page);
	else
		error = transaction_get(t, out->disk, &data, &out->page);
	if (!error)
		out->raw = (void *)((uint8_t *)data + offset);
	return error;
}

void ext4_inode_block_put(struct ext4 *fs, uint32_t number, struct ext4_inode_block *block)
{
	ext4_inode_set_csum(fs, number, block->raw);
	page_wire_put(block->page);
}

int ext4_raw_inode_get(struct transaction *t, struct inode *inode, struct ext4_raw_inode **raw,
		       struct page **page)
{
	struct ext4_inode_block block;
	int error = ext4_inode_block_get(t, ext4_of(inode), (uint32_t)inode->number, false, &block);
	*raw = error ? NULL : block.raw;
	*page = error ? NULL : block.page;
	return error;
}

// Seconds: 32 bits signed, and two more above them beside the nanoseconds.
static uint32_t extra_of(int64_t sec, uint32_t nsec)
{
	int64_t epoch = (sec - (int32_t)(uint32_t)sec) >> 32;
	return nsec << 2 | ((uint32_t)epoch & 3);
}

void ext4_set_times(const struct ext4 *fs, struct ext4_raw_inode *raw, const struct inode *inode,
		    bool created)
{
	uint64_t now = clock_realtime_ns();
	int64_t sec = (int64_t)(now / NS_PER_SEC);
	uint32_t extra = extra_of(sec, (uint32_t)(now % NS_PER_SEC));
	raw->i_mtime = (uint32_t)inode->mtime_sec;
	raw->i_ctime = (uint32_t)sec;
	if (EXT4_HAS_EXTRA(fs, raw, i_ctime_extra))
		raw->i_ctime_extra = extra;
	if (EXT4_HAS_EXTRA(fs, raw, i_mtime_extra))
		raw->i_mtime_extra = extra_of(inode->mtime_sec, inode->mtime_nsec);
	if (!created)
		return;
	raw->i_atime = (uint32_t)sec;
	if (EXT4_HAS_EXTRA(fs, raw, i_atime_extra))
		raw->i_atime_extra = extra;
	if (EXT4_HAS_EXTRA(fs, raw, i_crtime_extra)) {
		raw->i_crtime = (uint32_t)sec;
		raw->i_crtime_extra = extra;
	}
}

static uint64_t raw_size(const struct ext4_raw_inode *raw)
{
	return (uint64_t)raw->i_size_high << 32 | raw->i_size_lo;
}

// The first file of 2 GB marks the volume: old systems must not truncate it.
static int set_size(struct transaction *t, struct ext4 *fs, const struct inode *inode,
		    struct ext4_raw_inode *raw, uint64_t size)
{
	struct ext4_super_block *sb;
	struct page *page;
	bool file = inode->type == INODE_FILE;
	if (inode->type == INODE_OTHER)
		return 0;
	if (file && size >= LARGE_FILE_MIN && raw_size(raw) < LARGE_FILE_MIN) {
		int error = ext4_super_get(t, fs, &sb, &page);
		if (error)
			return error;
		sb->s_feature_ro_compat |= RO_COMPAT_LARGE_FILE;
		ext4_super_put(fs, sb, page);
	}
	raw->i_size_lo = (uint32_t)size;
	if (file || (fs->incompat & INCOMPAT_LARGEDIR))
		raw->i_size_high = (uint32_t)(size >> 32);
	return 0;
}

// i_blocks: in sectors, 32 bits of them, or 48 with huge_file; in blocks where those do not suffice.
static int add_blocks(struct ext4 *fs, struct ext4_raw_inode *raw, int64_t blocks)
{
	bool huge = fs->ro_compat & RO_COMPAT_HUGE_FILE;
	bool in_blocks = huge && (raw->i_flags & EXT4_HUGE_FILE_FL);
	uint32_t shift = fs->block_shift - SECTOR_SHIFT;
	uint64_t have = raw->i_blocks_lo | (huge ? (uint64_t)raw->i_blocks_high << 32 : 0);
	uint64_t change = (uint64_t)(in_blocks ? blocks : blocks * (1L << shift));
	uint64_t want = have + change;
	if (blocks < 0 && want > have)
		return ext4_corrupt(fs, 0, 0, "count of blocks of an inode");
	if (!in_blocks && huge && want > SECTOR_COUNT_MAX) {
		want >>= shift;
		raw->i_flags |= EXT4_HUGE_FILE_FL;
	}
	if (want > (huge ? SECTOR_COUNT_MAX : UINT32_MAX))
		return -EFBIG;
	raw->i_blocks_lo = (uint32_t)want;
	if (huge)
		raw->i_blocks_high = (uint16_t)(want >> 32);
	return 0;
}

// Flags and map; that its blocks are counted in blocks is known in the table only.
static void set_node(struct ext4_raw_inode *raw, const struct ext4_node *node)
{
	uint32_t huge = raw->i_flags & EXT4_HUGE_FILE_FL;
	raw->i_flags = (node->flags & ~(uint32_t)EXT4_HUGE_FILE_FL) | huge;
	memcpy(raw->i_block, node->block, sizeof(raw->i_block));
}

static uint16_t raw_links(const struct ext4 *fs, const struct inode *inode)
{
	bool uncounted = inode->type == INODE_DIRECTORY && inode->links > EXT4_LINK_MAX &&
			 (fs->ro_compat & RO_COMPAT_DIR_NLINK);
	return (uint16_t)(uncounted ? 1 : inode->links);
}

int ext4_write_inode(struct transaction *t, struct inode *inode)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_inode_block block;
	uint32_t number = (uint32_t)inode->number;
	int error = ext4_inode_block_get(t, fs, number, false, &block);
	if (error)
		return error;
	struct ext4_raw_inode *raw = block.raw;
	error = set_size(t, fs, inode, raw, inode_disk_size(inode));
	if (!error) {
		raw->i_mode = (uint16_t)((raw->i_mode & EXT4_S_IFMT) | (inode->mode & 07777));
		raw->i_links_count = raw_links(fs, inode);
		ext4_set_times(fs, raw, inode, false);
		set_node(raw, inode_format_data(inode));
	}
	ext4_inode_block_put(fs, number, &block);
	return error;
}

int ext4_write_map(struct transaction *t, struct inode *inode, const struct ext4_node *node,
		   const struct ext4_map_change *change)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_inode_block block;
	uint32_t number = (uint32_t)inode->number;
	int error = ext4_inode_block_get(t, fs, number, false, &block);
	if (error)
		return error;
	struct ext4_raw_inode *raw = block.raw;
	uint64_t size = change->size;
	// Of a file no more than is on the disk, or comes with this transaction.
	if (!change->exactly)
		size = MAX(MIN(size, inode_disk_size(inode)), raw_size(raw));
	else if (inode->type == INODE_FILE)
		size = MIN(size, inode_disk_size(inode));
	error = set_size(t, fs, inode, raw, size);
	if (!error)
		error = add_blocks(fs, raw, change->blocks);
	if (!error)
		set_node(raw, node);
	ext4_inode_block_put(fs, number, &block);
	if (!error)
		ext4_set_map(fs, inode_format_data(inode), node);
	return error;
}

int ext4_reload(struct inode *inode)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_node *node = inode_format_data(inode), fresh = {0};
	struct inode found = {.volume = inode->volume};
	int error = ext4_load_any_inode(fs, (uint32_t)inode->number, true, &found, &fresh);
	if (!error)
		error = ext4_orphan_find(fs, (uint32_t)inode->number, &fresh.orphan);
	if (error)
		return error;
	spin_lock_wtd(&fs->lock);
	inode->mode = found.mode;
	inode->links = found.links;
	// A file may have grown in the cache beyond what the table says.
	inode->size = inode->type == INODE_FILE ? MAX(inode->size, found.size) : found.size;
	inode->mtime_sec = found.mtime_sec;
	inode->mtime_nsec = found.mtime_nsec;
	spin_unlock_wtd(&fs->lock);
	node->orphan = fresh.orphan;
	ext4_set_map(fs, node, &fresh);
	return 0;
}
