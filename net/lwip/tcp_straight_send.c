// SPDX-License-Identifier: BSD-2-Clause
// The straight way out (stage 8 of the read path): segments of an established connection that may leave as they are,
// one or a row of them, get their headers and go to the card. Fast WTD context. tcp_output is the general way and
// the measure (tests/host/test_straight_stream.c); what may leave is its own policy. The functions that know the
// family are made once for each.
#include "hooks.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "net/checksum.h"
#include "net/iface.h"
#include "tcp_neighbour.h"
#include "tcp_rare.h"
#include "tcp_straight.h"
#include "tcp_timestamp.h"
#include "tcp_wire.h"

#define EITHER inline __attribute__((always_inline))

// In the state of one that sends: ESTABLISHED, or with the FIN that is this segment's.
static EITHER bool sends(const struct tcp_pcb *pcb, const struct tcp_seg *seg, const bool ipv6)
{
	const tcpflags_t asked = UNUSUAL4 | TF_NODELAY, right = TF_NODELAY | (ipv6 ? TF_WIRE6 : 0);

	if (LIKELY(pcb->state == ESTABLISHED))
		return (pcb->flags & asked) == right;
	return pcb->state == FIN_WAIT_1 && TCPH_FLAGS(seg->tcphdr) & TCP_FIN &&
	       (pcb->flags & (asked & ~(tcpflags_t)TF_FIN)) == right;
}

// Whether segments of the connection can go out at once, through the only card, to a neighbour we know: its address.
// Null: not so.
static EITHER const struct eth_addr *ways_out(const struct tcp_pcb *pcb, const struct netif *netif,
					      const bool ipv6)
{
	if (!sends(pcb, pcb->unsent, ipv6) || pcb->persist_backoff ||
	    (!pcb->unacked && tcp_path_expired(pcb)))
		return NULL;
	if (!tcp_straight_card)
		return NULL;
	return tcp_neighbour_known(netif, pcb, pcb->flags & TF_TIMESTAMP ? TIMES_HLEN : TCP_HLEN,
				   ipv6);
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
static EITHER bool leaves(const struct tcp_pcb *pcb, const struct netif *netif, bool *waits,
			  const bool ipv6)
{
	const struct tcp_seg *seg = pcb->unsent;
	uint32_t ahead = lwip_ntohl(seg->tcphdr->seqno) - pcb->lastack;

	if (seg->flags & ~(TF_SEG_OPTS_TS | TF_SEG_LENT) || !seg->len || seg->p->ref != 1 ||
	    seg->p->payload != seg->tcphdr)
		return false;
	if (seg->len > pcb->mss && (seg->len > pcb->tso_limit ||
				    seg->len + tcp_ip_head(ipv6) + TIMES_HLEN > netif->tso_max ||
				    pcb->snd_wnd_max / 2 < pcb->mss))
		return false;
	if (UNLIKELY(seg->next || pcb->unacked))
		return next_fits(pcb, seg, waits);
	return ahead + seg->len <= MIN(pcb->snd_wnd, pcb->cwnd);
}

// frames: those that the card makes of it.
static EITHER void put_headers(struct tcp_pcb *pcb, struct pbuf *p, const struct netif *netif,
			       const struct eth_addr *to, uint32_t frames, const bool ipv6)
{
	const uint16_t bytes = tcp_wire_head(ipv6);
	void *h = (uint8_t *)p->payload - bytes;

	tcp_wire_put_of(pcb, h, to, netif, p->tot_len, frames, ipv6);
	p->payload = h;
	p->len += bytes;
	p->tot_len += bytes;
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
static EITHER bool send_segment(struct tcp_pcb *pcb, struct netif *netif, const struct eth_addr *to,
				const bool ipv6)
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
	if (ipv6)
		tcp_straight_out6++;
	put_headers(pcb, p, netif, to, frames, ipv6);
	if (UNLIKELY(iface_send_tcp(netif, p, header, ipv6) != ERR_OK)) {
		tcp_set_flags(pcb, TF_NAGLEMEMERR);
		return false;
	}
	send_done(pcb, seg, seq + len + (pcb->state == FIN_WAIT_1)); // its FIN
	return true;
}

static EITHER bool send_all(struct tcp_pcb *pcb, struct netif *netif, const struct eth_addr *to,
			    const bool ipv6)
{
	bool waits = false;

	do {
		if (UNLIKELY(!leaves(pcb, netif, &waits, ipv6)))
			return waits;
	} while (send_segment(pcb, netif, to, ipv6) && pcb->unsent);
	return true;
}

static __attribute__((noinline)) bool send_all6(struct tcp_pcb *pcb, struct netif *netif)
{
	const struct eth_addr *to = ways_out(pcb, netif, true);

	return to && send_all(pcb, netif, to, true);
}

__attribute__((noinline)) bool tcp_straight_send(struct tcp_pcb *pcb, struct netif *netif)
{
	const struct eth_addr *to = ways_out(pcb, netif, false);

	if (UNLIKELY(!to))
		return pcb->flags & TF_WIRE6 && send_all6(pcb, netif);
	return send_all(pcb, netif, to, false);
}
