// SPDX-License-Identifier: BSD-2-Clause
// Files of the ext2 and ext3 kind: twelve block numbers in the inode, then blocks full of block
// numbers, one, two and three levels deep. They have no checksums; every number is checked against
// the volume's bounds. A zero is a hole, as large as what would lie below it.
#include "fs/ext4.h"

#define DIRECT 12U

static bool pointer_ok(const struct ext4 *fs, uint32_t pointer)
{
	return !pointer || ext4_data_block_ok(fs, pointer, 1);
}

int ext4_indirect_check_root(struct ext4 *fs, const struct ext4_node *node)
{
	for (unsigned i = 0; i < EXT4_N_BLOCKS; i++)
		if (!pointer_ok(fs, node->block[i]))
			return ext4_corrupt(fs, node->number, node->block[i],
					    "block number %u of the inode", i);
	return 0;
}

// Puts runs for pointers[from..count), logical blocks from `logical` on, into runs. Stops before a
// pointer outside the volume.
static int pointer_runs(const struct ext4 *fs, const uint32_t *pointers, uint32_t from,
			uint32_t count, uint32_t logical, struct ext4_run *runs)
{
	int n = 0;
	for (uint32_t i = from; i < count && pointer_ok(fs, pointers[i]); i++, logical++) {
		uint64_t disk = pointers[i] ? pointers[i] : EXT4_HOLE;
		struct ext4_run *last = n ? &runs[n - 1] : NULL;
		bool both_holes = last && disk == EXT4_HOLE && last->disk == EXT4_HOLE;
		bool contiguous =
		    last && last->disk != EXT4_HOLE && last->disk + last->count == disk;
		if (both_holes || contiguous)
			last->count++;
		else if (n < EXT4_RUNS)
			runs[n++] = (struct ext4_run){.first = logical, .count = 1, .disk = disk};
		else
			break;
	}
	return n;
}

uint64_t ext4_indirect_blocks_max(const struct ext4 *fs)
{
	const uint32_t shift = fs->block_shift - 2;
	uint64_t blocks = DIRECT;
	for (unsigned depth = 1; depth <= 3; depth++)
		blocks += 1UL << shift * depth;
	return MIN(blocks, EXT4_LOGICAL_LIMIT);
}

int ext4_indirect_root_runs(const struct ext4 *fs, const struct ext4_node *node, uint32_t block,
			    struct ext4_run *runs)
{
	return block < DIRECT ? pointer_runs(fs, node->block, block, DIRECT, block, runs) : 0;
}

int ext4_indirect_runs(struct ext4 *fs, const struct ext4_node *node, uint32_t block,
		       struct ext4_run *runs)
{
	const uint32_t shift = fs->block_shift - 2; // log2 of pointers in a block
	if (block < DIRECT)
		return ext4_indirect_root_runs(fs, node, block, runs);

	// Which of the three trees, and the logical block it begins with.
	uint64_t base = DIRECT;
	unsigned depth = 1;
	while (depth <= 3 && block - base >= 1UL << shift * depth)
		base += 1UL << shift * depth++;
	if (depth > 3) {
		runs[0] = (struct ext4_run){.first = (uint32_t)base,
					    .count = (uint32_t)(EXT4_LOGICAL_LIMIT - base),
					    .disk = EXT4_HOLE};
		return 1;
	}
	uint32_t pointer = node->block[DIRECT + depth - 1];
	while (pointer) {
		struct ext4_block held;
		uint32_t index = (uint32_t)((block - base) >> shift * (depth - 1));
		int error = ext4_block_get(fs, pointer, &held);
		if (error)
			return error;
		const uint32_t *pointers = held.data;
		uint32_t above = pointer;
		int n = 0;
		pointer = pointers[index];
		bool ok = pointer_ok(fs, pointer);
		if (ok && depth == 1)
			n = pointer_runs(fs, pointers, index, 1U << shift, block, runs);
		ext4_block_put(&held);
		if (!ok)
			return ext4_corrupt(fs, node->number, above, "block number %u", pointer);
		if (depth == 1)
			return n;
		depth--;
		base += (uint64_t)index << shift * depth;
	}
	// A hole of a whole subtree; the triple-indirect one may end beyond the format's last
	// block.
	uint64_t end = MIN(base + (1UL << shift * depth), EXT4_LOGICAL_LIMIT);
	runs[0] = (struct ext4_run){
	    .first = (uint32_t)base, .count = (uint32_t)(end - base), .disk = EXT4_HOLE};
	return 1;
}
