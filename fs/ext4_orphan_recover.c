// SPDX-License-Identifier: BSD-2-Clause
// Orphans that a crash left, finished while mounting for writing: an inode without a name is opened and put, which
// deletes it as if its last user had gone just now; one with a name was being truncated, and is truncated to
// the size it has. Mounting thread; transactions can be made, nobody else uses the volume yet.
//
// A volume with an orphan file says in its superblock, as long as it is written, that there may be something in
// it.
#include "fs/ext4_alloc.h"

#include "fs/volume_private.h"
#include "kernel/kprintf.h"

#define ON_LIST UINT32_MAX

static int truncate(struct inode *inode)
{
	struct ext4 *fs = ext4_of(inode);
	bool more = true;
	int error = 0;
	while (more && !error) {
		struct transaction t;
		error = transaction_begin(&t, inode->volume,
					  ext4_credits_truncate_step(fs) + ext4_credits_orphan(fs));
		if (error)
			return error;
		error = ext4_truncate_step(&t, inode, inode->size, &more);
		if (!error && !more)
			error = ext4_orphan_remove(&t, inode);
		if (error)
			transaction_cancel(&t);
		else
			transaction_end(&t);
	}
	return error;
}

static int finish(struct ext4 *fs, uint32_t number, uint32_t orphan, unsigned *done)
{
	struct inode *inode;
	if (!ext4_is_ordinary(fs, number))
		return ext4_corrupt(fs, number, 0, "is no inode that can be an orphan");
	fs->nameless = number;
	int error = inode_open(fs->volume, number, &inode);
	fs->nameless = 0;
	if (error)
		return error == -ENOENT ? ext4_corrupt(fs, number, 0, "orphan that is not in use")
					: error;
	struct ext4_node *node = inode_format_data(inode);
	node->orphan = orphan;
	if (inode->links)
		error = truncate(inode);
	inode_put(inode);
	inode_wait_deleted();
	++*done;
	return error;
}

static int finish_list(struct ext4 *fs, unsigned *done)
{
	uint32_t number, before = 0;
	int error;
	while (!(error = ext4_orphan_first(fs, &number)) && number) {
		if (number == before) // it could not be deleted, and that was said
			return -EIO;
		error = finish(fs, number, ON_LIST, done);
		if (error)
			return error;
		before = number;
	}
	return error;
}

static int finish_file(struct ext4 *fs, unsigned *done)
{
	uint32_t slot = 0, number, before = 0;
	int error;
	while (!(error = ext4_orphan_slot(fs, slot, &slot, &number)) && number) {
		if (number == before)
			return -EIO;
		error = finish(fs, number, slot + 1, done);
		if (error)
			return error;
		before = number;
	}
	return error;
}

static int set_present(struct volume *volume, bool present)
{
	struct ext4 *fs = volume->private;
	struct ext4_super_block *sb;
	struct transaction t;
	struct page *page;
	if (!(fs->compat & COMPAT_ORPHAN_FILE))
		return 0;
	int error = transaction_begin(&t, volume, 1);
	if (error)
		return error;
	error = ext4_super_get(&t, fs, &sb, &page);
	if (error) {
		transaction_cancel(&t);
		return error;
	}
	if (present)
		sb->s_feature_ro_compat |= RO_COMPAT_ORPHAN_PRESENT;
	else
		sb->s_feature_ro_compat &= ~(uint32_t)RO_COMPAT_ORPHAN_PRESENT;
	ext4_super_put(fs, sb, page);
	transaction_end(&t);
	return 0;
}

int ext4_orphan_recover(struct volume *volume)
{
	struct ext4 *fs = volume->private;
	unsigned done = 0;
	int error = finish_list(fs, &done);
	if (!error)
		error = finish_file(fs, &done);
	if (!error)
		error = set_present(volume, true);
	if (done)
		kprintf("%s: ext4: %u inodes finished that a crash had left half-way\n",
			volume->dev->name, done);
	return error;
}

int ext4_orphan_end(struct volume *volume)
{
	uint32_t slot, number = 0;
	struct ext4 *fs = volume->private;
	int error = ext4_orphan_slot(fs, 0, &slot, &number);
	return error || number ? error : set_present(volume, false);
}
