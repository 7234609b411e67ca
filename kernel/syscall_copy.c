// SPDX-License-Identifier: BSD-2-Clause
// copy_file_range: from file to file without the program's memory in between. A page of the source at a time is copied
// out of the cache, and into the cache by the write path.
#include "kernel/copy.h"
#include "kernel/files.h"
#include "kernel/pmm.h"
#include "kernel/process.h"
#include "kernel/signal.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

struct range {
	struct stream *s;
	uintptr_t at; // where the program has the offset; 0: the file's position is meant
	uint64_t offset;
};

static int open_range(struct range *r, uint64_t fd, uintptr_t at)
{
	r->s = files_find((int)fd);
	r->at = at;
	if (!r->s)
		return -EBADF;
	if (r->s->ops->kind != STREAM_FILE)
		return r->s->ops->kind == STREAM_DIRECTORY ? -EISDIR : -EINVAL;
	if (at)
		return user_get(&r->offset, at);
	r->offset = stream_position(r->s);
	return 0;
}

// Its offset or position moves on by what was copied.
static int close_range(struct range *r, int64_t done)
{
	int error = 0;

	if (!r->s)
		return 0;
	r->offset += (uint64_t)MAX(done, (int64_t)0);
	if (r->at && done >= 0) {
		error = user_put(r->at, &r->offset);
	} else if (done > 0) {
		stream_set_position(r->s, r->offset);
	}
	stream_put(r->s);
	return error;
}

static int check(const struct range *from, const struct range *to, uint64_t *bytes)
{
	uint64_t limit = process_current()->limits[RLIMIT_FSIZE].soft;
	struct stream_stat a, b;
	int error;

	if ((from->s->flags & STREAM_ACCMODE) == STREAM_WRONLY ||
	    (to->s->flags & STREAM_ACCMODE) == STREAM_RDONLY || to->s->flags & STREAM_APPEND)
		return -EBADF;
	if ((int64_t)from->offset < 0 || (int64_t)to->offset < 0)
		return -EINVAL;
	*bytes = MIN(*bytes, IO_MAX);
	if (*bytes > INT64_MAX - MAX(from->offset, to->offset))
		return -EOVERFLOW;
	error = from->s->ops->stat(from->s, &a);
	if (!error)
		error = to->s->ops->stat(to->s, &b);
	if (error)
		return error;
	if (a.device == b.device && a.number == b.number && from->offset < to->offset + *bytes &&
	    to->offset < from->offset + *bytes)
		return -EINVAL;
	if (!from->s->ops->lend_page || !to->s->ops->write)
		return -EXDEV;
	if (*bytes && to->offset >= limit) {
		signal_task(task_current(), SIGXFSZ, NULL);
		return -EFBIG;
	}
	*bytes = MIN(*bytes, limit - MIN(limit, to->offset));
	return 0;
}

// What of one page there is to copy: bytes, 0 (the end of the source), or an error.
static int64_t piece(const struct range *from, const struct range *to, uint64_t done, uint64_t left,
		     char *buffer)
{
	struct stream_part part = {.base = (uintptr_t)buffer};
	struct stream_io io = {.parts = &part, .count = 1, .kernel = true};
	uint64_t at = from->offset + done;
	struct page *page;
	int64_t have = from->s->ops->lend_page(from->s, at, &page);

	if (have <= 0)
		return have;
	part.len = io.left = MIN((uint64_t)have, left);
	copy_from_cache(buffer, page, at & (PAGE_SIZE - 1), (size_t)part.len);
	page_wire_put(page);
	return stream_write_at(to->s, &io, to->offset + done);
}

static int64_t copy(const struct range *from, const struct range *to, uint64_t bytes)
{
	char *buffer = kpages_alloc_raw(PAGE_SIZE);
	int64_t done = 0, n = 0;

	if (!buffer)
		return -ENOMEM;
	while ((uint64_t)done < bytes) {
		n = piece(from, to, (uint64_t)done, bytes - (uint64_t)done, buffer);
		if (n <= 0)
			break;
		done += n;
		if (signal_waits())
			break;
	}
	kpages_free(buffer, PAGE_SIZE);
	return done ? done : n;
}

SYSCALL(326, copy_file_range)
{
	struct range from = {0}, to = {0};
	uint64_t bytes = a[4];
	int64_t done = a[5] ? -EINVAL : open_range(&from, a[0], a[1]);
	int error;

	if (!done)
		done = open_range(&to, a[2], a[3]);
	if (!done)
		done = check(&from, &to, &bytes);
	if (!done && bytes)
		done = copy(&from, &to, bytes);
	error = close_range(&from, done);
	error = close_range(&to, done) ?: error;
	return error ? error : done;
}
