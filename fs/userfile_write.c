// SPDX-License-Identifier: BSD-2-Clause
// Bytes that programs write to files of volumes: one copy, from the program's memory into the cache page. What
// waits for room or for the disk sleeps in the program's thread; durable after fsync.
#include "fs/file.h"
#include "fs/filesystem.h"
#include "fs/pagecache_writing.h"
#include "fs/userfile.h"
#include "kernel/lock.h"
#include "kernel/thread.h"
#include "kernel/usercopy.h"

struct waiting {
	struct file_write write;
	struct waitq waitq;
	bool told; // (lock)
};
static struct spinlock lock = SPINLOCK_INIT("program write", RANK_HTTP);

static void write_done(struct file_write *w)
{
	struct waiting *waiting = CONTAINER_OF(w, struct waiting, write);

	spin_lock_wtd(&lock);
	waiting->told = true;
	waitq_wake_one(&waiting->waitq);
	spin_unlock_wtd(&lock);
}

static int wait_told(struct waiting *w)
{
	spin_lock_wtd(&lock);
	while (!w->told)
		waitq_sleep(&w->waitq, &lock);
	w->told = false;
	spin_unlock_wtd(&lock);
	return w->write.status;
}

#define TRIES                                                                                      \
	100 // the program's page may be one of a shared file, and gone again (kernel/filemap.c)

// One piece, within one page of the program's, which is present (or was a moment ago).
static int write_piece(struct inode *inode, uint64_t offset, uintptr_t from, size_t bytes,
		       bool kernel)
{
	struct waiting w = {.write = {.inode = inode,
				      .offset = offset,
				      .bytes = (const char *)from,
				      .len = bytes,
				      .copy = kernel ? NULL : stream_copy_in_now,
				      .done = write_done}};
	uint8_t probe;
	unsigned tries = 0;
	int error;

	waitq_init(&w.waitq);
	for (;;) {
		error = kernel ? 0 : user_read(&probe, from, 1);
		if (!error) {
			error = file_write(&w.write);
			if (error == -EFAULT && ++tries < TRIES)
				continue;
		}
		if (error != -EAGAIN)
			return error;
		error = wait_told(&w);
		if (error || !w.write.len)
			return error;
	}
}

int userfile_touch(struct inode *inode, uint64_t index)
{
	struct waiting w = {
	    .write = {
		.inode = inode, .offset = index << PAGE_SHIFT, .touch = true, .done = write_done}};
	int error;

	waitq_init(&w.waitq);
	do {
		error = file_write(&w.write);
		if (error == -EAGAIN)
			error = wait_told(&w);
	} while (!error && w.write.touch);
	return error;
}

int64_t userfile_write(struct stream *s, struct stream_io *io, uint64_t offset)
{
	struct inode *inode = userfile_of(s)->inode;
	int64_t done = 0;
	int error = 0;

	while (io->left && !error) {
		uintptr_t from;
		size_t bytes = stream_io_piece(io, PAGE_SIZE, &from);

		if (!io->kernel)
			bytes = MIN(bytes, PAGE_SIZE - (from & (PAGE_SIZE - 1)));
		error = write_piece(inode, offset + (uint64_t)done, from, bytes, io->kernel);
		if (!error) {
			stream_io_skip(io, bytes);
			done += (int64_t)bytes;
		}
	}
	if (done && s->flags & STREAM_DSYNC)
		error = userfile_sync(s);
	return done && !(s->flags & STREAM_DSYNC && error) ? done : error;
}

// One for many files, which costs a wait now and then: an inode has no room of its own for it.
#define APPEND_LOCKS 64
static struct mutex append_locks[APPEND_LOCKS] = {[0 ... APPEND_LOCKS - 1] = MUTEX_INIT("append")};

struct mutex *userfile_append_lock(struct stream *s)
{
	return &append_locks[userfile_of(s)->inode->number % APPEND_LOCKS];
}

int userfile_truncate(struct stream *s, uint64_t size)
{
	return file_truncate(userfile_of(s)->inode, size);
}

int userfile_allocate(struct stream *s, uint64_t offset, uint64_t bytes, bool keep_size)
{
	return file_allocate(userfile_of(s)->inode, offset, bytes, keep_size);
}

int userfile_punch(struct stream *s, uint64_t offset, uint64_t bytes, bool keep_blocks)
{
	return file_punch(userfile_of(s)->inode, offset, bytes, keep_blocks);
}

int userfile_sync(struct stream *s)
{
	return inode_durable_wait(userfile_of(s)->inode);
}

int userfile_sync_all(void)
{
	int error = 0, failed;

	for (struct volume *v = volume_first(); v; v = v->next) {
		failed = volume_durable_wait(v);
		error = error ? error : failed;
	}
	return error;
}
