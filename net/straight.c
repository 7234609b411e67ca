// SPDX-License-Identifier: BSD-2-Clause
// Stage 4 of the read path, for what happens a million times: an Ethernet frame with an IPv4 packet without
// options, whole, to the address of the card it came in by, that carries a TCP segment. One look at the
// headers and one pass over the bytes for the checksum, in the buffer that the card filled. What belongs to
// an established connection and is nothing special (tcp_straight_takes) is TCP's at once, and an
// acknowledgement without data never becomes a packet: its buffer goes straight back. Other segments go to
// tcp_input. Everything that is no such frame, and everything that is wrong in any way, goes through lwIP's
// Ethernet and IP layers, which know what to do with it and count it. All ways give the same answers
// (tests/host/test_straight.c).
//
//     Ethernet   0  to, from, type 0x0800
//     IPv4      14  0x45, length, no fragment, protocol 6, checksum, addresses         RFC 791, 3.1
//     TCP       34  a checksum over it, the addresses, 6 and its length                RFC 9293, 3.1
#include "net/straight.h"
#include "kernel/base.h"
#include "kernel/kstat.h"
#include "lwip/arch.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ip4.h"
#include "lwip/stats.h"
#include "net/checksum.h"
#include "tcp_leave.h"
#include "tcp_open.h"
#include "tcp_straight.h"

#define ETHERNET_BYTES 14

bool straight_on = true;

uint64_t straight_general;
static uint64_t taken(void)
{
	return straight_general + tcp_straight_in;
}
KSTAT_COUNTER_FN(taken, "pagewire_net_straight_total", NULL,
		 "TCP segments that took the straight way in.", taken);
KSTAT_COUNTER_L(at_once, "pagewire_net_straight_established_total", NULL,
		"Of these, segments of an established connection taken without tcp_input.",
		tcp_straight_in);
static uint64_t passed_over;
KSTAT_COUNTER(passed_over, "pagewire_net_straight_passed_over_total",
	      "Of these, acknowledgements passed over because a later one was there already.");

// Of the frame, fields as they lie; some that are asked about together are one word.
struct headers {
	uint8_t to[6], from[6];
	uint32_t what; // Ethernet's type, version and header length, type of service
	uint16_t length, id;
	uint32_t whole; // flags and fragment offset, time to live, protocol
	uint16_t checksum;
	union {
		struct {
			uint32_t source, dest;
		};
		uint64_t addresses;
	};
	union {
		struct tcp_hdr tcp;
		uint32_t ports;
	};
} __attribute__((packed));
_Static_assert(sizeof(struct headers) == ETHERNET_BYTES + IP_HLEN + TCP_HLEN, "as on the wire");

#define WHAT_MASK  PP_HTONL(0xffffff00) // any type of service
#define WHAT	   PP_HTONL(0x08004500)
#define WHOLE_MASK PP_HTONL(0x3fff00ff) // no more fragments, offset 0, any time to live
#define WHOLE	   PP_HTONL(IP_PROTO_TCP)

static inline bool plain(const struct headers *h, uint32_t frame_bytes)
{
	uint32_t segment = PP_NTOHS(h->length) - IP_HLEN;

	return frame_bytes >= sizeof(*h) && (h->what & WHAT_MASK) == WHAT &&
	       (h->whole & WHOLE_MASK) == WHOLE && !(h->to[0] & 1) && // to one station
	       segment - TCP_HLEN <= frame_bytes - sizeof(*h); // neither shorter than TCP's header
}

// Whether it is for us, and the source can be a station's at all. A connection that tcp_straight_takes finds by its
// addresses is of one of ours and another machine's.
static bool from_a_station(const struct headers *h, const struct netif *netif)
{
	uint32_t mine = ip4_addr_get_u32(netif_ip4_addr(netif));
	uint32_t mask = ip4_addr_get_u32(netif_ip4_netmask(netif));

	return mine && h->dest == mine && h->source != mine &&
	       (h->source & 0xff) != IP_LOOPBACKNET && h->source &&
	       (h->source & 0xff) < 224 && // no multicast, no limited broadcast
	       (h->source | mask) != ~0U &&
	       (h->source & ~mask || (h->source & mask) != (mine & mask));
}

// The IPv4 header, and the segment with its pseudo-header (RFC 9293, 3.1): its addresses lie right in front of the
// segment, so that they and it are one stretch of bytes.
static inline bool sound(const struct headers *h, uint32_t segment_bytes)
{
	const uint8_t *ip = (const uint8_t *)h + ETHERNET_BYTES;
	const uint8_t *addresses = ip + IP_HLEN - sizeof(h->addresses);
	uint64_t rest = PP_HTONS(IP_PROTO_TCP) + PP_HTONS((uint16_t)segment_bytes);

	return net_sum_sound(net_sum_20(ip, 0)) &&
	       net_sum_sound(net_sum_wide(addresses, sizeof(h->addresses) + segment_bytes, rest));
}

// What lwIP's IP layer sets up round tcp_input.
static void general_input(struct netif *netif, struct pbuf *p)
{
	const struct headers *h = p->payload;
	uint16_t checks = netif->chksum_flags;

	ip_addr_set_ip4_u32(&ip_data.current_iphdr_dest, h->dest);
	ip_addr_set_ip4_u32(&ip_data.current_iphdr_src, h->source);
	ip_data.current_netif = netif;
	ip_data.current_input_netif = netif;
	ip_data.current_ip4_header =
	    (const struct ip_hdr *)(const void *)((const uint8_t *)h + ETHERNET_BYTES);
	ip_data.current_ip_header_tot_len = IP_HLEN;
	p->len = p->tot_len =
	    (u16_t)(PP_NTOHS(h->length) - IP_HLEN); // without a short frame's padding
	p->payload = (uint8_t *)p->payload + ETHERNET_BYTES + IP_HLEN;
	netif->chksum_flags = checks & (uint16_t)~NETIF_CHECKSUM_CHECK_TCP; // done
	tcp_input(p, netif);
	netif->chksum_flags = checks;
	ip_data.current_netif = NULL;
	ip_data.current_input_netif = NULL;
	ip_data.current_ip4_header = NULL;
	ip_data.current_ip_header_tot_len = 0;
	ip4_addr_set_any(ip4_current_src_addr());
	ip4_addr_set_any(ip4_current_dest_addr());
}

// A segment that tcp_straight_takes, with so much payload.
static enum straight established(struct netif *netif, struct tcp_pcb *pcb, struct rxbuf *buf,
				 const struct headers *h, uint32_t bytes, uint32_t payload)
{
	const uint8_t *data = (const uint8_t *)h + ETHERNET_BYTES + PP_NTOHS(h->length) - payload;
	struct pbuf *p;
	bool row;

	row = tcp_straight(pcb, &h->tcp);
	if (!payload)
		return row ? STRAIGHT_ROW : STRAIGHT_DONE;
	if (tcp_straight_in_place(pcb, data, payload, netif))
		return STRAIGHT_DONE;
	p = rxpool_packet(buf, bytes);
	if (UNLIKELY(!p)) {
		tcp_straight_lost(pcb, payload, netif);
		return STRAIGHT_KEPT;
	}
	h = p->payload; // it may have been copied aside
	p->payload = (uint8_t *)p->payload + ETHERNET_BYTES + PP_NTOHS(h->length) - payload;
	p->len = p->tot_len = (u16_t)payload;
	tcp_straight_data(pcb, &h->tcp, p, netif);
	return STRAIGHT_KEPT;
}

ONE_CALLER enum straight straight_receive(struct netif *netif, struct rxbuf *buf, uint32_t bytes)
{
	const struct headers *h = (const void *)buf->data;
	uint32_t segment = PP_NTOHS(h->length) - IP_HLEN;
	uint32_t payload = segment - tcp_straight_header(&h->tcp);
	struct tcp_pcb *pcb;
	struct pbuf *p;

	if (!plain(h, bytes) || !sound(h, segment)) {
		tcp_straight_settle(netif);
		return STRAIGHT_NOT;
	}
	pcb = tcp_straight_takes(h->addresses, h->ports, &h->tcp, payload, netif);
	if (LIKELY(pcb)) {
		return established(netif, pcb, buf, h, bytes, payload);
	}
	if (!payload && tcp_leave(h->addresses, h->ports, &h->tcp, netif))
		return STRAIGHT_DONE;
	if (!from_a_station(h, netif))
		return STRAIGHT_NOT;
	if (!payload && tcp_open(h->addresses, h->ports, &h->tcp, netif))
		return STRAIGHT_DONE;
	p = rxpool_packet(buf, bytes);
	if (p) {
		straight_general++;
		general_input(netif, p);
	}
	return STRAIGHT_KEPT;
}

// ---- acknowledgements in a row -----------------------------------------------------------------------
// A client that is sent much has acknowledged dozens of times before we look. An acknowledgement says all that those
// before it said (RFC 9293, 3.4), so these need not be looked at closely, not even be sound: any of them might have
// been lost on the way. What is left of them is that they came. None is passed over that tells of a gap, or of
// anything else than how far everything has arrived.

#define BARE	   PP_HTONS(TCP_HLEN / 4 << 12 | TCP_ACK)
#define BARE_TIMES PP_HTONS((TCP_HLEN + LWIP_TCP_OPT_LEN_TS_OUT) / 4 << 12 | TCP_ACK)
#define TIMES_KIND PP_HTONL(0x0101080a) // two NOPs, RFC 7323's option

typedef uint64_t word64 __attribute__((may_alias, aligned(1)));
typedef uint32_t word32 __attribute__((may_alias, aligned(1)));

static inline const struct headers *headers_of(const struct netbuf *frame)
{
	return (const void *)((const struct rxbuf *)frame->cookie)->data;
}

// A segment that does nothing but acknowledge, with time stamps or without any option.
static inline bool is_bare(const struct headers *h, uint32_t segment)
{
	if (h->tcp._hdrlen_rsvd_flags == BARE)
		return segment == TCP_HLEN;
	return h->tcp._hdrlen_rsvd_flags == BARE_TIMES &&
	       segment == TCP_HLEN + LWIP_TCP_OPT_LEN_TS_OUT &&
	       *(const word32 *)(&h->tcp + 1) == TIMES_KIND;
}

// The same connection's with the same sequence number, and more acknowledged.
static inline bool says_more(const struct headers *later, const struct headers *h)
{
	const word64 *ports_and_seq = (const void *)&h->ports;

	return later->what == h->what && later->length == h->length &&
	       !((later->whole ^ h->whole) & WHOLE_MASK) && later->addresses == h->addresses &&
	       *(const word64 *)(const void *)&later->ports == *ports_and_seq &&
	       TCP_SEQ_GT(PP_NTOHL(later->tcp.ackno), PP_NTOHL(h->tcp.ackno));
}

uint32_t straight_row(const struct netbuf *frames, uint32_t count)
{
	uint32_t last = 0, segment, bytes;
	const struct headers *h, *next;

	if (count < 2 || (bytes = frames->bytes) < sizeof(*h))
		return 0;
	h = headers_of(frames);
	segment = PP_NTOHS(h->length) - IP_HLEN;
	if (!is_bare(h, segment))
		return 0;
	for (; last + 1 < count && frames[last + 1].bytes == bytes; last++, h = next) {
		next = headers_of(&frames[last + 1]);
		if (!says_more(next, h) || !is_bare(next, segment))
			break;
	}
	if (!last || !plain(h, bytes) || !sound(h, segment))
		return 0;
	tcp_straight_in += last;
	passed_over += last;
	return last;
}
