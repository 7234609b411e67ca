// SPDX-License-Identifier: BSD-2-Clause
// How long the beginning and the end of a connection may take: an end that makes progress is not cut off, and what
// makes none is given up when nobody waits for it.
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
#include "lwip/priv/tcp_priv.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"

#define MSS    1000
#define ANSWER (40 * MSS)

static uint64_t connections(void)
{
	return kstat_get("pagewire_tcp_connections", NULL);
}

static void answer_and_close(struct bed_peer *peer)
{
	static const char junk[ANSWER];

	assert_int_equal(tcp_write(peer->pcb, junk, ANSWER, TCP_WRITE_FLAG_COPY), ERR_OK);
	assert_int_equal(tcp_close(peer->pcb), ERR_OK);
	stack_flush();
}

// A segment each second and a half, with room for one: of the answer and, as the last, its FIN. Returns whether all
// came.
static bool take_slowly(struct bed_peer *peer)
{
	uint32_t first = bed_iss(peer), got = 0;
	bool fin = false;

	for (unsigned tries = 0; tries < 200 && !fin; tries++) {
		struct bed_segment segment;

		while ((segment = bed_next_tcp()).packet) {
			if (segment.seq != first + got)
				continue;
			got += segment.len;
			fin = segment.flags & TCP_FIN;
		}
		shim_advance(1500 * NS_PER_MS);
		bed_ack(peer, first + got + fin);
	}
	return fin && got == ANSWER;
}

static void a_slow_answer_to_one_that_half_closed_is_whole(void **state)
{
	struct bed_peer *peer = bed_connect(MSS, MSS);

	bed_send(peer, TCP_ACK | TCP_FIN, "", 0);
	assert_int_equal(peer->pcb->state, CLOSE_WAIT);
	answer_and_close(peer);
	assert_true(take_slowly(peer));
	assert_int_equal(connections(), 0);
}

// Seconds until it is given up, while the peer answers all that comes and takes nothing.
static unsigned seconds_held(struct bed_peer *peer)
{
	uint32_t first = bed_iss(peer);
	bool reset = false;

	for (unsigned s = 0; s < 1000; s++) {
		struct bed_segment segment;

		if (!connections())
			return reset ? s : 0;
		shim_advance(NS_PER_SEC);
		while ((segment = bed_next_tcp()).packet) {
			reset = segment.flags & TCP_RST;
			if (!reset)
				bed_ack(peer, first);
		}
	}
	return 1000;
}

// Its own FIN may be later than ours, however long ours took.
static void the_time_to_close_counts_from_our_fin(void **state)
{
	struct bed_peer *peer = bed_connect(MSS, MSS);
	struct bed_segment segment;

	answer_and_close(peer);
	assert_true(take_slowly(peer));
	shim_advance(15 * NS_PER_SEC);
	bed_skip();
	bed_send(peer, TCP_ACK | TCP_FIN, "", 0);
	segment = bed_next_tcp();
	assert_int_equal(segment.ack, peer->seq);
	assert_false(segment.flags & TCP_RST);
	shim_advance(60 * NS_PER_SEC); // TIME_WAIT
}

// What it took whole is no loss: nothing is left to send, and there is nothing to reset.
static void who_took_all_and_never_closes_is_let_go(void **state)
{
	uint64_t before = kstat_get("pagewire_tcp_orphans_ended_total", NULL);
	struct bed_peer *peer = bed_connect(MSS, MSS);

	answer_and_close(peer);
	assert_true(take_slowly(peer));
	assert_int_equal(peer->pcb->state, FIN_WAIT_2);
	bed_skip();
	shim_advance(25 * NS_PER_SEC);
	assert_int_equal(connections(), 0);
	assert_null(bed_next_tcp().packet);
	assert_int_equal(kstat_get("pagewire_tcp_orphans_ended_total", NULL), before);
}

// However little it is, it is not a FIN.
static void the_last_byte_has_the_time_that_all_have(void **state)
{
	for (unsigned half_closed = 0; half_closed < 2; half_closed++) {
		struct bed_peer *peer = bed_connect(MSS, MSS);

		peer->window = 0;
		bed_send(peer, half_closed ? TCP_ACK | TCP_FIN : TCP_ACK, "x", 1);
		bed_skip();
		assert_int_equal(tcp_write(peer->pcb, "y", 1, TCP_WRITE_FLAG_COPY), ERR_OK);
		assert_int_equal(tcp_close(peer->pcb), ERR_OK);
		stack_flush();
		assert_in_range(seconds_held(peer), 115, 130);
	}
}

static void and_not_from_when_something_came_last(void **state)
{
	struct bed_peer *peer = bed_connect(MSS, MSS);
	struct bed_segment segment;

	shim_advance(300 * NS_PER_SEC);
	bed_skip();
	assert_int_equal(tcp_close(peer->pcb), ERR_OK);
	stack_flush();
	segment = bed_next_tcp();
	assert_true(segment.flags & TCP_FIN);
	bed_ack(peer, segment.seq + 1);
	shim_advance(15 * NS_PER_SEC);
	assert_int_equal(connections(), 1);
	shim_advance(10 * NS_PER_SEC);
	assert_int_equal(connections(), 0);
}

static void nobody_holds_what_was_closed_by_a_closed_window(void **state)
{
	uint64_t before = kstat_get("pagewire_tcp_orphans_ended_total", NULL);

	for (unsigned half_closed = 0; half_closed < 2; half_closed++) {
		struct bed_peer *peer = bed_connect(MSS, MSS);

		peer->window = 0;
		bed_send(peer, half_closed ? TCP_ACK | TCP_FIN : TCP_ACK, "x", 1);
		bed_skip();
		answer_and_close(peer);
		assert_in_range(seconds_held(peer), 115, 130);
	}
	assert_int_equal(kstat_get("pagewire_tcp_orphans_ended_total", NULL), before + 2);
}

static void who_is_still_there_holds_what_it_likes(void **state)
{
	struct bed_peer *peer = bed_connect(MSS, MSS);

	peer->window = 0;
	bed_send(peer, TCP_ACK, "x", 1);
	bed_skip();
	assert_int_equal(tcp_write(peer->pcb, "y", 1, TCP_WRITE_FLAG_COPY), ERR_OK);
	assert_int_equal(tcp_shutdown(peer->pcb, 0, 1), ERR_OK);
	stack_flush();
	assert_int_equal(seconds_held(peer), 1000);
	assert_int_equal(peer->pcb->state, FIN_WAIT_1);
}

// ---- a peer that does not answer -------------------------------------------------------------------------

static err_t connect_error;

static void failed(void *arg, err_t error)
{
	connect_error = error;
}

static void a_syn_is_repeated_after_twice_the_time(void **state)
{
	static const unsigned at[] = {0, 1, 3, 7, 15, 31, 63, 123};
	struct tcp_pcb *pcb;
	ip_addr_t to = IPADDR4_INIT_BYTES(10, 0, 0, 2);
	unsigned seen = 0, s = 0;

	bed_connect(MSS, MSS); // whose station is known then
	bed_skip();
	pcb = tcp_new();
	connect_error = ERR_OK;
	tcp_err(pcb, failed);
	assert_int_equal(tcp_connect(pcb, &to, 81, NULL), ERR_OK);
	stack_flush();
	for (; s < 300 && connect_error == ERR_OK; s++) {
		struct bed_segment segment;

		while ((segment = bed_next_tcp()).packet)
			if (segment.flags & TCP_SYN) {
				assert_in_range(seen, 0, ARRAY_SIZE(at) - 1);
				assert_in_range(s, at[seen], at[seen] + 2);
				seen++;
			}
		shim_advance(NS_PER_SEC);
	}
	assert_int_equal(seen, ARRAY_SIZE(at));
	assert_in_range(s, 180, 190);
	assert_int_equal(connect_error, ERR_ABRT);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_slow_answer_to_one_that_half_closed_is_whole),
	    T(the_time_to_close_counts_from_our_fin),
	    T(who_took_all_and_never_closes_is_let_go),
	    T(the_last_byte_has_the_time_that_all_have),
	    T(and_not_from_when_something_came_last),
	    T(nobody_holds_what_was_closed_by_a_closed_window),
	    T(who_is_still_there_holds_what_it_likes),
	    T(a_syn_is_repeated_after_twice_the_time),
	};

	return cmocka_run_group_tests(tests, bed_group_setup, bed_group_teardown);
}
