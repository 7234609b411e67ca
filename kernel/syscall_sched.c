// SPDX-License-Identifier: BSD-2-Clause
// Scheduling, as programs ask for it: one class (SCHED_OTHER), one processor, one priority below all work of the
// kernel. What asks for something else is refused.
#include "kernel/files.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

enum { SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE = 5 };
#define QUANTUM (10 * NS_PER_MS) // kernel/sched.h, THREAD_QUANTUM

// 0, or -ESRCH: the number is no task's (0: the caller).
static int64_t task_there(int tid)
{
	bool there;

	if (tid < 0)
		return -EINVAL;
	spin_lock_wtd(&process_lock);
	there = !tid || task_find(tid);
	spin_unlock_wtd(&process_lock);
	return there ? 0 : -ESRCH;
}

SYSCALL(24, sched_yield)
{
	thread_yield();
	return 0;
}

SYSCALL(142, sched_setparam)
{
	int priority;
	int64_t error = user_get(&priority, a[1]) ? -EFAULT : task_there((int)a[0]);

	return error ? error : priority ? -EINVAL : 0;
}
SYSCALL(143, sched_getparam)
{
	int priority = 0;
	int64_t error = task_there((int)a[0]);

	return error ? error : user_put(a[1], &priority);
}
SYSCALL(144, sched_setscheduler)
{
	int priority;
	int64_t error = user_get(&priority, a[2]) ? -EFAULT : task_there((int)a[0]);

	if (error)
		return error;
	if (a[1] == SCHED_FIFO || a[1] == SCHED_RR)
		return -EPERM; // nothing of a program's comes before the kernel's threads
	return (a[1] != SCHED_OTHER && a[1] != SCHED_BATCH && a[1] != SCHED_IDLE) || priority
		   ? -EINVAL
		   : 0;
}
SYSCALL(145, sched_getscheduler)
{
	int64_t error = task_there((int)a[0]);

	return error ? error : SCHED_OTHER;
}
SYSCALL(146, sched_get_priority_max)
{
	return a[0] == SCHED_FIFO || a[0] == SCHED_RR ? 99 : a[0] <= SCHED_IDLE ? 0 : -EINVAL;
}
SYSCALL(147, sched_get_priority_min)
{
	return a[0] == SCHED_FIFO || a[0] == SCHED_RR ? 1 : a[0] <= SCHED_IDLE ? 0 : -EINVAL;
}
SYSCALL(148, sched_rr_get_interval)
{
	struct linux_timespec t = timespec_of(QUANTUM);
	int64_t error = task_there((int)a[0]);

	return error ? error : user_put(a[1], &t);
}
SYSCALL(203, sched_setaffinity)
{
	uint64_t mask = 0;
	int64_t error = task_there((int)a[0]);

	if (!error && (!a[1] || user_read(&mask, a[2], MIN(a[1], sizeof(mask)))))
		error = a[1] ? -EFAULT : -EINVAL;
	return error ? error : mask & 1 ? 0 : -EINVAL;
}
SYSCALL(204, sched_getaffinity)
{
	uint64_t mask = 1;
	int64_t error = task_there((int)a[0]);

	if (error)
		return error;
	if (a[1] < sizeof(mask) || a[1] & 7)
		return -EINVAL;
	return user_put(a[2], &mask) ? -EFAULT : (int64_t)sizeof(mask);
}
SYSCALL(309, getcpu)
{
	uint32_t zero = 0;

	if ((a[0] && user_put(a[0], &zero)) || (a[1] && user_put(a[1], &zero)))
		return -EFAULT;
	return 0;
}

// Niceness: accepted where it changes nothing.
SYSCALL(140, getpriority)
{
	return a[0] > 2 ? -EINVAL : 20; // as the call tells a niceness of 0
}
SYSCALL(141, setpriority)
{
	return a[0] > 2 ? -EINVAL : (int)a[2] < 0 ? -EACCES : 0;
}
