// SPDX-License-Identifier: BSD-2-Clause
// Recoveries and time-outs for what was only late, see tcp_undo.h.
#include "tcp_undo.h"
#include "kernel/kstat.h"
#include "lwip/priv/tcp_priv.h"
#include "tcp_holes.h"
#include "tcp_path.h"
#include "tcp_sndbuf.h"
#include "tcp_timestamp.h"

#define LATE_MOST  12 // segments
#define WIDER_MOST 15 // a reordering window is a round trip at most, however wide
// RFC 8985, 6.2, step 4: recoveries after which a path is thought to keep order again.
#define WIDER_RECOVERIES 16

static uint64_t undone;
KSTAT_COUNTER(undone, "pagewire_tcp_recoveries_undone_total",
	      "Recoveries for what turned out to be only late (RFC 3522, 4015, 3708, 5682).");

static void remember(const struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	r->before = (struct tcp_window_before){pcb->cwnd,  pcb->ssthresh,   pcb->w_max,
					       pcb->w_est, pcb->cwnd_epoch, pcb->cwnd_k};
	r->resent_at = 0;
	r->resent = 0;
	r->all_twice = r->widened = false;
	r->began = pcb->lastack;
	r->linger_until = 0;
	r->doubtful = pcb->flags & TF_TIMESTAMP;
	for (unsigned i = 0; i < r->count;
	     i++) // something was sent again before: which sending will be echoed?
		r->doubtful &= r->holes[i].next == r->holes[i].start;
}

void tcp_undo_recovery(const struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	remember(pcb, r);
	r->frto = TCP_FRTO_NOT;
}

void tcp_undo_timeout(const struct tcp_pcb *pcb, struct tcp_recovery *r, bool first)
{
	bool watching = r->phase == TCP_WATCHING;

	if (!first) { // the same goes for the first segment sent once more, if that is all that happened
		if (r->frto != TCP_FRTO_FIRST)
			r->frto = TCP_FRTO_NOT;
		return;
	}
	r->frto = TCP_FRTO_NOT;
	remember(pcb, r);
	r->doubtful &= watching; // or two reasons are mixed
	if (watching && !(pcb->flags & TF_TIMESTAMP))
		r->frto = TCP_FRTO_FIRST;
}

void tcp_undo_resent(struct tcp_recovery *r, uint32_t bytes)
{
	r->resent += bytes;
	if (!r->resent_at)
		r->resent_at = tcp_now();
}

void tcp_undo_twice(struct tcp_pcb *pcb, struct tcp_recovery *r, uint32_t left, uint32_t right)
{
	if (pcb->late_by < LATE_MOST && !(pcb->flags & TF_RTO))
		pcb->late_by++;
	if (!r->resent || TCP_SEQ_LT(left, r->began) || TCP_SEQ_GT(right, r->point))
		return;
	r->resent -= MIN(r->resent, right - left);
	r->all_twice = !r->resent;
	if (r->widened)
		return;
	r->widened = true;
	pcb->reo_wider = MIN(pcb->reo_wider + 1, WIDER_MOST);
	pcb->reo_persist = WIDER_RECOVERIES;
}

// RFC 3522: the first acknowledgement after something was sent again tells. If it echoes a time stamp from before that,
// it is the first sending that has arrived, which was only late.
static bool echo_tells(const struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	if (!r->doubtful || r->phase == TCP_WATCHING || !r->resent_at || pcb->lastack == r->acked)
		return false;
	r->doubtful = false;
	return tcp_times.seen && tcp_time_before(tcp_times.echo, r->resent_at + pcb->ts_offset);
}

// RFC 5682, 2.1.
static bool new_segments_tell(const struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	enum tcp_frto was = r->frto;

	if (was == TCP_FRTO_NOT)
		return false;
	r->frto = TCP_FRTO_NOT;
	if (r->phase != TCP_LOST || pcb->lastack == r->acked) {
		r->at_once |=
		    was == TCP_FRTO_NEW; // 3a: a window of three, of which the new ones are two
		return false;		 // or 2a
	}
	if (was == TCP_FRTO_NEW)
		return true; // 3b
	if (TCP_SEQ_GEQ(pcb->lastack, r->point) || !pcb->unsent ||
	    pcb->snd_wnd < pcb->snd_nxt - pcb->lastack + 2U * pcb->mss)
		return false;
	r->frto = TCP_FRTO_NEW; // 2b
	r->frto_until = pcb->snd_nxt + 2U * pcb->mss;
	return false;
}

bool tcp_undo_due(const struct tcp_pcb *pcb, struct tcp_recovery *r)
{
	bool echo = echo_tells(pcb, r), news = new_segments_tell(pcb, r);

	return echo || news || r->all_twice;
}

// RFC 4015, 3.2; RFC 9438, 4.9. The window is what is in flight and a little, so that there is no burst, and soon again
// what it was.
void tcp_undo(struct tcp_pcb *pcb, struct tcp_recovery *r, bool twice)
{
	const struct tcp_window_before *before = &r->before;
	uint32_t acked = MIN(pcb->lastack - r->acked, LWIP_TCP_CALC_INITIAL_CWND(pcb->mss));

	if (r->phase != TCP_LOST)
		pcb->late_by += pcb->late_by < LATE_MOST;
	else if (tcp_times.seen && pcb->lastack != pcb->snd_nxt && !twice)
		// or acknowledgements may have been lost on a path that is no slower (RFC 3522, 3.2)
		tcp_rtt_late(pcb, tcp_times.echo);
	pcb->cwnd = MAX(MIN(pcb->snd_nxt - pcb->lastack + acked, before->cwnd), pcb->cwnd);
	pcb->ssthresh = MAX(MIN(before->cwnd, tcp_sndbuf_limit(pcb)), before->ssthresh);
	pcb->w_max = before->w_max;
	pcb->w_est = before->w_est;
	pcb->cwnd_epoch = before->epoch;
	pcb->cwnd_k = before->k;
	if (r->larger_mss)
		tcp_path_try_again(pcb, r->larger_mss);
	r->larger_mss = r->smaller_at = 0;
	tcp_holes_none(pcb);
	r->phase = TCP_WATCHING;
	r->at_once = r->all_twice = false;
	r->resent = 0;
	tcp_clear_flags(pcb, TF_RTO);
	undone++;
}
