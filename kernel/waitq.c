// SPDX-License-Identifier: BSD-2-Clause
// Waiting (include/kernel/thread.h): wait queues, sleeping, and the mutex made of them. The queues'
// links and the mutex's fields are guarded by the scheduler's lock (S), so a wake-up cannot be lost
// between a sleeper's look at its condition and its sleep: the sleeper still holds its own lock
// when it joins the queue.
#include "kernel/panic.h"
#include "kernel/sched.h"

// Why the running code may not sleep, or null when it may. `held`: the one lock that is all right.
static const char *why_not(const struct spinlock *held, const char **who)
{
	const struct cpu *cpu = this_cpu();
	uint32_t disabled = held && held->saved_flags == LOCK_MODE_WTD;

	*who = NULL;
	if (cpu->irq_depth)
		return "in an interrupt";
	if (cpu->in_fast_wtd) {
		*who = cpu->fast_owner;
		return "in the fast WTD of";
	}
	if (cpu->locks != held || (held && held->outer)) {
		const struct spinlock *other = cpu->locks == held ? held->outer : cpu->locks;

		*who = other ? other->name : held->name;
		return other ? "holding lock" : "without its lock";
	}
	if (cpu->wtd_disabled != disabled)
		return "with WTDs disabled";
	return cpu->current ? NULL : "before there are threads";
}

bool may_sleep(void)
{
	const char *who;

	return why_not(NULL, &who) == NULL;
}

static void check(const char *what, const struct spinlock *held)
{
	const char *who, *why = why_not(held, &who);

	if (UNLIKELY(why != NULL))
		PANIC("%s %s%s%s", what, why, who ? " " : "", who ? who : "");
}

void assert_may_sleep(const char *what)
{
	check(what, NULL);
}

void waitq_init(struct waitq *q)
{
	q->first = q->last = NULL;
}

bool waitq_sleep_for(struct waitq *q, struct spinlock *lock, uint64_t ns)
{
	struct thread *t = this_cpu()->current;
	struct sched *s = sched_self();
	struct spin_token token;
	bool on;

	check("waitq_sleep", lock);
	on = irq_save();
	sched_lock(s);
	t->waiting = q;
	list_push_tail(q, t);
	token = spin_release_to_sleep(lock);
	sched_block(s, ns);
	irq_restore(on);
	spin_reacquire(lock, token);
	return !t->timed_out;
}

bool waitq_sleep_interruptible(struct waitq *q, struct spinlock *lock, uint64_t ns)
{
	struct thread *t = this_cpu()->current;
	struct sched *s = sched_self();
	struct spin_token token;
	bool on, interrupted;

	check("waitq_sleep_interruptible", lock);
	on = irq_save();
	sched_lock(s);
	if (t->interrupted) {
		sched_unlock(s);
		irq_restore(on);
		return false;
	}
	t->waiting = q;
	t->interruptible = true;
	list_push_tail(q, t);
	token = spin_release_to_sleep(lock);
	sched_block(s, ns);
	t->interruptible = false;
	interrupted = t->interrupted;
	irq_restore(on);
	spin_reacquire(lock, token);
	return !interrupted;
}

void thread_interrupt(struct thread *t)
{
	struct sched *s = sched_self();
	bool on = irq_save();

	sched_lock(s);
	t->interrupted = true;
	if (t->interruptible)
		sched_wake(s, t, false);
	sched_unlock(s);
	irq_restore(on);
	if (on)
		sched_kick();
}

void thread_interrupt_seen(void)
{
	this_cpu()->current->interrupted = false;
}

void waitq_sleep(struct waitq *q, struct spinlock *lock)
{
	(void)waitq_sleep_for(q, lock, UINT64_MAX);
}

static void wake(struct waitq *q, bool all)
{
	struct sched *s = sched_self();
	bool on = irq_save();

	sched_lock(s);
	while (q->first) {
		sched_wake(s, q->first, false);
		if (!all)
			break;
	}
	sched_unlock(s);
	irq_restore(on);
	if (on)
		sched_kick();
}

void waitq_wake_one(struct waitq *q)
{
	wake(q, false);
}

void waitq_wake_all(struct waitq *q)
{
	wake(q, true);
}

void thread_sleep_ns(uint64_t ns)
{
	struct sched *s = sched_self();
	bool on;

	check("thread_sleep_ns", NULL);
	on = irq_save();
	sched_lock(s);
	sched_block(s, ns);
	irq_restore(on);
}

// ---- mutex ----
// Handed over by the unlocker to the one who waits longest, so nobody overtakes. There is no
// priority inheritance: see the header.

static bool take(struct mutex *m)
{
	struct thread *t = this_cpu()->current;

	if (m->holder == t)
		PANIC("mutex %s: %s waits for itself", m->name, t->name);
	if (m->holder)
		return false;
	m->holder = t;
	t->mutexes++;
	return true;
}

bool mutex_trylock(struct mutex *m)
{
	struct sched *s = sched_self();
	bool on, taken;

	check("mutex_trylock", NULL);
	on = irq_save();
	sched_lock(s);
	taken = take(m);
	sched_unlock(s);
	irq_restore(on);
	return taken;
}

void mutex_lock(struct mutex *m)
{
	struct sched *s = sched_self();
	struct thread *t = this_cpu()->current;
	bool on;

	check("mutex_lock", NULL);
	on = irq_save();
	sched_lock(s);
	if (take(m)) {
		sched_unlock(s);
	} else {
		t->waiting = &m->waiters;
		list_push_tail(&m->waiters, t);
		sched_block(s, UINT64_MAX); // mutex_unlock made us the holder
	}
	irq_restore(on);
}

void mutex_unlock(struct mutex *m)
{
	struct sched *s = sched_self();
	struct thread *t = this_cpu()->current, *next;
	bool on;

	check("mutex_unlock", NULL);
	if (m->holder != t)
		PANIC("mutex %s is dropped by %s, but its holder is %s", m->name, t->name,
		      m->holder ? m->holder->name : "nobody");
	on = irq_save();
	sched_lock(s);
	t->mutexes--;
	next = m->waiters.first;
	m->holder = next;
	if (next) {
		next->mutexes++;
		sched_wake(s, next, false);
	}
	sched_unlock(s);
	irq_restore(on);
	sched_kick();
}
