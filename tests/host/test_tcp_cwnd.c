// SPDX-License-Identifier: BSD-2-Clause
// The congestion window against RFC 9438 computed in floating point.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lwip/priv/tcp_priv.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"
#include "tcp_sndbuf.h"

#define MSS 1460

// A pcb of nobody's, with so much in flight; only what tcp_cwnd.c looks at.
static struct tcp_pcb full(uint32_t cwnd, uint32_t ssthresh, uint32_t rtt)
{
	return (struct tcp_pcb){.mss = MSS,
				.cwnd = cwnd,
				.ssthresh = ssthresh,
				.srtt = (s32_t)rtt << TCP_RTT_SHIFT,
				.snd_nxt = cwnd};
}

// A round trip: all that is in flight is acknowledged, two segments at a time.
static void round_trip(struct tcp_pcb *pcb, uint32_t ms)
{
	for (uint32_t left = pcb->cwnd; left >= 2 * MSS; left -= 2 * MSS) {
		pcb->snd_nxt = pcb->lastack + pcb->cwnd - 2 * MSS;
		tcp_cwnd_grow(pcb, 2 * MSS);
	}
	pcb->snd_nxt = pcb->lastack + pcb->cwnd;
	shim_advance(ms * NS_PER_MS);
	stack_flush();
}

static void slow_start_doubles(void **state)
{
	struct tcp_pcb pcb = full(10 * MSS, 1 << 30, 50);

	for (unsigned i = 1; i < 4; i++) {
		round_trip(&pcb, 50);
		assert_in_range(pcb.cwnd, (10U << i) * MSS * 9 / 10, (10U << i) * MSS);
	}
}

static void an_acknowledgement_of_64_kb_counts_in_full(void **state)
{
	struct tcp_pcb pcb = full(50 * MSS, 1 << 30, 50);

	tcp_cwnd_grow(&pcb, 44 * MSS);
	assert_int_equal(pcb.cwnd, 94 * MSS);
}

static void after_a_timeout_one_segment_an_acknowledgement(void **state)
{
	struct tcp_pcb pcb = full(2 * MSS, 1 << 30, 50);

	pcb.flags = TF_RTO;
	tcp_cwnd_grow(&pcb, 44 * MSS);
	assert_int_equal(pcb.cwnd, 3 * MSS);
}

static void a_window_that_is_not_used_does_not_grow(void **state)
{
	struct tcp_pcb pcb = full(40 * MSS, 1 << 30, 50);

	pcb.snd_nxt = 5 * MSS;
	for (unsigned i = 0; i < 100; i++)
		tcp_cwnd_grow(&pcb, 5 * MSS);
	assert_int_equal(pcb.cwnd, 40 * MSS);
}

static void a_loss_leaves_seven_tenths(void **state)
{
	struct tcp_pcb pcb = full(100 * MSS, 1 << 30, 50);

	tcp_cwnd_reduce(&pcb);
	assert_int_equal(pcb.ssthresh, 70 * MSS);
	assert_int_equal(pcb.w_max, 100 * MSS);
	pcb.snd_nxt = pcb.cwnd =
	    80 * MSS; // before it has come back: somebody else needs room (4.7)
	tcp_cwnd_reduce(&pcb);
	assert_in_range(pcb.w_max, 67 * MSS, 68 * MSS);
	pcb.snd_nxt = 0; // the end of an answer: nothing to judge the path by
	tcp_cwnd_reduce(&pcb);
	assert_int_equal(pcb.ssthresh, 56 * MSS);
	pcb.cwnd = MSS;
	tcp_cwnd_reduce(&pcb);
	assert_int_equal(pcb.ssthresh, 2 * MSS);
}

// 4.2: W_cubic(t) = C (t - K)^3 + W_max, K = cbrt((W_max - cwnd) / C); a long round trip, so that Reno is slower.
static void the_window_follows_the_cube(void **state)
{
	struct tcp_pcb pcb = full(150 * MSS, 1 << 30, 200);
	double k, worst = 0;

	tcp_cwnd_reduce(&pcb);
	pcb.cwnd = pcb.ssthresh;
	k = cbrt((150 - 105) / 0.4);
	for (unsigned i = 0; i < 40 && pcb.cwnd < 175 * MSS; i++) {
		double t = i * 0.2 + 0.2, wanted = 0.4 * pow(t - k, 3) + 150;

		round_trip(&pcb, 200);
		worst = fmax(worst, fabs(pcb.cwnd / (double)MSS - wanted));
	}
	print_message("# at most %.1f segments off the curve\n", worst);
	assert_true(worst < 4);
	assert_in_range(pcb.cwnd, 150 * MSS, 180 * MSS);
	tcp_sndbuf_end(&pcb);
}

// 4.3: on a short path it is not slower than Reno with that reduction: 9/17 of a segment a round trip.
static void a_short_path_grows_as_reno_would(void **state)
{
	struct tcp_pcb pcb = full(40 * MSS, 1 << 30, 2);

	tcp_cwnd_reduce(&pcb);
	pcb.cwnd = pcb.ssthresh;
	for (unsigned i = 0; i < 34; i++)
		round_trip(&pcb, 2);
	assert_in_range(pcb.cwnd, (28 + 15) * MSS, (28 + 19) * MSS);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(slow_start_doubles),
	    TEST(an_acknowledgement_of_64_kb_counts_in_full),
	    TEST(after_a_timeout_one_segment_an_acknowledgement),
	    TEST(a_window_that_is_not_used_does_not_grow),
	    TEST(a_loss_leaves_seven_tenths),
	    TEST(the_window_follows_the_cube),
	    TEST(a_short_path_grows_as_reno_would),
	};
	return cmocka_run_group_tests_name("tcp_cwnd", tests, bed_group_setup, bed_group_teardown);
}
