// SPDX-License-Identifier: BSD-2-Clause
// The sleeping reader-writer lock on the real scheduler: who shares, who waits, in which order, and threads that
// are interrupted anywhere.
#include "kernel/rwlock.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/timer.h"
#include "kernel/wtd.h"

static struct rwlock lock;
static char order[16];
static volatile uint32_t reading, writing, meetings, finished;
static uint64_t value[2]; // equal whenever nobody writes

static void mark(char c)
{
	size_t n = strlen(order);

	if (n < sizeof(order) - 1)
		order[n] = c;
}

static void reset(void)
{
	rwlock_init(&lock, "ktest");
	memset(order, 0, sizeof(order));
	reading = writing = meetings = finished = 0;
	value[0] = value[1] = 0;
}

static void read_once(void *name)
{
	rw_lock_shared(&lock);
	mark((char)(uintptr_t)name);
	__atomic_add_fetch(&reading, 1, __ATOMIC_RELAXED);
	thread_sleep_ns(3 * NS_PER_MS);
	__atomic_sub_fetch(&reading, 1, __ATOMIC_RELAXED);
	rw_unlock_shared(&lock);
	__atomic_add_fetch(&finished, 1, __ATOMIC_RELEASE);
}

static void write_once(void *name)
{
	rw_lock_exclusive(&lock);
	mark((char)(uintptr_t)name);
	meetings += reading != 0;
	thread_sleep_ns(3 * NS_PER_MS);
	meetings += reading != 0;
	rw_unlock_exclusive(&lock);
	__atomic_add_fetch(&finished, 1, __ATOMIC_RELEASE);
}

static void begin(void (*fn)(void *), char name)
{
	EXPECT(thread_create("rwlock", THREAD_HIGH, fn, (void *)(uintptr_t)name) != NULL);
}

static bool wait_finished(uint32_t n)
{
	for (int tries = 0; tries < 2000; tries++) {
		if (__atomic_load_n(&finished, __ATOMIC_ACQUIRE) == n)
			return true;
		thread_sleep_ns(5 * NS_PER_MS);
	}
	return false;
}

KTEST("rwlock", order, "first-come-first-served-and-neighbouring-readers-together")
{
	reset();
	begin(read_once, 'a');
	begin(write_once, 'W');
	begin(read_once, 'b');
	begin(read_once, 'c');
	begin(write_once, 'X');
	begin(read_once, 'd');
	EXPECT(wait_finished(6));
	EXPECT(strcmp(order, "aWbcXd") == 0);
	EXPECT_EQ(meetings, 0);
}

static void wander(void *arg)
{
	uint64_t dice = (uintptr_t)arg * 0x9e3779b97f4a7c15UL;

	for (int round = 0; round < 300; round++) {
		dice = dice * 6364136223846793005UL + 1442695040888963407UL;
		if (dice >> 62) {
			rw_lock_shared(&lock);
			meetings += value[0] != value[1];
			if (dice >> 60 & 1)
				thread_yield();
			meetings += value[0] != value[1];
			rw_unlock_shared(&lock);
		} else {
			rw_lock_exclusive(&lock);
			value[0]++;
			if (dice >> 60 & 1)
				thread_sleep_ns(20 * NS_PER_US);
			value[1]++;
			rw_unlock_exclusive(&lock);
		}
	}
	__atomic_add_fetch(&finished, 1, __ATOMIC_RELEASE);
}

KTEST("rwlock", random, "random-readers-never-see-a-half-made-change")
{
	reset();
	for (char n = 1; n <= 8; n++)
		EXPECT(thread_create("rwlock", n & 1 ? THREAD_NORMAL : THREAD_HIGH, wander,
				     (void *)(uintptr_t)n) != NULL);
	EXPECT(wait_finished(8));
	EXPECT_EQ(meetings, 0);
	EXPECT(value[0] > 0 && value[0] == value[1]);
}

static void write_twice(void *arg)
{
	rw_lock_exclusive(&lock);
}

static void in_fast_wtd(struct wtd *work)
{
	rw_lock_shared(&lock);
}

static void post_fast(void *arg)
{
	static struct wtd work = WTD_INIT(in_fast_wtd, "rwlock test");

	wtd_post_fast(&work);
}

KTEST("rwlock", mistakes, "taking-it-twice-and-in-a-fast-wtd-are-panics")
{
	reset();
	rw_lock_exclusive(&lock);
	rw_lock_shared(&lock); // who has it alone may look as well
	rw_unlock_shared(&lock);
	EXPECT(ktest_panics(write_twice, NULL));
	EXPECT(strstr(ktest_panic_text(), "waits for itself") != NULL);
	rw_unlock_exclusive(&lock);
	EXPECT(ktest_panics(post_fast, NULL));
}
