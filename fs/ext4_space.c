// SPDX-License-Identifier: BSD-2-Clause
// How much is free: the superblock's counts, kept exact in every transaction, and what of them is promised
// to data that is in the cache and has no blocks yet.
//
//	free_blocks = promised (ext4_reserve) + kept (the superblock's reserve, room for extent blocks) + rest
//
// A writer of the cache reserves before it takes bytes, so that its blocks are there when it writes them
// back. Promised data never asks in vain: only the rest is given to others.
#include "fs/ext4_alloc.h"

#include "kernel/crc32.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"

int ext4_super_get(struct transaction *t, struct ext4 *fs, struct ext4_super_block **sb,
		   struct page **page)
{
	void *data;
	int error = transaction_get(t, EXT4_SUPER_OFFSET >> fs->block_shift, &data, page);
	if (!error)
		*sb = (void *)((uint8_t *)data + (EXT4_SUPER_OFFSET & (fs->block_bytes - 1)));
	return error;
}

void ext4_super_put(struct ext4 *fs, struct ext4_super_block *sb, struct page *page)
{
	if (ext4_has_csum(fs))
		sb->s_checksum = crc32c(~0U, sb, offsetof(struct ext4_super_block, s_checksum));
	page_wire_put(page);
}

static void add_free(struct ext4 *fs, int64_t blocks, int32_t inodes)
{
	spin_lock_wtd(&fs->lock);
	fs->free_blocks += (uint64_t)blocks;
	fs->free_inodes += (uint32_t)inodes;
	fs->volume->blocks_free = fs->free_blocks;
	fs->volume->inodes_free = fs->free_inodes;
	spin_unlock_wtd(&fs->lock);
}

int ext4_count_free(struct transaction *t, struct ext4 *fs, int64_t blocks, int32_t inodes)
{
	struct ext4_super_block *sb;
	struct page *page;
	int error = ext4_super_get(t, fs, &sb, &page);
	if (error)
		return error;
	add_free(fs, blocks, inodes);
	fs->pending_blocks += blocks;
	fs->pending_inodes += inodes;
	sb->s_free_blocks_count_lo = (uint32_t)fs->free_blocks;
	if (fs->incompat & INCOMPAT_64BIT)
		sb->s_free_blocks_count_hi = (uint32_t)(fs->free_blocks >> 32);
	sb->s_free_inodes_count = fs->free_inodes;
	ext4_super_put(fs, sb, page);
	return 0;
}

void ext4_ended(struct volume *volume, bool cancelled)
{
	struct ext4 *fs = volume->private;
	if (cancelled)
		add_free(fs, -fs->pending_blocks, -fs->pending_inodes);
	fs->pending_blocks = 0;
	fs->pending_inodes = 0;
}

// Lock held. Blocks of metadata that writing back `blocks` may take at worst: one extent for each, their
// leaves half full, and the levels above those; and the growing root.
static uint64_t tree_blocks(const struct ext4 *fs, uint64_t blocks)
{
	uint64_t leaf = fs->block_bytes / sizeof(struct ext4_extent) / 2;
	return blocks ? blocks / leaf + blocks / leaf / leaf + EXT4_EXTENT_MAX_DEPTH : 0;
}

int ext4_reserve(struct volume *volume, uint64_t blocks)
{
	struct ext4 *fs = volume->private;
	int error = 0;
	spin_lock_wtd(&fs->lock);
	uint64_t after = fs->promised + blocks;
	// What the superblock keeps may well serve the trees: it is for the system's own needs.
	uint64_t kept = MAX(fs->root_blocks, tree_blocks(fs, after));
	if (after < blocks || after > fs->blocks || after + kept > fs->free_blocks)
		error = -ENOSPC;
	else
		fs->promised = after;
	spin_unlock_wtd(&fs->lock);
	return error;
}

void ext4_unreserve(struct volume *volume, uint64_t blocks)
{
	struct ext4 *fs = volume->private;
	spin_lock_wtd(&fs->lock);
	ASSERT(blocks <= fs->promised);
	fs->promised -= blocks;
	spin_unlock_wtd(&fs->lock);
}

bool ext4_unpromised(struct ext4 *fs, uint64_t blocks)
{
	spin_lock_wtd(&fs->lock);
	uint64_t kept = fs->promised + MAX(fs->root_blocks, tree_blocks(fs, fs->promised));
	bool there = fs->free_blocks >= kept && fs->free_blocks - kept >= blocks;
	spin_unlock_wtd(&fs->lock);
	return there;
}

void ext4_space(const struct volume *volume, struct volume_space *out)
{
	struct ext4 *fs = volume->private;
	spin_lock_wtd(&fs->lock);
	uint64_t kept = fs->promised + MAX(fs->root_blocks, tree_blocks(fs, fs->promised));
	*out = (struct volume_space){
	    .blocks = fs->blocks,
	    .blocks_free = fs->free_blocks > kept ? fs->free_blocks - kept : 0,
	    .blocks_reserved = fs->promised,
	    .inodes = fs->inodes,
	    .inodes_free = fs->free_inodes,
	};
	spin_unlock_wtd(&fs->lock);
}

struct totals {
	uint64_t blocks, inodes, groups;
};

static bool add_group(const struct ext4_group *group, void *ctx)
{
	struct totals *totals = ctx;
	totals->blocks += group->free_blocks;
	totals->inodes += group->free_inodes;
	totals->groups++;
	return true;
}

// Writing into blocks that were asked for beforehand (fallocate) takes no promise, and still the tree grows when they
// are written here and there: so much is kept for that, whatever the superblock keeps.
#define TREES_SHARE 50U // of the volume, one in so many
#define TREES_MOST  4096U

static uint64_t kept_blocks(const struct ext4 *fs, const struct ext4_super_block *sb)
{
	uint64_t high = fs->incompat & INCOMPAT_64BIT ? sb->s_r_blocks_count_hi : 0;
	uint64_t root = MIN(high << 32 | sb->s_r_blocks_count_lo, fs->blocks / 2);
	uint64_t trees = MIN(fs->blocks / TREES_SHARE, (uint64_t)TREES_MOST);
	return fs->incompat & INCOMPAT_EXTENTS ? MAX(root, trees) : root;
}

// i_extra_isize of new inodes: what the volume wants, at least what this file system fills.
static uint16_t super_extra_isize(const struct ext4 *fs, const struct ext4_super_block *sb)
{
	uint32_t room = fs->inode_bytes - EXT4_GOOD_OLD_INODE;
	uint32_t want = MAX(MAX(sb->s_want_extra_isize, sb->s_min_extra_isize), EXT4_EXTRA_ISIZE);
	if (fs->inode_bytes == EXT4_GOOD_OLD_INODE)
		return 0;
	return (uint16_t)(want % 4 || want > room ? EXT4_EXTRA_ISIZE : want);
}

// The superblock's counts may be old (Linux brings them up to date at unmount only): the descriptors
// count, and with the first change the superblock follows. Nothing stays behind after an error.
int ext4_open_counts(struct ext4 *fs)
{
	struct ext4_block block;
	struct totals totals = {0};
	int error = ext4_block_get(fs, EXT4_SUPER_OFFSET >> fs->block_shift, &block);
	if (error)
		return error;
	const struct ext4_super_block *sb =
	    (const void *)((const uint8_t *)block.data +
			   (EXT4_SUPER_OFFSET & (fs->block_bytes - 1)));
	fs->root_blocks = kept_blocks(fs, sb);
	fs->extra_isize = super_extra_isize(fs, sb);
	fs->flex_groups = 1;
	if ((fs->incompat & INCOMPAT_FLEX_BG) && sb->s_log_groups_per_flex < 31)
		fs->flex_groups = 1U << sb->s_log_groups_per_flex;
	fs->reserved_descs = sb->s_reserved_gdt_blocks;
	ext4_block_put(&block);
	error = ext4_group_walk(fs, 0, fs->groups, add_group, &totals);
	if (error)
		return error;
	if (totals.groups != fs->groups)
		return ext4_corrupt(fs, 0, 0, "%lu group descriptors",
				    (unsigned long)(fs->groups - totals.groups));
	fs->free_blocks = totals.blocks;
	fs->free_inodes = (uint32_t)totals.inodes;
	fs->promised = 0;
	fs->scratch = kpages_alloc(fs->block_bytes);
	error = fs->scratch ? ext4_orphan_open(fs) : -ENOMEM;
	if (error)
		ext4_close_counts(fs);
	return error;
}

void ext4_close_counts(struct ext4 *fs)
{
	if (fs->scratch)
		kpages_free(fs->scratch, fs->block_bytes);
	fs->scratch = NULL;
	ext4_orphan_close(fs);
}
