// SPDX-License-Identifier: BSD-2-Clause
// The stream head (contract in include/kernel/stream.h): the copies between programs and kernel, waiting, and the
// calls that every kind of stream shares.
#include "kernel/stream.h"
#include "kernel/copy.h"
#include "kernel/cpu.h"
#include "kernel/file_lock.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/process.h"
#include "kernel/signal.h"
#include "kernel/socket.h"
#include "kernel/timer.h"
#include "kernel/usercopy.h"
#include "kernel/vmm.h"

static struct spinlock wait_lock = SPINLOCK_INIT("stream", RANK_STREAM);

// ---- copies ----

static void advance(struct stream_io *io, uint64_t bytes)
{
	io->at += bytes;
	io->left -= bytes;
	while (io->now < io->count && io->at == io->parts[io->now].len) {
		io->now++;
		io->at = 0;
	}
}

// One piece: what is left of the part, at most `bytes`.
static size_t next_piece(struct stream_io *io, size_t bytes, uintptr_t *address)
{
	while (io->at == io->parts[io->now].len) { // empty parts
		io->now++;
		io->at = 0;
	}
	*address = io->parts[io->now].base + io->at;
	return (size_t)MIN((uint64_t)bytes, io->parts[io->now].len - io->at);
}

size_t stream_io_piece(struct stream_io *io, size_t most, uintptr_t *address)
{
	return next_piece(io, (size_t)MIN(io->left, (uint64_t)most), address);
}

void stream_io_skip(struct stream_io *io, size_t bytes)
{
	advance(io, bytes);
}

// Where payload crosses the border, and is counted: once, and nowhere else (tests/tidy). The program's side is taken
// page by page, as usercopy.h's step wants it; SMAP is open inside that step only. 0 or -EFAULT.
static int cross(void *kernel, uintptr_t user, size_t bytes, bool in)
{
	for (size_t done = 0; done < bytes;) {
		uintptr_t at = user + done;
		size_t piece = MIN(bytes - done, (size_t)(PAGE_SIZE - (at & (PAGE_SIZE - 1))));
		char *ours = (char *)kernel + done;
		int error = in ? user_step_in(ours, at, piece) : user_step_out(at, ours, piece);

		if (error)
			return error;
		copy_count(COPY_STREAM_HEAD, piece);
		done += piece;
	}
	return 0;
}

// The kernel's own use of a stream.
static int within(void *kernel, uintptr_t other, size_t bytes, bool in)
{
	in ? memcpy(kernel, (void *)other, bytes) : memcpy((void *)other, kernel, bytes);
	copy_count(COPY_STREAM_HEAD, bytes);
	return 0;
}

static int move(struct stream_io *io, void *kernel, size_t bytes, bool in)
{
	struct stream_io start = *io;

	ASSERT(bytes <= io->left &&
	       io->left <= INT64_MAX); // makers reckon with signed numbers, too
	for (size_t done = 0; done < bytes;) {
		uintptr_t user;
		size_t piece = next_piece(io, bytes - done, &user);
		char *at = (char *)kernel + done;
		int error = (io->kernel ? within : cross)(at, user, piece, in);

		if (error) {
			*io = start;
			return error;
		}
		advance(io, piece);
		done += piece;
	}
	return 0;
}

int stream_io_in(struct stream_io *io, void *to, size_t bytes)
{
	return move(io, to, bytes, true);
}

int stream_io_out(struct stream_io *io, const void *from, size_t bytes)
{
	return move(io, (void *)(uintptr_t)from, bytes, false);
}

// A hidden page's window keeps WTDs out and may not be held across a fault: the program's side is made present
// first, and the copy is tried without sleeping.
#define TRIES 100 // a page of a file that programs share may be gone again (kernel/filemap.c)

static int move_page(struct stream_io *io, struct page *page, size_t offset, size_t bytes, bool in)
{
	struct stream_io start = *io;
	unsigned tries = 0;

	if (!(page->flags & PAGE_HIDDEN))
		return move(io, (char *)page_virt(page) + offset, bytes, in);
	while (bytes) {
		uintptr_t user;
		size_t piece = next_piece(io, bytes, &user),
		       to_end = PAGE_SIZE - (user & (PAGE_SIZE - 1));
		struct page *theirs = NULL;
		char *window = NULL;
		int error = 0;

		if (!io->kernel) {
			piece = MIN(piece, to_end);
			error = uspace_page(process_space(), user, in ? USPACE_READ : USPACE_WRITE,
					    &theirs);
		}
		if (!error) {
			window = (char *)vmm_window_open(page) + offset;
			if (io->kernel)
				in ? memcpy(window, (void *)user, piece)
				   : memcpy((void *)user, window, piece);
			else
				error = in ? user_read_now(window, user, piece)
					   : user_write_now(user, window, piece);
			vmm_window_close(page);
		}
		if (theirs)
			page_wire_put(theirs);
		if (error == -EFAULT && window && ++tries < TRIES)
			continue;
		if (error) {
			*io = start;
			return error;
		}
		advance(io, piece);
		copy_count(COPY_STREAM_HEAD, piece);
		offset += piece;
		bytes -= piece;
	}
	return 0;
}

int stream_io_out_page(struct stream_io *io, struct page *page, size_t offset, size_t bytes)
{
	return move_page(io, page, offset, bytes, false);
}

int stream_io_in_page(struct stream_io *io, struct page *page, size_t offset, size_t bytes)
{
	return move_page(io, page, offset, bytes, true);
}

int stream_copy_in_now(void *to, const void *from, size_t bytes)
{
	return user_read_now(to, (uintptr_t)from, bytes);
}

int stream_io_out_direct(struct stream_io *io, const void *from, size_t bytes)
{
	struct stream_io start = *io;
	const char *at = from;
	int error = 0;

	while (bytes && !error) {
		struct page *page = page_of_phys(virt_to_phys(at));
		size_t in_page = (uintptr_t)at % PAGE_SIZE, n = bytes;

		if (page->flags & PAGE_HIDDEN) {
			n = MIN(bytes, PAGE_SIZE - in_page);
			error = stream_io_out_page(io, page, in_page, n);
		} else {
			error = stream_io_out(io, at, n);
		}
		at += n;
		bytes -= n;
	}
	if (error)
		*io = start;
	return error;
}

// ---- life ----

void stream_init(struct stream *s, const struct stream_ops *ops, unsigned flags)
{
	*s = (struct stream){.ops = ops, .references = 1, .flags = flags};
	s->position_lock = (struct mutex)MUTEX_INIT("stream position");
	waitq_init(&s->waiters);
}

void stream_get(struct stream *s)
{
	__atomic_fetch_add(&s->references, 1, __ATOMIC_RELAXED);
}

static void watches_end(struct stream *s)
{
	struct stream_watch *w;

	spin_lock_wtd(&wait_lock);
	while ((w = s->watches)) {
		s->watches = w->next;
		if (w->next)
			w->next->prev = NULL;
		ASSERT(w->gone);
		w->gone(w);
	}
	spin_unlock_wtd(&wait_lock);
}

void stream_put(struct stream *s)
{
	uint32_t left = __atomic_sub_fetch(&s->references, 1, __ATOMIC_ACQ_REL);

	if (left) {
		if (UNLIKELY(s->flying) && left <= s->flying)
			stream_only_flies();
		return;
	}
	watches_end(s);
	file_locks_stream_gone(s);
	if (s->path)
		kpages_free(s->path, s->path_len + 1);
	s->ops->close(s);
}

// ---- waiting ----

void stream_notify_locked(struct stream *s)
{
	waitq_wake_all(&s->waiters);
	for (struct stream_watch *w = s->watches, *next; w; w = next) {
		next = w->next;
		w->notify(w);
	}
}

void stream_notify(struct stream *s)
{
	spin_lock_wtd(&wait_lock);
	stream_notify_locked(s);
	spin_unlock_wtd(&wait_lock);
}

void stream_watch_add(struct stream_watch *w, struct stream *s)
{
	spin_lock_wtd(&wait_lock);
	w->stream = s;
	w->prev = NULL;
	w->next = s->watches;
	if (w->next)
		w->next->prev = w;
	s->watches = w;
	spin_unlock_wtd(&wait_lock);
}

void stream_watch_remove(struct stream_watch *w)
{
	spin_lock_wtd(&wait_lock);
	*(w->prev ? &w->prev->next : &w->stream->watches) = w->next;
	if (w->next)
		w->next->prev = w->prev;
	spin_unlock_wtd(&wait_lock);
}

static unsigned events_of(struct stream *s)
{
	return s->ops->poll ? s->ops->poll(s) : STREAM_IN | STREAM_OUT;
}

unsigned stream_poll(struct stream *s)
{
	unsigned events = events_of(s);

	return events & STREAM_NOTICE ? (events & ~(unsigned)STREAM_NOTICE) | STREAM_ERR : events;
}

int stream_wait(struct stream *s, unsigned events, uint64_t ns)
{
	uint64_t end = ns == UINT64_MAX ? UINT64_MAX : clock_ns() + ns, now;
	int error = 0;

	events |= STREAM_ERR | STREAM_HUP;
	spin_lock_wtd(&wait_lock);
	while (!(events_of(s) & events) && !error) {
		now = end == UINT64_MAX ? 0 : clock_ns();
		if (now >= end)
			error = -EAGAIN;
		else if (!waitq_sleep_interruptible(&s->waiters, &wait_lock,
						    end == UINT64_MAX ? UINT64_MAX : end - now))
			error = -ERESTART;
	}
	spin_unlock_wtd(&wait_lock);
	// Also where there was nothing to wait for: a program whose call goes on for long can be ended.
	return !error && task_current() && signal_kills() ? -ERESTART : error;
}

// ---- reading and writing ----

static bool positioned(const struct stream *s)
{
	return s->ops->kind == STREAM_FILE;
}

// SO_SNDTIMEO and SO_RCVTIMEO.
static uint64_t time_limit(struct stream *s, bool in)
{
	const struct socket_ops *socket = s->ops->socket;

	return !socket ? UINT64_MAX
	       : in    ? socket->send_timeout_ns(s)
		       : socket->receive_timeout_ns(s);
}

int64_t stream_result(struct stream *s, int64_t done, int64_t last)
{
	const struct socket_ops *socket = s->ops->socket;

	if (done)
		return done;
	if (last < 0 && socket && socket->told)
		socket->told(s, (int)-last);
	return last;
}

// Calls the operation until it moves something, or may not wait. What was moved counts before an error.
static int64_t transfer(struct stream *s, struct stream_io *io, uint64_t offset, bool in)
{
	int64_t (*op)(struct stream *, struct stream_io *, uint64_t) =
	    in ? s->ops->write : s->ops->read;
	int64_t done = 0, moved;

	if (!op)
		return s->ops->kind == STREAM_DIRECTORY ? -EISDIR : -EINVAL;
	while (io->left || !done) {
		moved = op(s, io, offset + (uint64_t)done);
		if (moved == -EAGAIN && !(s->flags & STREAM_NONBLOCK) && (in || !done)) {
			int error = stream_wait(s, in ? STREAM_OUT : STREAM_IN, time_limit(s, in));

			if (error)
				return done ? done : error;
			continue;
		}
		if (moved <= 0)
			return stream_result(s, done, moved);
		done += moved;
		if (!in && s->ops->kind != STREAM_FILE)
			break; // a reader takes what there is
	}
	return done;
}

int64_t stream_read_at(struct stream *s, struct stream_io *io, uint64_t offset)
{
	if ((s->flags & STREAM_ACCMODE) == STREAM_WRONLY)
		return -EBADF;
	return io->left ? transfer(s, io, offset, false) : 0;
}

// RLIMIT_FSIZE: a write goes up to the limit; from there on it is a signal and -EFBIG.
static int64_t write_up_to_limit(struct stream *s, struct stream_io *io, uint64_t offset)
{
	uint64_t limit = process_current()->limits[RLIMIT_FSIZE].soft, all = io->left, beyond = 0;
	int64_t done;

	if (offset >= limit) {
		signal_task(task_current(), SIGXFSZ, NULL);
		return -EFBIG;
	}
	if (all > limit - offset)
		beyond = all - (limit - offset);
	io->left -= beyond;
	done = transfer(s, io, offset, true);
	io->left += beyond;
	return done;
}

int64_t stream_write_at(struct stream *s, struct stream_io *io, uint64_t offset)
{
	if ((s->flags & STREAM_ACCMODE) == STREAM_RDONLY)
		return -EBADF;
	if (!io->left)
		return 0;
	return positioned(s) && !io->kernel ? write_up_to_limit(s, io, offset)
					    : transfer(s, io, offset, true);
}

int64_t stream_read(struct stream *s, struct stream_io *io)
{
	int64_t done;

	if (!positioned(s))
		return stream_read_at(s, io, 0);
	mutex_lock(&s->position_lock);
	done = stream_read_at(s, io, s->position);
	if (done > 0)
		s->position += (uint64_t)done;
	mutex_unlock(&s->position_lock);
	return done;
}

int64_t stream_write(struct stream *s, struct stream_io *io)
{
	int64_t done, size;
	struct mutex *appending = NULL;

	if (!positioned(s))
		return stream_write_at(s, io, 0);
	mutex_lock(&s->position_lock);
	if (s->flags & STREAM_APPEND && s->ops->size) {
		appending = s->ops->append_lock ? s->ops->append_lock(s) : NULL;
		if (appending)
			mutex_lock(appending);
		size = s->ops->size(s);
		if (size >= 0)
			s->position = (uint64_t)size;
	}
	done = stream_write_at(s, io, s->position);
	if (done > 0)
		s->position += (uint64_t)done;
	if (appending)
		mutex_unlock(appending);
	mutex_unlock(&s->position_lock);
	return done;
}

// ---- sendfile: pages go by reference ----

// One page's worth. 0: the end.
static int64_t send_piece(struct stream *to, struct stream *from, uint64_t offset, uint64_t bytes)
{
	struct page *page;
	int64_t have = from->ops->lend_page(from, offset, &page), taken;

	if (have <= 0)
		return have;
	taken = to->ops->take_page(to, page, offset & (PAGE_SIZE - 1),
				   (uint32_t)MIN((uint64_t)have, bytes), bytes > (uint64_t)have);
	page_wire_put(page);
	return taken;
}

uint64_t stream_position(struct stream *s)
{
	uint64_t position;

	mutex_lock(&s->position_lock);
	position = s->position;
	mutex_unlock(&s->position_lock);
	return position;
}

void stream_set_position(struct stream *s, uint64_t position)
{
	mutex_lock(&s->position_lock);
	s->position = position;
	mutex_unlock(&s->position_lock);
}

int64_t stream_send_file(struct stream *to, struct stream *from, uint64_t *offset, uint64_t bytes)
{
	uint64_t done = 0;
	int64_t moved;

	if (!from->ops->lend_page || !to->ops->take_page)
		return -EINVAL;
	while (done < bytes) {
		moved = send_piece(to, from, *offset, bytes - done);
		if (moved == -EAGAIN && !(to->flags & STREAM_NONBLOCK)) {
			moved = stream_wait(to, STREAM_OUT, UINT64_MAX);
			if (!moved)
				continue;
		}
		if (moved <= 0)
			return stream_result(to, (int64_t)done, moved);
		done += (uint64_t)moved;
		*offset += (uint64_t)moved;
	}
	return (int64_t)done;
}
