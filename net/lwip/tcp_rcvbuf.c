// SPDX-License-Identifier: BSD-2-Clause
// Receive windows that grow with the path, see tcp_rcvbuf.h.
#include "tcp_rcvbuf.h"
#include "hooks.h"
#include "kernel/kstat.h"
#include "kernel/pool.h"
#include "lwip/priv/tcp_priv.h"

// What a gigabit carries in a millisecond, twice.
#define PATH_BYTES_MS 250000
#define STEP	      65536 // given at a time, at least
#define LONGEST_MS    1000  // in which half a window is taken by who might want more
#define RECLAIM_MS    100   // between two looks for who needs no more what it has
#define SILENT_TICKS  (1000 / TCP_SLOW_INTERVAL)

// One for each connection.
static struct pool rcvbufs = POOL_INIT("tcp_rcvbuf", struct tcp_rcvbuf, MEMP_NUM_TCP_PCB);
static struct tcp_rcvbuf *all;
static uint32_t reclaimed_at; // tcp_now()

static uint64_t given, refused, taken_back;
KSTAT_GAUGE(given, "pagewire_tcp_receive_room_bytes",
	    "Bytes that peers may send ahead of us beyond what each may.");
KSTAT_COUNTER(refused, "pagewire_tcp_receive_room_refused_total",
	      "Times a receive window did not grow because others have the receive buffers.");
KSTAT_COUNTER(taken_back, "pagewire_tcp_receive_room_taken_back_total",
	      "Bytes of grown receive windows that were taken back before the connection's end.");

// Of what it has beyond TCP_WND, what it does not owe.
static uint32_t grown(const struct tcp_rcvbuf *r)
{
	uint32_t usual = TCP_WND_MAX(r->pcb), kept = r->limit - r->owed;

	return kept > usual ? kept - usual : 0;
}

static void owe(struct tcp_rcvbuf *r)
{
	uint32_t bytes = grown(r);

	r->owed += bytes;
	given -= bytes;
	taken_back += bytes;
}

void tcp_rcvbuf_press(void)
{
	for (struct tcp_rcvbuf *r = all; r; r = r->next)
		owe(r);
}

static void reclaim(void)
{
	if (tcp_now() - reclaimed_at < RECLAIM_MS)
		return;
	reclaimed_at = tcp_now();
	for (struct tcp_rcvbuf *r = all; r; r = r->next)
		if (tcp_ticks - r->pcb->tmr >= SILENT_TICKS)
			owe(r);
}

static struct tcp_rcvbuf *begin(struct tcp_pcb *pcb)
{
	struct tcp_rcvbuf *r = pool_alloc(&rcvbufs);

	if (!r)
		return NULL;
	*r = (struct tcp_rcvbuf){.pcb = pcb, .next = all, .link = &all, .limit = TCP_WND_MAX(pcb)};
	if (all)
		all->link = &r->next;
	all = r;
	pcb->rcvbuf = r;
	return r;
}

void tcp_rcvbuf_end(struct tcp_pcb *pcb)
{
	struct tcp_rcvbuf *r = pcb->rcvbuf;

	if (!r)
		return;
	given -= grown(r);
	*r->link = r->next;
	if (r->next)
		r->next->link = r->link;
	pcb->rcvbuf = NULL;
	pool_free(&rcvbufs, r);
}

// What is there to give, in steps.
static uint32_t left(void)
{
	uint64_t most = tcp_rcvbuf_most();

	return most > given ? (uint32_t)MIN((most - given) / STEP * STEP, (uint64_t)TCP_RCV_BUF_MAX)
			    : 0;
}

// What is owed need not be paid; beyond that the window opens.
static void grow(struct tcp_rcvbuf *r, uint32_t to)
{
	uint32_t has = r->limit - r->owed, more, forgiven;

	if (to < has + STEP)
		return;
	more = (to - has) / STEP * STEP;
	if (more > left())
		reclaim();
	more = MIN(more, left());
	if (!more) {
		refused++;
		return;
	}
	given += more;
	forgiven = MIN(more, r->owed);
	r->owed -= forgiven;
	r->limit += more - forgiven;
	r->pcb->rcv_wnd += more - forgiven;
}

// The shortest of what two clocks say: what was measured as a sender, and how long it takes until all has come that
// the peer could send before it heard from us.
static void learn_round_trip(struct tcp_rcvbuf *r, uint32_t opens)
{
	const struct tcp_pcb *pcb = r->pcb;
	uint32_t ms;

	if (r->edge_at && !TCP_SEQ_GEQ(pcb->rcv_nxt, r->edge))
		return;
	if (r->edge_at) {
		ms = tcp_now() - r->edge_at;
		if (pcb->srtt)
			ms = MIN(ms, (uint32_t)pcb->srtt >> TCP_RTT_SHIFT);
		ms = MAX(ms, 1U);
		r->ms = r->ms ? MIN(r->ms, ms) : ms;
	}
	if (opens) { // a new promise: who uses it has heard of it
		r->edge = pcb->rcv_nxt + pcb->rcv_wnd + opens;
		r->edge_at = MAX(tcp_now(), 1U);
	}
}

static void next_round(struct tcp_pcb *pcb)
{
	pcb->rcv_taken = 0;
	pcb->rcv_round_at = tcp_now();
}

uint32_t tcp_rcvbuf_measure(struct tcp_pcb *pcb, uint32_t bytes)
{
	uint32_t now = tcp_now(), elapsed = now - pcb->rcv_round_at, paid;
	struct tcp_rcvbuf *r = pcb->rcvbuf;

	if (!r) {
		if (elapsed <= LONGEST_MS && (pcb->flags & TF_WND_SCALE) &&
		    pcb->state == ESTABLISHED && !begin(pcb))
			refused++;
		next_round(pcb);
		return bytes;
	}
	paid = MIN(bytes, r->owed);
	r->owed -= paid;
	r->limit -= paid;
	bytes -= paid;
	if (r->fixed)
		return bytes;
	learn_round_trip(r, bytes);
	if (r->ms && elapsed >= r->ms) {
		uint64_t want = (uint64_t)pcb->rcv_taken * 2 * r->ms / elapsed;
		uint64_t most = MIN((uint64_t)(r->ms - 1) * PATH_BYTES_MS, TCP_RCV_BUF_MAX);

		next_round(pcb);
		grow(r, (uint32_t)MIN(want, most));
	}
	return bytes;
}

void tcp_rcvbuf_fix(struct tcp_pcb *pcb, uint32_t bytes, bool begins)
{
	struct tcp_rcvbuf *r = pcb->rcvbuf ? pcb->rcvbuf : begin(pcb);
	uint32_t untaken, told = MIN(pcb->rcv_wnd, 0xffffU);

	if (!r)
		return;
	bytes = MIN(MAX(bytes, TCP_RCV_FIXED_MIN), TCP_WND_MAX(pcb));
	given -= grown(r);
	untaken = r->limit - pcb->rcv_wnd;
	if (!begins)
		told = TCP_SEQ_GT(pcb->rcv_ann_right_edge, pcb->rcv_nxt)
			   ? pcb->rcv_ann_right_edge - pcb->rcv_nxt
			   : 0;
	r->fixed = true;
	r->limit = MAX(bytes, told + untaken);
	r->owed = r->limit - bytes;
	pcb->rcv_wnd = r->limit - untaken;
	if (begins) {
		pcb->rcv_ann_wnd = pcb->rcv_wnd;
		pcb->rcv_ann_right_edge = pcb->rcv_nxt + pcb->rcv_wnd;
	}
}
