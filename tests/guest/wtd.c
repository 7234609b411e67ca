// SPDX-License-Identifier: BSD-2-Clause
// The WTD contract, sentence by sentence: posting, order, delay, cancelling.
#include "tests/guest/sched_tools.h"
#include "kernel/cpu.h"
#include "kernel/irq.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/lock.h"
#include "kernel/pool.h"

static volatile uint32_t runs;
static volatile bool was_fast, on_this_stack;
static uintptr_t stack_near;

static void count_run(struct wtd *work)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	runs++;
	was_fast = this_cpu()->in_fast_wtd;
	on_this_stack = here < stack_near && stack_near - here < 4096;
}

static void begin(void)
{
	runs = 0;
	was_fast = false;
	stack_near = (uintptr_t)__builtin_frame_address(0) + 512;
	log_clear();
}

KTEST("wtd", post_from_thread, "fast-posted-by-a-thread-runs-at-once-on-its-stack")
{
	static struct wtd work = WTD_INIT(count_run, "test");

	begin();
	EXPECT(wtd_post_fast(&work));
	EXPECT_EQ(runs, 1);
	EXPECT(was_fast);
	EXPECT(on_this_stack);
	EXPECT_EQ(work.state, WTD_IDLE);
}

KTEST("wtd", post_twice, "posting-a-queued-node-does-nothing")
{
	static struct wtd work = WTD_INIT(count_run, "test");

	begin();
	wtd_disable();
	EXPECT(wtd_post_fast(&work));
	EXPECT(!wtd_post_fast(&work));
	EXPECT(!wtd_post(&work));
	EXPECT(!wtd_post_after(&work, WTD_FAST, 0));
	EXPECT_EQ(runs, 0);
	wtd_enable();
	EXPECT_EQ(runs, 1);
}

static void post_again(struct wtd *work)
{
	if (++runs < 5)
		wtd_post_fast(work);
}

KTEST("wtd", repost, "a-function-may-post-its-node-again")
{
	static struct wtd work = WTD_INIT(post_again, "test");

	begin();
	wtd_post_fast(&work);
	EXPECT_EQ(runs, 5);
}

struct owner {
	uint64_t before;
	struct wtd work;
};
static struct pool owner_pool = POOL_INIT("test-wtd-owner", struct owner, 4);

static void free_owner(struct wtd *work)
{
	runs++;
	pool_free(&owner_pool, CONTAINER_OF(work, struct owner, work));
}

KTEST("wtd", free_in_function, "a-function-may-free-the-object-of-its-node")
{
	begin();
	for (int class = 0; class < WTD_CLASSES; class ++) {
		struct owner *owner = pool_alloc(&owner_pool);

		EXPECT(owner != NULL);
		if (!owner)
			return;
		wtd_init(&owner->work, free_owner, "test");
		if (class == WTD_FAST)
			wtd_post_fast(&owner->work);
		else
			wtd_post(&owner->work);
	}
	EXPECT(wait_for(&runs, 2));
	EXPECT_EQ(owner_pool.used, 0);
}

static struct wtd irq_work = WTD_INIT(count_run, "test");
static volatile uint32_t irqs, irq_depth_seen, runs_in_handler;

static bool note_and_post(void *arg)
{
	irqs++;
	irq_depth_seen = this_cpu()->irq_depth;
	EXPECT(wtd_post_fast(&irq_work));
	runs_in_handler = runs;
	return true;
}

// One vector for all the tests: vectors are not given back.
static unsigned self_vector(irq_handler handler)
{
	static irq_handler current;
	static unsigned vector;

	EXPECT(!current || current == handler);
	if (!current && irq_attach_self(handler, NULL, "test", &vector) == 0)
		current = handler;
	return vector;
}

KTEST("wtd", from_interrupt, "posted-in-an-interrupt-runs-on-the-way-out-of-it")
{
	unsigned vector = self_vector(note_and_post);

	begin();
	irqs = 0;
	irq_raise_self(vector);
	EXPECT(wait_for(&irqs, 1));
	EXPECT_EQ(runs, 1);
	EXPECT_EQ(runs_in_handler, 0);
	EXPECT_EQ(irq_depth_seen, 1);
	EXPECT(was_fast);
}

KTEST("wtd", disabled, "fast-waits-while-wtds-are-disabled-even-nested")
{
	unsigned vector = self_vector(note_and_post);

	begin();
	irqs = 0;
	wtd_disable();
	wtd_disable();
	irq_raise_self(vector);
	burn(NS_PER_MS);
	EXPECT_EQ(irqs, 1);
	EXPECT_EQ(runs, 0);
	wtd_enable();
	EXPECT_EQ(runs, 0);
	wtd_enable();
	EXPECT_EQ(runs, 1);
}

// ---- order ----

static void mark_fast(struct wtd *work)
{
	log_mark('F');
}

static void mark_sleeping(struct wtd *work)
{
	log_mark('W');
}

static volatile uint32_t threads_done;

static void mark_thread(void *arg)
{
	log_mark(*(const char *)arg);
	__atomic_fetch_add(&threads_done, 1, __ATOMIC_RELAXED);
}

KTEST("wtd", order, "fast-before-worker-before-threads-by-priority-before-low")
{
	static struct wtd fast = WTD_INIT(mark_fast, "test");
	static struct wtd sleeping = WTD_INIT(mark_sleeping, "test");

	bool good, disturbed;
	int tries = DISTURBED_TRIES;

	do {
		uint64_t start;

		thread_yield(); // a fresh turn
		begin();
		threads_done = 0;
		start = clock_ns();
		wtd_disable();
		EXPECT(thread_create("low", THREAD_LOW, mark_thread, "L") != NULL);
		EXPECT(thread_create("normal", THREAD_NORMAL, mark_thread, "N") != NULL);
		EXPECT(thread_create("high", THREAD_HIGH, mark_thread, "H") != NULL);
		wtd_post(&sleeping);
		wtd_post_fast(&fast);
		EXPECT(strcmp(run_log, "") == 0);
		wtd_enable();
		good = strcmp(run_log, "FWH") == 0; // we are a normal thread and still run
		disturbed = disturbed_since(start);
		EXPECT(wait_for(&threads_done, 3));
		good = good && strcmp(run_log, "FWHNL") == 0;
	} while (!good && disturbed && --tries);
	EXPECT(good);
	ktest_note("order: %s", run_log);
}

KTEST("wtd", fifo, "one-class-runs-in-the-order-of-posting")
{
	static struct wtd work[3];
	static const wtd_fn fns[3] = {mark_fast, mark_sleeping, mark_fast};

	begin();
	wtd_disable();
	for (int n = 0; n < 3; n++) {
		wtd_init(&work[n], fns[n], "test");
		wtd_post_fast(&work[n]);
	}
	wtd_enable();
	EXPECT(strcmp(run_log, "FWF") == 0);
}

static struct wtd preempting = WTD_INIT(mark_sleeping, "test");

static void post_preempting(struct wtd *work)
{
	wtd_post(&preempting);
}

// Whether the order was as it must be, and if not, whether that says something: the timer's interrupt came while we
// burnt (QEMU raises it in another thread of the host), and our turn among equals has not ended in the middle.
static bool interrupted_goes_first(bool *disturbed)
{
	static struct wtd timed = WTD_INIT(post_preempting, "test");
	uint64_t start;

	begin();
	threads_done = 0;
	thread_yield();
	start = clock_ns();
	EXPECT(thread_create("equal", THREAD_NORMAL, mark_thread, "E") != NULL);
	wtd_post_after(&timed, WTD_FAST, NS_PER_MS / 2);
	burn(2 * NS_PER_MS); // interrupted here, a worker runs
	log_mark('A');
	*disturbed = disturbed_since(start) || run_log[0] == 'A';
	EXPECT(wait_for(&threads_done, 1));
	return strcmp(run_log, "WAE") == 0;
}

KTEST("wtd", head_of_queue, "an-interrupted-thread-goes-on-before-its-equals")
{
	bool good = false, disturbed = true;

	for (int try = 0; try < DISTURBED_TRIES && !good && disturbed; try++)
		good = interrupted_goes_first(&disturbed);
	EXPECT(good);
	if (!good)
		ktest_note("order: %s", run_log);
}

// ---- delay ----

static volatile uint64_t ran_at;

static void note_time(struct wtd *work)
{
	ran_at = clock_ns();
	runs++;
}

KTEST("wtd", delayed, "a-delayed-wtd-joins-its-class-when-due-and-not-before")
{
	static struct wtd work = WTD_INIT(note_time, "test");
	static const uint64_t delays[] = {0, 50 * NS_PER_US, NS_PER_MS, 7 * NS_PER_MS,
					  300 * NS_PER_MS};

	for (unsigned n = 0; n < ARRAY_SIZE(delays); n++) {
		uint64_t start = clock_ns();

		begin();
		EXPECT(wtd_post_after(&work, n % 2 ? WTD_SLEEP : WTD_FAST, delays[n]));
		EXPECT(wait_for(&runs, 1));
		EXPECT(ran_at >= start + delays[n]);
		ktest_note("delay %llu us: late by %llu us", delays[n] / NS_PER_US,
			   (ran_at - start - delays[n]) / NS_PER_US);
	}
}

KTEST("wtd", delayed_order, "delayed-wtds-run-in-the-order-they-are-due")
{
	static struct wtd a = WTD_INIT(mark_fast, "test"), b = WTD_INIT(mark_sleeping, "test");
	uint64_t start, between;
	unsigned tries = 0;

	do { // again where the host stood still between the two
		begin();
		start = clock_ns();
		wtd_post_after(&a, WTD_FAST, 6 * NS_PER_MS);
		wtd_post_after(&b, WTD_FAST, 3 * NS_PER_MS);
		between = clock_ns() - start;
		thread_sleep_ns(20 * NS_PER_MS);
	} while (between >= 3 * NS_PER_MS && ++tries < 10);
	EXPECT(strcmp(run_log, "WF") == 0);
}

KTEST("wtd", rearm, "arming-an-armed-node-moves-it")
{
	static struct wtd work = WTD_INIT(note_time, "test");

	// Far apart: the host may let the machine wait between any two lines.
	begin();
	EXPECT(wtd_post_after(&work, WTD_FAST, 500 * NS_PER_MS));
	EXPECT(wtd_post_after(&work, WTD_FAST, 30 * NS_PER_SEC));
	thread_sleep_ns(600 * NS_PER_MS);
	EXPECT_EQ(runs, 0);
	EXPECT(wtd_post_after(&work, WTD_FAST, NS_PER_MS));
	EXPECT(wait_for(&runs, 1));
	EXPECT(!wtd_cancel(&work));
}

KTEST("wtd", post_armed, "posting-an-armed-node-queues-it-now-and-once")
{
	static struct wtd work = WTD_INIT(note_time, "test");

	begin();
	wtd_post_after(&work, WTD_FAST, 500 * NS_PER_MS);
	EXPECT(wtd_post_fast(&work));
	EXPECT_EQ(runs, 1);
	thread_sleep_ns(600 * NS_PER_MS);
	EXPECT_EQ(runs, 1);
}

KTEST("wtd", cancel, "cancel-takes-back-what-is-armed-or-queued")
{
	static struct wtd work = WTD_INIT(note_time, "test");

	begin();
	EXPECT(!wtd_cancel(&work));
	wtd_disable(); // what comes due meanwhile is queued, and can be taken back still
	wtd_post_after(&work, WTD_FAST, NS_PER_MS);
	EXPECT(wtd_cancel(&work));
	EXPECT(!wtd_cancel(&work));
	wtd_post_fast(&work);
	EXPECT(wtd_cancel(&work));
	wtd_post(&work);
	EXPECT(wtd_cancel(&work));
	wtd_enable();
	thread_sleep_ns(5 * NS_PER_MS);
	EXPECT_EQ(runs, 0);
	EXPECT(wtd_post_fast(&work));
	EXPECT_EQ(runs, 1);
}
