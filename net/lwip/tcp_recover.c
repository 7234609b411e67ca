// SPDX-License-Identifier: BSD-2-Clause
// Loss recovery of a sender, see tcp_recover.h. The holes themselves are in tcp_holes.c.
#include "tcp_recover.h"
#include "kernel/kstat.h"
#include "kernel/pool.h"
#include "lwip/priv/tcp_priv.h"
#include "tcp_holes.h"
#include "tcp_overdue.h"
#include "tcp_path.h"
#include "tcp_timestamp.h"
#include "tcp_undo.h"

// One for each connection that can be; a server that has lost everybody at once needs that many.
static struct pool recoveries = POOL_INIT("tcp_recovery", struct tcp_recovery, MEMP_NUM_TCP_PCB);

static uint64_t fast, timeouts, probes, resent, resent_bytes, again, rescues, spurious, overdue;
KSTAT_COUNTER(fast, "pagewire_tcp_fast_recoveries_total",
	      "Times duplicate ACKs or SACK blocks told that something is lost.");
KSTAT_COUNTER(timeouts, "pagewire_tcp_timeouts_total",
	      "Times nothing told so until the retransmission timer ran out.");
KSTAT_COUNTER(probes, "pagewire_tcp_tail_loss_probes_total",
	      "Last segments sent again because nothing was heard for two round trips.");
KSTAT_COUNTER(resent, "pagewire_tcp_resent_total",
	      "Packets sent again, each of one or more units.");
KSTAT_COUNTER(resent_bytes, "pagewire_tcp_resent_bytes_total", "Bytes sent again.");
KSTAT_COUNTER(again, "pagewire_tcp_lost_again_total",
	      "Holes that were sent again and found to be lost once more.");
KSTAT_COUNTER(rescues, "pagewire_tcp_rescues_total",
	      "Last segments sent again at the end of a recovery (RFC 6675, 4, rule 4).");
KSTAT_COUNTER(spurious, "pagewire_tcp_duplicate_sacks_total",
	      "Blocks by which a peer told that it had got something twice (RFC 2883).");
KSTAT_COUNTER(
    overdue, "pagewire_tcp_overdue_total",
    "Times something was found to be lost because its answer was overdue (RFC 8985, 6.2).");

static struct tcp_recovery *begin(struct tcp_pcb *pcb)
{
	if (!pcb->recovery) {
		pcb->recovery = pool_alloc(&recoveries);
		if (!pcb->recovery)
			return NULL;
		pcb->recovery->fack = pcb->recovery->acked = pcb->lastack;
		pcb->recovery->pcb = pcb;
		tcp_set_flags(pcb, TF_INFR);
	}
	return pcb->recovery;
}

void tcp_recover_end(struct tcp_pcb *pcb)
{
	if (!pcb->recovery)
		return;
	tcp_overdue_never(pcb->recovery);
	pool_free(&recoveries, pcb->recovery);
	pcb->recovery = NULL;
	tcp_clear_flags(pcb, TF_INFR | TF_RTO);
}

// RFC 6675, 4: what is thought to be under way.
static uint32_t pipe_bytes(const struct tcp_pcb *pcb)
{
	const struct tcp_recovery *r = pcb->recovery;
	uint32_t bytes = pcb->snd_nxt - r->fack, arrived;

	for (unsigned i = 0; i < r->count; i++)
		bytes +=
		    (r->holes[i].lost ? r->holes[i].next : r->holes[i].end) - r->holes[i].start;
	if (pcb->flags & TF_SACK)
		return bytes;
	arrived = (uint32_t)pcb->dupacks * pcb->mss; // each duplicate was caused by a segment
	return bytes - MIN(bytes, arrived);
}

uint32_t tcp_recover_window(const struct tcp_pcb *pcb)
{
	uint32_t pipe = pipe_bytes(pcb);

	if (pcb->recovery->frto == TCP_FRTO_NEW)
		return pcb->recovery->frto_until - pcb->lastack;
	return pcb->snd_nxt - pcb->lastack + (pcb->cwnd > pipe ? pcb->cwnd - pipe : 0);
}

bool tcp_recover_grows(const struct tcp_pcb *pcb)
{
	return pcb->recovery->phase != TCP_RECOVERING;
}

// ---- what an acknowledgement tells --------------------------------------------------------------------

// Something came twice: the probe was not needed, or what was thought lost was only late.
static void told_twice(struct tcp_pcb *pcb, struct tcp_recovery *r, uint32_t left, uint32_t right)
{
	spurious++;
	if (r->probe_at && TCP_SEQ_LT(left, r->probe_end) && TCP_SEQ_GEQ(right, r->probe_end)) {
		tcp_holes_heard(r, r->probe_at); // and what had been sent before it is lost
		r->probe_at = 0;
	} else {
		tcp_undo_twice(pcb, r, left, right);
	}
}

// Returns whether something came twice.
static bool take_blocks(struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	bool twice = false;

	for (unsigned i = 0; i < tcp_sack_blocks; i++) {
		uint32_t left = tcp_sack_block[i].left, right = tcp_sack_block[i].right;

		if (!TCP_SEQ_LT(left, right) || TCP_SEQ_GT(right, pcb->snd_nxt))
			continue;
		if (TCP_SEQ_LEQ(right, pcb->lastack) ||
		    (i == 0 && tcp_sack_blocks > 1 && TCP_SEQ_GEQ(left, tcp_sack_block[1].left) &&
		     TCP_SEQ_LEQ(right, tcp_sack_block[1].right))) {
			told_twice(pcb, r, left, right);
			twice = true;
			continue;
		}
		if (TCP_SEQ_LT(left, pcb->lastack))
			left = pcb->lastack;
		if (r->probe_at && TCP_SEQ_GEQ(r->probe_end - 1, left) &&
		    TCP_SEQ_LT(r->probe_end - 1, right))
			tcp_holes_heard(r, r->probe_at);
		tcp_holes_arrived(pcb, left, right);
	}
	return twice;
}

// RFC 6582, 3.2: without SACK the first segment that is missing is known, and only that.
static void take_duplicates(struct tcp_pcb *pcb, struct tcp_recovery *r, bool duplicate)
{
	bool first = r->phase == TCP_WATCHING && duplicate && pcb->dupacks >= 3 &&
		     !(pcb->flags & TF_CAREFUL && TCP_SEQ_LEQ(pcb->lastack, pcb->rto_end));
	bool partial = r->phase == TCP_RECOVERING && !duplicate && !r->count &&
		       TCP_SEQ_LT(pcb->lastack, r->point);

	// What F-RTO sent counts as under way until it is acknowledged, and may fill the window meanwhile.
	bool waits = r->phase == TCP_LOST && pcb->lastack != r->acked && r->count &&
		     r->holes[0].next == pcb->lastack;

	if (first || partial)
		tcp_holes_first(pcb, tcp_seg_unit(pcb));
	r->at_once |= partial || waits;
}

static void recover(struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	tcp_undo_recovery(pcb, r);
	tcp_cwnd_reduce(pcb);
	pcb->cwnd = pcb->ssthresh;
	pcb->rttest = 0; // Karn
	pcb->rtime = 0;
	r->phase = TCP_RECOVERING;
	r->point = pcb->snd_nxt;
	r->at_once = true;
	r->rescued = false;
	fast++;
}

static void recovered(struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	r->phase = TCP_WATCHING;
	pcb->rto_end = r->point;
	r->frto = TCP_FRTO_NOT;
	if (pcb->reo_persist && --pcb->reo_persist == 0)
		pcb->reo_wider = 0;
	tcp_clear_flags(pcb, TF_RTO);
	if (!(pcb->flags & TF_SACK))
		tcp_set_flags(pcb, TF_CAREFUL);
}

// RFC 8985, 7.4: the probe repaired what nobody had told us of, and that counts as loss.
static void probe_repaired(struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	r->probe_at = 0;
	if (r->phase != TCP_WATCHING)
		return;
	tcp_cwnd_reduce(pcb);
	pcb->cwnd = pcb->ssthresh;
}

// Something behind it is acknowledged, and nobody told that it came twice.
static void take_probe(struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	if (!r->probe_at || !TCP_SEQ_GT(pcb->lastack, r->probe_end))
		return;
	probe_repaired(pcb, r);
}

// Smaller segments got through where larger ones had not.
static void take_smaller(const struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	if (!r->larger_mss || pcb->lastack == r->acked || r->frto != TCP_FRTO_NOT)
		return;
	r->larger_mss = 0;
	r->smaller_at = 0;
	if (r->smaller_worth_it)
		tcp_path_got_through(pcb);
}

// Without back-off, in ticks.
static int16_t usual_rto(const struct tcp_pcb *pcb)
{
	int32_t ms = pcb->srtt ? (pcb->srtt >> TCP_RTT_SHIFT) +
				     MAX(pcb->rttvar >> (TCP_RTT_SHIFT - 2), TCP_RTO_MIN)
			       : LWIP_TCP_RTO_TIME;

	return TCP_RTO_TICKS(MIN(ms, TCP_RTO_MAX));
}

// Something got through though more is missing: the time-outs were for loss, not for a path slower than was known, so
// that the back-off need not wait for a sample (Karn), which there may be none of for long.
static void ease(struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	if (r->phase != TCP_WATCHING && pcb->lastack != r->acked)
		pcb->rto = MAX(pcb->rto / 2, usual_rto(pcb));
	r->acked = pcb->lastack;
}

static bool nothing_is_missing(const struct tcp_pcb *pcb, const struct tcp_recovery *r)
{
	return pcb->lastack == pcb->snd_nxt ||
	       (r->phase == TCP_WATCHING && !r->count && r->fack == pcb->lastack && !r->probe_at &&
		!pcb->dupacks);
}

// For two round trips more the peer may tell that what was sent again came twice. Who has been silent about a probe
// until then has got it once: it repaired a loss.
static void linger(struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	uint32_t now = tcp_now(), ms = 2 * ((uint32_t)pcb->srtt >> TCP_RTT_SHIFT) + 2;

	if (pcb->flags & TF_SACK && pcb->state == ESTABLISHED && (r->resent || r->probe_at)) {
		if (!r->linger_until)
			r->linger_until = MAX(now + ms, 1);
		if ((int32_t)(r->linger_until - now) > 0) {
			tcp_overdue_in(r, r->linger_until - now);
			return;
		}
		if (r->probe_at && TCP_SEQ_GEQ(pcb->lastack, r->probe_end))
			probe_repaired(pcb, r);
	}
	tcp_recover_end(pcb);
}

// What is lost by now, and when to ask again.
static void judge(struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	again += tcp_holes_judge(pcb);
	if (r->phase == TCP_WATCHING && tcp_holes_lost(r)) {
		recover(pcb, r);
		tcp_holes_judge(pcb); // which is stricter now
	}
	if (nothing_is_missing(pcb, r)) {
		linger(pcb, r);
		return;
	}
	r->linger_until = 0;
	if (r->overdue_ms && r->phase != TCP_LOST)
		tcp_overdue_in(r, r->overdue_ms);
	else
		tcp_overdue_never(r);
}

void tcp_recover_overdue(struct tcp_pcb *pcb)
{
	struct tcp_recovery *r = pcb->recovery;
	uint64_t before = fast + again;

	tcp_timed(pcb);
	judge(pcb, r);
	if (fast + again == before)
		return;
	overdue++;
	tcp_output(pcb);
}

void tcp_recover_ack(struct tcp_pcb *pcb, bool duplicate)
{
	struct tcp_recovery *r = begin(pcb);
	bool twice;

	if (!r)
		return; // memory is short: the next duplicate, or the timer
	tcp_holes_acked(pcb);
	twice = take_blocks(pcb, r);
	take_probe(pcb, r);
	if (tcp_undo_due(pcb, r))
		tcp_undo(pcb, r, twice);
	take_smaller(pcb, r);
	// What comes twice causes an acknowledgement, but is not what that echoes (RFC 7323, 5.3, R2, R3): if
	// earlier ones were lost, it would tell of the time that we waited for them as of a round trip.
	if (twice)
		tcp_times.seen = false;
	if (!(pcb->flags & TF_SACK))
		take_duplicates(pcb, r, duplicate);
	if (r->phase != TCP_WATCHING && TCP_SEQ_GEQ(pcb->lastack, r->point))
		recovered(pcb, r);
	ease(pcb, r);
	judge(pcb, r);
}

void tcp_recover_opened(struct tcp_pcb *pcb, uint32_t before)
{
	struct tcp_recovery *r = pcb->recovery;
	struct tcp_hole *first = r->holes;

	if (before >= tcp_seg_unit(pcb) || !r->count || first->start != pcb->lastack ||
	    !first->lost || first->next == first->start)
		return;
	first->next = first->start;
	r->at_once = true;
	pcb->dupacks = 0; // answers to what had no room
	pcb->rto = usual_rto(pcb);
	pcb->rtime = 0;
}

// ---- sending --------------------------------------------------------------------------------------------

static int resend(struct tcp_pcb *pcb, uint32_t seq, uint32_t len, uint32_t *sent)
{
	int err = tcp_resend(pcb, seq, len, sent);

	if (err == ERR_OK) {
		pcb->rttest = 0; // Karn
		resent++;
		resent_bytes += *sent;
	}
	return err;
}

// One packet of the hole, or ERR_WOULDBLOCK: a window is full.
static int send_of(struct tcp_pcb *pcb, struct tcp_recovery *r, struct tcp_hole *hole)
{
	uint32_t unit = tcp_seg_unit(pcb), pipe = pipe_bytes(pcb), sent;
	uint32_t room = pcb->cwnd > pipe ? pcb->cwnd - pipe : 0;
	uint32_t len = MIN(hole->end - hole->next, MAX(room - room % unit, unit));
	int err;

	if (room < MIN(unit, len) && !r->at_once)
		return ERR_WOULDBLOCK;
	// What the peer took its window back from stays; its first unit asks whether it may come.
	if (hole->next != pcb->lastack && hole->next + len - pcb->lastack > pcb->snd_wnd)
		return ERR_WOULDBLOCK;
	err = resend(pcb, hole->next, len, &sent);
	if (err != ERR_OK)
		return err;
	r->at_once = false;
	hole->next += sent;
	hole->sent_at = tcp_now();
	tcp_undo_resent(r, sent);
	return ERR_OK;
}

// RFC 6675, 4, NextSeg rule 4: nothing is left to send that would make the peer tell what of the rest is missing.
static void rescue(struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	uint32_t rest = pcb->snd_nxt - r->fack, sent;

	if (r->phase != TCP_RECOVERING || r->rescued || pcb->unsent || !rest || tcp_holes_lost(r) ||
	    pipe_bytes(pcb) + tcp_seg_unit(pcb) > pcb->cwnd || !(pcb->flags & TF_SACK))
		return;
	if (resend(pcb, tcp_tail_start(pcb), UINT16_MAX, &sent) != ERR_OK)
		return;
	r->rescued = true;
	r->probe_end = pcb->snd_nxt;
	r->probe_at = tcp_now();
	rescues++;
}

void tcp_recover_send(struct tcp_pcb *pcb)
{
	struct tcp_recovery *r = pcb->recovery;
	struct tcp_hole *hole;

	if (r->frto == TCP_FRTO_NEW)
		return; // nothing is sent again until it is known whether it is for nothing
	while ((hole = tcp_holes_next(r))) {
		int err = send_of(pcb, r, hole);

		if (err == ERR_WOULDBLOCK)
			return;
		if (err != ERR_OK) {
			tcp_set_flags(pcb, TF_NAGLEMEMERR); // tcp_txnow, or the timer
			return;
		}
	}
	rescue(pcb, r);
}

// ---- timers ---------------------------------------------------------------------------------------------

static void try_smaller(struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	uint16_t mss = pcb->mss;

	if (!tcp_path_silent(pcb, pcb->nrtx + 1U - r->smaller_at, &r->smaller_worth_it))
		return;
	r->smaller_at = pcb->nrtx + 1;
	if (!r->larger_mss)
		r->larger_mss = mss;
}

int tcp_recover_timeout(struct tcp_pcb *pcb)
{
	struct tcp_recovery *r = begin(pcb);

	if (!r)
		return ERR_MEM;
	if (pcb->nrtx == 0) { // RFC 5681, 3.1: once, whatever happens to it afterwards
		tcp_undo_timeout(pcb, r, true);
		tcp_cwnd_reduce(pcb);
	} else {
		tcp_undo_timeout(pcb, r, false);
	}
	try_smaller(pcb, r);
	pcb->cwnd = pcb->mss;
	pcb->rttest = 0;
	pcb->dupacks = 0;
	tcp_holes_all(pcb);
	r->phase = TCP_LOST;
	r->point = pcb->snd_nxt;
	r->probe_at = 0;
	r->at_once = true;
	tcp_set_flags(pcb, TF_RTO);
	timeouts++;
	return ERR_OK;
}

void tcp_recover_smaller(struct tcp_pcb *pcb)
{
	struct tcp_recovery *r = begin(pcb);

	if (!r)
		return; // memory is short: the retransmission timer
	if (r->phase == TCP_WATCHING) {
		tcp_undo_recovery(pcb, r);
		r->phase = TCP_RECOVERING;
	}
	r->doubtful = false;
	r->frto = TCP_FRTO_NOT;
	r->probe_at = 0;
	pcb->rttest = 0; // Karn
	pcb->rtime = 0;
	tcp_holes_all(pcb);
	r->point = pcb->snd_nxt;
	r->at_once = true;
}

int32_t tcp_recover_probe_after(const struct tcp_pcb *pcb)
{
	const struct tcp_recovery *r = pcb->recovery;
	int32_t ms = pcb->srtt ? 2 * pcb->srtt >> TCP_RTT_SHIFT : LWIP_TCP_RTO_TIME;

	if (!(pcb->flags & TF_SACK) || pcb->flags & TF_RTO || !pcb->unacked ||
	    (r && (r->phase != TCP_WATCHING || r->probe_at)))
		return -1;
	if (pcb->snd_nxt - pcb->lastack <= pcb->mss)
		ms += TCP_PEER_DELAY; // a single segment's acknowledgement may be delayed
	return TCP_RTO_TICKS(ms);
}

void tcp_recover_probe(struct tcp_pcb *pcb)
{
	struct tcp_recovery *r = begin(pcb);
	uint32_t sent;

	if (!r || r->phase != TCP_WATCHING || r->probe_at)
		return;
	if (resend(pcb, tcp_tail_start(pcb), UINT16_MAX, &sent) != ERR_OK)
		return;
	r->probe_end = pcb->snd_nxt;
	r->probe_at = tcp_now();
	pcb->rttest = 0;
	pcb->rtime = 0; // 7.3: the time-out counts from here
	probes++;
}
