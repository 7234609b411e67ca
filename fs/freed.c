// SPDX-License-Identifier: BSD-2-Clause
// The set of freed runs (fs/freed.h): a treap, cut and joined recursively. Its depth is that of a random tree:
// for a million runs some 50.
#include "fs/freed.h"

#include "kernel/cpu.h"
#include "kernel/panic.h"

// Runs that begin below `at` go to *low, the others to *high.
static void split(struct freed_run *tree, uint64_t at, struct freed_run **low,
		  struct freed_run **high)
{
	if (!tree) {
		*low = *high = NULL;
	} else if (tree->first < at) {
		*low = tree;
		split(tree->right, at, &tree->right, high);
	} else {
		*high = tree;
		split(tree->left, at, low, &tree->left);
	}
}

// All of `low` lies below all of `high`.
static struct freed_run *join(struct freed_run *low, struct freed_run *high)
{
	if (!low || !high)
		return low ? low : high;
	if (low->priority >= high->priority) {
		low->right = join(low->right, high);
		return low;
	}
	high->left = join(low, high->left);
	return high;
}

// The last run that begins at or below the block; *above: where the next one begins.
static const struct freed_run *at_or_below(const struct freed_set *set, uint64_t block,
					   uint64_t *above)
{
	const struct freed_run *best = NULL;
	*above = UINT64_MAX;
	for (const struct freed_run *run = set->root; run;) {
		bool below = run->first <= block;
		if (below)
			best = run;
		else
			*above = run->first;
		run = below ? run->right : run->left;
	}
	return best;
}

bool freed_find(const struct freed_set *set, uint64_t block, uint64_t *until)
{
	const struct freed_run *run = at_or_below(set, block, until);
	if (!run || block - run->first >= run->count)
		return false;
	*until = run->first + run->count;
	return true;
}

bool freed_insert(struct freed_set *set, struct freed_run *run)
{
	uint64_t above;
	const struct freed_run *near = at_or_below(set, run->first + run->count - 1, &above);
	struct freed_run *low, *high;
	if (near && near->first + near->count > run->first)
		return false;
	run->priority = (uint32_t)cpu_random();
	run->left = run->right = NULL;
	split(set->root, run->first, &low, &high);
	set->root = join(join(low, run), high);
	set->runs++;
	return true;
}

void freed_remove(struct freed_set *set, struct freed_run *run)
{
	struct freed_run *low, *middle, *high;
	split(set->root, run->first, &low, &high);
	split(high, run->first + 1, &middle, &high);
	ASSERT(middle == run);
	set->root = join(low, high);
	set->runs--;
}

// The root is turned right until it has nothing on its left: no recursion, and constant on average.
struct freed_run *freed_take(struct freed_set *set)
{
	struct freed_run *run = set->root, *left;
	if (!run)
		return NULL;
	while ((left = run->left)) {
		run->left = left->right;
		left->right = run;
		run = left;
	}
	set->root = run->right;
	set->runs--;
	return run;
}
