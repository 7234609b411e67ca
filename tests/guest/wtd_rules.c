// SPDX-License-Identifier: BSD-2-Clause
// The WTD contract, the other half: what WTDs may not do, workers, the starvation bound, figures.
#include "tests/guest/sched_tools.h"
#include "kernel/cpu.h"
#include "kernel/irq.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/lock.h"
#include "kernel/pool.h"
#include "kernel/sched.h"
#include "kernel/trace.h"

// ---- what is a panic ----

static void sleep_now(struct wtd *work)
{
	thread_sleep_ns(1);
}

static void post_fast_of(void *arg)
{
	wtd_post_fast(arg);
}

KTEST("wtd", sleep_in_fast, "sleep-in-fast-wtd-panics-with-both-names")
{
	static struct wtd work = WTD_INIT(sleep_now, "sleepy-test");

	EXPECT(ktest_panics(post_fast_of, &work));
	EXPECT(strstr(ktest_panic_text(), "thread_sleep_ns") != NULL);
	EXPECT(strstr(ktest_panic_text(), "sleepy-test") != NULL);
	EXPECT(may_sleep());
}

static bool sleep_in_handler(void *arg)
{
	thread_yield();
	return true;
}

static void raise_and_wait(void *arg)
{
	irq_raise_self(*(unsigned *)arg);
	burn(2 * NS_PER_MS);
}

KTEST("wtd", sleep_in_interrupt, "sleep-in-an-interrupt-panics-with-the-name")
{
	static unsigned vector;

	if (!vector && irq_attach_self(sleep_in_handler, NULL, "test", &vector))
		ktest_skip("no vector");
	EXPECT(ktest_panics(raise_and_wait, &vector));
	EXPECT(strstr(ktest_panic_text(), "thread_yield") != NULL);
	EXPECT(strstr(ktest_panic_text(), "interrupt") != NULL);
	EXPECT(may_sleep());
	thread_sleep_ns(NS_PER_MS); // interrupts still come
}

static struct spinlock kept_lock = SPINLOCK_INIT("kept-lock", RANK_HTTP);

static void keep_lock(struct wtd *work)
{
	spin_lock_wtd(&kept_lock);
}

KTEST("wtd", returns_with_lock, "a-fast-wtd-that-returns-with-a-lock-panics")
{
	static struct wtd work = WTD_INIT(keep_lock, "forgetful-test");

	EXPECT(ktest_panics(post_fast_of, &work));
	EXPECT(strstr(ktest_panic_text(), "kept-lock") != NULL);
	EXPECT(strstr(ktest_panic_text(), "forgetful-test") != NULL);
	EXPECT(!spin_held(&kept_lock));
}

// ---- workers ----

static struct spinlock gate_lock = SPINLOCK_INIT("test-gate", RANK_HTTP);
static struct waitq gate;	     // (gate_lock)
static bool gate_open;		     // (gate_lock)
static volatile uint32_t came, went; // atomic

static void pass_gate(struct wtd *work)
{
	__atomic_fetch_add(&came, 1, __ATOMIC_RELAXED);
	spin_lock_wtd(&gate_lock);
	while (!gate_open)
		waitq_sleep(&gate, &gate_lock);
	spin_unlock_wtd(&gate_lock);
	__atomic_fetch_add(&went, 1, __ATOMIC_RELAXED);
}

static void close_gate(void)
{
	gate_open = false;
	came = went = 0;
}

static void open_gate(struct wtd *work)
{
	spin_lock_wtd(&gate_lock);
	gate_open = true;
	waitq_wake_all(&gate);
	spin_unlock_wtd(&gate_lock);
}

KTEST("wtd", worker_sleeps, "when-a-wtd-sleeps-another-worker-goes-on-with-the-list")
{
	static struct wtd first = WTD_INIT(pass_gate, "test"), second = WTD_INIT(open_gate, "test");

	close_gate();
	wtd_post(&first);
	EXPECT_EQ(came, 1);
	EXPECT_EQ(went, 0);
	wtd_post(&second);
	EXPECT(wait_for(&went, 1));
}

#define CROWD (WORKERS_MAX + 5)
static struct wtd crowd[CROWD];

static void post_crowd(unsigned count)
{
	close_gate();
	for (unsigned n = 0; n < count; n++) {
		wtd_init(&crowd[n], pass_gate, "test-crowd");
		wtd_post(&crowd[n]);
	}
}

// Workers above the minimum go away again, so that the runner's count comes out.
static void wait_for_minimum(void)
{
	uint64_t until = clock_ns() + PATIENCE_NS;

	worker_idle_life = 10 * NS_PER_MS;
	post_crowd(0);
	open_gate(NULL);
	wtd_init(&crowd[0], pass_gate, "test-crowd"); // the keeper looks again after a burst
	wtd_post(&crowd[0]);
	while (stats_of(WTD_SLEEP).workers > WORKERS_MIN && clock_ns() < until)
		thread_sleep_ns(5 * NS_PER_MS);
	EXPECT_EQ(stats_of(WTD_SLEEP).workers, WORKERS_MIN);
	worker_idle_life = WORKER_IDLE_LIFE;
}

KTEST("wtd", pool_grows, "workers-grow-to-the-maximum-which-is-counted-and-shrink-again")
{
	uint64_t hits = stats_of(WTD_SLEEP).workers_max_hits;

	worker_idle_life = 10 * NS_PER_MS;
	post_crowd(CROWD);
	EXPECT(wait_for(&came, WORKERS_MAX));
	EXPECT_EQ(stats_of(WTD_SLEEP).workers, WORKERS_MAX);
	EXPECT_EQ(stats_of(WTD_SLEEP).depth, CROWD - WORKERS_MAX);
	EXPECT_EQ(stats_of(WTD_SLEEP).workers_max_hits, hits + 1);
	open_gate(NULL);
	EXPECT(wait_for(&went, CROWD));
	wait_for_minimum();
}

KTEST("wtd", pool_no_memory, "a-worker-that-cannot-be-made-is-counted-and-tried-again")
{
	uint64_t failures = kstat_get("pagewire_workers_failed_total", NULL);

	worker_idle_life = 10 * NS_PER_MS;
	pool_fail_named("thread", 0);
	post_crowd(WORKERS_MIN + 4);
	thread_sleep_ns(50 * NS_PER_MS);
	EXPECT_EQ(came, WORKERS_MIN);
	EXPECT(kstat_get("pagewire_workers_failed_total", NULL) > failures);
	pool_fail_off();
	EXPECT(wait_for(&came, WORKERS_MIN + 4));
	open_gate(NULL);
	EXPECT(wait_for(&went, WORKERS_MIN + 4));
	wait_for_minimum();
}

// ---- the starvation bound ----

static volatile uint32_t runs, runs_when_thread_ran, stop;
#define ROW 40
static struct wtd row[ROW];

static void count_run(struct wtd *work)
{
	runs++;
}

static void note_runs(void *arg)
{
	if (!runs_when_thread_ran)
		runs_when_thread_ran = runs;
	stop = 1;
}

// The host may let the whole machine wait in the middle of a row or of a slice, which ends them, and a timer's WTD
// may come in between and count: what must hold is seen in one undisturbed try of several.
#define TRIES 10

static void run_row_once(enum wtd_class class)
{
	runs = runs_when_thread_ran = stop = 0;
	burn(2 * ROW_GAP); // what ran before is not of this row
	wtd_disable();
	for (int n = 0; n < ROW; n++) {
		wtd_init(&row[n], count_run, "test-row");
		if (class == WTD_FAST)
			wtd_post_fast(&row[n]);
		else
			wtd_post(&row[n]);
	}
	EXPECT(thread_create("starving", THREAD_HIGH, note_runs, NULL) != NULL);
	wtd_enable();
	EXPECT(wait_for(&runs, ROW));
	EXPECT(wait_for(&stop, 1));
}

static void run_row(enum wtd_class class)
{
	uint64_t slices = stats_of(WTD_FAST).slices_given;
	int tries = TRIES;

	do
		run_row_once(class);
	while (runs_when_thread_ran != WTD_BOUND && --tries);
	EXPECT_EQ(runs_when_thread_ran, WTD_BOUND);
	EXPECT(stats_of(WTD_FAST).slices_given > slices);
}

KTEST("wtd", bound_fast, "after-15-fast-wtds-in-a-row-a-ready-thread-gets-a-slice")
{
	run_row(WTD_FAST);
}

KTEST("wtd", bound_sleeping, "after-15-wtds-of-workers-in-a-row-a-ready-thread-gets-a-slice")
{
	run_row(WTD_SLEEP);
}

static void poll(struct wtd *work)
{
	runs++;
	if (!stop)
		wtd_post_fast(work);
}

KTEST("wtd", poll_and_thread, "a-poll-loop-that-reposts-itself-does-not-starve-a-thread")
{
	static struct wtd loop = WTD_INIT(poll, "test-poll");

	uint32_t seen;
	int tries = TRIES;

	do {
		runs = stop = 0;
		burn(2 * ROW_GAP);    // what ran before is not of this row
		wtd_post_fast(&loop); // comes back only because of the bound
		seen = runs;
		stop = 1;
		EXPECT(wait_for(&runs, seen + 1));
	} while (seen != WTD_BOUND && --tries);
	EXPECT_EQ(seen, WTD_BOUND);
}

static void stop_poll(struct wtd *work)
{
	stop = 1;
}

KTEST("wtd", poll_and_worker, "a-poll-loop-that-reposts-itself-does-not-starve-a-worker")
{
	static struct wtd loop = WTD_INIT(poll, "test-poll");
	static struct wtd sleeping = WTD_INIT(stop_poll, "test");

	stop = 0;
	// A turn ends after a millisecond even if the host let the whole machine wait so long.
	for (int try = 0; try < 5 && stop != 1; try++) {
		burn(2 * ROW_GAP); // what ran before is not of this row
		runs = 0;
		wtd_disable();
		wtd_post_fast(&loop);
		wtd_post(&sleeping);
		wtd_enable();
		if (stop == 1)
			EXPECT(runs <= WTD_BOUND);
	}
	EXPECT_EQ(stop, 1);
}

static void slow_poll(struct wtd *work)
{
	runs++;
	burn(50 * NS_PER_US);
	if (!stop)
		wtd_post_fast(work);
}

KTEST("wtd", half, "a-thread-that-always-runs-gets-about-half-beside-a-poll-loop")
{
	static struct wtd loop = WTD_INIT(slow_poll, "test-poll");
	uint64_t end, spun = 0, start;
	uint32_t loops;

	runs = stop = 0;
	wtd_post_fast(&loop);
	start = clock_ns();
	end = start + 100 * NS_PER_MS;
	while (clock_ns() < end) {
		uint64_t before = clock_ns();

		cpu_relax();
		if (clock_ns() - before < 20 * NS_PER_US)
			spun += clock_ns() - before;
	}
	stop = 1;
	loops = runs;
	ktest_note("100 ms: the loop ran %u times 50 us, the thread %llu us", loops,
		   spun / NS_PER_US);
	EXPECT(loops > 0 && spun > 0);
	if (ktest_counts_instructions()) {
		EXPECT(loops > 400);
		EXPECT(spun > 10 * NS_PER_MS);
	}
	thread_sleep_ns(5 * NS_PER_MS);
}

static void finite_poll(struct wtd *work)
{
	if (++runs < 200)
		wtd_post_fast(work);
}

KTEST("wtd", bound_costs_nothing, "no-slice-is-given-when-no-thread-is-ready")
{
	static struct wtd loop = WTD_INIT(finite_poll, "test-poll");
	uint64_t slices;
	int tries =
	    TRIES; // a thread of the kernel's own may become ready meanwhile, and then rightly gets one

	do {
		slices = stats_of(WTD_FAST).slices_given;
		runs = 0;
		wtd_post_after(&loop, WTD_FAST, NS_PER_MS);
		thread_sleep_ns(
		    200 * NS_PER_MS); // we are not ready ourselves, though the host stands still
		EXPECT(wait_for(&runs, 200));
	} while (stats_of(WTD_FAST).slices_given != slices && --tries);
	EXPECT_EQ(stats_of(WTD_FAST).slices_given, slices);
}

// ---- figures ----

static void hog(struct wtd *work)
{
	burn(12 * NS_PER_MS);
}

static void find_hog(void *ctx, const char *text)
{
	if (strstr(text, "test-hog") && strstr(text, "hog limit"))
		*(bool *)ctx = true;
}

KTEST("wtd", hog, "a-wtd-over-the-hog-limit-is-counted-named-and-traced")
{
	static struct wtd work = WTD_INIT(hog, "test-hog");

	for (int class = 0; class < WTD_CLASSES; class ++) {
		uint64_t hogs = stats_of(class).hogs;
		bool traced = false;

		wtd_set_hog_limit(10 * NS_PER_MS);
		if (class == WTD_FAST)
			wtd_post_fast(&work);
		else
			wtd_post(&work);
		thread_sleep_ns(NS_PER_MS);
		EXPECT(stats_of(class).hogs > hogs);
		EXPECT(stats_of(class).longest_ns >= 12 * NS_PER_MS);
		trace_dump(50, find_hog, &traced);
		EXPECT(traced);
	}
	wtd_set_hog_limit(WTD_HOG_LIMIT);
}

static void long_sleep(struct wtd *work)
{
	thread_sleep_ns(150 * NS_PER_MS);
	runs++;
}

KTEST("wtd", sleeper_no_hog, "a-wtd-that-sleeps-for-long-is-no-hog")
{
	static struct wtd work = WTD_INIT(long_sleep, "test");
	uint64_t hogs;
	int tries = ktest_counts_instructions()
			? 1
			: TRIES; // the host may stand still in one that does not sleep

	wtd_set_hog_limit(100 * NS_PER_MS);
	do {
		hogs = stats_of(WTD_SLEEP).hogs;
		runs = 0;
		wtd_post(&work);
		EXPECT(wait_for(&runs, 1));
	} while (stats_of(WTD_SLEEP).hogs != hogs && --tries);
	EXPECT_EQ(stats_of(WTD_SLEEP).hogs, hogs);
	wtd_set_hog_limit(WTD_HOG_LIMIT);
}

static volatile unsigned looks;
static void look(struct wtd_watch *watch)
{
	looks++;
}

KTEST("wtd", watch, "an-idle-processor-looks-at-who-expects-work-and-then-halts")
{
	static struct wtd_watch watch = {.look = look};
	unsigned then;
	int tries =
	    ktest_counts_instructions() ? 1 : 100; // the host may stand still until it is over

	looks = 0;
	do {
		wtd_disable();
		wtd_watch_for(&watch, NS_PER_MS);
		wtd_enable();
		thread_sleep_ns(5 * NS_PER_MS);
		then = looks;
	} while (!then && --tries);
	EXPECT(then > 0);
	thread_sleep_ns(5 * NS_PER_MS);
	EXPECT_EQ(looks, then);
	EXPECT(watch.until < clock_cycles());
}

static unsigned overs;
static bool promised;
static void over(struct wtd_watch *watch)
{
	overs++;
}
static struct wtd_watch relied_on = {.look = look, .over = over};
static void rely(struct wtd *work)
{
	promised = wtd_watch_for(&relied_on, 20 * NS_PER_MS);
}

KTEST("wtd", watch_over, "who-relies-on-looks-is-told-before-a-thread-runs")
{
	static struct wtd relying = WTD_INIT(rely, "test-rely");

	int tries = 100; // another thread may run just then

	overs = 0;
	wtd_post_fast(&relying); // a thread runs: nobody looks
	EXPECT(!promised);
	do {
		wtd_post_after(&relying, WTD_FAST, NS_PER_MS);
		thread_sleep_ns(5 * NS_PER_MS);
	} while (!promised && --tries);
	EXPECT(promised);
	EXPECT_EQ(overs, 1);
	thread_sleep_ns(40 * NS_PER_MS);
	EXPECT_EQ(overs, 1);
}

KTEST("wtd", figures, "posted-run-depth-and-latency-are-counted-per-class")
{
	for (int class = 0; class < WTD_CLASSES; class ++) {
		struct wtd_stats before = stats_of(class), after;
		uint64_t counted = 0;

		runs = 0;
		wtd_disable();
		for (int n = 0; n < 3; n++) {
			wtd_init(&row[n], count_run, "test-row");
			if (class == WTD_FAST)
				wtd_post_fast(&row[n]);
			else
				wtd_post(&row[n]);
		}
		EXPECT(stats_of(class).depth >= 3);
		wtd_enable();
		EXPECT(wait_for(&runs, 3));
		after = stats_of(class);
		EXPECT(after.posted >= before.posted + 3);
		EXPECT(after.run >= before.run + 3);
		EXPECT(after.depth_high >= 3);
		EXPECT(after.latency_sum_ns > before.latency_sum_ns);
		for (int n = 0; n < WTD_LATENCY_BUCKETS; n++)
			counted += after.latency[n];
		EXPECT_EQ(counted, after.run);
	}
}
