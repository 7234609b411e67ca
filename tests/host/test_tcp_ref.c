// SPDX-License-Identifier: BSD-2-Clause
// File pages as TCP payload: by reference from the page to the card, released once, with the last
// reference, in whatever order TCP and the card let go. The pages are unmapped: reading one is SIGSEGV.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/vmm.h"
#include "lwip/etharp.h"
#include "lwip/priv/tcp_priv.h"
#include "net/iface.h"
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

// A connection with 1,000 bytes of a page on the card, not completed; the test's own reference is gone.
static struct bed_peer *page_on_card(struct bed_segment *segment)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	struct page *page = bed_page(1);

	bed.manual = true;
	send_page(peer, page, 100, 1000);
	bed_page_done(page);
	*segment = bed_next_tcp();
	assert_int_equal(segment->len, 1000);
	assert_int_equal(bed_pages_released, 0);
	return peer;
}

static void payload_is_the_page_itself(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	struct page *page = bed_page(7);
	struct bed_segment segment;
	unsigned kicks = bed.kicks;

	bed.manual = true;
	send_page(peer, page, 100, 1000);
	segment = bed_next_tcp();
	assert_int_equal(segment.packet->count, 2);
	assert_int_equal(segment.packet->frags[0].bytes, 14 + 20 + 20);
	assert_true(segment.packet->frags[1].addr == page_phys(page) + 100);
	assert_int_equal(segment.packet->frags[1].bytes, 1000);
	assert_true(segment.packet->offload.l4_csum && segment.packet->offload.ip_csum);
	assert_int_equal(segment.packet->offload.header_bytes, 54);
	check_pattern(&segment, 7, 100);
	assert_int_equal(bed.kicks, kicks + 1);
	bed_page_done(page);
}

static void ack_before_tx_done(void **state)
{
	struct bed_segment segment;
	struct bed_peer *peer = page_on_card(&segment);

	bed_ack(peer, segment.seq + segment.len);
	assert_null(peer->pcb->unacked);
	assert_int_equal(bed_pages_released, 0);
	bed_complete(segment.packet);
	assert_int_equal(bed_pages_released, 1);
}

static void tx_done_before_ack(void **state)
{
	struct bed_segment segment;
	struct bed_peer *peer = page_on_card(&segment);

	bed_complete(segment.packet);
	assert_int_equal(bed_pages_released, 0);
	bed_ack(peer, segment.seq + segment.len);
	assert_int_equal(bed_pages_released, 1);
}

static void rst_during_send(void **state)
{
	struct bed_segment segment;
	struct bed_peer *peer = page_on_card(&segment);

	bed_send(peer, TCP_RST, "", 0);
	assert_null(peer->pcb);
	assert_int_equal(peer->error, ERR_RST);
	assert_int_equal(bed_pages_released, 0);
	bed_complete(segment.packet);
	assert_int_equal(bed_pages_released, 1);
}

static void abort_during_send(void **state)
{
	struct bed_segment segment, rst;
	struct bed_peer *peer = page_on_card(&segment);

	tcp_abort(peer->pcb);
	stack_flush();
	rst = bed_next_tcp();
	assert_true(rst.flags & TCP_RST);
	assert_int_equal(bed_pages_released, 0);
	bed_complete_all();
	assert_int_equal(bed_pages_released, 1);
}

static void close_during_send(void **state)
{
	struct bed_segment segment, fin;
	struct bed_peer *peer = page_on_card(&segment);

	assert_int_equal(tcp_close(peer->pcb), ERR_OK);
	stack_flush();
	fin = bed_next_tcp();
	assert_true(fin.flags & TCP_FIN);
	bed_ack(peer, fin.seq + 1);
	assert_int_equal(bed_pages_released, 0);
	bed_complete_all();
	assert_int_equal(bed_pages_released, 1);
	bed_send(peer, TCP_FIN | TCP_ACK, "", 0);
	assert_int_equal(tcp_hash_count(TCP_HASH_TW), 1);
	shim_advance(31 * NS_PER_SEC);
	assert_int_equal(tcp_hash_count(TCP_HASH_TW), 0);
}

static void a_silent_peer_times_out(void **state)
{
	struct bed_segment segment;
	struct bed_peer *peer = page_on_card(&segment);

	bed.manual = false;
	bed_complete_all();
	for (unsigned i = 0; i < 600 && peer->pcb; i++) {
		shim_advance(NS_PER_SEC);
	}
	assert_null(peer->pcb);
	assert_int_equal(peer->error, ERR_ABRT);
	shim_advance(10 * NS_PER_SEC); // the last try waited for the peer's address
	assert_int_equal(bed_pages_released, 1);
	bed_skip();
}

static void no_second_copy_while_the_card_holds_the_first(void **state)
{
	struct bed_segment segment, again;
	struct bed_peer *peer = page_on_card(&segment);
	struct page *page = page_of_phys(segment.packet->frags[1].addr);

	shim_advance(5 * NS_PER_SEC);
	assert_null(bed_next_tcp().packet);
	bed_complete(segment.packet);
	shim_advance(200 * MS);
	again = bed_next_tcp();
	assert_int_equal(again.seq, segment.seq);
	assert_true(again.packet->frags[1].addr == page_phys(page) + 100);
	check_pattern(&again, 1, 100);
	bed_ack(peer, segment.seq + segment.len);
	assert_int_equal(bed_pages_released, 0);
	bed_complete(again.packet);
	assert_int_equal(bed_pages_released, 1);
}

static void a_fast_retransmit_leaves_alone_what_the_card_holds(void **state)
{
	struct bed_segment segment, again;
	struct bed_peer *peer = page_on_card(&segment);

	for (unsigned i = 0; i < 4; i++)
		bed_ack(peer, segment.seq);
	again = bed_next_tcp();
	assert_int_equal(again.seq, segment.seq);
	assert_int_equal(again.len, segment.len);
	check_pattern(&again, 1, 100);
	assert_ptr_not_equal(again.packet, segment.packet);
	bed_ack(peer, segment.seq + segment.len);
	bed_complete(again.packet);
	assert_int_equal(bed_pages_released, 0);
	bed_complete(segment.packet); // its header is still what it was: netbed.c
	assert_int_equal(bed_pages_released, 1);
}

static void a_page_cut_at_a_segment_end_is_released_once(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	struct page *page = bed_page(3);
	struct bed_segment segment;
	unsigned offset = 0;

	send_page(peer, page, 0, PAGE_SIZE);
	bed_page_done(page);
	while ((segment = bed_next_tcp()).packet) {
		check_pattern(&segment, 3, offset);
		offset += segment.len;
		assert_int_equal(bed_pages_released, 0);
		bed_ack(peer, segment.seq + segment.len);
	}
	assert_int_equal(offset, PAGE_SIZE);
	assert_int_equal(bed_pages_released, 1);
}

// Two frames side by side in memory, the end of one and the start of the other in one segment.
static void touching_pages_are_not_merged(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	struct page *first = bed_page(1), *second = bed_page(2), *others[64];
	struct bed_segment segment;
	unsigned n = 0;

	while (second != first + 1 && n < 64) {
		others[n++] = second == first - 1 ? second : first;
		first = second == first - 1 ? first : second;
		second = bed_page(2);
		if (second == first - 1) {
			struct page *swap = first;
			first = second;
			second = swap;
		}
	}
	assert_ptr_equal(second, first + 1);
	while (n--)
		bed_page_done(others[n]);
	bed_pages_released = 0;
	assert_int_equal(pagebuf_write(peer->pcb, first, PAGE_SIZE - 200, 200, true), ERR_OK);
	send_page(peer, second, 0, 300);
	bed_page_done(first);
	bed_page_done(second);
	segment = bed_next_tcp();
	assert_int_equal(segment.len, 500);
	assert_int_equal(segment.packet->count, 3);
	assert_int_equal(segment.packet->frags[1].bytes, 200);
	assert_int_equal(segment.packet->frags[2].bytes, 300);
	assert_true(page_pinned() == 2);
	bed_ack(peer, segment.seq + 500);
	assert_int_equal(bed_pages_released, 2);
}

static void no_memory_changes_nothing(void **state)
{
	struct bed_peer *peer = bed_connect(500, 65535);
	struct page *page = bed_page(9);
	unsigned failures = 0;
	err_t err;

	// Something is queued already, so that the tail is extended too.
	peer->pcb->cwnd = 1;
	assert_int_equal(pagebuf_write(peer->pcb, page, 0, 100, true), ERR_OK);
	for (uint32_t k = 0;; k++) {
		uint32_t sndbuf = tcp_sndbuf(peer->pcb), queue = peer->pcb->snd_queuelen;
		uint32_t wire = page->wire, lbb = peer->pcb->snd_lbb;

		pool_fail_after(k);
		err = pagebuf_write(peer->pcb, page, 100, 3000, false);
		pool_fail_off();
		if (err == ERR_OK)
			break;
		failures++;
		assert_int_equal(err, ERR_MEM);
		assert_int_equal(tcp_sndbuf(peer->pcb), sndbuf);
		assert_int_equal(peer->pcb->snd_queuelen, queue);
		assert_int_equal(peer->pcb->snd_lbb, lbb);
		assert_int_equal(peer->pcb->unsent->len, 100);
		assert_null(peer->pcb->unsent->next);
		assert_int_equal(page->wire, wire);
	}
	assert_true(failures > 10); // a pagebuf, and slice, header and segment for each
	bed_page_done(page);
}

static void crumbs_make_more_segments(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	struct page *page = bed_page(4);
	struct bed_segment segment;
	unsigned offset = 0;

	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(pagebuf_write(peer->pcb, page, i * 10, 10, true), ERR_OK);
	bed_page_done(page);
	tcp_output(peer->pcb);
	stack_flush();
	while ((segment = bed_next_tcp()).packet) {
		assert_in_range(segment.packet->count, 2, TCP_SEG_MAX_PBUFS);
		check_pattern(&segment, 4, offset);
		offset += segment.len;
	}
	assert_int_equal(offset, 1000);
	bed_ack(peer, bed_iss(peer) + 1000);
	assert_int_equal(bed_pages_released, 1);
}

static void generated_bytes_and_pages_share_a_segment(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	struct page *page = bed_page(5);
	struct bed_segment segment;

	assert_int_equal(genbuf_write(peer->pcb, "HTTP/1.1 200 OK\r\n\r\n", 19, true), ERR_OK);
	send_page(peer, page, 0, 500);
	bed_page_done(page);
	segment = bed_next_tcp();
	assert_int_equal(segment.len, 519);
	assert_memory_equal(segment.data, "HTTP/1.1 200 OK\r\n\r\n", 19);
	assert_int_equal(segment.packet->count, 2);
	assert_true(segment.flags & TCP_PSH);
	bed_ack(peer, segment.seq + 519);
	assert_int_equal(bed_pages_released, 1);
}

static void a_slice_keeps_the_whole(void **state)
{
	static const char text[] = "0123456789";
	struct pbuf *whole = pbuf_alloc_reference((void *)text, 10, PBUF_ROM);
	struct pbuf *slice = pbuf_slice(whole, 2, 6), *inner = pbuf_slice(slice, 1, 3);

	assert_int_equal(whole->ref, 3); // slices of slices refer to the whole
	pbuf_free(slice);
	pbuf_free(whole);
	assert_int_equal(whole->ref, 1);
	assert_memory_equal(inner->payload, "345", 3);
	pbuf_free(inner);
}

static void an_unresolved_neighbour_holds_references(void **state)
{
	struct bed_peer *peer = bed_connect(1460, 65535);
	struct page *page = bed_page(2);
	struct bed_segment segment;

	bed.manual = true;
	etharp_cleanup_netif(&iface_first()->netif);
	send_page(peer, page, 0, 600);
	bed_page_done(page);
	assert_int_equal(page_pinned(), 1);
	segment = bed_next_tcp(); // the peer answers the ARP request that comes first
	if (!segment.packet)
		segment = bed_next_tcp();
	assert_int_equal(segment.len, 600);
	assert_true(segment.packet->frags[1].addr == page_phys(page));
	bed_ack(peer, segment.seq + 600);
	bed_complete_all();
	assert_int_equal(bed_pages_released, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(payload_is_the_page_itself),
	    TEST(ack_before_tx_done),
	    TEST(tx_done_before_ack),
	    TEST(rst_during_send),
	    TEST(abort_during_send),
	    TEST(close_during_send),
	    TEST(a_silent_peer_times_out),
	    TEST(no_second_copy_while_the_card_holds_the_first),
	    TEST(a_fast_retransmit_leaves_alone_what_the_card_holds),
	    TEST(a_page_cut_at_a_segment_end_is_released_once),
	    TEST(touching_pages_are_not_merged),
	    TEST(no_memory_changes_nothing),
	    TEST(crumbs_make_more_segments),
	    TEST(generated_bytes_and_pages_share_a_segment),
	    TEST(a_slice_keeps_the_whole),
	    TEST(an_unresolved_neighbour_holds_references),
	};
	return cmocka_run_group_tests_name("tcp_ref", tests, bed_group_setup, bed_group_teardown);
}
