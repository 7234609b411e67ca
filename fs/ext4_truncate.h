// SPDX-License-Identifier: BSD-2-Clause
// One step of a truncation, shared by ext4_truncate.c and the two kinds of map. Blocks go from the end of the
// file; a step ends before it would need more of the transaction than ext4_credits_truncate_step says.
#pragma once

#include "fs/ext4_alloc.h"

#define EXT4_STEP_GROUPS 16U  // groups whose bitmap and descriptor a step may touch
#define EXT4_STEP_NODES	 24U  // blocks of the map that it may change
#define EXT4_STEP_RUNS	 512U // runs freed in it, so that others get the volume's lock

struct ext4_extent_path;
struct ext4_step {
	struct transaction *t;
	struct inode *inode;
	struct ext4_node *node; // a copy, written at the step's end
	uint64_t from;		// first block of the file to go
	bool meta;		// its blocks are metadata: a directory's, a link's
	uint64_t group[EXT4_STEP_GROUPS];
	uint32_t groups, nodes, runs;
	uint64_t freed; // blocks, for i_blocks
};
// May the step also touch `nodes` more blocks of the map and the group of that block, with `spare` groups left
// over? Notes the group.
bool ext4_step_room(struct ext4_step *step, uint64_t block, uint32_t nodes, uint32_t spare);
// Frees a run inside one group, which there was room for.
int ext4_step_free(struct ext4_step *step, uint64_t block, uint32_t count, bool meta) MUST_CHECK;

// 1: there is more to do, 0: done, or an error.
int ext4_truncate_extents(struct ext4_step *step) MUST_CHECK; // ext4_truncate_extent.c
// Nodes that are empty go, from the path's leaf upward, each with its entry above.
int ext4_extent_prune(struct ext4_step *step, struct ext4_extent_path *path) MUST_CHECK;
int ext4_truncate_indirect(struct ext4_step *step) MUST_CHECK; // ext4_truncate_indirect.c
