// SPDX-License-Identifier: BSD-2-Clause
// ext4, writing: what the files that give and take blocks and inodes share with each other. fs/ext4_write.h
// is for those who use them.
#pragma once

#include "fs/ext4_write.h"

// ---- ext4_group.c: descriptors and the superblock ----------------------------------------------------

// A group's descriptor, its two halves joined.
struct ext4_group {
	uint64_t number;
	uint64_t first;	 // block of the volume that its bitmap begins with
	uint32_t blocks; // fewer in the last group
	uint64_t block_bitmap, inode_bitmap, inode_table;
	uint32_t free_blocks, free_inodes, directories, unused_inodes;
	uint32_t block_bitmap_csum, inode_bitmap_csum; // 16 bits each with short descriptors
	uint16_t flags;
	// While it is held for changing.
	struct ext4_group_desc *desc;
	struct page *page;
};
// Sleeps. Reads it, checked against its checksum and the volume's bounds.
int ext4_group_read(struct ext4 *fs, uint64_t number, struct ext4_group *out) MUST_CHECK;
// The same for changing: the caller changes counts, flags and checksums, then puts it. One block.
int ext4_group_get(struct transaction *t, struct ext4 *fs, uint64_t number,
		   struct ext4_group *out) MUST_CHECK;
void ext4_group_put(struct ext4 *fs, struct ext4_group *group); // encodes and sums
// Reads the counts of `count` groups from `first` on, quickly: checked only for what could lead astray.
// visit returns false to stop. The last argument of visit is ctx.
int ext4_group_walk(struct ext4 *fs, uint64_t first, uint64_t count,
		    bool (*visit)(const struct ext4_group *group, void *ctx), void *ctx) MUST_CHECK;
// Has the group flag? Only where descriptors have checksums.
bool ext4_group_flag(const struct ext4 *fs, const struct ext4_group *group, uint16_t flag);
uint32_t ext4_group_meta_blocks(const struct ext4 *fs, uint64_t group); // superblock, descriptors
static inline uint64_t ext4_group_of(const struct ext4 *fs, uint64_t block)
{
	return (block - fs->first_data_block) / fs->blocks_per_group;
}
static inline bool ext4_group_sums(const struct ext4 *fs)
{
	return fs->ro_compat & (RO_COMPAT_METADATA_CSUM | RO_COMPAT_GDT_CSUM);
}

// ---- ext4_space.c ----------------------------------------------------------------------------------------
// So many blocks are free that were promised to nobody: for who did not reserve.
bool ext4_unpromised(struct ext4 *fs, uint64_t blocks);
// The superblock for changing; put sums it.
int ext4_super_get(struct transaction *t, struct ext4 *fs, struct ext4_super_block **sb,
		   struct page **page) MUST_CHECK;
void ext4_super_put(struct ext4 *fs, struct ext4_super_block *sb, struct page *page);
// Adds to the volume's free counts, in the superblock and in memory. The last thing that can fail.
int ext4_count_free(struct transaction *t, struct ext4 *fs, int64_t blocks,
		    int32_t inodes) MUST_CHECK;

// ---- ext4_bitmap.c -------------------------------------------------------------------------------------
enum ext4_bitmap_kind { EXT4_BLOCK_BITMAP, EXT4_INODE_BITMAP };
// Sleeps. The bitmap to look at: of a group without one, what it would be, in fs->scratch. At most one of those
// can be held at a time.
int ext4_bitmap_read(struct ext4 *fs, const struct ext4_group *group, enum ext4_bitmap_kind kind,
		     struct ext4_block *out) MUST_CHECK;
void ext4_bitmap_done(struct ext4 *fs, struct ext4_block *block);
// For changing; made first if the group has none (its flag goes from group->flags). put: sums it into
// group, which the caller holds for changing.
int ext4_bitmap_get(struct transaction *t, struct ext4 *fs, struct ext4_group *group,
		    enum ext4_bitmap_kind kind, uint8_t **bits, struct page **page) MUST_CHECK;
void ext4_bitmap_put(struct ext4 *fs, struct ext4_group *group, enum ext4_bitmap_kind kind,
		     const uint8_t *bits, struct page *page);
// Pure. The first clear (set) bit in [from, limit), or limit.
uint32_t ext4_bits_clear_at(const uint8_t *bits, uint32_t from, uint32_t limit);
uint32_t ext4_bits_set_at(const uint8_t *bits, uint32_t from, uint32_t limit);
void ext4_bits_fill(uint8_t *bits, uint32_t from, uint32_t count, bool set);

// ---- ext4_balloc.c -------------------------------------------------------------------------------------
struct ext4_want {
	uint64_t goal;	 // first choice; 0: none
	uint32_t count;	 // at most so many
	uint32_t inode;	 // whose window may be used
	bool stream;	 // keep a window for what follows
	bool roomy;	 // where the goal is taken, small gaps are not for this
	uint64_t length; // stream: blocks of the file so far, for the size of the window
};
// Finds and takes a run. One bitmap, one descriptor, the superblock. -ENOSPC; -EAGAIN: all that is free was
// freed by transactions that are not committed yet.
int ext4_take_blocks(struct transaction *t, struct ext4 *fs, const struct ext4_want *want,
		     uint64_t *block, uint32_t *count) MUST_CHECK;
// Inside one group. One bitmap, one descriptor, the superblock.
int ext4_give_back(struct transaction *t, struct ext4 *fs, uint64_t block, uint32_t count,
		   bool meta) MUST_CHECK;
// Where an inode's blocks go when nothing else says it: its group.
uint64_t ext4_inode_goal(const struct ext4 *fs, uint32_t number);
// ---- ext4_window.c -------------------------------------------------------------------------------------
bool ext4_window_of(struct ext4 *fs, uint32_t inode, struct ext4_window *out);
void ext4_window_set(struct ext4 *fs, uint32_t inode, uint64_t first, uint64_t count);
// The first block in [first, end) that lies in no other inode's window (end: none), and where that ends.
uint64_t ext4_window_free(struct ext4 *fs, uint32_t inode, uint64_t first, uint64_t end,
			  uint64_t *free_end);

// ---- ext4_inode_write.c --------------------------------------------------------------------------------
struct ext4_inode_block {
	struct ext4_raw_inode *raw;
	uint64_t disk;
	struct page *page;
};
// The inode as it lies in its table, for changing; put sums it. `fresh`: no inode of its block was ever used,
// so that there is nothing to read. One block.
int ext4_inode_block_get(struct transaction *t, struct ext4 *fs, uint32_t number, bool fresh,
			 struct ext4_inode_block *out) MUST_CHECK;
void ext4_inode_block_put(struct ext4 *fs, uint32_t number, struct ext4_inode_block *block);
// mtime from the inode, ctime now; created: the others now, too.
void ext4_set_times(const struct ext4 *fs, struct ext4_raw_inode *raw, const struct inode *inode,
		    bool created);
// After a change of the map: node's block[] and flags to the table and, last of all, to the inode in memory;
// i_blocks changes by `blocks`. The size in the table grows to what `size` says, but not beyond
// the inode's (or becomes it, with `exactly`). Two blocks.
struct ext4_map_change {
	int64_t blocks;
	uint64_t size;
	bool exactly;
};
int ext4_write_map(struct transaction *t, struct inode *inode, const struct ext4_node *node,
		   const struct ext4_map_change *change) MUST_CHECK;

// ---- ext4_orphan.c -------------------------------------------------------------------------------------
// Sleeps. Where the inode is noted for recovery: what ext4_node.orphan has to be.
int ext4_orphan_find(struct ext4 *fs, uint32_t number, uint32_t *orphan) MUST_CHECK;
// Reads where the orphan file's blocks lie, if there is one; close gives the memory back.
int ext4_orphan_open(struct ext4 *fs) MUST_CHECK;
void ext4_orphan_close(struct ext4 *fs);
// The first of the list, and the first slot from `from` on that is in use; 0: none.
int ext4_orphan_first(struct ext4 *fs, uint32_t *number) MUST_CHECK;
int ext4_orphan_slot(struct ext4 *fs, uint32_t from, uint32_t *slot, uint32_t *number) MUST_CHECK;

// ---- ext4_extent_write.c -------------------------------------------------------------------------------
// On a copy of the node, which the caller writes with ext4_write_map. *meta: blocks that the tree took.
struct ext4_new_run {
	uint32_t first, count;
	uint64_t disk;
	bool unwritten;
};
int ext4_extent_insert(struct transaction *t, struct inode *inode, struct ext4_node *node,
		       const struct ext4_new_run *run, uint32_t *meta) MUST_CHECK;
// [first, first + count) lies in one unwritten extent and is written now, or (run->unwritten) the other way round.
int ext4_extent_convert(struct transaction *t, struct inode *inode, struct ext4_node *node,
			const struct ext4_new_run *run, uint32_t *meta) MUST_CHECK;

// ---- ext4_indirect_write.c -------------------------------------------------------------------------------
// The same for inodes mapped by numbers. A run that spot gave lies in one block of numbers.
struct ext4_extent_spot;
int ext4_indirect_spot(struct ext4 *fs, const struct ext4_node *node, uint32_t block,
		       struct ext4_extent_spot *out) MUST_CHECK;
int ext4_indirect_insert(struct transaction *t, struct inode *inode, struct ext4_node *node,
			 const struct ext4_new_run *run, uint32_t *meta) MUST_CHECK;
