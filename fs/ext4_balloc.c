// SPDX-License-Identifier: BSD-2-Clause
// Blocks: finding a run of free ones, taking it, giving it back. Thread and worker context, inside a
// transaction (the stage of the write path in which dirty pages get their places).
//
// A block is free to be taken when its bit is clear, no other file's window holds it (ext4_window.c), and the
// transaction that freed it, if any, is on the disk: a crash before that would bring the old owner back.
// The search goes from the goal through all groups and round, in rounds that ask for less and less:
//
//	1. a run as long as wanted, in the first groups that have so much free at all
//	2. the longest run that this round saw
//	3. any run, in all groups
//	4. the same inside other files' windows: they are wishes, and never a reason to refuse
//
// A group whose descriptor or bitmap is damaged, or cannot be read, has nothing: the others have.
#include "fs/ext4_alloc.h"

#include "kernel/kstring.h"
#include "kernel/page.h"
#include "kernel/panic.h"

// Bitmaps looked at for a run as long as wanted, before the best so far is taken.
#define GROUPS_TRIED 32
// Smaller gaps are left to whose they may be: a hole of a file is filled one day.
#define ROOMY 16U

struct run {
	uint64_t first;
	uint32_t count;
};
struct search {
	struct ext4 *fs;
	const struct ext4_want *want;
	uint32_t length;      // a run of so many ends the search
	bool through_windows; // round 4
	bool all;	      // every group, any run
	struct run best;
	uint32_t tried;
	bool unsettled; // there was something that only waits for a commit
	int damaged;	// why a group was passed by
	uint64_t stop;	// the first group of the walk comes again: only up to here
	uint64_t group; // the group that a walk stopped for; fs->groups: none
	uint32_t least; // a group with fewer free blocks is passed by
};

// The first block from `first` on that no uncommitted transaction freed, and how far that goes.
static uint64_t settled(struct search *s, uint64_t first, uint64_t end, uint64_t *settled_end)
{
	uint64_t until = first + 1;
	while (first < end && transaction_freed_recently(s->fs->volume, first, &until)) {
		s->unsettled = true;
		first = until;
		until = first + 1;
	}
	first = MIN(first, end);
	uint64_t at = MIN(until, end);
	while (at < end) {
		until = at + 1;
		if (transaction_freed_recently(s->fs->volume, at, &until))
			break;
		at = MIN(until, end);
	}
	*settled_end = MAX(at, first);
	return first;
}

// Cuts a run of clear bits to what may be taken of it, from `first` on.
static struct run usable(struct search *s, uint64_t first, uint64_t end)
{
	uint64_t window_end = end, settled_end = end;
	for (uint64_t before = UINT64_MAX; before != first && first < end;) {
		before = first;
		if (!s->through_windows)
			first = ext4_window_free(s->fs, s->want->inode, first, end, &window_end);
		first = settled(s, first, end, &settled_end);
	}
	uint64_t to = MIN(MIN(window_end, settled_end), end);
	return (struct run){first, first < to ? (uint32_t)(to - first) : 0};
}

// Looks at the bits [from, group->blocks); keeps the best run. True: long enough.
static bool scan(struct search *s, const struct ext4_group *group, const uint8_t *bits,
		 uint32_t from)
{
	uint32_t at = from;
	while (at < group->blocks) {
		at = ext4_bits_clear_at(bits, at, group->blocks);
		uint32_t end = ext4_bits_set_at(bits, at, group->blocks);
		while (at < end) {
			struct run run = usable(s, group->first + at, group->first + end);
			if (run.count > s->best.count)
				s->best = run;
			if (s->best.count >= s->length)
				return true;
			at = (uint32_t)(run.first - group->first) + run.count;
		}
	}
	return false;
}

// The group and its bitmap, which is held. 1: there is none to be looked at; or an error.
static int open_group(struct search *s, uint64_t number, struct ext4_group *group,
		      struct ext4_block *bitmap)
{
	int error = ext4_group_read(s->fs, number, group);
	if (!error && !group->free_blocks)
		return 1;
	if (!error)
		error = ext4_bitmap_read(s->fs, group, EXT4_BLOCK_BITMAP, bitmap);
	if (error != -EUCLEAN && error != -EIO)
		return error;
	s->damaged = error;
	return 1;
}

static int scan_group(struct search *s, uint64_t number, uint64_t from, bool *found)
{
	struct ext4_group group;
	struct ext4_block bitmap;
	int error = open_group(s, number, &group, &bitmap);
	if (error)
		return MIN(error, 0);
	uint32_t start = from > group.first ? (uint32_t)(from - group.first) : 0;
	*found = scan(s, &group, bitmap.data, start);
	ext4_bitmap_done(s->fs, &bitmap);
	return 0;
}

static bool promising(const struct ext4_group *group, void *ctx)
{
	struct search *s = ctx;
	if (group->free_blocks < s->least)
		return true;
	s->group = group->number;
	return false;
}

// Groups [first, end), in order.
static int scan_groups(struct search *s, uint64_t first, uint64_t end, bool *found)
{
	while (first < end && !*found && (s->all || s->tried < GROUPS_TRIED)) {
		s->group = end;
		s->least = s->all ? s->best.count + 1 : s->length;
		int error = ext4_group_walk(s->fs, first, end - first, promising, s);
		if (error)
			return error;
		if (s->group == end)
			break;
		s->tried++;
		error = scan_group(s, s->group, 0, found);
		if (error)
			return error;
		first = s->group + 1;
	}
	return 0;
}

// One round over the volume, from the goal. The goal's group is looked at behind the goal first.
static int search_round(struct search *s)
{
	uint64_t goal = s->want->goal;
	uint64_t first = ext4_group_of(s->fs, goal);
	bool found = false;
	int error = scan_group(s, first, goal, &found);
	if (!error && !found)
		error = scan_groups(s, first + 1, s->fs->groups, &found);
	if (!error && !found)
		error = scan_groups(s, 0, first + 1, &found);
	return error;
}

static int search(struct search *s)
{
	int error = search_round(s);
	if (error || s->best.count)
		return error;
	s->all = true;
	s->length = 1;
	error = search_round(s);
	if (error || s->best.count)
		return error;
	s->through_windows = true;
	error = search_round(s);
	if (error || s->best.count)
		return error;
	return s->unsettled ? -EAGAIN : s->damaged ? s->damaged : -ENOSPC;
}

// The run that begins with the goal itself, as far as it goes.
static int try_goal(struct search *s, struct run *out)
{
	struct ext4_group group;
	struct ext4_block bitmap;
	uint64_t goal = s->want->goal;
	*out = (struct run){0};
	int error = open_group(s, ext4_group_of(s->fs, goal), &group, &bitmap);
	if (error)
		return MIN(error, 0);
	uint32_t at = (uint32_t)(goal - group.first);
	uint32_t end = ext4_bits_set_at(bitmap.data, at, group.blocks);
	if (end > at) {
		struct run run = usable(s, goal, group.first + end);
		if (run.first == goal)
			*out = run;
	}
	ext4_bitmap_done(s->fs, &bitmap);
	return 0;
}

// How much room to keep for a stream: as much again as the file has, within bounds.
static uint32_t window_length(struct ext4 *fs, const struct ext4_want *want)
{
	uint64_t most = MIN(fs->free_blocks / 16, fs->blocks_per_group);
	uint64_t length = MAX(want->length, MIN(most, (1UL << 20) >> fs->block_shift));
	return (uint32_t)MAX(MIN(length, most), want->count);
}

// Continues at the goal when what is there will do, else looks for a better place. `*run`: all that is free there.
static int find_place(struct ext4 *fs, const struct ext4_want *want, struct run *run)
{
	struct search s = {.fs = fs, .want = want, .length = want->count};
	struct ext4_window window = {0};
	bool in_window = ext4_window_of(fs, want->inode, &window) && want->goal >= window.first &&
			 want->goal - window.first < window.count;
	int error = try_goal(&s, run);
	// Inside its window a stream takes what there is; at its end, only if the next one fits there.
	uint32_t enough = MIN(want->count, 16U);
	if (want->stream && !in_window)
		s.length = window_length(fs, want);
	if (error || (run->count && (in_window || run->count >= MAX(s.length / 4, enough))))
		return error;
	struct run at_goal = *run;
	if (want->roomy)
		s.length = MAX(s.length, ROOMY);
	error = search(&s);
	*run = s.best.count > at_goal.count ? s.best : at_goal;
	if (at_goal.count && (error == -ENOSPC || error == -EAGAIN || error == s.damaged))
		return 0;
	return error;
}

static uint64_t sane_goal(const struct ext4 *fs, uint64_t goal)
{
	return goal > fs->first_data_block && goal < fs->blocks ? goal : fs->first_data_block + 1UL;
}

// Marks bits that are all clear (set) the other way, with every count that goes along.
static int change_bits(struct transaction *t, struct ext4 *fs, const struct run *run, bool take)
{
	uint64_t number = ext4_group_of(fs, run->first);
	struct ext4_group group;
	struct page *page;
	uint8_t *bits;
	int error = ext4_group_get(t, fs, number, &group);
	if (error)
		return error;
	uint32_t at = (uint32_t)(run->first - group.first), end = at + run->count;
	ASSERT(end <= group.blocks);
	error = ext4_bitmap_get(t, fs, &group, EXT4_BLOCK_BITMAP, &bits, &page);
	if (error) {
		ext4_group_put(fs, &group);
		return error;
	}
	bool as_expected = take ? ext4_bits_set_at(bits, at, end) == end
				: ext4_bits_clear_at(bits, at, end) == end;
	bool counted =
	    take ? group.free_blocks >= run->count : group.free_blocks + run->count <= group.blocks;
	if (as_expected && counted) {
		ext4_bits_fill(bits, at, run->count, take);
		group.free_blocks += take ? -run->count : run->count;
	} else {
		error = ext4_corrupt(fs, 0, run->first, "%u blocks to be %s%s", run->count,
				     take ? "taken" : "freed",
				     as_expected ? ", against the group's count" : " are already");
	}
	ext4_bitmap_put(fs, &group, EXT4_BLOCK_BITMAP, bits, page);
	ext4_group_put(fs, &group);
	if (error)
		return error;
	return ext4_count_free(t, fs, take ? -(int64_t)run->count : run->count, 0);
}

int ext4_take_blocks(struct transaction *t, struct ext4 *fs, const struct ext4_want *asked,
		     uint64_t *block, uint32_t *count)
{
	struct ext4_want want = *asked;
	struct run run;
	want.goal = sane_goal(fs, want.goal);
	ASSERT(want.count);
	int error = find_place(fs, &want, &run);
	if (error)
		return error;
	uint32_t room = run.count;
	run.count = MIN(run.count, want.count);
	error = change_bits(t, fs, &run, true);
	if (error)
		return error;
	if (want.stream)
		ext4_window_set(fs, want.inode, run.first,
				MIN(room, MAX(window_length(fs, &want), run.count)));
	*block = run.first;
	*count = run.count;
	return 0;
}

int ext4_give_back(struct transaction *t, struct ext4 *fs, uint64_t block, uint32_t count,
		   bool meta)
{
	struct run run = {block, count};
	int error = change_bits(t, fs, &run, false);
	return error ? error : transaction_forget(t, block, count, meta);
}

int ext4_free_blocks(struct transaction *t, uint64_t block, uint64_t count, bool meta)
{
	struct ext4 *fs = t->volume->private;
	if (!ext4_data_block_ok(fs, block, count))
		return ext4_corrupt(fs, 0, block, "%lu blocks to be freed", (unsigned long)count);
	while (count) {
		uint64_t in_group = (block - fs->first_data_block) % fs->blocks_per_group;
		uint64_t piece = MIN(count, fs->blocks_per_group - in_group);
		int error = ext4_give_back(t, fs, block, (uint32_t)piece, meta);
		if (error)
			return error;
		block += piece;
		count -= piece;
	}
	return 0;
}

int ext4_allocate_meta(struct transaction *t, struct inode *inode, uint64_t goal, uint64_t *block)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_want want = {.goal = goal, .count = 1, .roomy = true};
	uint32_t one;
	if (!ext4_unpromised(fs, 1))
		return -ENOSPC;
	if (!goal)
		want.goal = ext4_inode_goal(fs, (uint32_t)inode->number);
	return ext4_take_blocks(t, fs, &want, block, &one);
}

uint64_t ext4_inode_goal(const struct ext4 *fs, uint32_t number)
{
	uint64_t group = (number - 1) / fs->inodes_per_group;
	return fs->first_data_block + group * fs->blocks_per_group;
}
