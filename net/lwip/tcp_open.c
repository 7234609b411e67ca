// SPDX-License-Identifier: BSD-2-Clause
// The beginning of a connection, see tcp_open.h. RFC 9293, 3.10.7.2 and 3.10.7.4, with the conditions asked
// beforehand.
//
//     SYN ----> the table has nothing, or a TIME_WAIT that gives way --> entry, SYN-ACK      (tcp_syn.c)
//     ACK ----> the table has an entry, of just this SYN-ACK --> PCB, ESTABLISHED, accept callback
//     anything else --> tcp_input
//
// tcp_input is the general way and the measure: whatever is taken here leaves the same bytes on the wire and the same
// state in the PCB (tests/host/test_straight_short.c). Who listens, what an offer makes of a PCB, which acknowledgement
// opens: that is the same code for both.
#include "tcp_open.h"
#include "hooks.h"
#include "lwip/priv/tcp_priv.h"
#include "kernel/kstring.h"
#include "lwip/stats.h"
#include "tcp_bare.h"
#include "tcp_straight.h"
#include "tcp_syn.h"
#include "tcp_tw.h"

#define FLAGS PP_HTONS(TCP_FLAGS)

// What the segment belongs to, and what it says of that.
struct segment {
	struct tcp_tuple tuple;
	uint32_t hash;
	const struct tcp_hdr *header;
	struct netif *netif;
};

static inline ip_addr_t ip4_of(uint32_t address)
{
	return (ip_addr_t){.u_addr.ip4.addr = address, .type = IPADDR_TYPE_V4};
}

static inline struct tcp_pcb_listen *listener_of(const struct segment *s)
{
	const ip_addr_t local = ip4_of(s->tuple.local[0]);

	return tcp_listener_of(&local, s->tuple.local_port, s->netif);
}

// What the table has for the tuple. False: a connection, which is not for this way.
static inline bool find(const struct segment *s, struct tcp_hash_node **found)
{
	struct tcp_hash_node *node = *tcp_hash_bucket(s->hash);

	for (*found = NULL; node; node = node->next) {
		tcp_hash_steps++;
		if (node->hash != s->hash)
			continue;
		if (node->kind == TCP_HASH_PCB || node->kind == TCP_HASH_PCB_TW ||
		    node->kind == TCP_HASH_PARKED)
			return false;
		if (tcp_tuple_is(node, &s->tuple)) {
			*found = node;
			return true;
		}
	}
	return true;
}

static inline unsigned option_bytes(const struct segment *s)
{
	return tcp_straight_header(s->header) - TCP_HLEN;
}

static bool begin(const struct segment *s, struct tcp_hash_node *node)
{
	struct tcp_pcb_listen *listener;
	struct tcp_syn_offer offer;
	struct tcp_times times = {0};
	uint32_t least_iss = 0;

	if (node && node->kind != TCP_HASH_TW)
		return false;
	tcp_syn_begin(&offer, lwip_ntohl(s->header->seqno));
	if (!tcp_syn_options(&offer, (const uint8_t *)(s->header + 1), option_bytes(s)) ||
	    !(listener = listener_of(s)))
		return false;
	times.seen = offer.timestamps;
	times.value = offer.ts_recent;
	if (node && tcp_tw_input(node, TCP_SYN, offer.irs, 1, &times, &least_iss))
		return true;
	if (listener->accepts_pending < listener->backlog)
		tcp_syn_received(&s->tuple, s->hash, NULL, &offer, least_iss,
				 netif_get_index(s->netif));
	return true;
}

// The time stamps of a segment that has no other option. False: it has others.
static inline bool read_times(const struct segment *s, struct tcp_times *times)
{
	const struct tcp_times_option *option = tcp_times_of(s->header);

	*times = (struct tcp_times){0};
	if (!option_bytes(s))
		return true;
	if (option_bytes(s) != sizeof(*option) || option->kind != TCP_TIMES_KIND)
		return false;
	*times = (struct tcp_times){true, lwip_ntohl(option->value), lwip_ntohl(option->echo)};
	return true;
}

// What tcp_receive makes of an acknowledgement of the SYN, and tcp_process behind it.
static inline void take_ack(struct tcp_pcb *pcb, const struct tcp_hdr *header,
			    const struct tcp_times *times)
{
	pcb->snd_wl1 = lwip_ntohl(header->seqno);
	pcb->snd_wl2 = pcb->lastack = lwip_ntohl(header->ackno);
	pcb->cwnd = LWIP_TCP_CALC_INITIAL_CWND(pcb->mss);
	if (pcb->flags & TF_TIMESTAMP)
		tcp_rtt_echo(pcb, times->echo, 1);
	else if (pcb->rttest)
		tcp_rtt_timed(pcb);
}

// The server is told. False: the connection is gone.
static bool accept(struct tcp_pcb *pcb)
{
	err_t err;

	pcb->state = ESTABLISHED;
	tcp_backlog_accepted(pcb);
	*tcp_input_events = 0;
	tcp_input_pcb = pcb;
	TCP_EVENT_ACCEPT(pcb->listener, pcb, pcb->callback_arg, ERR_OK, err);
	if (LIKELY(err == ERR_OK))
		return true;
	if (err != ERR_ABRT)
		tcp_abort(pcb);
	tcp_input_pcb = NULL;
	return false;
}

static bool open(const struct segment *s, struct tcp_hash_node *node)
{
	const ip_addr_t local = ip4_of(s->tuple.local[0]), remote = ip4_of(s->tuple.remote[0]);
	uint32_t seqno = lwip_ntohl(s->header->seqno);
	struct tcp_pcb_listen *listener;
	struct tcp_syn_offer offer;
	struct tcp_times times;
	struct tcp_pcb *pcb;

	if (!node || node->kind != TCP_HASH_SYN || !read_times(s, &times) ||
	    !tcp_syn_is_next(node, seqno, lwip_ntohl(s->header->ackno)) ||
	    !(listener = listener_of(s)))
		return false;
	if (tcp_syn_acked(&s->tuple, node, seqno, lwip_ntohl(s->header->ackno), &times, &offer) !=
	    TCP_SYN_OPEN)
		return true;
	pcb = tcp_listen_open(listener, &offer, &local, &remote, s->tuple.remote_port, s->hash,
			      seqno, lwip_ntohs(s->header->wnd), s->netif);
	if (!pcb)
		return true;
	tcp_syn_opened(node, pcb);
	pcb->netif_hints.addr_hint = tcp_bare_neighbour;
	if (pcb->flags & TF_TIMESTAMP)
		pcb->ts_recent = times.value;
	if (!accept(pcb))
		return true;
	take_ack(pcb, s->header, &times);
	tcp_input_pcb = NULL;
	if (!(UNLIKELY(*tcp_input_events & TF_CLOSED) && tcp_input_closed(pcb)) && pcb->unsent)
		tcp_output(pcb);
	return true;
}

bool tcp_open(uint64_t addresses, uint32_t ports, const struct tcp_hdr *header, struct netif *netif)
{
	uint16_t flags = header->_hdrlen_rsvd_flags & FLAGS & PP_HTONS(~TCP_PSH);
	struct segment s = {.header = header, .netif = netif};
	struct tcp_hash_node *node;

	if ((flags != PP_HTONS(TCP_SYN) && flags != PP_HTONS(TCP_ACK)) ||
	    tcp_straight_header(header) < TCP_HLEN)
		return false;
	memset(&s.tuple, 0, sizeof(s.tuple));
	s.tuple.local[0] = (uint32_t)(addresses >> 32);
	s.tuple.remote[0] = (uint32_t)addresses;
	s.tuple.local_port = lwip_ntohs((uint16_t)(ports >> 16));
	s.tuple.remote_port = lwip_ntohs((uint16_t)ports);
	s.hash = tcp_hash_ip4(s.tuple.local[0], s.tuple.remote[0], s.tuple.local_port,
			      s.tuple.remote_port);
	if (!find(&s, &node) || !(flags == PP_HTONS(TCP_SYN) ? begin(&s, node) : open(&s, node)))
		return false;
	tcp_straight_in++;
	return true;
}
