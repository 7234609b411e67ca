// SPDX-License-Identifier: BSD-2-Clause
// splice: from a file or a socket into a pipe, and from a pipe into whatever can be written. Pages of files go by
// reference, into the pipe and on to a TCP socket; what cannot take a page by reference gets its bytes from a copy.
#include "kernel/copy.h"
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/pipe.h"
#include "kernel/pmm.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

enum { SPLICE_NONBLOCK = 2, SPLICE_MORE = 4, SPLICE_KNOWN = 15 };

struct splice {
	struct stream *from, *to;
	uint64_t *offset; // of the end that is a file
	unsigned flags;
	char *buffer; // kpages, PAGE_SIZE; null: not needed yet
};

static bool waits(const struct splice *x, const struct stream *s, bool is_pipe)
{
	return !(s->flags & STREAM_NONBLOCK) && !(is_pipe && x->flags & SPLICE_NONBLOCK);
}

// ---- into a pipe ----

static int64_t put_page(struct splice *x, uint64_t most)
{
	struct page *page;
	int64_t n = x->from->ops->lend_page(x->from, *x->offset, &page);

	if (n <= 0)
		return n;
	n = pipe_put_page(x->to, page, *x->offset & (PAGE_SIZE - 1),
			  (uint32_t)MIN((uint64_t)n, most));
	page_wire_put(page);
	if (n > 0)
		*x->offset += (uint64_t)n;
	return n;
}

static int64_t into_pipe(struct splice *x, uint64_t most)
{
	bool pages = x->from->ops->lend_page;
	int64_t done = 0, n = 0;

	if (!pages && !x->from->ops->read)
		return -EINVAL;
	while ((uint64_t)done < most) {
		n = pages ? put_page(x, most - (uint64_t)done)
			  : pipe_fill(x->to, x->from, most - (uint64_t)done);
		if (n == -EAGAIN && !done) {
			bool full = !(stream_poll(x->to) & STREAM_OUT);
			struct stream *what = full ? x->to : x->from;

			if (!waits(x, what, full))
				break;
			n = stream_wait(what, full ? STREAM_OUT : STREAM_IN, UINT64_MAX);
			if (!n)
				continue;
		}
		if (n <= 0)
			break;
		done += n;
	}
	return done ? done : n;
}

// ---- out of a pipe ----

static int64_t take(void *ctx, struct page *page, uint32_t offset, const char *data, uint32_t bytes,
		    bool more)
{
	struct splice *x = ctx;
	struct stream_part part;
	struct stream_io io = {.parts = &part, .count = 1, .left = bytes, .kernel = true};
	int64_t n;

	if (page && x->to->ops->take_page)
		return x->to->ops->take_page(x->to, page, offset, bytes,
					     more || x->flags & SPLICE_MORE);
	if (page) {
		if (!x->buffer)
			x->buffer = kpages_alloc(PAGE_SIZE);
		if (!x->buffer)
			return -ENOMEM;
		copy_from_cache(x->buffer, page, offset, bytes);
		data = x->buffer;
	}
	part = (struct stream_part){(uintptr_t)data, bytes};
	n = x->to->ops->write(x->to, &io, *x->offset);
	if (n > 0)
		*x->offset += (uint64_t)n;
	return n;
}

static int64_t out_of_pipe(struct splice *x, uint64_t most)
{
	int64_t done = 0, n = 0;

	if (!x->to->ops->write)
		return -EINVAL;
	while ((uint64_t)done < most) {
		bool empty;

		n = pipe_empty(x->from, take, x, most - (uint64_t)done);
		empty = !n;
		if (empty) {
			if (done || stream_poll(x->from) & STREAM_HUP)
				break;
			n = -EAGAIN;
		}
		if (n == -EAGAIN) {
			struct stream *what = empty ? x->from : x->to;

			if (!waits(x, what, empty))
				break;
			n = stream_wait(what, empty ? STREAM_IN : STREAM_OUT, UINT64_MAX);
			if (!n)
				continue;
		}
		if (n < 0)
			break;
		done += n;
	}
	return done ? done : n;
}

static int64_t both_ends(struct splice *x, const uint64_t a[6])
{
	bool from_pipe = pipe_is(x->from, false), to_pipe = pipe_is(x->to, true);
	uintptr_t at = from_pipe ? a[3] : a[1];
	struct stream *other = from_pipe ? x->to : x->from;
	uint64_t offset = 0;
	bool positioned;
	int64_t done;

	if ((x->from->flags & STREAM_ACCMODE) == STREAM_WRONLY ||
	    (x->to->flags & STREAM_ACCMODE) == STREAM_RDONLY)
		return -EBADF;
	if ((from_pipe && a[1]) || (to_pipe && a[3]) || (at && other->ops->kind != STREAM_FILE))
		return -ESPIPE;
	if (from_pipe == to_pipe || x->flags & ~(unsigned)SPLICE_KNOWN)
		return -EINVAL;
	if (at && user_get(&offset, at))
		return -EFAULT;
	positioned = !at && other->ops->kind == STREAM_FILE;
	x->offset = &offset;
	if (positioned) {
		mutex_lock(&other->position_lock);
		x->offset = &other->position;
	}
	done = to_pipe ? into_pipe(x, a[4]) : out_of_pipe(x, a[4]);
	if (positioned)
		mutex_unlock(&other->position_lock);
	if (x->buffer)
		kpages_free(x->buffer, PAGE_SIZE);
	return at && done > 0 && user_put(at, &offset) ? -EFAULT : done;
}

SYSCALL(275, splice)
{
	struct splice x = {
	    .from = files_find((int)a[0]), .to = files_find((int)a[2]), .flags = (unsigned)a[5]};
	int64_t done = !x.from || !x.to ? -EBADF : a[4] ? both_ends(&x, a) : 0;

	if (x.from)
		stream_put(x.from);
	if (x.to)
		stream_put(x.to);
	if (done == -EPIPE)
		signal_task(task_current(), SIGPIPE, NULL);
	return done;
}
