// SPDX-License-Identifier: BSD-2-Clause
// Shrinking and emptying inodes, whatever their kind of map, in steps that each fit a transaction. Worker context.
// Between two steps the inode is on the list of orphans (the caller's care), and its size is the new one
// already: a crash in between leaves blocks beyond the end, which the next mount takes.
#include "fs/ext4_truncate.h"

#include "kernel/panic.h"
#include "kernel/wtd.h"

bool ext4_step_room(struct ext4_step *step, uint64_t block, uint32_t nodes, uint32_t spare)
{
	uint64_t group = ext4_group_of(ext4_of(step->inode), block);
	uint32_t i = 0;
	if (step->nodes + nodes > EXT4_STEP_NODES || step->runs == EXT4_STEP_RUNS)
		return false;
	while (i < step->groups && step->group[i] != group)
		i++;
	if (MAX(step->groups, i + 1) + spare > EXT4_STEP_GROUPS)
		return false;
	step->group[i] = group;
	step->groups = MAX(step->groups, i + 1);
	step->nodes += nodes;
	return true;
}

int ext4_step_free(struct ext4_step *step, uint64_t block, uint32_t count, bool meta)
{
	struct ext4 *fs = ext4_of(step->inode);
	if (!ext4_data_block_ok(fs, block, count))
		return ext4_corrupt(fs, step->inode->number, block, "%u blocks to be freed", count);
	step->runs++;
	step->freed += count;
	return ext4_give_back(step->t, fs, block, count, meta);
}

static bool has_map(const struct inode *inode)
{
	return inode->type != INODE_OTHER && !ext4_is_fast_symlink(inode);
}

int ext4_truncate_step(struct transaction *t, struct inode *inode, uint64_t size, bool *more)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_node node = *(const struct ext4_node *)inode_format_data(inode);
	uint64_t mask = fs->block_bytes - 1;
	struct ext4_step step = {.t = t,
				 .inode = inode,
				 .node = &node,
				 .from = (size + mask) >> fs->block_shift,
				 .meta = inode->type != INODE_FILE};
	int result = 0;
	*more = false;
	if (size > EXT4_LOGICAL_LIMIT << fs->block_shift)
		return -EFBIG;
	if (has_map(inode))
		result = node.flags & EXT4_EXTENTS_FL ? ext4_truncate_extents(&step)
						      : ext4_truncate_indirect(&step);
	if (result < 0)
		return result;
	struct ext4_map_change change = {
	    .blocks = -(int64_t)step.freed, .size = size, .exactly = true};
	int error = ext4_write_map(t, inode, &node, &change);
	if (error)
		return error;
	ext4_release_preallocation(inode);
	wtd_disable();
	inode->size = size;
	wtd_enable();
	*more = result;
	return 0;
}

uint32_t ext4_credits_truncate_step(const struct ext4 *fs)
{
	return 2 * EXT4_STEP_GROUPS + EXT4_STEP_NODES + ext4_credits_inode(fs) + 1;
}
