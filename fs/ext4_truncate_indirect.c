// SPDX-License-Identifier: BSD-2-Clause
// Truncation of block-mapped inodes (ext2's and ext3's kind): from the triple-indirect tree down to the direct
// blocks, each from its end. Neighbours on the disk are freed as one run. A block of pointers goes when none is
// left in it.
#include "fs/ext4_truncate.h"

#include "kernel/page.h"

#define DIRECT 12U

struct walk {
	struct ext4_step *step;
	uint64_t run; // blocks [run, run + count) are to be freed
	uint32_t count;
	bool full; // the step is: no more in this one
};

static int flush(struct walk *w)
{
	uint32_t count = w->count;
	w->count = 0;
	return count ? ext4_step_free(w->step, w->run, count, w->step->meta) : 0;
}

// One block of data, joined to the run when it lies before it in the same group. Clears the pointer.
static int drop_data(struct walk *w, uint32_t *pointer)
{
	struct ext4 *fs = ext4_of(w->step->inode);
	bool joins = w->count && *pointer + 1UL == w->run &&
		     ext4_group_of(fs, *pointer) == ext4_group_of(fs, w->run);
	if (!ext4_data_block_ok(fs, *pointer, 1))
		return ext4_corrupt(fs, w->step->inode->number, *pointer, "block to be freed");
	if (!joins) {
		int error = flush(w);
		if (error)
			return error;
		// The blocks of pointers above it may become empty: up to three groups.
		w->full = !ext4_step_room(w->step, *pointer, 0, 3);
		if (w->full)
			return 0;
	}
	w->run = *pointer;
	w->count++;
	*pointer = 0;
	return 0;
}

static bool all_zero(const uint32_t *pointers, uint32_t count)
{
	while (count && !pointers[count - 1])
		count--;
	return !count;
}

// The tree of `depth` levels of pointers below *pointer, whose first block in the file is `base`. Clears the
// pointer when nothing is left below it.
static int branch(struct walk *w, uint32_t *pointer, unsigned depth, uint64_t base)
{
	struct ext4 *fs = ext4_of(w->step->inode);
	const uint32_t shift = fs->block_shift - 2, per_block = 1U << shift;
	uint64_t span = 1UL << shift * (depth - 1), from = w->step->from, disk = *pointer;
	uint32_t first = from > base ? (uint32_t)((from - base) / span) : 0;
	struct page *page;
	void *data;
	int error = 0;
	if (!ext4_data_block_ok(fs, disk, 1))
		return ext4_corrupt(fs, w->step->inode->number, disk, "block of pointers");
	// Groups: its own, those of the two above it, and one for what lies below.
	w->full = !ext4_step_room(w->step, disk, 1, 3);
	if (w->full)
		return 0;
	error = transaction_get(w->step->t, disk, &data, &page);
	if (error)
		return error;
	uint32_t *pointers = data;
	for (uint32_t i = per_block; i-- > first && !error && !w->full;) {
		if (!pointers[i])
			continue;
		error = depth == 1 ? drop_data(w, &pointers[i])
				   : branch(w, &pointers[i], depth - 1, base + i * span);
	}
	bool empty = all_zero(pointers, per_block);
	page_wire_put(page);
	if (error || !empty)
		return error;
	error = flush(w);
	*pointer = 0;
	return error ? error : ext4_step_free(w->step, disk, 1, true);
}

int ext4_truncate_indirect(struct ext4_step *step)
{
	struct ext4 *fs = ext4_of(step->inode);
	const uint32_t shift = fs->block_shift - 2;
	struct walk w = {.step = step};
	uint32_t *block = step->node->block;
	uint64_t base[3] = {DIRECT, DIRECT + (1UL << shift),
			    DIRECT + (1UL << shift) + (1UL << 2 * shift)};
	int error = 0;
	for (unsigned depth = 3; depth && !error && !w.full; depth--) {
		uint64_t end = base[depth - 1] + (1UL << shift * depth);
		if (block[DIRECT + depth - 1] && step->from < end)
			error = branch(&w, &block[DIRECT + depth - 1], depth, base[depth - 1]);
	}
	for (uint32_t i = DIRECT; i-- > step->from && !error && !w.full;)
		if (block[i])
			error = drop_data(&w, &block[i]);
	if (!error)
		error = flush(&w);
	return error ? error : w.full;
}
