// SPDX-License-Identifier: BSD-2-Clause
// A sender on a path that loses: what it sends again, how often it stands still until a timer runs out, and that all
// bytes arrive. Counts decide, in simulated time, from one printed seed.
// SOURCES: tests/host/lossnet.c tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lossnet.h"
#include "lwip/priv/tcp_priv.h"
#include "shim.h"

#define MSS 1460
#define MB  (1U << 20)

static void say(const char *what, const struct lossnet *net, uint32_t bytes, uint32_t ms)
{
	print_message(
	    "# %s: %u KB in %u ms (%u KB/s), %u segments, %u lost, %lu KB again, %u got twice, "
	    "%lu recoveries, %lu lost again, %lu probes, %lu time-outs\n",
	    what, bytes / 1024, ms, bytes / MAX(ms, 1U), net->segments, net->lost,
	    net->resent_bytes / 1024, net->repeated, net->fast, net->lost_again, net->probes,
	    net->timeouts);
}

static uint32_t run(const char *what, struct lossnet *net, uint32_t bytes)
{
	uint32_t ms;

	lossnet_open(net);
	ms = lossnet_transfer(net, bytes);
	say(what, net, bytes, ms);
	lossnet_close(net);
	return ms;
}

static void a_path_without_loss_repeats_nothing(void **state)
{
	struct lossnet net = {.rtt = 50, .sack = true, .duplicate_sack = true};

	run("no loss", &net, 8 * MB);
	assert_int_equal(net.resent_bytes + net.timeouts + net.fast, 0);
}

static void one_per_cent_of_loss_needs_no_timer(void **state)
{
	struct lossnet net = {.rtt = 50, .loss = 10, .sack = true, .duplicate_sack = true};

	run("1 % loss, 50 ms", &net, 16 * MB);
	assert_true(net.lost > 50);
	assert_in_range(net.timeouts, 0, net.lost / 50);
	assert_true(net.resent_bytes <= (net.lost + net.lost / 20 + 5) * MSS);
}

static void ten_per_cent_of_loss_stands_still_seldom(void **state)
{
	struct lossnet net = {.rtt = 20, .loss = 100, .sack = true, .duplicate_sack = true};

	run("10 % loss, 20 ms", &net, 2 * MB);
	assert_in_range(net.timeouts, 0, net.lost / 8);
	assert_true(net.resent_bytes <= (net.lost + net.lost / 4 + 10) * MSS);
}

static void one_per_cent_of_loss_without_sack(void **state)
{
	struct lossnet net = {.rtt = 50, .loss = 10};

	run("1 % loss, 50 ms, no SACK", &net, 4 * MB);
	assert_in_range(net.timeouts, 0, net.lost / 4 + 1);
}

// A hundred segments in a row.
static bool burst(struct lossnet *net, const struct bed_segment *segment)
{
	return net->segments >= 400 && net->segments < 500;
}

static void a_burst_of_loss_is_found_at_once(void **state)
{
	struct lossnet net = {.rtt = 50, .sack = true, .drops = burst};

	run("100 in a row", &net, 4 * MB);
	assert_int_equal(net.lost, 100);
	assert_in_range(net.timeouts, 0, 1);
	assert_true(net.resent_bytes <= 110 * MSS);
}

// The last three segments of a short answer, once.
static bool tail(struct lossnet *net, const struct bed_segment *segment)
{
	return net->segments >= 6 && net->segments <= 8;
}

static void a_lost_tail_is_probed_for(void **state)
{
	struct lossnet net = {.rtt = 20, .sack = true, .drops = tail};
	uint32_t ms = run("tail of a short answer", &net, 8 * MSS);

	assert_int_equal(net.lost, 3);
	assert_int_equal(net.timeouts, 0);
	assert_int_equal(net.probes, 1);
	assert_true(ms < 160);
}

// The last but one, once.
static bool last_but_one(struct lossnet *net, const struct bed_segment *segment)
{
	return net->segments == 7;
}

// RFC 8985, 6.2: its own answer is overdue a quarter of a round trip after that of the last.
static void a_hole_before_the_tail_needs_no_probe(void **state)
{
	for (unsigned times = 0; times < 2; times++) {
		struct lossnet net = {.rtt = 20,
				      .sack = true,
				      .duplicate_sack = true,
				      .times = times,
				      .drops = last_but_one};
		uint32_t ms = run("the last but one of a short answer", &net, 8 * 1448);

		assert_int_equal(net.lost, 1);
		assert_int_equal(net.probes + net.timeouts, 0);
		assert_int_equal(net.overdue, 1);
		assert_int_equal(net.repeated, 0);
		assert_true(ms < 50);
	}
}

// What tells of the hole, once.
static bool first_sack(struct lossnet *net)
{
	static const struct lossnet *before;
	bool drop = net->ranges && net != before;

	if (drop)
		before = net;
	return drop;
}

// The peer has what the probe brings, and says so.
static void what_a_probe_that_comes_twice_overtook_is_lost(void **state)
{
	struct lossnet nets[2];

	for (unsigned times = 0; times < 2; times++) {
		struct lossnet *net = &nets[times];
		uint32_t ms;

		*net = (struct lossnet){.rtt = 20,
					.sack = true,
					.duplicate_sack = true,
					.times = times,
					.drops = last_but_one,
					.drops_ack = first_sack};
		ms = run("... and what tells of it", net, 8 * 1448);
		assert_int_equal(net->lost, 1);
		assert_int_equal(net->timeouts, 0);
		assert_int_equal(net->probes, 1);
		assert_true(ms < 160);
	}
}

// The last, once.
static bool last(struct lossnet *net, const struct bed_segment *segment)
{
	return net->segments == 8;
}

// The answer to the last, once.
static bool last_ack(struct lossnet *net)
{
	return net->edge - net->base == 8 * 1448 && !net->repeated;
}

// RFC 8985, 7.4: what a probe repaired was lost, and that counts, also when nothing follows; what came twice was not,
// be it told with the answer to all, or behind it, when nothing is under way any more.
static void a_probe_that_repairs_makes_the_window_smaller(void **state)
{
	enum { LOST, UNANSWERED, ANSWERED_LATE, WAYS };

	for (unsigned way = LOST; way < WAYS; way++) {
		struct lossnet net = {
		    .rtt = 20, .sack = true, .duplicate_sack = true, .times = true};
		uint32_t ssthresh;

		net.drops = way == LOST ? last : NULL;
		net.drops_ack = way == UNANSWERED ? last_ack : NULL;
		net.spike_at = way == ANSWERED_LATE ? 15 : 0;
		net.spike_ms = way == ANSWERED_LATE ? 80 : 0;
		lossnet_open(&net);
		ssthresh = net.peer->pcb->ssthresh;
		lossnet_transfer(&net, 8 * 1448);
		lossnet_rest(&net, 200);
		assert_int_equal(net.lost, way == LOST);
		assert_int_equal(net.repeated, way != LOST);
		if (way == LOST)
			assert_true(net.peer->pcb->ssthresh < ssthresh);
		else
			assert_int_equal(net.peer->pcb->ssthresh, ssthresh);
		assert_null(net.peer->pcb->recovery); // an idle connection keeps nothing of it
		lossnet_transfer(&net, MSS);
		lossnet_close(&net);
	}
}

// All but those that tell of something that came twice.
static bool usual_ack(struct lossnet *net)
{
	static uint32_t told;
	bool drop = net->repeated == told;

	told = net->repeated;
	return drop;
}

// Each window is acknowledged when its end is probed for, and not before.
static void lost_acknowledgements_do_not_make_a_round_trip_longer(void **state)
{
	for (unsigned times = 0; times < 2; times++) {
		struct lossnet net = {.rtt = 20,
				      .sack = true,
				      .duplicate_sack = true,
				      .times = times,
				      .drops_ack = usual_ack};

		lossnet_open(&net);
		lossnet_transfer(&net, 300 * 1448);
		say("acknowledgements lost", &net, 300 * 1448, 0);
		assert_in_range(net.probes, 3, 10);
		assert_int_equal(net.repeated, net.probes);
		assert_in_range(net.peer->pcb->srtt >> TCP_RTT_SHIFT, 18, 22);
		lossnet_close(&net);
	}
}

// Everything that is sent again is lost the first time.
static uint32_t highest;
static bool again_once(struct lossnet *net, const struct bed_segment *segment)
{
	static uint32_t dropped;
	bool old = net->segments > 1 && (int32_t)(segment->seq - highest) < 0;

	if (net->segments == 1)
		highest = segment->seq, dropped = 0;
	if (!old) {
		highest = segment->seq + segment->len;
		return net->segments ==
		       60; // while there is room in the send buffer for what tells of it
	}
	return dropped++ == 0;
}

static void a_retransmission_that_is_lost_is_sent_again(void **state)
{
	struct lossnet net = {.rtt = 50, .sack = true, .drops = again_once};

	run("a retransmission is lost", &net, 4 * MB);
	assert_int_equal(net.lost, 2);
	assert_int_equal(net.timeouts, 0);
	assert_int_equal(net.lost_again, 1);
}

static void reordering_is_not_loss(void **state)
{
	struct lossnet net = {.rtt = 50, .reorder = 20, .sack = true, .duplicate_sack = true};

	run("2 % late by up to three", &net, 8 * MB);
	assert_int_equal(net.timeouts, 0);
	assert_true(net.resent_bytes < net.segments * MSS / 20);
}

// All that is in flight, and what the first time-outs send again.
// Three seconds of it, of the shim's clock.
static bool outage(struct lossnet *net, const struct bed_segment *segment)
{
	static uint32_t since;

	if (!net->lost)
		since = tcp_now();
	return net->segments > 1000 && tcp_now() - since < 3000;
}

static void an_outage_ends(void **state)
{
	struct lossnet net = {.rtt = 50, .sack = true, .drops = outage};

	run("all for a while", &net, 4 * MB);
	assert_in_range(net.timeouts, 1, 12);
}

static void whatever_is_lost_all_bytes_arrive(void **state)
{
	for (unsigned i = 0; i < 30; i++) {
		struct lossnet net = {.rtt = 2 + shim_random_below(100),
				      .loss = shim_random_below(150),
				      .reorder = shim_random_below(100),
				      .sack = shim_random_below(3) != 0,
				      .duplicate_sack = shim_random_below(2)};

		lossnet_open(&net);
		for (unsigned n = 0; n < 4; n++)
			lossnet_transfer(&net, 1 + shim_random_below(60000));
		lossnet_close(&net);
	}
}

static void big_segments_too(void **state)
{
	bed_tso(0xffff);
	one_per_cent_of_loss_needs_no_timer(state);
	a_burst_of_loss_is_found_at_once(state);
	a_lost_tail_is_probed_for(state);
	a_retransmission_that_is_lost_is_sent_again(state);
	whatever_is_lost_all_bytes_arrive(state);
	bed_tso(0);
}

// ---- the end of slow start: RFC 9406 ------------------------------------------------------------------

// Half a megabyte a second, 40 ms, and a queue that is far too long. From round trips that grow the sender learns that
// it is enough; who cannot measure them goes on until the queue is full.
static void slow_start_ends_before_the_queue_is_full(void **state)
{
	struct lossnet net = {.rtt = 40, .rate = 500, .queue = 180000, .sack = true, .times = true};
	struct lossnet blind = net;
	uint32_t ms, blind_ms;

	lossnet_open(&net);
	ms = lossnet_transfer(&net, MB);
	say("narrow, time stamps", &net, MB, ms);
	lossnet_close(&net);
	blind.times = false; // one sample a round trip is not enough
	blind_ms = run("narrow, none", &blind, MB);
	assert_true(blind.lost > 0);
	assert_int_equal(net.lost, 0);
	assert_in_range(ms, 0, blind_ms + blind_ms / 4);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
// ---- what was only late: RFC 3522, 4015 ---------------------------------------------------------------

// Everything stands still for a second, and nothing is lost. With time stamps the first answer tells; without, new
// segments do that are sent before anything else is sent again (RFC 5682).
static void a_time_out_for_nothing_is_undone(void **state)
{
	for (unsigned way = 0; way < 3; way++) {
		struct lossnet net = {.rtt = 50,
				      .sack = way < 2,
				      .times = way < 1,
				      .spike_at = 300,
				      .spike_ms = 1000};
		uint32_t ssthresh;

		lossnet_open(&net);
		ssthresh = net.peer->pcb->ssthresh;
		lossnet_transfer(&net, 8 * MB);
		say("a second's stop", &net, 8 * MB, 0);
		assert_true(net.timeouts > 0);
		assert_int_equal(net.undone, 1);
		assert_int_equal(net.peer->pcb->ssthresh, ssthresh); // it never left slow start
		assert_int_equal(net.fast, 0);
		assert_true(net.resent_bytes <= (net.timeouts + net.probes) * MSS);
		assert_true(net.peer->pcb->srtt >> TCP_RTT_SHIFT < 200); // learnt again by now
		lossnet_close(&net);
	}
}

static void a_time_out_for_loss_is_not(void **state)
{
	struct lossnet net = {.rtt = 50, .sack = true, .times = true, .drops = burst};

	run("a hundred lost in a row", &net, 4 * MB);
	assert_int_equal(net.undone, 0);
	net = (struct lossnet){.rtt = 50, .loss = 20, .sack = true, .times = true};
	run("2 % loss, time stamps", &net, 8 * MB);
	assert_true(net.fast > 10);
	assert_true(net.undone <= net.repeated); // what came twice had not been lost
	assert_true(net.undone < net.fast / 10);
}

// By so many that it counts as lost. Without time stamps the peer tells that all came twice (RFC 3708). Then more are
// waited for.
static void a_recovery_for_what_was_overtaken_is_undone(void **state)
{
	for (unsigned times = 0; times < 2; times++) {
		struct lossnet net = {.rtt = 50,
				      .reorder = 3,
				      .late_by = 20,
				      .sack = true,
				      .duplicate_sack = true,
				      .times = times};
		uint32_t ssthresh;

		lossnet_open(&net);
		ssthresh = net.peer->pcb->ssthresh;
		lossnet_transfer(&net, 32 * MB);
		lossnet_rest(&net, 200);
		say("overtaken", &net, 32 * MB, 0);
		assert_true(net.fast > 0);
		// Where one begins before all has been told of the one before, D-SACK does not tell of which it is.
		assert_in_range(net.undone, times ? net.fast : net.fast / 2, net.fast);
		if (net.undone == net.fast)
			assert_int_equal(net.peer->pcb->ssthresh, ssthresh);
		assert_null(net.peer->pcb->recovery);
		lossnet_close(&net);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_path_without_loss_repeats_nothing),
	    TEST(one_per_cent_of_loss_needs_no_timer),
	    TEST(ten_per_cent_of_loss_stands_still_seldom),
	    TEST(one_per_cent_of_loss_without_sack),
	    TEST(a_burst_of_loss_is_found_at_once),
	    TEST(a_lost_tail_is_probed_for),
	    TEST(a_hole_before_the_tail_needs_no_probe),
	    TEST(a_probe_that_repairs_makes_the_window_smaller),
	    TEST(what_a_probe_that_comes_twice_overtook_is_lost),
	    TEST(lost_acknowledgements_do_not_make_a_round_trip_longer),
	    TEST(a_retransmission_that_is_lost_is_sent_again),
	    TEST(reordering_is_not_loss),
	    TEST(an_outage_ends),
	    TEST(whatever_is_lost_all_bytes_arrive),
	    TEST(big_segments_too),
	    TEST(a_time_out_for_nothing_is_undone),
	    TEST(a_time_out_for_loss_is_not),
	    TEST(a_recovery_for_what_was_overtaken_is_undone),
	    TEST(slow_start_ends_before_the_queue_is_full),
	};
	return cmocka_run_group_tests_name("tcp_loss", tests, bed_group_setup, bed_group_teardown);
}
