// SPDX-License-Identifier: BSD-2-Clause
// Work to do (include/kernel/wtd.h): posting, cancelling, delaying, and running fast WTDs: stage 2
// of the read path. Sleeping WTDs are run by worker.c; the order of everything is sched.c's.
#include "kernel/panic.h"
#include "kernel/sched.h"
#include "kernel/timer.h"
#include "kernel/trace.h"

static uint64_t hog_ns = WTD_HOG_LIMIT;
static uint64_t hog_cycles = WTD_HOG_LIMIT; // the same in cycles, once the clock is calibrated

void wtd_init(struct wtd *work, wtd_fn fn, const char *owner)
{
	*work = (struct wtd)WTD_INIT(fn, owner);
}

void wtd_set_hog_limit(uint64_t ns)
{
	hog_ns = ns;
	wtd_set_rates();
}

void wtd_set_rates(void)
{
	hog_cycles = clock_ns_to_cycles(hog_ns);
}

// ---- queues ----

void wtd_init_queues(void)
{
	for (struct sched *s = scheds; s < scheds + CPU_MAX; s++)
		for (struct wtd_queue *q = s->queue; q < s->queue + WTD_CLASSES; q++)
			q->head.next = q->head.prev = &q->head;
}

// Every instruction here is on the way from an interrupt to its WTD.
static inline void append(struct sched *s, struct wtd *work, enum wtd_class class)
{
	struct wtd_queue *q = &s->queue[class];
	struct wtd *last = q->head.prev;

	work->posted = sched_cycles();
	work->class = class;
	work->state = WTD_QUEUED;
	work->cpu = (uint16_t)(s - scheds);
	work->next = &q->head;
	work->prev = last;
	last->next = work;
	q->head.prev = work;
	q->figures.posted++;
	if (UNLIKELY(--q->figures.room < 0)) {
		q->figures.room = 0;
		q->figures.depth_high++;
	}
}

// While a fast WTD runs, whoever runs it looks at the queue itself: locks that are dropped meanwhile
// need not ask.
static inline void fast_queued(const struct sched *s)
{
	struct cpu *cpu = this_cpu();

	if (!cpu->in_fast_wtd)
		cpu->fast_pending = s->slice == SLICE_NONE;
}

void wtd_enqueue(struct sched *s, struct wtd *work, enum wtd_class class)
{
	append(s, work, class);
	if (class == WTD_FAST)
		fast_queued(s);
	else if (sched_worker_ready(s))
		sched_consider(s, THREAD_WORKER);
	else if (!s->idle && this_cpu()->current->priority != THREAD_WORKER)
		worker_wanted(s);
}

static void unlink_node(struct wtd_queue *q, struct wtd *work)
{
	work->prev->next = work->next;
	work->next->prev = work->prev;
	work->state = WTD_IDLE;
	q->figures.room++;
}

// The first of a queue that is not empty.
static inline struct wtd *take_first(struct wtd_queue *q)
{
	struct wtd *work = q->head.next, *next = work->next;

	q->head.next = next;
	next->prev = &q->head;
	work->state = WTD_IDLE;
	q->figures.room++;
	return work;
}

struct wtd *wtd_dequeue(struct sched *s, enum wtd_class class)
{
	return wtd_queued(s, class) ? take_first(&s->queue[class]) : NULL;
}

// ---- posting ----

// Interrupts were `on`: what was posted runs now if this context allows it.
static inline void leave(struct sched *s, bool on)
{
	sched_unlock(s);
	if (on) {
		irq_restore(true);
		sched_kick();
	}
}

static bool post(struct wtd *work, enum wtd_class class)
{
	bool on = irq_save();
	struct sched *s = sched_self();

	sched_lock(s);
	if (work->state == WTD_QUEUED) {
		leave(s, on);
		return false;
	}
	if (work->state == WTD_ARMED)
		wheel_remove(&s->wheel, work);
	wtd_enqueue(s, work, class);
	leave(s, on);
	return true;
}

bool wtd_post_fast(struct wtd *work)
{
	bool on = irq_save();
	struct sched *s = sched_self();

	if (UNLIKELY(work->state != WTD_IDLE)) {
		irq_restore(on);
		return post(work, WTD_FAST);
	}
	sched_lock(s);
	append(s, work, WTD_FAST);
	fast_queued(s);
	leave(s, on);
	return true;
}

bool wtd_post_interrupt(struct wtd *work)
{
	struct sched *s = sched_self();

	if (UNLIKELY(work->state != WTD_IDLE)) {
		post(work, WTD_FAST);
		return true;
	}
	sched_lock(s);
	append(s, work, WTD_FAST);
	fast_queued(s);
	sched_unlock(s);
	return true;
}

bool wtd_post(struct wtd *work)
{
	return post(work, WTD_SLEEP);
}

bool wtd_arm(struct sched *s, struct wtd *work, enum wtd_class class, uint64_t delay_ns)
{
	uint64_t now = clock_ns();

	if (work->state == WTD_QUEUED)
		return false;
	if (work->state == WTD_ARMED)
		wheel_remove(&s->wheel, work);
	work->due = delay_ns < UINT64_MAX - now ? now + delay_ns : UINT64_MAX;
	work->class = class;
	work->cpu = (uint16_t)(s - scheds);
	wheel_insert(&s->wheel, work);
	timer_want(work->due);
	return true;
}

bool wtd_post_after(struct wtd *work, enum wtd_class class, uint64_t delay_ns)
{
	bool on = irq_save(), armed;
	struct sched *s = sched_self();

	sched_lock(s);
	armed = wtd_arm(s, work, class, delay_ns);
	leave(s, on);
	return armed;
}

bool wtd_cancel(struct wtd *work)
{
	bool on = irq_save();
	struct sched *s = &scheds[work->cpu];
	bool was_idle;

	sched_lock(s);
	was_idle = work->state == WTD_IDLE;
	if (work->state == WTD_ARMED)
		wheel_remove(&s->wheel, work);
	else if (work->state == WTD_QUEUED)
		unlink_node(&s->queue[work->class], work);
	leave(s, on);
	return !was_idle;
}

static void queue_due(void *ctx, struct wtd *work)
{
	wtd_enqueue(ctx, work, work->class);
}

void wtd_due(struct sched *s, uint64_t now)
{
	wheel_advance(&s->wheel, now, queue_due, s);
}

// ---- running ----

bool wtd_pending(void)
{
	return this_cpu()->fast_pending;
}

void wtd_account_start(struct wtd_figures *f, uint64_t posted, uint64_t start)
{
	uint64_t ns = clock_cycles_to_ns(start - posted);
	unsigned bits = (unsigned)(64 - __builtin_clzll(ns | 1)); // ns < 2^bits

	f->latency[bits <= 6 ? 0 : MIN(bits - 6, WTD_LATENCY_BUCKETS - 1U)]++;
	f->latency_sum += start - posted;
	f->run++;
}

void wtd_account_run(struct wtd_figures *f, const char *owner, uint64_t start, uint64_t end)
{
	if (end - start > f->longest) {
		f->longest = end - start;
		f->longest_owner = owner;
	}
	if (UNLIKELY(end - start > hog_cycles)) {
		f->hogs++;
		trace(TRACE_WTD_HOG, (uintptr_t)owner, clock_cycles_to_ns(end - start), 0);
	}
}

static NORETURN void leak_panic(const struct cpu *cpu, const char *owner)
{
	if (cpu->locks)
		PANIC("fast WTD of %s returns holding lock %s, taken by %s", owner,
		      cpu->locks->name, cpu->locks->holder);
	PANIC("fast WTD of %s returns with WTDs disabled", owner);
}

// One fast WTD, S held before and after. Figures are kept after the function has run, not before
// it.
static inline uint64_t run_one(struct sched *s, struct cpu *cpu, uint64_t start)
{
	struct wtd *work = take_first(&s->queue[WTD_FAST]);
	struct wtd_figures *f = &s->queue[WTD_FAST].figures;
	uint64_t posted = work->posted;

	cpu->fast_owner = work->owner;
	sched_unlock(s);
	irq_restore(true);
	work->fn(work);
	irq_off();
	sched_lock(s);
	if (UNLIKELY(cpu->locks || cpu->wtd_disabled))
		leak_panic(cpu, cpu->fast_owner);
	sched_row(s, start);
	s->fast_row++;
	s->wtd_end = sched_cycles();
	wtd_account_start(f, posted, start);
	wtd_account_run(f, cpu->fast_owner, start, s->wtd_end);
	return s->wtd_end;
}

// Interrupts are off on entry and on return, on while a function runs.
void wtd_run_fast(void)
{
	struct cpu *cpu = this_cpu();
	struct sched *s = sched_self();
	uint64_t now = sched_cycles();

	cpu->in_fast_wtd = true;
	cpu->fast_pending = false;
	sched_lock(s);
	sched_idle_over(s, now);
	while (wtd_queued(s, WTD_FAST) && !sched_bound(s))
		now = run_one(s, cpu, now);
	cpu->fast_pending =
	    false; // a slice that ended meanwhile: none is left, or others have a turn
	sched_unlock(s);
	cpu->in_fast_wtd = false;
	cpu->fast_owner = NULL;
}
