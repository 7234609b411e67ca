// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: drivers/e1000_init.c drivers/e1000_link.c drivers/e1000_rx.c drivers/e1000_tx.c drivers/e1000_straight.c
// SOURCES: drivers/e1000_done.c drivers/e1000_cut.c drivers/e1000_late.c drivers/e1000_stats.c kernel/netdev_list.c
// SOURCES: kernel/string.c
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
	dev = client_plug(0x100e);
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

static void check_segments(bool ipv6, uint32_t payload, uint32_t step, uint16_t mss)
{
	struct packet packet;
	unsigned first = fake_sent(), segments = (payload + mss - 1) / mss;
	unsigned tcp = ipv6 ? 54 : 34, end = tcp + 32;
	packet_make(&packet, ipv6, false, payload, step);
	packet.offload.mss = mss;
	packet.header[tcp + 13] = 0x19; // ACK, PSH, FIN
	uint8_t header[128];
	memcpy(header, packet.header, end);
	packet_send_and_kick(&packet);
	assert_int_equal(fake_sent() - first, segments);
	for (unsigned n = 0; n < segments; n++) {
		const struct fake_frame *frame = fake_frame(first + n);
		uint32_t bytes = n == segments - 1 ? payload - n * mss : mss;
		packet_assert_sums(frame);
		assert_int_equal(frame->bytes, end + bytes);
		assert_int_equal(get_be32(frame->data + tcp + 4),
				 get_be32(header + tcp + 4) + n * mss);
		if (ipv6) {
			assert_int_equal(get_be16(frame->data + 18), 32 + bytes);
			assert_memory_equal(frame->data, header, 18);
			assert_memory_equal(frame->data + 20, header + 20, tcp + 4 - 20);
			assert_memory_equal(frame->data + tcp + 20, header + tcp + 20, 12);
		} else {
			assert_int_equal(get_be16(frame->data + 18),
					 (get_be16(header + 18) + n) & 0xffff);
		}
		assert_int_equal(frame->data[tcp + 13], n == segments - 1 ? 0x19 : 0x10);
		packet_assert_payload(frame, end, n * mss);
	}
	if (ipv6) { // but for the seed, which was there
		assert_memory_equal(packet.header, header, tcp + 16);
		assert_memory_equal(packet.header + tcp + 18, header + tcp + 18, end - tcp - 18);
	}
	assert_int_equal(client_cookies_out(), 0);
}

static void super_segments_are_cut_right(void **state)
{
	for (unsigned ipv6 = 0; ipv6 < 2; ipv6++) {
		check_segments(ipv6, 1, PAGE_SIZE, 1428);
		check_segments(ipv6, 1428, PAGE_SIZE, 1428);
		check_segments(ipv6, 1429, PAGE_SIZE, 1428);
		check_segments(ipv6, 14480, PAGE_SIZE, 1428);
		check_segments(ipv6, 65535 - 86, PAGE_SIZE, 1428);
		check_segments(ipv6, 44 * 1428 - 4, 20001, 1428);
		check_segments(ipv6, 60000, 1000, 1428);
		check_segments(ipv6, 60000, PAGE_SIZE, 536);
	}
}

// What lies behind the headers in the first fragment is payload, too.
static void payload_in_the_first_fragment_is_cut_over_ipv6(void **state)
{
	for (uint32_t more = 0; more < 42; more += 7) {
		struct packet packet;
		packet_make(&packet, true, false, 9000, PAGE_SIZE);
		packet.offload.header_bytes = 54 + 20;
		packet.header[54 + 12] = 5 << 4;
		packet.frags[0].bytes = 54 + 20 + more;
		packet.offload.mss = 536;
		unsigned first = fake_sent(), sent = 0;
		uint8_t behind[64];
		memcpy(behind, packet.header + 74, more);
		packet_send_and_kick(&packet);
		for (unsigned n = first; n < fake_sent(); n++) {
			packet_assert_sums(fake_frame(n));
			sent += fake_frame(n)->bytes - 74;
		}
		assert_int_equal(sent, 9000 + more);
		assert_memory_equal(fake_frame(first)->data + 74, behind, more);
		assert_int_equal(client_cookies_out(), 0);
	}
}

// As one that the card cuts is: nothing of it before all of it is out, and in its turn.
static void a_packet_cut_over_ipv6_is_released_when_all_is_out(void **state)
{
	const unsigned pages = 4, frames = (4 * PAGE_SIZE + 1427) / 1428;
	struct packet packet;
	fake_set_delayed(true);
	packet_make(&packet, true, false, pages * PAGE_SIZE, PAGE_SIZE);
	packet.offload.mss = 1428;
	packet_send_and_kick(&packet);
	for (unsigned n = 0; n < frames; n++) {
		assert_int_equal(client_cookies_out(), pages + 1);
		assert_int_equal(fake_transmit(1), 1);
		e1000_tx_reclaim(dev->driver);
	}
	assert_int_equal(client_cookies_out(), 0);
}

// All or none, and in the ring's last slots as in its first.
static void super_segments_over_ipv6_fill_the_ring_and_wait(void **state)
{
	unsigned taken = 0, sent = fake_sent();
	fake_set_delayed(true);
	for (unsigned round = 0; round < 5; round++) {
		struct packet packet;
		int error = 0;
		while (!error) {
			packet_make(&packet, true, false, 44 * 1428 - 4, PAGE_SIZE);
			packet.offload.mss = 1428;
			error = packet_send(&packet);
			taken += !error;
		}
		assert_int_equal(error, -ENOBUFS);
		fake_transmit(-1);
		e1000_tx_reclaim(dev->driver);
		assert_int_equal(client_cookies_out(), packet.count);
		assert_int_equal(packet_send(&packet), 0);
		taken++;
	}
	dev->kick(dev);
	fake_transmit(-1);
	e1000_tx_reclaim(dev->driver);
	assert_int_equal(client_cookies_out(), 0);
	assert_true(taken >= 5 * 9);
	assert_int_equal(fake_sent() - sent, 44 * taken);
	for (unsigned n = sent; n < fake_sent(); n++)
		packet_assert_sums(fake_frame(n));
}

// The ring's end lies anywhere in them, and right behind them.
static void packets_cut_over_ipv6_end_anywhere_in_the_ring(void **state)
{
	for (unsigned n = 0; n < 4 * E1000_TX_RING; n++) {
		struct packet packet;
		unsigned sent = fake_sent(), segments = 1 + n % 7;
		packet_make(&packet, true, false, segments * 536 - n % 5, 300 + n % 300);
		packet.offload.mss = 536;
		if (n & 8) { // without options
			packet.offload.header_bytes = packet.frags[0].bytes = 54 + 20;
			packet.header[54 + 12] = 5 << 4;
		}
		packet_send_and_kick(&packet);
		assert_int_equal(fake_sent() - sent, segments);
		assert_int_equal(client_cookies_out(), 0);
		for (unsigned i = sent; i < fake_sent(); i++)
			packet_assert_sums(fake_frame(i));
		fake_forget_counts();
	}
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
	packet.frags[1].bytes = 16059; // 16125
	assert_int_equal(packet_send(&packet), -EINVAL);
	packet = good;
	packet.offload.mss = 1448;
	packet.offload.ipv6 = true;
	packet.offload.l4_offset = 54;
	packet.offload.header_bytes = 67; // longer than the first fragment
	assert_int_equal(packet_send(&packet), -EINVAL);
	packet.offload.header_bytes = 66; // less than TCP's
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
	    TEST(payload_in_the_first_fragment_is_cut_over_ipv6),
	    TEST(packets_cut_over_ipv6_end_anywhere_in_the_ring),
	    TEST(a_packet_cut_over_ipv6_is_released_when_all_is_out),
	    TEST(super_segments_over_ipv6_fill_the_ring_and_wait),
	    TEST(a_sentinel_follows_segmented_data_and_the_next_plain_packet),
	    TEST(fragments_over_a_descriptors_limit_are_cut),
	    TEST(a_last_piece_of_any_size_survives_the_sentinel),
	    TEST(packets_that_make_no_sense_are_refused_and_nothing_is_taken),
	    TEST(one_doorbell_sends_a_batch),
	};
	return cmocka_run_group_tests(tests, setup_group, NULL);
}
