// SPDX-License-Identifier: BSD-2-Clause
// The end of a connection, see tcp_leave.h. RFC 9293, 3.10.7.4, fifth and eighth, with the conditions asked beforehand.
//
//     ESTABLISHED --FIN--> CLOSE_WAIT                             LAST_ACK --ACK of our FIN--> gone
//     FIN_WAIT_1 --ACK of our FIN--> FIN_WAIT_2 --FIN--> TIME_WAIT
//         |   '--ACK of what is before it--> FIN_WAIT_1                ^
//         '------------------FIN and ACK of ours-----------------------'
//
// Whose server has closed needs no PCB in TIME_WAIT: it goes at once, and is not put on the list of such first.
// tcp_input is the general way and the measure (tests/host/test_straight_short.c).
#include "tcp_leave.h"
#include "lwip/priv/tcp_priv.h"
#include "net/iface.h"
#include "tcp_bare.h"
#include "tcp_rare.h"
#include "tcp_rcvbuf.h"
#include "tcp_straight.h"
#include "tcp_timestamp.h"
#include "tcp_tw.h"

// What is unusual here: a half that is closed is not.
#define UNUSUAL_AT_THE_END (UNUSUAL4 & ~(TF_RXCLOSED | TF_FIN | TF_FRAGMENTED))
#define FLAGS		   PP_HTONS(TCP_FLAGS & ~TCP_PSH)
#define A_FIN		   PP_HTONS(TCP_FIN | TCP_ACK)
#define AN_ACK		   PP_HTONS(TCP_ACK)

// RFC 7323, 3.2: time stamps exactly where they were agreed upon.
static inline bool shaped(const struct tcp_pcb *pcb, const struct tcp_hdr *header)
{
	const struct tcp_times_option *times = tcp_times_of(header);

	if (!(pcb->flags & TF_TIMESTAMP))
		return tcp_straight_header(header) == TCP_HLEN;
	return tcp_straight_header(header) == TCP_HLEN + sizeof(*times) &&
	       tcp_straight_times_fit(pcb, times);
}

// Whether this way knows what to do in the PCB's state. all: everything that was sent is acknowledged, our FIN, too.
static inline bool expected(const struct tcp_pcb *pcb, bool fin, bool all, uint32_t ack)
{
	switch (pcb->state) {
	case ESTABLISHED:
		return fin && !(pcb->flags & TF_RXCLOSED);
	case FIN_WAIT_1: // what is of the FIN alone stays in a segment of its own
		return !(pcb->flags & TF_RXCLOSED) && (all || (!fin && ack != pcb->snd_nxt - 1));
	case FIN_WAIT_2:
		return !(pcb->flags & TF_RXCLOSED) && fin;
	case LAST_ACK:
		return all && !fin;
	default:
		return false;
	}
}

static inline bool usual(const struct tcp_pcb *pcb, const struct tcp_hdr *header, bool fin)
{
	uint32_t ack = lwip_ntohl(header->ackno), acked = ack - pcb->lastack;

	return !(pcb->flags & UNUSUAL_AT_THE_END) && shaped(pcb, header) &&
	       lwip_ntohl(header->seqno) == pcb->rcv_nxt && pcb->rcv_wnd > 1 &&
	       acked <= pcb->snd_nxt - pcb->lastack && (acked || fin) && header->wnd &&
	       !pcb->unsent && !is_rare(pcb) && expected(pcb, fin, ack == pcb->snd_nxt, ack);
}

static inline void take_fin(struct tcp_pcb *pcb)
{
	pcb->rcv_nxt++;
	pcb->rcv_wnd--;
	tcp_update_rcv_ann_wnd(pcb);
	tcp_ack_now(pcb);
	if (pcb->state == ESTABLISHED) {
		pcb->state = CLOSE_WAIT;
		return;
	}
	tcp_pcb_purge(pcb);
	TCP_RMV_ACTIVE(pcb);
	pcb->state = TIME_WAIT;
}

// The server hears of all. over: nothing is left of the connection. False: it is gone.
static bool tell(struct tcp_pcb *pcb, uint32_t acked, bool fin, bool over)
{
	err_t err;

	*tcp_input_events = 0;
	tcp_input_pcb = pcb;
	if (acked && !tcp_straight_tell(pcb, acked))
		return false;
	if (fin) {
		if (pcb->rcv_wnd != tcp_rcvbuf_limit(pcb))
			pcb->rcv_wnd++;
		TCP_EVENT_CLOSED(pcb, err);
		if (UNLIKELY(err == ERR_ABRT))
			return false;
	}
	if (over)
		*tcp_input_events |= TF_CLOSED;
	return !(UNLIKELY(*tcp_input_events & TF_CLOSED) && tcp_input_closed(pcb));
}

// Its ACK goes, and TIME_WAIT is remembered.
static void wait(struct tcp_pcb *pcb, struct netif *netif)
{
	const struct tcp_tw_facts facts = {.snd_nxt = pcb->snd_nxt,
					   .rcv_nxt = pcb->rcv_nxt,
					   .window =
					       TCPWND_MIN16(RCV_WND_SCALE(pcb, pcb->rcv_ann_wnd)),
					   .netif_idx = netif_get_index(netif),
					   .timestamps = (pcb->flags & TF_TIMESTAMP) != 0,
					   .ts_recent = pcb->ts_recent,
					   .ts_offset = pcb->ts_offset};
	struct tcp_tuple tuple;
	uint32_t hash = pcb->node.hash;

	if (!(pcb->flags & TF_RXCLOSED) || pcb->tos || pcb->ttl != TCP_TTL || netif != netif_list ||
	    netif->next) {
		TCP_REG(&tcp_tw_pcbs, pcb);
		tcp_output(pcb);
		tcp_timewait_compact(pcb);
		return;
	}
	tcp_tuple_fill(&tuple, &pcb->local_ip, pcb->local_port, &pcb->remote_ip, pcb->remote_port);
	tcp_free(pcb);
	tcp_tw_acknowledge(&tuple, &facts);
	tcp_tw_enter(&tuple, hash, &facts);
}

bool tcp_leave(uint64_t addresses, uint32_t ports, const struct tcp_hdr *header,
	       struct netif *netif)
{
	uint16_t flags = header->_hdrlen_rsvd_flags & FLAGS;
	bool fin = flags == A_FIN, there;
	struct tcp_pcb *pcb;
	uint32_t acked;

	if (!fin && flags != AN_ACK)
		return false;
	pcb = tcp_straight_find(addresses, ports);
	if (!pcb || !usual(pcb, header, fin))
		return false;
	tcp_straight(pcb, header);
	acked = tcp_straight_free();
	if (fin)
		take_fin(pcb);
	else if (pcb->state == FIN_WAIT_1 && pcb->lastack == pcb->snd_nxt)
		pcb->state = FIN_WAIT_2;
	there = tell(pcb, acked, fin, pcb->state == LAST_ACK);
	tcp_input_pcb = NULL;
	if (!there)
		return true;
	if (pcb->state == TIME_WAIT)
		wait(pcb, netif);
	else
		tcp_output(pcb);
	return true;
}
