// SPDX-License-Identifier: BSD-2-Clause
// Clocks and sleeping.
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
enum { TIMER_ABSTIME = 1 };

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

int syscall_get_itimer(uintptr_t at, uint64_t *due, uint64_t *interval)
{
	int error = syscall_get_time(at + offsetof(struct linux_itimerspec, value), due);

	return error ? error
		     : syscall_get_time(at + offsetof(struct linux_itimerspec, interval), interval);
}

uint64_t syscall_due(uint64_t due, bool absolute, bool by_realtime, uint64_t now)
{
	uint64_t shift = clock_realtime_ns() - clock_ns();

	if (!absolute)
		due = due > INT64_MAX - now ? INT64_MAX : now + due;
	else if (by_realtime)
		due = due > shift ? due - shift : 1;
	return MAX(due, 1UL);
}

uint64_t syscall_end(uint64_t ns)
{
	struct task *t = task_current();
	uint64_t now = clock_ns(), end = t->resume_end;

	t->resume_end = 0;
	return end ? end : ns > INT64_MAX - now ? INT64_MAX : now + ns;
}

int64_t syscall_again(uint64_t end)
{
	task_current()->resume_end = end;
	return -ERESTART_UNHANDLED;
}

// Of the running task, or of its process.
static uint64_t cpu_ns(bool task)
{
	struct cpu_time time;

	spin_lock_wtd(&process_lock);
	if (task)
		cputime_of_task(task_current(), &time);
	else
		cputime_of_process(process_current(), &time);
	spin_unlock_wtd(&process_lock);
	return cputime_ns(&time);
}

// Processor time of another process or task (clock_getcpuclockid): its number lies, inverted, above three bits.
static int read_other(uint64_t clock, uint64_t *ns)
{
	int number = ~(int)clock >> 3;
	bool is_task = clock & 4;
	struct cpu_time time = {0};
	struct task *t;

	if ((int)clock >= 0 || (clock & 3) > 2)
		return -EINVAL;
	spin_lock_wtd(&process_lock);
	t = number ? task_find(number) : task_current();
	if (t && is_task)
		cputime_of_task(t, &time);
	else if (t)
		cputime_of_process(t->process, &time);
	spin_unlock_wtd(&process_lock);
	*ns = (clock & 3) == 1 ? clock_cycles_to_ns(time.user) : cputime_ns(&time);
	return t ? 0 : -EINVAL;
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
		*ns = cpu_ns(clock == CLOCK_THREAD_CPU);
		return 0;
	default:
		return read_other(clock, ns);
	}
}

SYSCALL(228, clock_gettime)
{
	struct linux_timespec t;
	uint64_t ns;
	int error = read_clock(a[0], &ns);

	if (error)
		return error;
	t = timespec_of(ns);
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

// Until `end` on the monotonic clock. 0, or broken off, with what is left written to `left`.
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
		return -ERESTART_UNHANDLED;
	rest = timespec_of(end - now);
	return left && user_put(left, &rest) ? -EFAULT : syscall_again(end);
}

SYSCALL(35, nanosleep)
{
	uint64_t ns;
	int error = syscall_get_time(a[0], &ns);

	return error ? error : sleep_until(syscall_end(ns), a[1], true);
}

SYSCALL(230, clock_nanosleep)
{
	uint64_t ns, now;
	int error = a[0] == CLOCK_THREAD_CPU ? -EINVAL : read_clock(a[0], &now);

	if (!error)
		error = syscall_get_time(a[2], &ns);
	if (error)
		return error;
	if (!(a[1] & TIMER_ABSTIME))
		return sleep_until(syscall_end(ns), a[3], true);
	return sleep_until(clock_ns() + (ns > now ? ns - now : 0), 0, false);
}
