// SPDX-License-Identifier: BSD-2-Clause
// Stages 4, 8 and 11 of the read path for the segments that make up all but one in a thousand: on an
// established connection with nothing lost and nothing pending, the next data in order, or a bare
// acknowledgement of new data. RFC 9293, 3.10.7.4, with the conditions asked beforehand
// (tcp_straight_takes) instead of one by one.
//
//     takes --no--> tcp_input                                 leaves --no--> tcp_output
//       | yes                                                    | yes
//       v                                                        v
//     windows, times --> queue, sent, take or recv callback --> segments, straight to the card
//
// A client that is sent much acknowledges often: of several acknowledgements in a row only the last goes
// further than windows and times. That is settled when another segment comes, or the batch is over.
//
// tcp_input and tcp_output are the general way and the measure: whatever is taken here leaves the same
// bytes on the wire and the same state in the pcb (tests/host/test_straight.c). What is policy, the
// congestion window's growth and round-trip times, is lwIP's own code, called from both.
#include "tcp_straight.h"
#include "hooks.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "net/checksum.h"
#include "net/iface.h"
#include "tcp_neighbour.h"
#include "tcp_rare.h"
#include "tcp_straight_find.h"
#include "tcp_timestamp.h"

// A header of 20 bytes, or of 32 with time stamps, ACK, and PSH or not; lwIP looks at no other bits.
#define SHAPE_MASK  PP_HTONS(0xf03f & ~TCP_PSH)
#define SHAPE	    PP_HTONS(TCP_HLEN / 4 << 12 | TCP_ACK)
#define TIMES_SHAPE PP_HTONS(TIMES_HLEN / 4 << 12 | TCP_ACK)
_Static_assert(sizeof(struct tcp_pcb) <= 520, "a connection is held for little");

// Acknowledged something, and its queue and its server have not heard of it yet. Nobody else touches a pcb
// before tcp_straight_settle. Fast WTD context.
static struct tcp_pcb *acknowledged;
static uint32_t acknowledged_before,
    acknowledged_echo; // its lastack then; the newest echo, as it came, if any

uint64_t tcp_straight_in, tcp_straight_out, tcp_straight_in6, tcp_straight_out6;

// The batch's interface, if it is the only one there is, and its link is up.
struct netif *tcp_straight_card, *tcp_straight_turn;

void tcp_straight_batch(struct netif *netif)
{
	bool only = netif_list == netif && !netif->next && netif_default == netif;

	tcp_straight_card = only && netif_is_link_up(netif) ? netif : NULL;
}

// RFC 7323, 3.2: time stamps exactly where they were agreed upon.
static inline bool shaped(const struct tcp_pcb *pcb, const struct tcp_hdr *header)
{
	const struct tcp_times_option *times = tcp_times_of(header);
	uint16_t shape = header->_hdrlen_rsvd_flags & SHAPE_MASK;

	if (!(pcb->flags & TF_TIMESTAMP))
		return shape == SHAPE;
	return shape == TIMES_SHAPE && tcp_straight_times_fit(pcb, times);
}

// unusual: flags that make it so, UNUSUAL or UNUSUAL4.
static inline __attribute__((always_inline)) bool
usual(struct tcp_pcb *pcb, const struct tcp_hdr *header, uint32_t bytes, const tcpflags_t unusual)
{
	uint32_t ack = lwip_ntohl(header->ackno), acked = ack - pcb->lastack;

	return pcb->state == ESTABLISHED &&
	       !(UNLIKELY(is_marked(pcb, unusual)) && is_unusual(pcb, unusual)) &&
	       shaped(pcb, header) && lwip_ntohl(header->seqno) == pcb->rcv_nxt &&
	       bytes < pcb->rcv_wnd && acked <= pcb->snd_nxt - pcb->lastack && (acked || bytes) &&
	       header->wnd &&
	       (!pcb->unsent || TCP_SEQ_GEQ(lwip_ntohl(pcb->unsent->tcphdr->seqno), ack));
}

// RFC 9293, 3.10.7.4, fifth, ESTABLISHED: SND.WND.
static inline void take_window(struct tcp_pcb *pcb, const struct tcp_hdr *header, uint32_t ack)
{
	uint32_t window = (uint32_t)SND_WND_SCALE(pcb, (uint32_t)lwip_ntohs(header->wnd));
	uint32_t seq = pcb->rcv_nxt;

	// Of a segment in order: what told of the window before is no later, but for what came out of order.
	if (UNLIKELY(TCP_SEQ_GT(pcb->snd_wl1, seq)) &&
	    !(pcb->snd_wl2 == ack && window > pcb->snd_wnd))
		return;
	pcb->snd_wnd = window;
	pcb->snd_wnd_max = MAX(pcb->snd_wnd_max, window);
	pcb->snd_wl1 = seq;
	pcb->snd_wl2 = ack;
}

// RFC 7323, 4.3 (2): what has not been acknowledged yet stays the one that is echoed.
static inline void take_times(struct tcp_pcb *pcb, const struct tcp_times_option *times)
{
	if (pcb->rcv_nxt == pcb->ts_lastacksent)
		pcb->ts_recent = lwip_ntohl(times->value);
}

// New data is acknowledged: all that the next segment may ask about. What was acknowledged stays in the queue
// until settle.
static inline void take_ack(struct tcp_pcb *pcb, uint32_t ack)
{
	uint32_t acked = ack - pcb->lastack;

	pcb->nrtx = 0;
	pcb->dupacks = 0;
	pcb->lastack = ack;
	pcb->polltmr = 0;
	tcp_cwnd_grow(pcb, acked);
	if (pcb->rttest && TCP_SEQ_LT(pcb->rtseq, ack))
		tcp_rtt_timed(pcb);
}

static inline void free_segment(struct tcp_pcb *pcb, struct tcp_seg *seg)
{
	if (seg->flags & TF_SEG_LENT && LIKELY(answer_free(seg))) {
		pcb->snd_queuelen -= 2;
		return;
	}
	pcb->snd_queuelen = (uint16_t)(pcb->snd_queuelen - pbuf_clen(seg->p));
	tcp_seg_free(seg);
}

// Frees what is acknowledged. Returns what the application is to be told.
static inline uint32_t free_acked(struct tcp_pcb *pcb)
{
	uint32_t ack = pcb->lastack, told = pcb->snd_trimmed;
	struct tcp_seg *seg;

	while ((seg = pcb->unacked) &&
	       TCP_SEQ_LEQ(lwip_ntohl(seg->tcphdr->seqno) + seg->len, ack)) {
		pcb->unacked = seg->next;
		told += seg->len;
		free_segment(pcb, seg);
	}
	told += tcp_trim_in_flight(pcb, ack);
	pcb->snd_trimmed = 0;
	pcb->rtime = seg ? 0 : -1;
	pcb->snd_buf += told;
	return told;
}

// The sent callback, of some bytes; it is told at most 65,535 at a time. False: the connection is gone.
static bool tell_sent(struct tcp_pcb *pcb, uint32_t bytes)
{
	err_t err;

	for (; UNLIKELY(bytes > UINT16_MAX); bytes -= UINT16_MAX) {
		TCP_EVENT_SENT(pcb, UINT16_MAX, err);
		if (UNLIKELY(err == ERR_ABRT))
			return false;
	}
	TCP_EVENT_SENT(pcb, (uint16_t)bytes, err);
	if (UNLIKELY(err == ERR_ABRT))
		return false;
	return !(*tcp_input_events & TF_CLOSED) || !tcp_input_closed(pcb);
}

// The recv callback, which takes the payload or refuses it for now.
static bool tell_received(struct tcp_pcb *pcb, struct pbuf *payload)
{
	err_t err;

	TCP_EVENT_RECV(pcb, payload, ERR_OK, err);
	if (UNLIKELY(err == ERR_ABRT))
		return false;
	if (UNLIKELY(err != ERR_OK)) {
		pcb->refused_data = payload;
		tcp_set_flags(pcb, TF_RARE);
	}
	return true;
}

// The queue hears what one segment, or several in a row, acknowledged. Returns what the server is to hear.
static inline uint32_t hear(struct tcp_pcb *pcb)
{
	acknowledged = NULL;
	if (pcb->flags & TF_TIMESTAMP)
		tcp_rtt_echo(pcb, lwip_ntohl(acknowledged_echo),
			     pcb->lastack - acknowledged_before);
	return free_acked(pcb);
}

// The queue and the server do. False: the connection is gone.
static inline bool settle(struct tcp_pcb *pcb)
{
	uint32_t told;
	bool there;

	if (!acknowledged)
		return true;
	told = hear(pcb);
	if (!told)
		return true;
	*tcp_input_events = 0;
	tcp_input_pcb = pcb;
	there = tell_sent(pcb, told);
	tcp_input_pcb = NULL;
	return there;
}

// What comes of it all.
static inline void output(struct tcp_pcb *pcb, struct netif *netif)
{
	if (pcb->unsent ? !tcp_straight_send(pcb, netif) : pcb->flags & TF_ACK_NOW)
		tcp_output(pcb);
}

void tcp_straight_settle(struct netif *netif)
{
	struct tcp_pcb *pcb = acknowledged;

	if (pcb && settle(pcb))
		output(pcb, netif);
}

// tcp_update_rcv_ann_wnd, which only moves the right edge of the window when that is worth a segment, and says
// how far.
static inline uint32_t announce(struct tcp_pcb *pcb)
{
	uint32_t edge = pcb->rcv_nxt + pcb->rcv_wnd, announced = pcb->rcv_ann_right_edge;

	if (UNLIKELY(TCP_SEQ_GEQ(edge, announced + LWIP_MIN(TCP_WND / 2, pcb->mss)) ||
		     TCP_SEQ_GT(pcb->rcv_nxt, announced)))
		return tcp_update_rcv_ann_wnd(pcb);
	pcb->rcv_ann_wnd = announced - pcb->rcv_nxt;
	return 0;
}

ONE_CALLER struct tcp_pcb *tcp_straight_takes(uint64_t addresses, uint32_t ports,
					      const struct tcp_hdr *header, uint32_t bytes,
					      struct netif *netif)
{
	struct tcp_pcb *pcb = acknowledged;

	if (!pcb || !tcp_is_between(pcb, addresses, ports)) {
		tcp_straight_settle(netif);
		pcb = tcp_find(addresses, ports);
	}
	if (LIKELY(pcb && usual(pcb, header, bytes, UNUSUAL4)))
		return pcb;
	tcp_straight_settle(netif);
	return NULL;
}

ONE_CALLER struct tcp_pcb *tcp_straight_takes6(const struct tcp_addresses6 *addresses,
					       uint32_t ports, const struct tcp_hdr *header,
					       uint32_t bytes, struct netif *netif)
{
	uint8_t index = netif_get_index(netif);
	struct tcp_pcb *pcb = acknowledged;

	if (!pcb || !tcp_is_between6(pcb, addresses, ports, index)) {
		tcp_straight_settle(netif);
		pcb = tcp_find6(addresses, ports, index);
	}
	if (LIKELY(pcb && usual(pcb, header, bytes, UNUSUAL))) {
		tcp_straight_in6++;
		if (!acknowledged) // or it has just been said
			tcp_neighbour6_reached(ip_2_ip6(&pcb->remote_ip),
					       pcb->netif_hints.addr_hint);
		return pcb;
	}
	tcp_straight_settle(netif);
	return NULL;
}

// All that is on its way is one small answer, of which so little is acknowledged that nothing is freed or told yet.
static inline bool more_to_come(const struct tcp_pcb *pcb, uint32_t ack)
{
	const struct tcp_seg *seg = pcb->unacked;

	if (LIKELY(ack == pcb->snd_nxt))
		return false;
	return seg && seg->flags & TF_SEG_LENT && !seg->next && !pcb->unsent && !pcb->snd_trimmed &&
	       ack - lwip_ntohl(seg->tcphdr->seqno) < MIN(TCP_TRIM_LEAST, seg->len);
}

ONE_CALLER bool tcp_straight(struct tcp_pcb *pcb, const struct tcp_hdr *header)
{
	uint32_t ack = lwip_ntohl(header->ackno);
	uint32_t before = pcb->lastack;
	bool row = acknowledged;

	tcp_straight_in++;
	tcp_timed(pcb);
	pcb->tmr = tcp_ticks;
	pcb->keep_cnt_sent = 0;
	pcb->persist_probe = 0;
	take_window(pcb, header, ack);
	if (pcb->flags & TF_TIMESTAMP)
		take_times(pcb, tcp_times_of(header));
	if (ack == pcb->lastack)
		return false;
	take_ack(pcb, ack);
	if (!row && more_to_come(pcb, ack)) {
		if (pcb->flags & TF_TIMESTAMP)
			tcp_rtt_echo(pcb, lwip_ntohl(tcp_times_of(header)->echo), ack - before);
		pcb->rtime = 0;
		return false;
	}
	if (!row)
		acknowledged_before = before;
	acknowledged_echo = tcp_times_of(header)->echo;
	acknowledged = pcb;
	return row;
}

// To the server, as if it had taken the data: what it answers may leave at once, and says how far the window is open.
static inline bool offer(struct tcp_pcb *pcb, const void *data, uint32_t bytes)
{
	tcpflags_t flags = pcb->flags;
	bool taken;

	pcb->rcv_wnd += bytes; // as tcp_recved
	if (UNLIKELY(announce(pcb) >= TCP_WND_UPDATE_THRESHOLD))
		tcp_ack_now(pcb);
	tcp_straight_turn = tcp_straight_card;
	taken = pcb->take(pcb->callback_arg, pcb, data, (u16_t)bytes);
	tcp_straight_turn = NULL;
	if (UNLIKELY(!taken)) {
		pcb->rcv_wnd -= bytes;
		pcb->flags = flags;
	}
	return taken;
}

ONE_CALLER bool tcp_straight_in_place(struct tcp_pcb *pcb, const void *data, uint32_t bytes,
				      struct netif *netif)
{
	pcb->rcv_nxt += bytes;
	pcb->rcv_wnd -= bytes;
	tcp_ack(pcb);
	if (UNLIKELY(!settle(pcb)))
		return true;
	if (!pcb->take || !offer(pcb, data, bytes))
		return false;
	output(pcb, netif);
	return true;
}

void tcp_straight_data(struct tcp_pcb *pcb, const struct tcp_hdr *header, struct pbuf *payload,
		       struct netif *netif)
{
	bool there;

	if (TCPH_FLAGS(header) & TCP_PSH)
		payload->flags |= PBUF_FLAG_PUSH;
	announce(pcb);
	*tcp_input_events = 0;
	tcp_input_pcb = pcb;
	there = tell_received(pcb, payload);
	tcp_input_pcb = NULL;
	if (there && !(UNLIKELY(*tcp_input_events & TF_CLOSED) && tcp_input_closed(pcb)))
		output(pcb, netif);
}

void tcp_straight_lost(struct tcp_pcb *pcb, uint32_t bytes, struct netif *netif)
{
	pcb->rcv_nxt -= bytes;
	pcb->rcv_wnd += bytes;
	announce(pcb);
	output(pcb, netif);
}

struct tcp_pcb *tcp_straight_find(uint64_t addresses, uint32_t ports)
{
	return tcp_find(addresses, ports);
}

uint32_t tcp_straight_free(void)
{
	return acknowledged ? hear(acknowledged) : 0;
}

bool tcp_straight_tell(struct tcp_pcb *pcb, uint32_t bytes)
{
	return tell_sent(pcb, bytes);
}
