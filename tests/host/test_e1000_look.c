// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: drivers/e1000_init.c drivers/e1000_link.c drivers/e1000_rx.c drivers/e1000_tx.c drivers/e1000_straight.c
// SOURCES: drivers/e1000_done.c drivers/e1000_cut.c drivers/e1000_late.c drivers/e1000_stats.c kernel/netdev_list.c
// SOURCES: kernel/string.c
// SOURCES: tests/host/fake_e1000.c tests/host/fake_e1000_client.c
// The e1000 driver receiving while an idle processor looks for frames instead of halting.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "drivers/e1000.h"
#include "fake_e1000.h"
#include "shim.h"

static struct netdev *dev;

static int setup_group(void **state)
{
	dev = client_plug(0x100f);
	return 0;
}

static void receive(unsigned n)
{
	uint8_t data[60] = {(uint8_t)n};
	fake_receive(data, sizeof(data));
}

static bool looks;
static struct wtd_watch *watch;
bool wtd_watch_for(struct wtd_watch *who, uint64_t ns)
{
	watch = who;
	return looks;
}

static void while_the_processor_looks_frames_cost_no_register_access(void **state)
{
	looks = true;
	receive(0);
	shim_run();
	assert_int_equal(client.inputs, 1);
	unsigned reads = fake_reads(), masks = fake_writes(E1000_IMC);
	for (unsigned n = 1; n < 50; n++) {
		receive(n);
		shim_run();
		assert_int_equal(client.inputs, n); // it does not interrupt
		watch->look(watch);
		shim_run();
		assert_int_equal(client.inputs, n + 1);
		watch->look(watch); // nothing came
		shim_run();
	}
	assert_int_equal(fake_reads(), reads);
	assert_int_equal(fake_writes(E1000_IMC), masks);
	assert_int_equal(fake_writes(E1000_IMS), 0);
	watch->over(watch);
	assert_int_equal(fake_writes(E1000_IMS), 1);
	looks = false;
	receive(50);
	shim_run();
	assert_int_equal(client.inputs, 51);
}

static void a_frame_that_came_when_looking_ended_is_taken(void **state)
{
	looks = true;
	receive(0);
	shim_run();
	receive(1);
	looks = false;
	watch->over(watch);
	shim_run();
	assert_int_equal(client.inputs, 2);
	looks = true;
	receive(2);
	shim_run();
	looks = false;
	dev->stop(dev);
	watch->over(watch); // of a card that was stopped meanwhile
	watch->look(watch);
	shim_run();
	assert_int_equal(fake_register(E1000_IMS), 0);
	assert_int_equal(dev->start(dev), 0);
	shim_run();
	receive(3);
	shim_run();
	assert_int_equal(client.inputs, 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, client_setup_rx, client_teardown_rx)
int main(void)
{
	shim_seed();
	const struct CMUnitTest tests[] = {
	    TEST(while_the_processor_looks_frames_cost_no_register_access),
	    TEST(a_frame_that_came_when_looking_ended_is_taken),
	};
	return cmocka_run_group_tests(tests, setup_group, NULL);
}
