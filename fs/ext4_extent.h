// SPDX-License-Identifier: BSD-2-Clause
// Extent trees: a node in the hand, for who reads (ext4_extent.c) and who changes them (ext4_extent_write.c,
// ext4_truncate.c).
#pragma once

#include "fs/ext4.h"

#define EXT4_EXTENT_ROOT_ENTRIES                                                                   \
	((EXT4_N_BLOCKS * sizeof(uint32_t) - sizeof(struct ext4_extent_header)) /                  \
	 sizeof(struct ext4_extent))

// A node of the tree: in the inode (disk 0) or in a block.
struct ext4_extent_node {
	const struct ext4_extent_header *header;
	uint64_t disk;
	uint64_t lower, upper; // the logical blocks it may speak of: [lower, upper)
};

static inline struct ext4_extent_node ext4_extent_root(const struct ext4_node *node)
{
	return (struct ext4_extent_node){.header = (const void *)node->block,
					 .upper = EXT4_LOGICAL_LIMIT};
}
static inline uint32_t ext4_extent_room(const struct ext4 *fs)
{
	return (uint32_t)((fs->block_bytes - sizeof(struct ext4_extent_header)) /
			  sizeof(struct ext4_extent));
}
static inline const struct ext4_extent *ext4_leaf_entries(const struct ext4_extent_node *at)
{
	return (const struct ext4_extent *)(at->header + 1);
}
static inline const struct ext4_extent_idx *ext4_index_entries(const struct ext4_extent_node *at)
{
	return (const struct ext4_extent_idx *)(at->header + 1);
}
static inline uint32_t ext4_extent_count(const struct ext4_extent *extent)
{
	uint32_t len = extent->ee_len;
	return len > EXT4_EXTENT_INIT_MAX ? len - EXT4_EXTENT_INIT_MAX : len;
}
static inline bool ext4_extent_unwritten(const struct ext4_extent *extent)
{
	return extent->ee_len > EXT4_EXTENT_INIT_MAX;
}
static inline uint64_t ext4_extent_disk(const struct ext4_extent *extent)
{
	return (uint64_t)extent->ee_start_hi << 32 | extent->ee_start_lo;
}
static inline uint64_t ext4_index_disk(const struct ext4_extent_idx *index)
{
	return (uint64_t)index->ei_leaf_hi << 32 | index->ei_leaf_lo;
}

// The last entry that begins at or before `block`, or -1. Entries of both kinds begin with their logical
// block and are 12 bytes long.
int ext4_extent_entry(const struct ext4_extent_node *at, uint32_t block);
// The node that entry i leads to, but for its header; load reads and checks it. Sleeps; the block is held.
struct ext4_extent_node ext4_extent_child(const struct ext4_extent_node *parent, int i);
int ext4_extent_load(struct ext4 *fs, const struct ext4_node *node, uint32_t depth,
		     struct ext4_extent_node *at, struct ext4_block *held) MUST_CHECK;

// From the root (level 0) to the leaf that speaks of a block, or would. Each block is held.
struct ext4_extent_level {
	struct ext4_extent_node at;
	struct ext4_block held;
	int i; // the entry followed; in the leaf: the last that begins at or before the block, or -1
};
struct ext4_extent_path {
	uint32_t depth; // of the leaf
	struct ext4_extent_level level[EXT4_EXTENT_MAX_DEPTH + 1];
};
// ---- ext4_extent_path.c ----
// Sleeps.
int ext4_path_get(struct ext4 *fs, const struct ext4_node *node, uint32_t block,
		  struct ext4_extent_path *path) MUST_CHECK;
void ext4_path_put(struct ext4_extent_path *path);
static inline struct ext4_extent_level *ext4_path_leaf(struct ext4_extent_path *path)
{
	return &path->level[path->depth];
}
// What there is at a block of the file, and around it.
struct ext4_extent_spot {
	bool mapped, unwritten; // by an extent of one kind or the other
	uint32_t count;		// so many blocks from here on are alike, at least
	uint64_t disk;		// where the block lies, if it is mapped
	uint64_t goal;		// where a new one would best lie; 0: anywhere
	bool follows;		// the block before it is mapped, and lies before the goal
};
int ext4_extent_spot(struct ext4 *fs, const struct ext4_node *node, uint32_t block,
		     struct ext4_extent_spot *out) MUST_CHECK;

// ---- ext4_extent_write.c ----
// A node of the tree under change, and what to put when done. Entries of both kinds are 12 bytes.
struct ext4_extent_edit {
	struct ext4_extent_header *header;
	struct ext4_extent *entry;
	struct page *page; // null: the root, in the inode
};
struct transaction;
// The node at that level for changing: in the transaction's block, or in `node` itself. end sums and puts it.
int ext4_extent_edit_begin(struct transaction *t, struct ext4_node *node,
			   const struct ext4_extent_level *level,
			   struct ext4_extent_edit *edit) MUST_CHECK;
void ext4_extent_edit_end(const struct ext4 *fs, const struct ext4_node *node,
			  struct ext4_extent_edit *edit);
void ext4_extent_remove_at(struct ext4_extent_edit *edit, uint32_t at);
// The node at that level of the path begins with another block now: so do the index entries that lead to it.
int ext4_extent_fix_keys(struct transaction *t, struct ext4 *fs, struct ext4_node *node,
			 struct ext4_extent_path *path, uint32_t level, uint32_t block) MUST_CHECK;
// The run lies in the extent that the path leads to, and goes from the tree. 1: done, and the leaf may be empty; 0: the
// tree took a block to make room, and the path is not valid any more: once more.
struct ext4_new_run;
int ext4_extent_remove(struct transaction *t, struct ext4 *fs, struct ext4_node *node,
		       struct ext4_extent_path *path, const struct ext4_new_run *run) MUST_CHECK;
