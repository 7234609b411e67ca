// SPDX-License-Identifier: BSD-2-Clause
// Idle connections cost the timers nothing, and are idle no longer when anything is done to them.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// SOURCES: net/netstat.c net/lwip/memory.c
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

#define MANY 2000

static uint64_t visits(void)
{
	return kstat_get("pagewire_tcp_timer_visits_total", NULL);
}

// Long enough to be off the timers' list.
static struct bed_peer *idle_connection(void)
{
	struct bed_peer *peer = bed_connect(1460, 65535);

	shim_advance(5 * NS_PER_SEC);
	assert_true(tcp_timer_idle(peer->pcb));
	bed_skip();
	return peer;
}

static void write_byte(struct bed_peer *peer)
{
	assert_int_equal(tcp_write(peer->pcb, "x", 1, TCP_WRITE_FLAG_COPY), ERR_OK);
	tcp_output(peer->pcb);
	stack_flush();
}

// What is sent in that time, at most.
static unsigned sent_in(unsigned seconds)
{
	uint64_t before = bed.handed;

	for (unsigned i = 0; i < 10 * seconds; i++)
		shim_advance(NS_PER_SEC / 10);
	return bed.handed - before;
}

static void idle_connections_are_not_looked_at(void **state)
{
	uint64_t before;

	for (unsigned i = 0; i < MANY; i++) {
		bed_peers_forget_one(bed_connect(1460, 65535));
		bed_skip();
	}
	shim_advance(2 * NS_PER_SEC);
	before = visits();
	shim_advance(10 * NS_PER_SEC);
	print_message("# %u visits in 10 s to %u idle connections\n", (unsigned)(visits() - before),
		      MANY);
	assert_int_equal(visits() - before, 0);
	while (tcp_active_pcbs) {
		tcp_abort(tcp_active_pcbs);
		stack_flush();
		bed_skip();
	}
}

static void what_is_written_after_a_pause_is_sent_again(void **state)
{
	struct bed_peer *peer = idle_connection();
	struct bed_segment segment;

	write_byte(peer);
	assert_int_equal(bed_next_tcp().len, 1);
	assert_in_range(sent_in(3), 1, 5);
	segment = bed_next_tcp();
	assert_int_equal(segment.len, 1);
	bed_ack(peer, segment.seq + 1);
	assert_int_equal(sent_in(5), 0);
	assert_true(tcp_timer_idle(peer->pcb));
}

static void a_closed_window_is_probed_after_a_pause(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);

	peer->window = 0;
	bed_ack(peer, peer->ack);
	shim_advance(5 * NS_PER_SEC);
	assert_true(tcp_timer_idle(peer->pcb));
	bed_skip();
	write_byte(peer);
	assert_in_range(sent_in(5), 1, 10);
	assert_int_equal(bed_next_tcp().len, 1);
}

static void an_ack_is_delayed_but_sent_after_a_pause(void **state)
{
	struct bed_peer *peer = idle_connection();

	bed_send(peer, TCP_ACK, "x", 1);
	shim_advance(NS_PER_SEC / 10);
	assert_int_equal(bed_next_tcp().ack, peer->seq);
}

static void a_lost_link_is_made_good(void **state)
{
	struct bed_peer *peer = idle_connection();

	bed_link(false);
	write_byte(peer);
	shim_advance(NS_PER_SEC);
	bed_link(true);
	bed_skip();
	assert_in_range(sent_in(10), 1, 20);
}

static void a_close_after_a_half_close_times_out(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);

	assert_int_equal(tcp_shutdown(peer->pcb, 0, 1), ERR_OK);
	stack_flush();
	bed_ack(peer, bed_next_tcp().seq + 1);
	assert_int_equal(peer->pcb->state, FIN_WAIT_2);
	shim_advance(100 * NS_PER_SEC);
	assert_int_equal(peer->pcb->state, FIN_WAIT_2); // the peer may go on sending
	assert_true(tcp_timer_idle(peer->pcb));
	assert_int_equal(tcp_close(peer->pcb), ERR_OK);
	shim_advance(21 * NS_PER_SEC);
	assert_int_equal(kstat_get("pagewire_tcp_connections", NULL), 0);
}

static void an_option_set_in_a_pause_is_found(void **state)
{
	struct bed_peer *peer = idle_connection();

	tcp_timed(peer->pcb);
	ip_set_option(peer->pcb, SOF_KEEPALIVE);
	assert_in_range(sent_in(200), 3, 10);
	assert_null(peer->pcb);
	assert_int_equal(peer->error, ERR_ABRT);
}

static unsigned polls;

static err_t poll(void *arg, struct tcp_pcb *pcb)
{
	polls++;
	return ERR_OK;
}

static void a_poll_set_in_a_pause_is_called(void **state)
{
	struct bed_peer *peer = idle_connection();

	polls = 0;
	tcp_poll(peer->pcb, poll, 10);
	shim_advance(10 * NS_PER_SEC);
	assert_in_range(polls, 9, 11);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(idle_connections_are_not_looked_at),
	    T(what_is_written_after_a_pause_is_sent_again),
	    T(a_closed_window_is_probed_after_a_pause),
	    T(an_ack_is_delayed_but_sent_after_a_pause),
	    T(a_lost_link_is_made_good),
	    T(a_close_after_a_half_close_times_out),
	    T(an_option_set_in_a_pause_is_found),
	    T(a_poll_set_in_a_pause_is_called),
	};

	return cmocka_run_group_tests(tests, bed_group_setup, bed_group_teardown);
}
