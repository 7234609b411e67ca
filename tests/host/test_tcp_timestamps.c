// SPDX-License-Identifier: BSD-2-Clause
// Time stamps (RFC 7323): which one is echoed, what a segment from before is, what round trips they measure, what
// carries them. On the wire: tests/e2e/test_tcp_times.py; both ways in the same: test_straight*.c.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// SOURCES: net/netstat.c net/lwip/tcp_timestamp.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/kstat.h"
#include "lwip/priv/tcp_priv.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"
#include "tcp_syn.h"
#include "tcp_timestamp.h"

#define MS    NS_PER_MS
#define START 1000000

static uint64_t dropped(const char *why)
{
	return kstat_get("pagewire_tcp_timestamps_dropped_total", why);
}

static struct bed_segment next(void)
{
	struct bed_segment segment = bed_next_tcp();

	assert_non_null(segment.packet);
	return segment;
}

// The next segment, however long it takes.
static struct bed_segment wait_for_one(void)
{
	for (unsigned ms = 0; ms < 10000; ms++) {
		struct bed_segment segment = bed_next_tcp();

		if (segment.packet)
			return segment;
		shim_advance(MS);
	}
	fail();
	return (struct bed_segment){0};
}

static void send_bytes(struct bed_peer *peer, uint16_t bytes)
{
	static const char data[4096];

	assert_int_equal(genbuf_write(peer->pcb, data, bytes, false), ERR_OK);
	tcp_output(peer->pcb);
	stack_flush();
}

// ---- arithmetic ---------------------------------------------------------------------------------------

static void before_is_modulo_the_number(void **state)
{
	assert_true(tcp_time_before(1, 2));
	assert_false(tcp_time_before(2, 2));
	assert_false(tcp_time_before(3, 2));
	assert_true(tcp_time_before(0xffffffff, 0));
	assert_true(tcp_time_before(0xfffffff0, 0x7fffffef));
	assert_false(tcp_time_before(0xfffffff0, 0x7ffffff1));
}

// Appendix G: a window's many samples move the estimate as far as one would.
static void many_samples_weigh_what_one_does(void **state)
{
	for (unsigned weight = 2; weight <= 180; weight += 89) {
		struct tcp_pcb one = {.srtt = 50 << TCP_RTT_SHIFT, .rttvar = 10 << TCP_RTT_SHIFT};
		struct tcp_pcb many = one;

		tcp_rtt_take(&one, 90, 1);
		for (unsigned i = 0; i < weight; i++)
			tcp_rtt_take(&many, 90, weight);
		assert_int_equal(one.srtt, 55 << TCP_RTT_SHIFT);
		assert_in_range(many.srtt >> (TCP_RTT_SHIFT - 3), 54 * 8, 55 * 8);
		assert_in_range(many.rttvar >> TCP_RTT_SHIFT, 15, 18); // one: 17
	}
}

static void what_we_never_sent_measures_nothing(void **state)
{
	struct bed_peer *peer = bed_connect_times(1460, 65535, START);
	int32_t srtt = peer->pcb->srtt;

	send_bytes(peer, 100);
	peer->ts_echo += 5000000;
	bed_ack(peer, next().seq + 100);
	assert_null(peer->pcb->unacked); // acknowledged it is
	assert_int_equal(peer->pcb->srtt, srtt);
}

// ---- what is echoed, 4.3 ------------------------------------------------------------------------------

static void a_delayed_acknowledgement_echoes_the_first(void **state)
{
	struct bed_peer *peer = bed_connect_times(1460, 65535, START);
	struct bed_segment ack;

	bed_skip();
	peer->ts_value = START + 10;
	bed_send(peer, TCP_ACK, "a", 1);
	assert_null(bed_next_tcp().packet); // it is delayed
	peer->ts_value = START + 20;
	bed_send(peer, TCP_ACK, "b", 1);
	ack = next();
	assert_int_equal(ack.ack, peer->seq);
	assert_int_equal(ack.ts_echo, START + 10);
	assert_int_equal(ack.ts_value, tcp_now() + peer->pcb->ts_offset);
	peer->ts_value = START + 30;
	bed_send(peer, TCP_ACK, "c", 1);
	assert_int_equal(wait_for_one().ts_echo, START + 30);
}

static void out_of_order_echoes_the_last_in_order(void **state)
{
	struct bed_peer *peer = bed_connect_times(1460, 65535, START);

	bed_skip();
	peer->ts_value = START + 10;
	peer->seq += 1;
	bed_send(peer, TCP_ACK, "b", 1);
	assert_int_equal(next().ts_echo, START);
	peer->ts_value = START + 20;
	peer->seq -= 2;
	bed_send(peer, TCP_ACK, "a", 1);
	assert_int_equal(wait_for_one().ts_echo, START + 20);
}

// ---- PAWS, 5 ------------------------------------------------------------------------------------------

static void after_24_days_any_will_do(void **state)
{
	struct bed_peer *peer = bed_connect_times(1460, 65535, START);
	uint64_t old = dropped("why=\"old\"");

	bed_skip();
	tcp_ticks += TCP_PAWS_TICKS - 1;
	peer->ts_value = START - 1;
	bed_send(peer, TCP_ACK, "a", 1);
	assert_int_equal(dropped("why=\"old\""), old + 1);
	assert_int_equal(peer->received, 0);
	peer->seq--;
	tcp_ticks += 2;
	bed_send(peer, TCP_ACK, "a", 1);
	assert_int_equal(dropped("why=\"old\""), old + 1);
	assert_int_equal(peer->received, 1);
	assert_int_equal(peer->pcb->ts_recent, START - 1);
}

static void one_without_is_counted(void **state)
{
	struct bed_peer *peer = bed_connect_times(1460, 65535, START);
	uint64_t missing = dropped("why=\"missing\"");

	peer->times = false;
	bed_send(peer, TCP_ACK, "a", 1);
	assert_int_equal(dropped("why=\"missing\""), missing + 1);
	assert_int_equal(peer->received, 0);
}

// ---- round trips --------------------------------------------------------------------------------------

// Karn's rule is for those who cannot tell which sending was answered.
static void a_retransmission_is_timed(void **state)
{
	struct bed_peer *peer = bed_connect_times(1460, 65535, START);
	struct bed_segment first, again;

	send_bytes(peer, 100);
	first = next();
	again = wait_for_one();
	assert_int_equal(again.seq, first.seq);
	assert_true(tcp_time_before(first.ts_value, again.ts_value));
	shim_advance(40 * MS);
	peer->pcb->srtt = 0;
	peer->ts_echo = again.ts_value;
	bed_ack(peer, again.seq + 100);
	assert_in_range(peer->pcb->srtt >> TCP_RTT_SHIFT, 40, 41);
	assert_int_equal(peer->pcb->rto, TCP_RTO_TICKS((peer->pcb->srtt >> TCP_RTT_SHIFT) + 200));
}

static void the_handshake_is_timed_though_it_was_repeated(void **state)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4, 1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0};
	struct bed_peer *peer = bed_syn(options, sizeof(options), 65535);
	struct bed_segment again;

	next();
	again = wait_for_one();
	assert_int_equal(again.ts_echo, 9);
	shim_advance(30 * MS);
	peer->times = true;
	peer->ts_value = 10;
	peer->ts_echo = again.ts_value;
	bed_ack(peer, again.seq + 1);
	assert_non_null(peer->pcb);
	assert_in_range(peer->pcb->srtt >> TCP_RTT_SHIFT, 30, 31);
}

// ---- cookies ------------------------------------------------------------------------------------------

static struct bed_segment cookie_for(struct bed_peer **peer)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4, 1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0};
	struct bed_segment segment;

	bed_connect(1460, 65535); // the neighbour is known
	for (unsigned i = 0; i < TCP_SYN_ENTRIES; i++) {
		bed_peers_forget_one(bed_syn(options, sizeof(options), 65535));
		bed_skip();
	}
	*peer = bed_syn(options, sizeof(options), 65535);
	segment = next();
	assert_true(segment.times);
	assert_int_equal(segment.ts_echo, 9);
	(*peer)->times = true;
	(*peer)->ts_value = 10;
	(*peer)->ts_echo = segment.ts_value;
	return segment;
}

static void forget_half_open(void)
{
	for (unsigned i = 0; i < 300; i++) {
		shim_advance(100 * MS);
		bed_skip();
	}
}

static void a_cookie_brings_them_back(void **state)
{
	struct bed_peer *peer;
	struct bed_segment cookie = cookie_for(&peer);

	shim_advance(25 * MS);
	bed_ack(peer, cookie.seq + 1);
	assert_non_null(peer->pcb);
	assert_true(peer->pcb->flags & TF_TIMESTAMP);
	assert_int_equal(peer->pcb->ts_recent, 10);
	assert_int_equal(peer->pcb->mss, 1460 - 12);
	assert_in_range(peer->pcb->srtt >> TCP_RTT_SHIFT, 25, 26);
	forget_half_open();
}

static void a_cookie_without_an_echo_of_ours_has_none(void **state)
{
	struct bed_peer *peer;
	struct bed_segment cookie = cookie_for(&peer);

	peer->ts_echo += 70000;
	bed_ack(peer, cookie.seq + 1);
	assert_non_null(peer->pcb);
	assert_false(peer->pcb->flags & TF_TIMESTAMP);
	assert_int_equal(peer->pcb->mss, 1460);
	forget_half_open();
}

// ---- what carries them --------------------------------------------------------------------------------

static void what_the_card_cuts_carries_them_in_each_piece(void **state)
{
	static char data[4096];
	struct bed_peer *peer;
	struct bed_segment segment;
	uint32_t bytes = 0;

	bed_tso(65535);
	peer = bed_connect_times(1460, 65535, START);
	assert_int_equal(peer->pcb->mss, 1448);
	peer->pcb->cwnd = BIT(16);
	struct page *page = bed_page(1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pagebuf_write(peer->pcb, page, 0, sizeof(data), i < 2), ERR_OK);
	tcp_output(peer->pcb);
	stack_flush();
	segment = next();
	assert_int_equal(segment.packet->offload.mss, 1448);
	assert_int_equal(segment.packet->offload.header_bytes, 14 + 20 + 32);
	for (; segment.packet; segment = bed_next_tcp()) {
		assert_true(segment.times);
		assert_true(segment.len <= 1448);
		bytes += segment.len;
	}
	assert_int_equal(bytes, 3 * sizeof(data));
	bed_page_done(page);
	bed_tso(0);
}

static void probes_and_resets_carry_them(void **state)
{
	struct bed_peer *peer = bed_connect_times(1460, 1, START);
	struct bed_segment segment;

	bed_skip();
	peer->window = 0;
	bed_ack(peer, peer->ack);
	send_bytes(peer, 10);
	segment = wait_for_one(); // the window is closed
	assert_int_equal(segment.len, 1);
	assert_true(segment.times);
	assert_int_equal(segment.ts_echo, START);
	assert_int_equal(tcp_keepalive(peer->pcb), ERR_OK);
	stack_flush();
	assert_true(next().times);
	tcp_abort(peer->pcb);
	stack_flush();
	segment = next();
	assert_true(segment.flags & TCP_RST);
	assert_true(segment.times);
}

static void where_they_are_off_a_syn_gets_none(void **state)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4, 1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0};
	struct bed_peer *peer;
	struct bed_segment segment;

	tcp_timestamps_on = false;
	peer = bed_syn(options, sizeof(options), 65535);
	segment = next();
	tcp_timestamps_on = true;
	assert_false(segment.times);
	bed_ack(peer, segment.seq + 1);
	assert_false(peer->pcb->flags & TF_TIMESTAMP);
}

#define T(test) cmocka_unit_test_setup_teardown(test, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(before_is_modulo_the_number),
	    cmocka_unit_test(many_samples_weigh_what_one_does),
	    T(what_we_never_sent_measures_nothing),
	    T(a_delayed_acknowledgement_echoes_the_first),
	    T(out_of_order_echoes_the_last_in_order),
	    T(after_24_days_any_will_do),
	    T(one_without_is_counted),
	    T(a_retransmission_is_timed),
	    T(the_handshake_is_timed_though_it_was_repeated),
	    T(a_cookie_brings_them_back),
	    T(a_cookie_without_an_echo_of_ours_has_none),
	    T(what_the_card_cuts_carries_them_in_each_piece),
	    T(probes_and_resets_carry_them),
	    T(where_they_are_off_a_syn_gets_none),
	};
	return cmocka_run_group_tests_name("tcp_timestamps", tests, bed_group_setup,
					   bed_group_teardown);
}
