// SPDX-License-Identifier: BSD-2-Clause
// Truncation of extent trees: the last extent goes, or its tail, piece by piece and each piece in one group. A
// leaf that is empty goes with its entry above, and so on up; at the end what the root's only child holds moves
// into the root, as long as it fits.
#include "fs/ext4_truncate.h"

#include "fs/ext4_extent.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"

// What of the leaf's last extent goes next: the part behind `from`, of it what lies in the last group.
struct piece {
	uint64_t disk;
	uint32_t count, left; // left: blocks of the extent that stay
};

static struct piece last_piece(const struct ext4 *fs, const struct ext4_extent *extent,
			       uint64_t from)
{
	uint64_t disk = ext4_extent_disk(extent), end = disk + ext4_extent_count(extent);
	uint64_t group = ext4_group_of(fs, end - 1);
	uint64_t first = MAX(disk, fs->first_data_block + group * fs->blocks_per_group);
	if (from > extent->ee_block)
		first = MAX(first, disk + (from - extent->ee_block));
	return (struct piece){first, (uint32_t)(end - first), (uint32_t)(first - disk)};
}

static int cut(struct ext4_step *step, struct ext4_extent_path *path, const struct piece *piece)
{
	const struct ext4_extent_level *leaf = ext4_path_leaf(path);
	struct ext4_extent_edit edit;
	int error = ext4_step_free(step, piece->disk, piece->count, step->meta);
	if (!error)
		error = ext4_extent_edit_begin(step->t, step->node, leaf, &edit);
	if (error)
		return error;
	struct ext4_extent *extent = &edit.entry[leaf->i];
	if (piece->left)
		extent->ee_len = (uint16_t)(extent->ee_len - piece->count);
	else
		ext4_extent_remove_at(&edit, (uint32_t)leaf->i);
	ext4_extent_edit_end(ext4_of(step->inode), step->node, &edit);
	return 0;
}

static void make_root_empty(struct ext4_node *node)
{
	struct ext4_extent_header *root = (void *)node->block;
	root->eh_depth = 0;
	root->eh_entries = 0;
}

// Each may be a group's of its own.
int ext4_extent_prune(struct ext4_step *step, struct ext4_extent_path *path)
{
	struct ext4 *fs = ext4_of(step->inode);
	uint32_t entries = path->level[path->depth].at.header->eh_entries;
	for (uint32_t l = path->depth; l && !entries; l--) {
		struct ext4_extent_edit edit;
		uint64_t disk = path->level[l].at.disk;
		if (path->level[l].held.data)
			ext4_block_put(&path->level[l].held);
		bool room = ext4_step_room(step, disk, 1, 0);
		ASSERT(room);
		int error = ext4_step_free(step, disk, 1, true);
		if (!error)
			error =
			    ext4_extent_edit_begin(step->t, step->node, &path->level[l - 1], &edit);
		if (error)
			return error;
		ext4_extent_remove_at(&edit, (uint32_t)path->level[l - 1].i);
		entries = edit.header->eh_entries;
		uint32_t first = edit.entry[0].ee_block;
		ext4_extent_edit_end(fs, step->node, &edit);
		if (l == 1 && !entries)
			make_root_empty(step->node);
		if (entries && !path->level[l - 1].i)
			return ext4_extent_fix_keys(step->t, fs, step->node, path, l - 1, first);
	}
	return 0;
}

// 1: the step went on, 0: nothing is left to do, -EAGAIN: the step is full.
static int step_on(struct ext4_step *step)
{
	struct ext4 *fs = ext4_of(step->inode);
	struct ext4_extent_path path;
	int error = ext4_path_get(fs, step->node, EXT4_LOGICAL_LIMIT - 1, &path), result = 0;
	if (error)
		return error;
	const struct ext4_extent_level *leaf = ext4_path_leaf(&path);
	const struct ext4_extent *last =
	    leaf->i < 0 ? NULL : &ext4_leaf_entries(&leaf->at)[leaf->i];
	if (!last && path.depth) {
		result = ext4_corrupt(fs, step->inode->number, leaf->at.disk, "empty leaf");
	} else if (last && last->ee_block + (uint64_t)ext4_extent_count(last) > step->from) {
		struct piece piece = last_piece(fs, last, step->from);
		// The nodes above may become empty: a group each, and the nodes themselves.
		uint32_t spare = path.depth, nodes = leaf->at.disk ? 1 : 0;
		if (step->nodes + 2 * spare + 1 > EXT4_STEP_NODES ||
		    !ext4_step_room(step, piece.disk, nodes, spare))
			result = -EAGAIN;
		else
			result = cut(step, &path, &piece);
		if (!result)
			result = ext4_extent_prune(step, &path);
		if (!result)
			result = 1;
	}
	ext4_path_put(&path);
	return result;
}

// The root's only child into the root. 1: done, and perhaps once more; 0: it cannot be.
static int shrink(struct ext4_step *step)
{
	struct ext4 *fs = ext4_of(step->inode);
	struct ext4_extent_header *root = (void *)step->node->block;
	struct ext4_extent_node at = ext4_extent_root(step->node);
	struct ext4_block held;
	if (!root->eh_depth || root->eh_entries != 1)
		return 0;
	struct ext4_extent_node child = ext4_extent_child(&at, 0);
	int error = ext4_extent_load(fs, step->node, root->eh_depth - 1U, &child, &held);
	if (error)
		return error;
	uint32_t entries = child.header->eh_entries;
	bool fits = entries <= EXT4_EXTENT_ROOT_ENTRIES && ext4_step_room(step, child.disk, 1, 0);
	if (fits) {
		memcpy(root + 1, child.header + 1, entries * sizeof(struct ext4_extent));
		root->eh_entries = (uint16_t)entries;
		root->eh_depth--;
	}
	ext4_block_put(&held);
	if (!fits)
		return 0;
	error = ext4_step_free(step, child.disk, 1, true);
	return error ? error : 1;
}

int ext4_truncate_extents(struct ext4_step *step)
{
	int result;
	do
		result = step_on(step);
	while (result > 0);
	if (result == -EAGAIN)
		return 1;
	if (result < 0)
		return result;
	do
		result = shrink(step);
	while (result > 0);
	return result;
}
