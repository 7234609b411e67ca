// SPDX-License-Identifier: BSD-2-Clause
// Threads, sentence by sentence of include/kernel/thread.h.
#include "tests/guest/sched_tools.h"
#include "kernel/cpu.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/lock.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/sched.h"
#include "kernel/vmm.h"

static volatile uint32_t done;

static void mark(void *arg)
{
	log_mark(*(const char *)arg);
	__atomic_fetch_add(&done, 1, __ATOMIC_RELAXED);
}

static void start(enum thread_priority priority, void (*fn)(void *), void *arg)
{
	EXPECT(thread_create("test", priority, fn, arg) != NULL);
}

KTEST("thread", strict, "a-better-thread-runs-as-soon-as-it-is-made")
{
	for (int try = 0; try < DISTURBED_TRIES; try++) {
		uint64_t begin;
		bool good;

		thread_yield(); // a fresh turn
		log_clear();
		done = 0;
		begin = clock_ns();
		start(THREAD_NORMAL, mark, "N");
		start(THREAD_HIGH, mark, "H");
		good = strcmp(run_log, "H") == 0;
		if (!good && disturbed_since(begin)) {
			EXPECT(wait_for(&done, 2));
			continue;
		}
		EXPECT(good);
		EXPECT(wait_for(&done, 2));
		EXPECT(strcmp(run_log, "HN") == 0);
		return;
	}
	EXPECT(!"a turn without the host standing still");
}

// ---- turns ----

static volatile uint64_t spins[2];
static volatile uint32_t stop;

static void spin(void *arg)
{
	volatile uint64_t *mine = arg;

	while (!stop)
		(*mine)++;
	__atomic_fetch_add(&done, 1, __ATOMIC_RELAXED);
}

KTEST("thread", turns, "equal-threads-that-never-sleep-take-turns")
{
	spins[0] = spins[1] = 0;
	stop = done = 0;
	start(THREAD_NORMAL, spin, (void *)&spins[0]);
	start(THREAD_NORMAL, spin, (void *)&spins[1]);
	thread_sleep_ns(15 * THREAD_QUANTUM);
	stop = 1;
	EXPECT(wait_for(&done, 2));
	ktest_note("turns: %lu and %lu", spins[0], spins[1]);
	// A turn in which the host stood still is a short one: shares mean something where time is counted.
	uint64_t share = ktest_counts_instructions() ? 8 : 1000000;
	EXPECT(spins[0] > spins[1] / share);
	EXPECT(spins[1] > spins[0] / share);
}

KTEST("thread", low, "a-low-thread-runs-only-when-nobody-else-wants-to")
{
	spins[0] = 0;
	stop = done = 0;
	start(THREAD_LOW, spin, (void *)&spins[0]);
	burn(20 * NS_PER_MS);
	EXPECT_EQ(spins[0], 0);
	for (int n = 0; n < 200 && !spins[0]; n++)
		thread_sleep_ns(5 * NS_PER_MS);
	EXPECT(spins[0] > 0);
	stop = 1;
	EXPECT(wait_for(&done, 1));
}

KTEST("thread", yield, "yield-lets-an-equal-run-first")
{
	log_clear();
	done = 0;
	start(THREAD_NORMAL, mark, "B");
	thread_yield();
	log_mark('A');
	EXPECT(strcmp(run_log, "BA") == 0);
}

// ---- memory ----

// The page below the lowest of the stack's pages. Stacks are mapped page by page.
static void find_guard(void *arg)
{
	uintptr_t page = ALIGN_DOWN((uintptr_t)__builtin_frame_address(0), PAGE_SIZE);

	while (vmm_readable(page))
		page -= PAGE_SIZE;
	*(bool *)arg = vmm_is_guard(page);
	done = 1;
}

KTEST("thread", many, "ended-threads-give-back-everything-and-had-a-guard-page")
{
	uint64_t before = 0, after = 0;
	bool guarded = false;

	for (int n = 0; n < 300; n++) {
		if (n == 20) { // page tables and the pool have grown by now
			thread_sleep_ns(5 * NS_PER_MS);
			before = frames_but_used();
		}
		done = 0;
		start(THREAD_HIGH, find_guard, &guarded);
		EXPECT_EQ(done, 1);
		EXPECT(guarded);
		thread_yield();
	}
	for (int looks = 0; looks < 10000; looks++) {
		thread_sleep_ns(2 * NS_PER_MS);
		after = frames_but_used();
		if (after == before)
			break;
	}
	EXPECT_EQ(after, before);
}

KTEST("thread", no_memory, "create-without-memory-is-null-and-takes-nothing")
{
	pool_fail_named("thread", 0);
	EXPECT(thread_create("test", THREAD_NORMAL, mark, "X") == NULL);
	pool_fail_off();
}

// ---- sleeping and waiting ----

KTEST("thread", sleep, "sleep-lasts-at-least-as-long-as-asked")
{
	static const uint64_t times[] = {0, 1, 10 * NS_PER_US, NS_PER_MS, 30 * NS_PER_MS};

	for (unsigned n = 0; n < ARRAY_SIZE(times); n++) {
		uint64_t before = clock_ns();

		thread_sleep_ns(times[n]);
		EXPECT(clock_ns() - before >= times[n]);
	}
}

static struct spinlock lock = SPINLOCK_INIT("test-thread", RANK_HTTP);
static struct waitq queue; // (lock)
static uint32_t tickets;   // (lock)

static void take_ticket(void *arg)
{
	spin_lock_wtd(&lock);
	while (tickets == 0)
		waitq_sleep(&queue, &lock);
	tickets--;
	log_mark(*(const char *)arg);
	spin_unlock_wtd(&lock);
	__atomic_fetch_add(&done, 1, __ATOMIC_RELAXED);
}

static void give(uint32_t count, bool all)
{
	spin_lock_wtd(&lock);
	tickets += count;
	if (all)
		waitq_wake_all(&queue);
	else
		waitq_wake_one(&queue);
	spin_unlock_wtd(&lock);
}

KTEST("thread", wake, "wake-one-wakes-who-waits-longest-and-wake-all-all")
{
	log_clear();
	done = tickets = 0;
	start(THREAD_HIGH, take_ticket, "1");
	start(THREAD_HIGH, take_ticket, "2");
	start(THREAD_HIGH, take_ticket, "3");
	EXPECT_EQ(done, 0);
	give(1, false);
	EXPECT(strcmp(run_log, "1") == 0);
	give(2, true);
	EXPECT(strcmp(run_log, "123") == 0);
	EXPECT_EQ(done, 3);
	EXPECT(queue.first == NULL);
}

static void late_ticket(struct wtd *work)
{
	give(1, false);
}

KTEST("thread", wait_limit, "sleep-for-says-whether-the-time-ran-out")
{
	static struct wtd waker = WTD_INIT(late_ticket, "test");
	uint64_t before = clock_ns();

	tickets = 0;
	spin_lock_wtd(&lock);
	EXPECT(!waitq_sleep_for(&queue, &lock, 3 * NS_PER_MS));
	EXPECT(clock_ns() - before >= 3 * NS_PER_MS);
	EXPECT(spin_held(&lock));
	wtd_post_after(&waker, WTD_FAST, NS_PER_MS);
	EXPECT(waitq_sleep_for(&queue, &lock, PATIENCE_NS));
	EXPECT_EQ(tickets, 1);
	spin_unlock_wtd(&lock);
	if (ktest_counts_instructions())
		EXPECT(clock_ns() - before < 400 * NS_PER_MS);
	EXPECT(queue.first == NULL);
}

KTEST("thread", wait_irq_lock, "waiting-with-an-interrupt-lock-gives-interrupts-back")
{
	spin_lock_irq(&lock);
	EXPECT(!waitq_sleep_for(&queue, &lock, NS_PER_MS));
	EXPECT(!may_sleep());
	spin_unlock_irq(&lock);
	EXPECT(may_sleep());
	thread_sleep_ns(NS_PER_MS);
}

static void wait_without_lock(void *arg)
{
	waitq_sleep(&queue, &lock);
}

static void wait_with_two_locks(void *arg)
{
	static struct spinlock outer = SPINLOCK_INIT("test-outer", RANK_HTTP - 1);

	spin_lock_wtd(&outer);
	spin_lock_wtd(&lock);
	waitq_sleep(&queue, &lock);
}

KTEST("thread", wait_wrong, "waiting-without-the-lock-or-with-another-panics")
{
	EXPECT(ktest_panics(wait_without_lock, NULL));
	EXPECT(ktest_panics(wait_with_two_locks, NULL));
	EXPECT(strstr(ktest_panic_text(), "test-outer") != NULL);
	EXPECT(may_sleep());
}

// ---- where sleeping is allowed ----

static void sleep_disabled(void *arg)
{
	wtd_disable();
	thread_sleep_ns(1);
}

static void sleep_locked(void *arg)
{
	spin_lock_wtd(&lock);
	thread_sleep_ns(1);
}

KTEST("thread", may_sleep, "sleeping-with-wtds-disabled-or-a-lock-held-panics")
{
	EXPECT(may_sleep());
	wtd_disable();
	EXPECT(!may_sleep());
	wtd_enable();
	spin_lock_wtd(&lock);
	EXPECT(!may_sleep());
	spin_unlock_wtd(&lock);
	EXPECT(ktest_panics(sleep_disabled, NULL));
	EXPECT(strstr(ktest_panic_text(), "WTDs disabled") != NULL);
	EXPECT(ktest_panics(sleep_locked, NULL));
	EXPECT(strstr(ktest_panic_text(), "test-thread") != NULL);
	EXPECT(may_sleep());
	EXPECT(strcmp(thread_name(), "ktest") == 0);
}

// ---- mutex ----

static struct mutex mutex = MUTEX_INIT("test-mutex");
static volatile uint32_t inside, most_inside;

static void use_mutex(void *arg)
{
	for (int n = 0; n < 20; n++) {
		mutex_lock(&mutex);
		inside++;
		if (inside > most_inside)
			most_inside = inside;
		thread_sleep_ns(NS_PER_US);
		inside--;
		mutex_unlock(&mutex);
	}
	__atomic_fetch_add(&done, 1, __ATOMIC_RELAXED);
}

KTEST("thread", mutex_excludes, "one-thread-at-a-time-holds-a-mutex")
{
	done = inside = most_inside = 0;
	for (int n = 0; n < 4; n++)
		start(n % 2 ? THREAD_NORMAL : THREAD_HIGH, use_mutex, NULL);
	EXPECT(wait_for(&done, 4));
	EXPECT_EQ(most_inside, 1);
	EXPECT(mutex_trylock(&mutex));
	mutex_unlock(&mutex);
}

static void lock_again(void *arg)
{
	mutex_lock(&mutex);
}

static void unlock_foreign(void *arg)
{
	mutex_unlock(&mutex);
}

static void lock_and_mark(void *arg)
{
	EXPECT(!mutex_trylock(&mutex));
	mutex_lock(&mutex);
	mark(arg);
	mutex_unlock(&mutex);
}

KTEST("thread", mutex_order, "a-mutex-goes-to-who-waits-longest")
{
	log_clear();
	done = 0;
	mutex_lock(&mutex);
	start(THREAD_HIGH, lock_and_mark, "1");
	start(THREAD_HIGH, lock_and_mark, "2");
	mutex_unlock(&mutex);
	EXPECT(strcmp(run_log, "12") == 0);
}

KTEST("thread", mutex_wrong, "locking-twice-or-unlocking-anothers-mutex-panics")
{
	mutex_lock(&mutex);
	EXPECT(ktest_panics(lock_again, NULL));
	EXPECT(strstr(ktest_panic_text(), "test-mutex") != NULL);
	mutex_unlock(&mutex);
	EXPECT(ktest_panics(unlock_foreign, NULL));
}

// ---- idle ----

KTEST("thread", idle, "idle-time-is-what-nobody-used")
{
	uint64_t idle = cpu_idle_ns(0), halted;

	burn(20 * NS_PER_MS);
	if (ktest_counts_instructions())
		EXPECT(cpu_idle_ns(0) - idle < 5 * NS_PER_MS);
	int tries =
	    ktest_counts_instructions() ? 1 : 20; // the host may stand still just before it is idle
	do {
		idle = cpu_idle_ns(0);
		thread_sleep_ns(50 * NS_PER_MS);
		halted = cpu_idle_ns(0) - idle;
	} while (halted <= 35 * NS_PER_MS && --tries);
	ktest_note("idle for %lu us of a sleep of 50 ms", halted / 1000);
	EXPECT(halted > 35 * NS_PER_MS);
}

KTEST("thread", tickless, "an-idle-processor-gets-no-timer-interrupts-but-those-asked-for")
{
	uint64_t before = kstat_get("pagewire_timer_interrupts_total", NULL), count;

	thread_sleep_ns(200 * NS_PER_MS);
	count = kstat_get("pagewire_timer_interrupts_total", NULL) - before;
	ktest_note("%lu timer interrupts in 200 ms", count);
	EXPECT(count <= 20); // ours, and those of timers that others have armed
}
