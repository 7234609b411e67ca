// SPDX-License-Identifier: BSD-2-Clause
// TIME_WAIT without a PCB: what it still answers, how a new connection takes its place, how it ends.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// SOURCES: net/netstat.c net/lwip/memory.c net/lwip/tcp_tw.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/kstat.h"
#include "kernel/pool.h"
#include "lwip/priv/tcp_priv.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"
#include "tcp_tw.h"

static uint32_t used(const char *name)
{
	for (struct pool *pool = pool_first(); pool; pool = pool->next)
		if (!strcmp(pool->name, name))
			return pool->used;
	return 0;
}

static uint64_t waiting(void)
{
	return kstat_get("pagewire_tcp_connections_time_wait", NULL);
}

static void expect_ack(uint32_t seq, uint32_t ack)
{
	struct bed_segment segment = bed_next_tcp();

	assert_non_null(segment.packet);
	assert_int_equal(segment.flags, TCP_ACK);
	assert_int_equal(segment.seq, seq);
	assert_int_equal(segment.ack, ack);
}

// We close first, the peer agrees.
static struct bed_peer *closed_connection(void)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	struct bed_segment fin;

	bed_send(peer, TCP_ACK, "GET", 3);
	bed_skip();
	assert_int_equal(tcp_close(peer->pcb), ERR_OK);
	stack_flush();
	fin = bed_next_tcp();
	assert_int_equal(fin.flags & TCP_FIN, TCP_FIN);
	bed_ack(peer, fin.seq + 1);
	bed_send(peer, TCP_FIN | TCP_ACK, "", 0);
	peer->pcb = NULL;
	expect_ack(peer->ack, peer->seq);
	return peer;
}

static void it_holds_no_pcb_and_ends_after_two_msl(void **state)
{
	uint32_t pcbs = used("lwip_TCP_PCB");

	closed_connection();
	assert_int_equal(used("lwip_TCP_PCB"), pcbs);
	assert_int_equal(used("tcp_tw"), 1);
	assert_int_equal(waiting(), 1);
	shim_advance(29 * NS_PER_SEC);
	assert_int_equal(waiting(), 1);
	shim_advance(2 * NS_PER_SEC);
	assert_int_equal(waiting(), 0);
	assert_int_equal(used("tcp_tw"), 0);
}

static void a_fin_again_is_acknowledged_and_starts_the_time_anew(void **state)
{
	struct bed_peer *peer = closed_connection();

	shim_advance(20 * NS_PER_SEC);
	peer->seq--;
	bed_send(peer, TCP_FIN | TCP_ACK, "", 0);
	expect_ack(peer->ack, peer->seq);
	shim_advance(20 * NS_PER_SEC);
	assert_int_equal(waiting(), 1);
	bed_send(peer, TCP_ACK, "old", 3); // data, whatever it is
	peer->seq -= 3;
	expect_ack(peer->ack, peer->seq);
	bed_send(peer, TCP_ACK, "", 0);
	assert_null(bed_next_tcp().packet); // a bare ACK is not answered
	shim_advance(11 * NS_PER_SEC);
	assert_int_equal(waiting(), 0);
}

static void a_reset_does_not_end_it(void **state)
{
	struct bed_peer *peer = closed_connection();

	bed_send(peer, TCP_RST, "", 0);
	bed_send(peer, TCP_RST | TCP_ACK, "", 0);
	assert_int_equal(waiting(), 1);
}

static void a_new_syn_takes_its_place(void **state)
{
	struct bed_peer *peer = closed_connection();
	struct bed_segment answer;
	uint32_t old = peer->ack;

	peer->seq += 1000;
	bed_send(peer, TCP_SYN, "", 0);
	answer = bed_next_tcp();
	assert_int_equal(answer.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(answer.ack, peer->seq);
	assert_true((int32_t)(answer.seq - old) > 65535);
	assert_int_equal(waiting(), 0);
	bed_ack(peer, answer.seq + 1);
	assert_non_null(peer->pcb);
	bed_send(peer, TCP_ACK, "GET", 3);
	assert_int_equal(peer->received, 6);
}

static void an_old_syn_does_not(void **state)
{
	struct bed_peer *peer = closed_connection();
	uint32_t seq = peer->seq;

	peer->seq -= 5;
	bed_send(peer, TCP_SYN, "", 0);
	expect_ack(peer->ack, seq);
	assert_int_equal(waiting(), 1);
}

static void a_server_that_has_not_closed_keeps_its_pcb(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	struct bed_segment fin;

	assert_int_equal(tcp_shutdown(peer->pcb, 0, 1), ERR_OK);
	stack_flush();
	fin = bed_next_tcp();
	bed_ack(peer, fin.seq + 1);
	bed_send(peer, TCP_FIN | TCP_ACK, "", 0);
	assert_int_equal(peer->pcb->state, TIME_WAIT);
	assert_int_equal(used("tcp_tw"), 0);
	assert_int_equal(waiting(), 1);
	assert_int_equal(tcp_close(peer->pcb), ERR_OK);
	assert_int_equal(used("tcp_tw"), 1);
	assert_int_equal(waiting(), 1);
}

static void when_there_are_too_many_the_oldest_goes(void **state)
{
	uint64_t before = kstat_get("pagewire_tcp_time_wait_reclaimed_total", NULL);
	struct tcp_tuple tuple = {{1}, {2}, 80, 1, 0};
	struct tcp_tw_facts facts = {0};
	uint32_t first = tcp_hash(&tuple), last;

	for (unsigned i = 0; i < TCP_TW_ENTRIES + 1; i++, tuple.remote[0]++)
		tcp_tw_enter(&tuple, tcp_hash(&tuple), &facts);
	tuple.remote[0]--;
	last = tcp_hash(&tuple);
	assert_int_equal(waiting(), TCP_TW_ENTRIES);
	assert_int_equal(kstat_get("pagewire_tcp_time_wait_reclaimed_total", NULL) - before, 1);
	assert_null(tcp_hash_find(first, NULL));
	assert_non_null(tcp_hash_find(last, NULL));
}

static void without_memory_it_is_forgotten(void **state)
{
	uint64_t before = kstat_get("pagewire_tcp_time_wait_forgotten_total", NULL);
	struct tcp_tuple tuple = {{1}, {2}, 80, 1, 0};
	struct tcp_tw_facts facts = {0};

	pool_fail_after(0);
	tcp_tw_enter(&tuple, tcp_hash(&tuple), &facts);
	pool_fail_off();
	assert_int_equal(waiting(), 0);
	assert_int_equal(kstat_get("pagewire_tcp_time_wait_forgotten_total", NULL) - before, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(it_holds_no_pcb_and_ends_after_two_msl),
	    T(a_fin_again_is_acknowledged_and_starts_the_time_anew),
	    T(a_reset_does_not_end_it),
	    T(a_new_syn_takes_its_place),
	    T(an_old_syn_does_not),
	    T(a_server_that_has_not_closed_keeps_its_pcb),
	    T(when_there_are_too_many_the_oldest_goes),
	    T(without_memory_it_is_forgotten),
	};

	return cmocka_run_group_tests(tests, bed_group_setup, bed_group_teardown);
}
