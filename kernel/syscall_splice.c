// SPDX-License-Identifier: BSD-2-Clause
// splice: from a file or a socket into a pipe, from a pipe into whatever can be written, and from pipe to pipe; tee;
// vmsplice. Pages of files and of programs, and what TCP received, go by reference, into the pipe and on to a TCP
// socket; what cannot take them so gets the bytes from a copy.
#include "kernel/copy.h"
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/pipe.h"
#include "kernel/pmm.h"
#include "kernel/syscall.h"
#include "kernel/uspace.h"
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
		n = pages		 ? put_page(x, most - (uint64_t)done)
		    : x->from->ops->lend ? pipe_borrow(x->to, x->from, most - (uint64_t)done)
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
	return stream_result(x->from, done, n);
}

// ---- out of a pipe ----

static int64_t take(void *ctx, const struct stream_loan *bytes, bool more)
{
	struct splice *x = ctx;
	struct stream_part part = {(uintptr_t)bytes->data, bytes->bytes};
	struct stream_io io = {.parts = &part, .count = 1, .left = bytes->bytes, .kernel = true};
	int64_t n = -EOPNOTSUPP;

	more |= (x->flags & SPLICE_MORE) != 0;
	if (bytes->page && x->to->ops->take_page)
		return x->to->ops->take_page(x->to, bytes->page, bytes->offset, bytes->bytes, more);
	if (bytes->kind && x->to->ops->take_loan)
		n = x->to->ops->take_loan(x->to, bytes, more);
	if (n != -EOPNOTSUPP)
		return n;
	if (bytes->page) {
		if (!x->buffer)
			x->buffer = kpages_alloc(PAGE_SIZE);
		if (!x->buffer)
			return -ENOMEM;
		copy_from_cache(x->buffer, bytes->page, bytes->offset, bytes->bytes);
		part.base = (uintptr_t)x->buffer;
	}
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
	return stream_result(x->to, done, n);
}

// ---- from pipe to pipe ----

static int64_t between_pipes(struct splice *x, uint64_t most, bool keep)
{
	int64_t n;

	if (pipe_same(x->from, x->to))
		return -EINVAL;
	while ((n = pipe_transfer(x->from, x->to, most, keep)) == -EAGAIN) {
		bool empty = !(stream_poll(x->from) & STREAM_IN);
		struct stream *what = empty ? x->from : x->to;

		if (!waits(x, what, true))
			break;
		n = stream_wait(what, empty ? STREAM_IN : STREAM_OUT, UINT64_MAX);
		if (n)
			break;
	}
	return n;
}

// What the call answers: its streams are let go of.
static int64_t ended(struct splice *x, int64_t done)
{
	if (x->from)
		stream_put(x->from);
	if (x->to)
		stream_put(x->to);
	if (done == -EPIPE)
		signal_task(task_current(), SIGPIPE, NULL);
	return done;
}

SYSCALL(276, tee)
{
	struct splice x = {
	    .from = files_find((int)a[0]), .to = files_find((int)a[1]), .flags = (unsigned)a[3]};
	int64_t done = 0;

	if (!x.from || !x.to)
		done = -EBADF;
	else if (x.flags & ~(unsigned)SPLICE_KNOWN || !pipe_is(x.from, false) ||
		 !pipe_is(x.to, true))
		done = -EINVAL;
	else if (a[2])
		done = between_pipes(&x, a[2], true);
	return ended(&x, done);
}

// ---- a program's pages into a pipe ----

// What lies in one page of the program's: lent, until it is read at the pipe's other end.
static int64_t put_users(struct splice *x, struct stream_io *io)
{
	uintptr_t from;
	uint64_t n = stream_io_piece(io, PAGE_SIZE, &from), in_page = from & (PAGE_SIZE - 1);
	struct page *page;
	int64_t put;
	int error = uspace_lend(process_space(), from, &page);

	if (error)
		return error == -ENOMEM ? error : -EFAULT;
	put = pipe_put_page(x->to, page, (uint32_t)in_page, (uint32_t)MIN(n, PAGE_SIZE - in_page));
	page_wire_put(page);
	if (put > 0)
		stream_io_skip(io, (uint64_t)put);
	return put;
}

static int64_t from_program(struct splice *x, struct stream_io *io)
{
	int64_t done = 0, n = 0;

	while (io->left) {
		n = put_users(x, io);
		if (n == -EAGAIN && !done && waits(x, x->to, true)) {
			n = stream_wait(x->to, STREAM_OUT, UINT64_MAX);
			if (!n)
				continue;
		}
		if (n <= 0)
			break;
		done += n;
	}
	return done ? done : n;
}

SYSCALL(278, vmsplice)
{
	struct stream *s = files_find((int)a[0]);
	struct splice x = {.to = s, .flags = (unsigned)a[3]};
	struct stream_io io;
	int64_t done = s ? 0 : -EBADF;

	if (s && (!(pipe_is(s, false) || pipe_is(s, true))))
		done = -EBADF;
	else if (s && x.flags & ~(unsigned)SPLICE_KNOWN)
		done = -EINVAL;
	if (!done)
		done = syscall_get_parts(a[1], a[2], &io);
	if (!done) {
		done = !io.left		  ? 0
		       : pipe_is(s, true) ? from_program(&x, &io)
					  : stream_read(s, &io);
		syscall_put_parts(&io, a[2]);
	}
	return ended(&x, done);
}

static int64_t both_ends(struct splice *x, const uint64_t a[6])
{
	bool from_pipe = pipe_is(x->from, false), to_pipe = pipe_is(x->to, true);
	uintptr_t at = from_pipe ? a[3] : a[1];
	struct stream *other = from_pipe ? x->to : x->from;
	uint64_t offset = 0;
	bool positioned;
	int64_t done;

	x->offset = &offset;
	if ((x->from->flags & STREAM_ACCMODE) == STREAM_WRONLY ||
	    (x->to->flags & STREAM_ACCMODE) == STREAM_RDONLY)
		return -EBADF;
	if ((from_pipe && a[1]) || (to_pipe && a[3]) || (at && other->ops->kind != STREAM_FILE))
		return -ESPIPE;
	if ((!from_pipe && !to_pipe) || x->flags & ~(unsigned)SPLICE_KNOWN ||
	    (x->to->flags & STREAM_APPEND && x->to->ops->kind == STREAM_FILE))
		return -EINVAL;
	if (from_pipe && to_pipe)
		return between_pipes(x, a[4], false);
	if (at && user_get(&offset, at))
		return -EFAULT;
	positioned = !at && other->ops->kind == STREAM_FILE;
	if (positioned)
		offset = stream_position(other);
	done = to_pipe ? into_pipe(x, a[4]) : out_of_pipe(x, a[4]);
	if (positioned && done > 0)
		stream_set_position(other, offset);
	if (x->buffer)
		kpages_free(x->buffer, PAGE_SIZE);
	return at && done > 0 && user_put(at, &offset) ? -EFAULT : done;
}

SYSCALL(275, splice)
{
	struct splice x = {
	    .from = files_find((int)a[0]), .to = files_find((int)a[2]), .flags = (unsigned)a[5]};
	int64_t done = !x.from || !x.to ? -EBADF : a[4] ? both_ends(&x, a) : 0;

	return ended(&x, done);
}
