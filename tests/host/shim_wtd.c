// SPDX-License-Identifier: BSD-2-Clause
// The shim's clock, spin locks with their checks, and WTD queues run by hand. See shim.h.
#include "shim.h"
#include "shim_private.h"

#include <stdio.h>

#include "kernel/cpu.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/wtd.h"

#define WEAK __attribute__((weak))

struct cpu host_cpu;
uint64_t shim_now;
static struct {
	struct wtd *first, *last;
} queues[WTD_CLASSES], armed;
static uint64_t preempt_state;

// ---- the clock ----

WEAK uint64_t clock_ns(void)
{
	return shim_now;
}
WEAK uint64_t clock_recent_ns(void)
{
	return clock_ns();
}

WEAK uint64_t clock_cycles(void)
{
	return shim_now;
}

WEAK uint64_t clock_cycles_to_ns(uint64_t cycles)
{
	return cycles;
}

WEAK uint64_t clock_ns_to_cycles(uint64_t ns)
{
	return ns;
}

WEAK uint64_t clock_realtime_ns(void)
{
	return 1700000000 * NS_PER_SEC + shim_now;
}

WEAK void clock_delay_ns(uint64_t ns)
{
	shim_now += ns;
}

// ---- spin locks ----

static void maybe_preempt(void)
{
	if (!preempt_state || host_cpu.wtd_disabled || host_cpu.in_fast_wtd)
		return;
	preempt_state = preempt_state * 6364136223846793005 + 1442695040888963407;
	if (preempt_state >> 63)
		while (shim_run_fast())
			;
}

void shim_preempt(uint64_t seed)
{
	preempt_state = seed;
	if (seed)
		fprintf(stderr, "shim_preempt seed %llu\n", (unsigned long long)seed);
}

WEAK void wtd_disable(void)
{
	host_cpu.wtd_disabled++;
}

WEAK void wtd_enable(void)
{
	ASSERT(host_cpu.wtd_disabled);
	host_cpu.wtd_disabled--;
	maybe_preempt();
}

WEAK void spin_lock_wtd_at(struct spinlock *lock, const char *holder)
{
	if (lock->held)
		PANIC("%s takes %s, which %s holds", holder, lock->name, lock->holder);
	if (host_cpu.locks && host_cpu.locks->rank >= lock->rank)
		PANIC("%s takes %s (rank %u) while %s holds %s (rank %u)", holder, lock->name,
		      lock->rank, host_cpu.locks->holder, host_cpu.locks->name,
		      host_cpu.locks->rank);
	host_cpu.wtd_disabled++;
	lock->held = 1;
	lock->holder = holder;
	lock->outer = host_cpu.locks;
	host_cpu.locks = lock;
}

WEAK void spin_unlock_wtd(struct spinlock *lock)
{
	if (host_cpu.locks != lock)
		PANIC("%s is not the innermost lock", lock->name);
	host_cpu.locks = lock->outer;
	lock->held = 0;
	wtd_enable();
}

WEAK void spin_lock_irq_at(struct spinlock *lock, const char *holder)
{
	spin_lock_wtd_at(lock, holder);
}

WEAK void spin_unlock_irq(struct spinlock *lock)
{
	spin_unlock_wtd(lock);
}

WEAK uint32_t spin_rank_held(void)
{
	return host_cpu.locks ? host_cpu.locks->rank : 0;
}

WEAK bool spin_held(const struct spinlock *lock)
{
	return lock->held;
}

// ---- WTDs ----

static void list_remove(struct wtd *work)
{
	struct wtd **first = work->state == WTD_ARMED ? &armed.first : &queues[work->class].first;
	struct wtd **last = work->state == WTD_ARMED ? &armed.last : &queues[work->class].last;
	*(work->prev ? &work->prev->next : first) = work->next;
	*(work->next ? &work->next->prev : last) = work->prev;
	work->next = work->prev = NULL;
	work->state = WTD_IDLE;
}

static bool enqueue(struct wtd *work, enum wtd_class class)
{
	if (!work->fn)
		PANIC("a WTD of %s was posted before wtd_init", work->owner ?: "nobody");
	if (work->state == WTD_QUEUED)
		return false;
	if (work->state == WTD_ARMED)
		list_remove(work);
	work->class = class;
	work->state = WTD_QUEUED;
	work->next = NULL;
	work->prev = queues[class].last;
	*(work->prev ? &work->prev->next : &queues[class].first) = work;
	queues[class].last = work;
	return true;
}

WEAK void wtd_init(struct wtd *work, wtd_fn fn, const char *owner)
{
	*work = (struct wtd){.fn = fn, .owner = owner};
}

WEAK bool wtd_watch_for(struct wtd_watch *watch, uint64_t ns)
{
	return false;
}

WEAK bool wtd_post_fast(struct wtd *work)
{
	return enqueue(work, WTD_FAST);
}

WEAK bool wtd_post_interrupt(struct wtd *work)
{
	enqueue(work, WTD_FAST);
	return true;
}

WEAK bool wtd_post(struct wtd *work)
{
	return enqueue(work, WTD_SLEEP);
}

WEAK bool wtd_post_after(struct wtd *work, enum wtd_class class, uint64_t delay_ns)
{
	if (!work->fn)
		PANIC("a WTD of %s was posted before wtd_init", work->owner ?: "nobody");
	if (work->state == WTD_QUEUED)
		return false;
	if (work->state == WTD_ARMED)
		list_remove(work);
	work->class = class;
	work->due = shim_now + delay_ns;
	work->state = WTD_ARMED;
	struct wtd *after = armed.last;
	while (after && after->due > work->due)
		after = after->prev;
	work->prev = after;
	work->next = after ? after->next : armed.first;
	*(work->prev ? &work->prev->next : &armed.first) = work;
	*(work->next ? &work->next->prev : &armed.last) = work;
	return true;
}

WEAK bool wtd_cancel(struct wtd *work)
{
	if (work->state == WTD_IDLE)
		return false;
	list_remove(work);
	return true;
}

bool shim_run_fast(void)
{
	struct wtd *work = queues[WTD_FAST].first;
	if (!work)
		return false;
	const char *owner = work->owner;
	list_remove(work);
	host_cpu.in_fast_wtd = true;
	host_cpu.fast_owner = owner;
	work->fn(work); // work may be gone from here on
	if (host_cpu.locks)
		PANIC("the fast WTD of %s ended holding %s", owner, host_cpu.locks->name);
	host_cpu.in_fast_wtd = false;
	return true;
}

struct wtd *shim_take_sleep_work(void)
{
	struct wtd *work = queues[WTD_SLEEP].first;
	if (work)
		list_remove(work);
	return work;
}

uint64_t shim_first_due(void)
{
	return armed.first ? armed.first->due : UINT64_MAX;
}

void shim_queue_due(void)
{
	while (armed.first && armed.first->due <= shim_now) {
		struct wtd *work = armed.first;
		list_remove(work);
		enqueue(work, work->class);
	}
}

void shim_wtd_init(void)
{
	host_cpu = (struct cpu){.self = &host_cpu};
	shim_now = NS_PER_SEC;
}

void shim_wtd_finish(void)
{
	for (int i = 0; i < WTD_CLASSES; i++)
		if (queues[i].first)
			shim_fail("a WTD of %s is still queued", queues[i].first->owner);
	if (host_cpu.locks || host_cpu.wtd_disabled)
		shim_fail("locks held at the end");
	while (armed.first)
		list_remove(armed.first); // the code under test may keep a timer going
	preempt_state = 0;
}
