// SPDX-License-Identifier: BSD-2-Clause
// The straight way of an established connection (net/lwip/tcp_straight.c) against the general one: a server that
// answers from inside its callbacks, refuses, closes and aborts, a client that acknowledges all, a part, nothing, a
// card that is slow or full; the same dialogue with both must leave the same bytes on the wire and the
// same state in the connection after each segment.
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

#include "kernel/kstat.h"
#include "kernel/timer.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "net/straight.h"
#include "netbed.h"
#include "netbed_digest.h"
#include "shim.h"
#include "tcp_straight.h"

#define PAGES 15

static struct page *file[PAGES];
static char head[300];
static uint32_t largest = PAGES * PAGE_SIZE;
static enum { ANSWER, KEEP, CLOSE, ABORT, CLOSE_WHEN_SENT, ABORT_WHEN_SENT } next_move;

static const uint8_t request[1400] = "GET / HTTP/1.1\r\n";
static bool in_place; // on_data takes what comes now
static unsigned offered, in_place_taken;

// Half of them are of a few files that are asked for again and again.
static uint16_t length(void)
{
	static const uint16_t often[] = {1, 700, 1260, 4000, PAGE_SIZE, PAGE_SIZE + 1};

	if (bed_draw(2))
		return often[bed_draw(ARRAY_SIZE(often))];
	return (uint16_t)(bed_draw(4) ? bed_draw(9000) : bed_draw(largest));
}

// Heads have names: the same bytes, the same name. Where one answer is all, it may leave at once.
static bool alone = true;
static unsigned at_once[2]; // over IPv4, over IPv6
static bool write_answer(struct tcp_pcb *pcb, uint16_t len)
{
	const struct answer_head named = {head, 200, 1}, shorter = {head, 100, 2};
	const struct answer_head *of = bed_draw(4) ? &named : &shorter;

	if (!alone || bed_draw(4) == 0)
		return answer_write(pcb, head, 200, file, len);
	if (len && len <= PAGE_SIZE && answer_now(pcb, of, file[0], len)) {
		at_once[IP_IS_V6_VAL(pcb->remote_ip)]++;
		return true;
	}
	return answer_fits(pcb, of->len, len) && answer_queue(pcb, of, file, len);
}

static void answer(struct tcp_pcb *pcb)
{
	uint16_t len = length();
	unsigned count = (len + PAGE_SIZE - 1) / PAGE_SIZE;

	if (tcp_sndbuf(pcb) < len + sizeof(head))
		return;
	for (unsigned i = 0; i < count; i++)
		page_wire_get(file[i]);
	if (write_answer(pcb, len))
		return;
	for (unsigned i = 0; i < count; i++)
		page_wire_put(file[i]);
	genbuf_write(pcb, head, (uint16_t)(1 + bed_draw(sizeof(head))), bed_draw(2));
}

static void answers(struct tcp_pcb *pcb)
{
	uint32_t n = bed_draw(8) ? bed_draw(2) : bed_draw(3);

	for (alone = n == 1; n; n--)
		answer(pcb);
	alone = true;
}

// Called from a callback: what it returns.
static err_t leave(struct bed_peer *peer, struct tcp_pcb *pcb, bool abort)
{
	peer->pcb = NULL;
	tcp_err(pcb, NULL);
	tcp_take(pcb, NULL);
	tcp_recv(pcb, NULL);
	tcp_sent(pcb, NULL);
	if (!abort && tcp_close(pcb) == ERR_OK)
		return ERR_OK;
	tcp_abort(pcb);
	return ERR_ABRT;
}

// What a server does that takes data where it lies: the same without a packet.
static int on_data(void *arg, struct tcp_pcb *pcb, const void *data, u16_t len)
{
	struct bed_peer *peer = arg;

	offered++;
	if (!in_place || next_move == KEEP || next_move == CLOSE || next_move == ABORT)
		return 0;
	assert_memory_equal(data, request, len);
	in_place_taken++;
	peer->received += len;
	answers(pcb);
	return 1;
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct bed_peer *peer = arg;

	if (!p)
		return ERR_OK;
	if (next_move == KEEP)
		return ERR_MEM; // offered again later
	peer->received += p->tot_len;
	if (!in_place)
		peer->error ^= (err_t)p->flags; // whether it was pushed
	if (next_move != CLOSE)			// which leaves data unread: a reset
		tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	if (next_move == CLOSE || next_move == ABORT)
		return leave(peer, pcb, next_move == ABORT);
	answers(pcb);
	return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	struct bed_peer *peer = arg;

	peer->sent += len;
	if (next_move == CLOSE_WHEN_SENT || next_move == ABORT_WHEN_SENT)
		return leave(peer, pcb, next_move == ABORT_WHEN_SENT);
	if (!bed_draw(10))
		answer(pcb);
	return ERR_OK;
}

static unsigned sent_calls;
static err_t count_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	struct bed_peer *peer = arg;

	peer->sent += len;
	sent_calls++;
	return ERR_OK;
}

// How far the peer acknowledges: all it saw, or some way from what it last acknowledged.
static void acknowledge(struct bed_peer *peer, uint32_t iss, uint32_t seen)
{
	uint32_t open = iss + seen - peer->ack;

	if (bed_draw(4) == 0 && open < BIT(20))
		peer->ack += bed_draw(open + 1);
	else if (bed_draw(6))
		peer->ack = iss + seen;
}

static struct nd6_neighbor_cache_entry *neighbour; // the peer's over IPv6, null over IPv4

static void find_neighbour(const struct bed_peer *peer)
{
	neighbour = peer->ipv6 ? neighbor_cache : NULL;
	while (neighbour &&
	       (neighbour->state == ND6_NO_ENTRY ||
		!ip6_addr_eq(&neighbour->next_hop_address, ip_2_ip6(&peer->pcb->remote_ip))))
		assert_true(++neighbour < neighbor_cache + LWIP_ND6_NUM_NEIGHBORS);
}

static void set_neighbour(uint32_t state, uint32_t counter)
{
	if (!neighbour)
		return;
	neighbour->state = (uint8_t)state;
	neighbour->counter.reachable_time = counter;
}

static uint32_t stamped; // what the server's first time stamp was

static void step(struct bed_peer *peer, uint32_t iss, uint32_t seen)
{
	uint32_t what = bed_draw(40);

	in_place = bed_draw(2);
	next_move = what == 0 ? KEEP : ANSWER;
	// lwIP does not mind its pcb being closed while it offers again what was refused.
	if (bed_draw(400) == 0 && peer->pcb && !peer->pcb->refused_data)
		next_move = CLOSE + bed_draw(4);
	if (what == 1)
		peer->window = (uint16_t)(bed_draw(3) ? 20000 + bed_draw(40000) : bed_draw(3000));
	if (what == 2)
		tcp_ticks += 1 + bed_draw(5);
	if (what == 3 || what == 5)
		bed.manual = true;
	if (what == 5)
		bed.ring_room = 1;
	if (what == 4)
		bed_catch_up();
	if (what == 6 && peer->pcb && peer->pcb->refused_data)
		tcp_process_refused_data(peer->pcb);
	if (what < 20)
		peer->ts_value += bed_draw(3);
	if (what == 7)
		peer->ts_value -= bed_draw(30); // PAWS
	peer->ts_echo = stamped - bed_draw(100);
	if (what == 8 && bed_draw(20) == 0)
		peer->times = !peer->times; // where they were agreed upon, or not
	if (what == 9 || what == 10)
		set_neighbour(ND6_REACHABLE + bed_draw(4), 1 + bed_draw(20));
	acknowledge(peer, iss, seen);
	bed_send(peer, TCP_ACK | (bed_draw(2) ? TCP_PSH : 0), request,
		 bed_draw(2) ? 1 + bed_draw(1300) : 0);
	if (peer->pcb && bed_draw(30) == 0)
		peer->seq = peer->pcb->rcv_nxt - bed_draw(600); // part of it again
	else if (peer->pcb && bed_draw(20))
		peer->seq = peer->pcb->rcv_nxt;
}

static struct bed_peer *connected(uint16_t mss)
{
	uint16_t window = (uint16_t)(30000 + bed_draw(30000));
	struct bed_peer *peer =
	    bed_draw(2) ? bed_connect_times(mss, window, 0xffffff00) : bed_connect(mss, window);

	stamped = peer->ts_echo;
	return peer;
}

static uint64_t dialogue(uint64_t seed)
{
	shim_advance(100 * NS_PER_SEC - clock_ns() % (100 * NS_PER_SEC));
	bed_dice(seed);
	bed.ipv6 = bed_draw(2);
	bed_tso(bed_draw(3) ? 65535 : 0);
	struct bed_peer *peer = connected((uint16_t)(bed_draw(4) ? 1460 : 536));
	uint32_t iss = bed_iss(peer), irs = peer->seq, seen = 0;
	uint64_t digest = 1;

	bed_fold_from_here(peer->pcb);
	tcp_take(peer->pcb, on_data);
	tcp_recv(peer->pcb, on_recv);
	tcp_sent(peer->pcb, on_sent);
	find_neighbour(peer);
	set_neighbour(ND6_REACHABLE, reachable_time);
	for (unsigned n = 0; n < 300 && peer->pcb; n++) {
		step(peer, iss, seen);
		bed_fold(&digest, peer, iss, irs, &seen);
		if (neighbour) {
			bed_fold_value(&digest, neighbour->state);
			bed_fold_value(&digest, neighbour->counter.reachable_time);
		}
	}
	set_neighbour(ND6_REACHABLE, reachable_time);
	bed_dialogue_end(peer);
	return digest;
}

static void both_ways_leave_the_same_bytes_and_state(void **state)
{
	for (unsigned i = 0; i < PAGES; i++)
		file[i] = bed_page((uint8_t)i);
	uint64_t in = tcp_straight_in6, out = tcp_straight_out6;

	assert_true(bed_both_ways(dialogue, 160, "pagewire_net_straight_established_total") > 7000);
	assert_true(tcp_straight_in6 - in > 2000 && tcp_straight_out6 - out > 300);
	assert_true(at_once[0] > 15 && at_once[1] > 15);
	assert_true(in_place_taken > 1000 && offered > in_place_taken + 1000);
	for (unsigned i = 0; i < PAGES; i++)
		bed_page_done(file[i]);
}

// With everything on its way and nothing left to send, a row of acknowledgements in one batch leaves what it
// leaves one by one; the server is told of the same bytes, but of all at once.
#define ROUNDS 20
static uint64_t acknowledged_in_a_row(uint64_t seed, bool batch, unsigned *calls)
{
	uint64_t digest = 1;
	uint32_t iss, irs, seen = 0;
	struct bed_peer *peer;

	shim_advance(100 * NS_PER_SEC - clock_ns() % (100 * NS_PER_SEC));
	bed_skip();
	bed_dice(seed);
	bed.ipv6 = bed_draw(2);
	bed_tso(bed_draw(2) ? 65535 : 0);
	peer = bed_draw(2) ? bed_connect_times(1460, 60000, 1) : bed_connect(1460, 60000);
	iss = bed_iss(peer);
	irs = peer->seq;
	bed_fold_from_here(peer->pcb);
	peer->pcb->cwnd = BIT(20); // all goes at once
	tcp_sent(peer->pcb, count_sent);
	sent_calls = 0;
	for (unsigned round = 0; round < ROUNDS; round++) {
		next_move = ANSWER;
		for (uint32_t n = 1 + bed_draw(4); n; n--)
			answer(peer->pcb);
		tcp_output(peer->pcb);
		stack_flush();
		bed_fold(&digest, peer, iss, irs, &seen);
		bed.batch = batch;
		while (peer->ack != iss + seen) {
			peer->ack += 1 + bed_draw(MIN(iss + seen - peer->ack, 6000));
			bed_send(peer, TCP_ACK, "", 0);
			if (!bed_draw(40))
				bed_send(peer, TCP_ACK | TCP_PSH, "more", 4);
			if (!bed_draw(30))
				break;
		}
		bed.batch = false;
		bed_batch_end();
		assert_null(peer->pcb->unsent);
		peer->ack = iss + seen;
		bed_send(peer, TCP_ACK, "", 0);
		bed_fold(&digest, peer, iss, irs, &seen);
	}
	*calls = sent_calls;
	tcp_abort(peer->pcb);
	bed_complete_all();
	bed_skip();
	bed_peers_forget_one(peer);
	return digest;
}

static void acknowledgements_of_a_batch_are_one_to_the_server(void **state)
{
	unsigned alone = 0, together = 0, calls;

	largest = 9000;
	for (unsigned i = 0; i < PAGES; i++)
		file[i] = bed_page((uint8_t)i);
	for (unsigned n = 0; n < 40; n++) {
		uint64_t seed = shim_seed() + n * 104729, one;
		one = acknowledged_in_a_row(seed, false, &calls);
		alone += calls;
		assert_true(acknowledged_in_a_row(seed, true, &calls) == one);
		together += calls;
	}
	// The server hears of each round once; of more where the peer says something else in between.
	assert_true((together - 40 * ROUNDS) * 2 < alone - 40 * ROUNDS);
	assert_true(bed.passed_over > 1000);
	largest = PAGES * PAGE_SIZE;
	for (unsigned i = 0; i < PAGES; i++)
		bed_page_done(file[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(acknowledgements_of_a_batch_are_one_to_the_server,
					    bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(both_ways_leave_the_same_bytes_and_state, bed_setup,
					    bed_teardown),
	};
	return cmocka_run_group_tests_name("straight answers", tests, bed_group_setup,
					   bed_group_teardown);
}
