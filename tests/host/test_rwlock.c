// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: kernel/rwlock.c
// The sleeping reader-writer lock: who may hold it together, in which order those who wait get it, and that random
// threads never meet where they must not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/panic.h"
#include "kernel/rwlock.h"
#include "shim.h"

static struct rwlock lock;
static char order[64];
static unsigned reading, writing, finished;

static int setup(void **state)
{
	shim_init(64);
	rwlock_init(&lock, "test");
	memset(order, 0, sizeof(order));
	reading = writing = finished = 0;
	return 0;
}

static int teardown(void **state)
{
	shim_finish();
	return 0;
}

static void mark(const char *name)
{
	strncat(order, name, sizeof(order) - strlen(order) - 1);
}

static void read_a_while(void *name)
{
	rw_lock_shared(&lock);
	mark(name);
	ASSERT(!writing);
	reading++;
	thread_sleep_ns(1000);
	reading--;
	rw_unlock_shared(&lock);
	finished++;
}

static void write_a_while(void *name)
{
	rw_lock_exclusive(&lock);
	mark(name);
	ASSERT(!writing && !reading);
	writing++;
	thread_sleep_ns(1000);
	writing--;
	rw_unlock_exclusive(&lock);
	finished++;
}

static void start(void (*fn)(void *), const char *name)
{
	ASSERT(thread_create("test", THREAD_NORMAL, fn, (void *)(uintptr_t)name));
	shim_run();
}

static void readers_share_and_a_writer_waits(void **state)
{
	start(read_a_while, "a");
	start(read_a_while, "b");
	assert_int_equal(reading, 2);
	start(write_a_while, "W");
	assert_string_equal(order, "ab");
	shim_advance(10000);
	assert_string_equal(order, "abW");
	assert_int_equal(finished, 3);
}

static void nobody_overtakes(void **state)
{
	start(read_a_while, "a");
	start(write_a_while, "W");
	start(read_a_while, "b"); // could share with a, but came after W
	start(read_a_while, "c");
	start(write_a_while, "X");
	start(read_a_while, "d");
	shim_advance(100000);
	assert_string_equal(order, "aWbcXd");
	assert_int_equal(finished, 6);
}

static void readers_behind_a_writer_come_in_together(void **state)
{
	start(write_a_while, "W");
	start(read_a_while, "a");
	start(read_a_while, "b");
	start(read_a_while, "c");
	shim_advance(1000);
	assert_int_equal(reading, 3);
	shim_advance(10000);
	assert_int_equal(finished, 4);
}

static void the_writer_may_read_what_it_writes(void **state)
{
	rw_lock_exclusive(&lock);
	assert_true(rw_held_exclusive(&lock));
	rw_lock_shared(&lock);
	rw_lock_shared(&lock);
	start(read_a_while, "a");
	assert_int_equal(reading, 0);
	rw_unlock_shared(&lock);
	rw_unlock_shared(&lock);
	rw_unlock_exclusive(&lock);
	assert_false(rw_held_exclusive(&lock));
	shim_advance(10000);
	assert_int_equal(finished, 1);
}

static void exclusive_twice(void *arg)
{
	rw_lock_exclusive(&lock);
}

static void unlock_exclusive(void *arg)
{
	rw_unlock_exclusive(&lock);
}

static void unlock_shared(void *arg)
{
	rw_unlock_shared(&lock);
}

static void mistakes_panic(void **state)
{
	assert_true(shim_panics(unlock_exclusive, NULL));
	assert_true(shim_panics(unlock_shared, NULL));
	rw_lock_exclusive(&lock);
	assert_true(shim_panics(exclusive_twice, NULL));
	assert_true(shim_panics(unlock_shared, NULL));
	rw_lock_shared(&lock);
	assert_true(shim_panics(unlock_exclusive, NULL));
	rw_unlock_shared(&lock);
	rw_unlock_exclusive(&lock);
}

static void wander(void *arg)
{
	for (int round = 0; round < 200; round++) {
		thread_sleep_ns(1 + shim_random_below(3000));
		if (shim_random_below(4))
			read_a_while("");
		else
			write_a_while("");
	}
}

static void random_threads_never_meet_a_writer(void **state)
{
	shim_preempt(shim_seed());
	for (int n = 0; n < 8; n++)
		start(wander, "");
	shim_advance(NS_PER_SEC);
	shim_preempt(0);
	assert_int_equal(finished, 8 * 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(readers_share_and_a_writer_waits, setup, teardown),
	    cmocka_unit_test_setup_teardown(nobody_overtakes, setup, teardown),
	    cmocka_unit_test_setup_teardown(readers_behind_a_writer_come_in_together, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(the_writer_may_read_what_it_writes, setup, teardown),
	    cmocka_unit_test_setup_teardown(mistakes_panic, setup, teardown),
	    cmocka_unit_test_setup_teardown(random_threads_never_meet_a_writer, setup, teardown),
	};
	return cmocka_run_group_tests_name("rwlock", tests, NULL, NULL);
}
