// SPDX-License-Identifier: BSD-2-Clause
// Who runs next on this processor (stage 2 of the read path, together with wtd.c):
//
//	fast WTDs > WTDs on workers > threads by priority > low-priority threads > HLT
//
// and the one exception, the starvation bound: after WTD_BOUND WTDs in a row a ready thread gets
// one slice. A slice lasts until its thread sleeps, at most as long as the row of WTDs took, at
// least SLICE_MIN, at most SLICE_MAX; WTDs that come due meanwhile wait for its end. So threads
// that always want to run get at most about half of a busy processor, and where no thread is ready
// nothing is lost. In the same way the last place in a row of fast WTDs goes to a worker when one
// waits: for one WTD, until it sleeps, at most SLICE_MAX. THREAD_LOW never gets a slice. A row ends
// when threads had the processor for ROW_GAP, or when it was idle so long.
//
// There is no idle thread: who finds nobody ready halts inside sched_switch, on its own stack, and
// when it is woken itself there is nothing to switch.
#include "kernel/sched.h"
#include "kernel/panic.h"
#include "kernel/timer.h"
#include "kernel/trace.h"

struct sched scheds[CPU_MAX];
uint64_t sched_gap_cycles = ROW_GAP; // constant after calibration
static uint64_t quantum_cycles = THREAD_QUANTUM;

void sched_set_rates(void)
{
	sched_gap_cycles = clock_ns_to_cycles(ROW_GAP);
	quantum_cycles = clock_ns_to_cycles(THREAD_QUANTUM);
	wtd_set_rates();
}

bool sched_worker_ready(const struct sched *s)
{
	return s->ready[THREAD_WORKER].first || (wtd_queued(s, WTD_SLEEP) && s->idle_workers.first);
}

bool sched_thread_ready(const struct sched *s)
{
	return s->ready[THREAD_HIGH].first || s->ready[THREAD_NORMAL].first;
}

// ---- slices ----

static void slice_begin(struct sched *s, enum slice slice)
{
	uint64_t row_ns = clock_cycles_to_ns(sched_cycles() - s->row_start);

	if (slice == SLICE_THREAD) {
		trace(TRACE_THREAD_SLICE, s->row, 0, 0);
		s->slices_given++;
		s->row = 0;
	}
	s->fast_row = 0;
	s->slice = slice;
	this_cpu()->fast_pending = false;
	s->slice_end = clock_ns() +
		       (slice == SLICE_WORKER ? SLICE_MAX : MIN(MAX(row_ns, SLICE_MIN), SLICE_MAX));
	timer_want(s->slice_end);
}

void sched_slice_over(struct sched *s)
{
	s->slice = SLICE_NONE;
	this_cpu()->fast_pending = wtd_queued(s, WTD_FAST);
	if (sched_worker_ready(s))
		sched_consider(s, THREAD_WORKER);
}

bool sched_bound_reached(struct sched *s)
{
	const struct thread *current = this_cpu()->current;
	bool running = !s->idle && current->state == THREAD_RUNNING;
	bool is_worker = running && current->priority == THREAD_WORKER;
	bool is_thread = running && !is_worker && current->priority != THREAD_LOW;

	if (s->slice)
		return true;
	if (s->row >= WTD_BOUND && (is_thread || sched_thread_ready(s))) {
		slice_begin(s, SLICE_THREAD);
		this_cpu()->need_switch |= !is_thread;
		return true;
	}
	if (s->fast_row >= WTD_BOUND - 1 && (is_worker || sched_worker_ready(s))) {
		slice_begin(s, SLICE_WORKER);
		this_cpu()->need_switch |= !is_worker;
		return true;
	}
	return false;
}

// ---- becoming ready ----

void sched_consider(struct sched *s, unsigned priority)
{
	const struct thread *current = this_cpu()->current;

	if (s->idle)
		return; // looks for itself when the interrupt returns
	if (priority == THREAD_WORKER) {
		if (current->priority != THREAD_WORKER && s->slice != SLICE_THREAD)
			this_cpu()->need_switch = true;
	} else if (priority > current->priority) {
		this_cpu()->need_switch = true;
	} else if (priority == current->priority && current->state == THREAD_RUNNING) {
		timer_want(clock_ns() + clock_cycles_to_ns(current->quantum));
	}
}

void sched_ready(struct sched *s, struct thread *t)
{
	t->state = THREAD_READY;
	list_push_tail(&s->ready[t->priority], t);
	sched_consider(s, t->priority);
}

bool sched_wake(struct sched *s, struct thread *t, bool timed_out)
{
	if (t->state != THREAD_BLOCKED)
		return false;
	if (t->waiting)
		list_remove(t->waiting, t);
	t->waiting = NULL;
	t->timed_out = timed_out;
	sched_ready(s, t);
	return true;
}

// ---- choosing ----

static struct thread *take_first(struct waitq *q)
{
	struct thread *t = q->first;

	list_remove(q, t);
	return t;
}

// Workers that were woken in the middle of a WTD go first: theirs is the older work.
static struct thread *take_worker(struct sched *s)
{
	struct thread *t;

	if (s->ready[THREAD_WORKER].first)
		return take_first(&s->ready[THREAD_WORKER]);
	t = take_first(&s->idle_workers);
	t->waiting = NULL;
	s->workers_idle--;
	return t;
}

static bool anybody_ready(const struct sched *s)
{
	return sched_worker_ready(s) || sched_thread_ready(s) || s->ready[THREAD_LOW].first;
}

// Before anyone is chosen: a slice whose class has nobody left is over, and a worker is asked for
// if WTDs wait and all workers sleep.
static void settle(struct sched *s)
{
	if (wtd_queued(s, WTD_SLEEP) && !sched_worker_ready(s))
		worker_wanted(s);
	if ((s->slice == SLICE_THREAD && !sched_thread_ready(s)) ||
	    (s->slice == SLICE_WORKER && !sched_worker_ready(s)))
		sched_slice_over(s);
}

static struct thread *pick(struct sched *s)
{
	bool worker = sched_worker_ready(s), thread = sched_thread_ready(s);

	if (s->slice == SLICE_NONE && s->row >= WTD_BOUND && worker && thread)
		slice_begin(s, SLICE_THREAD);
	if (worker && s->slice != SLICE_THREAD)
		return take_worker(s);
	for (int priority = THREAD_HIGH; priority >= THREAD_LOW; priority--)
		if (s->ready[priority].first)
			return take_first(&s->ready[priority]);
	return NULL;
}

// ---- switching ----

// STI takes effect after the instruction that follows it, so an interrupt that arrives between our
// look at the queues and the HLT ends the HLT.
static void halt(struct sched *s)
{
	s->idle = true;
	s->idle_since = sched_cycles();
	sched_unlock(s);
	__asm__ volatile("sti; hlt; cli" ::: "memory");
	sched_lock(s);
	sched_idle_over(s, sched_cycles());
	s->idle = false;
}

static struct wtd_watch *watches; // never removed
static bool relied;		  // one of them is

bool wtd_watch_for(struct wtd_watch *watch, uint64_t ns)
{
	bool looks = this_cpu()->current->state != THREAD_RUNNING; // we are inside sched_switch

	watch->until = MAX(watch->until, sched_cycles() + clock_ns_to_cycles(ns));
	if (!watch->known) {
		watch->known = true;
		watch->next = watches;
		watches = watch;
	}
	if (looks && watch->over)
		watch->relied = relied = true;
	return looks;
}

// Whoever relied on our looking is told that it is over, and may post.
static void stop_looking(struct sched *s)
{
	relied = false;
	sched_unlock(s);
	for (struct wtd_watch *watch = watches; watch; watch = watch->next)
		if (watch->relied) {
			watch->relied = false;
			watch->over(watch);
		}
	sched_lock(s);
}

// In place of a HLT while somebody expects work: interrupts get their chance, then devices are looked at. True:
// there may be something to do.
static bool look_around(struct sched *s)
{
	uint64_t now = sched_cycles();
	bool any = false;

	for (struct wtd_watch *watch = watches; watch; watch = watch->next)
		any |= watch->until > now;
	if (LIKELY(!any)) {
		if (!relied)
			return false;
		stop_looking(s);
		return true;
	}
	s->idle = true;
	s->idle_since = now;
	sched_unlock(s);
	__asm__ volatile("sti; nop; cli" ::: "memory");
	for (struct wtd_watch *watch = watches; watch; watch = watch->next)
		if (watch->until > now)
			watch->look(watch);
	sched_lock(s);
	sched_idle_over(s, sched_cycles());
	s->idle = false;
	return true;
}

static void run_fast(struct sched *s)
{
	sched_unlock(s);
	wtd_run_fast();
	sched_lock(s);
}

// A worker that stops in the middle of its WTD: as far as hogs are concerned, a stretch ends here.
static void leave_item(struct sched *s, struct thread *t, uint64_t now)
{
	if (!t->item)
		return;
	wtd_account_run(&s->queue[WTD_SLEEP].figures, t->item, t->stretch, now);
	s->wtd_end = now;
}

static void enter(struct sched *s, struct thread *t, uint64_t now)
{
	t->state = THREAD_RUNNING;
	t->since = now;
	t->stretch = now;
	if (t->priority == THREAD_WORKER)
		s->fast_row = 0;
	else if (s->ready[t->priority].first)
		timer_want(clock_ns() + clock_cycles_to_ns(t->quantum));
}

void sched_switch(struct sched *s)
{
	struct cpu *cpu = this_cpu();
	struct thread *previous = cpu->current, *next;

	leave_item(s, previous, sched_cycles());
	if (UNLIKELY(previous->task != NULL))
		task_pause(previous); // what follows, a HLT perhaps, is not its time
	for (;;) {
		settle(s);
		if (wtd_pending())
			run_fast(s);
		if (UNLIKELY(relied) && anybody_ready(s)) {
			stop_looking(s);
			continue;
		}
		next = pick(s);
		if (next)
			break;
		if (!wtd_pending() && !look_around(s))
			halt(s);
	}
	cpu->need_switch = false;
	enter(s, next, sched_cycles());
	if (next == previous) {
		sched_unlock(s);
		if (UNLIKELY(next->task != NULL))
			task_resume(next);
		return;
	}
	s->switches++;
	cpu->current = next;
	sched_unlock(s);
	if (UNLIKELY(previous->task != NULL))
		task_leave(previous);
	if (UNLIKELY(next->task != NULL))
		task_enter(next);
	context_switch(&previous->sp, next->sp);
}

void sched_block(struct sched *s, uint64_t ns)
{
	struct thread *t = this_cpu()->current;

	t->state = THREAD_BLOCKED;
	t->timed_out = false;
	t->quantum = quantum_cycles;
	if (ns != UINT64_MAX)
		wtd_arm(s, &t->timer, WTD_FAST, ns);
	if (s->slice)
		sched_slice_over(s);
	sched_switch(s);
	if (ns != UINT64_MAX && !t->timed_out)
		wtd_cancel(&t->timer);
}

// To the head of its queue: I/O first, then exactly what was running. Unless its turn is used up.
static void preempt(struct sched *s)
{
	struct thread *t = this_cpu()->current;
	uint64_t used = sched_cycles() - t->since;

	t->state = THREAD_READY;
	if (t->priority != THREAD_WORKER && used >= t->quantum) {
		t->quantum = quantum_cycles;
		list_push_tail(&s->ready[t->priority], t);
	} else {
		t->quantum -= MIN(used, t->quantum);
		list_push_head(&s->ready[t->priority], t);
	}
	sched_switch(s);
}

void thread_reschedule_at_irq_exit(void)
{
	struct sched *s = sched_self();

	if (s->idle)
		return;
	ASSERT(this_cpu()->current->state == THREAD_RUNNING);
	sched_lock(s);
	preempt(s);
}

void thread_yield(void)
{
	struct thread *t = this_cpu()->current;
	struct sched *s = sched_self();
	bool on;

	assert_may_sleep("thread_yield");
	on = irq_save();
	sched_lock(s);
	t->state = THREAD_READY;
	t->quantum = quantum_cycles;
	list_push_tail(&s->ready[t->priority], t);
	if (s->slice)
		sched_slice_over(s);
	sched_switch(s);
	irq_restore(on);
}

void sched_kick_now(void)
{
	struct cpu *cpu = this_cpu();
	struct sched *s = sched_self();
	bool on;

	if (cpu->irq_depth || cpu->in_fast_wtd || cpu->wtd_disabled || s->idle || !cpu->current)
		return;
	on = irq_save();
	if (on && wtd_pending())
		wtd_run_fast();
	if (on && cpu->need_switch) {
		sched_lock(s);
		preempt(s);
	}
	irq_restore(on);
}

uint64_t sched_tick(struct sched *s, uint64_t now)
{
	struct thread *t = this_cpu()->current;
	uint64_t next = UINT64_MAX, used;

	if (s->slice && now >= s->slice_end)
		sched_slice_over(s);
	else if (s->slice)
		next = s->slice_end;
	if (s->idle || t->priority == THREAD_WORKER || t->state != THREAD_RUNNING ||
	    !s->ready[t->priority].first)
		return next;
	used = sched_cycles() - t->since;
	if (used >= t->quantum)
		this_cpu()->need_switch = true;
	else
		next = MIN(next, now + clock_cycles_to_ns(t->quantum - used));
	return next;
}
