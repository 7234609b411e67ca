// SPDX-License-Identifier: BSD-2-Clause
// File pages and small windows: splitting a segment and probing a closed window by reference. The pages
// are unmapped: reading one is SIGSEGV.
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

#define MS NS_PER_MS

static void check_pattern(const struct bed_segment *segment, uint8_t seed, unsigned offset)
{
	for (uint32_t i = 0; i < segment->len; i++)
		assert_int_equal(segment->data[i], bed_pattern(seed, offset + i));
}

static void send_page(struct bed_peer *peer, struct page *page, uint16_t offset, uint16_t len)
{
	assert_int_equal(pagebuf_write(peer->pcb, page, offset, len, false), ERR_OK);
	tcp_output(peer->pcb);
	stack_flush();
}

// With a byte of data, so that the window counts (RFC 9293, 3.10.7.4: SND.WL1 < SEG.SEQ).
static void set_window(struct bed_peer *peer, uint16_t window)
{
	peer->window = window;
	bed_send(peer, TCP_ACK, "x", 1);
	bed_send(peer, TCP_ACK, "y", 1);
	shim_advance(100 * MS); // the ACK may be delayed
	bed_skip();
}

static void a_small_window_splits_without_reading(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 3000);
	struct page *page = bed_page(6);
	struct bed_segment segment;
	unsigned offset = 0;

	set_window(peer, 100);
	send_page(peer, page, 0, 1000);
	bed_page_done(page);
	assert_null(bed_next_tcp().packet);
	for (unsigned i = 0; i < 200 && offset < 1000; i++) {
		shim_advance(100 * MS);
		while ((segment = bed_next_tcp()).packet) {
			assert_in_range(segment.len, 1, 100);
			assert_int_equal(segment.seq, bed_iss(peer));
			check_pattern(&segment, 6, offset);
			offset += segment.len;
			bed_ack(peer, segment.seq + segment.len);
		}
	}
	assert_int_equal(offset, 1000);
	assert_int_equal(bed_pages_released, 1);
}

static struct bed_segment closed_window(struct bed_peer *peer, struct page *page, uint16_t len)
{
	struct bed_segment probe;

	set_window(peer, 0);
	if (page) {
		send_page(peer, page, 0, len);
		bed_page_done(page);
	}
	assert_null(bed_next_tcp().packet);
	shim_advance(500 * MS);
	probe = bed_next_tcp();
	assert_non_null(probe.packet);
	return probe;
}

static void a_probe_carries_a_slice(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 3000);
	struct page *page = bed_page(8);
	struct bed_segment probe, rest;

	bed.manual = true;
	probe = closed_window(peer, page, 1000);
	assert_int_equal(probe.len, 1);
	assert_int_equal(probe.packet->frags[1].bytes, 1);
	assert_true(probe.packet->frags[1].addr == page_phys(page));
	check_pattern(&probe, 8, 0);
	peer->window = 3000;
	bed_ack(peer, probe.seq); // the probe's byte was not taken
	rest = bed_next_tcp();
	assert_int_equal(rest.len, 1000);
	check_pattern(&rest, 8, 0);
	bed_ack(peer, rest.seq + 1000);
	bed_complete(rest.packet);
	assert_int_equal(bed_pages_released, 0); // the probe is still on the card
	bed_complete(probe.packet);
	assert_int_equal(bed_pages_released, 1);
}

static void a_probe_that_took_the_last_byte(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 3000);
	struct bed_segment probe = closed_window(peer, bed_page(8), 1);

	assert_int_equal(probe.len, 1);
	bed_ack(peer, probe.seq + 1);
	assert_int_equal(bed_pages_released, 1);
	shim_advance(NS_PER_SEC);
	assert_non_null(peer->pcb);
}

static void a_probe_that_took_the_fin(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 3000);
	struct bed_segment probe;

	set_window(peer, 0);
	assert_int_equal(tcp_shutdown(peer->pcb, 0, 1), ERR_OK);
	stack_flush();
	probe = bed_next_tcp();
	if (!probe.packet) {
		shim_advance(500 * MS);
		probe = bed_next_tcp();
	}
	assert_true(probe.flags & TCP_FIN);
	bed_ack(peer, probe.seq + 1);
	shim_advance(NS_PER_SEC);
}

static void a_segment_on_the_wire_is_not_split(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 3000);
	struct tcp_seg *segment;

	set_window(peer, 0);
	struct page *page = bed_page(8);
	send_page(peer, page, 0, 1000);
	bed_page_done(page);
	segment = peer->pcb->unsent;
	pbuf_ref(segment->p);
	assert_int_equal(tcp_split_unsent_seg(peer->pcb, 100), ERR_WOULDBLOCK);
	assert_int_equal(segment->len, 1000);
	pbuf_free(segment->p);
	assert_int_equal(tcp_split_unsent_seg(peer->pcb, 100), ERR_OK);
	assert_int_equal(segment->len, 100);
	assert_int_equal(segment->next->len, 900);
}

static void no_memory_for_a_split_changes_nothing(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 3000);
	struct page *page = bed_page(8);
	struct tcp_seg *segment;

	set_window(peer, 0);
	send_page(peer, page, 0, 1000);
	bed_page_done(page);
	segment = peer->pcb->unsent;
	for (uint32_t k = 0;; k++) {
		err_t err;

		pool_fail_after(k);
		err = tcp_split_unsent_seg(peer->pcb, 100);
		pool_fail_off();
		if (err == ERR_OK)
			break;
		assert_int_equal(segment->len, 1000);
		assert_int_equal(segment->p->tot_len, 1020);
		assert_null(segment->next);
	}
	assert_int_equal(segment->next->len, 900);
}

// Five segments, the first of 500 bytes, are sent and lost; then the window closes, and three duplicate
// ACKs tell of the first.
static struct bed_peer *waiting_retransmission(struct page *page)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	struct tcp_pcb *pcb = peer->pcb;

	send_page(peer, page, 0, 500);
	for (unsigned i = 1; i < 5; i++)
		send_page(peer, page, 500, 1460);
	bed_page_done(page);
	set_window(peer, 0);
	for (unsigned i = 0; i < 3; i++)
		bed_ack(peer, bed_iss(peer));
	bed_skip();
	assert_null(pcb->unsent);
	assert_int_equal(lwip_ntohl(pcb->unacked->tcphdr->seqno), pcb->lastack);
	return peer;
}

static void a_timeout_during_a_fast_retransmit(void **state)
{
	struct bed_peer *peer = waiting_retransmission(bed_page(3));
	uint32_t seq = bed_iss(peer), end = seq + 500 + 4 * 1460;
	struct bed_segment segment;

	for (unsigned i = 0; i < 30; i++)
		shim_advance(100 * MS);
	bed_skip();
	set_window(peer, 65535);
	for (unsigned i = 0; i < 100 && bed_iss(peer) != end; i++) {
		shim_advance(100 * MS);
		while ((segment = bed_next_tcp()).packet)
			if (segment.seq == bed_iss(peer))
				bed_ack(peer, segment.seq + segment.len);
	}
	assert_int_equal(bed_iss(peer), end);
	assert_int_equal(bed_pages_released, 1);
}

static void new_data_does_not_join_a_retransmission(void **state)
{
	struct bed_peer *peer = waiting_retransmission(bed_page(3));
	struct tcp_seg *head = peer->pcb->unacked;

	assert_int_equal(genbuf_write(peer->pcb, "new", 3, true), ERR_OK);
	assert_ptr_equal(peer->pcb->unacked, head);
	assert_int_equal(head->len, 500);
	assert_int_equal(peer->pcb->unsent->len, 3);
}

static void a_fin_does_not_join_a_retransmission(void **state)
{
	struct bed_peer *peer = waiting_retransmission(bed_page(3));
	struct tcp_seg *head = peer->pcb->unacked;

	assert_int_equal(tcp_shutdown(peer->pcb, 0, 1), ERR_OK);
	assert_false(TCPH_FLAGS(head->tcphdr) & TCP_FIN);
	assert_true(TCPH_FLAGS(peer->pcb->unsent->tcphdr) & TCP_FIN);
}

// 500 bytes are sent; the window closes; after time-outs 300 more are to be sent; then the 500 are
// acknowledged, and the window opens by 10 bytes.
static void a_window_inside_a_half_acknowledged_segment(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	uint32_t seq = bed_iss(peer);
	struct page *page = bed_page(3);
	struct bed_segment segment;

	send_page(peer, page, 0, 500);
	set_window(peer, 0);
	for (unsigned i = 0; i < 20; i++)
		shim_advance(100 * MS);
	bed_skip();
	send_page(peer, page, 500, 300);
	bed_page_done(page);
	assert_int_equal(peer->pcb->unsent->len, 300);
	bed_ack(peer, seq + 500);
	set_window(peer, 10);
	for (unsigned i = 0; i < 600 && bed_iss(peer) != seq + 800; i++) {
		shim_advance(100 * MS);
		while ((segment = bed_next_tcp()).packet) {
			check_pattern(&segment, 3, segment.seq - seq);
			if ((int32_t)(segment.seq + segment.len - bed_iss(peer)) > 0)
				bed_ack(peer, segment.seq + segment.len);
		}
		if (i == 100)
			set_window(peer, 65535);
	}
	assert_int_equal(bed_iss(peer), seq + 800);
	assert_int_equal(bed_pages_released, 1);
}

static void a_fin_moves_behind_the_split(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 3000);
	struct page *page = bed_page(8);
	struct tcp_seg *segment;

	set_window(peer, 0);
	send_page(peer, page, 0, 1000);
	bed_page_done(page);
	assert_int_equal(tcp_shutdown(peer->pcb, 0, 1), ERR_OK);
	segment = peer->pcb->unsent;
	assert_true(TCPH_FLAGS(segment->tcphdr) & TCP_FIN);
	assert_int_equal(tcp_split_unsent_seg(peer->pcb, 100), ERR_OK);
	assert_int_equal(TCPH_FLAGS(segment->tcphdr) & (TCP_FIN | TCP_PSH), 0);
	assert_int_equal(TCPH_FLAGS(segment->next->tcphdr) & (TCP_FIN | TCP_PSH),
			 TCP_FIN | TCP_PSH);
}

// Only the page that is cut in its middle gets a slice.
static void a_split_moves_whole_pages(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 3000);
	struct tcp_seg *segment;
	struct pbuf *second;
	unsigned queued;

	bed_tso(65521);
	peer->pcb->tso_limit = 40 * 1460; // as tcp_output would learn
	set_window(peer, 0);
	for (unsigned i = 0; i < 4; i++) {
		struct page *page = bed_page(i);

		send_page(peer, page, 0, PAGE_SIZE);
		bed_page_done(page);
	}
	segment = peer->pcb->unsent;
	assert_null(segment->next);
	second = segment->p->next->next;
	queued = peer->pcb->snd_queuelen;
	assert_int_equal(tcp_split_unsent_seg(peer->pcb, PAGE_SIZE), ERR_OK);
	assert_ptr_equal(segment->next->p->next, second);
	assert_int_equal(peer->pcb->snd_queuelen, queued + 1); // a header
	assert_int_equal(tcp_split_unsent_seg(peer->pcb, 1000), ERR_OK);
	assert_int_equal(peer->pcb->snd_queuelen, queued + 3); // a header and a slice
	assert_int_equal(segment->p->tot_len, 20 + 1000);
	assert_int_equal(segment->next->p->tot_len, 20 + PAGE_SIZE - 1000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_small_window_splits_without_reading),
	    TEST(a_probe_carries_a_slice),
	    TEST(a_probe_that_took_the_last_byte),
	    TEST(a_probe_that_took_the_fin),
	    TEST(a_segment_on_the_wire_is_not_split),
	    TEST(no_memory_for_a_split_changes_nothing),
	    TEST(a_timeout_during_a_fast_retransmit),
	    TEST(new_data_does_not_join_a_retransmission),
	    TEST(a_fin_does_not_join_a_retransmission),
	    TEST(a_window_inside_a_half_acknowledged_segment),
	    TEST(a_fin_moves_behind_the_split),
	    TEST(a_split_moves_whole_pages),
	};
	return cmocka_run_group_tests_name("tcp_split", tests, bed_group_setup, bed_group_teardown);
}
