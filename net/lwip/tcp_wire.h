// SPDX-License-Identifier: BSD-2-Clause
// Ethernet's and IPv4's headers (RFC 791, 3.1) of a TCP packet that goes the straight way out, as the general
// way writes them; fields as they lie, neighbours that are known together as one word. Fast WTD context.
#pragma once

#include "lwip/netif.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"

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
