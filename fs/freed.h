// SPDX-License-Identifier: BSD-2-Clause
// Runs of blocks that a transaction freed, as long as it is not committed: a crash would bring their old owner
// back, so they may not be given out again. An ordered set of runs that do not overlap, as a treap: the
// priorities are random, so that it is balanced whatever order blocks are freed in.
#pragma once

#include "kernel/base.h"

struct freed_run {
	uint64_t first, count;
	struct freed_run *left, *right; // smaller, larger block numbers
	struct freed_run *next;		// its owner's: the runs of one change
	uint32_t priority;		// no child's is greater
};
struct freed_set {
	struct freed_run *root;
	uint32_t runs;
};

// False: it overlaps one that is in there (freed twice), and was not put in. `run`: first and count set.
bool freed_insert(struct freed_set *set, struct freed_run *run) MUST_CHECK;
void freed_remove(struct freed_set *set, struct freed_run *run); // it is in there
// Whether the block is in a run; *until: the first block behind that run, or if not where the next run begins
// (UINT64_MAX: there is none).
bool freed_find(const struct freed_set *set, uint64_t block, uint64_t *until);
// Takes one of them out; null: there is none.
struct freed_run *freed_take(struct freed_set *set);
