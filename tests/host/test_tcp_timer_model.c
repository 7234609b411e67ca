// SPDX-License-Identifier: BSD-2-Clause
// Each connection's timers come at their deadlines, whatever was done to it and to others meanwhile; a dead one leaves
// no entry. After every tick all connections are asked, which the timers themselves do not do.
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
#include "tcp_recover.h"

#define TICK (TCP_TMR_INTERVAL * NS_PER_MS)
#define MANY 60

static uint64_t visits(void)
{
	return kstat_get("pagewire_tcp_timer_visits_total", NULL);
}

static void write_bytes(struct tcp_pcb *pcb, uint32_t bytes)
{
	static char junk[4096];

	if (tcp_write(pcb, junk, (u16_t)bytes, TCP_WRITE_FLAG_COPY) == ERR_OK)
		tcp_output(pcb);
	stack_flush();
}

// What a walk over everything, at each tick, would find overdue. A touched connection is looked at at the next tick.
static void nothing_is_overdue(void)
{
	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next) {
		uint32_t silent = (tcp_ticks - pcb->tmr) * TCP_SLOW_INTERVAL;
		// It has become so only now: the next slow tick will see to it.
		bool at_once =
		    pcb->timers.slow.link && pcb->timers.slow.at - pcb->timers.slow.seen <= 1;

		if (pcb->timers.touched)
			continue;
		assert_false(pcb->flags & (TF_ACK_DELAY | TF_CLOSEPEND | TF_NAGLEMEMERR));
		assert_null(pcb->refused_data);
		if (pcb->rtime >= pcb->rto && tcp_given_up(pcb)) {
			assert_true(at_once);
		} else if (pcb->rtime >= 0 && !pcb->persist_backoff) {
			uint32_t left = pcb->timers.fast.at - pcb->timers.fast.seen;

			assert_non_null(pcb->timers.fast.link);
			assert_true(pcb->rtime + (int32_t)left <= pcb->rto);
			if (tcp_recover_probe_after(pcb) > pcb->rtime)
				assert_true(pcb->rtime + (int32_t)left <=
					    tcp_recover_probe_after(pcb));
		}
		if (pcb->persist_backoff || pcb->poll || pcb->ooseq ||
		    ip_get_option(pcb, SOF_KEEPALIVE) || (pcb->unsent && !pcb->unacked))
			assert_non_null(pcb->timers.slow.link);
		if (ip_get_option(pcb, SOF_KEEPALIVE) && pcb->state == ESTABLISHED)
			assert_true(at_once || silent <= tcp_keepalive_ms(pcb) + TCP_SLOW_INTERVAL);
		if (pcb->ooseq)
			assert_true(at_once || silent <= TCP_OOSEQ_TIMEOUT);
		if (tcp_end_ms(pcb))
			assert_true(at_once || silent <= tcp_end_ms(pcb) + TCP_SLOW_INTERVAL);
	}
}

static void something(struct bed_peer *peer)
{
	struct tcp_pcb *pcb = peer->pcb;

	if (!pcb)
		return;
	switch (shim_random_below(9)) {
	case 0:
	case 1:
		write_bytes(pcb, 1 + (uint32_t)shim_random_below(4000));
		break;
	case 2:
	case 3:
		bed_ack(peer, pcb->snd_nxt);
		break;
	case 4:
		bed_send(peer, TCP_ACK, "x", 1);
		break;
	case 5: // out of order
		peer->seq += 5;
		bed_send(peer, TCP_ACK, "y", 1);
		peer->seq -= 6;
		break;
	case 6:
		peer->window = shim_random_below(3) ? 65535 : 0;
		bed_ack(peer, pcb->lastack);
		break;
	case 7:
		tcp_timed(pcb);
		ip_set_option(pcb, SOF_KEEPALIVE);
		pcb->keep_idle = 1000 * (1 + (u32_t)shim_random_below(20));
		pcb->keep_intvl = 1000 * (1 + (u32_t)shim_random_below(40));
		break;
	case 8:
		if (!shim_random_below(10))
			bed_send(peer, TCP_RST | TCP_ACK, "", 0);
		break;
	}
}

static void deadlines_are_kept_whatever_happens(void **state)
{
	struct bed_peer *peers[MANY];
	uint64_t seen = visits();

	for (unsigned i = 0; i < MANY; i++)
		peers[i] = bed_connect(1460, 65535);
	for (unsigned tick = 0; tick < 6000; tick++) {
		shim_advance(TICK / 2);
		for (unsigned i = 0; i < shim_random_below(4); i++)
			something(peers[shim_random_below(MANY)]);
		bed_skip();
		shim_advance(TICK / 2);
		bed_skip();
		nothing_is_overdue();
	}
	print_message("# %u looks in 6,000 ticks at %u connections\n", (unsigned)(visits() - seen),
		      MANY);
}

// A silent peer: the tick after the data was sent, one look for each time-out, the last of which gives it up.
static void outstanding_data_costs_at_its_deadlines_only(void **state)
{
	uint64_t before;
	uint32_t looks = 0;

	for (unsigned i = 0; i < MANY; i++) {
		struct bed_peer *peer = bed_connect(1460, 65535);

		assert_false(peer->pcb->flags & TF_SACK);
		bed_skip();
	}
	shim_advance(5 * NS_PER_SEC);
	before = visits();
	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
		write_bytes(pcb, 100);
	bed_skip();
	while (tcp_active_pcbs) {
		shim_advance(NS_PER_SEC);
		bed_skip();
	}
	looks = (uint32_t)(visits() - before);
	print_message("# %u looks at %u connections until they were given up\n", looks, MANY);
	assert_int_equal(looks, MANY * (1 + TCP_MAXRTX + 1 + 1)); // given up by the slow clock
}

// Deadlines of their own, all of them random: each comes in its tick.
static void time_outs_come_in_their_tick(void **state)
{
	struct bed_peer *peers[MANY];
	uint64_t at[MANY], sent[MANY] = {0};

	for (unsigned i = 0; i < MANY; i++) {
		peers[i] = bed_connect(1460, 65535);
		bed_skip();
		shim_advance(5 * NS_PER_MS);
		peers[i]->pcb->rto = 5 + (s16_t)shim_random_below(300);
		at[i] = shim_random_below(3000);
	}
	for (uint64_t ms = 0; ms < 12000; ms++) {
		struct bed_segment segment;

		shim_advance(NS_PER_MS);
		for (unsigned i = 0; i < MANY; i++)
			if (at[i] == ms && peers[i]->pcb)
				write_bytes(peers[i]->pcb, 10);
		while ((segment = bed_next_tcp()).packet) {
			unsigned i = 0;

			while (i < MANY && peers[i]->port != segment.dest)
				i++;
			assert_in_range(i, 0, MANY - 1);
			if (sent[i]) { // rto is doubled by now
				uint64_t rto = TCP_TMR_INTERVAL * (uint64_t)peers[i]->pcb->rto / 2;

				assert_in_range(ms - sent[i], rto - TCP_TMR_INTERVAL, rto);
			}
			sent[i] = ms;
		}
	}
	for (unsigned i = 0; i < MANY; i++)
		assert_true(sent[i] > at[i]);
}

static void a_dead_connection_leaves_no_entry(void **state)
{
	uint64_t before;

	for (unsigned i = 0; i < MANY; i++) {
		struct bed_peer *peer = bed_connect(1460, 65535);

		ip_set_option(peer->pcb, SOF_KEEPALIVE);
		if (i % 2)
			write_bytes(peer->pcb, 100);
		if (i % 3)
			shim_advance(NS_PER_SEC / 2); // in the wheels; else only touched
		bed_skip();
		if (i % 4 == 0)
			bed_send(peer, TCP_RST | TCP_ACK, "", 0);
		else
			tcp_abort(peer->pcb);
		stack_flush();
		bed_skip();
	}
	assert_null(tcp_active_pcbs);
	before = visits();
	shim_advance(100 * NS_PER_SEC);
	assert_int_equal(visits(), before);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(deadlines_are_kept_whatever_happens),
	    T(outstanding_data_costs_at_its_deadlines_only),
	    T(time_outs_come_in_their_tick),
	    T(a_dead_connection_leaves_no_entry),
	};

	return cmocka_run_group_tests(tests, bed_group_setup, bed_group_teardown);
}
