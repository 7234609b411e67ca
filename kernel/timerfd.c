// SPDX-License-Identifier: BSD-2-Clause
// timerfd: a timer as a stream. What has expired is reckoned when somebody looks; the WTD only says "look again", once
// for each time that somebody has read: a timer that nobody reads costs nothing, however short its interval.
#include "kernel/files.h"
#include "kernel/pool.h"
#include "kernel/signal.h"
#include "kernel/syscall.h"
#include "kernel/timer.h"
#include "kernel/usercopy.h"

enum { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME = 7 };
enum { TFD_ABSTIME = 1, TFD_CANCEL_ON_SET = 2 };
enum { O_CLOEXEC = 02000000 };

struct timerfd {
	struct stream stream;
	struct wtd work;
	bool by_realtime;  // constant
	uint64_t due;	   // WTDs off; clock_ns of the next expiry, 0: not set
	uint64_t interval; // WTDs off; ns, 0: once
};
static struct pool timerfd_pool = POOL_INIT("timerfd", struct timerfd, 16384); // of all programs

static struct timerfd *timerfd_of(struct stream *s)
{
	return CONTAINER_OF(s, struct timerfd, stream);
}

// WTDs off, the time is not over.
static void arm(struct timerfd *t, uint64_t now)
{
	wtd_cancel(&t->work);
	if (t->due)
		wtd_post_after(&t->work, WTD_FAST, t->due > now ? t->due - now : 0);
}

static void expired(struct wtd *work)
{
	stream_notify(&CONTAINER_OF(work, struct timerfd, work)->stream);
}

static int64_t timerfd_read(struct stream *s, struct stream_io *io, uint64_t offset)
{
	struct timerfd *t = timerfd_of(s);
	uint64_t now, count = 0;

	if (io->left < sizeof(count))
		return -EINVAL;
	wtd_disable();
	now = clock_ns();
	if (t->due && now >= t->due) {
		count = t->interval ? (now - t->due) / t->interval + 1 : 1;
		t->due = t->interval ? t->due + count * t->interval : 0;
		arm(t, now);
	}
	wtd_enable();
	if (!count)
		return -EAGAIN;
	return stream_io_out(io, &count, sizeof(count)) ? -EFAULT : (int64_t)sizeof(count);
}

static unsigned timerfd_poll(struct stream *s)
{
	const struct timerfd *t = timerfd_of(s);

	return t->due && clock_ns() >= t->due ? STREAM_IN : 0;
}

static void timerfd_close(struct stream *s)
{
	struct timerfd *t = timerfd_of(s);

	wtd_disable();
	wtd_cancel(&t->work);
	wtd_enable();
	pool_free(&timerfd_pool, t);
}

static const struct stream_ops ops = {
    .kind = STREAM_EVENT, .read = timerfd_read, .poll = timerfd_poll, .close = timerfd_close};

SYSCALL(283, timerfd_create)
{
	struct timerfd *t;
	int fd;

	if (a[1] & ~(uint64_t)(O_CLOEXEC | STREAM_NONBLOCK) ||
	    (a[0] != CLOCK_REALTIME && a[0] != CLOCK_MONOTONIC && a[0] != CLOCK_BOOTTIME))
		return -EINVAL;
	t = pool_alloc(&timerfd_pool);
	if (!t)
		return -ENFILE;
	stream_init(&t->stream, &ops, STREAM_RDWR | ((unsigned)a[1] & STREAM_NONBLOCK));
	wtd_init(&t->work, expired, "timerfd");
	t->by_realtime = a[0] == CLOCK_REALTIME;
	fd = files_take(&t->stream, 0, a[1] & O_CLOEXEC);
	if (fd < 0)
		stream_put(&t->stream);
	return fd;
}

static struct stream *find(int fd, int64_t *error)
{
	struct stream *s = files_find(fd);

	*error = !s ? -EBADF : s->ops != &ops ? -EINVAL : 0;
	return s;
}

static struct linux_itimerspec describe(const struct timerfd *t)
{
	uint64_t now = clock_ns(), left = t->due;

	if (left && now >= left) // expired: until the next time, if there is one
		left = t->interval ? left + ((now - left) / t->interval + 1) * t->interval : 0;
	return (struct linux_itimerspec){timespec_of(t->interval),
					 timespec_of(left ? left - now : 0)};
}

SYSCALL(286, timerfd_settime)
{
	struct linux_itimerspec old;
	uint64_t due, interval, now;
	struct timerfd *t;
	int64_t error;
	struct stream *s = find((int)a[0], &error);

	if (!error && a[1] & ~(uint64_t)(TFD_ABSTIME | TFD_CANCEL_ON_SET))
		error = -EINVAL;
	if (!error)
		error = syscall_get_itimer(a[2], &due, &interval);
	if (!error) {
		t = timerfd_of(s);
		wtd_disable();
		now = clock_ns();
		old = describe(t);
		t->interval = interval;
		t->due = due ? syscall_due(due, a[1] & TFD_ABSTIME, t->by_realtime, now) : 0;
		arm(t, now);
		wtd_enable();
		error = a[3] ? user_put(a[3], &old) : 0;
	}
	if (s)
		stream_put(s);
	return error;
}

SYSCALL(287, timerfd_gettime)
{
	struct linux_itimerspec now;
	int64_t error;
	struct stream *s = find((int)a[0], &error);

	if (!error) {
		wtd_disable();
		now = describe(timerfd_of(s));
		wtd_enable();
		error = user_put(a[1], &now);
	}
	if (s)
		stream_put(s);
	return error;
}
