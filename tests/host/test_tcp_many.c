// SPDX-License-Identifier: BSD-2-Clause
// Thousands of connections: what one more costs in time and memory.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// SOURCES: net/netstat.c net/lwip/memory.c
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
#include "kernel/pool.h"
#include "lwip/priv/tcp_priv.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"

#define MANY 10000
#define SEED 42

static struct bed_peer many[MANY];
static struct tcp_hash_node nodes[MANY];

// Connections whose peers are kept here instead of in the bed's few places.
static void connect_many(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		struct bed_peer *peer = bed_connect(1460, 65535);

		many[i] = *peer;
		bed_peers_forget_one(peer);
		bed_skip();
	}
}

// A few at a time: the card's queue is finite.
static void abort_many(void)
{
	while (tcp_active_pcbs) {
		tcp_abort(tcp_active_pcbs);
		stack_flush();
		bed_skip();
	}
}

// The most connections that one of `count` segments to random ones of the first `among` was compared with.
static uint64_t worst_lookup(unsigned among, unsigned count, uint64_t *all)
{
	uint64_t worst = 0, start = tcp_hash_steps;

	for (unsigned i = 0; i < count; i++) {
		uint64_t before = tcp_hash_steps;

		bed_send(&many[rand() % among], TCP_ACK | TCP_PSH, "x", 1);
		worst = MAX(worst, tcp_hash_steps - before);
		bed_skip();
	}
	*all = tcp_hash_steps - start;
	return worst;
}

static void a_segment_to_one_of_ten_thousand_costs_what_it_costs_with_ten(void **state)
{
	uint64_t few, lots;

	srand(SEED);
	connect_many(0, 10);
	assert_in_range(worst_lookup(10, 1000, &few), 1, 2);
	connect_many(10, MANY);
	assert_int_equal(kstat_get("pagewire_tcp_connections", NULL), MANY);
	assert_in_range(worst_lookup(MANY, 10000, &lots), 1, 10);
	print_message("# comparisons a segment: %.2f with 10 connections, %.2f with %u (seed %u)\n",
		      (double)few / 1000, (double)lots / 10000, MANY, SEED);
	assert_true(lots < 2 * 10000);
	abort_many();
}

static uint32_t pools_used(void)
{
	uint32_t bytes = 0;

	for (struct pool *pool = pool_first(); pool; pool = pool->next)
		if (strcmp(pool->name, "rxbuf"))
			bytes += pool->used * pool->object_bytes;
	return bytes;
}

static void an_idle_connection_holds_less_than_a_kilobyte(void **state)
{
	uint32_t before = pools_used(), each;

	connect_many(0, 1000);
	each = (pools_used() - before) / 1000;
	print_message("# an idle connection holds %u bytes of pools\n", each);
	assert_in_range(each, sizeof(struct tcp_pcb), 1023);
	abort_many();
}

// A peer that knows our source, but not the secret, gains nothing by choosing its ports.
static void tuples_spread_over_the_table(void **state)
{
	uint64_t longest = 0;

	for (unsigned i = 0; i < MANY; i++) {
		struct tcp_tuple tuple = {{1}, {i << TCP_HASH_BITS}, 80, 1024 + i % 4, 0};
		uint64_t before = tcp_hash_steps;

		tcp_hash_add(&nodes[i], TCP_HASH_PCB, tcp_hash(&tuple));
		tcp_hash_find(tcp_hash(&tuple) ^ 1, NULL);
		longest = MAX(longest, tcp_hash_steps - before);
	}
	for (unsigned i = 0; i < MANY; i++)
		tcp_hash_remove(&nodes[i]);
	assert_in_range(longest, 1, 10);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_segment_to_one_of_ten_thousand_costs_what_it_costs_with_ten),
	    T(an_idle_connection_holds_less_than_a_kilobyte),
	    T(tuples_spread_over_the_table),
	};

	return cmocka_run_group_tests(tests, bed_group_setup, bed_group_teardown);
}
