// SPDX-License-Identifier: BSD-2-Clause
// Places for the blocks of files and directories: where in the file, where on the disk (ext4_balloc.c), into
// the map (ext4_extent_write.c, ext4_indirect_write.c), into the inode (ext4_inode_write.c). Worker context,
// inside a transaction: the stage of the write path between a dirty page and its disk write.
//
// Data blocks were promised before (ext4_reserve); a directory's are not, and take only what nobody was
// promised. Unwritten extents have their place already: they are marked written, in the part asked for.
#include "fs/ext4_alloc.h"
#include "fs/ext4_extent.h"

#include "kernel/page.h"
#include "kernel/panic.h"
#include "kernel/wtd.h"

#define SMALL_FILE  (64UL << 10) // bytes that come in one go: no stream, no window
#define STREAM_ROOM (1UL << 20)	 // what is streamed into has so much room at least

// Groups that a tree's new nodes and one run of data may lie in: a bitmap and a descriptor each.
#define NEW_NODES  (EXT4_EXTENT_MAX_DEPTH + 1U)
#define GROUP_COST 2U
#define INODE_COST 1U
#define SUPER_COST 1U
#define RUN_COST   GROUP_COST
#define TREE_COST  (NEW_NODES * (GROUP_COST + 1U) + EXT4_EXTENT_MAX_DEPTH)

uint32_t ext4_credits_allocate(const struct ext4 *fs)
{
	return RUN_COST + TREE_COST + INODE_COST + SUPER_COST;
}

uint32_t ext4_credits_inode(const struct ext4 *fs)
{
	return INODE_COST + SUPER_COST; // large_file
}

static bool is_stream(const struct inode *inode, uint64_t file_block, uint64_t count,
		      const struct ext4_extent_spot *spot)
{
	uint32_t bytes = inode->volume->block_bytes;
	if (inode->type != INODE_FILE)
		return false;
	bool whole = !file_block && count * bytes >= inode->size && inode->size <= SMALL_FILE;
	bool gap = (uint64_t)spot->count * bytes < STREAM_ROOM; // it ends soon: into its place
	return !whole && !gap && (!file_block || spot->follows);
}

static int spot_of(struct ext4 *fs, const struct ext4_node *node, uint32_t block,
		   struct ext4_extent_spot *spot)
{
	return node->flags & EXT4_EXTENTS_FL ? ext4_extent_spot(fs, node, block, spot)
					     : ext4_indirect_spot(fs, node, block, spot);
}

// Blocks for a hole, as many as there are in one place.
static int fill_hole(struct transaction *t, struct inode *inode, struct ext4_node *node,
		     struct ext4_new_run *run, const struct ext4_extent_spot *spot, bool stream,
		     uint32_t *meta)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_want want = {.goal = spot->goal,
				 .count = run->count,
				 .inode = (uint32_t)inode->number,
				 .stream = stream,
				 .roomy = spot->goal,
				 .length = run->first + (uint64_t)run->count};
	if (!want.goal)
		want.goal = ext4_inode_goal(fs, want.inode);
	int error = ext4_take_blocks(t, fs, &want, &run->disk, &run->count);
	if (error)
		return error;
	return node->flags & EXT4_EXTENTS_FL ? ext4_extent_insert(t, inode, node, run, meta)
					     : ext4_indirect_insert(t, inode, node, run, meta);
}

int ext4_allocate(struct transaction *t, struct inode *inode, uint64_t file_block, uint64_t count,
		  struct fs_extent *out)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_node node = *(const struct ext4_node *)inode_format_data(inode);
	struct ext4_extent_spot spot;
	uint32_t meta = 0;
	if (inode->type != INODE_FILE || !count)
		return -EINVAL;
	if (file_block >= EXT4_LOGICAL_LIMIT)
		return -EFBIG;
	int error = spot_of(fs, &node, (uint32_t)file_block, &spot);
	if (error)
		return error;
	struct ext4_new_run run = {.first = (uint32_t)file_block,
				   .count = (uint32_t)MIN(count, spot.count),
				   .disk = spot.disk};
	struct ext4_map_change change = {0};
	if (spot.unwritten) {
		error = ext4_extent_convert(t, inode, &node, &run, &meta);
	} else if (!spot.mapped) {
		bool stream = is_stream(inode, file_block, count, &spot);
		run.count = MIN(run.count, EXT4_EXTENT_INIT_MAX);
		error = fill_hole(t, inode, &node, &run, &spot, stream, &meta);
		change.blocks = run.count;
	}
	if (error)
		return error;
	change.blocks += meta;
	change.size = (file_block + run.count) << fs->block_shift;
	error = ext4_write_map(t, inode, &node, &change);
	*out = (struct fs_extent){
	    .file_block = file_block, .disk_block = run.disk, .count = run.count};
	return error;
}

int ext4_preallocate(struct transaction *t, struct inode *inode, uint64_t file_block,
		     uint64_t *count)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_node node = *(const struct ext4_node *)inode_format_data(inode);
	struct ext4_extent_spot spot;
	uint32_t meta = 0;
	if (!(node.flags & EXT4_EXTENTS_FL))
		return -EOPNOTSUPP;
	if (file_block >= EXT4_LOGICAL_LIMIT)
		return -EFBIG;
	int error = spot_of(fs, &node, (uint32_t)file_block, &spot);
	if (error)
		return error;
	*count = MIN(*count, spot.count);
	if (spot.mapped || spot.unwritten)
		return 0;
	struct ext4_new_run run = {.first = (uint32_t)file_block,
				   .count = (uint32_t)MIN(*count, EXT4_EXTENT_INIT_MAX - 1U),
				   .unwritten = true};
	if (!ext4_unpromised(fs, run.count + NEW_NODES))
		return -ENOSPC;
	error = fill_hole(t, inode, &node, &run, &spot, false, &meta);
	if (error)
		return error;
	*count = run.count;
	struct ext4_map_change change = {.blocks = (int64_t)run.count + meta};
	return ext4_write_map(t, inode, &node, &change);
}

int ext4_append_dir_block(struct transaction *t, struct inode *dir, uint64_t *disk, void **data,
			  struct page **page)
{
	struct ext4 *fs = ext4_of(dir);
	struct ext4_node node = *(const struct ext4_node *)inode_format_data(dir);
	struct ext4_extent_spot spot;
	struct ext4_new_run run = {.first = (uint32_t)(dir->size >> fs->block_shift), .count = 1};
	uint32_t meta = 0;
	if (dir->size + fs->block_bytes > fs->dir_bytes_max - fs->block_bytes ||
	    !ext4_unpromised(fs, 1 + NEW_NODES))
		return -ENOSPC;
	int error = spot_of(fs, &node, run.first, &spot);
	if (!error && (spot.mapped || spot.unwritten))
		error = ext4_corrupt(fs, dir->number, spot.disk, "block beyond a directory's end");
	if (!error)
		error = fill_hole(t, dir, &node, &run, &spot, false, &meta);
	if (!error)
		error = transaction_get_fresh(t, run.disk, data, page);
	if (error)
		return error;
	struct ext4_map_change change = {
	    .blocks = 1 + meta, .size = dir->size + fs->block_bytes, .exactly = true};
	error = ext4_write_map(t, dir, &node, &change);
	if (error) {
		page_wire_put(*page);
		return error;
	}
	wtd_disable();
	dir->size = change.size;
	wtd_enable();
	*disk = run.disk;
	return 0;
}
