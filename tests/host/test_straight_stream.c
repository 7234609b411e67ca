// SPDX-License-Identifier: BSD-2-Clause
// A large file on the straight way: several segments under way and several that wait, which go out in a row as
// acknowledgements and windows allow, long pieces that are made in one go and short ones that are not, a card that is
// slow or full. The same dialogue the general way must leave the same bytes on the wire and the same state in the
// connection after each step; and what pagebuf_write makes in one go is what lwIP makes of the same pbuf.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c tests/host/netbed_digest.c kernel/netdev_list.c
// SOURCES: kernel/string.c net/netstat.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/pool.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"
#include "lwip/priv/tcp_priv.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "netbed.h"
#include "netbed_digest.h"
#include "shim.h"
#include "tcp_straight.h"

#define ORDER 6
#define BYTES ((uint32_t)BIT(ORDER) * PAGE_SIZE)

static struct page *file;
static uint32_t at, left; // where in the file the server is; bytes that it has still to send
static bool by_lwip;	  // pieces are given to lwIP as pbufs
static unsigned long_pieces, rows, rows6;

// A pbuf of the file as net/pagebuf.c makes it, for tcp_write_pbuf.
struct piece {
	struct pbuf_custom custom;
	struct page *page;
	unsigned pages;
};
static struct pool pieces = POOL_INIT("test_piece", struct piece, 4096);

static void piece_free(struct pbuf *p)
{
	struct piece *piece = (struct piece *)(void *)p;

	page_wire_put_run(piece->page, piece->pages);
	pool_free(&pieces, piece);
}

static err_t write_by_lwip(struct tcp_pcb *pcb, struct page *page, uint16_t offset, uint16_t len,
			   bool more)
{
	struct piece *piece = pool_alloc(&pieces);
	struct pbuf *p;
	err_t err;

	assert_non_null(piece);
	piece->page = page;
	piece->pages = (offset + len + PAGE_SIZE - 1U) / PAGE_SIZE;
	page_wire_get_run(page, piece->pages);
	piece->custom.custom_free_function = piece_free;
	p = pbuf_alloced_custom(PBUF_RAW, len, PBUF_ROM, &piece->custom,
				(uint8_t *)page_virt(page) + offset, len);
	err = tcp_write_pbuf(pcb, p, more ? TCP_WRITE_FLAG_MORE : 0);
	if (err != ERR_OK)
		pbuf_free(p);
	return err;
}

// What HTTP does: pieces that complete segments, while there is room; now and then any other.
static void go_on(struct tcp_pcb *pcb)
{
	while (left) {
		uint32_t len = bed_draw(30) ? pagebuf_fit(pcb) : 1 + bed_draw(20000);
		err_t err;

		len = MIN(MIN(len, left), BYTES - at);
		if (tcp_sndbuf(pcb) < len)
			return;
		err = (by_lwip ? write_by_lwip : pagebuf_write)(
		    pcb, file + at / PAGE_SIZE, at % PAGE_SIZE, (uint16_t)len, left > len);
		if (err != ERR_OK)
			return;
		long_pieces += len > PAGE_SIZE;
		at = (at + len) % BYTES;
		left -= len;
	}
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct bed_peer *peer = arg;

	if (!p)
		return ERR_OK;
	peer->received += p->tot_len;
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	if (!left && genbuf_write(pcb, "head", 1 + bed_draw(4), true) == ERR_OK)
		left = 1 + (bed_draw(4) ? bed_draw(400000) : bed_draw(6000));
	go_on(pcb);
	return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	((struct bed_peer *)arg)->sent += len;
	go_on(pcb);
	return ERR_OK;
}

static void step(struct bed_peer *peer, uint32_t iss, uint32_t seen)
{
	uint32_t what = bed_draw(40), open = iss + seen - peer->ack;
	uint64_t sent = tcp_straight_out;

	if (what == 1)
		peer->window = (uint16_t)(bed_draw(3) ? 20000 + bed_draw(40000) : bed_draw(3000));
	if (what == 2)
		tcp_ticks += 1 + bed_draw(5);
	if (what == 3 || what == 5)
		bed.manual = true;
	if (what == 5)
		bed.ring_room = 1 + bed_draw(20);
	if (what == 4)
		bed_catch_up();
	peer->ts_value += bed_draw(3);
	if (bed_draw(3) == 0 && open < BIT(20))
		peer->ack += bed_draw(open + 1);
	else if (bed_draw(10))
		peer->ack = iss + seen;
	bed_send(peer, TCP_ACK, "GET", bed_draw(4) ? 0 : 3);
	rows += tcp_straight_out > sent + 1;
	rows6 += peer->ipv6 && tcp_straight_out > sent + 1;
}

static struct bed_peer *connected(void)
{
	uint16_t mss = (uint16_t)(bed_draw(4) ? 1460 : 536),
		 window = (uint16_t)(30000 + bed_draw(35000));
	struct bed_peer *peer;

	bed_tso((uint16_t)(bed_draw(4) ? 6000 + bed_draw(10000) : bed_draw(2) ? 65535 : 0));
	peer = bed_draw(2) ? bed_connect_times(mss, window, 0xffffff00) : bed_connect(mss, window);
	if (bed_draw(2))
		peer->pcb->cwnd = BIT(20);
	tcp_recv(peer->pcb, on_recv);
	tcp_sent(peer->pcb, on_sent);
	at = bed_draw(BYTES);
	left = 0;
	return peer;
}

static uint64_t dialogue(uint64_t seed)
{
	struct bed_peer *peer;
	uint32_t iss, irs, seen = 0;
	uint64_t digest = 1;

	shim_advance(100 * NS_PER_SEC - clock_ns() % (100 * NS_PER_SEC));
	bed_dice(seed);
	bed.ipv6 = bed_draw(2);
	peer = connected();
	iss = bed_iss(peer);
	irs = peer->seq;
	bed_fold_from_here(peer->pcb);
	for (unsigned n = 0; n < 300 && peer->pcb; n++) {
		step(peer, iss, seen);
		bed_fold(&digest, peer, iss, irs, &seen);
	}
	bed_dialogue_end(peer);
	return digest;
}

static void a_stream_leaves_the_same_bytes_and_state_both_ways(void **state)
{
	file = bed_run(1, ORDER);
	by_lwip = false;
	rows = rows6 = long_pieces = 0;
	assert_true(bed_both_ways(dialogue, 40, "pagewire_net_straight_established_total") > 1500);
	print_message("%u long pieces, %u rows of segments, %u over IPv6\n", long_pieces, rows,
		      rows6);
	assert_true(long_pieces > 1000 && rows - rows6 > 150 && rows6 > 150);
	for (unsigned i = 0; i < BIT(ORDER); i++)
		bed_page_done(file + i);
}

static void a_long_piece_becomes_what_lwip_makes_of_it(void **state)
{
	file = bed_run(1, ORDER);
	bed_either_way(dialogue, 25, &by_lwip);
	for (unsigned i = 0; i < BIT(ORDER); i++)
		bed_page_done(file + i);
}

// Each allocation in turn fails: the piece is queued whole, or not at all.
static void without_memory_a_piece_is_queued_whole_or_not_at_all(void **state)
{
	struct bed_peer *peer;
	unsigned k = 0;
	bool done = false;

	file = bed_run(1, ORDER);
	bed_tso(16000);
	peer = bed_connect(1460, 60000);
	assert_int_equal(genbuf_write(peer->pcb, "x", 1, false),
			 ERR_OK); // TCP learns what the card can do
	tcp_output(peer->pcb);
	stack_flush();
	bed_ack(peer, peer->pcb->snd_nxt);
	for (; !done; k++) {
		uint32_t end = peer->pcb->snd_lbb;
		pool_fail_after(k);
		done = pagebuf_write(peer->pcb, file, 100, 10000, false) == ERR_OK;
		pool_fail_off();
		assert_int_equal(peer->pcb->snd_lbb, end + (done ? 10000 : 0));
		assert_int_equal(file[0].wire, done ? 2 : 1);
		assert_int_equal(file[2].wire, done ? 2 : 1);
		assert_int_equal(file[3].wire, 1);
		assert_int_equal(peer->pcb->snd_queuelen, done ? 2 : 0);
	}
	assert_true(k >= 2);
	tcp_abort(peer->pcb);
	for (unsigned i = 0; i < BIT(ORDER); i++)
		bed_page_done(file + i);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
	    T(a_stream_leaves_the_same_bytes_and_state_both_ways),
	    T(a_long_piece_becomes_what_lwip_makes_of_it),
	    T(without_memory_a_piece_is_queued_whole_or_not_at_all),
	};
	return cmocka_run_group_tests_name("straight stream", tests, bed_group_setup,
					   bed_group_teardown);
}
