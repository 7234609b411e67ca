// SPDX-License-Identifier: BSD-2-Clause
// Stage 4 of the read path, for what happens a million times: an Ethernet frame with an IPv4 packet without
// options, whole, or an IPv6 packet without extension headers, to the address of the card it came in by, that carries
// a TCP segment. One look at the headers and one pass over the bytes for the checksum, in the buffer that the card
// filled. What belongs to an established connection and is nothing special (tcp_straight_takes) is TCP's at once, and
// an acknowledgement without data never becomes a packet: its buffer goes straight back. Other segments over IPv4 go to
// tcp_input. Everything that is no such frame, and everything that is wrong in any way, goes through lwIP's
// Ethernet and IP layers, which know what to do with it and count it. All ways give the same answers
// (tests/host/test_straight.c).
//
//     Ethernet   0  to, from, type 0x0800, or 0x86dd
//     IPv4      14  0x45, length, no fragment, protocol 6, checksum, addresses         RFC 791, 3.1
//     IPv6      14  0x6, length, next header 6, addresses                              RFC 8200, 3
//     TCP       34  a checksum over it, the addresses, 6 and its length                RFC 9293, 3.1
//       IPv6    54                                                                     RFC 8200, 8.1
#include "net/straight.h"
#include "kernel/base.h"
#include "kernel/kstat.h"
#include "kernel/vmm.h"
#include "lwip/arch.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/stats.h"
#include "net/checksum.h"
#include "tcp_leave.h"
#include "tcp_open.h"
#include "tcp_rare.h"
#include "tcp_straight.h"
#include "tcp_straight_find.h"

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

struct headers6 {
	uint8_t to[6], from[6];
	uint32_t what; // Ethernet's type, version, traffic class, the flow label's upper four bits
	uint16_t flow; // the others
	uint16_t length;
	uint8_t next, hops;
	struct tcp_addresses6 addresses;
	union {
		struct tcp_hdr tcp;
		uint32_t ports;
	};
} __attribute__((packed));
_Static_assert(sizeof(struct headers6) == ETHERNET_BYTES + IP6_HLEN + TCP_HLEN, "as on the wire");

#define WHAT_MASK  PP_HTONL(0xffffff00) // any type of service
#define WHAT	   PP_HTONL(0x08004500)
#define WHOLE_MASK PP_HTONL(0x3fff00ff) // no more fragments, offset 0, any time to live
#define WHOLE	   PP_HTONL(IP_PROTO_TCP)
#define WHAT6_MASK PP_HTONL(0xfffff000) // any traffic class and flow label
#define WHAT6	   PP_HTONL(0x86dd6000)

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

// The same over IPv6, of which only a connection's addresses say whom it is for.
static inline bool plain6(const struct headers6 *h, uint32_t frame_bytes)
{
	return frame_bytes >= sizeof(*h) && (h->what & WHAT6_MASK) == WHAT6 &&
	       h->next == IP_PROTO_TCP && !(h->to[0] & 1) &&
	       PP_NTOHS(h->length) - (uint32_t)TCP_HLEN <= frame_bytes - sizeof(*h);
}

static inline bool sound6(const struct headers6 *h, uint32_t segment_bytes)
{
	uint64_t rest = PP_HTONS(IP_PROTO_TCP) + PP_HTONS((uint16_t)segment_bytes);

	return net_sum_sound(net_sum_wide((const uint8_t *)&h->addresses,
					  sizeof(h->addresses) + segment_bytes, rest));
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

// A segment of so many bytes that tcp_straight_takes, with so much payload.
static inline __attribute__((always_inline)) enum straight
established(struct netif *netif, struct tcp_pcb *pcb, struct rxbuf *buf, uint32_t bytes,
	    uint32_t segment, uint32_t payload, const bool ipv6)
{
	const uint32_t tcp_at = ETHERNET_BYTES + (ipv6 ? IP6_HLEN : IP_HLEN);
	const struct tcp_hdr *tcp = (const void *)((const uint8_t *)buf->data + tcp_at);
	uint32_t data_at = tcp_at + segment - payload;
	struct pbuf *p;
	bool row;

	row = tcp_straight(pcb, tcp);
	if (!payload)
		return row ? STRAIGHT_ROW : STRAIGHT_DONE;
	if (tcp_straight_in_place(pcb, (const uint8_t *)buf->data + data_at, payload, netif))
		return STRAIGHT_DONE;
	p = rxpool_packet(buf, bytes);
	if (UNLIKELY(!p)) {
		tcp_straight_lost(pcb, payload, netif);
		return STRAIGHT_KEPT;
	}
	tcp = (const void *)((uint8_t *)p->payload + tcp_at); // it may have been copied aside
	p->payload = (uint8_t *)p->payload + data_at;
	p->len = p->tot_len = (u16_t)payload;
	tcp_straight_data(pcb, tcp, p, netif);
	return STRAIGHT_KEPT;
}

// ---- acknowledgements that wait for what comes behind them -------------------------------------------
// A client that has got its answer acknowledges it and asks for more, and when we look at a batch both are there. The
// request says all that the acknowledgement said, so a bare acknowledgement waits until the rest of the batch has been
// looked at: when a segment of its connection comes that the straight way takes, it is passed over, as if it had been
// lost on its way; when one comes that it does not take, it goes before that, and before what is no segment for the
// straight way at all; else it is last.
//
//     straight_waits --> waits --a segment that is taken--> passed over
//                         |  |---another, straight_before--> straight_receive, then that one
//                         +------end of batch, straight_left--> straight_receive

#define BARE	   PP_HTONS(TCP_HLEN / 4 << 12 | TCP_ACK)
#define BARE_TIMES PP_HTONS((TCP_HLEN + LWIP_TCP_OPT_LEN_TS_OUT) / 4 << 12 | TCP_ACK)
#define TIMES_KIND PP_HTONL(0x0101080a) // two NOPs, RFC 7323's option
#define BARE_MOST  (sizeof(struct headers) + LWIP_TCP_OPT_LEN_TS_OUT)

typedef uint64_t word64 __attribute__((may_alias, aligned(1)));
typedef uint32_t word32 __attribute__((may_alias, aligned(1)));

// A segment that does nothing but acknowledge, with time stamps or without any option.
static inline bool is_bare(const struct tcp_hdr *tcp, uint32_t segment)
{
	if (tcp->_hdrlen_rsvd_flags == BARE)
		return segment == TCP_HLEN;
	return tcp->_hdrlen_rsvd_flags == BARE_TIMES &&
	       segment == TCP_HLEN + LWIP_TCP_OPT_LEN_TS_OUT &&
	       *(const word32 *)(tcp + 1) == TIMES_KIND;
}

// Of a batch, empty between two: a place for each value of the lower byte of the peer's port; and those where something
// waits or did.
#define WAITS 256U
static struct netbuf *waits[WAITS], **came[WAITS];
static uint32_t came_count;

static inline const struct headers *headers_of(const struct netbuf *frame)
{
	const struct rxbuf *buf = frame->cookie;

	return (const void *)buf->data;
}

static inline struct netbuf **place_of(const struct headers *h)
{
	return &waits[PP_NTOHL(h->ports) >> 16 & (WAITS - 1)];
}

ONE_CALLER bool straight_waits(struct netbuf *frame)
{
	const struct headers *h = headers_of(frame);
	struct netbuf **place = place_of(h);

	if (frame->bytes > BARE_MOST || (h->what & WHAT_MASK) != WHAT ||
	    !is_bare(&h->tcp, PP_NTOHS(h->length) - (uint32_t)IP_HLEN) || *place ||
	    came_count == WAITS || !tcp_is_guessed(h->addresses, h->ports))
		return false;
	*place = frame;
	came[came_count++] = place;
	return true;
}

struct netbuf *straight_left(void)
{
	while (came_count) {
		struct netbuf **place = came[--came_count], *frame = *place;

		*place = NULL;
		if (frame)
			return frame;
	}
	return NULL;
}

// A segment that is taken says all that the other did, which told of more than is known and of nothing else.
static inline bool says_all(const struct headers *h, const struct headers *other,
			    const struct tcp_pcb *pcb)
{
	uint32_t ack = PP_NTOHL(other->tcp.ackno);

	return other->what == h->what && (other->whole & WHOLE_MASK) == WHOLE &&
	       other->tcp.seqno == h->tcp.seqno && TCP_SEQ_GT(ack, pcb->lastack) &&
	       TCP_SEQ_GEQ(PP_NTOHL(h->tcp.ackno), ack);
}

static struct netbuf *first; // of those that waited; see straight_before

struct netbuf *straight_before(enum straight way)
{
	if (way == STRAIGHT_NEXT)
		return first;
	return way == STRAIGHT_NOT ? straight_left() : NULL;
}

enum before { NOTHING, PASSED, FIRST };
// Something waits there: what becomes of it, if it is of the segment's connection, which takes the segment or not
// (null).
static inline enum before look_before(struct netbuf **place, const struct headers *h,
				      const struct tcp_pcb *pcb)
{
	struct netbuf *frame = *place;
	const struct headers *other = headers_of(frame);

	if (other->addresses != h->addresses || other->ports != h->ports)
		return NOTHING;
	*place = NULL;
	if (UNLIKELY(!pcb || !says_all(h, other, pcb))) {
		first = frame;
		return FIRST;
	}
	tcp_straight_in++;
	passed_over++;
	return PASSED;
}

// What is no plain IPv4 packet.
static __attribute__((noinline)) enum straight receive6(struct netif *netif, struct rxbuf *buf,
							uint32_t bytes)
{
	const struct headers6 *h = (const void *)buf->data;
	uint32_t segment = PP_NTOHS(h->length);
	uint32_t payload = segment - tcp_straight_header(&h->tcp);
	struct tcp_pcb *pcb;

	if (!plain6(h, bytes) || !sound6(h, segment)) {
		tcp_straight_settle(netif);
		return STRAIGHT_NOT;
	}
	pcb = tcp_straight_takes6(&h->addresses, h->ports, &h->tcp, payload, netif);
	if (UNLIKELY(!pcb))
		return STRAIGHT_NOT;
	return established(netif, pcb, buf, bytes, segment, payload, true);
}

ONE_CALLER enum straight straight_receive(struct netif *netif, struct rxbuf *buf, uint32_t bytes)
{
	const struct headers *h = (const void *)buf->data;
	uint32_t segment = PP_NTOHS(h->length) - IP_HLEN;
	uint32_t payload = segment - tcp_straight_header(&h->tcp);
	struct netbuf **place = place_of(h);
	enum before before = NOTHING;
	struct tcp_pcb *pcb;
	struct pbuf *p;

	if (!plain(h, bytes) || !sound(h, segment))
		return receive6(netif, buf, bytes);
	pcb = tcp_straight_takes(h->addresses, h->ports, &h->tcp, payload, netif);
	if (*place && (before = look_before(place, h, pcb)) == FIRST)
		return STRAIGHT_NEXT;
	if (LIKELY(pcb)) {
		enum straight way = established(netif, pcb, buf, bytes, segment, payload, false);
		return before == PASSED && !payload ? STRAIGHT_ROW : way;
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

static inline const uint8_t *frame_of(const struct netbuf *frame)
{
	return phys_to_virt(frame->addr);
}

static inline uint64_t word_at(const uint8_t *f)
{
	return *(const word64 *)(const void *)f;
}

static inline uint32_t half_at(const uint8_t *f)
{
	return *(const word32 *)(const void *)f;
}

// How many behind the first are of the same connection and shape, have the same sequence number, and each acknowledges
// more than the one before. Compared are words, as wide as they can be, with the first's, which stay in registers.
static inline __attribute__((always_inline)) uint32_t count_more(const struct netbuf *frames,
								 uint32_t count, const bool ipv6)
{
	const uint32_t tcp_at = ETHERNET_BYTES + (ipv6 ? IP6_HLEN : IP_HLEN);
	const uint32_t link_at = ETHERNET_BYTES - 4; // to IPv4's length, or IPv6's flow label
	const uint32_t rest_at =
	    ipv6 ? offsetof(struct headers6, length) : offsetof(struct headers, whole);
	const uint32_t rest_mask =
	    ipv6 ? PP_HTONL(0xffffff00) : WHOLE_MASK; // but for the hops left
	const uint8_t *first = frame_of(frames);
	const struct tcp_hdr *tcp = (const void *)(first + tcp_at);
	const uint64_t link = word_at(first + link_at), ports_and_seq = word_at(first + tcp_at);
	const uint64_t addresses =
	    word_at(first + tcp_at - 8); // of IPv6's, the last of four such words
	const uint32_t rest = half_at(first + rest_at), bytes = frames->bytes;
	const uint16_t shape = tcp->_hdrlen_rsvd_flags;
	const struct netbuf *frame = frames + 1;
	uint32_t ack = PP_NTOHL(tcp->ackno), more;

	for (; frame < frames + count && frame->bytes == bytes; frame++, ack = more) {
		const uint8_t *f = frame_of(frame);
		tcp = (const void *)(f + tcp_at);
		if (word_at(f + tcp_at) != ports_and_seq || word_at(f + tcp_at - 8) != addresses ||
		    word_at(f + link_at) != link || (half_at(f + rest_at) ^ rest) & rest_mask ||
		    tcp->_hdrlen_rsvd_flags != shape ||
		    (shape == BARE_TIMES && half_at(f + tcp_at + TCP_HLEN) != TIMES_KIND))
			break;
		if (ipv6 && (word_at(f + 22) != word_at(first + 22) ||
			     word_at(f + 30) != word_at(first + 30) ||
			     word_at(f + 38) != word_at(first + 38)))
			break;
		more = PP_NTOHL(tcp->ackno);
		if (!TCP_SEQ_GT(more, ack))
			break;
	}
	return (uint32_t)(frame - frames) - 1;
}

// The frame is of an established connection with nothing lost and nothing pending, and acknowledges more than is known.
static inline __attribute__((always_inline)) bool
goes_on(const uint8_t *f, const struct netif *netif, const bool ipv6)
{
	const struct headers *h = (const void *)f;
	const struct headers6 *h6 = (const void *)f;
	const tcpflags_t unusual = ipv6 ? UNUSUAL : UNUSUAL4;
	struct tcp_pcb *pcb = ipv6 ? tcp_find6(&h6->addresses, h6->ports, netif_get_index(netif))
				   : tcp_find(h->addresses, h->ports);

	return pcb && pcb->state == ESTABLISHED &&
	       !(UNLIKELY(is_marked(pcb, unusual)) && is_unusual(pcb, unusual)) &&
	       TCP_SEQ_GT(PP_NTOHL(ipv6 ? h6->tcp.ackno : h->tcp.ackno), pcb->lastack);
}

static inline __attribute__((always_inline)) uint32_t
pass_over(const struct netif *netif, const struct netbuf *frames, uint32_t count, const bool ipv6)
{
	const uint32_t tcp_at = ETHERNET_BYTES + (ipv6 ? IP6_HLEN : IP_HLEN);
	const uint8_t *f = frame_of(frames);
	uint32_t bytes = frames->bytes, segment, last;

	segment =
	    ipv6 ? PP_NTOHS(((const struct headers6 *)(const void *)f)->length)
		 : PP_NTOHS(((const struct headers *)(const void *)f)->length) - (uint32_t)IP_HLEN;
	if (bytes < tcp_at + TCP_HLEN || !is_bare((const void *)(f + tcp_at), segment))
		return 0;
	last = count_more(frames, count, ipv6);
	if (!last)
		return 0;
	f = frame_of(frames + last);
	if (ipv6 ? !plain6((const void *)f, bytes) || !sound6((const void *)f, segment)
		 : !plain((const void *)f, bytes) || !sound((const void *)f, segment))
		return 0;
	if (!goes_on(frame_of(frames), netif, ipv6)) // may wake one that is parked: after the sum
		return 0;
	tcp_straight_in += last;
	tcp_straight_in6 += ipv6 ? last : 0;
	passed_over += last;
	return last;
}

uint32_t straight_row(const struct netif *netif, const struct netbuf *frames, uint32_t count)
{
	const struct headers *h = (const void *)frame_of(frames);

	if (count < 2)
		return 0;
	return (h->what & PP_HTONL(0xffff0000)) == PP_HTONL(0x86dd0000)
		   ? pass_over(netif, frames, count, true)
		   : pass_over(netif, frames, count, false);
}
