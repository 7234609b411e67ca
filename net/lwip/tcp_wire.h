// SPDX-License-Identifier: BSD-2-Clause
// Ethernet's and IP's headers (RFC 791, 3.1; RFC 8200, 3) of a TCP packet that goes the straight way out, as the
// general way writes them; fields as they lie, neighbours that are known together as one word. Fast WTD context.
#pragma once

#include "lwip/netif.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/tcp.h"
#include "lwip/tcp.h"
#include "tcp_label.h"

struct tcp_wire_head {
	struct eth_addr to, from;
	uint32_t what; // Ethernet's type, version and header length, type of service
	uint16_t length, id;
	uint32_t whole; // DF, no fragment, time to live, protocol
	uint16_t checksum;
	uint64_t addresses; // the source's first
} __attribute__((packed));
_Static_assert(sizeof(struct tcp_wire_head) == SIZEOF_ETH_HDR + IP_HLEN, "as on the wire");

// bytes: of the TCP segment; id: in the host's order. The card sums.
static inline void tcp_wire_put(struct tcp_wire_head *h, const struct eth_addr *to,
				const struct netif *netif, uint8_t tos, uint8_t ttl, uint16_t bytes,
				uint16_t id, uint64_t addresses)
{
	h->to = *to;
	h->from = *(const struct eth_addr *)netif->hwaddr;
	h->what = PP_HTONL(ETHTYPE_IP << 16 | 0x4500) | (uint32_t)tos << 24;
	h->length = lwip_htons((uint16_t)(bytes + IP_HLEN));
	h->id = lwip_htons(id);
	h->whole = PP_HTONL((uint32_t)IP_DF << 16 | IP_PROTO_TCP) | (uint32_t)ttl << 16;
	h->checksum = 0;
	h->addresses = addresses;
}

struct tcp_wire_head6 {
	struct eth_addr to, from;
	uint32_t what; // Ethernet's type, version, traffic class, the flow label's upper four bits
	uint16_t flow; // the others
	uint16_t length;
	uint8_t next, hops;
	uint8_t source[16], dest[16];
} __attribute__((packed));
_Static_assert(sizeof(struct tcp_wire_head6) == SIZEOF_ETH_HDR + IP6_HLEN, "as on the wire");

// The same over IPv6.
static inline void tcp_wire_put6(struct tcp_wire_head6 *h, const struct eth_addr *to,
				 const struct netif *netif, uint8_t tos, uint8_t ttl,
				 uint16_t bytes, uint32_t label, const ip6_addr_t *source,
				 const ip6_addr_t *dest)
{
	h->to = *to;
	h->from = *(const struct eth_addr *)netif->hwaddr;
	h->what =
	    lwip_htonl((uint32_t)ETHTYPE_IPV6 << 16 | 0x6000 | (uint32_t)tos << 4 | label >> 16);
	h->flow = lwip_htons((uint16_t)label);
	h->length = lwip_htons(bytes);
	h->next = IP_PROTO_TCP;
	h->hops = ttl;
	__builtin_memcpy(h->source, source->addr, sizeof(h->source));
	__builtin_memcpy(h->dest, dest->addr, sizeof(h->dest));
}

// Bytes of IP's header, and of it and Ethernet's.
static inline uint32_t tcp_ip_head(const bool ipv6)
{
	return ipv6 ? IP6_HLEN : IP_HLEN;
}

static inline uint32_t tcp_wire_head(const bool ipv6)
{
	return ipv6 ? sizeof(struct tcp_wire_head6) : sizeof(struct tcp_wire_head);
}

// Those of a connection's segment of so many bytes, of which the card makes so many frames.
static inline __attribute__((always_inline)) void
tcp_wire_put_of(struct tcp_pcb *pcb, void *h, const struct eth_addr *to, const struct netif *netif,
		uint16_t bytes, uint32_t frames, const bool ipv6)
{
	if (ipv6) {
		tcp_wire_put6(h, to, netif, pcb->tos, pcb->ttl, bytes,
			      tcp_label(tcp_label_known(pcb)), ip_2_ip6(&pcb->local_ip),
			      ip_2_ip6(&pcb->remote_ip));
		return;
	}
	tcp_wire_put(h, to, netif, pcb->tos, pcb->ttl, bytes, pcb->ip_id,
		     pcb->wire_addresses << 32 | pcb->wire_addresses >> 32); // theirs came first
	pcb->ip_id = (uint16_t)(pcb->ip_id + frames); // the card counts on from the first
}
