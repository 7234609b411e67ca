// SPDX-License-Identifier: BSD-2-Clause
// Runs the unit tests that come with lwIP on our options and our patches (lwipopts.h beside this file
// says what had to differ). Left out, with the reason:
//   four of tcp      look for what is sent again on the queue of unsent segments (left_out, below)
//   core/test_mem    tests mem.c, whose place net/lwip/memory.c takes in the kernel
//   core/test_dns, mdns, mqtt, api (sockets), ppp    modules that we do not build
#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/test_def.h"
#include "core/test_netif.h"
#include "core/test_pbuf.h"
#include "core/test_timers.h"
#include "dhcp/test_dhcp.h"
#include "etharp/test_etharp.h"
#include "ip4/test_ip4.h"
#include "ip6/test_ip6.h"
#include "lwip/init.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "lwip_check.h"
#include "kernel/pool.h"
#include "tcp_path.h"
#include "tcp_timestamp.h"
#include "tcp/test_tcp.h"
#include "tcp/test_tcp_oos.h"
#include "tcp/test_tcp_state.h"
#include "udp/test_udp.h"

// ---- what the port gives lwIP ---------------------------------------------------------------------

u32_t lwip_sys_now;
u32_t sys_now(void);
u32_t sys_now(void)
{
	return lwip_sys_now;
}

uint32_t tcp_now(void)
{
	return lwip_sys_now + tcp_ticks * TCP_SLOW_INTERVAL + 1;
}

void *pool_alloc(struct pool *pool)
{
	return calloc(1, pool->object_bytes);
}

void pool_free(struct pool *pool, void *object)
{
	free(object);
}

// Send buffers do not grow.
uint64_t tcp_sndbuf_most(void)
{
	return 0;
}

// Nor do receive windows.
uint64_t tcp_rcvbuf_most(void)
{
	return 0;
}

// No loopback: their packets are from and for whom they like.
struct netif *loopback_route4(const ip4_addr_t *from, const ip4_addr_t *to)
{
	return NULL;
}
struct netif *loopback_route6(const ip6_addr_t *from, const ip6_addr_t *to)
{
	return NULL;
}
int loopback_refuses4(struct pbuf *p, const struct netif *arrival)
{
	return 0;
}
int loopback_refuses6(struct pbuf *p, const struct netif *arrival)
{
	return 0;
}

void *copy_other(void *to, const void *from, size_t len)
{
	return memmove(to, from, len);
}

uint16_t net_random16(void)
{
	return (uint16_t)net_random32();
}

uint32_t net_random32(void)
{
	return (uint32_t)rand();
}

uint32_t tcp_timestamp_offset(const struct tcp_tuple *tuple)
{
	return 0;
}

// lwIP's own generator: the tests steer it with tcp_ticks.
uint32_t tcp_initial_sequence(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote,
			      uint16_t remote_port);
uint32_t tcp_initial_sequence(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote,
			      uint16_t remote_port)
{
	static uint32_t iss = 6510;

	iss += tcp_ticks;
	return iss;
}

// All paths take what the link does, and who is silent is sent the same again and again.
uint32_t tcp_path_entries;
void mtu_dhcp_option(struct netif *netif, uint8_t message, uint8_t option, uint8_t bytes,
		     struct pbuf *p, uint16_t at)
{
}
void tcp_path_recall(struct tcp_pcb *pcb) {}
void mtu_advertised(struct netif *netif, uint32_t mtu) {}
void tcp_path_got_through(const struct tcp_pcb *pcb) {}
void tcp_path_try_again(struct tcp_pcb *pcb, uint16_t mss) {}
bool tcp_path_silent(struct tcp_pcb *pcb, unsigned timeouts, bool *worth_it)
{
	return false;
}
int path_mtu_unreachable(struct pbuf *p)
{
	return 0;
}
int path_mtu_too_big(struct pbuf *p, struct netif *arrival)
{
	return 0;
}

void netdev_tcp_waits(void);
void netdev_tcp_waits(void) {}
void answer_segment_free(struct tcp_seg *seg);
void answer_segment_free(struct tcp_seg *seg) {}

int icmp_error_allowed(void)
{
	return 1;
}

uint16_t tcp_mss_offer = TCP_MSS;

uint32_t rxpool_window_limit(void);
uint32_t rxpool_window_limit(void)
{
	return UINT32_MAX;
}

void panic_at(const char *file, int line, const char *function, const char *format, ...)
{
	fprintf(stderr, "panic at %s:%d in %s: %s\n", file, line, function, format);
	abort();
}

void kprintf(const char *format, ...) {}

// ---- what lwIP's lwip_unittests.c gives the tests ---------------------------------------------------

// The loopback interface's queue is all there is to poll without threads.
void tcpip_thread_poll_one(void);
void tcpip_thread_poll_one(void)
{
	netif_poll_all();
}

// Ours stays on the queue of unacknowledged ones: tests/host/test_tcp_loss.c.
static bool left_out(const char *name)
{
	static const char *const names[] = {"test_tcp_fast_rexmit_wraparound",
					    "test_tcp_rto_rexmit_wraparound",
					    "test_tcp_rto_tracking", "test_tcp_retx_add_to_sent"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

Suite *create_suite(const char *name, testfunc *tests, size_t count, SFun setup, SFun teardown)
{
	Suite *suite = suite_create(name);

	for (size_t i = 0; i < count; i++) {
		TCase *tcase;

		if (left_out(tests[i]->name))
			continue;
		tcase = tcase_create(tests[i]->name); // its own, so that results have names
		tcase_add_checked_fixture(tcase, setup, teardown);
		tcase_add_named_test(tcase, tests[i]);
		suite_add_tcase(suite, tcase);
	}
	return suite;
}

void lwip_check_ensure_no_alloc(unsigned int skip)
{
	if (!(skip & SKIP_HEAP))
		ck_assert_msg(lwip_stats.mem.used == 0, "%lu bytes of heap in use",
			      (unsigned long)lwip_stats.mem.used);
	for (int i = 0; i < MEMP_MAX; i++)
		if (!(skip & SKIP_POOL(i)))
			ck_assert_msg(lwip_stats.memp[i]->used == 0, "pool %d: %lu in use", i,
				      (unsigned long)lwip_stats.memp[i]->used);
}

int main(void)
{
	SRunner *runner;
	int failed;

	lwip_init();
	runner = srunner_create(def_suite());
	srunner_add_suite(runner, ip4_suite());
	srunner_add_suite(runner, ip6_suite());
	srunner_add_suite(runner, udp_suite());
	srunner_add_suite(runner, tcp_suite());
	srunner_add_suite(runner, tcp_oos_suite());
	srunner_add_suite(runner, tcp_state_suite());
	srunner_add_suite(runner, netif_suite());
	srunner_add_suite(runner, pbuf_suite());
	srunner_add_suite(runner, timers_suite());
	srunner_add_suite(runner, etharp_suite());
	srunner_add_suite(runner, dhcp_suite());
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
