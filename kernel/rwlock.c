// SPDX-License-Identifier: BSD-2-Clause
// The sleeping reader-writer lock (include/kernel/rwlock.h). Who lets go hands it over: to the first who waits,
// and when that one only reads, to all readers directly behind it. Nobody overtakes.
#include "kernel/rwlock.h"
#include "kernel/panic.h"

// On the stack of who waits. It is taken off the list by who grants.
struct rwlock_waiter {
	struct rwlock_waiter *next;
	struct thread *thread;
	bool exclusive;
	bool granted;
	struct waitq waitq;
};

static struct thread *self(void)
{
	return this_cpu()->current;
}

void rwlock_init(struct rwlock *l, const char *name)
{
	*l = (struct rwlock){.lock = SPINLOCK_INIT(name, RANK_TIMER)};
	l->last = &l->first;
}

// Lock held. Out of line: the compiler need not follow where the waiter's address goes; grant takes it back.
static __attribute__((noinline)) void append(struct rwlock *l, struct rwlock_waiter *waiter)
{
	*l->last = waiter;
	l->last = &waiter->next;
}

// Lock held.
static void wait_turn(struct rwlock *l, bool exclusive)
{
	struct rwlock_waiter waiter = {.thread = self(), .exclusive = exclusive};
	waitq_init(&waiter.waitq);
	append(l, &waiter);
	while (!waiter.granted)
		waitq_sleep(&waiter.waitq, &l->lock);
}

// Lock held. Gives it to those whose turn it is.
static void grant(struct rwlock *l)
{
	struct rwlock_waiter *w;
	while ((w = l->first) && !l->writer && !(w->exclusive && l->readers)) {
		l->first = w->next;
		if (!l->first)
			l->last = &l->first;
		if (w->exclusive)
			l->writer = w->thread;
		else
			l->readers++;
		w->granted = true;
		waitq_wake_one(&w->waitq);
	}
}

void rw_lock_shared(struct rwlock *l)
{
	assert_may_sleep("rw_lock_shared");
	spin_lock_wtd(&l->lock);
	if (l->writer == self())
		l->nested++;
	else if (l->writer || l->first)
		wait_turn(l, false);
	else
		l->readers++;
	spin_unlock_wtd(&l->lock);
}

void rw_unlock_shared(struct rwlock *l)
{
	spin_lock_wtd(&l->lock);
	if (l->writer == self() && l->nested) {
		l->nested--;
	} else {
		if (!l->readers)
			PANIC("rwlock %s is not held shared", l->lock.name);
		l->readers--;
		grant(l);
	}
	spin_unlock_wtd(&l->lock);
}

void rw_lock_exclusive(struct rwlock *l)
{
	assert_may_sleep("rw_lock_exclusive");
	spin_lock_wtd(&l->lock);
	if (l->writer == self())
		PANIC("rwlock %s: %s waits for itself", l->lock.name, thread_name());
	if (l->writer || l->readers || l->first)
		wait_turn(l, true);
	else
		l->writer = self();
	spin_unlock_wtd(&l->lock);
}

void rw_unlock_exclusive(struct rwlock *l)
{
	spin_lock_wtd(&l->lock);
	if (l->writer != self() || l->nested)
		PANIC("rwlock %s: dropped by %s, who holds it %s", l->lock.name, thread_name(),
		      l->writer == self() ? "shared as well" : "not");
	l->writer = NULL;
	grant(l);
	spin_unlock_wtd(&l->lock);
}

bool rw_held_exclusive(const struct rwlock *l)
{
	return l->writer == self();
}
