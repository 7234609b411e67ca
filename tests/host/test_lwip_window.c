// SPDX-License-Identifier: BSD-2-Clause
// Windows and timers as a server needs them: the first flight, idle connections, time-outs.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lwip/priv/tcp_priv.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"

#define MS NS_PER_MS

// Queues `pages` pages; the test's references go.
static void send_pages(struct bed_peer *peer, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++) {
		struct page *page = bed_page(i);

		assert_int_equal(pagebuf_write(peer->pcb, page, 0, PAGE_SIZE, i + 1 < pages),
				 ERR_OK);
		bed_page_done(page);
	}
	tcp_output(peer->pcb);
	stack_flush();
}

static unsigned segments_seen(uint32_t *end)
{
	struct bed_segment segment;
	unsigned count = 0;

	while ((segment = bed_next_tcp()).packet) {
		count += segment.len > 0;
		if (segment.len)
			*end = segment.seq + segment.len;
	}
	return count;
}

static void first_flight_is_ten_segments(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	uint32_t end;

	send_pages(peer, 10);
	assert_int_equal(segments_seen(&end), 10); // RFC 6928, 2
}

static void an_idle_connection_starts_slowly(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	uint32_t end = bed_iss(peer);

	for (unsigned i = 0; i < 4; i++) {
		send_pages(peer, 10);
		while (segments_seen(&end))
			bed_ack(peer, end);
	}
	assert_true(peer->pcb->cwnd > 20 * 1460);
	send_pages(peer, 25);
	assert_true(segments_seen(&end) > 20); // at once: the window is known to be open
	while (bed_ack(peer, end), segments_seen(&end))
		;
	for (unsigned i = 0; i < 20; i++)
		shim_advance(100 * MS);
	bed_send(peer, TCP_ACK, "GET", 3); // it is we who have been idle, not the peer
	bed_skip();
	send_pages(peer, 25);
	assert_int_equal(segments_seen(&end), 10); // RFC 5681, 4.1
}

static uint64_t first_timeout(struct bed_peer *peer, uint32_t seq)
{
	for (uint64_t ms = 50; ms < 5000; ms += 50) {
		struct bed_segment again;

		shim_advance(50 * MS);
		again = bed_next_tcp();
		if (again.packet) {
			assert_int_equal(again.seq, seq);
			return ms;
		}
	}
	fail_msg("no retransmission");
	return 0;
}

static void a_lost_segment_comes_again_soon(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	uint32_t end = bed_iss(peer);
	uint64_t ms;

	for (unsigned i = 0; i < 8; i++) { // round trips of nothing
		send_pages(peer, 1);
		segments_seen(&end);
		bed_ack(peer, end);
	}
	send_pages(peer, 1);
	segments_seen(&end);
	ms = first_timeout(peer, end - PAGE_SIZE);
	assert_in_range(ms, 200, 400);
}

// The second sending's answer comes at once, the first one's was only late: no round trip of 0.
static void a_retransmission_is_not_timed(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	uint32_t end = bed_iss(peer);
	s32_t srtt, rttvar;

	for (unsigned i = 0; i < 8; i++) { // round trips of 500 ms
		send_pages(peer, 1);
		while (peer->pcb->unsent || peer->pcb->unacked) {
			segments_seen(&end);
			shim_advance(500 * MS);
			segments_seen(&end);
			bed_ack(peer, end);
		}
	}
	peer->pcb->cwnd = 20 * 1460;
	send_pages(peer, 1);
	segments_seen(&end);
	srtt = peer->pcb->srtt;
	rttvar = peer->pcb->rttvar;
	first_timeout(peer, end - PAGE_SIZE);
	bed_ack(peer, end);
	assert_int_equal(peer->pcb->srtt, srtt);
	assert_int_equal(peer->pcb->rttvar, rttvar);
}

static void lost_segments_are_sent_again_fast(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	uint32_t first = bed_iss(peer), end;
	struct bed_segment again;

	send_pages(peer, 5);
	segments_seen(&end);
	for (unsigned i = 0; i < 3; i++)
		bed_ack(peer, first);
	do { // the first two let new data go (RFC 3042)
		again = bed_next_tcp();
		assert_non_null(again.packet);
	} while (again.seq != first); // after three duplicate ACKs, with no timer
	bed_ack(peer, end);
	while (segments_seen(&end))
		bed_ack(peer, end);
	assert_int_equal(bed_pages_released, 5);
}

static void our_window_is_scaled_and_acknowledged(void **state)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 1, 1};
	struct bed_peer *peer = bed_syn(options, sizeof(options), 1000);
	struct bed_segment syn_ack = bed_next_tcp();
	uint8_t data[1000] = {0};

	assert_int_equal(syn_ack.mss, 1460);
	bed_ack(peer, syn_ack.seq + 1);
	assert_int_equal(peer->pcb->snd_wnd, 1000 << 7);
	assert_int_equal(peer->pcb->rcv_wnd, TCP_WND);
	for (unsigned i = 0; i < 300; i++) {
		bed_send(peer, TCP_ACK, data, sizeof(data));
		bed_skip();
	}
	assert_int_equal(peer->received, 300 * sizeof(data));
	shim_advance(100 * MS);
	assert_int_equal(peer->pcb->rcv_ann_wnd, TCP_WND);
}

static void keepalive_notices_a_dead_peer(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);

	tcp_timed(peer->pcb);
	ip_set_option(peer->pcb, SOF_KEEPALIVE);
	for (unsigned i = 0; i < 150 && peer->pcb; i++)
		shim_advance(NS_PER_SEC);
	assert_null(peer->pcb);
	assert_int_equal(peer->error, ERR_ABRT);
	bed_skip();
}

static void time_wait_is_short_and_counted(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	struct bed_segment fin;

	assert_int_equal(tcp_close(peer->pcb), ERR_OK);
	stack_flush();
	fin = bed_next_tcp();
	assert_true(fin.flags & TCP_FIN);
	bed_ack(peer, fin.seq + 1);
	bed_send(peer, TCP_FIN | TCP_ACK, "", 0);
	assert_int_equal(tcp_hash_count(TCP_HASH_TW), 1);
	shim_advance(29 * NS_PER_SEC);
	assert_int_equal(tcp_hash_count(TCP_HASH_TW), 1);
	shim_advance(2 * NS_PER_SEC);
	assert_int_equal(tcp_hash_count(TCP_HASH_TW), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(first_flight_is_ten_segments),	     TEST(an_idle_connection_starts_slowly),
	    TEST(a_lost_segment_comes_again_soon),   TEST(a_retransmission_is_not_timed),
	    TEST(lost_segments_are_sent_again_fast), TEST(our_window_is_scaled_and_acknowledged),
	    TEST(keepalive_notices_a_dead_peer),     TEST(time_wait_is_short_and_counted),
	};
	return cmocka_run_group_tests_name("lwip_window", tests, bed_group_setup,
					   bed_group_teardown);
}
