// SPDX-License-Identifier: BSD-2-Clause
// Whatever a peer has told before, of what it got and of its window, and whatever routers have said: once it is honest
// and has room, all data comes, and nothing stands still for longer than a time-out. From one printed seed.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c tests/host/netbed_digest.c kernel/netdev_list.c
// SOURCES: kernel/string.c net/netstat.c
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
#include "tcp_hash.h"
#include "tcp_path.h"

#define DIALOGUES 100
#define STEPS	  150
#define TICK_MS	  10
#define MSS	  1460

static const uint8_t syns[][20] = {
    {2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 9, 9, 0, 0, 0, 0, 1, 3, 3, 7}, // as Linux
    {2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2},			     // as Windows
    {2, 4, 2, 24, 3, 3, 2, 1},
    {2, 4, 5, 180, 8, 10, 0, 0, 9, 9, 0, 0, 0, 0, 1, 1},
    {2, 4, 5, 180},
};
static const unsigned syn_bytes[] = {20, 12, 8, 16, 4};

static struct bed_peer *peer;
static uint32_t longest;

static uint32_t below(uint32_t n)
{
	return (uint32_t)shim_random_below(n);
}

static uint32_t in_flight(void)
{
	return peer->pcb->snd_nxt - peer->pcb->lastack;
}

static void connected(void)
{
	unsigned kind = below(ARRAY_SIZE(syns));
	struct bed_segment syn_ack;

	peer = bed_syn(syns[kind], syn_bytes[kind], (uint16_t)(2000 + below(60000)));
	syn_ack = bed_next_tcp();
	if (!syn_ack.packet)
		syn_ack = bed_next_tcp();
	peer->times = syn_ack.times;
	peer->ts_value = 0x909;
	peer->ts_echo = syn_ack.ts_value;
	bed_ack(peer, syn_ack.seq + 1);
}

static void write_pages(void)
{
	for (unsigned n = 1 + below(12); n; n--) {
		uint16_t len = (uint16_t)(below(3) ? PAGE_SIZE : 1 + below(PAGE_SIZE - 1));
		struct page *page = bed_page(1);

		if (tcp_sndbuf(peer->pcb) >= len)
			(void)pagebuf_write(peer->pcb, page, 0, len, below(2));
		bed_page_done(page);
	}
	tcp_output(peer->pcb);
	stack_flush();
}

// Blocks that are true, or were, or lie far off, in any order.
static void send_blocks(void)
{
	unsigned blocks = 1 + below(3);
	uint8_t options[28] = {1, 1, 5, (uint8_t)(2 + 8 * blocks)}, *at = options + 4;

	for (unsigned n = 0; n < blocks; n++) {
		uint32_t left = peer->pcb->lastack + below(in_flight() + 1);
		uint32_t right = left + 1 + below(5000);

		if (!below(8))
			left -= below(10000); // what is known already
		if (!below(20))
			right += 1U << below(32);
		for (unsigned b = 0; b < 4; b++) {
			at[b] = (uint8_t)(left >> (24 - 8 * b));
			at[4 + b] = (uint8_t)(right >> (24 - 8 * b));
		}
		at += 8;
	}
	peer->ack = peer->pcb->lastack;
	if (peer->times)
		bed_send(peer, TCP_ACK, "", 0); // its options are made by the bed
	else
		bed_send_options(peer, TCP_ACK, options, 4 + 8 * blocks, "", 0);
}

static void send_window(void)
{
	peer->window = (uint16_t)(below(3) ? below(3000) : below(2) ? 0 : below(65536));
	if (below(2))
		bed_send(peer, TCP_ACK, "x", 1);
	else
		bed_ack(peer, peer->pcb->lastack + below(2) * below(in_flight() + 1));
}

static void router_speaks(void)
{
	static const uint32_t sizes[] = {0, 296, 576, 1000, 1280, 1400, 1492};
	struct tcp_tuple tuple;

	tcp_tuple_fill(&tuple, &peer->pcb->local_ip, peer->pcb->local_port, &peer->pcb->remote_ip,
		       peer->pcb->remote_port);
	tcp_path_too_big(&tuple, peer->pcb->lastack + below(in_flight() + 1),
			 sizes[below(ARRAY_SIZE(sizes))], 1500);
	stack_flush();
}

// The peer's clock and what it echoes go on, whatever it makes of what comes.
static void hear(void)
{
	for (struct bed_segment s = bed_next_tcp(); s.packet; s = bed_next_tcp())
		peer->ts_echo = s.ts_value;
}

static void step(void)
{
	peer->ts_value++;
	switch (below(12)) {
	case 0:
	case 1:
		write_pages();
		break;
	case 2:
	case 3: // also what never came
		bed_ack(peer, peer->pcb->lastack + below(in_flight() + 1));
		break;
	case 4:
		for (unsigned n = below(6); n; n--)
			bed_ack(peer, peer->pcb->lastack);
		break;
	case 5:
	case 6:
		send_blocks();
		break;
	case 7:
		send_window();
		break;
	case 8:
		if (!below(10))
			router_speaks();
		break;
	case 9:
		bed.manual = below(2);
		bed_complete_all();
		break;
	default:
		shim_advance((below(8) ? below(300) : below(20000)) * NS_PER_MS);
	}
	hear();
}

// What has come of the stream: all before `edge`, and of what is behind it the newest stretch.
static struct {
	uint32_t edge, left, right;
} got;

static void take(uint32_t seq, uint32_t len)
{
	uint32_t end = seq + len;

	if (TCP_SEQ_LEQ(end, got.edge))
		return;
	if (TCP_SEQ_LEQ(seq, got.edge)) {
		got.edge = end;
		if (got.left != got.right && TCP_SEQ_LEQ(got.left, end)) {
			got.edge = TCP_SEQ_GT(got.right, end) ? got.right : end;
			got.left = got.right;
		}
		return;
	}
	if (got.left == got.right || seq != got.right)
		got.left = seq;
	got.right = end;
}

static void acknowledge(void)
{
	uint8_t options[24] = {1, 1, 8, 10}, *at = options + 12;
	uint32_t words[] = {peer->ts_value, peer->ts_echo, got.left, got.right};
	const uint8_t sack[] = {1, 1, 5, 10};

	peer->ack = got.edge;
	if (!(peer->pcb->flags & TF_SACK) || got.left == got.right) {
		bed_send(peer, TCP_ACK, "", 0);
		return;
	}
	for (unsigned i = 0; i < 16; i++)
		(i < 8 ? options + 4 : options + 8)[i] =
		    (uint8_t)(words[i / 4] >> (24 - 8 * (i % 4)));
	memcpy(at, sack, sizeof(sack));
	if (peer->times)
		bed_send_options(peer, TCP_ACK, options, 24, "", 0);
	else
		bed_send_options(peer, TCP_ACK, at, 12, "", 0);
}

// Ends when all has come.
static void be_honest(void)
{
	uint32_t stall = 0, most = TCP_RTO_MAX;

	got.edge = got.left = got.right = peer->pcb->lastack;
	bed.manual = false;
	bed_complete_all();
	peer->window = 60000;
	bed_send(peer, TCP_ACK, "x", 1);
	while (peer->pcb->unacked || peer->pcb->unsent) {
		struct bed_segment segment;
		uint32_t before = got.edge;
		bool heard = false;

		while ((segment = bed_next_tcp()).packet) {
			heard |= segment.len > 0;
			take(segment.seq, segment.len);
			peer->ts_echo = segment.ts_value;
		}
		shim_advance(TICK_MS * NS_PER_MS);
		assert_non_null(peer->pcb);
		peer->ts_value += TICK_MS;
		if (heard)
			acknowledge();
		stall += TICK_MS;
		longest = MAX(longest, stall);
		assert_in_range(stall, 0, most + 1000);
		if (got.edge == before)
			continue;
		stall = 0;
		most = (uint32_t)peer->pcb->rto * TCP_TMR_INTERVAL;
	}
	assert_int_equal(peer->pcb->lastack, peer->pcb->snd_lbb);
}

static void all_data_comes_once_a_peer_is_honest(void **state)
{
	unsigned ended = 0;

	for (unsigned n = 0; n < DIALOGUES; n++) {
		tcp_path_forget_all();
		bed_tso((uint16_t)(below(2) ? 30000 : 0));
		connected();
		for (unsigned s = 0; s < STEPS && peer->pcb; s++)
			step();
		if (peer->pcb)
			be_honest();
		else
			ended++; // nobody had answered for long
		if (peer->pcb)
			tcp_abort(peer->pcb);
		stack_flush();
		bed_complete_all();
		bed_skip();
		bed_peers_forget_one(peer);
	}
	print_message("# longest stall %u ms, %u of %u ended\n", longest, ended, DIALOGUES);
	assert_true(ended < DIALOGUES / 2);
	bed_tso(0);
	tcp_path_forget_all();
}

static void write_bytes(uint16_t bytes)
{
	static const char junk[12 * MSS];

	assert_int_equal(tcp_write(peer->pcb, junk, bytes, TCP_WRITE_FLAG_COPY), ERR_OK);
	tcp_output(peer->pcb);
	stack_flush();
}

// RFC 5682, 2.1, 3a, for a peer without SACK, whose host shows it several segments as one: the new ones that were sent
// to learn whether the time-out was for nothing fill the window, and one acknowledgement tells of both.
static void a_time_out_for_loss_goes_on_beside_the_new_segments(void **state)
{
	uint32_t first, next;
	struct bed_segment segment;

	peer = bed_connect(MSS, 60000);
	first = bed_iss(peer);
	write_bytes(300);
	write_bytes(12 * MSS);
	bed_skip(); // all of it is lost
	while (!(segment = bed_next_tcp()).packet)
		shim_advance(NS_PER_MS);
	assert_int_equal(segment.seq, first);
	assert_int_equal(segment.len, 300);
	next = peer->pcb->snd_nxt;
	bed_ack(peer, first + 300);
	assert_int_equal(bed_next_tcp().seq, next);
	assert_int_equal(bed_next_tcp().seq, next + MSS);
	bed_ack(peer, first + 300);
	for (uint32_t at = first + 300; at != next; at += segment.len) {
		segment = bed_next_tcp();
		assert_non_null(segment.packet); // without a timer
		assert_int_equal(segment.seq, at);
		bed_ack(peer, at + segment.len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(all_data_comes_once_a_peer_is_honest, bed_setup,
					    bed_teardown),
	    cmocka_unit_test_setup_teardown(a_time_out_for_loss_goes_on_beside_the_new_segments,
					    bed_setup, bed_teardown),
	};

	return cmocka_run_group_tests_name("tcp_lively", tests, bed_group_setup,
					   bed_group_teardown);
}
