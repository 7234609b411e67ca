// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: drivers/e1000_init.c drivers/e1000_link.c drivers/e1000_rx.c drivers/e1000_tx.c drivers/e1000_straight.c
// SOURCES: drivers/e1000_done.c drivers/e1000_cut.c drivers/e1000_late.c drivers/e1000_stats.c kernel/netdev_list.c
// SOURCES: kernel/string.c
// SOURCES: tests/host/fake_e1000.c tests/host/fake_e1000_client.c
// The e1000 driver and jumbo frames: spread over receive buffers, and sent.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "drivers/e1000.h"
#include "fake_e1000.h"
#include "kernel/pmm.h"
#include "shim.h"

#define RING ((int)E1000_RX_RING)
#define CRC  0x01

static struct netdev *dev;
static uint8_t data[FAKE_FRAME_MAX + 4];

static int setup_group(void **state)
{
	dev = client_plug(0x100f);
	return 0;
}

// Frame number n of so many bytes.
static const uint8_t *frame(unsigned n, uint32_t bytes)
{
	for (uint32_t at = 0; at < bytes; at++)
		data[at] = (uint8_t)(n + at * 7 + at / 2048);
	return data;
}

static void assert_frame(unsigned at, unsigned n, uint32_t bytes)
{
	assert_int_equal(client_frame(at)->bytes, bytes);
	assert_memory_equal(client_frame(at)->data, frame(n, bytes), bytes);
}

static void the_card_keeps_room_for_a_whole_frame_to_send(void **state)
{
	assert_int_equal(fake_register(0x1000), 40);	     // PBA: 24 KB are left
	assert_int_equal(fake_register(0x100) & 0x20, 0x20); // LPE
	assert_int_equal(dev->mtu, 16110);
}

static void frames_of_all_lengths_go_up_whole_and_in_order(void **state)
{
	static const uint32_t lengths[] = {60,	 1514, 1518, 1519, 2047, 2048, 2049, 2050,  4095,
					   4096, 4097, 9014, 9018, 8192, 8193, 60,   16124, 60};
	uint64_t packets = e1000_stats.rx_packets, bytes = e1000_stats.rx_bytes, total = 0;
	unsigned sent = 0;
	dev->set_mtu(dev, 16110);
	for (unsigned round = 0; round < 40; round++)
		for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++, sent++) {
			fake_receive(frame(sent, lengths[i]), lengths[i]);
			total += lengths[i];
			if (shim_random_below(8) == 0)
				shim_run();
		}
	shim_run();
	assert_int_equal(fake_waiting(), 0);
	assert_int_equal(client.inputs, sent);
	for (unsigned n = 0; n < sent; n++)
		assert_frame(n, n, lengths[n % ARRAY_SIZE(lengths)]);
	assert_int_equal(e1000_stats.rx_packets, packets + sent);
	assert_int_equal(e1000_stats.rx_bytes, bytes + total);
	assert_int_equal(client.broken, 0);
}

// The FCS alone would have taken another buffer: stripped, it leaves one with nothing in it.
static void a_last_part_with_nothing_in_it(void **state)
{
	dev->set_mtu(dev, 9000);
	fake_receive_odd(frame(0, 4096), 4096, 0, 3);
	fake_receive_odd(frame(1, 2048), 2048, 0, 2);
	fake_receive(frame(2, 100), 100);
	shim_run();
	assert_int_equal(client.inputs, 3);
	assert_frame(0, 0, 4096);
	assert_frame(1, 1, 2048);
	assert_frame(2, 2, 100);
}

static void what_is_too_long_for_the_link_is_dropped_and_counted_once(void **state)
{
	uint64_t before = e1000_stats.rx_long;
	dev->set_mtu(dev, 1500);
	fake_receive(frame(0, 1518), 1518);
	fake_receive(frame(1, 1519), 1519);
	fake_receive(frame(1, 9018), 9018);
	fake_receive(frame(2, 60), 60);
	shim_run();
	assert_int_equal(e1000_stats.rx_long, before + 2);
	dev->set_mtu(dev, 9000);
	fake_receive(frame(3, 9018), 9018);
	fake_receive(frame(4, 9019), 9019);
	fake_receive(frame(4, 16124), 16124);
	fake_receive(frame(5, 60), 60);
	shim_run();
	assert_int_equal(e1000_stats.rx_long, before + 4);
	dev->set_mtu(dev, 576);
	fake_receive(frame(6, 1514), 1514);
	shim_run();
	assert_int_equal(client.inputs, 5);
	assert_frame(0, 0, 1518);
	assert_frame(1, 2, 60);
	assert_frame(2, 3, 9018);
	assert_frame(3, 5, 60);
	assert_frame(4, 6, 1514);
}

static void an_error_at_the_end_drops_all_of_the_frame(void **state)
{
	uint64_t before = e1000_stats.rx_error;
	dev->set_mtu(dev, 9000);
	for (unsigned n = 0; n < 200; n++) {
		fake_receive_odd(frame(n, 9014), 9014, CRC, 0);
		fake_receive(frame(n, 5000), 5000);
		shim_run();
	}
	assert_int_equal(e1000_stats.rx_error, before + 200);
	assert_int_equal(client.broken, 200);
	assert_int_equal(client.inputs, 200);
	for (unsigned n = 0; n < 200; n++)
		assert_frame(n, n, 5000);
}

static void a_part_that_is_not_full_drops_all_of_the_frame(void **state)
{
	uint64_t before = e1000_stats.rx_long;
	dev->set_mtu(dev, 9000);
	fake_receive_odd(frame(0, 1000), 1000, 0, 2);
	fake_receive(frame(1, 3000), 3000);
	shim_run();
	assert_int_equal(e1000_stats.rx_long, before + 1);
	assert_int_equal(client.inputs, 1);
	assert_frame(0, 1, 3000);
}

// The card goes on with the frame when it has buffers again.
static void the_ring_runs_out_in_the_middle_of_a_frame(void **state)
{
	unsigned frames = RING / 5 + 3;
	dev->set_mtu(dev, 9000);
	client.limit = 0;
	for (unsigned n = 0; n < frames; n++)
		fake_receive(frame(n, 9014), 9014);
	shim_run();
	assert_int_equal(client.inputs, (RING - 1) / 5);
	assert_int_equal((RING - 1) % 5, 1); // of the next, a part is there
	client.limit = CLIENT_BUFFERS;
	dev->rx_refill(dev);
	shim_run();
	assert_int_equal(client.inputs, frames);
	for (unsigned n = 0; n < frames; n++)
		assert_frame(n, n, 9014);
	assert_int_equal(client.broken, 0);
}

static void a_reset_in_the_middle_of_a_frame_drops_it(void **state)
{
	unsigned broken = client.broken;
	dev->set_mtu(dev, 9000);
	client.limit = 0;
	for (int n = 0; n < RING / 5 + 1; n++)
		fake_receive(frame((unsigned)n, 9014), 9014);
	shim_run();
	dev->stop(dev);
	assert_int_equal(client.broken, broken + 1);
	assert_int_equal(client.out, 0);
	fake_reset(); // the card has forgotten it, too
	client.limit = CLIENT_BUFFERS;
	client.inputs = 0;
	assert_int_equal(dev->start(dev), 0);
	shim_run();
	fake_receive(frame(1, 100), 100);
	fake_receive(frame(2, 9014), 9014);
	shim_run();
	assert_int_equal(client.inputs, 2);
	assert_frame(0, 1, 100);
	assert_frame(1, 2, 9014);
	assert_int_equal(client.broken, broken + 1);
}

// ---- sending ----

static void a_frame_as_long_as_the_card_takes(void **state)
{
	struct packet packet;
	packets_init();
	for (unsigned kind = 0; kind < 4; kind++) {
		bool ipv6 = kind & 1, udp = kind & 2;
		uint32_t header = (ipv6 ? 54U : 34U) + (udp ? 8 : 32), n = fake_sent();
		for (unsigned again = 0; again < 2; again++) { // like the one before
			packet_make(&packet, ipv6, udp, E1000_FRAME_MAX - header, PAGE_SIZE);
			packet_send_and_kick(&packet);
		}
		assert_int_equal(fake_sent(), n + 2);
		for (; n < fake_sent(); n++) {
			assert_int_equal(fake_frame(n)->bytes, E1000_FRAME_MAX);
			packet_assert_sums(fake_frame(n));
			packet_assert_payload(fake_frame(n), header, 0);
		}
		packet_make(&packet, ipv6, udp, E1000_FRAME_MAX - header + 1, PAGE_SIZE);
		assert_int_equal(packet_send(&packet), -EINVAL);
		for (unsigned i = 0; i < packet.count; i++)
			dev->client->tx_release(dev->client_ctx, &packet.frags[i].cookie, 1);
	}
	packets_finish();
}

static void super_segments_are_cut_into_long_frames(void **state)
{
	static const uint16_t sizes[] = {8948, 8928, 3000, 16038};
	struct packet packet;
	packets_init();
	for (unsigned n = 0; n < 2 * ARRAY_SIZE(sizes); n++) {
		bool ipv6 = n & 1;
		uint32_t mss = sizes[n / 2], header = ipv6 ? 86 : 66, first = fake_sent();
		uint32_t payload = (65535 - 86) / mss * mss - 4;
		packet_make(&packet, ipv6, false, payload, PAGE_SIZE);
		packet.offload.mss = (uint16_t)mss;
		packet_send_and_kick(&packet);
		assert_int_equal(fake_sent() - first, payload / mss + 1);
		for (unsigned at = first; at < fake_sent(); at++) {
			uint32_t left = payload - (at - first) * mss;
			packet_assert_sums(fake_frame(at));
			assert_int_equal(fake_frame(at)->bytes, header + MIN(left, mss));
			packet_assert_payload(fake_frame(at), header, (at - first) * mss);
		}
	}
	packets_finish();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, client_setup_rx, client_teardown_rx)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_card_keeps_room_for_a_whole_frame_to_send),
	    TEST(frames_of_all_lengths_go_up_whole_and_in_order),
	    TEST(a_last_part_with_nothing_in_it),
	    TEST(what_is_too_long_for_the_link_is_dropped_and_counted_once),
	    TEST(an_error_at_the_end_drops_all_of_the_frame),
	    TEST(a_part_that_is_not_full_drops_all_of_the_frame),
	    TEST(the_ring_runs_out_in_the_middle_of_a_frame),
	    TEST(a_reset_in_the_middle_of_a_frame_drops_it),
	    TEST(a_frame_as_long_as_the_card_takes),
	    TEST(super_segments_are_cut_into_long_frames),
	};
	return cmocka_run_group_tests_name("e1000_jumbo", tests, setup_group, NULL);
}
