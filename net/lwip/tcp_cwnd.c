// SPDX-License-Identifier: BSD-2-Clause
// The congestion window: CUBIC, RFC 9438, and HyStart++, RFC 9406, in bytes and milliseconds. Called for
// acknowledgements of new data and for loss, by tcp_in.c, tcp_straight.c, tcp_recover.c and tcp.c.
//
//     window                          ......---  beyond w_max: a cube of the time again
//     w_max  - - - - - - ...-----......
//                 ..-----            ^ cwnd_k after cwnd_epoch
//            ssthresh = 0.7 w_max
#include "lwip/priv/tcp_priv.h"
#include "tcp_sndbuf.h"

#define LONGEST_MS 60000 // of the curve: what is beyond has grown to any window long since

static uint32_t cube_root(uint64_t of)
{
	uint32_t root = 0;

	for (uint32_t bit = 1U << 20; bit; bit >>= 1)
		if ((uint64_t)(root | bit) * (root | bit) * (root | bit) <= of)
			root |= bit;
	return root;
}

// 4.2, figure 1: C * (t - K)^3, C = 0.4 segments per second cubed; in bytes.
static int64_t cube(uint32_t mss, int64_t ms)
{
	ms = MAX(MIN(ms, LONGEST_MS), -LONGEST_MS);
	return ms * ms * ms * 4 / 10 / 1000000 * mss / 1000;
}

// 4.2, figure 2: K = cubic_root((W_max - cwnd_epoch) / C).
static void begin(struct tcp_pcb *pcb)
{
	pcb->cwnd_epoch = tcp_now();
	pcb->w_est = pcb->cwnd;
	pcb->cwnd_k = 0;
	if (pcb->cwnd < pcb->w_max)
		pcb->cwnd_k = cube_root((uint64_t)(pcb->w_max - pcb->cwnd) * 2500000000 / pcb->mss);
	else
		pcb->w_max = pcb->cwnd;
}

static __attribute__((noinline)) void avoid_congestion(struct tcp_pcb *pcb, uint32_t acked)
{
	uint32_t cwnd = pcb->cwnd;
	int64_t ms, target;

	if (!pcb->cwnd_epoch)
		begin(pcb);
	ms = (int64_t)(tcp_now() - pcb->cwnd_epoch) - pcb->cwnd_k + (pcb->srtt >> TCP_RTT_SHIFT);
	target = MAX(MIN(pcb->w_max + cube(pcb->mss, ms), cwnd + cwnd / 2), cwnd); // 4.2
	// 4.3: alpha = 3 * (1 - 0.7) / (1 + 0.7) of a segment a round trip
	pcb->w_est += (uint64_t)pcb->mss * acked * 9 / 17 / cwnd;
	cwnd += (uint64_t)(target - cwnd) * acked / cwnd; // 4.4
	pcb->cwnd = MAX(cwnd, pcb->w_est);
}

// ---- slow start's end: RFC 9406 ------------------------------------------------------------------------
// Where a round's least round trip is longer by an eighth than that of the round before, a queue has begun to grow:
// the window grows more slowly, and if it was so for five rounds, slow start is over. If round trips get shorter
// again it was not that.

#define ROUND_SAMPLES 8
#define CSS_ROUNDS    5
#define CSS_DIVISOR   4

static void next_round(struct tcp_pcb *pcb)
{
	if (pcb->css_ms && ++pcb->css_rounds == CSS_ROUNDS) {
		pcb->ssthresh = pcb->cwnd;
		pcb->css_ms = 0;
	}
	pcb->round_end = pcb->snd_nxt;
	pcb->last_round_ms = pcb->round_samples ? pcb->round_ms : 0;
	pcb->round_samples = 0;
}

void tcp_cwnd_round_trip(struct tcp_pcb *pcb, uint32_t ms)
{
	uint32_t longer = MIN(MAX(pcb->last_round_ms / 8, 4), 16);

	if (pcb->w_max) // there was loss: slow start goes to where that was
		return;
	if (!pcb->round_end)
		pcb->round_end = pcb->snd_nxt;
	ms = MAX(MIN(ms, UINT16_MAX), 1);
	pcb->round_ms = pcb->round_samples ? MIN(pcb->round_ms, ms) : ms;
	pcb->round_samples = MIN(pcb->round_samples + 1, UINT8_MAX);
	if (pcb->round_samples >= ROUND_SAMPLES && pcb->last_round_ms) {
		if (pcb->css_ms && pcb->round_ms < pcb->css_ms) {
			pcb->css_ms = 0;
		} else if (!pcb->css_ms && pcb->round_ms >= pcb->last_round_ms + longer) {
			pcb->css_ms = pcb->round_ms;
			pcb->css_rounds = 0;
		}
	}
	if (TCP_SEQ_GEQ(pcb->lastack, pcb->round_end))
		next_round(pcb);
}

// How far it is to the peer, without the queues that form on the way.
static void learn_path(struct tcp_pcb *pcb)
{
	uint32_t ms = MIN((uint32_t)pcb->srtt >> TCP_RTT_SHIFT, UINT16_MAX - 1U) + 1;

	if (pcb->srtt && (!pcb->path_ms || ms < pcb->path_ms))
		pcb->path_ms = (uint16_t)ms;
}

void tcp_cwnd_grow(struct tcp_pcb *pcb, tcpwnd_size_t acked)
{
	uint32_t flight = pcb->snd_nxt - pcb->lastack + acked, limit = tcp_sndbuf_limit(pcb);

	if (flight <= pcb->cwnd / 2) {
		pcb->cwnd_epoch = 0; // 5.8: the application is what limits
		return;
	}
	learn_path(pcb);
	if (pcb->cwnd > limit / 2)
		tcp_sndbuf_grow(pcb);
	if (pcb->cwnd >= limit)
		return; // more cannot be in flight; with much more, this would look as if nobody wanted to send
	if (pcb->cwnd < pcb->ssthresh) {
		// After a time-out an acknowledgement also covers what had arrived before (RFC 3465, 2.3).
		acked = pcb->flags & TF_RTO ? MIN(acked, pcb->mss) : acked;
		pcb->cwnd += pcb->css_ms ? acked / CSS_DIVISOR : acked;
	} else {
		avoid_congestion(pcb, acked);
	}
}

// RFC 5681, 4.1: nothing was sent for a time-out's time, and what was learnt of the path has expired: the window, the
// time since which it was in use (RFC 9438, 5.8), and the rounds that are compared with each other.
void tcp_cwnd_restart(struct tcp_pcb *pcb)
{
	pcb->cwnd = MIN(pcb->cwnd, LWIP_TCP_CALC_INITIAL_CWND(pcb->mss));
	pcb->cwnd_epoch = 0;
	pcb->round_end = 0;
	pcb->round_samples = 0;
	pcb->last_round_ms = pcb->css_ms = 0;
}

// 4.6, 4.7: ssthresh and w_max after a loss. The caller sets the window. Of the window, not of what is in flight at the
// moment, which at the end of a short answer is next to nothing; the window has been used, or it would not have grown.
void tcp_cwnd_reduce(struct tcp_pcb *pcb)
{
	uint32_t window = MIN(pcb->cwnd, tcp_sndbuf_limit(pcb));

	pcb->w_max = window < pcb->w_max ? window / 20 * 17 : window; // others want some of it
	pcb->ssthresh = MAX(window / 10 * 7, 2U * pcb->mss);
	pcb->css_ms = 0;
	pcb->cwnd_epoch = 0;
}
