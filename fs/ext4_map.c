// SPDX-License-Identifier: BSD-2-Clause
// File blocks to disk blocks, stage 6 of the read path: map_cached answers in a fast WTD from what
// the inode keeps, map reads what is missing on a worker.
//
// An inode keeps the runs of its last look-up. Several workers may map one inode at once: each
// works on runs of its own and puts them into the node under the lock, the last one wins, and all are
// right. Who changes the map (ext4_set_map) forgets the runs and moves map_version on, so that nobody
// puts back what was seen before.
#include "fs/ext4.h"

#include "kernel/kstring.h"

// How far a run is looked at for blocks that the journal replaced. Only volumes with a replayed
// journal pay, and a longer run is asked for in pieces.
#define REPLACED_LOOK_AHEAD 256U

static bool runs_find(const struct ext4_run *runs, uint32_t count, uint32_t block,
		      struct ext4_run *out)
{
	for (uint32_t i = 0; i < count; i++)
		if (block >= runs[i].first && block - runs[i].first < runs[i].count) {
			*out = runs[i];
			return true;
		}
	return false;
}

static int root_runs(const struct ext4 *fs, const struct ext4_node *node, uint32_t block,
		     struct ext4_run *runs)
{
	return node->flags & EXT4_EXTENTS_FL ? ext4_extent_root_runs(node, block, runs)
					     : ext4_indirect_root_runs(fs, node, block, runs);
}

// From memory only: the runs kept, then the inode itself. Any context but interrupt.
static int find_cached(struct ext4 *fs, struct ext4_node *node, uint64_t file_block,
		       struct ext4_run *run)
{
	struct ext4_run runs[EXT4_RUNS];
	if (file_block >= EXT4_LOGICAL_LIMIT)
		return -ERANGE;
	spin_lock_wtd(&fs->lock);
	bool found = runs_find(node->runs, node->run_count, (uint32_t)file_block, run);
	int n = found ? 0 : root_runs(fs, node, (uint32_t)file_block, runs);
	spin_unlock_wtd(&fs->lock);
	if (found)
		return 0;
	if (!n)
		return -EAGAIN;
	*run = runs[0];
	return 0;
}

int ext4_map_node(struct ext4 *fs, struct ext4_node *node, uint64_t file_block,
		  struct ext4_run *run)
{
	struct ext4_run runs[EXT4_RUNS];
	int n = find_cached(fs, node, file_block, run);
	uint32_t version = __atomic_load_n(&node->map_version, __ATOMIC_ACQUIRE);
	if (n != -EAGAIN)
		return n;
	n = node->flags & EXT4_EXTENTS_FL
		? ext4_extent_runs(fs, node, (uint32_t)file_block, runs)
		: ext4_indirect_runs(fs, node, (uint32_t)file_block, runs);
	if (n < 0)
		return n;
	spin_lock_wtd(&fs->lock);
	if (version == node->map_version) {
		memcpy(node->runs, runs, (size_t)n * sizeof(runs[0]));
		node->run_count = (uint32_t)n;
	}
	spin_unlock_wtd(&fs->lock);
	*run = runs[0];
	return 0;
}

void ext4_set_map(struct ext4 *fs, struct ext4_node *node, const struct ext4_node *from)
{
	spin_lock_wtd(&fs->lock);
	memcpy(node->block, from->block, sizeof(node->block));
	node->flags = from->flags;
	node->run_count = 0;
	node->map_version++;
	spin_unlock_wtd(&fs->lock);
}

// Cuts the extent so that all its blocks are where it says: a block that was journalled is in the
// log.
static void apply_journal(const struct ext4 *fs, uint64_t file_block, struct fs_extent *extent)
{
	uint64_t disk = extent->disk_block + (file_block - extent->file_block);
	uint64_t count = extent->count - (file_block - extent->file_block), replacement;
	bool escaped;
	if (!fs->has_replaced)
		return;
	extent->file_block = file_block;
	if (meta_replaced(fs->volume, disk, &replacement, &escaped)) {
		extent->disk_block = replacement;
		extent->count = 1;
		extent->escaped = escaped;
		return;
	}
	extent->disk_block = disk;
	uint32_t plain = 1, limit = (uint32_t)MIN(count, REPLACED_LOOK_AHEAD);
	while (plain < limit && !meta_replaced(fs->volume, disk + plain, &replacement, &escaped))
		plain++;
	extent->count = plain;
}

static void answer(const struct ext4 *fs, uint64_t file_block, const struct ext4_run *run,
		   struct fs_extent *out)
{
	out->file_block = run->first;
	out->disk_block = run->disk;
	out->count = run->count;
	out->hole = ext4_run_is_hole(run);
	out->unwritten = run->disk == EXT4_UNWRITTEN;
	out->escaped = false;
	if (!out->hole)
		apply_journal(fs, file_block, out);
}

int ext4_map(struct inode *inode, uint64_t file_block, struct fs_extent *out)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_run run;
	if (inode->type != INODE_FILE)
		return -EINVAL;
	int error = ext4_map_node(fs, inode_format_data(inode), file_block, &run);
	if (!error)
		answer(fs, file_block, &run, out);
	return error;
}

int ext4_map_cached(struct inode *inode, uint64_t file_block, struct fs_extent *out)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_run run;
	if (inode->type != INODE_FILE)
		return -EINVAL;
	int error = find_cached(fs, inode_format_data(inode), file_block, &run);
	if (!error)
		answer(fs, file_block, &run, out);
	return error;
}
