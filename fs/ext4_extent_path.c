// SPDX-License-Identifier: BSD-2-Clause
// The way through an extent tree to a block, with every node held on the way, for who changes the tree; and
// what lies around a block. Thread and worker context, the volume's lock held.
#include "fs/ext4_extent.h"

#define GAP_KEPT 4096U // a hole up to so long keeps its room on the disk, for who fills it later

void ext4_path_put(struct ext4_extent_path *path)
{
	for (uint32_t l = 0; l <= path->depth; l++)
		if (path->level[l].held.data)
			ext4_block_put(&path->level[l].held);
}

int ext4_path_get(struct ext4 *fs, const struct ext4_node *node, uint32_t block,
		  struct ext4_extent_path *path)
{
	*path = (struct ext4_extent_path){.depth = 0};
	path->level[0].at = ext4_extent_root(node);
	uint32_t depth = path->level[0].at.header->eh_depth;
	for (uint32_t l = 0; l < depth; l++) {
		struct ext4_extent_level *above = &path->level[l], *below = above + 1;
		int i = ext4_extent_entry(&above->at, block);
		above->i = MAX(i, 0); // before everything: it would go into the first child
		below->at = ext4_extent_child(&above->at, above->i);
		int error = ext4_extent_load(fs, node, depth - l - 1, &below->at, &below->held);
		if (error) {
			below->held.data = NULL;
			ext4_path_put(path);
			return error;
		}
		path->depth = l + 1;
	}
	struct ext4_extent_level *leaf = ext4_path_leaf(path);
	leaf->i = ext4_extent_entry(&leaf->at, block);
	return 0;
}

static void around_hole(const struct ext4_extent_node *leaf, int i, uint32_t block,
			struct ext4_extent_spot *out)
{
	const struct ext4_extent *left = i < 0 ? NULL : &ext4_leaf_entries(leaf)[i];
	const struct ext4_extent *right =
	    i + 1 < leaf->header->eh_entries ? &ext4_leaf_entries(leaf)[i + 1] : NULL;
	uint64_t end = right ? right->ee_block : leaf->upper;
	if (block < leaf->lower) // before the tree's first leaf
		end = MIN(end, leaf->lower);
	out->count = (uint32_t)(end - block);
	if (left) {
		uint64_t after = left->ee_block + (uint64_t)ext4_extent_count(left);
		uint64_t gap = block - after;
		out->goal =
		    ext4_extent_disk(left) + ext4_extent_count(left) + (gap <= GAP_KEPT ? gap : 0);
		out->follows = !gap;
	} else if (right && right->ee_block - block < ext4_extent_disk(right)) {
		out->goal = ext4_extent_disk(right) - (right->ee_block - block);
	}
}

int ext4_extent_spot(struct ext4 *fs, const struct ext4_node *node, uint32_t block,
		     struct ext4_extent_spot *out)
{
	struct ext4_extent_path path;
	*out = (struct ext4_extent_spot){.count = 1};
	int error = ext4_path_get(fs, node, block, &path);
	if (error)
		return error;
	struct ext4_extent_level *leaf = ext4_path_leaf(&path);
	const struct ext4_extent *extent =
	    leaf->i < 0 ? NULL : &ext4_leaf_entries(&leaf->at)[leaf->i];
	if (extent && block - extent->ee_block < ext4_extent_count(extent)) {
		out->mapped = !ext4_extent_unwritten(extent);
		out->unwritten = !out->mapped;
		out->count = ext4_extent_count(extent) - (block - extent->ee_block);
		out->disk = ext4_extent_disk(extent) + (block - extent->ee_block);
	} else {
		around_hole(&leaf->at, leaf->i, block, out);
	}
	ext4_path_put(&path);
	return 0;
}
