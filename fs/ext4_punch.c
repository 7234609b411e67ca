// SPDX-License-Identifier: BSD-2-Clause
// Holes in files with extents, one run in a transaction: written blocks become unwritten ones, which read as zeros and
// stay where they are (ext4_unwrite); blocks of either kind go (ext4_unmap), given back as truncation gives them back.
// After a crash each run is as before or as after: the inode is no orphan meanwhile. Thread context.
#include "fs/ext4_extent.h"
#include "fs/ext4_truncate.h"

#include "kernel/panic.h"

#define NEW_NODES (EXT4_EXTENT_MAX_DEPTH + 1U) // a run's ends may split every level

// What there is at the block, and that the tree may be split there: -ENOSPC. *count: cut to what is alike.
static int look(struct ext4 *fs, const struct ext4_node *node, uint64_t file_block, uint64_t *count,
		struct ext4_extent_spot *spot)
{
	struct ext4_extent_path path;
	*spot = (struct ext4_extent_spot){0};
	if (!(node->flags & EXT4_EXTENTS_FL))
		return -EOPNOTSUPP;
	if (file_block >= EXT4_LOGICAL_LIMIT)
		return -EFBIG;
	if (!*count)
		return 0;
	int error = ext4_extent_spot(fs, node, (uint32_t)file_block, spot);
	if (error)
		return error;
	*count = MIN(*count, spot->count);
	if (!spot->mapped && !spot->unwritten)
		return 0;
	error = ext4_path_get(fs, node, (uint32_t)file_block, &path);
	if (error)
		return error;
	const struct ext4_extent_header *leaf = ext4_path_leaf(&path)->at.header;
	bool room = leaf->eh_max - leaf->eh_entries >= 2;
	ext4_path_put(&path);
	return room || ext4_unpromised(fs, NEW_NODES) ? 0 : -ENOSPC;
}

int ext4_unwrite(struct transaction *t, struct inode *inode, uint64_t file_block, uint64_t *count)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_node node = *(const struct ext4_node *)inode_format_data(inode);
	struct ext4_extent_spot spot;
	uint32_t meta = 0;
	int error = look(fs, &node, file_block, count, &spot);
	if (error || !spot.mapped)
		return error;
	*count = MIN(*count, (uint64_t)EXT4_EXTENT_INIT_MAX - 1);
	struct ext4_new_run run = {.first = (uint32_t)file_block,
				   .count = (uint32_t)*count,
				   .disk = spot.disk,
				   .unwritten = true};
	error = ext4_extent_convert(t, inode, &node, &run, &meta);
	if (error)
		return error;
	struct ext4_map_change change = {.blocks = meta};
	return ext4_write_map(t, inode, &node, &change);
}

// The run, which one extent has, goes from the tree. *meta: blocks that the tree took for that.
static int take_out(struct ext4_step *step, const struct ext4_new_run *run, uint32_t *meta)
{
	struct ext4 *fs = ext4_of(step->inode);
	for (int done = 0; !done;) {
		struct ext4_extent_path path;
		int error = ext4_path_get(fs, step->node, run->first, &path);
		if (error)
			return error;
		done = ext4_extent_remove(step->t, fs, step->node, &path, run);
		if (done > 0)
			error = ext4_extent_prune(step, &path);
		ext4_path_put(&path);
		if (error || done < 0)
			return error ? error : done;
		*meta += !done;
	}
	return 0;
}

int ext4_unmap(struct transaction *t, struct inode *inode, uint64_t file_block, uint64_t *count)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_node node = *(const struct ext4_node *)inode_format_data(inode);
	struct ext4_extent_spot spot;
	struct ext4_step step = {.t = t, .inode = inode, .node = &node};
	uint32_t meta = 0;
	int error = look(fs, &node, file_block, count, &spot);
	if (error || (!spot.mapped && !spot.unwritten))
		return error;
	uint64_t group_end =
	    fs->first_data_block + (ext4_group_of(fs, spot.disk) + 1) * fs->blocks_per_group;
	*count = MIN(*count, group_end - spot.disk);
	struct ext4_new_run run = {
	    .first = (uint32_t)file_block, .count = (uint32_t)*count, .disk = spot.disk};
	error = ext4_step_free(&step, run.disk, run.count, false);
	if (!error)
		error = take_out(&step, &run, &meta);
	if (error)
		return error;
	struct ext4_map_change change = {.blocks = (int64_t)meta - (int64_t)step.freed};
	return ext4_write_map(t, inode, &node, &change);
}
