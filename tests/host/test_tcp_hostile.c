// SPDX-License-Identifier: BSD-2-Clause
// What a hostile peer may try: none of it stops the machine, reads past a frame or grows without bound.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c net/netstat.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/kstat.h"
#include "lwip/etharp.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "netbed.h"
#include "netbed_private.h"
#include "shim.h"

static void send_page(struct bed_peer *peer, struct page *page, uint16_t len)
{
	assert_int_equal(pagebuf_write(peer->pcb, page, 0, len, false), ERR_OK);
	tcp_output(peer->pcb);
	stack_flush();
}

// The kind stands in the last byte of the header; the next byte of the frame is payload, and happens to
// be a length that makes an MSS of what follows.
static void an_option_without_its_length_is_not_read_past(void **state)
{
	static const uint8_t options[] = {1, 1, 1, 2}, payload[] = {4, 0, 100, 0};
	struct bed_peer *peer = bed_connect(1460, 65535);
	uint64_t before = lwip_stats.tcp.opterr;

	bed_send_options(peer, TCP_ACK, options, sizeof(options), payload, sizeof(payload));
	assert_int_equal(lwip_stats.tcp.opterr, before + 1);
	assert_int_equal(peer->received, sizeof(payload));
}

// The frame ends with the option's kind: reading on would leave the buffer's bytes.
static void an_option_at_the_end_of_the_frame(void **state)
{
	for (unsigned kind = 2; kind < 256; kind++) {
		const uint8_t options[] = {1, 1, 1, (uint8_t)kind};
		struct bed_peer *peer = bed_syn(options, sizeof(options), 65535);

		bed_next_tcp();
		bed_send(peer, TCP_RST, "", 0);
		assert_int_equal(lwip_stats.tcp.opterr > 0, 1);
		bed_peers_forget_one(peer);
	}
}

static void every_length_of_every_option(void **state)
{
	for (unsigned n = 0; n < 5000; n++) {
		uint8_t options[40];
		unsigned len = shim_random_below(11) * 4;
		struct bed_peer *peer;

		for (unsigned i = 0; i < len; i++)
			options[i] =
			    shim_random_below(4) ? shim_random_below(10) : shim_random_below(256);
		peer = bed_syn(options, len, 65535);
		bed_skip();
		bed_send(peer, TCP_RST, "", 0);
		bed_peers_forget_one(peer);
	}
}

static void an_mss_in_mid_connection_changes_nothing(void **state)
{
	static const uint8_t options[] = {2, 4, 0, 100};
	struct bed_peer *peer = bed_connect(1460, 65535);
	struct page *page = bed_page(1);

	assert_int_equal(pagebuf_write(peer->pcb, page, 0, 1000, true), ERR_OK);
	bed_send_options(peer, TCP_ACK, options, sizeof(options), "x", 1);
	assert_int_equal(peer->pcb->mss, 1460);
	send_page(peer, page, 1000);
	bed_page_done(page);
}

static void a_tiny_mss_has_a_floor(void **state)
{
	struct bed_peer *peer = bed_connect(1, 65535);
	struct page *page = bed_page(1);
	struct bed_segment segment;

	assert_int_equal(peer->pcb->mss, TCP_MIN_MSS);
	send_page(peer, page, PAGE_SIZE);
	bed_page_done(page);
	segment = bed_next_tcp();
	assert_int_equal(segment.len, TCP_MIN_MSS);
}

static void a_tiny_window_has_a_floor(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 4);
	struct page *page = bed_page(1);

	send_page(peer, page, PAGE_SIZE);
	bed_page_done(page);
	assert_in_range(peer->pcb->snd_queuelen, 1, 2 * PAGE_SIZE / TCP_MIN_MSS);
}

static void a_corrupt_segment_is_dropped(void **state)
{
	uint8_t frame[60] = {0x52, 0x54, 0, 0, 0,  1, 0x52, 0x54, 0,	   0,	 0,   2,    8,
			     0,	   0x45, 0, 0, 40, 0, 0,    0,	  0,	   64,	 6,   0x66, 0xce,
			     10,   0,	 0, 2, 10, 0, 0,    1,	  0x30,	   0x39, 0,   80,   0,
			     0,	   0,	 1, 0, 0,  0, 0,    0x50, TCP_SYN, 0xff, 0xff};
	uint64_t ip = lwip_stats.ip.chkerr, tcp = lwip_stats.tcp.chkerr;

	bed_receive(frame, sizeof(frame)); // the TCP checksum is 0
	assert_int_equal(lwip_stats.tcp.chkerr, tcp + 1);
	frame[24] ^= 1;
	bed_receive(frame, sizeof(frame));
	assert_int_equal(lwip_stats.ip.chkerr, ip + 1);
	assert_null(bed_next_tcp().packet);
}

// What lies behind a short ARP frame in its buffer must not become a table entry.
static void a_short_arp_packet_is_dropped(void **state)
{
	uint8_t frame[42] = {0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0,    0,    0,	 9, 8, 6,
			     0,	   1,	 8, 0, 6, 4, 0,	   1,	 0x52, 0x54, 0,	 0, 0, 9,
			     10,   0,	 0, 9, 0, 0, 0,	   0,	 0,    0,    10, 0, 0, 1};
	uint64_t before = lwip_stats.etharp.lenerr;

	for (unsigned bytes = 14; bytes < sizeof(frame); bytes++)
		bed_receive(frame, bytes);
	assert_true(lwip_stats.etharp.lenerr >= before + 27);
	assert_null(bed_next());
	bed_receive(frame, sizeof(frame));
	assert_non_null(bed_next()); // the reply
}

static void frames_of_noise(void **state)
{
	for (unsigned n = 0; n < 20000; n++) {
		uint8_t frame[128] = {0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2};
		static const uint16_t types[] = {0x0800, 0x0806, 0x86dd, 0x8100};
		uint16_t type = types[shim_random_below(4)];
		unsigned bytes = 14 + shim_random_below(sizeof(frame) - 14);

		frame[12] = type >> 8;
		frame[13] = type;
		for (unsigned i = 14; i < bytes; i++)
			frame[i] = shim_random();
		if (shim_random_below(4)) // more of it gets past the first checks
			frame[14] = type == 0x0800 ? 0x45 : 0x60;
		bed_receive(frame, bytes);
	}
	bed_skip();
}

static uint32_t near(uint32_t value)
{
	static const uint32_t steps[] = {1, 4, 1500, 70000, 0x80000000};

	return value + shim_random_below(steps[shim_random_below(ARRAY_SIZE(steps))]) -
	       shim_random_below(3);
}

// Looks at everything sent, so that ARP is answered.
static void look(void)
{
	while (bed_next_tcp().packet)
		;
}

// Well-formed segments with any flags, numbers, windows, options and data, on connections that have pages
// queued and sent.
static void segments_of_noise(void **state)
{
	static const uint16_t windows[] = {0, 1, 100, 65535};
	struct bed_peer *peer = NULL;
	struct page *page = bed_page(1);

	for (unsigned n = 0; n < 30000; n++) {
		uint8_t bytes[64], options[40];
		struct tcp_pcb *pcb;

		if (!peer || !peer->pcb || n % 200 == 0) {
			while (tcp_active_pcbs)
				tcp_abort(tcp_active_pcbs);
			bed_peers_forget();
			look();
			peer = bed_connect(shim_random_below(2) ? 1460 : 200, 65535);
		}
		pcb = peer->pcb;
		if (shim_random_below(3) == 0 && tcp_sndbuf(pcb) > 3000)
			pagebuf_write(pcb, page, 5, 1 + shim_random_below(2900), false);
		for (unsigned i = 0; i < sizeof(bytes); i++)
			bytes[i] = shim_random();
		for (unsigned i = 0; i < sizeof(options); i++)
			options[i] = shim_random_below(8);
		peer->seq = near(pcb->rcv_nxt);
		peer->ack = near(pcb->lastack);
		if (shim_random_below(3) == 0)
			peer->ack = pcb->snd_nxt;
		peer->window = windows[shim_random_below(ARRAY_SIZE(windows))];
		bed_send_options(peer, shim_random_below(4) ? TCP_ACK : shim_random_below(64),
				 options, shim_random_below(11) * 4, bytes,
				 shim_random_below(sizeof(bytes)));
		if (shim_random_below(10) == 0)
			shim_advance(shim_random_below(500) * NS_PER_MS);
		look();
	}
	bed_page_done(page);
}

// A blind RST must hit the next sequence number exactly (RFC 5961, 3.2).
static void a_reset_in_the_window_is_challenged(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	struct bed_segment challenge;

	peer->seq += 1000;
	bed_send(peer, TCP_RST, "", 0);
	assert_non_null(peer->pcb);
	challenge = bed_next_tcp();
	assert_int_equal(challenge.flags, TCP_ACK);
	peer->seq -= 1000;
	bed_send(peer, TCP_RST, "", 0);
	assert_null(peer->pcb);
}

static void half_open_connections_go_away(void **state)
{
	for (unsigned i = 0; i < 50; i++)
		bed_syn("", 0, 65535);
	assert_int_equal(kstat_get("pagewire_tcp_connections_half_open", NULL), 50);
	for (unsigned i = 0; i < 70; i++) {
		shim_advance(NS_PER_SEC);
		bed_skip();
	}
	assert_int_equal(kstat_get("pagewire_tcp_connections_half_open", NULL), 0);
	bed_skip();
}

// Kept by the server, which takes nothing, so that the window closes.
static struct pbuf *kept;

static err_t keep(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	if (p && kept)
		pbuf_cat(kept, p);
	else if (p)
		kept = p;
	return ERR_OK;
}

// What lies out of order reaches beyond the window's end; then all that is before it comes.
static void a_segment_out_of_order_ends_where_the_window_does(void **state)
{
	static const uint8_t data[1460];

	for (unsigned way = 0; way < 3; way++) {
		struct bed_peer *peer = bed_connect(1460, 65535);
		uint32_t start = peer->seq, left = peer->pcb->rcv_wnd - 10;

		tcp_recv(peer->pcb, keep);
		if (way == 1) { // in front of another
			peer->seq = start + left + 5;
			bed_send(peer, TCP_ACK, data, 20);
		} else if (way == 2) { // behind another
			peer->seq = start + left - 100;
			bed_send(peer, TCP_ACK, data, 50);
		}
		peer->seq = start + left;
		bed_send(peer, TCP_ACK | TCP_FIN, data, 1000);
		for (peer->seq = start; left;) {
			uint32_t n = MIN(left, (uint32_t)sizeof(data));

			bed_send(peer, TCP_ACK, data, n);
			left -= n;
		}
		bed_skip();
		assert_non_null(peer->pcb);
		assert_int_equal(peer->pcb->state, ESTABLISHED); // the FIN was beyond
		assert_int_equal(peer->pcb->rcv_wnd, 0);
		assert_int_equal(peer->pcb->rcv_nxt, start + 65535);
		tcp_abort(peer->pcb);
		pbuf_free(kept);
		kept = NULL;
		bed_skip();
	}
}

// A FIN out of order, and then data in order up to the window's end, beyond that FIN.
static void data_behind_a_fin_out_of_order_fills_the_window(void **state)
{
	static const uint8_t data[1460];

	for (unsigned way = 0; way < 2; way++) {
		struct bed_peer *peer = bed_connect(1460, 65535);
		uint32_t start = peer->seq, right = start + peer->pcb->rcv_wnd, at = right - 1000;

		tcp_recv(peer->pcb, keep);
		while (peer->seq != at)
			bed_send(peer, TCP_ACK, data, MIN(at - peer->seq, (uint32_t)sizeof(data)));
		peer->seq = at + 500;
		bed_send(peer, TCP_ACK | TCP_FIN, data, 10);
		if (way) { // what holds the FIN is itself out of order
			peer->seq = at + 400;
			bed_send(peer, TCP_ACK, data, 600);
		}
		peer->seq = at;
		bed_send(peer, TCP_ACK, data, way ? 400 : 1000);
		bed_skip();
		assert_non_null(peer->pcb);
		assert_true(TCP_SEQ_LEQ(peer->pcb->rcv_nxt, right));
		tcp_abort(peer->pcb);
		pbuf_free(kept);
		kept = NULL;
		bed_skip();
	}
}

// Data and FINs that overlap in every way, near a window's end, while the server takes some of it.
static void segments_at_random_about_the_windows_end(void **state)
{
	static const uint8_t data[1460];

	for (unsigned n = 0; n < 400; n++) {
		struct bed_peer *peer = bed_connect(1460, 65535);
		uint32_t start = peer->seq, right = start + peer->pcb->rcv_wnd, at;

		tcp_recv(peer->pcb, keep);
		for (at = right - 1500; peer->seq != at;)
			bed_send(peer, TCP_ACK, data, MIN(at - peer->seq, (uint32_t)sizeof(data)));
		for (unsigned k = 0; k < 25 && peer->pcb; k++) {
			uint8_t flags = shim_random_below(8) ? TCP_ACK : TCP_ACK | TCP_FIN;
			bool whole = !shim_random_below(4);

			peer->seq = (whole ? at : at - 100) + shim_random_below(17) * 100;
			bed_send(peer, flags, data, shim_random_below(13) * 100);
			if (peer->pcb && kept && !shim_random_below(6)) {
				tcp_recved(peer->pcb, (uint16_t)shim_random_below(400));
				stack_flush();
			}
		}
		if (peer->pcb)
			tcp_abort(peer->pcb);
		pbuf_free(kept);
		kept = NULL;
		bed_skip();
		bed_peers_forget_one(peer);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_option_without_its_length_is_not_read_past),
	    TEST(an_option_at_the_end_of_the_frame),
	    TEST(every_length_of_every_option),
	    TEST(an_mss_in_mid_connection_changes_nothing),
	    TEST(a_tiny_mss_has_a_floor),
	    TEST(a_tiny_window_has_a_floor),
	    TEST(a_corrupt_segment_is_dropped),
	    TEST(a_short_arp_packet_is_dropped),
	    TEST(frames_of_noise),
	    TEST(segments_of_noise),
	    TEST(a_reset_in_the_window_is_challenged),
	    TEST(half_open_connections_go_away),
	    TEST(a_segment_out_of_order_ends_where_the_window_does),
	    TEST(data_behind_a_fin_out_of_order_fills_the_window),
	    TEST(segments_at_random_about_the_windows_end),
	};
	return cmocka_run_group_tests_name("tcp_hostile", tests, bed_group_setup,
					   bed_group_teardown);
}
