// SPDX-License-Identifier: BSD-2-Clause
// The holes in what a peer has got, see tcp_holes.h.
#include "tcp_holes.h"
#include "lwip/priv/tcp_priv.h"

// RFC 6675, 4, IsLost: so many segments beyond it have arrived. A path that has shown that it changes their order
// is given more.
#define DUP_THRESH 3

void tcp_holes_heard(struct tcp_recovery *r, uint32_t sent_at)
{
	if (r->newest && (int32_t)(sent_at - r->newest) < 0)
		return;
	r->newest = sent_at;
	r->heard_ms = tcp_now() - sent_at;
}

static void remove_hole(struct tcp_recovery *r, unsigned at)
{
	r->count--;
	for (; at < r->count; at++)
		r->holes[at] = r->holes[at + 1];
}

static bool insert_hole(struct tcp_recovery *r, unsigned at, struct tcp_hole hole)
{
	if (r->count == TCP_HOLES)
		return false;
	for (unsigned i = r->count++; i > at; i--)
		r->holes[i] = r->holes[i - 1];
	r->holes[at] = hole;
	return true;
}

// When the byte was sent first.
static uint32_t first_sent(const struct tcp_pcb *pcb, uint32_t seq)
{
	for (const struct tcp_seg *seg = pcb->unacked; seg; seg = seg->next)
		if (TCP_SEQ_LT(seq, lwip_ntohl(seg->tcphdr->seqno) + TCP_TCPLEN(seg)))
			return seg->sent_at;
	return tcp_now();
}

// Some of the hole has arrived. When it was sent twice and the answer is sooner than half a round trip it is the
// first that was only late (RFC 8985, 6.2, step 2).
static void hole_heard(struct tcp_pcb *pcb, struct tcp_recovery *r, const struct tcp_hole *hole)
{
	if (hole->next == hole->start && r->phase != TCP_LOST)
		pcb->late_by = MAX(pcb->late_by, 1); // it was overtaken
	if (hole->next == hole->start ||
	    (int32_t)(tcp_now() - hole->sent_at) >= pcb->srtt >> (TCP_RTT_SHIFT + 1))
		tcp_holes_heard(r, hole->sent_at);
}

void tcp_holes_acked(struct tcp_pcb *pcb)
{
	struct tcp_recovery *r = pcb->recovery;
	uint32_t ack = pcb->lastack;

	while (r->count && TCP_SEQ_LT(r->holes[0].start, ack)) {
		struct tcp_hole *hole = &r->holes[0];

		hole_heard(pcb, r, hole);
		if (TCP_SEQ_LEQ(hole->end, ack)) {
			remove_hole(r, 0);
			continue;
		}
		hole->start = ack;
		if (TCP_SEQ_LT(hole->next, ack))
			hole->next = ack;
	}
	if (TCP_SEQ_LT(r->fack, ack))
		r->fack = ack;
}

// Takes [left, right) out of a hole that it overlaps; returns where the next hole to look at is.
static unsigned cut_hole(struct tcp_pcb *pcb, unsigned at, uint32_t left, uint32_t right)
{
	struct tcp_recovery *r = pcb->recovery;
	struct tcp_hole *hole = &r->holes[at], rest = *hole;

	hole_heard(pcb, r, hole);
	if (TCP_SEQ_GEQ(hole->start, left)) {
		if (TCP_SEQ_LEQ(hole->end, right)) {
			remove_hole(r, at);
			return at;
		}
		hole->start = right;
		if (TCP_SEQ_LT(hole->next, right))
			hole->next = right;
		return at + 1;
	}
	if (TCP_SEQ_GT(hole->end, right)) {
		rest.start = right;
		if (TCP_SEQ_LT(rest.next, right))
			rest.next = right;
		if (!insert_hole(r, at + 1, rest))
			return at + 1; // it is told again when there is room
	}
	hole->end = left;
	if (TCP_SEQ_GT(hole->next, left))
		hole->next = left;
	return at + 1;
}

void tcp_holes_arrived(struct tcp_pcb *pcb, uint32_t left, uint32_t right)
{
	struct tcp_recovery *r = pcb->recovery;

	for (unsigned i = 0; i < r->count && TCP_SEQ_LT(r->holes[i].start, right);)
		i = TCP_SEQ_GT(r->holes[i].end, left) ? cut_hole(pcb, i, left, right) : i + 1;
	if (TCP_SEQ_LEQ(right, r->fack))
		return;
	if (TCP_SEQ_GT(left, r->fack)) {
		struct tcp_hole hole = {r->fack, left, r->fack, first_sent(pcb, left - 1), false};

		if (!insert_hole(r, r->count, hole))
			return;
	}
	r->fack = right;
	tcp_holes_heard(r, first_sent(pcb, right - 1));
}

void tcp_holes_first(struct tcp_pcb *pcb, uint32_t len)
{
	struct tcp_recovery *r = pcb->recovery;
	uint32_t start = pcb->lastack, end = start + MIN(len, pcb->snd_nxt - start);
	struct tcp_hole hole = {start, end, start, first_sent(pcb, start), true};

	if (start == end || (r->count && r->holes[0].start == start) || !insert_hole(r, 0, hole))
		return;
	if (TCP_SEQ_LT(r->fack, end))
		r->fack = end;
}

void tcp_holes_all(struct tcp_pcb *pcb)
{
	struct tcp_recovery *r = pcb->recovery;
	struct tcp_hole rest;

	tcp_holes_acked(pcb);
	if (!r->count ||
	    r->holes[0].start != pcb->lastack) { // RFC 2018, 8: the peer went back on it
		r->count = 0;
		r->fack = pcb->lastack;
	}
	r->newest = 0;
	for (unsigned i = 0; i < r->count; i++) {
		r->holes[i].lost = true;
		r->holes[i].next = r->holes[i].start;
	}
	if (r->fack == pcb->snd_nxt)
		return;
	rest = (struct tcp_hole){r->fack, pcb->snd_nxt, r->fack, first_sent(pcb, r->fack), true};
	if (!insert_hole(r, r->count, rest))
		r->holes[r->count - 1].end = pcb->snd_nxt;
	r->fack = pcb->snd_nxt;
}

void tcp_holes_none(struct tcp_pcb *pcb)
{
	struct tcp_recovery *r = pcb->recovery;

	while (r->count && r->holes[r->count - 1].end == r->fack)
		r->fack = r->holes[--r->count].start;
	for (unsigned i = 0; i < r->count; i++) {
		r->holes[i].lost = false;
		r->holes[i].next = r->holes[i].start;
	}
}

// RFC 8985, 6.2, step 4: by how much one may overtake another. Where nobody ever has, and something is known to be
// lost, by nothing; where it was too little, by more, but not by more than a round trip.
static int32_t reordering(const struct tcp_pcb *pcb)
{
	int32_t part = MAX(pcb->srtt >> (TCP_RTT_SHIFT + 2), 1);

	if (!pcb->late_by && pcb->recovery->phase == TCP_RECOVERING)
		return 0;
	return MIN(part * (1 + pcb->reo_wider), MAX(pcb->srtt >> TCP_RTT_SHIFT, 1));
}

// Step 5: something that was sent later has arrived. Milliseconds until the hole's own answer is overdue, 0: it is; -1:
// nothing was sent later.
static int32_t time_left(const struct tcp_pcb *pcb, const struct tcp_hole *hole)
{
	const struct tcp_recovery *r = pcb->recovery;
	int32_t later = (int32_t)(r->newest - hole->sent_at);

	// What was sent in the same millisecond lies behind it in the stream, unless it was sent again since.
	if (!r->newest || later < 0 || (!later && hole->next != hole->start))
		return -1;
	return MAX((int32_t)(hole->sent_at + r->heard_ms - tcp_now()) + reordering(pcb), 0);
}

unsigned tcp_holes_judge(struct tcp_pcb *pcb)
{
	struct tcp_recovery *r = pcb->recovery;
	uint32_t edge = r->fack, beyond = 0, most = DUP_THRESH + pcb->late_by;
	unsigned again = 0;

	r->overdue_ms = 0;
	for (unsigned i = r->count, ranges = 0; i--; edge = r->holes[i].start) {
		struct tcp_hole *hole = &r->holes[i];
		int32_t left = time_left(pcb, hole);

		beyond += edge - hole->end;
		ranges += edge != hole->end;
		if (!hole->lost) {
			hole->lost = !left || ranges >= most || beyond > (most - 1) * pcb->mss;
		} else if (!left && hole->next != hole->start) {
			hole->next = hole->start;
			again++;
		}
		if (left > 0 && (!hole->lost || hole->next != hole->start))
			r->overdue_ms = MIN(r->overdue_ms - 1U, (uint32_t)left - 1) + 1;
	}
	return again;
}

bool tcp_holes_lost(const struct tcp_recovery *r)
{
	for (unsigned i = 0; i < r->count; i++)
		if (r->holes[i].lost)
			return true;
	return false;
}

struct tcp_hole *tcp_holes_next(struct tcp_recovery *r)
{
	for (unsigned i = 0; i < r->count; i++)
		if (r->holes[i].lost && r->holes[i].next != r->holes[i].end)
			return &r->holes[i];
	return NULL;
}
