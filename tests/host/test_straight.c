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

// Source addresses that nobody can have: this network's and all broadcasts, a group, nobody.
static const uint8_t no_station[4][4] = {
    {10, 0, 0, 255}, {255, 255, 255, 255}, {224, 0, 0, 1}, {0, 0, 0, 0}};

// A third of the frames: one byte of the headers or of the payload, the length, or the tail.
// A changed header often gets a right checksum again, so that the change itself is what is judged.
static uint32_t harm(uint8_t *frame, uint32_t bytes)
{
	// The sequence number differs between the runs (it is random): leave the numbers alone.
	uint32_t where = bed_draw(3), place;

	if (where)
		return bytes;
	switch (bed_draw(4)) {
	case 0: // Ethernet and IPv4, but for what is remembered beyond the dialogue: neighbours, fragments
		place = bed_draw(34);
		if (place < 20 || place == 22 || place == 23 || place >= 30)
			frame[place] ^= (uint8_t)(1 + bed_draw(255));
		else
			memcpy(frame + 26, no_station[bed_draw(4)], 4);
		if (bed_draw(2))
			bed_seal(frame, bytes);
		return bytes;
	case 1: // ports, and what follows the numbers
		place = bed_draw(2) ? 34 + bed_draw(4) : 46 + bed_draw(bytes - 46);
		frame[place] ^= (uint8_t)(1 + bed_draw(255));
		// But for the upper half of a time stamp, after which all would be from long ago, and
		// what is echoed, which differs between the runs.
		if (bed_draw(2) && place < 62 && place != 58 && place != 59)
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
	assert_true(bed_both_ways(dialogue, 60, "pagewire_net_straight_total") > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(both_ways_in_give_the_same_answers, bed_setup,
					    bed_teardown),
	};
	return cmocka_run_group_tests_name("straight", tests, bed_group_setup, bed_group_teardown);
}
