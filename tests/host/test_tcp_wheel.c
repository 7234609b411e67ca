// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: net/lwip/tcp_wheel.c
// CFLAGS: -Inet/lwip
// TCP's timing wheel against a plain list of deadlines.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "shim.h"
#include "tcp_wheel.h"

#define NODES 300

static struct tcp_wheel wheel;
static struct tcp_wheel_node nodes[NODES], *due;
static uint64_t now, wanted[NODES]; // in ticks; wanted: 0 when not armed

static int reset(void **state)
{
	memset(&wheel, 0, sizeof(wheel));
	memset(nodes, 0, sizeof(nodes));
	memset(wanted, 0, sizeof(wanted));
	wheel.now = 0u - 70000; // wraps on the way
	now = 0;
	due = NULL;
	return 0;
}

static void arm(unsigned n, uint32_t ticks)
{
	tcp_wheel_take(&nodes[n]);
	tcp_wheel_put(&wheel, &nodes[n], ticks);
	wanted[n] = now + ticks;
}

static void cancel(unsigned n)
{
	tcp_wheel_take(&nodes[n]);
	wanted[n] = 0;
}

// Exactly what is due comes out; some of what comes cancels or arms others.
static void tick(void)
{
	now++;
	tcp_wheel_turn(&wheel, &due);
	while (due) {
		size_t n = (size_t)(due - nodes);

		tcp_wheel_take(due);
		assert_int_equal(wanted[n], now);
		wanted[n] = 0;
		if (shim_random_below(4) == 0)
			cancel((unsigned)shim_random_below(NODES));
		if (shim_random_below(4) == 0)
			arm((unsigned)n, 1 + (uint32_t)shim_random_below(100));
	}
	for (unsigned n = 0; n < NODES; n++) {
		assert_true(!wanted[n] || wanted[n] > now);
		assert_int_equal(!!nodes[n].link, !!wanted[n]);
	}
}

static void all_come_at_their_tick(void **state)
{
	for (int step = 0; step < 120000; step++) {
		unsigned n = (unsigned)shim_random_below(NODES);

		switch (shim_random_below(6)) {
		case 0:
			arm(n, 1 + (uint32_t)shim_random_below(1ULL << shim_random_below(15)));
			break;
		case 1:
			cancel(n);
			break;
		default:
			tick();
		}
	}
}

static void each_distance_is_kept(void **state)
{
	static const uint32_t far[] = {1,    2,	   63,	 64,   65,     127,	      128,
				       4095, 4096, 4097, 4160, 262142, TCP_WHEEL_MOST};

	for (unsigned i = 0; i < ARRAY_SIZE(far); i++)
		arm(i, far[i]);
	while (now <= TCP_WHEEL_MOST) {
		now++;
		tcp_wheel_turn(&wheel, &due);
		for (; due; tcp_wheel_take(due)) {
			assert_int_equal(wanted[due - nodes], now);
			wanted[due - nodes] = 0;
		}
	}
	for (unsigned i = 0; i < ARRAY_SIZE(far); i++)
		assert_int_equal(wanted[i], 0);
}

static void too_far_comes_early_and_at_once_comes_next(void **state)
{
	tcp_wheel_put(&wheel, &nodes[0], UINT32_MAX);
	tcp_wheel_put(&wheel, &nodes[1], 0);
	assert_int_equal(nodes[0].at - wheel.now, TCP_WHEEL_MOST);
	tcp_wheel_turn(&wheel, &due);
	assert_ptr_equal(due, &nodes[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(all_come_at_their_tick, reset),
	    cmocka_unit_test_setup(each_distance_is_kept, reset),
	    cmocka_unit_test_setup(too_far_comes_early_and_at_once_comes_next, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
