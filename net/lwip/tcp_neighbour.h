// SPDX-License-Identifier: BSD-2-Clause
// What the straight way asks ARP and nd6 about a connection's peer, and tells nd6, through the place that an earlier
// packet left in the pcb: RFC 826; RFC 4861, 7.2 and 7.3. Whatever takes more than a look is theirs, by the general
// way. Fast WTD context.
//
//     destination --next hop--> neighbour: REACHABLE, DELAY, PROBE    its Ethernet address is good
//                                          STALE                      its delay begins with the next packet: nd6's
//                                          INCOMPLETE, none           the packet waits there
#pragma once

#include "lwip/etharp.h"
#include "lwip/nd6.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/prot/ethernet.h"
#include "lwip/tcp.h"

static inline bool tcp_same6(const ip6_addr_t *one, const ip6_addr_t *other)
{
	typedef uint64_t word64 __attribute__((may_alias, aligned(4)));
	const word64 *a = (const void *)one->addr, *b = (const void *)other->addr;

	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (ip6_addr_zone(one) ^ ip6_addr_zone(other)));
}

// The entry of the neighbour by which packets to the peer go; null: a search would have to find it.
static inline struct nd6_neighbor_cache_entry *tcp_neighbour6(const ip6_addr_t *peer,
							      netif_addr_idx_t hint)
{
	struct nd6_destination_cache_entry *destination = &destination_cache[hint];
	struct nd6_neighbor_cache_entry *neighbour;

	if (hint >= LWIP_ND6_NUM_DESTINATIONS || !tcp_same6(peer, &destination->destination_addr))
		return NULL;
	neighbour = &neighbor_cache[destination->cached_neighbor_idx];
	return tcp_same6(&destination->next_hop_addr, &neighbour->next_hop_address) ? neighbour
										    : NULL;
}

// Where ethip6_output would send a packet of so many bytes (of IPv6) to; null: there is more to do than to send it.
static inline const struct eth_addr *tcp_neighbour6_known(const struct netif *netif,
							  const ip6_addr_t *peer,
							  netif_addr_idx_t hint, uint32_t bytes)
{
	const struct nd6_neighbor_cache_entry *neighbour = tcp_neighbour6(peer, hint);
	struct nd6_destination_cache_entry *destination = &destination_cache[hint];

	if (!neighbour || neighbour->netif != netif || neighbour->state < ND6_REACHABLE ||
	    neighbour->state == ND6_STALE || bytes > destination->pmtu || bytes > netif_mtu6(netif))
		return NULL;
	destination->age = 0;
	return (const void *)neighbour->lladdr;
}

// nd6_reachability_hint: the peer's connection gets on, so packets reach it.
static inline void tcp_neighbour6_reached(const ip6_addr_t *peer, netif_addr_idx_t hint)
{
	struct nd6_neighbor_cache_entry *neighbour = tcp_neighbour6(peer, hint);

	if (UNLIKELY(!neighbour || neighbour->state < ND6_REACHABLE)) {
		nd6_reachability_hint(peer);
		return;
	}
	neighbour->state = ND6_REACHABLE;
	neighbour->counter.reachable_time = reachable_time;
}

// Where the connection's segments go, with a TCP header of so many bytes; null: that is for lwIP's layers to find out.
static inline __attribute__((always_inline)) const struct eth_addr *
tcp_neighbour_known(const struct netif *netif, const struct tcp_pcb *pcb, uint32_t header,
		    const bool ipv6)
{
	netif_addr_idx_t hint = pcb->netif_hints.addr_hint;

	if (ipv6)
		return tcp_neighbour6_known(netif, ip_2_ip6(&pcb->remote_ip), hint,
					    IP6_HLEN + header + pcb->mss);
	return etharp_known(netif, ip_2_ip4(&pcb->remote_ip), hint);
}
