// SPDX-License-Identifier: BSD-2-Clause
// A file's end moves, and a file without names goes. What a transaction can hold bounds how many blocks it can
// free, so both go in steps; the inode is on the list of orphans meanwhile, and what a crash leaves undone
// the next mount does. Thread or worker context.
#include "fs/file.h"
#include "fs/file_change.h"

#include "kernel/kstat.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "kernel/timer.h"

#define RETRIES	       50 // when memory is short
#define RETRY_DELAY_NS (100 * NS_PER_MS)

static uint64_t left_over;
KSTAT_COUNTER(left_over, "pagewire_inodes_left_over_total",
	      "Deleted inodes whose blocks could not be given back: the next mount does it.");

static void set_size(struct inode *inode, uint64_t size)
{
	uint64_t now = clock_realtime_ns();
	wtd_disable();
	inode->size = size;
	inode->mtime_sec = (int64_t)(now / NS_PER_SEC);
	inode->mtime_nsec = (uint32_t)(now % NS_PER_SEC);
	wtd_enable();
}

// The end is where it shall be, on the volume too; with blocks beyond it the inode is an orphan until they are
// gone.
static int move_end(struct inode *inode, uint64_t size)
{
	struct change c;
	uint64_t old = inode->size;
	int error = change_begin(&c, inode->volume, CHANGE_INODE, CHANGE_ORPHAN, CHANGE_END);
	if (error)
		return error;
	change_inode(&c, inode);
	if (inode->links && size < old)
		error = c.format->orphan_add(&c.t, inode);
	if (!error) {
		set_size(inode, size);
		error = c.format->write_inode(&c.t, inode);
		if (error)
			set_size(inode, old);
	}
	if (!error)
		inode_changed(inode);
	return change_end(&c, error);
}

// One step of freeing what lies beyond the end; with the last one the inode is an orphan no more, if it has a
// name.
static int free_step(struct inode *inode, uint64_t size, bool *more)
{
	struct change c;
	int error = change_begin(&c, inode->volume, CHANGE_TRUNCATE_STEP, CHANGE_ORPHAN,
				 CHANGE_INODE, CHANGE_END);
	if (error)
		return error;
	change_inode(&c, inode);
	error = c.format->truncate_step(&c.t, inode, size, more);
	if (!error && !*more && inode->links)
		error = c.format->orphan_remove(&c.t, inode);
	return change_end(&c, error);
}

static int free_beyond(struct inode *inode, uint64_t size)
{
	bool more = true;
	int error = 0;
	while (!error && more)
		error = free_step(inode, size, &more);
	return error;
}

// Longer: the hole begins in the last page, whose rest must be zeros on the disk, too.
int file_extend_held(struct inode *file, uint64_t size)
{
	int error = pagecache_truncate(file, file->size);
	return error ? error : move_end(file, size);
}

int file_truncate(struct inode *file, uint64_t size)
{
	assert_may_sleep("file_truncate");
	if (file->type != INODE_FILE)
		return file->type == INODE_DIRECTORY ? -EISDIR : -EINVAL;
	if (!volume_filesystem(file->volume)->writing)
		return -EROFS;
	if (size > volume_filesystem(file->volume)->writing->size_max(file))
		return -EFBIG; // as a write there
	pagecache_truncate_begin(file);
	uint64_t old = file->size;
	int error = size > old ? file_extend_held(file, size) : move_end(file, size);
	if (!error && size == old) { // what was allocated beyond goes
		error = free_beyond(file, size);
	} else if (!error && size < old) {
		int tail = pagecache_truncate(file, size);
		error = free_beyond(file, size);
		error = error ? error : tail;
	}
	pagecache_truncate_end(file);
	return error;
}

// ---- deletion ----

static int free_number(struct inode *inode)
{
	struct change c;
	int error = change_begin(&c, inode->volume, CHANGE_XATTR, CHANGE_ORPHAN, CHANGE_NEW_INODE,
				 CHANGE_END);
	if (error)
		return error;
	change_inode(&c, inode);
	error = c.format->xattr_free(&c.t, inode);
	if (!error)
		error = c.format->orphan_remove(&c.t, inode);
	if (!error)
		error = c.format->free_inode(&c.t, inode);
	if (!error)
		inode_leave(inode);
	return change_end(&c, error);
}

void file_finish(struct inode *inode)
{
	ASSERT(!inode->links);
	int error = pagecache_truncate(inode, 0);
	for (unsigned tries = 0; tries < RETRIES; tries++) {
		error = free_beyond(inode, 0);
		if (!error)
			error = free_number(inode);
		if (error != -ENOMEM)
			break;
		thread_sleep_ns(RETRY_DELAY_NS);
	}
	if (error)
		left_over++;
}
