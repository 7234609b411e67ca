// SPDX-License-Identifier: BSD-2-Clause
// Room for files, and advice about them: fallocate, fadvise64, readahead, sync_file_range.
#include "kernel/files.h"
#include "kernel/process.h"
#include "kernel/signal.h"
#include "kernel/syscall.h"

enum { FALLOC_KEEP_SIZE = 1, FALLOC_PUNCH_HOLE = 2, FALLOC_ZERO_RANGE = 0x10 };
enum { SYNC_FILE_RANGE_KNOWN = 7, SYNC_FILE_RANGE_WAITS = 5 };

static int64_t allocate(struct stream *s, uint64_t mode, int64_t offset, int64_t bytes)
{
	bool keep = mode & FALLOC_KEEP_SIZE;
	uint64_t what = mode & ~(uint64_t)FALLOC_KEEP_SIZE;
	int error;

	if (offset < 0 || bytes <= 0)
		return -EINVAL;
	if (what && what != FALLOC_ZERO_RANGE && mode != (FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE))
		return -EOPNOTSUPP;
	if ((s->flags & STREAM_ACCMODE) == STREAM_RDONLY)
		return -EBADF;
	if (s->ops->kind == STREAM_PIPE)
		return -ESPIPE;
	if (!s->ops->allocate)
		return -ENODEV;
	if (bytes > INT64_MAX - offset)
		return -EFBIG;
	if (!keep && (uint64_t)(offset + bytes) > process_current()->limits[RLIMIT_FSIZE].soft) {
		signal_task(task_current(), SIGXFSZ, NULL);
		return -EFBIG;
	}
	if (what) {
		error = s->ops->punch ? s->ops->punch(s, (uint64_t)offset, (uint64_t)bytes,
						      what == FALLOC_ZERO_RANGE)
				      : -EOPNOTSUPP;
		if (error || what == FALLOC_PUNCH_HOLE)
			return error;
	}
	return s->ops->allocate(s, (uint64_t)offset, (uint64_t)bytes, keep);
}

SYSCALL(285, fallocate)
{
	struct stream *s = files_find((int)a[0]);
	int64_t error = s ? allocate(s, a[1], (int64_t)a[2], (int64_t)a[3]) : -EBADF;

	if (s)
		stream_put(s);
	return error;
}

// Advice, which the cache does not need.
static int64_t take_advice(int fd)
{
	struct stream *s = files_find(fd);
	int64_t error = !s ? -EBADF : s->ops->kind == STREAM_FILE ? 0 : -ESPIPE;

	if (s)
		stream_put(s);
	return error;
}
SYSCALL(187, readahead)
{
	int64_t error = take_advice((int)a[0]);

	return error == -ESPIPE ? -EINVAL : error;
}
SYSCALL(221, fadvise64)
{
	return a[3] > 5 ? -EINVAL : take_advice((int)a[0]);
}

// More than is asked for: the whole file, and durable.
SYSCALL(277, sync_file_range)
{
	struct stream *s = files_find((int)a[0]);
	int64_t error = 0, from = (int64_t)a[1], bytes = (int64_t)a[2];

	if (!s)
		return -EBADF;
	if (a[3] & ~(uint64_t)SYNC_FILE_RANGE_KNOWN || from < 0 || bytes < 0 ||
	    bytes > INT64_MAX - from)
		error = -EINVAL;
	else if (s->ops->kind != STREAM_FILE && s->ops->kind != STREAM_DIRECTORY)
		error = -ESPIPE;
	else if (a[3] & SYNC_FILE_RANGE_WAITS && s->ops->sync)
		error = s->ops->sync(s);
	stream_put(s);
	return error;
}
