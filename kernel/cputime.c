// SPDX-License-Identifier: BSD-2-Clause
// Processor time of programs: what each task used in ring 3 and in the kernel, by the TSC, at each border and switch.
// What interrupts and WTDs take counts for whom they interrupt. Timers by processor time (setitimer's
// ITIMER_VIRTUAL and ITIMER_PROF, RLIMIT_CPU) are looked at when they can be due at the earliest: a process cannot
// use more processor time than time goes by.
#include "kernel/cpu.h"
#include "kernel/process.h"
#include "kernel/timer.h"

#define LOOK_AGAIN (10 * NS_PER_MS) // at the earliest: how exact these timers are

static uint64_t all_user, all_system; // cycles of all tasks; interrupts off

// Any context of the task itself, or of the scheduler with interrupts off.
static void charge(struct task *t)
{
	uint64_t now = clock_cycles();

	if (!t->on_processor) // halted in its place: somebody only looks
		return;
	*(t->in_user ? &t->used.user : &t->used.system) += now - t->mark;
	*(t->in_user ? &all_user : &all_system) += now - t->mark;
	t->mark = now;
}

void cputime_kernel(struct task *t)
{
	bool on = irq_save();

	charge(t);
	t->in_user = false;
	irq_restore(on);
}

void cputime_user(struct task *t)
{
	charge(t);
	t->in_user = true;
}

void cputime_leave(struct task *t)
{
	charge(t);
	t->on_processor = false;
}

void cputime_enter(struct task *t)
{
	t->mark = clock_cycles();
	t->on_processor = true;
}

void cputime_of_all(uint64_t *user_ns, uint64_t *system_ns)
{
	*user_ns = clock_cycles_to_ns(all_user);
	*system_ns = clock_cycles_to_ns(all_system);
}

// ---- sums; process_lock held ----

static void add(struct cpu_time *sum, const struct cpu_time *part)
{
	sum->user += part->user;
	sum->system += part->system;
}

void cputime_task_ended(struct task *t)
{
	bool on = irq_save();

	if (t == task_current())
		charge(t);
	add(&t->process->used_by_ended, &t->used);
	irq_restore(on);
}

void cputime_child_told(struct process *parent, const struct process *child)
{
	add(&parent->used_by_children, &child->used_by_ended);
	add(&parent->used_by_children, &child->used_by_children);
}

void cputime_of_task(struct task *t, struct cpu_time *out)
{
	bool on = irq_save();

	if (t == task_current())
		charge(t);
	*out = t->used;
	irq_restore(on);
}

void cputime_of_process(const struct process *p, struct cpu_time *out)
{
	struct cpu_time one;

	*out = p->used_by_ended;
	for (struct task *t = p->tasks; t; t = t->process_next) {
		cputime_of_task(t, &one);
		add(out, &one);
	}
}

uint64_t cputime_ns(const struct cpu_time *time)
{
	return clock_cycles_to_ns(time->user + time->system);
}

// ---- timers; process_lock held ----

// Nanoseconds until it is due; 0: its signal was sent, and it is set again.
static uint64_t look_at(struct process *p, struct cpu_timer *timer, uint64_t used, int signal)
{
	if (!timer->due)
		return UINT64_MAX;
	if (used < timer->due)
		return timer->due - used;
	signal_process_locked(p, signal, NULL);
	timer->due = timer->interval ? used + timer->interval : 0;
	return timer->due ? timer->interval : UINT64_MAX;
}

// SIGXCPU at the soft limit, and again each second; SIGKILL at the hard one.
static uint64_t look_at_limit(struct process *p, uint64_t used)
{
	const struct limit *limit = &p->limits[RLIMIT_CPU];
	uint64_t seconds = used / NS_PER_SEC;

	if (limit->soft == UINT64_MAX && limit->hard == UINT64_MAX)
		return UINT64_MAX;
	if (seconds >= limit->hard) {
		signal_process_locked(p, SIGKILL, NULL);
		return UINT64_MAX;
	}
	if (seconds >= limit->soft && seconds >= p->cpu_warned) {
		signal_process_locked(p, SIGXCPU, NULL);
		p->cpu_warned = seconds + 1;
	}
	return NS_PER_SEC - used % NS_PER_SEC;
}

static void look(struct process *p)
{
	struct cpu_time time;
	uint64_t user, both, next;

	cputime_of_process(p, &time);
	both = cputime_ns(&time);
	user = clock_cycles_to_ns(time.user);
	next = look_at(p, &p->virtual_timer, user, SIGVTALRM);
	next = MIN(next, look_at(p, &p->profile_timer, both, SIGPROF));
	next = MIN(next, look_at_limit(p, both));
	if (next != UINT64_MAX && p->state != PROCESS_ZOMBIE)
		wtd_post_after(&p->cpu_watch, WTD_FAST, MAX(next, LOOK_AGAIN));
}

static void watch_due(struct wtd *work)
{
	struct process *p = CONTAINER_OF(work, struct process, cpu_watch);

	spin_lock_wtd(&process_lock);
	if (p->tasks)
		look(p);
	spin_unlock_wtd(&process_lock);
}

void cputime_watch_init(struct process *p)
{
	wtd_init(&p->cpu_watch, watch_due, "processor time");
}

void cputime_watch(struct process *p)
{
	wtd_cancel(&p->cpu_watch);
	look(p);
}

void cputime_watch_stop(struct process *p)
{
	spin_lock_wtd(&process_lock);
	wtd_cancel(&p->cpu_watch);
	spin_unlock_wtd(&process_lock);
}
