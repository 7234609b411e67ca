// SPDX-License-Identifier: BSD-2-Clause
// A directory's index, between who looks names up in it (ext4_htree.c) and who changes it
// (ext4_htree_write.c). Thread and worker context.
#pragma once

#include "fs/ext4_write.h"

#define EXT4_HTREE_LEVELS 3 // with large_dir; else one less

// The path from the root to the last level above the leaves. Each level's block is held.
struct ext4_htree_level {
	struct ext4_dir_block block;
	const struct ext4_dx_entry *entries; // [0] has limit and count where the others have a hash
	uint32_t index;			     // logical number of the block
	uint32_t count, limit, at;	     // at: the entry where the hash belongs
};
struct ext4_htree_path {
	struct ext4_htree_level level[EXT4_HTREE_LEVELS];
	unsigned levels;
	unsigned version; // of the hash, for ext4_hash
	uint32_t hash;	  // of the name looked for
};
// Sleeps. -EOPNOTSUPP: this index cannot be used. The caller ends with ext4_htree_put, after an error too.
int ext4_htree_descend(struct inode *dir, const char *name, size_t len,
		       struct ext4_htree_path *path) MUST_CHECK;
void ext4_htree_put(struct ext4_htree_path *path);
// The block that the level's entry leads to.
int ext4_htree_child(struct inode *dir, const struct ext4_htree_level *level,
		     uint32_t *child) MUST_CHECK;
// Where an index block's entries begin, and how many there is room for. Pure.
static inline uint32_t ext4_htree_start(uint32_t index)
{
	return index ? EXT4_DX_NODE_ENTRIES : EXT4_DX_ROOT_ENTRIES;
}
static inline uint32_t ext4_htree_limit(const struct ext4 *fs, uint32_t index)
{
	uint32_t tail = ext4_has_csum(fs) ? sizeof(struct ext4_dx_tail) : 0;
	return (fs->block_bytes - ext4_htree_start(index) - tail) / sizeof(struct ext4_dx_entry);
}
// Levels of index blocks that a directory of this volume may have.
static inline unsigned ext4_htree_levels(const struct ext4 *fs)
{
	return EXT4_HTREE_LEVELS - !(fs->incompat & INCOMPAT_LARGEDIR);
}

// ---- ext4_htree_write.c; inside a transaction ----
// Adds the entry where its hash belongs. -EOPNOTSUPP: this index cannot be used; -ENOSPC.
int ext4_htree_add(struct transaction *t, struct inode *dir,
		   const struct ext4_new_entry *entry) MUST_CHECK;
// A directory of one block becomes an indexed one. -EOPNOTSUPP: its block is not as it should be.
int ext4_htree_make(struct transaction *t, struct inode *dir) MUST_CHECK;
