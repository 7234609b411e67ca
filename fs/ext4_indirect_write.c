// SPDX-License-Identifier: BSD-2-Clause
// New blocks for inodes that are mapped by block numbers (ext2's and ext3's kind): the numbers go into the inode or
// into blocks of numbers, which are made where they are missing. Worker context, inside a transaction, on a
// copy of the inode's node. One call stays inside one block of numbers.
#include "fs/ext4_alloc.h"

#include "fs/ext4_extent.h"
#include "kernel/page.h"

#define DIRECT	12U
#define NUMBERS 0x100000000UL // blocks beyond have no number here

// The way to a block's number: which of the inode's numbers, then an index a level.
struct chain {
	unsigned depth; // levels of blocks of numbers: 0 to 3
	uint32_t root;
	uint32_t index[3];
	uint32_t room; // blocks of the file from this one on whose numbers lie in the same place
};

static int chain_of(const struct ext4 *fs, uint32_t block, struct chain *chain)
{
	const uint32_t shift = fs->block_shift - 2;
	uint64_t rest = block, mask = (1UL << shift) - 1;
	*chain = (struct chain){.root = block, .room = DIRECT - block};
	if (block < DIRECT)
		return 0;
	rest -= DIRECT;
	chain->depth = 1;
	while (chain->depth <= 3 && rest >= 1UL << shift * chain->depth)
		rest -= 1UL << shift * chain->depth++;
	if (chain->depth > 3)
		return -EFBIG;
	chain->root = DIRECT + chain->depth - 1;
	for (unsigned l = 0; l < chain->depth; l++)
		chain->index[l] = (uint32_t)(rest >> shift * (chain->depth - 1 - l) & mask);
	chain->room = (uint32_t)(mask + 1 - (rest & mask));
	return 0;
}

static int runs_at(struct ext4 *fs, const struct ext4_node *node, uint32_t block,
		   struct ext4_run *first)
{
	struct ext4_run runs[EXT4_RUNS];
	int n = ext4_indirect_runs(fs, node, block, runs);
	if (n > 0)
		*first = runs[0];
	return n < 0 ? n : (n ? 0 : ext4_corrupt(fs, node->number, 0, "block number"));
}

int ext4_indirect_spot(struct ext4 *fs, const struct ext4_node *node, uint32_t block,
		       struct ext4_extent_spot *out)
{
	struct chain chain;
	struct ext4_run run;
	*out = (struct ext4_extent_spot){.count = 1};
	int error = chain_of(fs, block, &chain);
	if (!error)
		error = runs_at(fs, node, block, &run);
	if (error)
		return error;
	uint32_t in = block - run.first;
	out->count = run.count - in;
	out->mapped = run.disk != EXT4_HOLE;
	if (out->mapped) {
		out->disk = run.disk + in;
		return 0;
	}
	out->count = MIN(out->count, chain.room);
	if (!block)
		return 0;
	error = runs_at(fs, node, block - 1, &run);
	out->follows = !error && run.disk != EXT4_HOLE;
	if (out->follows)
		out->goal = run.disk + (block - run.first);
	return error;
}

// The block of numbers that *number leads to, for changing; made if there is none.
static int numbers_get(struct transaction *t, struct ext4 *fs, uint32_t *number, uint64_t near,
		       uint32_t **numbers, struct page **page, uint32_t *meta)
{
	struct ext4_want want = {.goal = near, .count = 1, .roomy = true};
	uint64_t disk = *number;
	uint32_t one;
	void *data;
	int error;
	if (disk) {
		error = transaction_get(t, disk, &data, page);
	} else {
		error = ext4_take_blocks(t, fs, &want, &disk, &one);
		if (!error && disk >= NUMBERS)
			error = -ENOSPC;
		if (!error)
			error = transaction_get_fresh(t, disk, &data, page);
		*meta += !error;
	}
	if (error)
		return error;
	*number = (uint32_t)disk;
	*numbers = data;
	return 0;
}

int ext4_indirect_insert(struct transaction *t, struct inode *inode, struct ext4_node *node,
			 const struct ext4_new_run *run, uint32_t *meta)
{
	struct ext4 *fs = ext4_of(inode);
	struct chain chain;
	struct page *page = NULL;
	*meta = 0;
	if (run->disk + run->count > NUMBERS)
		return -ENOSPC;
	int error = chain_of(fs, run->first, &chain);
	if (error)
		return error;
	uint32_t *number = &node->block[chain.root];
	for (unsigned l = 0; l < chain.depth; l++) {
		struct page *below;
		uint32_t *numbers;
		error = numbers_get(t, fs, number, run->disk, &numbers, &below, meta);
		if (page)
			page_wire_put(page);
		if (error)
			return error;
		page = below;
		number = &numbers[chain.index[l]];
	}
	for (uint32_t i = 0; i < run->count; i++)
		number[i] = (uint32_t)(run->disk + i);
	if (page)
		page_wire_put(page);
	return 0;
}
