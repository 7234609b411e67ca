// SPDX-License-Identifier: BSD-2-Clause
// Timers that send signals: timer_create and its kin (POSIX). They belong to the process, and go with it or when it
// runs another program. By the clock only: processor-time clocks are refused.
#include "kernel/pool.h"
#include "kernel/signal.h"
#include "kernel/syscall.h"
#include "kernel/timer.h"
#include "kernel/usercopy.h"

enum { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME = 7 };
enum { SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD_ID = 4 };
enum { TIMER_ABSTIME = 1, SI_TIMER = -2 };
// The machine is not to be kept busy with signals: no faster than TIMER_LEAST, and slowly while the last one was not
// even looked at.
#define TIMER_LEAST  (100 * NS_PER_US)
#define TIMER_UNSEEN (10 * NS_PER_MS)
#define TIMERS_EACH  1024
#define OVERRUN_MAX  0x7fffffff // DELAYTIMER_MAX

struct sigevent {
	uint64_t value;
	int32_t signal, notify, tid, pad[11];
};
_Static_assert(sizeof(struct sigevent) == 64, "struct sigevent");

struct posix_timer {
	struct posix_timer *next; // (T) of the process
	struct process *process;  // constant
	struct sigevent event;	  // constant
	struct wtd work;
	int id;			// constant
	bool by_realtime;	// constant
	uint64_t due, interval; // (T) clock_ns; due 0: not set
	uint64_t overrun;	// (T) expiries since the last signal was sent
};
static struct pool timer_pool =
    POOL_INIT("program timer", struct posix_timer, 16384); // of all programs

// (T) Sends what the timer says. False: the last one still waits.
static bool send(struct posix_timer *t)
{
	struct process *p = t->process;
	struct task *task = t->event.notify == SIGEV_THREAD_ID ? task_find(t->event.tid) : NULL;
	struct signal_info info = {.code = SI_TIMER,
				   .pid = t->id,
				   .uid = (uint32_t)MIN(t->overrun, OVERRUN_MAX),
				   .value = t->event.value};

	if (t->event.notify == SIGEV_NONE ||
	    (t->event.notify == SIGEV_THREAD_ID && (!task || task->process != p)))
		return true;
	if ((task ? task->pending.bits : p->pending.bits) & SIGNAL_BIT(t->event.signal))
		return false;
	if (task)
		signal_task_locked(task, t->event.signal, &info);
	else
		signal_process_locked(p, t->event.signal, &info);
	return true;
}

static void timer_due(struct wtd *work)
{
	struct posix_timer *t = CONTAINER_OF(work, struct posix_timer, work);
	uint64_t now = clock_ns(), count, least = TIMER_LEAST;

	spin_lock_wtd(&process_lock);
	if (t->due && now >= t->due) {
		count = t->interval ? (now - t->due) / t->interval : 0;
		t->overrun += count;
		if (send(t)) {
			t->overrun = 0;
		} else {
			t->overrun++;
			least = TIMER_UNSEEN;
		}
		t->due = t->interval ? t->due + (count + 1) * t->interval : 0;
	}
	if (t->due)
		wtd_post_after(&t->work, WTD_FAST, MAX(t->due > now ? t->due - now : 0, least));
	spin_unlock_wtd(&process_lock);
}

// (T) Of the running process.
static struct posix_timer *find(uint64_t id)
{
	struct posix_timer *t = process_current()->timers;

	while (t && (uint64_t)t->id != id)
		t = t->next;
	return t;
}

static int take_event(uintptr_t at, int id, struct sigevent *out)
{
	*out = (struct sigevent){.value = (uint64_t)id, .signal = SIGALRM};
	if (!at)
		return 0;
	if (user_get(out, at))
		return -EFAULT;
	if (out->notify != SIGEV_SIGNAL && out->notify != SIGEV_NONE &&
	    out->notify != SIGEV_THREAD_ID)
		return -EINVAL;
	return out->notify != SIGEV_NONE && (out->signal < 1 || out->signal > SIGNALS) ? -EINVAL
										       : 0;
}

SYSCALL(222, timer_create)
{
	struct process *p = process_current();
	struct posix_timer *t;
	int error, id;

	if (a[0] != CLOCK_REALTIME && a[0] != CLOCK_MONOTONIC && a[0] != CLOCK_BOOTTIME)
		return -EINVAL;
	t = pool_alloc(&timer_pool);
	if (!t)
		return -EAGAIN;
	wtd_init(&t->work, timer_due, "timer");
	t->process = p;
	t->by_realtime = a[0] == CLOCK_REALTIME;
	spin_lock_wtd(&process_lock);
	id = t->id = p->timer_count < TIMERS_EACH ? p->next_timer++ & 0x7fffffff : -1;
	spin_unlock_wtd(&process_lock);
	error = id < 0 ? -EAGAIN : take_event(a[1], id, &t->event);
	if (!error)
		error = user_put(a[2], &id);
	if (error) {
		pool_free(&timer_pool, t);
		return error;
	}
	spin_lock_wtd(&process_lock);
	t->next = p->timers;
	p->timers = t;
	p->timer_count++;
	spin_unlock_wtd(&process_lock);
	return 0;
}

// (T)
static struct linux_itimerspec describe(const struct posix_timer *t, uint64_t now)
{
	uint64_t left = !t->due ? 0 : t->due > now ? t->due - now : 1;

	return (struct linux_itimerspec){timespec_of(t->interval), timespec_of(left)};
}

SYSCALL(223, timer_settime)
{
	struct linux_itimerspec old = {0};
	struct posix_timer *t;
	uint64_t due, interval, now = clock_ns();
	int error = syscall_get_itimer(a[2], &due, &interval);

	if (error)
		return error;
	spin_lock_wtd(&process_lock);
	t = find(a[0]);
	if (t) {
		old = describe(t, now);
		t->interval = interval;
		t->overrun = 0;
		t->due = due ? syscall_due(due, a[1] & TIMER_ABSTIME, t->by_realtime, now) : 0;
		wtd_cancel(&t->work);
		if (t->due)
			wtd_post_after(&t->work, WTD_FAST, t->due > now ? t->due - now : 0);
	}
	spin_unlock_wtd(&process_lock);
	if (!t)
		return -EINVAL;
	return a[3] ? user_put(a[3], &old) : 0;
}

SYSCALL(224, timer_gettime)
{
	struct linux_itimerspec now = {0};
	const struct posix_timer *t;

	spin_lock_wtd(&process_lock);
	t = find(a[0]);
	if (t)
		now = describe(t, clock_ns());
	spin_unlock_wtd(&process_lock);
	return t ? user_put(a[1], &now) : -EINVAL;
}

SYSCALL(225, timer_getoverrun)
{
	const struct posix_timer *t;
	int64_t overrun = -EINVAL;

	spin_lock_wtd(&process_lock);
	t = find(a[0]);
	if (t)
		overrun = (int64_t)MIN(t->overrun, OVERRUN_MAX);
	spin_unlock_wtd(&process_lock);
	return overrun;
}

// (T)
static void drop(struct process *p, struct posix_timer **link)
{
	struct posix_timer *t = *link;

	*link = t->next;
	p->timer_count--;
	wtd_cancel(&t->work);
	pool_free(&timer_pool, t);
}

SYSCALL(226, timer_delete)
{
	struct process *p = process_current();
	struct posix_timer **link;
	int error = -EINVAL;

	spin_lock_wtd(&process_lock);
	for (link = &p->timers; *link && (uint64_t)(*link)->id != a[0]; link = &(*link)->next)
		;
	if (*link) {
		drop(p, link);
		error = 0;
	}
	spin_unlock_wtd(&process_lock);
	return error;
}

void process_timers_drop(struct process *p)
{
	spin_lock_wtd(&process_lock);
	while (p->timers)
		drop(p, &p->timers);
	spin_unlock_wtd(&process_lock);
}
