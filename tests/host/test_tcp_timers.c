// SPDX-License-Identifier: BSD-2-Clause
// TCP's clock: time-outs and their back-off (RFC 6298), and when a silent peer is given up.
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
#include "net/pagebuf.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"

#define MSS	1460
#define STEP_MS 10

static void send_bytes(struct bed_peer *peer, uint32_t len)
{
	struct page *page = bed_page(1);

	assert_int_equal(pagebuf_write(peer->pcb, page, 0, len, false), ERR_OK);
	bed_page_done(page);
	tcp_output(peer->pcb);
	stack_flush();
}

// A round trip of so many milliseconds.
static void round_trip(struct bed_peer *peer, uint32_t ms)
{
	struct bed_segment segment;

	send_bytes(peer, MSS);
	segment = bed_next_tcp();
	assert_int_equal(segment.len, MSS);
	shim_advance(ms * NS_PER_MS);
	bed_ack(peer, segment.seq + segment.len);
	bed_skip();
}

// How long until the next segment with data is seen, in milliseconds; 0: none for so long.
static uint32_t until_next(uint32_t longest)
{
	for (uint32_t ms = STEP_MS; ms <= longest; ms += STEP_MS) {
		struct bed_segment segment;

		shim_advance(STEP_MS * NS_PER_MS);
		while ((segment = bed_next_tcp()).packet)
			if (segment.len)
				return ms;
	}
	return 0;
}

static void the_first_sample_replaces_the_guess(void **state)
{
	struct bed_peer *peer = bed_connect(MSS, 65535);

	peer->pcb->srtt = 0; // as if the handshake had not been timed
	round_trip(peer, 100);
	assert_int_equal(peer->pcb->srtt, 100 << TCP_RTT_SHIFT); // 2.2
	assert_int_equal(peer->pcb->rttvar, 50 << TCP_RTT_SHIFT);
	assert_int_equal(peer->pcb->rto, TCP_RTO_TICKS(300));
	round_trip(peer, 180); // 2.3: 3/4 of 50 and 1/4 of 80; 7/8 of 100 and 1/8 of 180
	assert_int_equal(4 * peer->pcb->rttvar, (150 + 80) << TCP_RTT_SHIFT);
	assert_int_equal(peer->pcb->srtt, 110 << TCP_RTT_SHIFT);
}

static void a_steady_path_of_50_ms_times_out_after_250(void **state)
{
	struct bed_peer *peer = bed_connect(MSS, 65535);

	for (unsigned i = 0; i < 30; i++)
		round_trip(peer, 50);
	send_bytes(peer, MSS);
	assert_int_equal(bed_next_tcp().len, MSS);
	assert_in_range(until_next(1000), 250, 310);
}

static void timeouts_double_until_the_peer_is_given_up(void **state)
{
	struct bed_peer *peer = bed_connect(MSS, 65535);
	uint32_t times[16], count = 0, total = 0;

	send_bytes(peer, MSS);
	assert_int_equal(bed_next_tcp().len, MSS);
	while (count < 16 && (times[count] = until_next(70000)))
		total += times[count++];
	assert_int_equal(count, TCP_MAXRTX);
	assert_in_range(times[0], 200, 280);
	for (unsigned i = 1; i < count; i++)
		assert_in_range(times[i], 2 * times[i - 1] - 60, 2 * times[i - 1] + 60);
	assert_true(total > 100000); // RFC 9293, 3.8.3: R2
	assert_null(peer->pcb);
	assert_int_equal(peer->error, ERR_ABRT);
}

static void set_user_timeout(struct bed_peer *peer, uint32_t ms)
{
	tcp_timed(peer->pcb);
	peer->pcb->timers.user_timeout = ms;
}

// Milliseconds until the connection is given up; 0: it is not, in so many.
static uint32_t until_given_up(struct bed_peer *peer, uint32_t longest)
{
	for (uint32_t ms = STEP_MS; ms <= longest; ms += STEP_MS) {
		shim_advance(STEP_MS * NS_PER_MS);
		bed_skip();
		if (!peer->pcb)
			return ms;
	}
	return 0;
}

static void a_users_timeout_is_counted_from_the_last_progress(void **state)
{
	struct bed_peer *peer = bed_connect(MSS, 65535);
	struct bed_segment first, second;

	set_user_timeout(peer, 3000);
	assert_int_equal(until_given_up(peer, 10000), 0); // nothing waits
	send_bytes(peer, 2 * MSS);
	first = bed_next_tcp();
	second = first.len > MSS ? first : bed_next_tcp();
	assert_int_equal(second.seq + second.len, first.seq + 2 * MSS);
	assert_int_equal(until_given_up(peer, 2500), 0);
	bed_ack(peer, first.seq + MSS);
	assert_in_range(until_given_up(peer, 10000), 3000, 3300);
	assert_int_equal(peer->error, ERR_ABRT);
}

static void a_users_timeout_waits_for_one_that_is_sent_again(void **state)
{
	struct bed_peer *peer = bed_connect(MSS, 65535);
	uint32_t resent;

	for (unsigned i = 0; i < 30; i++)
		round_trip(peer, 400);
	set_user_timeout(peer, 1);
	round_trip(peer, 400);
	assert_non_null(peer->pcb);
	send_bytes(peer, MSS);
	assert_int_equal(bed_next_tcp().len, MSS);
	resent = until_next(2000);
	assert_in_range(resent, 400, 1000);
	assert_in_range(until_given_up(peer, 2000), 10, 700);
}

static void a_users_timeout_may_be_longer_than_the_stacks(void **state)
{
	struct bed_peer *peer = bed_connect(MSS, 65535);

	set_user_timeout(peer, 400000);
	send_bytes(peer, MSS);
	assert_in_range(until_given_up(peer, 500000), 400000, 400300);
}

static void a_users_timeout_ends_the_wait_for_a_window(void **state)
{
	struct bed_peer *peer = bed_connect(MSS, 65535);
	struct bed_segment segment;

	set_user_timeout(peer, 5000);
	send_bytes(peer, MSS);
	segment = bed_next_tcp();
	peer->window = 0;
	bed_ack(peer, segment.seq + segment.len);
	send_bytes(peer, 100);
	for (unsigned ms = 0; ms < 8000 && peer->pcb; ms += STEP_MS) { // each probe is answered
		shim_advance(STEP_MS * NS_PER_MS);
		while (peer->pcb && (segment = bed_next_tcp()).packet) {
			assert_in_range(segment.len, 0, 1);
			bed_ack(peer, peer->pcb->lastack);
		}
		assert_true(peer->pcb || ms >= 5000 - STEP_MS);
	}
	assert_null(peer->pcb);
	assert_int_equal(peer->error, ERR_ABRT);
}

// The time-out learnt from the handshake is too short: Karn's rule lets it grow until a sample is taken.
static void a_path_that_becomes_slow_is_learnt(void **state)
{
	struct bed_peer *peer = bed_connect(MSS, 65535);

	for (unsigned i = 0; i < 12; i++)
		round_trip(peer, 700);
	send_bytes(peer, MSS);
	assert_int_equal(bed_next_tcp().len, MSS);
	assert_in_range(until_next(3000), 900, 2000);
}

static void a_repeated_syn_ack_makes_the_first_timeout_long(void **state)
{
	struct bed_peer *peer = bed_syn("", 0, 65535);
	struct bed_segment syn_ack = {0};

	for (unsigned i = 0; i < 300; i++) {
		struct bed_segment segment = bed_next_tcp();

		if (segment.packet)
			syn_ack = segment;
		shim_advance(STEP_MS * NS_PER_MS);
	}
	bed_ack(peer, syn_ack.seq + 1);
	assert_non_null(peer->pcb);
	send_bytes(peer, 500);
	assert_int_equal(bed_next_tcp().len, 500);
	assert_in_range(until_next(5000), 2900, 3200); // RFC 6298, 5.7
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_first_sample_replaces_the_guess),
	    TEST(a_steady_path_of_50_ms_times_out_after_250),
	    TEST(timeouts_double_until_the_peer_is_given_up),
	    TEST(a_users_timeout_is_counted_from_the_last_progress),
	    TEST(a_users_timeout_waits_for_one_that_is_sent_again),
	    TEST(a_users_timeout_may_be_longer_than_the_stacks),
	    TEST(a_users_timeout_ends_the_wait_for_a_window),
	    TEST(a_path_that_becomes_slow_is_learnt),
	    TEST(a_repeated_syn_ack_makes_the_first_timeout_long),
	};
	return cmocka_run_group_tests_name("tcp_timers", tests, bed_group_setup,
					   bed_group_teardown);
}
