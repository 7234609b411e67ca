// SPDX-License-Identifier: BSD-2-Clause
// Peers that close their window, take some of it back, and open it again: what is sent to them without data lies within
// it, and what they have room for comes at once.
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
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"

#define MSS 1460

static void write_bytes(struct bed_peer *peer, uint16_t bytes)
{
	static const char junk[8 * MSS];

	assert_int_equal(tcp_write(peer->pcb, junk, bytes, TCP_WRITE_FLAG_COPY), ERR_OK);
	tcp_output(peer->pcb);
	stack_flush();
}

// With a byte of data, whose acknowledgement is returned, if one comes at all.
static struct bed_segment announce(struct bed_peer *peer, uint16_t window)
{
	struct bed_segment segment;

	peer->window = window;
	bed_send(peer, TCP_ACK, "x", 1);
	shim_advance(100 * NS_PER_MS); // it may be delayed
	do
		segment = bed_next_tcp();
	while (segment.packet && segment.len);
	return segment;
}

// A closed window was probed with the first of what is queued. *probe: its sequence number.
static struct bed_peer *probed(uint32_t *probe)
{
	struct bed_peer *peer = bed_connect(MSS, 30000);
	struct bed_segment segment;

	announce(peer, 0);
	bed_skip();
	write_bytes(peer, 1000);
	shim_advance(500 * NS_PER_MS);
	segment = bed_next_tcp();
	assert_int_equal(segment.len, 1);
	*probe = segment.seq;
	bed_skip();
	return peer;
}

// RFC 9293, 3.10.7.4: to a window of 0 only what begins where it is is acceptable.
static void data_of_a_peer_with_a_closed_window_is_acknowledged(void **state)
{
	uint32_t probe;
	struct bed_peer *peer = probed(&probe);
	struct bed_segment ack = announce(peer, 0);

	assert_non_null(ack.packet);
	assert_int_equal(ack.ack, peer->seq);
	assert_int_equal(ack.seq, probe);
}

static void data_of_a_peer_that_took_its_window_back_is_acknowledged(void **state)
{
	struct bed_peer *peer = bed_connect(MSS, 30000);
	uint32_t first = bed_iss(peer);
	struct bed_segment ack;

	write_bytes(peer, 3 * MSS);
	bed_skip();
	ack = announce(peer, 1000);
	assert_non_null(ack.packet);
	assert_int_equal(ack.ack, peer->seq);
	assert_int_equal(ack.seq, first + 1000);
}

// RFC 7323, 2.4: a window is told in units of 128 bytes, and may seem to end a few bytes before where it ended. What
// was sent up to there the peer has, and a number that lies before it would be one from long ago.
static void a_window_told_in_large_units_hides_nothing(void **state)
{
	const uint8_t options[] = {2, 4, MSS >> 8, MSS & 0xff, 1, 3, 3, 7};
	struct bed_peer *peer = bed_syn(options, sizeof(options), 10 * 128);
	struct bed_segment segment = bed_next_tcp();
	uint32_t first = segment.seq + 1;

	if (!segment.packet) // it waited for the peer's address
		first = bed_next_tcp().seq + 1;
	peer->window = 10;
	bed_ack(peer, first);
	write_bytes(peer, 10 * 128);
	bed_skip();
	assert_int_equal(peer->pcb->snd_nxt, first + 1280);
	peer->ack = first + 100;
	segment = announce(peer, (1280 - 100) / 128);
	assert_non_null(segment.packet);
	assert_int_equal(segment.ack, peer->seq);
	assert_int_equal(segment.seq, first + 1280);
	peer->ack = first + 200; // and this is a window of less
	assert_int_equal(announce(peer, 1).seq, first + 200 + 128);
	assert_int_equal(announce(peer, 0).seq, first + 200);
}

static void a_closed_window_takes_a_reset(void **state)
{
	uint32_t probe;
	struct bed_peer *peer = probed(&probe);
	struct bed_segment reset;

	tcp_abort(peer->pcb);
	stack_flush();
	reset = bed_next_tcp();
	assert_true(reset.flags & TCP_RST);
	assert_int_equal(reset.seq, probe);
}

// It drops what is under way, as a peer does that is short of memory, and each time-out is longer than the one before.
static struct bed_peer *dropped(uint32_t *first)
{
	struct bed_peer *peer = bed_connect(MSS, 30000);

	*first = bed_iss(peer);
	write_bytes(peer, 5 * MSS);
	announce(peer, 0);
	for (unsigned s = 0; s < 40; s++) {
		shim_advance(NS_PER_SEC);
		while (bed_next_tcp().packet) // it answers each
			bed_ack(peer, *first);
		assert_non_null(peer->pcb);
	}
	assert_true(peer->pcb->rto * TCP_TMR_INTERVAL > 10000);
	bed_skip();
	return peer;
}

static void a_window_that_opens_again_is_used_at_once(void **state)
{
	uint32_t first, next;
	struct bed_peer *peer = dropped(&first);
	struct bed_segment segment;

	peer->window = 30000;
	bed_ack(peer, first);
	segment = bed_next_tcp();
	assert_int_equal(segment.seq, first);
	assert_int_equal(segment.len, MSS);
	assert_null(bed_next_tcp().packet); // slow start
	for (next = first + MSS; next != first + 5 * MSS;) {
		bed_ack(peer, next);
		segment = bed_next_tcp();
		assert_non_null(segment.packet); // no timer is waited for
		for (; segment.packet; segment = bed_next_tcp()) {
			assert_int_equal(segment.seq, next);
			next += segment.len;
		}
	}
	bed_ack(peer, next);
	assert_null(peer->pcb->unacked);
}

static void a_window_that_only_grows_repeats_nothing(void **state)
{
	struct bed_peer *peer = bed_connect(MSS, 30000);
	uint32_t first = bed_iss(peer);

	write_bytes(peer, 5 * MSS);
	bed_skip();
	for (unsigned i = 0; i < 3; i++)
		bed_ack(peer, first);
	while (bed_next_tcp().packet) // what they told of is sent again
		;
	peer->window = 40000;
	bed_ack(peer, first);
	assert_null(bed_next_tcp().packet);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(data_of_a_peer_with_a_closed_window_is_acknowledged),
	    T(data_of_a_peer_that_took_its_window_back_is_acknowledged),
	    T(a_window_told_in_large_units_hides_nothing),
	    T(a_closed_window_takes_a_reset),
	    T(a_window_that_opens_again_is_used_at_once),
	    T(a_window_that_only_grows_repeats_nothing),
	};

	return cmocka_run_group_tests(tests, bed_group_setup, bed_group_teardown);
}
