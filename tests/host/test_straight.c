// SPDX-License-Identifier: BSD-2-Clause
// The straight way and the general one give the same answers, whatever comes: the same dialogue, frame by
// frame, harmed and sound, once with each, must make the stack send the same segments, hand up the same
// bytes, and leave the same state in the connection after each step.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c tests/host/netbed_digest.c kernel/netdev_list.c
// SOURCES: kernel/string.c net/netstat.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/kstat.h"
#include "kernel/timer.h"
#include "lwip/priv/tcp_priv.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "net/straight.h"
#include "netbed.h"
#include "netbed_digest.h"
#include "netbed_private.h"
#include "shim.h"
#include "tcp_straight.h"

// Source addresses that nobody can have: this network's and all broadcasts, a group, nobody; over IPv6 a group,
// nobody, the loopback address, one of IPv4, and our own.
static const uint8_t no_station[4][4] = {
    {10, 0, 0, 255}, {255, 255, 255, 255}, {224, 0, 0, 1}, {0, 0, 0, 0}};
static const uint8_t no_station6[5][16] = {{0xff, 2, [15] = 1},
					   {0},
					   {[15] = 1},
					   {[10] = 0xff, 0xff, 10, 0, 0, 2},
					   {0xfe, 0x80, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 1}};
// Extension headers, and other protocols: hop by hop, routing, destination options, none, UDP, experimental.
static const uint8_t next_headers[] = {0, 43, 60, 59, 17, 253};

// Ethernet and IP, but for what is remembered beyond the dialogue: neighbours, fragments.
static void harm_ip(uint8_t *frame)
{
	bool ipv6 = frame[12] == 0x86;
	uint32_t place = bed_draw(ipv6 ? 54 : 34);

	if (ipv6 && place == 20)
		frame[place] = next_headers[bed_draw(sizeof(next_headers))];
	else if (ipv6 && place >= 22 && place < 38)
		memcpy(frame + 22, no_station6[bed_draw(5)], 16);
	else if (ipv6 || place < 20 || place == 22 || place == 23 || place >= 30)
		frame[place] ^= (uint8_t)(1 + bed_draw(255));
	else
		memcpy(frame + 26, no_station[bed_draw(4)], 4);
}

// A third of the frames: one byte of the headers or of the payload, the length, or the tail.
// A changed header often gets a right checksum again, so that the change itself is what is judged.
static uint32_t harm(uint8_t *frame, uint32_t bytes)
{
	// The sequence number differs between the runs (it is random): leave the numbers alone.
	uint32_t where = bed_draw(3), place, tcp = bed_tcp_at(frame);

	if (where)
		return bytes;
	switch (bed_draw(4)) {
	case 0:
		harm_ip(frame);
		if (bed_draw(2))
			bed_seal(frame, bytes);
		return bytes;
	case 1: // ports, and what follows the numbers
		place = bed_draw(2) ? bed_draw(4) : 12 + bed_draw(bytes - tcp - 12);
		frame[tcp + place] ^= (uint8_t)(1 + bed_draw(255));
		// But for the upper half of a time stamp, after which all would be from long ago, and
		// what is echoed, which differs between the runs.
		if (bed_draw(2) && place < 28 && place != 24 && place != 25)
			bed_seal(frame, bytes);
		return bytes;
	case 2: // cut short
		return 14 + bed_draw(bytes - 14);
	default: // padding behind the packet
		place = MIN(bed_draw(64), BED_FRAME_MAX - bytes);
		memset(frame + bytes, 0x5a, place);
		return bytes + place;
	}
}

static uint64_t dialogue(uint64_t seed)
{
	static const uint8_t data[1200] = "GET / HTTP/1.1\r\n";
	// Nothing of the last dialogue is waited for; in this one the clock stands still, because the phase of
	// the timers is not the dialogue's.
	shim_advance(100 * NS_PER_SEC - clock_ns() % (100 * NS_PER_SEC));
	bed_dice(seed);
	bed.ipv6 = bed_draw(2);
	struct bed_peer *peer =
	    bed_draw(2) ? bed_connect_times(1460, 30000, 0xffffff80) : bed_connect(1460, 30000);
	uint32_t iss = bed_iss(peer), irs = peer->seq, seen = 0;
	uint64_t digest = 1;

	bed_fold_from_here(peer->pcb);
	bed_harm = harm;
	for (unsigned n = 0; n < 400 && peer->pcb; n++) {
		uint32_t len = bed_draw(sizeof(data)), back = peer->seq;

		peer->ts_value += bed_draw(2);
		bed_send(peer, TCP_ACK | (bed_draw(2) ? TCP_PSH : 0), data, bed_draw(3) ? len : 0);
		if (!bed_draw(8))
			peer->seq = back; // the same again, or a piece of it
		if (peer->pcb && !bed_draw(3) &&
		    genbuf_write(peer->pcb, data, 1 + bed_draw(900), false) == ERR_OK) {
			tcp_output(peer->pcb);
			stack_flush();
		}
		bed_fold(&digest, peer, iss, irs, &seen);
		if (!bed_draw(2)) {
			bed_harm = NULL;
			bed_ack(peer, iss + seen);
			bed_harm = harm;
			// What was lost is sent again, whole, now and then.
			peer->seq = peer->pcb ? peer->pcb->rcv_nxt : peer->seq;
		}
		bed_fold(&digest, peer, iss, irs, &seen);
	}
	bed_harm = NULL;
	if (peer->pcb)
		tcp_abort(peer->pcb);
	bed_skip();
	bed_complete_all();
	shim_run();
	bed_peers_forget_one(peer);
	return digest;
}

static void both_ways_in_give_the_same_answers(void **state)
{
	uint64_t six = tcp_straight_in6;

	assert_true(bed_both_ways(dialogue, 100, "pagewire_net_straight_total") > 1600);
	assert_true(tcp_straight_in6 - six > 700);
}

// Which is what a connection over IPv6 has in place of IPv4's addresses.
static void a_segment_between_nobody_is_of_no_connection(void **state)
{
	static const uint8_t data[] = "GET / HTTP/1.1\r\n";
	uint8_t frame[14 + 20 + 20 + sizeof(data)] = {
	    0x52, 0x54, 0, 0, 0,  1, 0x52, 0x54, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, sizeof(frame) - 14,
	    0,	  0,	0, 0, 64, 6};
	struct bed_peer *peer;
	uint64_t before;

	bed.ipv6 = true;
	peer = bed_connect(1460, 30000);
	assert_int_equal(genbuf_write(peer->pcb, data, sizeof(data), false), ERR_OK);
	tcp_output(peer->pcb);
	stack_flush();
	bed_put16(frame + 34, peer->port);
	bed_put16(frame + 36, 80);
	bed_put16(frame + 38, (uint16_t)((peer->seq + sizeof(data)) >> 16));
	bed_put16(frame + 40, (uint16_t)(peer->seq + sizeof(data)));
	bed_put16(frame + 42, (uint16_t)(peer->pcb->snd_nxt >> 16));
	bed_put16(frame + 44, (uint16_t)peer->pcb->snd_nxt);
	frame[46] = 0x50;
	frame[47] = TCP_ACK;
	bed_put16(frame + 48, 30000);
	memcpy(frame + 54, data, sizeof(data));
	bed_seal(frame, sizeof(frame));
	before = tcp_straight_in;
	bed.batch = true;
	peer->ack = peer->pcb->snd_nxt;
	bed_send(peer, TCP_ACK, data, sizeof(data));
	bed_receive(frame, sizeof(frame));
	bed.batch = false;
	bed_batch_end();
	assert_int_equal(tcp_straight_in - before, 1);
	assert_int_equal(peer->received, sizeof(data));
	assert_null(peer->pcb->unacked);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_segment_between_nobody_is_of_no_connection, bed_setup,
					    bed_teardown),
	    cmocka_unit_test_setup_teardown(both_ways_in_give_the_same_answers, bed_setup,
					    bed_teardown),
	};
	return cmocka_run_group_tests_name("straight", tests, bed_group_setup, bed_group_teardown);
}
