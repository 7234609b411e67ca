// SPDX-License-Identifier: BSD-2-Clause
// The pool of workers: threads, ahead of all others, that run sleeping WTDs. A worker is little
// more than a stack. While it runs a WTD it belongs to it; when the WTD sleeps, the worker sleeps
// with it and the scheduler lets another go on with the list. An idle worker waits on a stack of
// idle workers, the one used last on top, so that the others can be seen to be superfluous.
//
// The keeper is the thread that changes the pool: it makes workers when WTDs wait and all workers
// sleep, ends those above the minimum that were idle for WORKER_IDLE_LIFE, and frees dead threads.
// It sleeps without a time limit unless there is something to watch.
#include "kernel/kstat.h"
#include "kernel/panic.h"
#include "kernel/sched.h"
#include "kernel/timer.h"
#include "kernel/trace.h"

uint64_t worker_idle_life = WORKER_IDLE_LIFE;

// ---- a worker ----

// S held before and after; interrupts off.
static void run_item(struct sched *s, struct thread *self, struct wtd *work)
{
	struct wtd_figures *f = &s->queue[WTD_SLEEP].figures;
	const char *owner = work->owner;
	uint64_t start = sched_cycles(), end;

	sched_row(s, start);
	s->fast_row = 0;
	wtd_account_start(f, work->posted, start);
	self->item = owner;
	self->stretch = start;
	sched_unlock(s);
	irq_restore(true);
	work->fn(work);
	if (UNLIKELY(this_cpu()->locks || this_cpu()->wtd_disabled || self->mutexes))
		PANIC("WTD of %s returns holding %s", owner,
		      this_cpu()->locks ? this_cpu()->locks->name
		      : self->mutexes	? "a mutex"
					: "WTDs disabled");
	irq_off();
	sched_lock(s);
	end = sched_cycles();
	wtd_account_run(f, owner, self->stretch, end);
	s->wtd_end = end;
	self->item = NULL;
	if (s->slice == SLICE_WORKER)
		sched_slice_over(s);
}

// What to do next; null: let others run. Workers in the middle of a WTD have older work than the
// queue, and a ready thread has a turn coming after a long row.
static struct wtd *next_item(struct sched *s, const struct thread *self)
{
	if (self->leave || s->ready[THREAD_WORKER].first || s->slice == SLICE_THREAD ||
	    (s->slice == SLICE_NONE && s->row >= WTD_BOUND && sched_thread_ready(s)))
		return NULL;
	return wtd_dequeue(s, WTD_SLEEP);
}

static void park(struct sched *s, struct thread *self)
{
	self->state = THREAD_BLOCKED;
	self->waiting = &s->idle_workers;
	self->since = sched_cycles();
	list_push_head(&s->idle_workers, self);
	s->workers_idle++;
	sched_switch(s);
	sched_lock(s);
}

static void worker_main(void *arg)
{
	struct sched *s = arg;
	struct thread *self = this_cpu()->current;
	struct wtd *work;

	irq_off();
	sched_lock(s);
	while (!self->leave) {
		if (wtd_pending()) {
			sched_unlock(s);
			wtd_run_fast();
			sched_lock(s);
		}
		work = next_item(s, self);
		if (work)
			run_item(s, self, work);
		else if (!self->leave)
			park(s, self);
		if (!wtd_queued(s, WTD_SLEEP))
			s->at_maximum = false;
	}
	sched_unlock(s);
	irq_restore(true);
	thread_exit();
}

// ---- the keeper ----

// (S)
static bool starved(const struct sched *s)
{
	return wtd_queued(s, WTD_SLEEP) && !sched_worker_ready(s);
}

void keeper_wake(struct sched *s)
{
	if (s->keeper && !s->backing_off)
		sched_wake(s, s->keeper, false);
}

void worker_wanted(struct sched *s)
{
	if (s->workers < WORKERS_MAX) {
		keeper_wake(s);
		return;
	}
	if (s->at_maximum)
		return;
	s->at_maximum = true;
	s->workers_max_hits++;
	trace(TRACE_WTD_WORKERS_MAX, s->workers, wtd_depth(&s->queue[WTD_SLEEP].figures), 0);
}

static bool add_worker(struct sched *s)
{
	struct thread *t = thread_make("worker", THREAD_WORKER, worker_main, s);
	bool on;

	if (!t) {
		s->workers_failed++;
		return false;
	}
	on = irq_save();
	sched_lock(s);
	t->waiting = &s->idle_workers;
	t->since = sched_cycles();
	list_push_head(&s->idle_workers, t);
	s->workers_idle++;
	if (++s->workers > s->workers_high)
		s->workers_high = s->workers;
	sched_unlock(s);
	irq_restore(on);
	return true;
}

// Ends workers that have been idle for long, down to the minimum; the bottom of the stack was used
// longest ago. (S)
static void send_home(struct sched *s)
{
	uint64_t limit = clock_ns_to_cycles(worker_idle_life);
	struct thread *t;

	while (s->workers > WORKERS_MIN && (t = s->idle_workers.last) &&
	       sched_cycles() - t->since >= limit) {
		t->leave = true;
		s->workers--;
		s->workers_idle--;
		sched_wake(s, t, false);
	}
}

static void free_dead(struct sched *s)
{
	for (;;) {
		bool on = irq_save();
		struct thread *t;

		sched_lock(s);
		t = s->dead.first;
		if (t)
			list_remove(&s->dead, t);
		sched_unlock(s);
		irq_restore(on);
		if (!t)
			return;
		thread_free(t);
	}
}

// Nothing to do now: sleeps until woken, or until it is time to look again.
static void keeper_rest(struct sched *s, bool failed)
{
	uint64_t wait = UINT64_MAX;
	bool on = irq_save();

	sched_lock(s);
	if (failed)
		wait = WORKER_RETRY;
	else if (s->workers > WORKERS_MIN)
		wait = worker_idle_life / 4;
	if (s->dead.first || (!failed && s->workers < WORKERS_MAX && starved(s))) {
		sched_unlock(s);
	} else {
		s->backing_off = failed;
		sched_block(s, wait);
		s->backing_off = false;
	}
	irq_restore(on);
}

static void keeper_main(void *arg)
{
	struct sched *s = arg;

	for (;;) {
		bool failed = false, on;

		free_dead(s);
		while (!failed && s->workers < WORKERS_MAX && starved(s))
			failed = !add_worker(s);
		on = irq_save();
		sched_lock(s);
		send_home(s);
		sched_unlock(s);
		irq_restore(on);
		keeper_rest(s, failed);
	}
}

void wtd_init_cpu(void)
{
	struct sched *s = sched_self();
	struct thread *keeper = thread_make("keeper", THREAD_WORKER, keeper_main, s);
	bool on;

	ASSERT(keeper);
	while (s->workers < WORKERS_MIN)
		if (!add_worker(s))
			PANIC("no memory for the first workers");
	on = irq_save();
	sched_lock(s);
	s->keeper = keeper;
	sched_ready(s, keeper);
	sched_unlock(s);
	irq_restore(on);
	sched_kick();
}
