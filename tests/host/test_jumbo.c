// SPDX-License-Identifier: BSD-2-Clause
// The stack on a link whose packets have up to 9,000 bytes: frames that lie in several receive buffers, and segments
// that are longer than Ethernet's usual ones.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/kstat.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/udp.h"
#include "net/iface.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"

#define FULL 8960U // MTU 9000 without IPv4's and TCP's headers

static uint8_t bytes[65536];

static int setup_group(void **state)
{
	bed_mtu = "9000";
	for (unsigned n = 0; n < sizeof(bytes); n++)
		bytes[n] = (uint8_t)shim_random();
	return bed_group_setup(state);
}

// A peer that is sent to, and whose own segments arrive in long frames.
static void a_syn_offers_what_the_link_takes(void **state)
{
	const uint8_t options[] = {2, 4, 0x22, 0xf4}; // 8948
	struct bed_peer *peer = bed_syn(options, sizeof(options), 65535);
	struct bed_segment syn_ack = bed_next_tcp();

	assert_int_equal(syn_ack.mss, FULL);
	peer->ack = syn_ack.seq + 1;
	bed_ack(peer, peer->ack);
	assert_int_equal(peer->pcb->mss, 8948);
	// RFC 6928, 2: two segments, where ten would be more than 14,600 bytes
	assert_int_equal(peer->pcb->cwnd, 2 * 8948);
	assert_int_equal(bed_connect(1460, 65535)->pcb->mss, 1460);
	assert_int_equal(bed_connect(16070, 65535)->pcb->mss, FULL);
}

// What the server's recv callback was given, and what it should have been.
static uint32_t at;
static err_t compare(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	assert_non_null(p);
	for (struct pbuf *q = p; q; q = q->next) {
		assert_memory_equal(q->payload, bytes + at, q->len);
		at += q->len;
	}
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	return ERR_OK;
}

static void data_in_long_frames_arrives_without_a_copy(void **state)
{
	static const uint32_t lengths[] = {8960, 1994, 1995, 2000, 4042, 4043, 1, 8960, 1460, 5000};
	uint64_t copied = kstat_get("pagewire_rx_copied_aside_total", NULL);

	for (unsigned kind = 0; kind < 4; kind++) {
		struct bed_peer *peer;

		bed.ipv6 = kind & 1;
		bed_skip();
		peer = bed_connect(8900, 65535);
		bed.batch = kind & 2;
		at = 0;
		tcp_recv(peer->pcb, compare);
		for (unsigned i = 0, from = 0; i < ARRAY_SIZE(lengths); from += lengths[i++]) {
			uint32_t n = MIN(lengths[i], bed.ipv6 ? FULL - 20 : FULL);

			bed_send(peer, TCP_ACK | TCP_PSH, bytes + from, n);
			if (n != lengths[i])
				bed_send(peer, TCP_ACK, bytes + from + n, lengths[i] - n);
			if (bed.batch)
				bed_batch_end();
		}
		bed.batch = false;
		assert_int_equal(at, 8960 * 2 + 1994 + 1995 + 2000 + 4042 + 4043 + 1 + 1460 + 5000);
		assert_int_equal(peer->pcb->rcv_wnd, TCP_WND_MAX(peer->pcb));
	}
	bed.ipv6 = false;
	assert_int_equal(kstat_get("pagewire_rx_copied_aside_total", NULL), copied);
}

// Segments one before the other, twice, and half of one over the other half.
static void long_segments_in_any_order(void **state)
{
	struct bed_peer *peer = bed_connect(FULL, 65535);
	uint32_t first = peer->seq;

	at = 0;
	tcp_recv(peer->pcb, compare);
	for (unsigned n = 7; n-- > 1;) {
		peer->seq = first + n * FULL / 2;
		bed_send(peer, TCP_ACK, bytes + n * FULL / 2, FULL);
	}
	assert_int_equal(at, 0);
	peer->seq = first + 3 * FULL;
	bed_send(peer, TCP_ACK, bytes + 3 * FULL, FULL);
	peer->seq = first;
	bed_send(peer, TCP_ACK, bytes, FULL);
	assert_int_equal(at, 4 * FULL);
	assert_int_equal(peer->pcb->rcv_nxt, first + 4 * FULL);
	assert_null(peer->pcb->ooseq);
}

// A checksum that is wrong in the last of five buffers.
static uint32_t harm(uint8_t *frame, uint32_t length)
{
	frame[length - 1] ^= 1;
	return length;
}

static void a_long_frame_that_is_wrong_is_dropped(void **state)
{
	struct bed_peer *peer = bed_connect(FULL, 65535);
	uint32_t first = peer->seq;

	at = 0;
	tcp_recv(peer->pcb, compare);
	bed_harm = harm;
	bed_send(peer, TCP_ACK, bytes, FULL);
	bed_harm = NULL;
	assert_int_equal(at, 0);
	peer->seq = first;
	bed_send(peer, TCP_ACK, bytes, FULL);
	assert_int_equal(at, FULL);
}

static void a_frame_that_turns_out_to_be_none_leaves_nothing(void **state)
{
	struct bed_peer *peer = bed_connect(FULL, 65535);
	uint64_t before = kstat_get("pagewire_rx_buffers", "place=\"held\""),
		 seen = kstat_get("pagewire_net_rx_long_frames_total", NULL);

	at = 0;
	tcp_recv(peer->pcb, compare);
	for (unsigned parts = 1; parts <= 5; parts++) {
		bed_receive_parts(bytes, 9014, parts, false);
		assert_int_equal(kstat_get("pagewire_rx_buffers", "place=\"held\""), before);
		bed_send(peer, TCP_ACK, bytes + at, 3000);
		assert_int_equal(at, parts * 3000);
	}
	assert_int_equal(kstat_get("pagewire_net_rx_long_frames_total", NULL), seen + 5);
}

static void segments_are_as_long_as_the_link_takes(void **state)
{
	for (unsigned kind = 0; kind < 2; kind++) {
		struct bed_peer *peer;
		struct bed_segment segment;

		bed.ipv6 = kind & 1;
		peer = bed_connect(FULL, 65535);
		for (unsigned i = 0; i < 8; i++) {
			struct page *page = bed_page((uint8_t)i);

			assert_int_equal(pagebuf_write(peer->pcb, page, 0, PAGE_SIZE, i < 7),
					 ERR_OK);
			bed_page_done(page);
		}
		tcp_output(peer->pcb);
		stack_flush();
		segment = bed_next_tcp();
		assert_int_equal(segment.packet->bytes, 9014);
		for (uint32_t n = 0; n < segment.len; n++)
			assert_int_equal(segment.data[n],
					 bed_pattern((uint8_t)(n / PAGE_SIZE), n % PAGE_SIZE));
		segment = bed_next_tcp();
		assert_int_equal(segment.packet->bytes, 9014);
		assert_null(bed_next_tcp().packet); // the window of two segments
	}
	bed.ipv6 = false;
}

// More of it than there may be large pieces of memory.
static void generated_bytes_lie_in_usual_pieces(void **state)
{
	struct bed_peer *peer = bed_connect(FULL, 65535);

	for (unsigned n = 0; n < 10; n++)
		assert_int_equal(genbuf_write(peer->pcb, bytes + n * 20000 % 40000, 20000, n < 9),
				 ERR_OK);
	assert_int_equal(kstat_get("pagewire_net_large_buffers", NULL), 0);
	tcp_output(peer->pcb);
	stack_flush();
	for (uint32_t got = 0; got < 2 * FULL;) {
		struct bed_segment segment = bed_next_tcp();

		if (!segment.packet)
			break;
		assert_memory_equal(segment.data, bytes + got,
				    MIN(segment.len, 20000 - got % 20000));
		got += segment.len;
		for (unsigned i = 0; i < segment.packet->count; i++)
			assert_in_range(segment.packet->frags[i].bytes, 1, TCP_COPY_MOST + 66);
	}
}

static void what_is_longer_than_the_link_takes_goes_in_fragments(void **state)
{
	struct udp_pcb *pcb = udp_new();
	struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, 20000, PBUF_RAM);
	uint32_t total = 0, frames = 0;
	ip_addr_t to;

	bed_connect(FULL, 65535); // its address is known now
	bed_skip();
	memcpy(p->payload, bytes, p->tot_len);
	IP_ADDR4(&to, 10, 0, 0, 2);
	assert_int_equal(udp_sendto(pcb, p, &to, 9), ERR_OK);
	stack_flush();
	for (struct bed_packet *packet; (packet = bed_next()); frames++) {
		assert_in_range(packet->bytes, 100, 9014);
		total += packet->bytes - 34;
	}
	assert_int_equal(total, 20008);
	assert_int_equal(frames, 3);
	pbuf_free(p);
	udp_remove(pcb);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_syn_offers_what_the_link_takes),
	    TEST(data_in_long_frames_arrives_without_a_copy),
	    TEST(long_segments_in_any_order),
	    TEST(a_long_frame_that_is_wrong_is_dropped),
	    TEST(a_frame_that_turns_out_to_be_none_leaves_nothing),
	    TEST(segments_are_as_long_as_the_link_takes),
	    TEST(generated_bytes_lie_in_usual_pieces),
	    TEST(what_is_longer_than_the_link_takes_goes_in_fragments),
	};
	return cmocka_run_group_tests_name("jumbo", tests, setup_group, bed_group_teardown);
}
