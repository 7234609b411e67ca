// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: drivers/e1000_init.c drivers/e1000_link.c drivers/e1000_rx.c drivers/e1000_tx.c drivers/e1000_straight.c
// SOURCES: drivers/e1000_done.c drivers/e1000_cut.c drivers/e1000_late.c drivers/e1000_stats.c kernel/netdev_list.c
// SOURCES: kernel/string.c
// SOURCES: tests/host/fake_e1000.c tests/host/fake_e1000_client.c
// The e1000 driver's transmit ring: reservation, reclaim, link loss, a hung card, stop.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "drivers/e1000.h"
#include "fake_e1000.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/vmm.h"
#include "shim.h"

#define MS NS_PER_MS

static struct netdev *dev;

static int setup_group(void **state)
{
	dev = client_plug(0x100e);
	return 0;
}

// ---- the ring ----

static void random_packets_wrap_the_ring_and_each_cookie_comes_back_once(void **state)
{
	fake_set_delayed(true);
	unsigned accepted = 0, made = 0;
	for (unsigned round = 0; round < 6000; round++) {
		struct packet packet;
		bool big = !shim_random_below(8);
		packet_make(&packet, !big && shim_random_below(2), !big && shim_random_below(2),
			    big ? 1 + (uint32_t)shim_random_below(30000)
				: (uint32_t)shim_random_below(1400),
			    1 + (uint32_t)shim_random_below(big ? PAGE_SIZE : 700) +
				(big ? 600 : 40));
		packet.offload.mss = big ? 1448 : 0;
		made = packet.count;
		int result = packet_send(&packet);
		if (result == -ENOBUFS) {
			fake_transmit(-1);
			shim_advance(MS);
			result = packet_send(&packet);
		}
		assert_int_equal(result, 0);
		accepted += made;
		if (!shim_random_below(4))
			dev->kick(dev);
		if (!shim_random_below(3))
			fake_transmit((int)shim_random_below(5));
		assert_int_equal(client.released + client_cookies_out(), accepted);
		if (fake_sent() > 3000) {
			for (unsigned n = 0; n < fake_sent(); n++)
				packet_assert_sums(fake_frame(n));
			fake_transmit(-1);
			fake_forget_counts();
		}
	}
	dev->kick(dev);
	fake_transmit(-1);
	shim_advance(MS);
	assert_int_equal(client_cookies_out(), 0);
}

static struct packet refused;
static int refused_result;
static void send_refused(void)
{
	refused_result = packet_send(&refused);
	dev->kick(dev);
}

static void a_full_ring_takes_all_of_a_packet_or_nothing_and_tells_when_there_is_room(void **state)
{
	fake_set_delayed(true);
	unsigned taken = 0;
	int result;
	for (;;) {
		packet_make(&refused, false, false, 1400, 200); // 8 descriptors
		result = packet_send(&refused);
		if (result)
			break;
		taken++;
	}
	assert_int_equal(result, -ENOBUFS);
	assert_int_equal(taken, (1023 - 1) / 8);
	assert_int_equal(client_cookies_out(), 8 * (taken + 1));
	assert_int_equal(client.rooms, 0);
	client.on_room = send_refused;
	refused_result = 1;
	shim_advance(5 * MS);
	assert_int_equal(client.rooms, 0);
	fake_transmit(-1);
	shim_advance(2 * MS);
	assert_int_equal(client.rooms, 1);
	assert_int_equal(refused_result, 0);
	fake_transmit(-1);
	shim_advance(2 * MS);
	assert_int_equal(client_cookies_out(), 0);
	assert_int_equal(fake_sent(), taken + 1);
	assert_int_equal(client.rooms, 1);
}

static void a_full_ring_of_a_prompt_card_is_emptied_by_transmit_itself(void **state)
{
	struct packet packet;
	for (unsigned n = 0; n < 400; n++) {
		packet_make(&packet, false, false, 1400, 200);
		assert_int_equal(packet_send(&packet), 0);
	}
	dev->kick(dev);
	assert_int_equal(fake_sent(), 400);
	assert_int_equal(client_cookies_out(), 0);
	assert_true(fake_writes(E1000_TDT) <= 5);
}

static void done_packets_are_reclaimed_without_further_traffic(void **state)
{
	struct packet packet;
	fake_set_delayed(true);
	packet_make(&packet, false, false, 1000, 1000);
	packet_send_and_kick(&packet);
	shim_advance(30 * MS);
	assert_int_equal(client_cookies_out(), 2);
	fake_transmit(-1);
	shim_advance(2 * MS);
	assert_int_equal(client_cookies_out(), 0);
}

static void packets_are_released_by_dd_and_not_by_the_head(void **state)
{
	struct packet packet;
	fake_set_delayed(true);
	fake_set_writeback(false);
	packet_make(&packet, false, false, 1000, 1000);
	packet_send_and_kick(&packet);
	fake_transmit(-1);
	shim_advance(10 * MS);
	assert_int_equal(fake_sent(), 1);
	assert_int_equal(client_cookies_out(), 2);
	fake_set_writeback(true); // teardown: stop() must give them back all the same
}

static void a_packet_is_released_only_when_its_last_descriptor_is_done(void **state)
{
	struct packet packet;
	fake_set_delayed(true);
	for (unsigned n = 0; n < 2; n++) {
		packet_make(&packet, false, false, 1000, 100);
		assert_int_equal(packet_send(&packet), 0);
	}
	dev->kick(dev);
	fake_transmit(1);
	shim_advance(2 * MS);
	assert_int_equal(client_cookies_out(), 11);
}

// ---- link and hang ----

static void without_a_link_packets_are_refused(void **state)
{
	struct packet packet;
	fake_set_link(false);
	shim_run();
	assert_false(client.link);
	packet_make(&packet, false, false, 0, 1);
	assert_int_equal(packet_send(&packet), -ENODEV);
	fake_set_link(true);
	shim_run();
	assert_true(client.link);
	packet_send_and_kick(&packet);
	assert_int_equal(fake_sent(), 1);
	assert_int_equal(client.link_calls, 3); // start, loss, return
}

static void link_loss_releases_what_waits_for_the_doorbell_and_what_waits_for_the_wire(void **state)
{
	struct packet packet;
	fake_set_delayed(true);
	for (unsigned n = 0; n < 20; n++) {
		packet_make(&packet, false, false, 1000, 300);
		assert_int_equal(packet_send(&packet), 0);
		if (n == 9)
			dev->kick(dev);
	}
	fake_transmit(3);
	fake_set_link(false);
	shim_run();
	assert_int_equal(client_cookies_out(), 7 * 5);
	shim_advance(20 * MS);
	assert_int_equal(client_cookies_out(), 0);
	fake_set_delayed(false);
	fake_set_link(true);
	shim_advance(MS);
	assert_true(client.link);
	packet_make(&packet, false, false, 1000, 300);
	packet_send_and_kick(&packet);
	assert_int_equal(fake_sent(), 4);
	packet_assert_sums(fake_frame(3));
	fake_receive(fake_frame(3)->data, 1000);
	shim_run();
	assert_int_equal(client.inputs, 1);
}

static void a_short_link_loss_with_all_packets_done_needs_no_reset(void **state)
{
	struct packet packet;
	uint64_t restarts = e1000_stats.restarts;
	fake_set_delayed(true);
	packet_make(&packet, false, false, 1000, 300);
	packet_send_and_kick(&packet);
	fake_set_link(false);
	shim_run();
	fake_set_link(true);
	fake_finish_all();
	shim_advance(20 * MS);
	assert_true(client.link);
	assert_int_equal(client_cookies_out(), 0);
	assert_int_equal(e1000_stats.restarts, restarts);
}

static void a_card_that_hangs_is_restarted_and_gives_everything_back(void **state)
{
	struct packet packet;
	fake_set_hung(true);
	packet_make(&packet, false, false, 1000, 300);
	packet_send_and_kick(&packet);
	shim_advance(4900 * MS);
	assert_int_equal(client_cookies_out(), 5);
	shim_advance(200 * MS);
	assert_int_equal(client_cookies_out(), 0);
	assert_true(client.link);
	fake_set_hung(false);
	packet_make(&packet, false, false, 1000, 300);
	packet_send_and_kick(&packet);
	assert_int_equal(fake_sent(), 1);
	shim_advance(E1000_RX_REST);
	assert_int_equal(client.out, E1000_RX_RING - 1);
}

static void a_long_idle_time_is_not_a_hang(void **state)
{
	struct packet packet;
	uint64_t restarts = e1000_stats.restarts;
	fake_set_delayed(true);
	for (unsigned n = 0; n < 5; n++) {
		packet_make(&packet, false, false, 0, 1);
		packet_send_and_kick(&packet);
		shim_advance(2 * MS);
		fake_transmit(-1);
		shim_advance(30000 * MS);
	}
	assert_int_equal(e1000_stats.restarts, restarts);
}

static void stop_gives_everything_back_and_start_begins_anew(void **state)
{
	struct packet packet;
	fake_set_delayed(true);
	for (unsigned n = 0; n < 10; n++) {
		packet_make(&packet, false, false, 1000, 300);
		packet_send_and_kick(&packet);
	}
	dev->stop(dev);
	assert_int_equal(client_cookies_out(), 0);
	assert_int_equal(client.out, 0);
	assert_int_equal(packet_send(&packet), -ENODEV);
	fake_set_delayed(false);
	assert_int_equal(dev->start(dev), 0);
	assert_int_equal(dev->start(dev), -EBUSY);
	shim_run();
	packet_make(&packet, false, false, 1000, 300);
	packet_send_and_kick(&packet);
	assert_int_equal(fake_sent(), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, client_setup, client_teardown)
int main(void)
{
	shim_seed();
	const struct CMUnitTest tests[] = {
	    TEST(random_packets_wrap_the_ring_and_each_cookie_comes_back_once),
	    TEST(a_full_ring_takes_all_of_a_packet_or_nothing_and_tells_when_there_is_room),
	    TEST(a_full_ring_of_a_prompt_card_is_emptied_by_transmit_itself),
	    TEST(done_packets_are_reclaimed_without_further_traffic),
	    TEST(packets_are_released_by_dd_and_not_by_the_head),
	    TEST(a_packet_is_released_only_when_its_last_descriptor_is_done),
	    TEST(without_a_link_packets_are_refused),
	    TEST(link_loss_releases_what_waits_for_the_doorbell_and_what_waits_for_the_wire),
	    TEST(a_short_link_loss_with_all_packets_done_needs_no_reset),
	    TEST(a_card_that_hangs_is_restarted_and_gives_everything_back),
	    TEST(a_long_idle_time_is_not_a_hang),
	    TEST(stop_gives_everything_back_and_start_begins_anew),
	};
	return cmocka_run_group_tests(tests, setup_group, NULL);
}
