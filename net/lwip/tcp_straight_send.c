// SPDX-License-Identifier: BSD-2-Clause
// The straight way out (stage 8 of the read path): segments of an established connection that may leave as they are,
// one or a row of them, get their headers and go to the card. Fast WTD context. tcp_output is the general way and
// the measure (tests/host/test_straight_stream.c); what may leave is its own policy.
#include "hooks.h"
#include "lwip/etharp.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "net/checksum.h"
#include "net/iface.h"
#include "tcp_rare.h"
#include "tcp_straight.h"
#include "tcp_timestamp.h"
#include "tcp_wire.h"

#define HEADERS sizeof(struct tcp_wire_head)

// In the state of one that sends: ESTABLISHED, or with the FIN that is this segment's.
static inline bool sends(const struct tcp_pcb *pcb, const struct tcp_seg *seg)
{
	if (LIKELY(pcb->state == ESTABLISHED))
		return (pcb->flags & (UNUSUAL | TF_NODELAY)) == TF_NODELAY;
	return pcb->state == FIN_WAIT_1 && TCPH_FLAGS(seg->tcphdr) & TCP_FIN &&
	       (pcb->flags & ((UNUSUAL & ~TF_FIN) | TF_NODELAY)) == TF_NODELAY;
}

// Whether segments of the connection can go out at once, through the only card, to a neighbour we know: its address.
// Null: not so.
static inline const struct eth_addr *ways_out(const struct tcp_pcb *pcb, const struct netif *netif)
{
	if (!sends(pcb, pcb->unsent) || pcb->persist_backoff ||
	    (!pcb->unacked && tcp_path_expired(pcb)))
		return NULL;
	if (!tcp_straight_only_card)
		return NULL;
	return etharp_known(netif, ip_2_ip4(&pcb->remote_ip), pcb->netif_hints.addr_hint);
}

// Where others are under way or wait: the first segment that waits is new and goes out whole. What it may wait for is
// lwIP's policy. False also where nothing may go out now: *waits, unless nothing is under way that would bring an
// acknowledgement.
static inline bool next_fits(const struct tcp_pcb *pcb, const struct tcp_seg *seg, bool *waits)
{
	uint32_t window = MIN(pcb->snd_wnd, pcb->cwnd);
	int32_t bytes;

	if (pcb->state != ESTABLISHED)
		return false;
	bytes = tcp_output_sendable(pcb, seg, window);
	*waits = bytes < 0 && pcb->unacked;
	return bytes == seg->len && lwip_ntohl(seg->tcphdr->seqno) == pcb->snd_nxt;
}

// The first segment that waits can go out, as it is, whole.
static inline bool leaves(const struct tcp_pcb *pcb, const struct netif *netif, bool *waits)
{
	const struct tcp_seg *seg = pcb->unsent;
	uint32_t ahead = lwip_ntohl(seg->tcphdr->seqno) - pcb->lastack;

	if (seg->flags & ~(TF_SEG_OPTS_TS | TF_SEG_LENT) || !seg->len || seg->p->ref != 1 ||
	    seg->p->payload != seg->tcphdr)
		return false;
	if (seg->len > pcb->mss &&
	    (seg->len > pcb->tso_limit || seg->len + IP_HLEN + TIMES_HLEN > netif->tso_max ||
	     pcb->snd_wnd_max / 2 < pcb->mss))
		return false;
	if (UNLIKELY(seg->next || pcb->unacked))
		return next_fits(pcb, seg, waits);
	return ahead + seg->len <= MIN(pcb->snd_wnd, pcb->cwnd);
}

static inline void put_headers(const struct tcp_pcb *pcb, struct pbuf *p, const struct netif *netif,
			       const struct eth_addr *to, uint16_t id)
{
	struct tcp_wire_head *h = (void *)((uint8_t *)p->payload - HEADERS);

	tcp_wire_put(h, to, netif, pcb->tos, pcb->ttl, p->tot_len, id,
		     pcb->wire_addresses << 32 | pcb->wire_addresses >> 32); // theirs came first
	p->payload = h;
	p->len += HEADERS;
	p->tot_len += HEADERS;
}

// Bytes of the TCP header with them.
static inline uint16_t put_times(struct tcp_pcb *pcb, const struct tcp_seg *seg)
{
	if (!(seg->flags & TF_SEG_OPTS_TS))
		return TCP_HLEN;
	*tcp_times_of(seg->tcphdr) = (struct tcp_times_option){
	    TCP_TIMES_KIND, lwip_htonl(seg->sent_at + pcb->ts_offset), lwip_htonl(pcb->ts_recent)};
	return TIMES_HLEN;
}

// The segment is under way: behind all others that are.
static inline void send_done(struct tcp_pcb *pcb, struct tcp_seg *seg, uint32_t end)
{
	struct tcp_seg *tail = pcb->unacked_tail;

	pcb->unsent = seg->next;
	seg->next = NULL;
	if (!pcb->unacked) {
		pcb->unacked = seg;
	} else {
		while (tail->next)
			tail = tail->next;
		tail->next = seg;
	}
	pcb->unacked_tail = seg;
	tcp_clear_flags(pcb, TF_ACK_DELAY | TF_ACK_NOW);
	if (TCP_SEQ_LT(pcb->snd_nxt, end))
		pcb->snd_nxt = end;
}

// What tcp_output does with one segment. False: it stays.
static ONE_CALLER bool send_segment(struct tcp_pcb *pcb, struct netif *netif,
				    const struct eth_addr *to)
{
	struct tcp_seg *seg = pcb->unsent;
	struct tcp_hdr *tcp = seg->tcphdr;
	struct pbuf *p = seg->p;
	uint32_t seq = lwip_ntohl(tcp->seqno), frames = 1;
	uint16_t header, len = seg->len, mss = pcb->mss;

	pcb->rcv_ann_right_edge = pcb->rcv_nxt + pcb->rcv_ann_wnd;
	pcb->ts_lastacksent = pcb->rcv_nxt;
	tcp->ackno = lwip_htonl(pcb->rcv_nxt);
	tcp->wnd = lwip_htons(TCPWND_MIN16(RCV_WND_SCALE(pcb, pcb->rcv_ann_wnd)));
	TCPH_SET_FLAG(tcp, TCP_ACK);
	tcp_segment_leaves(pcb, seg, seq);
	header = put_times(pcb, seg);
	p->tso_mss = 0;
	tcp->chksum = pcb->wire_seed;
	if (len > mss) {
		p->tso_mss = mss;
		frames = (len - 1U) / mss + 1;
	} else {
		tcp->chksum = net_sum_2(tcp->chksum, lwip_htons(p->tot_len));
	}
	lwip_stats.mib2.tcpoutsegs += frames;
	tcp_straight_out++;
	put_headers(pcb, p, netif, to, pcb->ip_id);
	pcb->ip_id = (uint16_t)(pcb->ip_id + frames); // the card counts on from the first
	if (UNLIKELY(iface_send_tcp(netif, p, header) != ERR_OK)) {
		tcp_set_flags(pcb, TF_NAGLEMEMERR);
		return false;
	}
	send_done(pcb, seg, seq + len + (pcb->state == FIN_WAIT_1)); // its FIN
	return true;
}

__attribute__((noinline)) bool tcp_straight_send(struct tcp_pcb *pcb, struct netif *netif)
{
	const struct eth_addr *to = ways_out(pcb, netif);
	bool waits = false;

	if (UNLIKELY(!to))
		return false;
	do {
		if (UNLIKELY(!leaves(pcb, netif, &waits)))
			return waits;
	} while (send_segment(pcb, netif, to) && pcb->unsent);
	return true;
}
