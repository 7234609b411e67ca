// SPDX-License-Identifier: BSD-2-Clause
// ext4's writing side as the layer above knows it (fs/filesystem.h): the table, and what each kind of change may
// cost.
#include "fs/ext4_write.h"

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
	case CHANGE_ORPHAN:
		return ext4_credits_orphan(fs);
	default:
		return 0;
	}
}

const struct filesystem_writing ext4_writing = {
    .reload = ext4_reload,
    .write_inode = ext4_write_inode,
    .new_inode = ext4_new_inode,
    .free_inode = ext4_free_inode,
    .orphan_add = ext4_orphan_add,
    .orphan_remove = ext4_orphan_remove,
    .allocate = ext4_allocate,
    .truncate_step = ext4_truncate_step,
    .reserve = ext4_reserve,
    .unreserve = ext4_unreserve,
    .space = ext4_space,
    .release_preallocation = ext4_release_preallocation,
    .credits = credits,
    .prepare_writing = ext4_prepare_writing,
    .ended = ext4_ended,
    .end_writing = ext4_end_writing,
};
