// SPDX-License-Identifier: BSD-2-Clause
// Receive windows that grow with the path (net/lwip/tcp_rcvbuf.h): how fast uploads over a long path get, who is
// given how much, that it is given back, and that no window that was announced is taken away. In simulated time.
// SOURCES: tests/host/uploadnet.c tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// SOURCES: net/netstat.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hooks.h"
#include "kernel/kstat.h"
#include "lwip/priv/tcp_priv.h"
#include "net/stack.h"
#include "tcp_rcvbuf.h"
#include "uploadnet.h"

#define MB (1U << 20)

static uint64_t given(void)
{
	return kstat_get("pagewire_tcp_receive_room_bytes", NULL);
}

// 262,800 bytes a round trip would be 5.3 MB/s.
static void an_upload_over_a_long_path_is_given_more(void **state)
{
	struct upload *up = &uploads[0];
	uint32_t ms;

	upload_begin(up, 50);
	upload_ask(up, 8 * MB);
	upload_run(1);
	assert_true(tcp_rcvbuf_limit(up->peer->pcb) > TCP_WND + tcp_rcvbuf_most() / 4 * 3);
	upload_ask(up, 16 * MB);
	ms = upload_run(1);
	print_message("# 16 MB in %u ms, windows of up to %u KB\n", ms, up->widest / 1024);
	assert_in_range(ms, 0, 16 * MB / 12000);
	assert_int_equal(up->peer->received, 24 * MB);
	assert_int_equal(given(), tcp_rcvbuf_limit(up->peer->pcb) - TCP_WND);
	assert_int_equal(up->peer->pcb->rcv_wnd, tcp_rcvbuf_limit(up->peer->pcb));
	upload_finish(up);
	assert_int_equal(given(), 0);
}

static void a_short_path_needs_no_more(void **state)
{
	upload_begin(&uploads[0], 1);
	upload_ask(&uploads[0], 16 * MB);
	upload_run(1);
	assert_int_equal(tcp_rcvbuf_limit(uploads[0].peer->pcb), TCP_WND);
	assert_int_equal(given(), 0);
	upload_finish(&uploads[0]);
}

// 100 KB in a round trip.
static void a_slow_client_needs_no_more(void **state)
{
	upload_begin(&uploads[0], 50);
	uploads[0].rate = 2000;
	uploads[0].cwnd = MB;
	upload_ask(&uploads[0], 8 * MB);
	upload_run(1);
	assert_int_equal(given(), 0);
	upload_finish(&uploads[0]);
}

// The client would send any amount; the server takes 60 KB in a round trip.
static void a_slow_server_gets_no_more(void **state)
{
	upload_begin(&uploads[0], 50);
	uploads[0].takes = 1200;
	upload_ask(&uploads[0], 4 * MB);
	upload_run(1);
	assert_int_equal(given(), 0);
	while (uploads[0].held)
		upload_millisecond(1);
	upload_finish(&uploads[0]);
}

// One segment of a grown window is lost, and then eight in a row: all the others wait for it, and everything
// is handed up in order.
static void a_whole_window_waits_out_of_order(void **state)
{
	struct upload *up = &uploads[0];

	upload_begin(up, 50);
	upload_ask(up, 8 * MB);
	upload_run(1);
	up->cwnd = 16 * MB;
	upload_ask(up, 4 * MB);
	up->lose_at = 8 * MB + 200000;
	up->lose = 1;
	upload_run(1);
	up->cwnd = 16 * MB;
	upload_ask(up, 4 * MB);
	up->lose_at = 12 * MB + 100000;
	up->lose = 8;
	upload_run(1);
	assert_int_equal(up->peer->received, 16 * MB);
	assert_true(kstat_get("pagewire_rx_buffers_held_high", NULL) > 400);
	upload_finish(up);
	assert_int_equal(kstat_get("pagewire_rx_buffers", "place=\"held\""), 0);
}

// Together they may have what there is; who uploads gets it from those that are silent.
static void who_uploads_is_given_what_silent_ones_had(void **state)
{
	uint64_t most = tcp_rcvbuf_most();

	for (unsigned i = 0; i < 4; i++) {
		upload_begin(&uploads[i], 50);
		upload_ask(&uploads[i], 8 * MB);
		upload_run(i + 1);
		assert_true(tcp_rcvbuf_limit(uploads[i].peer->pcb) > TCP_WND + most / 2);
		assert_true(given() <= most);
		for (unsigned ms = 0; ms < 1500; ms++)
			upload_millisecond(i + 1);
	}
	// The window that the first was told of holds: it is used once more.
	assert_true(tcp_rcvbuf_limit(uploads[0].peer->pcb) > TCP_WND);
	uploads[0].cwnd = 16 * MB;
	upload_ask(&uploads[0], 300000);
	assert_in_range(upload_run(4), 50, 60);
	for (unsigned i = 0; i < 4; i++)
		upload_finish(&uploads[i]);
	assert_int_equal(given(), 0);
}

static void hold_buffers(struct upload *up, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		upload_begin(&up[i], 0);
		up[i].takes = 1;
		upload_ask(&up[i], 200000);
	}
}

// While receive buffers are short: what was given is owed, nothing is given, and no window goes back.
static void short_buffers_take_it_back(void **state)
{
	struct upload *up = &uploads[0];
	uint64_t back = kstat_get("pagewire_tcp_receive_room_taken_back_total", NULL);

	upload_begin(up, 50);
	upload_ask(up, 8 * MB);
	upload_run(1);
	assert_true(given() > 0);
	hold_buffers(&uploads[1], 6); // 137 each, of 1,024
	upload_ask(up, 8 * MB);
	for (unsigned ms = 0; ms < 3000; ms++)
		upload_millisecond(7);
	assert_true(kstat_get("pagewire_tcp_receive_room_taken_back_total", NULL) > back);
	assert_int_equal(given(), 0);
	assert_int_equal(tcp_rcvbuf_limit(up->peer->pcb), TCP_WND);
	for (unsigned i = 1; i <= 6; i++)
		uploads[i].takes = 100000;
	upload_run(7);
	for (unsigned ms = 0; ms < 20; ms++)
		upload_millisecond(7);
	assert_int_equal(up->peer->received, 16 * MB);
	for (unsigned i = 0; i <= 6; i++)
		upload_finish(&uploads[i]);
}

// Sixty clients at once, and a server that takes nothing for two seconds: buffers stay for those who ask for
// something, and in the end all is there.
static void a_flood_of_uploads_leaves_buffers_for_others(void **state)
{
	struct bed_peer *reader;

	for (unsigned i = 0; i < ARRAY_SIZE(uploads); i++) {
		upload_begin(&uploads[i], 50);
		upload_ask(&uploads[i], MB);
	}
	for (unsigned ms = 0; ms < 350; ms++)
		upload_millisecond(ARRAY_SIZE(uploads));
	for (unsigned i = 0; i < ARRAY_SIZE(uploads); i++) {
		uploads[i].takes = 1;
		upload_ask(&uploads[i], MB);
	}
	for (unsigned ms = 0; ms < 2000; ms++)
		upload_millisecond(ARRAY_SIZE(uploads));
	assert_true(kstat_get("pagewire_rx_buffers", "place=\"held\"") <= 1024);
	assert_int_equal(kstat_get("pagewire_rx_starved_total", NULL), 0);
	reader = bed_connect(1460, 65535);
	bed_send(reader, TCP_ACK, "GET", 3);
	assert_int_equal(reader->received, 3);
	bed_skip();
	for (unsigned i = 0; i < ARRAY_SIZE(uploads); i++)
		uploads[i].takes = 100000;
	upload_run(ARRAY_SIZE(uploads));
	for (unsigned ms = 0; ms < 20; ms++)
		upload_millisecond(ARRAY_SIZE(uploads));
	for (unsigned i = 0; i < ARRAY_SIZE(uploads); i++) {
		assert_int_equal(uploads[i].peer->received, 2 * MB);
		upload_finish(&uploads[i]);
	}
	assert_int_equal(given(), 0);
	assert_int_equal(kstat_get("pagewire_rx_buffers", "place=\"held\""), 0);
}

static void a_program_says_how_much(void **state)
{
	struct upload *up = &uploads[0];

	upload_begin(up, 50);
	tcp_rcvbuf_fix(up->peer->pcb, 20000, true);
	upload_ask(up, 4 * MB);
	for (unsigned ms = 0; ms < 500; ms++)
		upload_millisecond(1);
	up->widest = 0; // what the SYN-ACK said is used up
	upload_run(1);
	assert_in_range(up->widest, 20000 - 3 * UPLOAD_SEGMENT, 20000);
	assert_int_equal(up->peer->pcb->rcv_wnd, 20000);
	tcp_rcvbuf_fix(up->peer->pcb, 200000, false);
	tcp_recved(up->peer->pcb, 0);
	stack_flush();
	upload_ask(up, 4 * MB);
	up->widest = 0;
	upload_run(1);
	assert_in_range(up->widest, 200000 - 3 * UPLOAD_SEGMENT, 200000);
	tcp_rcvbuf_fix(up->peer->pcb, 0, false); // two segments at least
	upload_ask(up, 600000);
	upload_run(1);
	assert_int_equal(up->peer->pcb->rcv_wnd, TCP_RCV_FIXED_MIN);
	assert_int_equal(given(), 0);
	upload_finish(up);
}

// After windows have grown, and were owed: a server that has taken everything closes without a reset.
static void nothing_untaken_is_seen_at_the_close(void **state)
{
	struct upload *up = &uploads[0];
	struct bed_segment segment;

	upload_begin(up, 50);
	upload_ask(up, 8 * MB);
	upload_run(1);
	tcp_rcvbuf_press();
	upload_ask(up, 100000);
	upload_run(1);
	assert_true(tcp_rcvbuf_limit(up->peer->pcb) > TCP_WND);
	for (unsigned ms = 0; ms < 100; ms++)
		upload_millisecond(1);
	assert_int_equal(tcp_close(up->peer->pcb), ERR_OK);
	stack_flush();
	segment = bed_next_tcp();
	assert_non_null(segment.packet);
	assert_int_equal(segment.flags & (TCP_FIN | TCP_RST), TCP_FIN);
	upload_finish(up);
	assert_int_equal(given(), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_upload_over_a_long_path_is_given_more),
	    TEST(a_short_path_needs_no_more),
	    TEST(a_slow_client_needs_no_more),
	    TEST(a_slow_server_gets_no_more),
	    TEST(a_whole_window_waits_out_of_order),
	    TEST(who_uploads_is_given_what_silent_ones_had),
	    TEST(short_buffers_take_it_back),
	    TEST(a_flood_of_uploads_leaves_buffers_for_others),
	    TEST(a_program_says_how_much),
	    TEST(nothing_untaken_is_seen_at_the_close),
	};
	return cmocka_run_group_tests_name("tcp_rcvbuf", tests, bed_group_setup,
					   bed_group_teardown);
}
