// SPDX-License-Identifier: BSD-2-Clause
// Round trips, see tcp_timestamp.h. RFC 6298, 2; RFC 7323, 4.1 and appendix G.
#include "tcp_timestamp.h"
#include "lwip/priv/tcp_priv.h"

bool tcp_timestamps_on = true;

void tcp_rtt_take(struct tcp_pcb *pcb, uint32_t ms, uint32_t weight)
{
	int32_t m = (int32_t)(MIN(ms, TCP_RTO_MAX) << TCP_RTT_SHIFT);
	int32_t error = m - pcb->srtt, n = (int32_t)weight, rto;

	if (UNLIKELY(!pcb->srtt)) {
		pcb->srtt = MAX(m, 1);
		pcb->rttvar = m / 2;
	} else {
		pcb->rttvar += (MAX(error, -error) - pcb->rttvar) / (4 * n);
		pcb->srtt = MAX(pcb->srtt + error / (8 * n), 1);
	}
	rto = (pcb->srtt >> TCP_RTT_SHIFT) + MAX(pcb->rttvar >> (TCP_RTT_SHIFT - 2), TCP_RTO_MIN);
	pcb->rto = TCP_RTO_TICKS(MIN(rto, TCP_RTO_MAX));
}

void tcp_rtt_timed(struct tcp_pcb *pcb)
{
	uint32_t ms = tcp_now() - pcb->rttest;

	pcb->rttest = 0;
	tcp_rtt_take(pcb, ms, 1);
}

void tcp_rtt_echo(struct tcp_pcb *pcb, uint32_t echo, uint32_t acked)
{
	uint32_t ms = tcp_now() + pcb->ts_offset - echo;
	uint32_t flight = pcb->snd_nxt - pcb->lastack + acked;

	if (UNLIKELY(ms > TCP_RTO_MAX))
		return; // it is no time stamp of ours
	if (LIKELY(flight <= acked)) {
		// What comes with the next request waited for it.
		if (echo != pcb->rtseq)
			tcp_rtt_take(pcb, ms, 1);
		pcb->rtseq = echo;
		return;
	}
	pcb->rtseq = echo;
	tcp_rtt_take(pcb, ms, flight / acked);
	if (pcb->cwnd < pcb->ssthresh)
		tcp_cwnd_round_trip(pcb, ms);
}

void tcp_rtt_late(struct tcp_pcb *pcb, uint32_t echo)
{
	uint32_t ms = MIN(tcp_now() + pcb->ts_offset - echo, TCP_RTO_MAX);
	int32_t m = (int32_t)(ms << TCP_RTT_SHIFT);

	pcb->srtt = MAX(pcb->srtt, m);
	pcb->rttvar = MAX(pcb->rttvar, m / 2);
}
