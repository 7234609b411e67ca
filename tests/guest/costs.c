// SPDX-License-Identifier: BSD-2-Clause
// What the kernel's everyday operations cost: in instructions, held to budgets, with -icount
// shift=0 and the word `icount`; else in TSC cycles, only shown. The least of several rounds, so
// that interrupts do not count.
#include "tests/guest/sched_tools.h"
#include "kernel/copy.h"
#include "kernel/ktest.h"
#include "kernel/lock.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/sched.h"
#include "kernel/trace.h"

#define ROUNDS 50

static struct spinlock lock = SPINLOCK_INIT("test-cost", RANK_HTTP);
struct object {
	uint8_t bytes[128];
};
static struct pool pool = POOL_INIT("test-cost", struct object, 8);
static struct page *page;
static struct wtd work, armed;

static void nothing(struct wtd *w) {}

static void do_nothing(void) {}

static void lock_pair(void)
{
	spin_lock_wtd(&lock);
	spin_unlock_wtd(&lock);
}

static void irq_lock_pair(void)
{
	spin_lock_irq(&lock);
	spin_unlock_irq(&lock);
}

static void pool_pair(void)
{
	void *object = pool_alloc(&pool);

	if (object)
		pool_free(&pool, object);
}

static void wire_pair(void)
{
	page_wire_get(page);
	page_wire_put(page);
}

static void post_and_run(void)
{
	wtd_post_fast(&work);
}

static void arm_and_cancel(void)
{
	wtd_post_after(&armed, WTD_FAST, NS_PER_SEC);
	wtd_cancel(&armed);
}

static void copy_header(void)
{
	static _Alignas(64) uint8_t from[54], to[54]; // what a copy takes depends on how they lie

	copy_other(to, from, sizeof(to));
}

static void tell_time(void)
{
	(void)clock_ns();
}

static void trace_event(void)
{
	trace(TRACE_WTD_HOG, 0, 0, 0);
}

static void post_to_worker(void)
{
	wtd_post(&work);
}

static uint64_t cost_of(void (*fn)(void))
{
	uint64_t least = UINT64_MAX;

	for (int n = 0; n < ROUNDS; n++) {
		uint64_t start;

		burn(2 * ROW_GAP); // or the bound on WTDs in a row shows
		start = sched_cycles();
		fn();
		least = MIN(least, sched_cycles() - start);
	}
	return least;
}

static const struct {
	const char *what;
	void (*fn)(void);
	uint64_t budget;
} operations[] = {
    {"spin_lock_wtd and unlock", lock_pair, 35},
    {"spin_lock_irq and unlock", irq_lock_pair, 62},
    {"pool_alloc and pool_free, 128 bytes", pool_pair, 100},
    {"page_wire_get and put", wire_pair, 35},
    {"a fast WTD posted by a thread, run", post_and_run, 230},
    {"a timer armed and cancelled", arm_and_cancel, 250},
    {"copy_other of a header", copy_header, 80},
    {"clock_ns", tell_time, 40},
    {"trace", trace_event, 60},
    {"a WTD posted by a thread, run by a worker, and back", post_to_worker, 700},
};

KTEST("costs", all, "everyday-operations-stay-within-their-budgets")
{
	const char *unit = ktest_counts_instructions() ? "instructions" : "TSC cycles";
	uint64_t empty = cost_of(do_nothing);

	page = pmm_alloc(0);
	EXPECT(page != NULL);
	if (!page)
		return;
	wtd_init(&work, nothing, "test-cost");
	wtd_init(&armed, nothing, "test-cost");
	pool_set_junk(false);
	for (unsigned n = 0; n < ARRAY_SIZE(operations); n++) {
		uint64_t cost = cost_of(operations[n].fn) - empty;

		ktest_note("%s: %lu %s", operations[n].what, cost, unit);
		if (ktest_counts_instructions() && cost > operations[n].budget)
			ktest_fail(__FILE__, __LINE__, "%s: over its budget of %lu",
				   operations[n].what, operations[n].budget);
	}
	pool_set_junk(true);
	pmm_free(page, 0);
}
