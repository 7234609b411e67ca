// SPDX-License-Identifier: BSD-2-Clause
// Mounting for writing, and giving the volume back. What another system must find at any moment (e2fsck, Linux):
//
//	needs_recovery set      while the journal may have what is not home: from before the first transaction
//	                        until the log is empty again
//	s_mnt_count, s_mtime    when it was last mounted for writing
//
// The superblock is written past the journal for that, as every system does: before the first transaction, and after
// the last one is home. A volume stays read-only, with the reason said, when it has features that are not written,
// recorded errors, a damaged superblock, no journal of its own, or a disk that cannot be written.
#include "fs/ext4_write.h"

#include "kernel/crc32.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/page.h"
#include "kernel/timer.h"

// Changes the superblock in memory (mutate) and writes it: durable when it returns 0. No transaction is open, and
// none that changed it is on its way home.
static int super_write(struct ext4 *fs,
		       void (*mutate)(struct ext4 *fs, struct ext4_super_block *sb))
{
	struct block_device *dev = fs->volume->dev;
	struct ext4_block block;
	uint64_t number = EXT4_SUPER_OFFSET >> fs->block_shift;
	int error = ext4_block_get(fs, number, &block);
	if (error)
		return error;
	struct ext4_super_block *sb = (void *)((uint8_t *)(uintptr_t)block.data +
					       (EXT4_SUPER_OFFSET & (fs->block_bytes - 1)));
	mutate(fs, sb);
	sb->s_wtime = (uint32_t)(clock_realtime_ns() / NS_PER_SEC);
	if (ext4_has_csum(fs))
		sb->s_checksum = crc32c(~0U, sb, offsetof(struct ext4_super_block, s_checksum));
	error = block_rw_sync(dev, BLOCK_WRITE, number << (fs->block_shift - SECTOR_SHIFT),
			      (void *)(uintptr_t)block.data, fs->block_bytes);
	ext4_block_put(&block);
	return error ? error : block_rw_sync(dev, BLOCK_FLUSH, 0, NULL, 0);
}

static void mark_mounted(struct ext4 *fs, struct ext4_super_block *sb)
{
	sb->s_feature_incompat |= INCOMPAT_RECOVER;
	sb->s_mnt_count++;
	sb->s_mtime = (uint32_t)(clock_realtime_ns() / NS_PER_SEC);
	memset(sb->s_last_mounted, 0, sizeof(sb->s_last_mounted));
	sb->s_last_mounted[0] = '/';
}

static void mark_clean(struct ext4 *fs, struct ext4_super_block *sb)
{
	sb->s_feature_incompat &= ~(uint32_t)INCOMPAT_RECOVER;
}

// Null: it may be written, as far as that can be seen. *journal: the inode of its log.
static const char *complaint(struct ext4 *fs, uint32_t *journal)
{
	struct ext4_block block;
	struct ext4_super_block sb;
	if (fs->volume->dev->read_only)
		return "the disk is";
	if (fs->from_backup)
		return "its superblock is damaged: run e2fsck";
	if (ext4_block_get(fs, EXT4_SUPER_OFFSET >> fs->block_shift, &block))
		return "its superblock cannot be read";
	memcpy(&sb, (const uint8_t *)block.data + (EXT4_SUPER_OFFSET & (fs->block_bytes - 1)),
	       sizeof(sb));
	ext4_block_put(&block);
	*journal = sb.s_journal_inum;
	if (ext4_check_write_features(fs->volume->dev->name, &sb))
		return "of its features";
	if (!(sb.s_feature_compat & COMPAT_HAS_JOURNAL) || !sb.s_journal_inum)
		return "it has no journal";
	if ((sb.s_state & EXT4_STATE_ERRORS) || sb.s_error_count)
		return "it has recorded errors: run e2fsck";
	return NULL;
}

// The log's content home, and a log that can be written in its place.
static int take_log(struct ext4 *fs, uint32_t number)
{
	struct ext4_log found;
	int error = fs->log_next ? meta_replaced_home(fs->volume) : 0;
	if (!error)
		error = ext4_log_find(fs, number, &found);
	struct transaction_log log = {
	    .source = &found.source,
	    .format = {.wide = fs->incompat & INCOMPAT_64BIT, .checksums = ext4_has_csum(fs)},
	    .sequence = fs->log_next,
	};
	if (!error)
		error = transaction_open(fs->volume, &log);
	if (!error && fs->log_next) {
		meta_forget_replaced(fs->volume);
		fs->has_replaced = false;
		fs->log_next = 0;
	}
	return error;
}

int ext4_prepare_writing(struct volume *volume)
{
	struct ext4 *fs = volume->private;
	uint32_t journal;
	const char *why = complaint(fs, &journal);
	if (why) {
		kprintf("%s: ext4: stays read-only, because %s\n", volume->dev->name, why);
		return -EROFS;
	}
	int error = take_log(fs, journal);
	if (!error) {
		error = super_write(fs, mark_mounted);
		if (!error)
			error = ext4_open_counts(fs);
		if (!error)
			error = ext4_orphan_recover(volume);
		if (error)
			ext4_end_writing(volume);
	}
	if (error) {
		kprintf("%s: ext4: stays read-only (error %d)\n", volume->dev->name, -error);
		return error;
	}
	volume->read_only = false;
	ksnprintf(fs->state, sizeof(fs->state), "writable");
	volume->state = fs->state;
	return 0;
}

void ext4_end_writing(struct volume *volume)
{
	struct ext4 *fs = volume->private;
	int error = volume_writable(volume) && fs->scratch ? ext4_orphan_end(volume) : 0;
	int closed = transaction_close(volume);
	error = error ? error : closed;
	if (!error)
		error = super_write(fs, mark_clean);
	ext4_close_counts(fs);
	volume->read_only = true;
	volume->state = error ? "not cleanly unmounted" : "clean, unmounted";
	if (error)
		kprintf("volume %s: not everything could be written home (error %d); the journal "
			"has it\n",
			volume->name, -error);
}
