// SPDX-License-Identifier: BSD-2-Clause
// The runner of the tests inside the kernel (include/kernel/ktest.h). Output is KTAP version 1,
// flat: one line a test, "suite.name". A test that does not end in time ends the run: its thread
// cannot be taken away from it. After each test the runner waits a little for queued work to
// finish, then counts: pages on the wire and objects out of every pool must be what they were.
#include "kernel/ktest.h"
#include "kernel/cmdline.h"
#include "kernel/cpu.h"
#include "kernel/irq_private.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/page.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/sched.h"
#include "kernel/timer.h"

#define TEST_TIME   (600 * NS_PER_SEC) // for a test of thousands of files on a slow emulated machine
#define SETTLE_STEP (2 * NS_PER_MS)
// In steps, not by the clock: while the host lets the machine wait the clock goes on, and nothing else does.
#define SETTLE_STEPS 10000
#define REST_STEPS   750  // 1.5 s: longer than the second for which QEMU's e1000 is deaf at first
#define REST_LIMIT   4000 // steps
#define POOLS_MAX    256  // pools of the whole kernel; more is a panic here

extern const struct ktest __start_ktests[], __stop_ktests[];
extern const struct ktest_drop __start_ktest_drops[], __stop_ktest_drops[];

struct pool_use {
	const struct pool *pool;
	uint32_t used;
};
static struct pool_use uses[POOLS_MAX]; // runner only
static unsigned uses_count;		// runner only
static uint64_t pinned_before;		// runner only

static struct spinlock run_lock = SPINLOCK_INIT("ktest", RANK_HTTP);
static struct waitq run_waitq;	    // (run_lock)
static bool run_over;		    // (run_lock)
static const struct ktest *running; // the test that runs
static bool failed;		    // it
static const char *skipped;	    // its reason
static bool counts_instructions;    // constant after the command line
static struct thread *panic_thread; // whose panic is expected
static char panic_text[256];	    // of the last expected panic
static uint32_t totals[3];	    // runner only: passed, failed, skipped
enum { PASSED, FAILED, SKIPPED };

static bool parse_icount(const char *value)
{
	counts_instructions = value == NULL;
	return counts_instructions;
}
CMDLINE_OPTION(option_icount, "icount",
	       "icount  for tests: QEMU runs with -icount shift=0, the TSC counts instructions",
	       parse_icount);

bool ktest_counts_instructions(void)
{
	return counts_instructions;
}

void ktest_fail(const char *file, int line, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	kvsnprintf(text, sizeof(text), format, args);
	va_end(args);
	failed = true;
	kprintf("# %s.%s: %s:%d: %s\n", running->suite, running->name, file, line, text);
}

void ktest_skip(const char *reason)
{
	skipped = reason;
}

void ktest_note(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	kvsnprintf(text, sizeof(text), format, args);
	va_end(args);
	kprintf("# %s\n", text);
}

// ---- expected panics ----

struct context { // as switch.asm lays it out
	uint64_t rbx, rbp, r12, r13, r14, r15, rsp, rip;
};
__attribute__((returns_twice)) int context_save(struct context *c);
NORETURN void context_restore(const struct context *c);

static struct context before_panic;
static struct cpu cpu_before;	// the processor's block as it was
static uint32_t mutexes_before; // the thread's
static bool interrupts_before;

// A panic anywhere but on the test's own stack is a real one.
static bool caught(const char *message)
{
	if (this_cpu()->current != panic_thread || sched_self()->idle)
		return false;
	kstrlcpy(panic_text, message, sizeof(panic_text));
	context_restore(&before_panic);
}

// Undoes what the code that panicked had taken.
static void clean_up(void)
{
	struct cpu *cpu = this_cpu();

	for (struct spinlock *l = cpu->locks; l && l != cpu_before.locks; l = l->outer) {
		l->held = 0;
		l->holder = NULL;
	}
	if (cpu->irq_depth > cpu_before.irq_depth)
		lapic_eoi();
	sched_self()->lock = 0;
	cpu->locks = cpu_before.locks;
	cpu->irq_depth = cpu_before.irq_depth;
	cpu->wtd_disabled = cpu_before.wtd_disabled;
	cpu->in_fast_wtd = cpu_before.in_fast_wtd;
	cpu->fast_owner = cpu_before.fast_owner;
	cpu->fast_pending =
	    !cpu->in_fast_wtd && !sched_self()->slice && wtd_queued(sched_self(), WTD_FAST);
	panic_thread->mutexes = mutexes_before;
	irq_restore(interrupts_before);
}

bool ktest_panics(void (*fn)(void *), void *arg)
{
	ASSERT(!panic_thread);
	cpu_before = *this_cpu();
	panic_thread = cpu_before.current;
	mutexes_before = panic_thread->mutexes;
	interrupts_before = irq_save();
	irq_restore(interrupts_before);
	panic_text[0] = 0;
	if (context_save(&before_panic) == 0) {
		panic_set_test_hook(caught);
		fn(arg);
		panic_set_test_hook(NULL);
		panic_thread = NULL;
		return false;
	}
	panic_set_test_hook(NULL);
	clean_up();
	panic_thread = NULL;
	return true;
}

const char *ktest_panic_text(void)
{
	return panic_text;
}

// ---- counting ----

static void drop_caches(void)
{
	for (const struct ktest_drop *d = __start_ktest_drops; d < __stop_ktest_drops; d++)
		d->run();
}

static void remember_use(void)
{
	drop_caches();
	pinned_before = page_pinned();
	uses_count = 0;
	for (const struct pool *p = pool_first(); p; p = p->next) {
		ASSERT(uses_count < POOLS_MAX);
		uses[uses_count++] = (struct pool_use){p, p->used};
	}
}

static uint32_t use_before(const struct pool *pool)
{
	for (unsigned n = 0; n < uses_count; n++)
		if (uses[n].pool == pool)
			return uses[n].used;
	return 0;
}

static bool all_given_back(void)
{
	if (page_pinned() != pinned_before)
		return false;
	for (const struct pool *p = pool_first(); p; p = p->next)
		if (p->used != use_before(p))
			return false;
	return true;
}

static void check_use(void)
{
	drop_caches();
	for (unsigned step = 0; !all_given_back() && step < SETTLE_STEPS; step++) {
		thread_sleep_ns(SETTLE_STEP);
		drop_caches();
	}
	if (page_pinned() != pinned_before)
		ktest_fail(__FILE__, __LINE__, "%lu pages are on the wire, %lu before",
			   (unsigned long)page_pinned(), (unsigned long)pinned_before);
	for (const struct pool *p = pool_first(); p; p = p->next)
		if (p->used != use_before(p))
			ktest_fail(__FILE__, __LINE__, "pool %s: %u objects are out, %u before",
				   p->name, p->used, use_before(p));
}

// ---- running ----

static NORETURN void leave(bool good)
{
	kprintf("# %u passed, %u failed, %u skipped\n", totals[PASSED], totals[FAILED],
		totals[SKIPPED]);
	kprintf("# self-test: %s\n", good ? "PASSED" : "FAILED");
	cpu_debug_exit(good ? 0 : 1);
	kprintf("# the machine may be switched off\n");
	cpu_stop();
}

static void test_thread(void *arg)
{
	running->run();
	spin_lock_wtd(&run_lock);
	run_over = true;
	waitq_wake_all(&run_waitq);
	spin_unlock_wtd(&run_lock);
}

// True if the test came to its end in time.
static bool run_to_end(void)
{
	bool in_time = true;

	run_over = false;
	if (!thread_create("ktest", THREAD_NORMAL, test_thread, NULL)) {
		ktest_fail(__FILE__, __LINE__, "no memory for its thread");
		return true;
	}
	spin_lock_wtd(&run_lock);
	while (!run_over && in_time)
		in_time = waitq_sleep_for(&run_waitq, &run_lock, TEST_TIME);
	in_time = run_over;
	spin_unlock_wtd(&run_lock);
	return in_time;
}

static void run_one(const struct ktest *test, unsigned number)
{
	uint64_t start = clock_ns();
	bool in_time;

	running = test;
	failed = false;
	skipped = NULL;
	remember_use();
	in_time = run_to_end();
	if (in_time)
		check_use();
	else
		failed = true;
	totals[failed ? FAILED : skipped ? SKIPPED : PASSED]++;
	if (clock_ns() - start > NS_PER_SEC)
		ktest_note("%s.%s took %lu ms", test->suite, test->name,
			   (unsigned long)((clock_ns() - start) / NS_PER_MS));
	kprintf("%s %u %s.%s%s%s\n", failed ? "not ok" : "ok", number, test->suite, test->name,
		!failed && skipped ? " # SKIP " : "", !failed && skipped ? skipped : "");
	if (!in_time) {
		kprintf("Bail out! %s.%s did not end within %lu s\n", test->suite, test->name,
			(unsigned long)(TEST_TIME / NS_PER_SEC));
		leave(false);
	}
}

static bool chosen(const struct ktest *test)
{
	const char *suite = cmdline_selftest_suite();

	return !suite || !strcmp(suite, test->suite);
}

// What boot set going (addresses, neighbours, groups) takes objects for some seconds: counting
// begins when nothing has changed for a while.
static void come_to_rest(void)
{
	unsigned changed = 0;

	remember_use();
	for (unsigned step = 0; step - changed < REST_STEPS && step < REST_LIMIT; step++) {
		thread_sleep_ns(SETTLE_STEP);
		if (all_given_back())
			continue;
		remember_use();
		changed = step;
	}
}

void ktest_run_all(void)
{
	unsigned count = 0, number = 0;

	pool_set_junk(true);
	pmm_set_junk(true);
	for (const struct ktest *t = __start_ktests; t < __stop_ktests; t++)
		count += chosen(t);
	kprintf("KTAP version 1\n1..%u\n", count);
	come_to_rest();
	for (const struct ktest *t = __start_ktests; t < __stop_ktests; t++)
		if (chosen(t))
			run_one(t, ++number);
	leave(totals[FAILED] == 0 && count > 0);
}
