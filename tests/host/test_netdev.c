// SPDX-License-Identifier: BSD-2-Clause
// Between the stack and the card: full rings, lost links, offload flags, receive buffers running low.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// SOURCES: net/netstat.c net/lwip/memory.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/kstat.h"
#include "lwip/icmp.h"
#include "lwip/priv/tcp_priv.h"
#include "net/flow.h"
#include "net/iface.h"
#include "net/pagebuf.h"
#include "net/rxpool.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"

static void send_pages(struct bed_peer *peer, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++) {
		struct page *page = bed_page(i);

		assert_int_equal(pagebuf_write(peer->pcb, page, 0, 1460, true), ERR_OK);
		bed_page_done(page);
	}
	tcp_output(peer->pcb);
	stack_flush();
}

// ---- sending ----------------------------------------------------------------------------------------

static void a_full_ring_keeps_the_order(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	uint32_t next = bed_iss(peer);
	struct bed_segment segment;

	bed.manual = true;
	bed.ring_room = 2;
	send_pages(peer, 10);
	assert_int_equal(bed_outstanding(), 2);
	assert_int_equal(kstat_get("pagewire_net_tx_queue_packets", NULL), 8);
	for (unsigned i = 0; i < 10; i++) {
		segment = bed_next_tcp();
		assert_int_equal(segment.seq, next);
		next += segment.len;
		bed_complete(segment.packet);
	}
	assert_int_equal(kstat_get("pagewire_net_tx_queue_packets", NULL), 0);
	assert_int_equal(bed_pages_released, 0);
	bed_ack(peer, next);
	assert_int_equal(bed_pages_released, 10);
}

static void get_while_ring_full(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535), *other = bed_connect(1460, 65535);

	bed.manual = true;
	bed.ring_room = 1;
	send_pages(peer, 10);
	bed_send(other, TCP_ACK, "GET", 3);
	assert_int_equal(other->received, 3);
	bed_complete_all();
	bed.ring_room = 1000;
	bed_complete_all();
}

// Segments wait in the queue; their connection dies; the card gets them all the same, and they are
// unlocked after that.
static void rst_while_packets_wait(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);

	bed.manual = true;
	bed.ring_room = 2;
	send_pages(peer, 10);
	bed_send(peer, TCP_RST, "", 0);
	assert_null(peer->pcb);
	assert_int_equal(bed_pages_released, 0);
	bed_complete_all();
	assert_int_equal(bed_pages_released, 10);
}

#define BUSY 26 // connections with a full window of 44 segments: more than the queue's 1,024

static void what_does_not_fit_the_queue_stays_with_tcp(void **state)
{
	struct bed_peer *peers[BUSY];
	uint64_t refused = kstat_get("pagewire_net_tx_refused_total", NULL), handed = bed.handed;

	for (unsigned i = 0; i < BUSY; i++)
		peers[i] = bed_connect(1460, 65535);
	bed.manual = true;
	bed.ring_room = 0;
	for (unsigned i = 0; i < BUSY; i++) {
		peers[i]->pcb->cwnd = peers[i]->pcb->ssthresh = 1 << 20;
		send_pages(peers[i], 44);
	}
	assert_true(kstat_get("pagewire_net_tx_refused_total", NULL) > refused);
	assert_int_equal(kstat_get("pagewire_net_tx_queue_packets", NULL), 1024);
	handed = bed.handed;
	bed.ring_room = 2000;
	bed.card.client->tx_room(bed.card.client_ctx);
	shim_run();
	// No timer was needed: what had been refused was sent as soon as there was room.
	assert_int_equal(bed.handed, handed + BUSY * 44);
	for (unsigned i = 0; i < BUSY; i++)
		assert_null(peers[i]->pcb->unsent);
	bed_skip();
}

static void a_lost_link_gives_everything_back(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	uint64_t dropped = kstat_get("pagewire_net_tx_dropped_total", NULL);

	bed.manual = true;
	bed.ring_room = 2;
	send_pages(peer, 10);
	bed_link(false);
	assert_int_equal(kstat_get("pagewire_net_tx_dropped_total", NULL), dropped + 8);
	tcp_abort(peer->pcb);
	assert_int_equal(bed_pages_released, 8);
	bed_complete_all();
	assert_int_equal(bed_pages_released, 10);
}

static void a_connection_survives_a_short_loss_of_link(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	struct bed_segment segment;

	bed_link(false);
	send_pages(peer, 1);
	shim_advance(NS_PER_SEC);
	bed_link(true);
	for (unsigned i = 0; i < 50; i++)
		shim_advance(100 * NS_PER_MS);
	while ((segment = bed_next_tcp()).packet && !segment.len)
		;
	assert_int_equal(segment.len, 1460);
	bed_ack(peer, segment.seq + segment.len);
	assert_int_equal(bed_pages_released, 1);
}

static void a_batch_rings_once(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	unsigned kicks = bed.kicks;

	send_pages(peer, 10);
	assert_int_equal(bed.kicks, kicks + 1);
	stack_flush();
	assert_int_equal(bed.kicks, kicks + 1); // nothing new: no doorbell
}

static void ip_identifications_are_not_sequential(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	unsigned steps = 0;
	uint16_t before = 0;

	send_pages(peer, 10);
	for (unsigned i = 0; i < 10; i++) {
		struct bed_segment segment = bed_next_tcp();
		uint16_t id = segment.packet->frame[18] << 8 | segment.packet->frame[19];

		steps += (uint16_t)(id - before) <= 2;
		before = id;
	}
	assert_true(steps <= 1);
}

// ---- offload ----------------------------------------------------------------------------------------

static bool offload_of(const uint8_t *bytes, uint16_t len, struct netoffload *offload)
{
	struct pbuf p = {.payload = (void *)bytes, .len = len, .tot_len = len};

	return flow_offload(&p, offload);
}

static void offload_follows_the_headers(void **state)
{
	uint8_t frame[80] = {[12] = 8, [14] = 0x45, [23] = 6, [46] = 0x60};
	struct netoffload o;

	assert_true(offload_of(frame, 58, &o));
	assert_true(o.ip_csum && o.l4_csum && !o.udp && !o.ipv6);
	assert_int_equal(o.l3_offset, 14);
	assert_int_equal(o.l4_offset, 34);
	assert_int_equal(o.header_bytes, 58);
	assert_false(offload_of(frame, 57, &o)); // the TCP header is cut
	frame[23] = 17;
	assert_true(offload_of(frame, 60, &o));
	assert_true(o.ip_csum && o.l4_csum && o.udp);
	assert_int_equal(o.header_bytes, 42);
	frame[20] = 0x20; // more fragments
	assert_true(offload_of(frame, 60, &o));
	assert_true(o.ip_csum && !o.l4_csum);
	frame[20] = 0;
	frame[23] = 1; // ICMP
	assert_true(offload_of(frame, 60, &o));
	assert_true(o.ip_csum && !o.l4_csum);
	frame[14] = 0x46; // with IP options
	frame[23] = 17;
	assert_true(offload_of(frame, 60, &o));
	assert_int_equal(o.l4_offset, 38);
}

static void offload_of_ipv6(void **state)
{
	uint8_t frame[100] = {[12] = 0x86, [13] = 0xdd, [14] = 0x60, [20] = 6, [66] = 0x50};
	struct netoffload o, none = {0};

	assert_true(offload_of(frame, 74, &o));
	assert_true(!o.ip_csum && o.l4_csum && o.ipv6);
	assert_int_equal(o.l4_offset, 54);
	assert_int_equal(o.header_bytes, 74);
	frame[20] = 58; // ICMPv6
	assert_true(offload_of(frame, 74, &o));
	assert_memory_equal(&o, &none, sizeof(o));
	frame[13] = 6;
	frame[12] = 8; // ARP
	assert_true(offload_of(frame, 42, &o));
	assert_memory_equal(&o, &none, sizeof(o));
}

// ---- receiving --------------------------------------------------------------------------------------

static void ping_is_answered(void **state)
{
	uint8_t frame[60] = {0x52, 0x54, 0, 0, 0,  1, 0x52, 0x54, 0, 0,	 0,    2,    8,
			     0,	   0x45, 0, 0, 46, 0, 0,    0,	  0, 64, 1,    0x66, 0xcd,
			     10,   0,	 0, 2, 10, 0, 0,    1,	  8, 0,	 0xf7, 0xff};
	struct bed_packet *reply;

	bed_receive(frame, sizeof(frame));
	assert_null(bed_next_tcp().packet); // the peer answers ARP
	bed_receive(frame, sizeof(frame));
	reply = bed_next();
	assert_non_null(reply);
	assert_int_equal(reply->frame[23], 1);
	assert_int_equal(reply->frame[34], 0); // echo reply
	assert_true(reply->offload.ip_csum && !reply->offload.l4_csum);
	bed_skip();
}

// 4,000 bytes in three fragments come back in three fragments.
static void a_large_ping_is_answered_in_fragments(void **state)
{
	uint8_t icmp[8 + 4000] = {8, 0, 0xf7, 0xff};
	unsigned replies = 0, bytes = 0;
	struct bed_packet *packet;

	bed_connect(1460, 65535); // the peer's address is known now
	bed_skip();

	for (unsigned at = 0; at < sizeof(icmp); at += 1480) {
		uint8_t frame[1514] = {0x52, 0x54, 0,	 0, 0, 1, 0x52, 0x54, 0, 0, 0,	2,
				       8,    0,	   0x45, 0, 0, 0, 0,	7,    0, 0, 64, 1,
				       0,    0,	   10,	 0, 0, 2, 10,	0,    0, 1};
		unsigned len = MIN(sizeof(icmp) - at, 1480);
		uint32_t sum = 0;

		frame[16] = (20 + len) >> 8;
		frame[17] = 20 + len;
		frame[20] = (at + len < sizeof(icmp) ? 0x20 : 0) | (at / 8) >> 8;
		frame[21] = at / 8;
		for (unsigned i = 14; i < 34; i += 2)
			sum += frame[i] << 8 | frame[i + 1];
		sum = ~((sum & 0xffff) + (sum >> 16));
		frame[24] = sum >> 8;
		frame[25] = sum;
		memcpy(frame + 34, icmp + at, len);
		bed_receive(frame, 34 + len);
	}
	while ((packet = bed_next())) {
		assert_int_equal(packet->frame[23], 1);
		assert_true(packet->offload.ip_csum && !packet->offload.l4_csum);
		replies++;
		bytes += packet->bytes - 34;
	}
	assert_int_equal(replies, 3);
	assert_int_equal(bytes, sizeof(icmp));
	assert_int_equal(kstat_get("pagewire_net_large_buffers", NULL), 0);
}

static struct pbuf *kept[20000];
static unsigned kept_count;

static err_t keep(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	if (p)
		kept[kept_count++] = p;
	return ERR_OK;
}

static void give_back(void)
{
	while (kept_count)
		pbuf_free(kept[--kept_count]);
	shim_run();
}

static uint64_t rx(const char *name)
{
	return kstat_get(name, NULL);
}

// Applications hold data and do not let go. ACKs still come through, the card keeps its buffers.
static void servers_that_hold_data_do_not_starve_the_card(void **state)
{
	static uint8_t data[1400];
	struct bed_peer *sender = bed_connect(1460, 65535), *reader;
	uint64_t dropped = rx("pagewire_rx_dropped_total");
	uint64_t aside = rx("pagewire_rx_copied_aside_total");
	struct bed_segment segment;

	for (unsigned i = 0; rx("pagewire_rx_dropped_total") == dropped; i++) {
		assert_true(i < 20000);
		if (i % 40 == 0) { // its window is full
			sender = bed_connect(1460, 65535);
			tcp_recv(sender->pcb, keep);
		}
		bed_send(sender, TCP_ACK, data, sizeof(data));
		bed_skip();
	}
	reader = bed_connect(1460, 65535);
	bed_send(reader, TCP_ACK, "GET", 3); // a small frame
	send_pages(reader, 3);
	while ((segment = bed_next_tcp()).packet)
		if (segment.dest == reader->port)
			bed_ack(reader, segment.seq + segment.len);
	assert_int_equal(bed_pages_released, 3);
	assert_true(rx("pagewire_rx_copied_aside_total") > aside);
	assert_int_equal(kstat_get("pagewire_rx_starved_total", NULL), 0);
	give_back();
}

static void windows_stay_small_while_buffers_are_short(void **state)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4, 1, 3, 3, 7};
	static uint8_t data[1400];
	struct bed_peer *sender = NULL, *reader = bed_syn(options, sizeof(options), 1000);
	struct bed_segment segment = bed_next_tcp();

	bed_ack(reader, segment.seq + 1);
	for (unsigned i = 0; i < 800; i++) { // more than three quarters of 1,024 buffers
		if (i % 40 == 0) {
			sender = bed_connect(1460, 65535);
			tcp_recv(sender->pcb, keep);
		}
		bed_send(sender, TCP_ACK, data, sizeof(data));
		bed_skip();
	}
	for (unsigned i = 0; i < 200; i++) { // it reads all it gets, and still
		bed_send(reader, TCP_ACK, data, sizeof(data));
		bed_skip();
	}
	assert_int_equal(reader->received, 200 * sizeof(data));
	assert_in_range(reader->pcb->rcv_ann_wnd, 1, 2 * TCP_MSS);
	give_back();
	segment = bed_next_tcp(); // told at once
	while (segment.packet && segment.dest != reader->port)
		segment = bed_next_tcp();
	assert_non_null(segment.packet);
	assert_true((uint32_t)segment.window << TCP_RCV_SCALE > TCP_WND - 10 * TCP_MSS);
}

static void data_out_of_order_is_given_up_first(void **state)
{
	static uint8_t data[1400];
	uint64_t reclaimed = rx("pagewire_rx_ooseq_reclaimed_total");
	uint64_t dropped = rx("pagewire_rx_dropped_total");
	struct bed_peer *peer = NULL;

	for (unsigned i = 0; i < 1400; i++) {
		if (i % 40 == 0) {
			peer = bed_connect(1460, 65535);
			peer->seq += 1400; // a hole
		}
		bed_send(peer, TCP_ACK, data, sizeof(data));
		bed_skip();
	}
	assert_true(rx("pagewire_rx_ooseq_reclaimed_total") > reclaimed);
	assert_int_equal(rx("pagewire_rx_dropped_total"), dropped);
}

static void no_memory_for_buffers_and_then_some(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	struct rxbuf *taken[4096];
	unsigned n = 0, refills = bed.refills;
	paddr_t addr;

	shim_frames_fail_after(0);
	while (n < ARRAY_SIZE(taken) && (taken[n] = rxpool_get(&addr)))
		n++;
	assert_true(n < ARRAY_SIZE(taken));
	assert_true(rx("pagewire_rx_starved_total") > 0);
	shim_frames_fail_off();
	while (n)
		rxpool_put(taken[--n]);
	shim_run();
	assert_int_equal(bed.refills, refills + 1); // told once, from a WTD of its own
	bed_send(peer, TCP_ACK, "x", 1);
	assert_int_equal(peer->received, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_full_ring_keeps_the_order),
	    TEST(get_while_ring_full),
	    TEST(rst_while_packets_wait),
	    TEST(what_does_not_fit_the_queue_stays_with_tcp),
	    TEST(a_lost_link_gives_everything_back),
	    TEST(a_connection_survives_a_short_loss_of_link),
	    TEST(a_batch_rings_once),
	    TEST(ip_identifications_are_not_sequential),
	    TEST(offload_follows_the_headers),
	    TEST(offload_of_ipv6),
	    TEST(ping_is_answered),
	    TEST(a_large_ping_is_answered_in_fragments),
	    TEST(servers_that_hold_data_do_not_starve_the_card),
	    TEST(windows_stay_small_while_buffers_are_short),
	    TEST(data_out_of_order_is_given_up_first),
	    TEST(no_memory_for_buffers_and_then_some),
	};
	return cmocka_run_group_tests_name("netdev", tests, bed_group_setup, bed_group_teardown);
}
