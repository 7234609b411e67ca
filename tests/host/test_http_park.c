// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/http_world_rights.c server/rights.c server/users.c server/auth.c server/auth_digest.c
// SOURCES: server/dav_if.c server/dav_if_weigh.c server/auth_delay.c kernel/siphash.c
// ARCHIVES: build/host/libcrypto.a
// SOURCES: tests/host/http_world.c tests/host/http_world_park.c server/http_park.c
// SOURCES: tests/host/http_client.c tests/host/http_world_files.c server/http.c server/http_conn.c
// SOURCES: server/http_timer.c server/http_address.c server/http_exchange.c server/http_decide.c
// SOURCES: server/http_send.c server/http_response.c server/http_file.c server/http_job.c
// SOURCES: server/http_stats.c server/http_parse.c server/http_head.c server/http_body.c
// SOURCES: server/http_uri.c server/http_range.c server/http_date.c server/http_cond.c
// SOURCES: server/http_mime.c server/http_mime_table.c server/http_text.c server/dirlist.c
// SOURCES: server/dirlist_write.c server/metrics.c server/access_log.c kernel/civil.c
// SOURCES: kernel/string.c server/http_recall.c
// SOURCES: server/http_method.c server/http_receive.c server/http_held.c
// SOURCES: server/http_put.c server/http_upload.c server/http_change.c server/http_tree.c server/dav.c
// SOURCES: server/http_copy.c server/http_collection.c tests/host/http_world_write.c kernel/copy.c server/dav_lock.c
// CFLAGS: -Itests/host/fake $(CRYPTO_CFLAGS)
// Idle connections without a struct http_conn and without a PCB (server/http_park.c): they count, end in time, make
// room for others, and are there again when their client says something. Each over IPv4 and over IPv6.
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "http_client.h"
#include "kernel/kstat.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"

#define REQUEST(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static bool six;

static int begin(bool ipv6)
{
	six = ipv6;
	client_begin("off");
	world_file("one", 12, 1);
	return 0;
}

static int setup(void **state)
{
	return begin(false);
}

static int setup6(void **state)
{
	return begin(true);
}

// Each host is an address of its own: a /64 over IPv6.
static struct tcp_pcb *connect_from(unsigned host)
{
	return world_connect(six ? 0x10000 | host << 8 : host);
}

static uint64_t parked(void)
{
	return kstat_get("pagewire_http_connections", "state=\"parked\"");
}

static uint32_t records(bool ipv6)
{
	const char *name = ipv6 ? "http_parked6" : "http_parked";
	struct pool *pool = pool_first();

	while (strcmp(pool->name, name))
		pool = pool->next;
	return pool->used;
}

static void an_idle_connection_is_parked_counts_and_goes_on(void **state)
{
	struct tcp_pcb *pcb = connect_from(1), *other = world_connect(six ? 9 : 0x10909);
	size_t len;

	http_config.per_address_max = 1;
	for (int i = 0; i < 5; i++) {
		world_say(pcb, REQUEST("/one"), 0);
		world_settle();
		client_says(pcb, "HTTP/1.1 200 ");
		len = pcb->out_len;
		assert_int_equal(parked(), i ? 1 : 0); // the other one
		client_pass(2000);
		assert_int_equal(parked(), 2);
		assert_int_equal(http_conn_pool.used, 0);
		assert_int_equal(records(six), 1);
		assert_int_equal(records(!six), 1);
		assert_int_equal(http_conn_count, 2);
		assert_int_equal(kstat_get("pagewire_http_connections", "state=\"idle\""), 2);
		client_says(connect_from(1), "HTTP/1.1 503 "); // it counts for its address
		client_pass(3000);
		world_say(pcb, "GET /one HT", 0);
		client_pass(3000); // a head begun is no idle connection
		assert_int_equal(parked(), 1);
		world_say(pcb, "TP/1.1\r\nHost: x\r\n\r\n", 0);
		world_settle();
		assert_true(pcb->out_len > len);
		client_says(other, "");
	}
	world_fin(pcb);
	assert_true(pcb->closed);
	assert_int_equal(connect_from(1)->out_len, 0);
}

// Segments that are no request wake it, and change nothing about how long it may be idle, nor about how long others
// may.
static void one_that_is_woken_for_nothing_ends_in_time(void **state)
{
	struct tcp_pcb *pcb[20];

	for (unsigned i = 0; i < ARRAY_SIZE(pcb); i++) {
		pcb[i] = connect_from(1 + i);
		client_pass(1000);
	}
	for (unsigned now = ARRAY_SIZE(pcb); now < 90; now++) {
		if (now < 59)
			assert_true(world_wakes(pcb[now % 10]) && world_wakes(pcb[5]));
		client_pass(1000);
		for (unsigned i = 0; i < ARRAY_SIZE(pcb); i++) { // each has 60 s, and two ticks
			assert_false(now + 1 < 60 + i && world_gone(pcb[i]));
			assert_true(now < 61 + i || pcb[i]->closed);
		}
	}
	assert_int_equal(parked(), 0);
	assert_int_equal(http_conn_count, 0);
}

static void without_memory_a_parked_one_waits_or_is_reset(void **state)
{
	struct tcp_pcb *pcb[3];

	for (int i = 0; i < 3; i++)
		pcb[i] = connect_from(1);
	client_pass(2000);
	assert_int_equal(parked(), 3);
	world_no_pcbs = true;
	assert_false(world_wakes(pcb[0]));
	world_no_pcbs = false;
	pool_fail_after(0);
	assert_false(world_wakes(pcb[1]));
	pool_fail_off();
	assert_int_equal(parked(), 3);
	world_say(pcb[0], REQUEST("/one"), 0);
	world_settle();
	client_says(pcb[0], "HTTP/1.1 200 ");
	world_address_goes(pcb[1]);
	assert_true(pcb[1]->aborted);
	world_no_pcbs = true;
	client_pass(62000);
	assert_true(pcb[2]->aborted && !pcb[2]->closed);
	world_no_pcbs = false;
	assert_int_equal(parked(), 0);
}

static void when_full_the_oldest_parked_one_makes_room(void **state)
{
	struct tcp_pcb *pcb[4];

	http_config.connections_max = 3;
	for (int i = 0; i < 3; i++) {
		pcb[i] = connect_from(1);
		client_pass(3000);
	}
	world_say(pcb[0], REQUEST("/one"), 0);
	world_settle();
	client_pass(3000);
	assert_int_equal(parked(), 3);
	pcb[3] = connect_from(2);
	assert_true(pcb[1]->closed && !world_gone(pcb[0]) && !world_gone(pcb[2]));
	while (http_end_oldest_idle())
		;
	assert_true(pcb[0]->closed && pcb[2]->closed && pcb[3]->closed);
	assert_int_equal(http_conn_count, 0);
}

// Of either kind, the one that has waited for longest.
static void ipv4_and_ipv6_wait_in_one_order(void **state)
{
	struct tcp_pcb *pcb[6];

	http_config.connections_max = ARRAY_SIZE(pcb);
	for (unsigned i = 0; i < ARRAY_SIZE(pcb); i++) {
		six = i % 2;
		pcb[i] = connect_from(1 + i);
		client_pass(3000);
	}
	assert_int_equal(parked(), ARRAY_SIZE(pcb));
	assert_int_equal(records(false), ARRAY_SIZE(pcb) / 2);
	assert_int_equal(records(true), ARRAY_SIZE(pcb) / 2);
	for (unsigned i = 0; i < ARRAY_SIZE(pcb); i++) {
		assert_true(!world_gone(pcb[i]) && http_end_oldest_idle());
		assert_true(pcb[i]->closed);
	}
	assert_int_equal(records(false) + records(true), 0);
}

int main(void)
{
#define BOTH(name)                                                                                 \
	cmocka_unit_test_setup_teardown(name, setup, client_teardown),                             \
	    cmocka_unit_test_setup_teardown(name, setup6, client_teardown)
	const struct CMUnitTest tests[] = {
	    BOTH(an_idle_connection_is_parked_counts_and_goes_on),
	    BOTH(one_that_is_woken_for_nothing_ends_in_time),
	    BOTH(without_memory_a_parked_one_waits_or_is_reset),
	    BOTH(when_full_the_oldest_parked_one_makes_room),
	    cmocka_unit_test_setup_teardown(ipv4_and_ipv6_wait_in_one_order, setup,
					    client_teardown),
	};
	return cmocka_run_group_tests_name("http parked", tests, NULL, NULL);
}
