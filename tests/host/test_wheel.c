// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: kernel/wheel.c
// The timer wheel against a plain list: random arming, cancelling and steps of time.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "kernel/wheel.h"
#include "shim.h"

#define NODES 300

static struct wheel wheel;
static struct wtd nodes[NODES];
static uint64_t now, wanted[NODES]; // wanted: 0 when not armed
static unsigned fired;

static void nothing(struct wtd *work) {}

static int reset(void **state)
{
	memset(&wheel, 0, sizeof(wheel));
	memset(wanted, 0, sizeof(wanted));
	now = fired = 0;
	for (unsigned n = 0; n < NODES; n++)
		nodes[n] = (struct wtd)WTD_INIT(nothing, "test");
	return 0;
}

static void due(void *ctx, struct wtd *work)
{
	size_t n = (size_t)(work - nodes);

	assert_true(wanted[n] != 0);
	assert_true(work->due >= wanted[n]);
	assert_true(work->due <= now);
	assert_true(work->due < wanted[n] + WHEEL_GRAIN || wanted[n] <= now);
	assert_int_equal(work->state, WTD_IDLE);
	wanted[n] = 0;
	fired++;
}

static void arm(unsigned n, uint64_t when)
{
	if (wanted[n])
		wheel_remove(&wheel, &nodes[n]);
	wanted[n] = when;
	nodes[n].due = when;
	wheel_insert(&wheel, &nodes[n]);
}

static uint64_t earliest(void)
{
	uint64_t least = UINT64_MAX;

	for (unsigned n = 0; n < NODES; n++)
		if (wanted[n] && nodes[n].due < least)
			least = nodes[n].due;
	return least;
}

static void advance(uint64_t to)
{
	now = to;
	wheel_advance(&wheel, now, due, NULL);
	for (unsigned n = 0; n < NODES; n++)
		assert_true(!wanted[n] || nodes[n].due > now);
}

static void follows_a_plain_list(void **state)
{
	for (int step = 0; step < 60000; step++) {
		unsigned n = (unsigned)shim_random_below(NODES);
		uint64_t scale = 1ULL << shim_random_below(52);

		switch (shim_random_below(4)) {
		case 0:
		case 1:
			arm(n, now + 1 + shim_random_below(scale));
			break;
		case 2:
			if (wanted[n])
				wheel_remove(&wheel, &nodes[n]);
			wanted[n] = 0;
			break;
		default:
			scale = 1ULL << shim_random_below(44);
			advance(now + shim_random_below(scale));
		}
		assert_true(wheel_next(&wheel) <= earliest());
		if (step % 1000 == 0 && wheel.count)
			assert_true(wheel_next(&wheel) < UINT64_MAX);
	}
	assert_true(fired > 1000);
}

static void sleeping_until_next_loses_nothing(void **state)
{
	unsigned wakes = 0;

	for (unsigned n = 0; n < NODES; n++)
		arm(n, 1 + shim_random_below(1ULL << (10 + n % 40)));
	while (wheel.count) {
		uint64_t next = wheel_next(&wheel);

		assert_int_equal(next, earliest()); // nothing was cancelled: exact
		advance(next);
		wakes++;
	}
	assert_int_equal(fired, NODES);
	assert_true(wakes <= NODES);
	assert_true(wheel_next(&wheel) == UINT64_MAX);
}

static void past_due_times_are_due_at_once(void **state)
{
	advance(1ULL << 40);
	arm(0, 5);
	arm(1, now);
	assert_true(wheel_next(&wheel) <= ALIGN_UP(now, WHEEL_GRAIN));
	advance(now + WHEEL_GRAIN);
	assert_int_equal(fired, 2);
}

static void same_due_time_keeps_the_order_of_arming(void **state)
{
	for (unsigned n = 0; n < 3; n++)
		arm(n, 1000000);
	assert_ptr_equal(nodes[0].next, &nodes[1]);
	assert_ptr_equal(nodes[1].next, &nodes[2]);
	advance(2000000);
	assert_int_equal(fired, 3);
}

static void the_end_of_time_has_a_place(void **state)
{
	arm(0, UINT64_MAX);
	arm(1, UINT64_MAX - 1);
	advance(1ULL << 60);
	assert_int_equal(fired, 0);
	assert_int_equal(wheel.count, 2);
	wheel_remove(&wheel, &nodes[0]);
	wheel_remove(&wheel, &nodes[1]);
	wanted[0] = wanted[1] = 0;
	assert_true(wheel_next(&wheel) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(follows_a_plain_list, reset),
	    cmocka_unit_test_setup(sleeping_until_next_loses_nothing, reset),
	    cmocka_unit_test_setup(past_due_times_are_due_at_once, reset),
	    cmocka_unit_test_setup(same_due_time_keeps_the_order_of_arming, reset),
	    cmocka_unit_test_setup(the_end_of_time_has_a_place, reset),
	};
	return cmocka_run_group_tests_name("wheel", tests, NULL, NULL);
}
