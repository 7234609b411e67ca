// SPDX-License-Identifier: BSD-2-Clause
// Segments of up to 64 KB that the card cuts: split to the windows, acknowledged in parts, sent again in
// parts, held by the card longer than by TCP. Every byte that leaves is checked for where it lies.
// SOURCES: tests/host/tso_model.c tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/pool.h"
#include "lwip/priv/tcp_priv.h"
#include "tcp_path.h"
#include "net/stack.h"
#include "shim.h"
#include "tso_model.h"

#define MS   NS_PER_MS
#define MSS  1460
#define MOST 65521 // what the e1000 cuts

#define FULL (44 * MSS - 4) // bytes of the longest packet

static void open_wide(struct stream *stream)
{
	bed_tso(MOST);
	stream_open(stream, MSS, 300000);
	stream->peer->pcb->cwnd = 300000;
	stream->peer->pcb->snd_ticks = tcp_ticks; // not idle: the window is not taken back
}

// All of what is on the wire is lost; returns how many bytes.
static uint32_t lose_all(struct stream *stream)
{
	struct bed_segment segment;
	uint32_t bytes = 0;

	while ((segment = stream_look(stream)).packet)
		bytes += segment.len;
	return bytes;
}

static void a_big_segment_is_not_fragmented(void **state)
{
	struct stream stream;
	struct bed_segment segment;
	uint32_t bytes = 0;

	open_wide(&stream);
	stream_fill(&stream, FULL);
	stream_push(&stream);
	segment = stream_look(&stream);
	assert_int_equal(segment.packet->offload.mss, MSS);
	assert_int_equal(segment.packet->offload.header_bytes, 54);
	assert_int_equal(segment.packet->count, 1 + 16);
	assert_int_equal(segment.packet->bytes, 54 + FULL);
	for (; segment.packet; segment = stream_look(&stream)) {
		bytes += segment.len;
		// No whole number of segments: QEMU's card would send an empty one behind them.
		assert_int_equal(segment.len, bytes < FULL ? MSS : MSS - 4);
		assert_true(stream_take(&stream, &segment));
	}
	assert_int_equal(bytes, FULL);
	assert_int_equal(stream.big, 1);
	stream_finish(&stream);
	stream_done(&stream);
}

static void the_windows_split_it_at_whole_segments(void **state)
{
	struct stream stream;
	struct bed_segment segment;

	open_wide(&stream);
	stream.peer->pcb->cwnd = 10 * MSS + 700;
	stream_fill(&stream, 60000);
	stream_push(&stream);
	segment = stream_look(&stream);
	assert_int_equal(segment.packet->bytes, 54 + 10 * MSS);
	assert_int_equal(lose_all(&stream), 9 * MSS);
	assert_int_equal(stream.peer->pcb->unacked->len, 10 * MSS);
	assert_int_equal(stream.peer->pcb->unsent->len, 60000 - 10 * MSS);
	stream_finish(&stream);
	stream_done(&stream);
}

// Room for a few segments while many are in flight: the next acknowledgement is waited for.
static void a_little_room_waits_for_more(void **state)
{
	struct stream stream;

	open_wide(&stream);
	stream.peer->pcb->cwnd = 20 * MSS;
	stream.peer->pcb->ssthresh = MSS;
	stream_fill(&stream, 40 * MSS);
	stream_push(&stream);
	assert_int_equal(lose_all(&stream), 20 * MSS);
	stream_ack_at(&stream, 2 * MSS, 300000);
	assert_int_equal(lose_all(&stream), 0);
	stream_ack_at(&stream, 8 * MSS, 300000);
	assert_int_equal(lose_all(&stream), 8 * MSS);
	stream_ack_at(&stream, 27 * MSS, 300000); // one segment left in flight: no ACK need come
	assert_int_equal(lose_all(&stream), 12 * MSS);
	stream_finish(&stream);
	stream_done(&stream);
}

// The same where the send buffer is the limit, and the application says that there is more.
static void a_full_send_buffer_waits_for_more(void **state)
{
	struct stream stream;

	open_wide(&stream);
	stream.peer->pcb->cwnd = 4 * TCP_SND_BUF; // so wide that the send buffer is not made larger
	stream_fill(&stream, TCP_SND_BUF);
	stream_push(&stream);
	assert_int_equal(lose_all(&stream), 4 * FULL); // four full packets
	for (unsigned i = 1; i <= 2; i++) {
		stream_ack_at(&stream, i * 20000, 300000);
		stream_fill(&stream, 20000);
		stream_push(&stream);
		assert_int_equal(lose_all(&stream), 0);
	}
	stream_ack_at(&stream, 60000, 300000);
	stream_fill(&stream, 20000);
	stream_push(&stream);
	assert_int_equal(lose_all(&stream), FULL);
	stream_ack_at(&stream, 70000, 300000);
	assert_true(stream_generated(&stream, 5000)); // the end: pushed
	stream_push(&stream);
	assert_int_equal(lose_all(&stream), TCP_SND_BUF + 65000 - 5 * FULL);
	stream_finish(&stream);
	stream_done(&stream);
}

static void a_timeout_sends_one_segment(void **state)
{
	struct stream stream;
	struct bed_segment segment;

	open_wide(&stream);
	stream_fill(&stream, 100000);
	stream_push(&stream);
	assert_int_equal(lose_all(&stream), 100000);
	do {
		shim_advance(100 * MS);
		segment = stream_look(&stream);
	} while (!segment.packet);
	assert_int_equal(segment.seq, stream.iss);
	assert_int_equal(segment.len, MSS);
	assert_int_equal(segment.packet->offload.mss, 0);
	assert_int_equal(lose_all(&stream), 0);
	stream_ack_at(&stream, MSS, 300000);
	assert_int_equal(lose_all(&stream), 2 * MSS);
	stream_finish(&stream);
	stream_done(&stream);
}

static void a_fast_retransmission_sends_one_segment(void **state)
{
	struct stream stream;
	struct bed_segment segment;

	open_wide(&stream);
	stream_fill(&stream, 100000);
	stream_push(&stream);
	lose_all(&stream);
	stream_ack_at(&stream, 1000, 300000);
	for (unsigned i = 0; i < 3; i++)
		stream_ack_at(&stream, 1000, 0);
	segment = stream_look(&stream);
	assert_int_equal(segment.seq, stream.iss + 1000);
	assert_int_equal(segment.len, MSS);
	assert_int_equal(lose_all(&stream), 0);
	stream_finish(&stream);
	stream_done(&stream);
}

// 100 bytes of head, then pages; acknowledged up to `at`, then the rest is sent again.
static void acknowledge_part(uint32_t at, bool card_holds_it)
{
	bool cut =
	    !card_holds_it && at >= TCP_TRIM_LEAST; // at once, and not before it is sent again
	struct stream stream;
	struct bed_segment segment;

	open_wide(&stream);
	bed.manual = true;
	assert_true(stream_generated(&stream, 100));
	stream_fill(&stream, 20000);
	stream_push(&stream);
	assert_int_equal(lose_all(&stream), 20100);
	if (!card_holds_it)
		bed_complete_all();
	stream_ack_at(&stream, at, 300000);
	for (unsigned i = 0; i < 4; i++) {
		bool gone = cut && 100 + (i + 1) * PAGE_SIZE <= at;

		assert_int_equal(stream.pages[i]->wire, gone ? 1 : 2);
	}
	assert_int_equal(stream.peer->sent, cut ? at : 0);
	shim_advance(3000 * MS);
	if (card_holds_it) {
		assert_null(stream_look(&stream).packet);
		bed_complete_all();
		shim_advance(100 * MS);
	}
	segment = stream_look(&stream);
	assert_int_equal(segment.seq, stream.iss + at);
	assert_int_equal(segment.len, MIN(20100 - at, MSS));
	bed.manual = false;
	bed_complete_all();
	assert_true(stream_take(&stream, &segment));
	stream_finish(&stream);
	stream_done(&stream);
	tcp_abort(stream.peer->pcb);
	bed_skip();
	bed_peers_forget_one(stream.peer);
	tcp_path_forget_all(); // three seconds of silence let it look as if the path took less
}

static const uint32_t boundaries[] = {
    1,	  50,	99,   100,  101,  1459, 1460, 1461,  2920,  4095,  4096,  4195,
    4196, 4197, 5000, 8291, 8292, 8293, 9000, 17520, 18980, 20000, 20099,
};

static void a_partial_acknowledgement_at_every_boundary(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(boundaries); i++)
		acknowledge_part(boundaries[i], false);
}

static void the_card_holds_it_longer(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(boundaries); i++)
		acknowledge_part(boundaries[i], true);
}

static void a_fin_is_in_the_last_of_what_is_cut(void **state)
{
	struct stream stream;

	for (uint32_t len = 3 * MSS - 1; len <= 3 * MSS + 1; len++) {
		uint64_t before;

		open_wide(&stream);
		stream_fill(&stream, len);
		before = bed.handed;
		assert_int_equal(tcp_shutdown(stream.peer->pcb, 0, 1), ERR_OK);
		assert_int_equal(bed.handed - before, 1);
		stream.closed = true;
		stream_push(&stream);
		assert_int_equal(lose_all(&stream), len); // the FIN too
		stream_ack_at(&stream, MSS + 1, 300000);
		stream_finish(&stream);
		stream_done(&stream);
	}
}

// The data is acknowledged, the FIN is not.
static void a_fin_alone_is_sent_again(void **state)
{
	struct stream stream;
	struct bed_segment segment;

	open_wide(&stream);
	stream_fill(&stream, 1000);
	stream_close(&stream);
	assert_int_equal(lose_all(&stream), 1000);
	stream_ack_at(&stream, 500, 300000);
	stream.fin_seen = 0;
	stream_ack_at(&stream, 1000, 300000);
	do {
		shim_advance(100 * MS);
		segment = stream_look(&stream);
	} while (!segment.packet);
	assert_int_equal(segment.len, 0);
	assert_true(segment.flags & TCP_FIN);
	stream_finish(&stream);
	stream_done(&stream);
}

static void nothing_is_appended_to_a_waiting_retransmission(void **state)
{
	struct stream stream;

	open_wide(&stream);
	stream_fill(&stream, 10000);
	stream_push(&stream);
	lose_all(&stream);
	bed.card.link_up = false; // the card takes nothing
	stream_ack_at(&stream, 1000, 300000);
	for (unsigned i = 0; i < 3; i++)
		stream_ack_at(&stream, 1000, 0);
	assert_null(stream.peer->pcb->unsent);
	stream_fill(&stream, 5000);
	assert_int_equal(stream.peer->pcb->unsent->len, 5000);
	assert_int_equal(tcp_shutdown(stream.peer->pcb, 0, 1), ERR_OK);
	stream.closed = true;
	assert_false(TCPH_FLAGS(stream.peer->pcb->unacked->tcphdr) & TCP_FIN);
	bed.card.link_up = true;
	stream_finish(&stream);
	stream_done(&stream);
}

static void every_window_lets_all_through(void **state)
{
	static const uint32_t windows[] = {8,	 64,   96,   536,  1456,  1464,	 2912,	2920,
					   2928, 4000, 5840, 9000, 20000, 64240, 64248, 100000};

	for (unsigned i = 0; i < ARRAY_SIZE(windows); i++) {
		struct stream stream;
		struct bed_segment segment;
		uint32_t len = MIN(windows[i] * 30, 200000U), idle = 0;

		bed_tso(MOST);
		stream_open(&stream, MSS, windows[i]);
		stream_fill(&stream, len);
		stream_push(&stream);
		while (stream.next < len && idle < 100) {
			for (idle++; (segment = stream_look(&stream)).packet; idle = 0)
				stream_take(&stream, &segment);
			stream_ack(&stream, windows[i]);
			shim_advance(50 * MS);
		}
		assert_int_equal(stream.next, len);
		stream_ack(&stream, windows[i]);
		stream_finish(&stream);
		stream_done(&stream);
	}
}

static void a_closed_window_is_probed(void **state)
{
	struct stream stream;
	struct bed_segment segment;

	open_wide(&stream);
	stream_fill(&stream, 1000);
	stream_push(&stream);
	lose_all(&stream);
	stream.edge = 1000;
	stream_ack_at(&stream, 1000, 0);
	stream_fill(&stream, 60000);
	stream_push(&stream);
	assert_int_equal(lose_all(&stream), 0);
	shim_advance(1000 * MS);
	segment = stream_look(&stream);
	assert_int_equal(segment.len, 1);
	assert_int_equal(segment.seq, stream.iss + 1000);
	stream_finish(&stream);
	stream_done(&stream);
}

static void a_refused_split_is_tried_again(void **state)
{
	for (unsigned way = 0; way < 2; way++) {
		struct stream stream;
		struct bed_segment other;
		struct pbuf *held;

		open_wide(&stream);
		bed.manual = true;
		stream_fill(&stream, 1000);
		stream_push(&stream);
		other = stream_look(&stream); // on the card
		stream_take(&stream, &other);
		stream.peer->pcb->cwnd = 4 * MSS;
		stream_fill(&stream, 60000);
		held = stream.peer->pcb->unsent->p;
		pbuf_ref(held);
		stream_push(&stream);
		assert_null(stream_look(&stream).packet);
		pbuf_free(held);
		if (way == 0) {
			bed_complete(other.packet);
			shim_run();
			assert_int_equal(lose_all(&stream), 3 * MSS);
		} else {
			stream_ack(&stream, 300000);
			assert_true(lose_all(&stream) >= 3 * MSS);
		}
		bed.manual = false;
		stream_finish(&stream);
		stream_done(&stream);
	}
}

static void no_memory_for_a_split_is_no_end(void **state)
{
	for (uint32_t k = 0; k < 6; k++) {
		struct stream stream;

		open_wide(&stream);
		stream.peer->pcb->cwnd = 4 * MSS;
		stream_fill(&stream, 60000);
		assert_true(stream.peer->pcb->rtime < 0);
		pool_fail_after(k);
		stream_push(&stream);
		pool_fail_off();
		// Nothing is in flight, no acknowledgement will come: the timer sends.
		assert_true(stream.peer->pcb->rtime >= 0);
		assert_true(k > 2 || stream.peer->pcb->unacked == NULL);
		for (unsigned i = 0; i < 30 && !stream.next; i++) {
			struct bed_segment segment = stream_look(&stream);

			if (segment.packet)
				stream_take(&stream, &segment);
			shim_advance(100 * MS);
		}
		assert_int_not_equal(stream.next, 0);
		stream_finish(&stream);
		stream_done(&stream);
	}
}

static void a_card_that_cuts_no_more(void **state)
{
	struct stream stream;
	struct bed_segment segment;

	open_wide(&stream);
	stream.peer->pcb->cwnd = 20 * MSS;
	stream_fill(&stream, 100000);
	stream_push(&stream);
	lose_all(&stream);
	bed_tso(0);
	for (unsigned i = 0; i < 10; i++) {
		shim_advance(200 * MS);
		while ((segment = stream_look(&stream)).packet) {
			assert_int_equal(segment.packet->offload.mss, 0);
			stream_take(&stream, &segment);
		}
	}
	stream_finish(&stream);
	assert_int_equal(stream.big, 1);
	stream_done(&stream);
}

// What is left of a connection at each stage goes back when the card is done.
static void a_reset_at_each_stage(void **state)
{
	for (unsigned stage = 0; stage < 6; stage++) {
		for (unsigned by_peer = 0; by_peer < 2; by_peer++) {
			struct stream stream;

			open_wide(&stream);
			bed.manual = stage & 1;
			stream.peer->pcb->cwnd = 20 * MSS;
			stream_fill(&stream, 100000);
			if (stage > 0)
				stream_push(&stream);
			if (stage > 1)
				stream_ack_at(&stream, 10000, 300000);
			if (stage > 3)
				shim_advance(3000 * MS);
			if (by_peer)
				bed_send(stream.peer, TCP_RST, "", 0);
			else
				tcp_abort(stream.peer->pcb);
			assert_null(stream.peer->pcb);
			bed_complete_all();
			for (unsigned i = 0; i < STREAM_PAGES; i++)
				assert_int_equal(stream.pages[i]->wire, 1);
			stream_done(&stream);
			bed_skip();
		}
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_big_segment_is_not_fragmented),
	    TEST(the_windows_split_it_at_whole_segments),
	    TEST(a_little_room_waits_for_more),
	    TEST(a_full_send_buffer_waits_for_more),
	    TEST(a_timeout_sends_one_segment),
	    TEST(a_fast_retransmission_sends_one_segment),
	    TEST(a_partial_acknowledgement_at_every_boundary),
	    TEST(the_card_holds_it_longer),
	    TEST(a_fin_is_in_the_last_of_what_is_cut),
	    TEST(a_fin_alone_is_sent_again),
	    TEST(nothing_is_appended_to_a_waiting_retransmission),
	    TEST(every_window_lets_all_through),
	    TEST(a_closed_window_is_probed),
	    TEST(a_refused_split_is_tried_again),
	    TEST(no_memory_for_a_split_is_no_end),
	    TEST(a_card_that_cuts_no_more),
	    TEST(a_reset_at_each_stage),
	};
	return cmocka_run_group_tests_name("tcp_tso", tests, bed_group_setup, bed_group_teardown);
}
