// SPDX-License-Identifier: BSD-2-Clause
// poll and select: a watch on each stream, then sleep until one of them says "look again" (include/kernel/stream.h).
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/uspace.h"
#include "kernel/syscall.h"
#include "kernel/timer.h"
#include "kernel/usercopy.h"

#define SET_BYTES     8
#define SELECT_MAX    65536 // descriptors in a set
#define STREAM_NVAL   0x20
#define WORD_BITS     64
#define SELECT_IN     (STREAM_IN | STREAM_HUP | STREAM_ERR)
#define SELECT_OUT    (STREAM_OUT | STREAM_ERR)
#define SELECT_EXCEPT STREAM_PRI

struct pollfd {
	int32_t fd;
	int16_t events, revents;
};
struct item {
	struct stream_watch watch;
	struct poller *poller;
};
struct poller {
	struct spinlock lock;
	struct waitq waitq;
	bool told; // (lock)
};

static void wake(struct stream_watch *watch)
{
	struct poller *p = CONTAINER_OF(watch, struct item, watch)->poller;

	spin_lock_wtd(&p->lock);
	p->told = true;
	waitq_wake_one(&p->waitq);
	spin_unlock_wtd(&p->lock);
}

static unsigned scan(struct pollfd *fds, const struct item *items, uint64_t count)
{
	unsigned hits = 0;

	for (uint64_t n = 0; n < count; n++) {
		const struct stream *s = items[n].watch.stream;
		unsigned wanted = (uint16_t)fds[n].events | STREAM_ERR | STREAM_HUP;

		if (fds[n].fd < 0)
			fds[n].revents = 0;
		else if (!s)
			fds[n].revents = STREAM_NVAL;
		else
			fds[n].revents = (int16_t)(stream_poll(items[n].watch.stream) & wanted);
		hits += fds[n].revents != 0;
	}
	return hits;
}

static int sleep_for_news(struct poller *p, uint64_t end)
{
	int error = 0;

	spin_lock_wtd(&p->lock);
	while (!p->told && !error) {
		uint64_t now = end == UINT64_MAX ? 0 : clock_ns();

		if (now >= end)
			error = -ETIMEDOUT;
		else if (!waitq_sleep_interruptible(&p->waitq, &p->lock,
						    end == UINT64_MAX ? end : end - now))
			error = -ERESTART_UNHANDLED;
	}
	p->told = false;
	spin_unlock_wtd(&p->lock);
	return error;
}

// fds in kernel memory; revents are filled. How many have some, 0 when the time is over, or an error.
static int64_t poll_until(struct pollfd *fds, uint64_t count, uint64_t end)
{
	struct poller poller = {.lock = SPINLOCK_INIT("poll", RANK_POLL)};
	struct item *items = user_kpages_alloc(MAX(count, 1UL) * sizeof(*items));
	int64_t hits = 0;
	int error = 0;

	if (!items)
		return -ENOMEM;
	waitq_init(&poller.waitq);
	for (uint64_t n = 0; n < count; n++) {
		struct stream *s = fds[n].fd >= 0 ? files_find(fds[n].fd) : NULL;

		items[n] = (struct item){.watch = {.notify = wake}, .poller = &poller};
		if (s)
			stream_watch_add(&items[n].watch, s);
	}
	while (!(hits = scan(fds, items, count)) && !error)
		error = sleep_for_news(&poller, end);
	for (uint64_t n = 0; n < count; n++)
		if (items[n].watch.stream) {
			stream_watch_remove(&items[n].watch);
			stream_put(items[n].watch.stream);
		}
	user_kpages_free(items, MAX(count, 1UL) * sizeof(*items));
	if (!hits && error == -ERESTART_UNHANDLED && end != UINT64_MAX)
		error = (int)syscall_again(end);
	return hits ? hits : error == -ETIMEDOUT ? 0 : error;
}

static int64_t poll_user(uintptr_t at, uint64_t count, uint64_t end)
{
	struct pollfd *fds;
	int64_t result;

	if (count > process_current()->limits[RLIMIT_NOFILE].soft)
		return -EINVAL;
	fds = user_kpages_alloc(MAX(count, 1UL) * sizeof(*fds));
	if (!fds)
		return -ENOMEM;
	result = user_read(fds, at, count * sizeof(*fds));
	if (!result)
		result = poll_until(fds, count, end);
	if (result >= 0 && user_write(at, fds, count * sizeof(*fds)))
		result = -EFAULT;
	user_kpages_free(fds, MAX(count, 1UL) * sizeof(*fds));
	return result;
}

SYSCALL(7, poll)
{
	int ms = (int)a[2];

	return poll_user(a[0], a[1] & 0xffffffff,
			 ms < 0 ? UINT64_MAX : syscall_end((uint64_t)ms * NS_PER_MS));
}

int syscall_take_mask(uintptr_t at, uint64_t bytes)
{
	struct task *t = task_current();
	uint64_t mask;

	if (!at)
		return 0;
	if (bytes != SET_BYTES)
		return -EINVAL;
	if (user_get(&mask, at))
		return -EFAULT;
	spin_lock_wtd(&process_lock);
	t->saved_blocked = t->blocked;
	t->blocked = mask & ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP));
	t->restore_blocked = true; // signal_deliver puts the old one back, after the handler
	t->attention = true;
	if (signal_waits())
		task_interrupt(t);
	spin_unlock_wtd(&process_lock);
	return 0;
}

static int get_end(uintptr_t at, uint64_t *end)
{
	uint64_t ns;
	int error;

	*end = UINT64_MAX;
	if (!at)
		return 0;
	error = syscall_get_time(at, &ns);
	if (!error)
		*end = syscall_end(ns);
	return error;
}

SYSCALL(271, ppoll)
{
	uint64_t end;
	int error = get_end(a[2], &end);

	if (!error)
		error = syscall_take_mask(a[3], a[4]);
	return error ? error : poll_user(a[0], a[1] & 0xffffffff, end);
}

// ---- select, on top of the same ----

struct sets {
	uint64_t *set[3]; // in, out, except; kernel memory, null: not asked for
	uint64_t words;
};

static bool has(const struct sets *s, unsigned which, uint64_t fd)
{
	return s->set[which] && s->set[which][fd / WORD_BITS] >> (fd % WORD_BITS) & 1;
}

static uint64_t collect(const struct sets *s, uint64_t count, struct pollfd *fds)
{
	uint64_t used = 0;

	for (uint64_t fd = 0; fd < count; fd++) {
		unsigned events = (has(s, 0, fd) ? SELECT_IN : 0) |
				  (has(s, 1, fd) ? SELECT_OUT : 0) |
				  (has(s, 2, fd) ? SELECT_EXCEPT : 0);

		if (events)
			fds[used++] = (struct pollfd){.fd = (int32_t)fd, .events = (int16_t)events};
	}
	return used;
}

static int64_t spread(struct sets *s, const struct pollfd *fds, uint64_t used)
{
	static const unsigned means[3] = {SELECT_IN, SELECT_OUT, SELECT_EXCEPT};
	int64_t bits = 0;

	for (uint64_t n = 0; n < used; n++)
		if (fds[n].revents & STREAM_NVAL)
			return -EBADF;
	for (uint64_t n = 0; n < used; n++)
		for (unsigned which = 0; which < 3; which++) {
			uint64_t fd = (uint64_t)fds[n].fd, bit = BIT(fd % WORD_BITS);

			if (!has(s, which, fd))
				continue;
			if ((unsigned)fds[n].revents & means[which])
				bits++;
			else
				s->set[which][fd / WORD_BITS] &= ~bit;
		}
	return bits;
}

static int64_t select_until(uint64_t count, const uintptr_t at[3], uint64_t end)
{
	uint64_t words = (count + WORD_BITS - 1) / WORD_BITS, set_bytes = words * 8, used;
	size_t bytes = 3 * set_bytes + count * sizeof(struct pollfd) + 8;
	struct sets s = {.words = words};
	uint64_t *memory;
	struct pollfd *fds;
	int64_t result = 0;

	if (count > SELECT_MAX)
		return -EINVAL;
	memory = user_kpages_alloc(bytes);
	if (!memory)
		return -ENOMEM;
	fds = (struct pollfd *)(memory + 3 * words);
	for (unsigned which = 0; which < 3 && !result; which++)
		if (at[which]) {
			s.set[which] = memory + which * words;
			result = user_read(s.set[which], at[which], set_bytes);
		}
	if (!result) {
		used = collect(&s, count, fds);
		result = poll_until(fds, used, end);
		if (result >= 0)
			result = spread(&s, fds, used);
	}
	for (unsigned which = 0; which < 3 && result >= 0; which++)
		if (at[which] && user_write(at[which], s.set[which], set_bytes))
			result = -EFAULT;
	user_kpages_free(memory, bytes);
	return result;
}

SYSCALL(23, select)
{
	const uintptr_t at[3] = {a[1], a[2], a[3]};
	struct linux_timeval t;
	uint64_t end = UINT64_MAX;

	if (a[4]) {
		if (user_get(&t, a[4]))
			return -EFAULT;
		if (t.sec < 0 || t.usec < 0)
			return -EINVAL;
		end = syscall_end((uint64_t)MIN(t.sec, 1L << 32) * NS_PER_SEC +
				  (uint64_t)t.usec * NS_PER_US);
	}
	return select_until(a[0], at, end);
}

SYSCALL(270, pselect6)
{
	const uintptr_t at[3] = {a[1], a[2], a[3]};
	uint64_t mask[2] = {0, 0}, end;
	int error = get_end(a[4], &end);

	if (!error && a[5])
		error = user_get(&mask, a[5]);
	if (!error)
		error = syscall_take_mask(mask[0], mask[1]);
	return error ? error : select_until(a[0], at, end);
}
