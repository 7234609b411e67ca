// SPDX-License-Identifier: BSD-2-Clause
// What processes have used, and what they may.
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

#define TICKS 100 // a second: what times counts in, AT_CLKTCK

void syscall_fill_usage(struct linux_rusage *usage, const struct cpu_time *time)
{
	*usage = (struct linux_rusage){.user = timeval_of(clock_cycles_to_ns(time->user)),
				       .system = timeval_of(clock_cycles_to_ns(time->system))};
}

SYSCALL(98, getrusage)
{
	enum { RUSAGE_CHILDREN = -1, RUSAGE_SELF = 0, RUSAGE_THREAD = 1 };
	struct process *p = process_current();
	struct linux_rusage usage;
	struct cpu_time time = {0};
	int who = (int)a[0];

	if (who < RUSAGE_CHILDREN || who > RUSAGE_THREAD)
		return -EINVAL;
	spin_lock_wtd(&process_lock);
	if (who == RUSAGE_SELF)
		cputime_of_process(p, &time);
	else if (who == RUSAGE_CHILDREN)
		time = p->used_by_children;
	else
		cputime_of_task(task_current(), &time);
	spin_unlock_wtd(&process_lock);
	syscall_fill_usage(&usage, &time);
	if (who != RUSAGE_CHILDREN) {
		usage.max_rss_kb = (int64_t)(process_space()->frames_high * (PAGE_SIZE / 1024));
		usage.minor_faults = (int64_t)process_space()->faults;
	}
	return user_put(a[1], &usage);
}

static uint64_t ticks_of(uint64_t cycles)
{
	return clock_cycles_to_ns(cycles) / (NS_PER_SEC / TICKS);
}

SYSCALL(100, times)
{
	struct process *p = process_current();
	struct cpu_time own, children;
	uint64_t ticks[4];

	spin_lock_wtd(&process_lock);
	cputime_of_process(p, &own);
	children = p->used_by_children;
	spin_unlock_wtd(&process_lock);
	ticks[0] = ticks_of(own.user);
	ticks[1] = ticks_of(own.system);
	ticks[2] = ticks_of(children.user);
	ticks[3] = ticks_of(children.system);
	if (a[0] && user_put(a[0], &ticks))
		return -EFAULT;
	return (int64_t)(clock_ns() / (NS_PER_SEC / TICKS));
}

// ---- limits ----

// What a limit changes at once beside its number. The running process'.
static void apply(struct process *p, uint64_t which)
{
	struct uspace *u = p->space;

	if (which == RLIMIT_STACK || which == RLIMIT_AS || which == RLIMIT_DATA) {
		mutex_lock(&u->lock);
		uspace_set_limits(u, p->limits[RLIMIT_STACK].soft, p->limits[RLIMIT_AS].soft,
				  p->limits[RLIMIT_DATA].soft);
		mutex_unlock(&u->lock);
	}
	if (which == RLIMIT_CPU) {
		spin_lock_wtd(&process_lock);
		p->cpu_warned = 0;
		cputime_watch(p);
		spin_unlock_wtd(&process_lock);
	}
}

// Root may raise its limits; what bounds the kernel's tables stays.
static int check(uint64_t which, const struct limit *fresh)
{
	if (fresh->soft > fresh->hard)
		return -EINVAL;
	return which == RLIMIT_NOFILE && fresh->hard > FILES_MAX ? -EPERM : 0;
}

static int64_t change_limit(int pid, uint64_t which, uintptr_t fresh_at, uintptr_t old_at)
{
	struct process *self = process_current();
	struct limit fresh, old;
	struct process *p;
	int error = fresh_at ? user_get(&fresh, fresh_at) : 0;

	if (which >= RLIMITS)
		return -EINVAL;
	if (!error && fresh_at)
		error = check(which, &fresh);
	if (error)
		return error;
	p = process_find(pid ? pid : self->pid);
	if (!p)
		return -ESRCH;
	if (fresh_at && p != self)
		error = -EPERM; // docs/linux-abi.md
	spin_lock_wtd(&process_lock);
	old = p->limits[which];
	if (fresh_at && !error)
		p->limits[which] = fresh;
	spin_unlock_wtd(&process_lock);
	if (fresh_at && !error)
		apply(p, which);
	process_put(p);
	return !error && old_at ? user_put(old_at, &old) : error;
}

SYSCALL(97, getrlimit)
{
	return change_limit(0, a[0], 0, a[1]);
}
SYSCALL(160, setrlimit)
{
	return a[1] ? change_limit(0, a[0], a[1], 0) : -EFAULT;
}
SYSCALL(302, prlimit64)
{
	return change_limit((int)a[0], a[1], a[2], a[3]);
}
