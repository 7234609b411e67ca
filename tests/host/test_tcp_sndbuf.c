// SPDX-License-Identifier: BSD-2-Clause
// Send buffers that grow with the path (net/lwip/tcp_sndbuf.h): how fast a long path gets, who is given how much, and
// that it is given back. In simulated time.
// SOURCES: tests/host/lossnet.c tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hooks.h"
#include "kernel/kstat.h"
#include "kernel/pmm.h"
#include "lossnet.h"
#include "lwip/priv/tcp_priv.h"
#include "shim.h"
#include "tcp_sndbuf.h"

#define MB (1U << 20)

static uint64_t given(void)
{
	return kstat_get("pagewire_tcp_send_room_bytes", NULL);
}

// 262,800 bytes a round trip would be 5.3 MB/s.
static void a_long_path_is_filled(void **state)
{
	struct lossnet net = {.rtt = 50, .sack = true, .times = true};
	uint32_t ms, limit;

	lossnet_open(&net);
	lossnet_transfer(&net, 8 * MB);
	limit = tcp_sndbuf_limit(net.peer->pcb);
	ms = lossnet_transfer(&net, 16 * MB);
	print_message("# 16 MB in %u ms, at most %u KB queued\n", ms, limit / 1024);
	assert_in_range(limit, TCP_SND_BUF + tcp_sndbuf_most() / 4 * 3, TCP_SND_BUF_MAX);
	assert_in_range(ms, 0, 16 * MB / 20000);
	assert_int_equal(net.peer->pcb->snd_buf, tcp_sndbuf_limit(net.peer->pcb));
	assert_int_equal(given(), tcp_sndbuf_limit(net.peer->pcb) - TCP_SND_BUF);
	lossnet_close(&net);
	assert_int_equal(given(), 0);
}

static void a_short_path_is_given_as_much_again(void **state)
{
	struct lossnet net = {.rtt = 1, .sack = true, .times = true};

	lossnet_open(&net);
	lossnet_transfer(&net, 8 * MB);
	assert_in_range(tcp_sndbuf_limit(net.peer->pcb), TCP_SND_BUF + TCP_SND_BUF / 2,
			TCP_SND_BUF_NEAR);
	lossnet_close(&net);
	assert_int_equal(given(), 0);
}

// Answers of 4 KB, however many and however far away.
static void short_answers_need_no_more(void **state)
{
	struct lossnet net = {.rtt = 50, .sack = true, .times = true};

	lossnet_open(&net);
	for (unsigned n = 0; n < 300; n++)
		lossnet_transfer(&net, 4096);
	assert_null(net.peer->pcb->grown);
	lossnet_close(&net);
}

// So much that a window of half a megabyte is beyond chance: some 700 segments in slow start, none of them lost.
static void a_path_that_loses_is_given_what_its_window_needs(void **state)
{
	struct lossnet net = {.rtt = 50, .loss = 30, .sack = true, .times = true};

	lossnet_open(&net);
	lossnet_transfer(&net, 8 * MB);
	assert_in_range(tcp_sndbuf_limit(net.peer->pcb), TCP_SND_BUF, MB);
	lossnet_close(&net);
}

// Each in turn sends much and then has nothing queued. Together they may have what there is; who sends gets it.
static void who_sends_is_given_what_idle_ones_had(void **state)
{
	struct lossnet nets[5];
	uint64_t most = tcp_sndbuf_most();

	assert_true(most >= MB &&
		    most < (uint64_t)ARRAY_SIZE(nets) / 2 * (TCP_SND_BUF_MAX - TCP_SND_BUF));
	for (unsigned i = 0; i < ARRAY_SIZE(nets); i++) {
		nets[i] = (struct lossnet){.rtt = 50, .sack = true, .times = true};
		lossnet_open(&nets[i]);
		lossnet_transfer(&nets[i], 8 * MB);
		assert_true(tcp_sndbuf_limit(nets[i].peer->pcb) > TCP_SND_BUF + most / 2);
		assert_true(given() <= most);
		for (unsigned before = 0; before < i; before++)
			assert_int_equal(nets[before].peer->pcb->snd_buf,
					 tcp_sndbuf_limit(nets[before].peer->pcb));
	}
	for (unsigned i = 0; i < ARRAY_SIZE(nets); i++) { // also those that had to give theirs back
		lossnet_transfer(&nets[i], 6 * MB);
		assert_true(tcp_sndbuf_limit(nets[i].peer->pcb) > TCP_SND_BUF + most / 2);
		lossnet_close(&nets[i]);
	}
	assert_int_equal(given(), 0);
}

// More than a quarter of memory is on the wire: the usual is what a connection gets.
static void nothing_is_given_while_memory_is_short(void **state)
{
	struct lossnet net = {.rtt = 50, .sack = true, .times = true};
	uint64_t refused = kstat_get("pagewire_tcp_send_room_refused_total", NULL);
	static struct page *wired[4096];
	struct pmm_stats memory;
	unsigned count = 0;

	pmm_stats(&memory);
	assert_true(memory.frames_total / 4 + 2 < ARRAY_SIZE(wired));
	while (count < memory.frames_total / 4 + 2)
		wired[count++] = bed_page(2);
	lossnet_open(&net);
	lossnet_transfer(&net, 8 * MB);
	assert_null(net.peer->pcb->grown);
	assert_true(kstat_get("pagewire_tcp_send_room_refused_total", NULL) > refused);
	while (count)
		bed_page_done(wired[--count]);
	lossnet_transfer(&net, 8 * MB);
	assert_non_null(net.peer->pcb->grown);
	lossnet_close(&net);
}

static void big_segments_too(void **state)
{
	bed_tso(0xffff);
	who_sends_is_given_what_idle_ones_had(state);
	bed_tso(0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_long_path_is_filled),
	    TEST(a_short_path_is_given_as_much_again),
	    TEST(short_answers_need_no_more),
	    TEST(a_path_that_loses_is_given_what_its_window_needs),
	    TEST(who_sends_is_given_what_idle_ones_had),
	    TEST(nothing_is_given_while_memory_is_short),
	    TEST(big_segments_too),
	};
	return cmocka_run_group_tests_name("tcp_sndbuf", tests, bed_group_setup,
					   bed_group_teardown);
}
