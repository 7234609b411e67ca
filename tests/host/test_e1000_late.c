// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: drivers/e1000_init.c drivers/e1000_link.c drivers/e1000_rx.c drivers/e1000_tx.c drivers/e1000_straight.c
// SOURCES: drivers/e1000_done.c drivers/e1000_cut.c drivers/e1000_late.c drivers/e1000_stats.c kernel/netdev_list.c
// SOURCES: kernel/string.c
// SOURCES: tests/host/fake_e1000.c tests/host/fake_e1000_client.c
// The e1000 driver under nic=late: what is delayed, by how much, and what it catches.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "drivers/e1000.h"
#include "fake_e1000.h"
#include "kernel/cmdline.h"
#include "kernel/pmm.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"
#include "shim.h"

#define US NS_PER_US
#define MS NS_PER_MS

static struct netdev *dev;
static struct page *page;

extern const struct cmdline_option __start_cmdline_options[], __stop_cmdline_options[];
static bool parse(const char *value)
{
	for (const struct cmdline_option *row = __start_cmdline_options;
	     row < __stop_cmdline_options; row++)
		if (!strcmp(row->key, "nic"))
			return row->parse(value);
	fail();
	return false;
}

static int setup_group(void **state)
{
	shim_init(2048);
	assert_false(parse(NULL));
	assert_false(parse("fast"));
	assert_false(parse("later"));
	assert_false(parse("late:x"));
	assert_true(parse("late:1234"));
	fake_plug(0x100e);
	dev = fake_netdev();
	client_attach(dev);
	return 0;
}

static int setup(void **state)
{
	fake_reset();
	client_start();
	fake_forget_counts();
	page = pmm_alloc(4);
	memset(page_virt(page), 0x42, 16 * PAGE_SIZE);
	return 0;
}

static int teardown(void **state)
{
	pmm_free(page, 4);
	client_finish();
	return 0;
}

static uint8_t *send(unsigned n)
{
	struct netfrag frag = {page_phys(page) + 64 * n, 60, client_cookie()};
	assert_int_equal(dev->transmit(dev, &frag, 1, NULL), 0);
	dev->kick(dev);
	return (uint8_t *)page_virt(page) + 64 * n;
}

static void doorbells_are_late_by_50_to_500_us(void **state)
{
	uint64_t least = UINT64_MAX, most = 0;
	for (unsigned n = 0; n < 500; n++) {
		uint64_t from = clock_ns();
		unsigned sent = fake_sent();
		send(n);
		while (fake_sent() == sent)
			shim_advance(1 * US);
		least = MIN(least, clock_ns() - from);
		most = MAX(most, clock_ns() - from);
	}
	assert_in_range(least, 50 * US, 60 * US);
	assert_in_range(most, 480 * US, 502 * US);
}

static void what_changes_before_the_doorbell_goes_out_changed(void **state)
{
	struct netfrag frags[2] = {{page_phys(page), 60, client_cookie()},
				   {page_phys(page) + PAGE_SIZE, 100, client_cookie()}};
	assert_int_equal(dev->transmit(dev, frags, 2, NULL), 0);
	dev->kick(dev);
	memset((uint8_t *)page_virt(page) + PAGE_SIZE, 0xdb, 100);
	shim_advance(1 * MS);
	assert_int_equal(fake_sent(), 1);
	assert_int_equal(fake_frame(0)->data[60], 0xdb);
}

static void completions_are_late_by_1_to_20_ms_and_in_order(void **state)
{
	uint64_t least = UINT64_MAX, most = 0;
	for (unsigned n = 0; n < 300; n++) {
		uint64_t from = clock_ns();
		send(n);
		while (client_cookies_out())
			shim_advance(100 * US);
		least = MIN(least, clock_ns() - from);
		most = MAX(most, clock_ns() - from);
	}
	assert_in_range(least, 1 * MS, 3 * MS);
	assert_in_range(most, 18 * MS, 22 * MS);
}

static void send_and_wait(void *arg)
{
	for (unsigned n = 0; n < 30; n++)
		shim_advance(1 * MS);
}

static void a_header_that_changes_while_the_card_has_it_is_a_panic(void **state)
{
	uint8_t *header = send(0);
	shim_advance(600 * US); // it is on the wire already
	header[40] ^= 1;
	assert_true(shim_panics(send_and_wait, NULL));
	assert_non_null(strstr(shim_panic_text(), "changed while the card had it"));
	((struct e1000 *)dev->driver)->tx.reclaiming = false; // where the panic left it
}

static void a_full_ring_empties_by_itself(void **state)
{
	unsigned sent = 0;
	struct netfrag frag = {page_phys(page), 60, NULL};
	while (!dev->transmit(dev, &frag, 1, NULL))
		sent++;
	assert_int_equal(sent, 1023);
	for (unsigned n = 0; n < 50; n++)
		shim_advance(1 * MS);
	assert_int_equal(client.rooms, 1);
	assert_int_equal(fake_sent(), 1023);
}

static void frames_wait_but_none_is_lost(void **state)
{
	uint8_t data[100] = {0};
	unsigned at_once = 0;
	for (unsigned n = 0; n < 200; n++) {
		data[0] = (uint8_t)n;
		fake_receive(data, sizeof(data));
		shim_run();
		at_once += client.inputs == n + 1;
		shim_advance(1 * MS);
		assert_int_equal(client.inputs, n + 1);
		assert_int_equal(client_frame(n)->data[0], (uint8_t)n);
	}
	assert_in_range(at_once, 50, 150);
}

static void link_loss_releases_what_is_held_back(void **state)
{
	send(0);
	shim_advance(600 * US);
	send(1);
	fake_set_link(false);
	shim_run();
	for (unsigned n = 0; n < 30; n++)
		shim_advance(1 * MS);
	assert_int_equal(client_cookies_out(), 0);
	fake_set_link(true);
	shim_advance(2 * MS);
	assert_true(client.link);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	shim_seed();
	const struct CMUnitTest tests[] = {
	    TEST(doorbells_are_late_by_50_to_500_us),
	    TEST(what_changes_before_the_doorbell_goes_out_changed),
	    TEST(completions_are_late_by_1_to_20_ms_and_in_order),
	    TEST(a_header_that_changes_while_the_card_has_it_is_a_panic),
	    TEST(a_full_ring_empties_by_itself),
	    TEST(frames_wait_but_none_is_lost),
	    TEST(link_loss_releases_what_is_held_back),
	};
	return cmocka_run_group_tests(tests, setup_group, NULL);
}
