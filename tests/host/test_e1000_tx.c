// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: drivers/e1000_init.c drivers/e1000_link.c drivers/e1000_rx.c drivers/e1000_tx.c drivers/e1000_late.c drivers/e1000_stats.c kernel/netdev_list.c tests/host/fake_e1000.c tests/host/fake_e1000_client.c kernel/string.c
// The e1000 driver sending: descriptors, contexts, checksum seeds, the ring, reclaim, link loss.
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
static struct page *head_page, *data_pages; // 1 page of headers, 32 pages of payload (contiguous)

static int setup_group(void **state)
{
	shim_init(4096);
	fake_plug(0x100e);
	dev = fake_netdev();
	client_attach(dev);
	return 0;
}

static int setup(void **state)
{
	head_page = pmm_alloc(0);
	data_pages = pmm_alloc(5);
	uint8_t *data = page_virt(data_pages);
	for (unsigned n = 0; n < 32 * PAGE_SIZE; n++)
		data[n] = (uint8_t)shim_random();
	fake_reset();
	client_start();
	assert_true(client.link);
	return 0;
}

static int teardown(void **state)
{
	client_finish();
	pmm_free(head_page, 0);
	pmm_free(data_pages, 5);
	return 0;
}

// ---- packets ----

struct packet {
	struct netfrag frags[NETDEV_MAX_FRAGS];
	unsigned count;
	uint32_t bytes;
	struct netoffload offload;
	uint8_t *header;
};

static void be16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static unsigned rd16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static uint32_t rd32(const uint8_t *p)
{
	return (uint32_t)rd16(p) << 16 | rd16(p + 2);
}

static void add(struct packet *packet, paddr_t addr, uint32_t bytes)
{
	packet->frags[packet->count++] =
	    (struct netfrag){.addr = addr, .bytes = bytes, .cookie = client_cookie()};
	packet->bytes += bytes;
}

// A TCP or UDP header with `payload` bytes of page data behind it, cut every `step` bytes.
static void make(struct packet *packet, bool ipv6, bool udp, uint32_t payload, uint32_t step)
{
	*packet = (struct packet){0};
	uint8_t *h = packet->header = page_virt(head_page) + 64 + 2 * shim_random_below(8);
	unsigned l4 = ipv6 ? 54 : 34, end = l4 + (udp ? 8 : 32), l4_bytes = end - l4 + payload;
	for (unsigned n = 0; n < end; n++)
		h[n] = (uint8_t)shim_random();
	be16(h + 12, ipv6 ? 0x86dd : 0x0800);
	h[14] = ipv6 ? 0x60 : 0x45;
	if (ipv6) {
		be16(h + 18, l4_bytes);
		h[20] = udp ? 17 : 6;
	} else {
		be16(h + 16, 20 + l4_bytes);
		be16(h + 20, 0x4000);
		h[23] = udp ? 17 : 6;
	}
	if (udp)
		be16(h + l4 + 4, l4_bytes);
	else
		h[l4 + 12] = 8 << 4;
	packet->offload = (struct netoffload){.ip_csum = !ipv6,
					      .l4_csum = true,
					      .ipv6 = ipv6,
					      .udp = udp,
					      .l3_offset = 14,
					      .l4_offset = (uint16_t)l4,
					      .header_bytes = (uint16_t)end};
	add(packet, virt_to_phys(h), end);
	for (uint32_t at = 0; at < payload; at += step)
		add(packet, page_phys(data_pages) + at, MIN(step, payload - at));
}

static int send(struct packet *packet)
{
	return dev->transmit(dev, packet->frags, packet->count, &packet->offload);
}

static void send_and_kick(struct packet *packet)
{
	assert_int_equal(send(packet), 0);
	dev->kick(dev);
}

// RFC 1071 over the whole, in plain steps.
static uint32_t sum(const uint8_t *p, unsigned bytes, uint32_t start)
{
	for (unsigned n = 0; n < bytes; n++)
		start += n % 2 ? p[n] : (uint32_t)p[n] << 8;
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return start;
}

static void assert_sums_right(const struct fake_frame *frame)
{
	const uint8_t *ip = frame->data + 14;
	bool ipv6 = rd16(frame->data + 12) == 0x86dd;
	unsigned l4 = ipv6 ? 40 : 20, l4_bytes = frame->bytes - 14 - l4;
	uint8_t protocol = ip[ipv6 ? 6 : 9];
	uint32_t pseudo = sum(ip + (ipv6 ? 8 : 12), ipv6 ? 32 : 8, protocol + l4_bytes);
	if (!ipv6) {
		assert_int_equal(sum(ip, 20, 0), 0xffff);
		assert_int_equal(rd16(ip + 2), frame->bytes - 14);
	}
	assert_int_equal(sum(ip + l4, l4_bytes, pseudo), 0xffff);
}

static void assert_payload(const struct fake_frame *frame, unsigned header, unsigned at)
{
	assert_memory_equal(frame->data + header, (uint8_t *)page_virt(data_pages) + at,
			    frame->bytes - header);
}

// ---- what goes out ----

static void a_raw_frame_goes_out_as_it_is(void **state)
{
	uint8_t *arp = page_virt(head_page);
	for (unsigned n = 0; n < 42; n++)
		arp[n] = (uint8_t)n;
	struct netfrag frag = {page_phys(head_page), 42, client_cookie()};
	assert_int_equal(dev->transmit(dev, &frag, 1, NULL), 0);
	assert_int_equal(fake_sent(), 0); // not before the kick
	dev->kick(dev);
	assert_int_equal(fake_sent(), 1);
	assert_int_equal(fake_frame(0)->bytes, 42);
	assert_memory_equal(fake_frame(0)->data, arp, 42);
	assert_int_equal(fake_contexts(), 0);
	assert_int_equal(client_cookies_out(), 0);
}

static void checksums_are_right_for_tcp_and_udp_over_ipv4_and_ipv6(void **state)
{
	static const uint32_t sizes[] = {0, 1, 2, 3, 100, 535, 1001, 1400, 1426};
	for (unsigned kind = 0; kind < 4; kind++) {
		for (unsigned n = 0; n < ARRAY_SIZE(sizes); n++) {
			for (unsigned step = 333; step < 2000; step += 601) {
				struct packet packet;
				unsigned sent = fake_sent();
				make(&packet, kind & 1, kind & 2, sizes[n], step);
				send_and_kick(&packet);
				assert_int_equal(fake_sent(), sent + 1);
				assert_int_equal(fake_frame(sent)->bytes, packet.bytes);
				assert_sums_right(fake_frame(sent));
				assert_payload(fake_frame(sent), packet.offload.header_bytes, 0);
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
			make(&packet, kind & 1, kind & 2, 1200, 1200);
			memset(packet.header + (kind & 1 ? 22 : 26), (int)byte, kind & 1 ? 32 : 8);
			send_and_kick(&packet);
			assert_sums_right(fake_frame(sent));
		}
	}
}

static void only_the_ip_sum_is_inserted_when_only_that_is_asked(void **state)
{
	struct packet packet;
	make(&packet, false, true, 64, 64);
	packet.offload.l4_csum = false;
	uint8_t before[2] = {packet.header[40], packet.header[41]};
	send_and_kick(&packet);
	const struct fake_frame *frame = fake_frame(0);
	assert_int_equal(sum(frame->data + 14, 20, 0), 0xffff);
	assert_memory_equal(frame->data + 40, before, 2);
}

static void a_context_is_written_once_while_nothing_changes(void **state)
{
	struct packet packet;
	for (unsigned n = 0; n < 10; n++) {
		make(&packet, false, false, 100 * n, 400);
		send_and_kick(&packet);
	}
	assert_int_equal(fake_contexts(), 1);
	make(&packet, false, true, 10, 10);
	send_and_kick(&packet);
	make(&packet, true, false, 10, 10);
	send_and_kick(&packet);
	make(&packet, false, false, 10, 10);
	send_and_kick(&packet);
	assert_int_equal(fake_contexts(), 4);
	for (unsigned n = 0; n < fake_sent(); n++)
		assert_sums_right(fake_frame(n));
}

static void a_segmentation_context_does_not_disturb_the_plain_one(void **state)
{
	struct packet packet;
	for (unsigned n = 0; n < 6; n++) {
		make(&packet, false, false, n % 2 ? 4000 : 0, PAGE_SIZE);
		packet.offload.mss = n % 2 ? 1448 : 0;
		send_and_kick(&packet);
	}
	assert_int_equal(fake_contexts(), 2);
	for (unsigned n = 0; n < fake_sent(); n++)
		assert_sums_right(fake_frame(n));
}

static void check_segments(uint32_t payload, uint16_t mss)
{
	struct packet packet;
	unsigned first = fake_sent(), segments = (payload + mss - 1) / mss;
	make(&packet, false, false, payload, PAGE_SIZE);
	packet.offload.mss = mss;
	packet.header[34 + 13] = 0x19; // ACK, PSH, FIN
	uint32_t sequence = rd32(packet.header + 38);
	unsigned id = rd16(packet.header + 18);
	send_and_kick(&packet);
	assert_int_equal(fake_sent() - first, segments);
	for (unsigned n = 0; n < segments; n++) {
		const struct fake_frame *frame = fake_frame(first + n);
		assert_sums_right(frame);
		assert_int_equal(rd32(frame->data + 38), sequence + n * mss);
		assert_int_equal(rd16(frame->data + 18), (id + n) & 0xffff);
		assert_int_equal(frame->data[34 + 13], n == segments - 1 ? 0x19 : 0x10);
		assert_payload(frame, 66, n * mss);
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
	make(&packet, false, false, 0, 1);
	send_and_kick(&packet);
	assert_int_equal(fake_descriptors(), 2); // context, header
	make(&packet, false, false, 8000, PAGE_SIZE);
	packet.offload.mss = 1448;
	send_and_kick(&packet);
	assert_int_equal(fake_descriptors(), 2 + 5); // context, header, two pages, sentinel
	for (unsigned n = 0; n < 2; n++) {
		make(&packet, false, false, 0, 1);
		send_and_kick(&packet);
	}
	assert_int_equal(fake_descriptors(), 2 + 5 + 2 + 1);
}

static void fragments_over_a_descriptors_limit_are_cut(void **state)
{
	struct packet packet;
	make(&packet, false, false, 60001, 20001);
	packet.offload.mss = 1448;
	send_and_kick(&packet);
	for (unsigned n = 0; n < fake_sent(); n++)
		assert_sums_right(fake_frame(n));
	assert_payload(fake_frame(41), 66, 41 * 1448);
	assert_int_equal(client_cookies_out(), 0);
}

static void packets_that_make_no_sense_are_refused_and_nothing_is_taken(void **state)
{
	struct packet good, packet;
	make(&good, false, false, 1000, 1000);
	unsigned out = client_cookies_out();
	packet = good;
	packet.frags[1].bytes = 0;
	assert_int_equal(send(&packet), -EINVAL);
	packet = good;
	packet.offload.header_bytes = 67; // longer than the first fragment
	assert_int_equal(send(&packet), -EINVAL);
	packet = good;
	packet.offload.l4_offset = 30;
	assert_int_equal(send(&packet), -EINVAL);
	packet = good;
	packet.frags[1].bytes = 1453; // 1519
	assert_int_equal(send(&packet), -EINVAL);
	packet = good;
	packet.offload.mss = 1448;
	packet.offload.ipv6 = true; // the card cannot
	packet.offload.l4_offset = 54;
	packet.offload.header_bytes = 66;
	assert_int_equal(send(&packet), -EINVAL);
	assert_int_equal(dev->transmit(dev, good.frags, 0, NULL), -EINVAL);
	assert_int_equal(dev->transmit(dev, good.frags, NETDEV_MAX_FRAGS + 1, NULL), -EINVAL);
	dev->kick(dev);
	assert_int_equal(fake_sent(), 0);
	assert_int_equal(fake_writes(E1000_TDT), 0);
	assert_int_equal(client_cookies_out(), out);
	send_and_kick(&good);
	assert_int_equal(client_cookies_out(), 0);
}

static void one_doorbell_sends_a_batch(void **state)
{
	struct packet packet;
	make(&packet, false, false, 500, 100);
	for (unsigned n = 0; n < 50; n++) {
		if (n)
			for (unsigned f = 0; f < packet.count; f++)
				packet.frags[f].cookie = client_cookie();
		assert_int_equal(send(&packet), 0);
	}
	unsigned reads = fake_reads();
	dev->kick(dev);
	dev->kick(dev);
	assert_int_equal(fake_writes(E1000_TDT), 1);
	assert_int_equal(fake_reads(), reads);
	assert_int_equal(fake_sent(), 50);
	assert_int_equal(client_cookies_out(), 0);
}

// ---- the ring ----

static void random_packets_wrap_the_ring_and_each_cookie_comes_back_once(void **state)
{
	fake_set_delayed(true);
	unsigned accepted = 0, made = 0;
	for (unsigned round = 0; round < 6000; round++) {
		struct packet packet;
		bool big = !shim_random_below(8);
		make(&packet, !big && shim_random_below(2), !big && shim_random_below(2),
		     big ? 1 + (uint32_t)shim_random_below(30000)
			 : (uint32_t)shim_random_below(1400),
		     1 + (uint32_t)shim_random_below(big ? PAGE_SIZE : 700) + (big ? 600 : 40));
		packet.offload.mss = big ? 1448 : 0;
		made = packet.count;
		int result = send(&packet);
		if (result == -ENOBUFS) {
			fake_transmit(-1);
			shim_advance(MS);
			result = send(&packet);
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
				assert_sums_right(fake_frame(n));
			fake_transmit(-1);
			fake_reset_frames();
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
	refused_result = send(&refused);
	dev->kick(dev);
}

static void a_full_ring_takes_all_of_a_packet_or_nothing_and_tells_when_there_is_room(void **state)
{
	fake_set_delayed(true);
	unsigned taken = 0;
	int result;
	for (;;) {
		make(&refused, false, false, 1400, 200); // 8 descriptors
		result = send(&refused);
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
		make(&packet, false, false, 1400, 200);
		assert_int_equal(send(&packet), 0);
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
	make(&packet, false, false, 1000, 1000);
	send_and_kick(&packet);
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
	make(&packet, false, false, 1000, 1000);
	send_and_kick(&packet);
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
		make(&packet, false, false, 1000, 100);
		assert_int_equal(send(&packet), 0);
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
	make(&packet, false, false, 0, 1);
	assert_int_equal(send(&packet), -ENODEV);
	fake_set_link(true);
	shim_run();
	assert_true(client.link);
	send_and_kick(&packet);
	assert_int_equal(fake_sent(), 1);
	assert_int_equal(client.link_calls, 3); // start, loss, return
}

static void link_loss_releases_what_waits_for_the_doorbell_and_what_waits_for_the_wire(void **state)
{
	struct packet packet;
	fake_set_delayed(true);
	for (unsigned n = 0; n < 20; n++) {
		make(&packet, false, false, 1000, 300);
		assert_int_equal(send(&packet), 0);
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
	make(&packet, false, false, 1000, 300);
	send_and_kick(&packet);
	assert_int_equal(fake_sent(), 4);
	assert_sums_right(fake_frame(3));
	fake_receive(fake_frame(3)->data, 1000);
	shim_run();
	assert_int_equal(client.inputs, 1);
}

static void a_short_link_loss_with_all_packets_done_needs_no_reset(void **state)
{
	struct packet packet;
	uint64_t restarts = e1000_stats.restarts;
	fake_set_delayed(true);
	make(&packet, false, false, 1000, 300);
	send_and_kick(&packet);
	fake_set_link(false);
	shim_run();
	fake_set_link(true);
	fake_transmit_stopped();
	shim_advance(20 * MS);
	assert_true(client.link);
	assert_int_equal(client_cookies_out(), 0);
	assert_int_equal(e1000_stats.restarts, restarts);
}

static void a_card_that_hangs_is_restarted_and_gives_everything_back(void **state)
{
	struct packet packet;
	fake_set_hung(true);
	make(&packet, false, false, 1000, 300);
	send_and_kick(&packet);
	shim_advance(4900 * MS);
	assert_int_equal(client_cookies_out(), 5);
	shim_advance(200 * MS);
	assert_int_equal(client_cookies_out(), 0);
	assert_true(client.link);
	fake_set_hung(false);
	make(&packet, false, false, 1000, 300);
	send_and_kick(&packet);
	assert_int_equal(fake_sent(), 1);
	assert_int_equal(client.out, 255);
}

static void a_long_idle_time_is_not_a_hang(void **state)
{
	struct packet packet;
	uint64_t restarts = e1000_stats.restarts;
	fake_set_delayed(true);
	for (unsigned n = 0; n < 5; n++) {
		make(&packet, false, false, 0, 1);
		send_and_kick(&packet);
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
		make(&packet, false, false, 1000, 300);
		send_and_kick(&packet);
	}
	dev->stop(dev);
	assert_int_equal(client_cookies_out(), 0);
	assert_int_equal(client.out, 0);
	assert_int_equal(send(&packet), -ENODEV);
	fake_set_delayed(false);
	assert_int_equal(dev->start(dev), 0);
	assert_int_equal(dev->start(dev), -EBUSY);
	shim_run();
	make(&packet, false, false, 1000, 300);
	send_and_kick(&packet);
	assert_int_equal(fake_sent(), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
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
	    TEST(packets_that_make_no_sense_are_refused_and_nothing_is_taken),
	    TEST(one_doorbell_sends_a_batch),
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
