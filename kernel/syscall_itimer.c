// SPDX-License-Identifier: BSD-2-Clause
// Interval timers of a process: alarm, setitimer. ITIMER_REAL goes by the clock, the other two by the processor time
// that the process uses (kernel/cputime.c).
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

enum { ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF };

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

// (T) The timer by processor time, and how much of that time the process has used.
static struct cpu_timer *cpu_timer(struct process *p, uint64_t which, uint64_t *used)
{
	struct cpu_time time;

	cputime_of_process(p, &time);
	*used = which == ITIMER_VIRTUAL ? clock_cycles_to_ns(time.user) : cputime_ns(&time);
	return which == ITIMER_VIRTUAL ? &p->virtual_timer : &p->profile_timer;
}

static struct itimer describe(uint64_t which)
{
	struct process *p = process_current();
	uint64_t left, interval, used;

	spin_lock_wtd(&process_lock);
	if (which == ITIMER_REAL) {
		used = clock_ns();
		left = p->alarm_due_ns;
		interval = p->alarm_interval_ns;
	} else {
		const struct cpu_timer *t = cpu_timer(p, which, &used);

		left = t->due;
		interval = t->interval;
	}
	spin_unlock_wtd(&process_lock);
	left = left ? MAX(left, used + NS_PER_US) - used : 0;
	return (struct itimer){timeval_of(interval), timeval_of(left)};
}

SYSCALL(36, getitimer)
{
	struct itimer now;

	if (a[0] > ITIMER_PROF)
		return -EINVAL;
	now = describe(a[0]);
	return user_put(a[1], &now);
}

SYSCALL(38, setitimer)
{
	struct process *p = process_current();
	struct itimer fresh = {0}, old;
	uint64_t due, interval, left, old_interval, used;

	if (a[0] > ITIMER_PROF)
		return -EINVAL;
	if (a[1] && user_get(&fresh, a[1]))
		return -EFAULT;
	if (!timeval_ns(&fresh.value, &due) || !timeval_ns(&fresh.interval, &interval))
		return -EINVAL;
	old = describe(a[0]);
	if (a[0] == ITIMER_REAL) {
		set_alarm(due, interval, &left, &old_interval);
	} else {
		struct cpu_timer *t;

		spin_lock_wtd(&process_lock);
		t = cpu_timer(p, a[0], &used);
		*t = (struct cpu_timer){due ? used + due : 0, interval};
		cputime_watch(p);
		spin_unlock_wtd(&process_lock);
	}
	return a[2] ? user_put(a[2], &old) : 0;
}
