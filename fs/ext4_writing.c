// SPDX-License-Identifier: BSD-2-Clause
// ext4's writing side as the layer above knows it (fs/filesystem.h): the table, and what each kind of change may
// cost.
#include "fs/ext4_write.h"
#include "fs/volume_private.h"

#include "kernel/panic.h"

static uint32_t credits(const struct volume *volume, enum filesystem_change change)
{
	const struct ext4 *fs = volume->private;
	switch (change) {
	case CHANGE_INODE:
		return ext4_credits_inode(fs);
	case CHANGE_NEW_INODE:
		return ext4_credits_new_inode(fs);
	case CHANGE_ALLOCATE:
		return ext4_credits_allocate(fs);
	case CHANGE_TRUNCATE_STEP:
		return ext4_credits_truncate_step(fs);
	case CHANGE_ADD_NAME:
		return ext4_credits_add_name(fs);
	case CHANGE_REMOVE_NAME:
		return ext4_credits_remove_name(fs);
	case CHANGE_XATTR:
		return ext4_credits_xattr(fs);
	case CHANGE_ORPHAN:
		return ext4_credits_orphan(fs);
	}
	PANIC("no such change: %d", change);
}

// With dir_nlink a directory's count ends at EXT4_LINK_MAX, but not its subdirectories.
static uint32_t links_max(const struct inode *inode)
{
	bool uncounted =
	    inode->type == INODE_DIRECTORY && (ext4_of(inode)->ro_compat & RO_COMPAT_DIR_NLINK);
	return uncounted ? UINT32_MAX : EXT4_LINK_MAX;
}

static uint64_t size_max(struct inode *inode)
{
	const struct ext4 *fs = ext4_of(inode);
	const struct ext4_node *node = inode_format_data(inode);
	uint64_t blocks =
	    node->flags & EXT4_EXTENTS_FL ? EXT4_LOGICAL_LIMIT : ext4_indirect_blocks_max(fs);
	return blocks << fs->block_shift;
}

const struct filesystem_writing ext4_writing = {
    .finish_inode = file_finish,
    .reload = ext4_reload,
    .links_max = links_max,
    .size_max = size_max,
    .write_inode = ext4_write_inode,
    .new_inode = ext4_new_inode,
    .free_inode = ext4_free_inode,
    .orphan_add = ext4_orphan_add,
    .orphan_remove = ext4_orphan_remove,
    .allocate = ext4_allocate,
    .preallocate = ext4_preallocate,
    .unwrite = ext4_unwrite,
    .unmap = ext4_unmap,
    .truncate_step = ext4_truncate_step,
    .reserve = ext4_reserve,
    .unreserve = ext4_unreserve,
    .space = ext4_space,
    .release_preallocation = ext4_release_preallocation,
    .add_name = ext4_add_name,
    .remove_name = ext4_remove_name,
    .change_name = ext4_change_name,
    .dir_is_empty = ext4_dir_is_empty,
    .set_link_target = ext4_set_link_target,
    .xattr_get = ext4_xattr_get,
    .xattr_list = ext4_xattr_list,
    .xattr_set = ext4_xattr_set,
    .xattr_free = ext4_xattr_free,
    .credits = credits,
    .prepare_writing = ext4_prepare_writing,
    .ended = ext4_ended,
    .end_writing = ext4_end_writing,
};
