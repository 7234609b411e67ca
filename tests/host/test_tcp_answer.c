// SPDX-License-Identifier: BSD-2-Clause
// The straight way of a small answer (answer_write): the packets it leads to are, byte for byte but for
// what tells connections apart, those of the general way; it does nothing when it cannot do all.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/pool.h"
#include "lwip/priv/tcp_priv.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"

#define PAGES 16
#define WIRE  200000 // bytes of one answer at most, and what was left over before it

struct seen { // what one connection put on the wire
	uint32_t first, bytes, packets, ends[400];
	uint8_t flags[400], data[WIRE];
};
static struct seen seen[2];
static char head[512];
static struct page *file[PAGES];

static void general(struct tcp_pcb *pcb, uint16_t head_len, uint16_t len)
{
	assert_int_equal(genbuf_write(pcb, head, head_len, len > 0), ERR_OK);
	for (unsigned i = 0; len; i++) {
		uint16_t n = (uint16_t)MIN(len, PAGE_SIZE);
		len -= n;
		assert_int_equal(pagebuf_write(pcb, file[i], 0, n, len > 0), ERR_OK);
	}
}

// True: the straight way was taken.
static bool straight(struct tcp_pcb *pcb, uint16_t head_len, uint16_t len)
{
	unsigned count = (len + PAGE_SIZE - 1) / PAGE_SIZE;

	for (unsigned i = 0; i < count; i++)
		page_wire_get(file[i]);
	if (answer_write(pcb, head, head_len, file, len))
		return true;
	for (unsigned i = 0; i < count; i++)
		page_wire_put(file[i]);
	general(pcb, head_len, len);
	return false;
}

static void collect(struct bed_peer *peer, struct seen *s)
{
	struct bed_segment segment;

	tcp_output(peer->pcb);
	stack_flush();
	while ((segment = bed_next_tcp()).packet) {
		assert_true(s->packets < ARRAY_SIZE(s->ends) && s->bytes + segment.len <= WIRE);
		if (!s->packets)
			s->first = segment.seq;
		memcpy(s->data + s->bytes, segment.data, segment.len);
		s->bytes += segment.len;
		s->flags[s->packets] = segment.flags;
		s->ends[s->packets++] = segment.seq + segment.len - s->first;
	}
}

static void alike(void)
{
	assert_int_equal(seen[0].packets, seen[1].packets);
	assert_int_equal(seen[0].bytes, seen[1].bytes);
	assert_memory_equal(seen[0].ends, seen[1].ends, seen[0].packets * sizeof(uint32_t));
	assert_memory_equal(seen[0].flags, seen[1].flags, seen[0].packets);
	assert_memory_equal(seen[0].data, seen[1].data, seen[0].bytes);
}

static int setup(void **state)
{
	for (unsigned i = 0; i < sizeof(head); i++)
		head[i] = (char)('a' + i % 26);
	return bed_setup(state);
}

static void make_pages(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		file[i] = bed_page((uint8_t)i);
}

static void drop_pages(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		bed_page_done(file[i]);
}

static void both_ways_lead_to_the_same_packets(void **state)
{
	unsigned taken = 0;

	make_pages();
	for (unsigned round = 0; round < 300; round++) {
		static const uint16_t sizes[] = {1460, 1460, 1400, 536, 88};
		uint16_t mss = sizes[shim_random_below(ARRAY_SIZE(sizes))];
		uint16_t window =
		    (uint16_t)(shim_random_below(3) ? 65535 : 1 + shim_random_below(9000));
		bed_tso(shim_random_below(3) ? 65535 : 0);
		bed.ipv6 = shim_random_below(2);
		struct bed_peer *peer[2] = {bed_connect(mss, window), bed_connect(mss, window)};
		memset(seen, 0, sizeof(seen));
		for (unsigned i = 0; i < 2; i++) { // TCP learns what the card can do
			general(peer[i]->pcb, 1, 0);
			collect(peer[i], &seen[i]);
			bed_ack(peer[i], seen[i].first + seen[i].bytes);
		}
		for (uint64_t answers = 1 + shim_random_below(3); answers; answers--) {
			uint16_t head_len = (uint16_t)(1 + shim_random_below(sizeof(head)));
			uint16_t len = (uint16_t)(shim_random_below(4) ? shim_random_below(9000)
								       : shim_random_below(60000));
			len = (uint16_t)MIN(len,
					    40 * MIN(mss, MAX(window / 2, 64))); // fits the queue
			bool now = shim_random_below(2);
			if (peer[0]->pcb->snd_buf < (uint32_t)head_len + len)
				continue;
			taken += straight(peer[0]->pcb, head_len, len);
			if (now)
				collect(peer[0], &seen[0]);
			general(peer[1]->pcb, head_len, len);
			if (now)
				collect(peer[1], &seen[1]);
		}
		for (unsigned more = 0; more < 4; more++)
			for (unsigned i = 0; i < 2; i++) {
				if (seen[i].packets)
					bed_ack(peer[i], seen[i].first + seen[i].bytes);
				collect(peer[i], &seen[i]);
			}
		alike();
		for (unsigned i = 0; i < 2; i++) {
			tcp_abort(peer[i]->pcb);
			stack_flush();
		}
		bed_skip();
		bed_complete_all();
		bed_peers_forget_one(peer[1]);
		bed_peers_forget_one(peer[0]);
	}
	drop_pages();
	assert_true(taken > 50);
}

static void without_memory_nothing_changes(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	unsigned k = 0;
	bool done = false;

	make_pages();
	bed_tso(65535);
	general(peer->pcb, 10, 0); // TCP learns what the card can do
	tcp_output(peer->pcb);
	bed_ack(peer, peer->pcb->snd_nxt);
	for (; !done; k++) {
		uint32_t end = peer->pcb->snd_lbb;
		uint32_t pinned = file[0]->wire;
		page_wire_get(file[0]);
		page_wire_get(file[1]);
		pool_fail_after(k);
		done = answer_write(peer->pcb, head, 100, file, 5000);
		pool_fail_off();
		if (done)
			break;
		assert_int_equal(file[0]->wire, pinned + 1);
		assert_int_equal(file[1]->wire, pinned + 1);
		assert_null(peer->pcb->unsent);
		assert_int_equal(peer->pcb->snd_lbb, end);
		assert_int_equal(peer->pcb->snd_queuelen, 0);
		page_wire_put(file[0]);
		page_wire_put(file[1]);
	}
	assert_true(k >= 3); // what has the segment and the head, two pages
	drop_pages();
}

// A head with a name, once more, acknowledged so far in between: whether it was copied again.
static bool copied_again(struct bed_peer *peer, uint64_t name, uint32_t acknowledged)
{
	static char bytes[300];
	const struct answer_head named = {bytes, sizeof(bytes), name};
	struct bed_segment segment;
	uint32_t end;

	for (unsigned i = 0; i < 2; i++) {
		memset(bytes, 'a' + i, sizeof(bytes));
		page_wire_get(file[0]);
		assert_true(answer_fits(peer->pcb, sizeof(bytes), PAGE_SIZE));
		assert_true(answer_queue(peer->pcb, &named, file, PAGE_SIZE));
		tcp_output(peer->pcb);
		stack_flush();
		segment = bed_next_tcp();
		assert_true(segment.packet && segment.len > sizeof(bytes));
		for (unsigned at = 1; at < sizeof(bytes); at++)
			assert_int_equal(segment.data[at], segment.data[0]);
		bed_skip();
		end = peer->pcb->snd_nxt;
		bed_ack(peer, peer->pcb->lastack + acknowledged);
		bed_ack(peer, end);
		assert_null(peer->pcb->unacked);
		assert_int_equal(file[0]->wire, 1);
	}
	return segment.data[0] == 'b';
}

static void a_head_with_a_name_is_copied_once(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	uint64_t name = 0x123456789;

	make_pages();
	bed_tso(65535);
	general(peer->pcb, 10, 0); // TCP learns what the card can do
	tcp_output(peer->pcb);
	stack_flush();
	bed_ack(peer, peer->pcb->snd_nxt);
	bed_skip();
	shim_pools_keep(true);
	for (uint32_t at = 1; at < 300 + PAGE_SIZE; at += 97) {
		// What was cut off its beginning may have TCP's header in it now.
		assert_int_equal(copied_again(peer, name++, at), at >= TCP_TRIM_LEAST);
		assert_true(copied_again(peer, 0, at));
	}
	bed.manual = true; // the card holds it when it is acknowledged
	name++;
	page_wire_get(file[0]);
	assert_true(
	    answer_queue(peer->pcb, &(struct answer_head){head, 300, name}, file, PAGE_SIZE));
	tcp_output(peer->pcb);
	stack_flush();
	bed_ack(peer, peer->pcb->snd_nxt);
	assert_int_equal(file[0]->wire, 2);
	bed_complete_all();
	bed.manual = false;
	assert_int_equal(file[0]->wire, 1);
	bed_skip();
	shim_pools_keep(false);
	drop_pages();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, bed_teardown)
	    T(both_ways_lead_to_the_same_packets),
	    T(without_memory_nothing_changes),
	    T(a_head_with_a_name_is_copied_once),
	};
	return cmocka_run_group_tests(tests, bed_group_setup, bed_group_teardown);
}
