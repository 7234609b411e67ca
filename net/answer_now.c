// SPDX-License-Identifier: BSD-2-Clause
// Stages 7 to 9 of the read path in one go, for the answer that is made a million times: a small file's, by a server
// that takes a request where it lies, on a connection of which nothing waits or is under way. It goes to the card
// without being queued. Clients ask for the same files: in an answer's memory lies all that was made of the last one,
// and where that was of the same head and page, only what differs from client to client is written.
//
// What answer_fits(), answer_queue() and tcp_straight_send() do one after the other is the measure: the same bytes go
// out and the connection is left in the same state (tests/host/test_straight_answers.c). The functions that know the
// family are made once for each. Fast WTD context.
#include "net/answer.h"
#include "kernel/vmm.h"
#include "lwip/stats.h"
#include "net/checksum.h"
#include "net/iface.h"
#include "tcp_neighbour.h"
#include "tcp_rare.h"
#include "tcp_straight.h"
#include "tcp_timestamp.h"
#include "tcp_wire.h"

#define EITHER inline __attribute__((always_inline))

// Nothing waits or is under way, so that there is room in the send buffer; the windows have room, too, and neither they
// nor the card make more than one segment of it.
static EITHER bool may_leave(const struct tcp_pcb *pcb, uint32_t head, uint32_t bytes,
			     const struct netif *netif, const bool ipv6)
{
	const tcpflags_t asked = UNUSUAL4 | TF_RARE | TF_NODELAY;

	return pcb->state == ESTABLISHED &&
	       (pcb->flags & asked) == (TF_NODELAY | (ipv6 ? TF_WIRE6 : 0)) && !pcb->unacked &&
	       pcb->lastack == pcb->snd_lbb && bytes <= pcb->snd_wnd && bytes <= pcb->cwnd &&
	       !tcp_path_expired(pcb) && pcb->snd_wnd_max / 2 >= pcb->mss && head <= pcb->mss &&
	       bytes <= pcb->tso_limit && bytes + tcp_ip_head(ipv6) + TIMES_HLEN <= netif->tso_max;
}
_Static_assert(HEAD_MOST + PAGE_SIZE < TCP_SND_BUF, "fits an empty send buffer");

// All that is the same for each client with such headers.
static __attribute__((noinline)) void make(struct answer *answer, const struct answer_head *head,
					   struct page *page, uint16_t len, uint16_t headers,
					   uint16_t header)
{
	uint8_t *data = answer->bytes + HEAD_ROOM, *start = data - headers;
	struct tcp_hdr *tcp = (void *)(data - header);
	struct pbuf *first, *p;

	first = custom_pbuf(&answer->first, answer_first_free, PBUF_ROM, page_virt(page), len);
	p = custom_pbuf(&answer->head, answer_head_free, PBUF_RAM, start,
			(uint16_t)(headers + head->len));
	p->next = first;
	answer_put_head(answer, head);
	answer->made = answer->page = page;
	answer->headers = headers;
	answer->shape = lwip_htons((uint16_t)(header / 4 << 12 | TCP_ACK | TCP_PSH));
	answer->len = head->len + len;
	answer->parts = 3;
	answer->segment =
	    (struct tcp_seg){.p = p,
			     .len = answer->len,
			     .flags = TF_SEG_LENT | (header > TCP_HLEN ? TF_SEG_OPTS_TS : 0),
			     .tcphdr = tcp};
	answer->frags[0] = (struct netfrag){virt_to_phys(start), p->len, p};
	answer->frags[1] = (struct netfrag){page_phys(page), len, first};
}

// With both references to each part: TCP's and the card's.
static EITHER struct answer *made(const struct answer_head *head, struct page *page, uint16_t len,
				  uint16_t header, const bool ipv6)
{
	const uint16_t headers = (uint16_t)(tcp_wire_head(ipv6) + header);
	struct answer *answer = head->len <= HEAD_MOST ? pool_alloc(&answers) : NULL;
	uint16_t bytes = head->len + len;

	if (UNLIKELY(!answer))
		return NULL;
	if (UNLIKELY(answer->made != page || answer->name != head->name ||
		     answer->headers != headers || answer->len != bytes))
		make(answer, head, page, len, headers, header);
	answer->first.pbuf.ref = 2;
	answer->head.pbuf.ref = 2;
	return answer;
}

// What an earlier sending may have changed, and what differs from client to client.
static EITHER void put_headers(struct tcp_pcb *pcb, struct answer *answer, struct netif *netif,
			       const struct eth_addr *to, uint32_t header, uint32_t frames,
			       const bool ipv6)
{
	uint32_t bytes = header + answer->len;
	uint8_t *tcp_at = answer->bytes + HEAD_ROOM - header;
	struct tcp_hdr *tcp = (void *)tcp_at;
	struct pbuf *p = &answer->head.pbuf;

	p->payload = tcp_at - tcp_wire_head(ipv6);
	p->tot_len = (uint16_t)(tcp_wire_head(ipv6) + bytes);
	p->len = (uint16_t)answer->frags[0].bytes;
	p->tso_mss = frames > 1 ? pcb->mss : 0;
	tcp_wire_put_of(pcb, p->payload, to, netif, (uint16_t)bytes, frames, ipv6);
	*(uint32_t *)(void *)&tcp->src = pcb->wire_ports << 16 | pcb->wire_ports >> 16;
	tcp->seqno = lwip_htonl(pcb->snd_lbb);
	tcp->ackno = lwip_htonl(pcb->rcv_nxt);
	tcp->_hdrlen_rsvd_flags = answer->shape;
	tcp->wnd = lwip_htons(TCPWND_MIN16(RCV_WND_SCALE(pcb, pcb->rcv_ann_wnd)));
	tcp->chksum =
	    frames > 1 ? pcb->wire_seed : net_sum_2(pcb->wire_seed, lwip_htons((uint16_t)bytes));
	tcp->urgp = 0;
	if (header > TCP_HLEN)
		*tcp_times_of(tcp) = (struct tcp_times_option){
		    TCP_TIMES_KIND, lwip_htonl(answer->segment.sent_at + pcb->ts_offset),
		    lwip_htonl(pcb->ts_recent)};
}

// The connection knows of it, as of any segment that was queued and has left.
static inline void under_way(struct tcp_pcb *pcb, struct tcp_seg *seg, uint32_t bytes,
			     uint32_t frames)
{
	pcb->rcv_ann_right_edge = pcb->rcv_nxt + pcb->rcv_ann_wnd;
	pcb->ts_lastacksent = pcb->rcv_nxt;
	pcb->snd_lbb += bytes;
	pcb->snd_buf -= bytes;
	pcb->snd_queuelen += 2;
	lwip_stats.mib2.tcpoutsegs += frames;
	tcp_straight_out++;
}

static EITHER bool leave(struct tcp_pcb *pcb, const struct answer_head *head, struct page *page,
			 uint16_t len, const bool ipv6)
{
	uint16_t header = pcb->flags & TF_TIMESTAMP ? TIMES_HLEN : TCP_HLEN;
	uint32_t bytes = (uint32_t)head->len + len, frames = 1;
	struct netif *netif = tcp_straight_turn;
	const struct eth_addr *to;
	struct answer *answer;
	struct tcp_seg *seg;

	if (UNLIKELY(!netif || !may_leave(pcb, head->len, bytes, netif, ipv6)))
		return false;
	to = tcp_neighbour_known(netif, pcb, header, ipv6);
	if (UNLIKELY(!to || !(answer = made(head, page, len, header, ipv6))))
		return false;
	if (bytes > pcb->mss)
		frames = (bytes - 1) / pcb->mss + 1;
	answer_count(head->len, len);
	seg = &answer->segment;
	seg->next = NULL;
	tcp_segment_leaves(pcb, seg, pcb->snd_lbb);
	put_headers(pcb, answer, netif, to, header, frames, ipv6);
	under_way(pcb, seg, bytes, frames);
	if (ipv6)
		tcp_straight_out6++;
	if (UNLIKELY(iface_send_answer(netif, answer->frags, header, &answer->head.pbuf, ipv6) !=
		     ERR_OK)) {
		pcb->unsent = seg; // as tcp_straight_send leaves it
		tcp_set_flags(pcb, TF_NAGLEMEMERR);
		return true;
	}
	pcb->unacked = pcb->unacked_tail = seg;
	pcb->snd_nxt = pcb->snd_lbb;
	tcp_clear_flags(pcb, TF_ACK_DELAY | TF_ACK_NOW);
	return true;
}

static __attribute__((noinline)) bool leave6(struct tcp_pcb *pcb, const struct answer_head *head,
					     struct page *page, uint16_t len)
{
	return leave(pcb, head, page, len, true);
}

// A function of its own: its registers are not those of whoever found out what to answer.
__attribute__((noinline)) bool answer_now(struct tcp_pcb *pcb, const struct answer_head *head,
					  struct page *page, uint16_t len)
{
	if (UNLIKELY(pcb->flags & TF_WIRE6))
		return leave6(pcb, head, page, len);
	return leave(pcb, head, page, len, false);
}
