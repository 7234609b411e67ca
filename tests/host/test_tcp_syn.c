// SPDX-License-Identifier: BSD-2-Clause
// Half-open connections: what a SYN costs, what a flood of them does, and what a connection made from an
// entry or from a cookie knows of its peer.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// SOURCES: net/netstat.c net/lwip/memory.c net/lwip/tcp_syn.c
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
#include "kernel/pool.h"
#include "lwip/priv/tcp_priv.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"
#include "tcp_syn.h"

#define FLOOD (TCP_SYN_ENTRIES + 100)

static const uint8_t full[] = {2, 4, 1400 >> 8, 1400 & 0xff, 1, 3, 3, 7, 1, 1, 4, 2};
#define FULL full, sizeof(full)

static uint64_t count(const char *what)
{
	char name[80] = "pagewire_tcp_syn_";

	return kstat_get(strcat(name, what), NULL);
}

static uint64_t half_open(void)
{
	return kstat_get("pagewire_tcp_connections_half_open", NULL);
}

static uint32_t pcbs(void)
{
	for (struct pool *pool = pool_first(); pool; pool = pool->next)
		if (!strcmp(pool->name, "lwip_TCP_PCB"))
			return pool->used;
	return 0;
}

static void flood(unsigned syns)
{
	for (unsigned i = 0; i < syns; i++) {
		bed_peers_forget_one(bed_syn(FULL, 65535));
		bed_skip();
	}
}

// What is sent meanwhile is not looked at.
static void wait_seconds(unsigned seconds)
{
	for (unsigned i = 0; i < 10 * seconds; i++) {
		shim_advance(NS_PER_SEC / 10);
		bed_skip();
	}
}

// The neighbour is known, so that every SYN is answered at once.
static void meet(void)
{
	struct bed_peer *peer = bed_connect(1460, 65535);

	tcp_abort(peer->pcb);
	stack_flush();
	bed_skip();
}

static struct bed_segment syn_ack_for(struct bed_peer *peer)
{
	struct bed_segment segment = bed_next_tcp();

	assert_non_null(segment.packet);
	assert_int_equal(segment.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(segment.dest, peer->port);
	assert_int_equal(segment.ack, peer->seq);
	return segment;
}

static void expect_rst(uint32_t seq)
{
	struct bed_segment segment = bed_next_tcp();

	assert_non_null(segment.packet);
	assert_int_equal(segment.flags & TCP_RST, TCP_RST);
	assert_int_equal(segment.seq, seq);
}

// ---- entries ----------------------------------------------------------------------------------------

static void a_syn_takes_no_pcb(void **state)
{
	uint32_t before;

	meet();
	before = pcbs();
	flood(1000);
	assert_int_equal(half_open(), 1000);
	assert_int_equal(pcbs(), before);
}

static void check_offer(struct bed_peer *peer)
{
	struct bed_segment answer = syn_ack_for(peer);
	const uint8_t *options = answer.packet->frame + 54;

	assert_int_equal(answer.mss, 1460);
	assert_memory_equal(options + 4, "\1\3\3\7\1\1\4\2", 8); // TCP_RCV_SCALE, SACK
	bed_ack(peer, answer.seq + 1);
	assert_non_null(peer->pcb);
	assert_int_equal(peer->pcb->state, ESTABLISHED);
	assert_int_equal(peer->pcb->mss, 1400);
	assert_int_equal(peer->pcb->snd_scale, 7);
	assert_int_equal(peer->pcb->snd_wnd, 1000 << 7);
	assert_true(tcp_is_flag_set(peer->pcb, TF_SACK));
	assert_true(tcp_is_flag_set(peer->pcb, TF_WND_SCALE));
	assert_int_equal(peer->pcb->rcv_wnd, TCP_WND);
	bed_send(peer, TCP_ACK, "GET", 3);
	assert_int_equal(peer->received, 3);
}

static void what_a_syn_offers_reaches_the_connection(void **state)
{
	meet();
	check_offer(bed_syn(FULL, 1000));
	assert_int_equal(half_open(), 0);
}

static void a_syn_ack_is_sent_again_for_a_minute(void **state)
{
	struct bed_peer *peer;
	uint64_t again = count("ack_retransmits_total"), expired = count("expired_total");
	uint32_t iss;

	meet();
	peer = bed_syn(FULL, 1000);
	iss = syn_ack_for(peer).seq;
	shim_advance(NS_PER_SEC / 20);
	for (unsigned wait = 1; wait <= 16; wait *= 2) {
		shim_advance((wait * 10 - 2) * NS_PER_SEC / 10);
		assert_null(bed_next_tcp().packet);
		shim_advance(2 * NS_PER_SEC / 10);
		assert_int_equal(syn_ack_for(peer).seq, iss);
	}
	shim_advance(30 * NS_PER_SEC);
	assert_int_equal(half_open(), 1);
	shim_advance(3 * NS_PER_SEC);
	assert_null(bed_next_tcp().packet);
	assert_int_equal(half_open(), 0);
	assert_int_equal(count("ack_retransmits_total") - again, 5);
	assert_int_equal(count("expired_total") - expired, 1);
	bed_ack(peer, iss + 1);
	expect_rst(iss + 1);
}

static void a_syn_again_gets_the_same_answer(void **state)
{
	struct bed_peer *peer;
	uint32_t iss;

	meet();
	peer = bed_syn(FULL, 1000);
	iss = syn_ack_for(peer).seq;
	peer->seq--;
	bed_send_options(peer, TCP_SYN, FULL, "", 0);
	assert_int_equal(syn_ack_for(peer).seq, iss);
	assert_int_equal(half_open(), 1);
	peer->seq += 1000; // not that SYN again, but a new one
	bed_send_options(peer, TCP_SYN, FULL, "", 0);
	assert_int_equal(half_open(), 1);
	bed_ack(peer, syn_ack_for(peer).seq + 1);
	assert_non_null(peer->pcb);
}

static void only_an_exact_rst_ends_it(void **state)
{
	struct bed_peer *peer;
	uint32_t iss;

	meet();
	peer = bed_syn(FULL, 1000);
	iss = syn_ack_for(peer).seq;
	peer->seq += 5;
	bed_send(peer, TCP_RST, "", 0);
	assert_int_equal(half_open(), 1);
	peer->seq -= 5;
	bed_ack(peer, iss + 7); // not what we sent
	expect_rst(iss + 7);
	assert_int_equal(half_open(), 1);
	bed_send(peer, TCP_RST, "", 0);
	assert_int_equal(half_open(), 0);
	assert_null(peer->pcb);
}

static void data_may_come_before_the_ack(void **state)
{
	struct bed_peer *peer;

	meet();
	peer = bed_syn(FULL, 1000);
	peer->ack = syn_ack_for(peer).seq + 1;
	peer->seq += 3;
	bed_send(peer, TCP_ACK, "later", 5);
	assert_non_null(peer->pcb);
	assert_int_equal(peer->received, 0);
	peer->seq -= 8;
	bed_send(peer, TCP_ACK, "GET", 3);
	assert_int_equal(peer->received, 8);
}

static void no_memory_for_a_pcb_is_survived(void **state)
{
	struct bed_peer *peer;
	uint32_t iss;

	meet();
	peer = bed_syn(FULL, 1000);
	iss = syn_ack_for(peer).seq;
	pool_fail_after(0);
	bed_ack(peer, iss + 1);
	pool_fail_off();
	assert_null(peer->pcb);
	bed_send(peer, TCP_ACK, "GET", 3);
	assert_non_null(peer->pcb);
	assert_int_equal(peer->received, 3);
}

// ---- cookies ----------------------------------------------------------------------------------------

static void a_flood_keeps_nobody_out_and_leaves_nothing(void **state)
{
	uint32_t before;

	meet();
	before = pcbs();
	flood(FLOOD);
	assert_int_equal(half_open(), TCP_SYN_ENTRIES);
	assert_int_equal(pcbs(), before);
	check_offer(bed_syn(FULL, 1000));
	assert_int_equal(count("cookies_accepted_total"), 1);
	assert_int_equal(pcbs(), before + 1);
	wait_seconds(65);
	assert_int_equal(half_open(), 0);
}

static void a_cookie_rounds_down(void **state)
{
	static const uint8_t odd[] = {2, 4, 1299 >> 8, 1299 & 0xff, 1, 3, 3, 14};
	static const uint8_t none[] = {2, 4, 0, 100};
	struct bed_peer *peer;

	meet();
	flood(FLOOD);
	peer = bed_syn(odd, sizeof(odd), 1000);
	bed_ack(peer, syn_ack_for(peer).seq + 1);
	assert_int_equal(peer->pcb->mss, 1200);
	assert_int_equal(peer->pcb->snd_scale, 10);
	assert_false(tcp_is_flag_set(peer->pcb, TF_SACK));
	peer = bed_syn(none, sizeof(none), 1000);
	bed_ack(peer, syn_ack_for(peer).seq + 1);
	assert_int_equal(peer->pcb->mss, TCP_MIN_MSS);
	assert_false(tcp_is_flag_set(peer->pcb, TF_WND_SCALE));
	assert_int_equal(peer->pcb->snd_wnd, 1000);
}

static void a_forged_cookie_opens_nothing(void **state)
{
	struct bed_peer *peer;
	uint32_t iss;

	meet();
	flood(FLOOD);
	peer = bed_syn(FULL, 1000);
	iss = syn_ack_for(peer).seq;
	for (unsigned bit = 0; bit < 32; bit++) {
		bed_ack(peer, (iss ^ 1U << bit) + 1);
		assert_null(peer->pcb);
	}
	peer->seq++;
	bed_ack(peer, iss + 1); // not the number the cookie was made for
	assert_null(peer->pcb);
	assert_null(bed_next_tcp().packet); // a RST could hit a connection yet to come
	assert_int_equal(count("cookies_rejected_total"), 33);
	peer->seq--;
	bed_ack(peer, iss + 1);
	assert_non_null(peer->pcb);
}

static void an_old_cookie_is_none(void **state)
{
	struct bed_peer *peer;
	uint32_t iss;

	meet();
	flood(FLOOD);
	peer = bed_syn(FULL, 1000);
	iss = syn_ack_for(peer).seq;
	wait_seconds(66);
	bed_ack(peer, iss + 1);
	expect_rst(iss + 1); // none were sent lately
	flood(FLOOD);
	bed_ack(peer, iss + 1);
	assert_null(peer->pcb);
}

// Its SYN came once more after there was room again; the peer goes by the answer that it had first.
static void a_cookie_counts_beside_an_entry_of_the_same_syn(void **state)
{
	struct bed_peer *peer;
	uint32_t iss;

	meet();
	flood(FLOOD);
	peer = bed_syn(FULL, 1000);
	iss = syn_ack_for(peer).seq;
	tcp_syn_forget_all();
	assert_int_equal(half_open(), 0);
	peer->seq--;
	bed_send_options(peer, TCP_SYN, FULL, "", 0);
	assert_int_not_equal(syn_ack_for(peer).seq, iss);
	assert_int_equal(half_open(), 1);
	peer->seq += 3;
	bed_ack(peer, iss + 1); // a later segment of it
	assert_null(bed_next_tcp().packet);
	assert_int_equal(half_open(), 1);
	peer->seq -= 3;
	bed_ack(peer, iss + 1);
	assert_non_null(peer->pcb);
	assert_int_equal(half_open(), 0);
	bed_send(peer, TCP_ACK, "GET", 3);
	assert_int_equal(peer->received, 3);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_syn_takes_no_pcb),
	    T(what_a_syn_offers_reaches_the_connection),
	    T(a_syn_ack_is_sent_again_for_a_minute),
	    T(a_syn_again_gets_the_same_answer),
	    T(only_an_exact_rst_ends_it),
	    T(data_may_come_before_the_ack),
	    T(no_memory_for_a_pcb_is_survived),
	    T(a_flood_keeps_nobody_out_and_leaves_nothing),
	    T(a_cookie_rounds_down),
	    T(a_forged_cookie_opens_nothing),
	    T(an_old_cookie_is_none),
	    T(a_cookie_counts_beside_an_entry_of_the_same_syn),
	};

	return cmocka_run_group_tests(tests, bed_group_setup, bed_group_teardown);
}
