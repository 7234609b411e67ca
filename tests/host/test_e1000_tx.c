// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: drivers/e1000_init.c drivers/e1000_link.c drivers/e1000_rx.c drivers/e1000_tx.c drivers/e1000_done.c
// SOURCES: drivers/e1000_late.c drivers/e1000_stats.c kernel/netdev_list.c kernel/string.c
// SOURCES: tests/host/fake_e1000.c tests/host/fake_e1000_client.c
// The e1000 driver sending: descriptors, contexts, checksum seeds, segmentation.
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
	dev = client_plug();
	return 0;
}

// ---- what goes out ----

static void a_raw_frame_goes_out_as_it_is(void **state)
{
	struct page *page = pmm_alloc(0);
	uint8_t *arp = page_virt(page);
	for (unsigned n = 0; n < 42; n++)
		arp[n] = (uint8_t)n;
	struct netfrag frag = {page_phys(page), 42, client_cookie()};
	assert_int_equal(dev->transmit(dev, &frag, 1, NULL), 0);
	assert_int_equal(fake_sent(), 0); // not before the kick
	dev->kick(dev);
	assert_int_equal(fake_sent(), 1);
	assert_int_equal(fake_frame(0)->bytes, 42);
	assert_memory_equal(fake_frame(0)->data, arp, 42);
	assert_int_equal(fake_contexts(), 0);
	assert_int_equal(client_cookies_out(), 0);
	pmm_free(page, 0);
}

static void checksums_are_right_for_tcp_and_udp_over_ipv4_and_ipv6(void **state)
{
	static const uint32_t sizes[] = {0, 1, 2, 3, 100, 535, 1001, 1400, 1426};
	for (unsigned kind = 0; kind < 4; kind++) {
		for (unsigned n = 0; n < ARRAY_SIZE(sizes); n++) {
			for (unsigned step = 333; step < 2000; step += 601) {
				struct packet packet;
				unsigned sent = fake_sent();
				packet_make(&packet, kind & 1, kind & 2, sizes[n], step);
				packet_send_and_kick(&packet);
				assert_int_equal(fake_sent(), sent + 1);
				assert_int_equal(fake_frame(sent)->bytes, packet.bytes);
				packet_assert_sums(fake_frame(sent));
				packet_assert_payload(fake_frame(sent), packet.offload.header_bytes,
						      0);
			}
		}
	}
	assert_int_equal(client_cookies_out(), 0);
}

static void checksum_seeds_of_extreme_addresses_fold(void **state)
{
	for (unsigned byte = 0; byte < 256; byte += 255) {
		for (unsigned kind = 0; kind < 4; kind++) {
			struct packet packet;
			unsigned sent = fake_sent();
			packet_make(&packet, kind & 1, kind & 2, 1200, 1200);
			memset(packet.header + (kind & 1 ? 22 : 26), (int)byte, kind & 1 ? 32 : 8);
			packet_send_and_kick(&packet);
			packet_assert_sums(fake_frame(sent));
		}
	}
}

static void only_the_ip_sum_is_inserted_when_only_that_is_asked(void **state)
{
	struct packet packet;
	packet_make(&packet, false, true, 64, 64);
	packet.offload.l4_csum = false;
	uint8_t before[2] = {packet.header[40], packet.header[41]};
	packet_send_and_kick(&packet);
	const struct fake_frame *frame = fake_frame(0);
	assert_int_equal(packet_sum(frame->data + 14, 20, 0), 0xffff);
	assert_memory_equal(frame->data + 40, before, 2);
}

static void a_context_is_written_once_while_nothing_changes(void **state)
{
	struct packet packet;
	for (unsigned n = 0; n < 10; n++) {
		packet_make(&packet, false, false, 100 * n, 400);
		packet_send_and_kick(&packet);
	}
	assert_int_equal(fake_contexts(), 1);
	packet_make(&packet, false, true, 10, 10);
	packet_send_and_kick(&packet);
	packet_make(&packet, true, false, 10, 10);
	packet_send_and_kick(&packet);
	packet_make(&packet, false, false, 10, 10);
	packet_send_and_kick(&packet);
	assert_int_equal(fake_contexts(), 4);
	for (unsigned n = 0; n < fake_sent(); n++)
		packet_assert_sums(fake_frame(n));
}

static void a_segmentation_context_does_not_disturb_the_plain_one(void **state)
{
	struct packet packet;
	for (unsigned n = 0; n < 6; n++) {
		packet_make(&packet, false, false, n % 2 ? 4000 : 0, PAGE_SIZE);
		packet.offload.mss = n % 2 ? 1448 : 0;
		packet_send_and_kick(&packet);
	}
	assert_int_equal(fake_contexts(), 2);
	for (unsigned n = 0; n < fake_sent(); n++)
		packet_assert_sums(fake_frame(n));
}

static void check_segments(uint32_t payload, uint16_t mss)
{
	struct packet packet;
	unsigned first = fake_sent(), segments = (payload + mss - 1) / mss;
	packet_make(&packet, false, false, payload, PAGE_SIZE);
	packet.offload.mss = mss;
	packet.header[34 + 13] = 0x19; // ACK, PSH, FIN
	uint32_t sequence = get_be32(packet.header + 38);
	unsigned id = get_be16(packet.header + 18);
	packet_send_and_kick(&packet);
	assert_int_equal(fake_sent() - first, segments);
	for (unsigned n = 0; n < segments; n++) {
		const struct fake_frame *frame = fake_frame(first + n);
		packet_assert_sums(frame);
		assert_int_equal(get_be32(frame->data + 38), sequence + n * mss);
		assert_int_equal(get_be16(frame->data + 18), (id + n) & 0xffff);
		assert_int_equal(frame->data[34 + 13], n == segments - 1 ? 0x19 : 0x10);
		packet_assert_payload(frame, 66, n * mss);
	}
	assert_int_equal(client_cookies_out(), 0);
}

static void super_segments_are_cut_right(void **state)
{
	check_segments(1, 1448);
	check_segments(1448, 1448);
	check_segments(1449, 1448);
	check_segments(14480, 1448);
	check_segments(65535 - 66, 1448);
	check_segments(60000, 536);
}

// Errata: see tx_plan.
static void a_sentinel_follows_segmented_data_and_the_next_plain_packet(void **state)
{
	struct packet packet;
	packet_make(&packet, false, false, 0, 1);
	packet_send_and_kick(&packet);
	assert_int_equal(fake_descriptors(), 2); // context, header
	packet_make(&packet, false, false, 8000, PAGE_SIZE);
	packet.offload.mss = 1448;
	packet_send_and_kick(&packet);
	assert_int_equal(fake_descriptors(), 2 + 5); // context, header, two pages, sentinel
	for (unsigned n = 0; n < 2; n++) {
		packet_make(&packet, false, false, 0, 1);
		packet_send_and_kick(&packet);
	}
	assert_int_equal(fake_descriptors(), 2 + 5 + 2 + 1);
}

static void fragments_over_a_descriptors_limit_are_cut(void **state)
{
	struct packet packet;
	packet_make(&packet, false, false, 60001, 20001);
	packet.offload.mss = 1448;
	packet_send_and_kick(&packet);
	for (unsigned n = 0; n < fake_sent(); n++)
		packet_assert_sums(fake_frame(n));
	packet_assert_payload(fake_frame(41), 66, 41 * 1448);
	assert_int_equal(client_cookies_out(), 0);
}

static void a_last_piece_of_any_size_survives_the_sentinel(void **state)
{
	for (uint32_t bytes = 8185; bytes < 8210; bytes++) {
		struct packet packet;
		unsigned first = fake_sent();
		packet_make(&packet, false, false, bytes, bytes);
		packet.offload.mss = 1448;
		packet_send_and_kick(&packet);
		for (unsigned n = first; n < fake_sent(); n++) {
			packet_assert_sums(fake_frame(n));
			packet_assert_payload(fake_frame(n), 66, (n - first) * 1448);
		}
	}
}

static void packets_that_make_no_sense_are_refused_and_nothing_is_taken(void **state)
{
	struct packet good, packet;
	packet_make(&good, false, false, 1000, 1000);
	unsigned out = client_cookies_out();
	packet = good;
	packet.frags[1].bytes = 0;
	assert_int_equal(packet_send(&packet), -EINVAL);
	packet = good;
	packet.offload.header_bytes = 67; // longer than the first fragment
	assert_int_equal(packet_send(&packet), -EINVAL);
	packet = good;
	packet.offload.l4_offset = 30;
	assert_int_equal(packet_send(&packet), -EINVAL);
	packet = good;
	packet.frags[1].bytes = 1453; // 1519
	assert_int_equal(packet_send(&packet), -EINVAL);
	packet = good;
	packet.offload.mss = 1448;
	packet.offload.ipv6 = true; // the card cannot
	packet.offload.l4_offset = 54;
	packet.offload.header_bytes = 66;
	assert_int_equal(packet_send(&packet), -EINVAL);
	assert_int_equal(dev->transmit(dev, good.frags, 0, NULL), -EINVAL);
	assert_int_equal(dev->transmit(dev, good.frags, NETDEV_MAX_FRAGS + 1, NULL), -EINVAL);
	dev->kick(dev);
	assert_int_equal(fake_sent(), 0);
	assert_int_equal(fake_writes(E1000_TDT), 0);
	assert_int_equal(client_cookies_out(), out);
	packet_send_and_kick(&good);
	assert_int_equal(client_cookies_out(), 0);
}

static void one_doorbell_sends_a_batch(void **state)
{
	struct packet packet;
	packet_make(&packet, false, false, 500, 100);
	for (unsigned n = 0; n < 50; n++) {
		if (n)
			for (unsigned f = 0; f < packet.count; f++)
				packet.frags[f].cookie = client_cookie();
		assert_int_equal(packet_send(&packet), 0);
	}
	unsigned reads = fake_reads();
	dev->kick(dev);
	dev->kick(dev);
	assert_int_equal(fake_writes(E1000_TDT), 1);
	assert_int_equal(fake_reads(), reads);
	assert_int_equal(fake_sent(), 50);
	assert_int_equal(client_cookies_out(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, client_setup, client_teardown)
int main(void)
{
	shim_seed();
	const struct CMUnitTest tests[] = {
	    TEST(a_raw_frame_goes_out_as_it_is),
	    TEST(checksums_are_right_for_tcp_and_udp_over_ipv4_and_ipv6),
	    TEST(checksum_seeds_of_extreme_addresses_fold),
	    TEST(only_the_ip_sum_is_inserted_when_only_that_is_asked),
	    TEST(a_context_is_written_once_while_nothing_changes),
	    TEST(a_segmentation_context_does_not_disturb_the_plain_one),
	    TEST(super_segments_are_cut_right),
	    TEST(a_sentinel_follows_segmented_data_and_the_next_plain_packet),
	    TEST(fragments_over_a_descriptors_limit_are_cut),
	    TEST(a_last_piece_of_any_size_survives_the_sentinel),
	    TEST(packets_that_make_no_sense_are_refused_and_nothing_is_taken),
	    TEST(one_doorbell_sends_a_batch),
	};
	return cmocka_run_group_tests(tests, setup_group, NULL);
}
