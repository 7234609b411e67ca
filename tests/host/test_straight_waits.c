// SPDX-License-Identifier: BSD-2-Clause
// A bare acknowledgement waits for the rest of its batch (straight_waits, net/straight.c): a segment behind it that
// says all it said leaves what is left when it was lost; nothing else makes it superfluous, and it never comes
// behind a segment of its connection that the straight way does not take.
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

#include "kernel/timer.h"
#include "lwip/priv/tcp_priv.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "netbed.h"
#include "netbed_digest.h"
#include "shim.h"

static const char body[20 * 1460];

static err_t take(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct bed_peer *peer = arg;

	if (!p)
		return ERR_OK;
	peer->received += p->tot_len;
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	return ERR_OK;
}

static err_t told(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	((struct bed_peer *)arg)->sent += len;
	return ERR_OK;
}

static struct bed_peer *connect(bool times)
{
	struct bed_peer *peer =
	    times ? bed_connect_times(1460, 60000, 1) : bed_connect(1460, 60000);

	tcp_recv(peer->pcb, take);
	tcp_sent(peer->pcb, told);
	bed_send(peer, TCP_ACK, "first", 5); // from now on it is found by the guess
	peer->received = 0;
	bed_skip();
	peer->pcb->cwnd = BIT(20); // all goes at once
	return peer;
}

static void answer(struct bed_peer *peer, uint32_t bytes)
{
	assert_int_equal(tcp_write(peer->pcb, body, (u16_t)bytes, TCP_WRITE_FLAG_COPY), ERR_OK);
	tcp_output(peer->pcb);
	stack_flush();
}

// ---- as if it had been lost --------------------------------------------------------------------------

static bool lost; // the acknowledgement that waits is not sent at all

static uint64_t dialogue(uint64_t seed)
{
	struct bed_peer *peers[2], *peer;
	uint32_t iss[2], irs[2], seen[2] = {0, 0};
	uint64_t digest = 1;

	shim_advance(100 * NS_PER_SEC - clock_ns() % (100 * NS_PER_SEC));
	bed_skip();
	bed_dice(seed);
	bed_tso(bed_draw(2) ? 65535 : 0);
	for (unsigned i = 0; i < 2; i++) {
		peers[i] = peer = connect(bed_draw(2));
		iss[i] = bed_iss(peer);
		irs[i] = peer->seq;
		bed_fold_from_here(peer->pcb);
	}
	for (unsigned round = 0; round < 30; round++) {
		for (unsigned i = 0; i < 2; i++) {
			answer(peers[i], 2 + bed_draw(sizeof(body) - 2));
			bed_fold(&digest, peers[i], iss[i], irs[i], &seen[i]);
		}
		bed.batch = true;
		for (unsigned i = 0; i < 2; i++) {
			peers[i]->window = (uint16_t)(30000 + bed_draw(30000));
			peers[i]->ack += 1 + bed_draw(iss[i] + seen[i] - peers[i]->ack);
			if (!lost)
				bed_send(peers[i], TCP_ACK, "", 0);
		}
		for (unsigned i = 0; i < 2; i++) {
			if (bed_draw(3))
				peers[i]->ack += bed_draw(iss[i] + seen[i] - peers[i]->ack + 1);
			peers[i]->window = (uint16_t)(30000 + bed_draw(30000));
			bed_send(peers[i], TCP_ACK | TCP_PSH, body, 1 + bed_draw(1000));
		}
		bed_batch_end();
		bed.batch = false;
		for (unsigned i = 0; i < 2; i++) {
			bed_fold(&digest, peers[i], iss[i], irs[i], &seen[i]);
			peers[i]->ack = iss[i] + seen[i];
			bed_send(peers[i], TCP_ACK, "", 0);
			bed_fold(&digest, peers[i], iss[i], irs[i], &seen[i]);
		}
	}
	bed.batch = false;
	for (unsigned i = 2; i--;) {
		tcp_abort(peers[i]->pcb);
		bed_complete_all();
		bed_skip();
		bed_peers_forget_one(peers[i]);
	}
	return digest;
}

static void a_request_behind_it_leaves_what_is_left_without_it(void **state)
{
	bed.passed_over = 0;
	bed_either_way(dialogue, 60, &lost);
	assert_int_equal(bed.passed_over, 60 * 30 * 2);
}

// ---- what is not passed over -------------------------------------------------------------------------

static unsigned harmed; // the frame that the wire harms: 1 is the next
static uint32_t harm(uint8_t *frame, uint32_t bytes)
{
	if (harmed && --harmed == 0)
		frame[bytes - 1] ^= 1;
	return bytes;
}

static struct bed_peer *with_answer(uint32_t *iss)
{
	struct bed_peer *peer = connect(true);

	*iss = bed_iss(peer);
	answer(peer, 3 * 1448);
	bed.passed_over = 0;
	bed.batch = true;
	return peer;
}

static void batch_over(unsigned passed_over)
{
	bed_batch_end();
	bed.batch = false;
	assert_int_equal(bed.passed_over, passed_over);
}

static void alone_it_is_taken_at_the_end_of_the_batch(void **state)
{
	uint32_t iss;
	struct bed_peer *peer = with_answer(&iss);

	bed_ack(peer, iss + 2 * 1448);
	batch_over(0);
	assert_int_equal(peer->pcb->lastack, iss + 2 * 1448);
}

static void one_that_tells_of_a_gap_is_taken(void **state)
{
	uint32_t iss;
	struct bed_peer *peer = with_answer(&iss);

	peer->ack = iss;
	bed_send(peer, TCP_ACK, "", 0); // it waited for what is missing
	bed_send(peer, TCP_ACK, "more", 4);
	batch_over(0);
	assert_int_equal(peer->pcb->dupacks, 1);
	assert_int_equal(peer->received, 4);
}

static void a_segment_out_of_order_behind_it_makes_nothing_superfluous(void **state)
{
	uint32_t iss;
	struct bed_peer *peer = with_answer(&iss);

	bed_ack(peer, iss + 1448);
	peer->seq += 100;
	peer->ack = iss + 2 * 1448;
	bed_send(peer, TCP_ACK, "more", 4);
	batch_over(0);
	assert_int_equal(peer->received, 0);
	assert_int_equal(peer->pcb->lastack, iss + 2 * 1448);
	peer->seq -= 104;
}

static void an_older_segment_behind_it_does_not_either(void **state)
{
	uint32_t iss;
	struct bed_peer *peer = with_answer(&iss);

	bed_ack(peer, iss + 3 * 1448);
	peer->ack = iss + 1448;
	bed_send(peer, TCP_ACK, "more", 4);
	batch_over(0);
	assert_int_equal(peer->received, 4);
	assert_int_equal(peer->pcb->lastack, iss + 3 * 1448);
	assert_int_equal(peer->sent, 3 * 1448);
}

static void it_comes_before_the_end_of_its_connection(void **state)
{
	uint32_t iss;
	struct bed_peer *peer = with_answer(&iss);

	bed_ack(peer, iss + 1448);
	peer->ack = iss + 3 * 1448;
	bed_send(peer, TCP_ACK | TCP_FIN, "", 0);
	batch_over(0);
	assert_int_equal(peer->pcb->state, CLOSE_WAIT);
	assert_int_equal(peer->sent, 3 * 1448);
}

// Which lies in several buffers, and is lwIP's layers': behind it the acknowledgement would be one from before the
// window, which has to be answered.
static void it_comes_before_a_long_frame(void **state)
{
	uint32_t iss;
	struct bed_peer *peer = with_answer(&iss);

	bed_skip();
	bed_ack(peer, iss + 1448);
	bed_send(peer, TCP_ACK, body, 5000);
	batch_over(0);
	assert_int_equal(peer->received, 5000);
	assert_int_equal(peer->pcb->lastack, iss + 1448);
	assert_int_equal(peer->pcb->dupacks, 0);
	assert_null(bed_next_tcp().packet); // the frame's own may wait
}

static void a_segment_that_is_not_sound_makes_nothing_superfluous(void **state)
{
	uint32_t iss;
	struct bed_peer *peer = with_answer(&iss);

	bed_harm = harm;
	harmed = 2;
	bed_ack(peer, iss + 1448);
	peer->ack = iss + 3 * 1448;
	bed_send(peer, TCP_ACK, "more", 4);
	batch_over(0);
	bed_harm = NULL;
	assert_int_equal(peer->pcb->lastack, iss + 1448);
	assert_int_equal(peer->received, 0);
}

static void one_that_is_not_sound_does_no_harm(void **state)
{
	uint32_t iss;
	struct bed_peer *peer = with_answer(&iss);

	bed_harm = harm;
	harmed = 1;
	bed_ack(peer, iss + 3 * 1448);
	batch_over(0);
	bed_harm = NULL;
	assert_int_equal(peer->pcb->lastack, iss);
}

// Their ports have the same lower byte, and so the same place.
static void connections_with_one_place_do_not_mix(void **state)
{
	struct bed_peer *first = connect(true), *second = connect(true);
	uint32_t iss = bed_iss(first), other = bed_iss(second);

	while ((second->port ^ first->port) & 0xff) {
		tcp_abort(second->pcb);
		bed_skip();
		bed_peers_forget_one(second);
		second = connect(true);
		other = bed_iss(second);
	}
	answer(first, 1448);
	answer(second, 2 * 1448);
	bed.passed_over = 0;
	bed.batch = true;
	bed_ack(first, iss + 1448);
	bed_ack(second, other + 1448);
	second->ack = other + 2 * 1448;
	bed_send(second, TCP_ACK, "more", 4);
	batch_over(0);
	assert_int_equal(first->sent, 1448);
	assert_int_equal(second->pcb->lastack, other + 2 * 1448);
	assert_int_equal(second->received, 4);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_request_behind_it_leaves_what_is_left_without_it),
	    TEST(alone_it_is_taken_at_the_end_of_the_batch),
	    TEST(one_that_tells_of_a_gap_is_taken),
	    TEST(a_segment_out_of_order_behind_it_makes_nothing_superfluous),
	    TEST(an_older_segment_behind_it_does_not_either),
	    TEST(it_comes_before_the_end_of_its_connection),
	    TEST(it_comes_before_a_long_frame),
	    TEST(a_segment_that_is_not_sound_makes_nothing_superfluous),
	    TEST(one_that_is_not_sound_does_no_harm),
	    TEST(connections_with_one_place_do_not_mix),
	};

	return cmocka_run_group_tests(tests, bed_group_setup, bed_group_teardown);
}
