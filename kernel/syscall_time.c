// SPDX-License-Identifier: BSD-2-Clause
// Clocks, sleeping, alarms.
#include "kernel/cpu.h"
#include "kernel/syscall.h"
#include "kernel/timer.h"
#include "kernel/usercopy.h"

enum {
	CLOCK_REALTIME,
	CLOCK_MONOTONIC,
	CLOCK_PROCESS_CPU,
	CLOCK_THREAD_CPU,
	CLOCK_MONOTONIC_RAW,
	CLOCK_REALTIME_COARSE,
	CLOCK_MONOTONIC_COARSE,
	CLOCK_BOOTTIME
};
enum { TIMER_ABSTIME = 1, ITIMER_REAL = 0 };

int syscall_get_time(uintptr_t at, uint64_t *ns)
{
	struct linux_timespec t;

	if (user_get(&t, at))
		return -EFAULT;
	if (t.sec < 0 || t.nsec < 0 || t.nsec >= (int64_t)NS_PER_SEC)
		return -EINVAL;
	*ns = t.sec > (int64_t)(INT64_MAX / NS_PER_SEC)
		  ? INT64_MAX
		  : (uint64_t)t.sec * NS_PER_SEC + (uint64_t)t.nsec;
	return 0;
}

static struct linux_timespec as_timespec(uint64_t ns)
{
	return (struct linux_timespec){(int64_t)(ns / NS_PER_SEC), (int64_t)(ns % NS_PER_SEC)};
}

static uint64_t cpu_ns(void)
{
	return clock_ns() -
	       process_current()
		   ->started_ns; // docs/linux-abi.md: time since the start, an upper bound
}

static int read_clock(uint64_t clock, uint64_t *ns)
{
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
		*ns = clock_realtime_ns();
		return 0;
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
		*ns = clock_ns();
		return 0;
	case CLOCK_PROCESS_CPU:
	case CLOCK_THREAD_CPU:
		*ns = cpu_ns();
		return 0;
	default:
		return -EINVAL;
	}
}

SYSCALL(228, clock_gettime)
{
	struct linux_timespec t;
	uint64_t ns;
	int error = read_clock(a[0], &ns);

	if (error)
		return error;
	t = as_timespec(ns);
	return user_put(a[1], &t);
}

SYSCALL(229, clock_getres)
{
	struct linux_timespec t = {0, 1};
	uint64_t ns;
	int error = read_clock(a[0], &ns);

	return error || !a[1] ? error : user_put(a[1], &t);
}

SYSCALL(96, gettimeofday)
{
	uint64_t ns = clock_realtime_ns();
	struct linux_timeval t = {(int64_t)(ns / NS_PER_SEC),
				  (int64_t)(ns % NS_PER_SEC / NS_PER_US)};

	return a[0] ? user_put(a[0], &t) : 0;
}

SYSCALL(201, time)
{
	int64_t seconds = (int64_t)(clock_realtime_ns() / NS_PER_SEC);

	return a[0] && user_put(a[0], &seconds) ? -EFAULT : seconds;
}

// Until `end` on the monotonic clock. 0, or -EINTR with what is left written to `left`.
static int64_t sleep_until(uint64_t end, uintptr_t left, bool relative)
{
	struct process *p = process_current();
	struct linux_timespec rest;
	uint64_t now;
	bool interrupted = false;

	spin_lock_wtd(&process_lock);
	while ((now = clock_ns()) < end && !interrupted)
		interrupted = !waitq_sleep_interruptible(&p->vfork_done, &process_lock, end - now);
	spin_unlock_wtd(&process_lock);
	if (now >= end)
		return 0;
	if (!relative)
		return -ERESTART;
	rest = as_timespec(end - now);
	return left && user_put(left, &rest) ? -EFAULT : -EINTR;
}

SYSCALL(35, nanosleep)
{
	uint64_t ns;
	int error = syscall_get_time(a[0], &ns);

	return error ? error : sleep_until(clock_ns() + ns, a[1], true);
}

SYSCALL(230, clock_nanosleep)
{
	uint64_t ns, now;
	int error = read_clock(a[0], &now);

	if (!error)
		error = syscall_get_time(a[2], &ns);
	if (error)
		return error;
	if (!(a[1] & TIMER_ABSTIME))
		return sleep_until(clock_ns() + ns, a[3], true);
	return sleep_until(clock_ns() + (ns > now ? ns - now : 0), 0, false);
}

// ---- ITIMER_REAL ----

// A program may ask for a signal every microsecond; the machine is not to be kept busy with that. No faster than
// ALARM_LEAST, and slowly while the last one was not even looked at.
#define ALARM_LEAST  (100 * NS_PER_US)
#define ALARM_UNSEEN (10 * NS_PER_MS)

static void alarm_due(struct wtd *work)
{
	struct process *p = CONTAINER_OF(work, struct process, alarm);
	uint64_t now = clock_ns(), least = ALARM_LEAST;

	spin_lock_wtd(&process_lock);
	if (p->alarm_due_ns && now >= p->alarm_due_ns) {
		if (p->pending.bits & SIGNAL_BIT(SIGALRM))
			least = ALARM_UNSEEN;
		signal_process_locked(p, SIGALRM, NULL);
		p->alarm_due_ns = p->alarm_interval_ns ? now + MAX(p->alarm_interval_ns, least) : 0;
	}
	if (p->alarm_due_ns)
		wtd_post_after(&p->alarm, WTD_FAST, p->alarm_due_ns - now);
	spin_unlock_wtd(&process_lock);
}

void process_alarm_init(struct process *p)
{
	wtd_init(&p->alarm, alarm_due, "alarm");
}

void process_alarm_stop(struct process *p)
{
	spin_lock_wtd(&process_lock);
	p->alarm_due_ns = 0;
	wtd_cancel(&p->alarm);
	spin_unlock_wtd(&process_lock);
}

static void set_alarm(uint64_t due, uint64_t interval, uint64_t *left, uint64_t *old_interval)
{
	struct process *p = process_current();
	uint64_t now = clock_ns();

	spin_lock_wtd(&process_lock);
	*left = p->alarm_due_ns ? MAX(p->alarm_due_ns, now + NS_PER_US) - now : 0;
	*old_interval = p->alarm_interval_ns;
	p->alarm_due_ns = due ? now + due : 0;
	p->alarm_interval_ns = interval;
	wtd_cancel(&p->alarm);
	if (due)
		wtd_post_after(&p->alarm, WTD_FAST, due);
	spin_unlock_wtd(&process_lock);
}

SYSCALL(37, alarm)
{
	uint64_t left, interval;

	set_alarm((a[0] & 0xffffffff) * NS_PER_SEC, 0, &left, &interval);
	return (int64_t)((left + NS_PER_SEC - 1) / NS_PER_SEC);
}

struct itimer {
	struct linux_timeval interval, value;
};

static bool timeval_ns(const struct linux_timeval *t, uint64_t *ns)
{
	if (t->sec < 0 || t->usec < 0 || t->usec >= 1000000)
		return false;
	*ns = (uint64_t)MIN(t->sec, 1L << 32) * NS_PER_SEC + (uint64_t)t->usec * NS_PER_US;
	return true;
}

static struct linux_timeval as_timeval(uint64_t ns)
{
	return (struct linux_timeval){(int64_t)(ns / NS_PER_SEC),
				      (int64_t)(ns % NS_PER_SEC / NS_PER_US)};
}

SYSCALL(38, setitimer)
{
	struct itimer fresh, old;
	uint64_t due, interval, left, old_interval;

	if (a[0] != ITIMER_REAL)
		return -EINVAL;
	if (user_get(&fresh, a[1]))
		return -EFAULT;
	if (!timeval_ns(&fresh.value, &due) || !timeval_ns(&fresh.interval, &interval))
		return -EINVAL;
	set_alarm(due, interval, &left, &old_interval);
	old = (struct itimer){as_timeval(old_interval), as_timeval(left)};
	return a[2] ? user_put(a[2], &old) : 0;
}

SYSCALL(100, times)
{
	uint64_t ticks[4] = {cpu_ns() / (NS_PER_SEC / 100), 0, 0, 0};

	if (a[0] && user_put(a[0], &ticks))
		return -EFAULT;
	return (int64_t)(clock_ns() / (NS_PER_SEC / 100));
}

SYSCALL(98, getrusage)
{
	struct linux_rusage usage = {.user = as_timeval(cpu_ns())};

	return user_put(a[1], &usage);
}
