// SPDX-License-Identifier: BSD-2-Clause
// Which connection a segment on the straight way is of (stage 4 of the read path): by its addresses and ports as they
// lie in its packet. A guess by the peer's port comes first, then the table of all connections. Fast WTD context.
//
//     IPv4    both addresses are one word of the pcb's, both ports another
//     IPv6    the pcb's addresses, and the zone of those that have one: of the interface it came by; TF_WIRE6
//
// A pcb over IPv6 may look like one of IPv4's, between nobody and nobody: whoever takes segments over IPv4 has TF_WIRE6
// among what is unusual (tcp_rare.h).
#pragma once

#include "lwip/netif.h"
#include "lwip/tcp.h"
#include "tcp_hash.h"

// IPv6's, as they lie in a packet.
struct tcp_addresses6 {
	uint8_t source[16], dest[16];
};

static inline bool tcp_is_between(const struct tcp_pcb *pcb, uint64_t addresses, uint32_t ports)
{
	return pcb->wire_addresses == addresses && pcb->wire_ports == ports;
}

// An address of lwIP's, and one in a packet that came by the interface with that index.
static inline bool tcp_is_address6(const ip6_addr_t *address, const uint8_t *packed, uint8_t index)
{
	typedef uint64_t word64 __attribute__((may_alias, aligned(1)));
	const word64 *a = (const void *)address->addr, *b = (const void *)packed;

	return !((a[0] ^ b[0]) | (a[1] ^ b[1])) &&
	       (!ip6_addr_has_zone(address) || ip6_addr_equals_zone(address, index));
}

static inline bool tcp_is_between6(const struct tcp_pcb *pcb,
				   const struct tcp_addresses6 *addresses, uint32_t ports,
				   uint8_t index)
{
	return pcb->wire_ports == ports && pcb->flags & TF_WIRE6 &&
	       tcp_is_address6(ip_2_ip6(&pcb->remote_ip), addresses->source, index) &&
	       tcp_is_address6(ip_2_ip6(&pcb->local_ip), addresses->dest, index);
}

// In the table, and from now on by the guess.
struct tcp_pcb *tcp_find_hashed(uint64_t addresses, uint32_t ports, uint16_t guess);
struct tcp_pcb *tcp_find_hashed6(const struct tcp_addresses6 *addresses, uint32_t ports,
				 uint8_t index, uint16_t guess);

static inline uint16_t tcp_guess_of(uint32_t ports)
{
	return lwip_ntohs((uint16_t)ports) % TCP_HASH_GUESSES; // the peer's
}

// The guess is a connection that is between these.
static inline bool tcp_is_guessed(uint64_t addresses, uint32_t ports)
{
	struct tcp_hash_node *node = tcp_hash_guesses[tcp_guess_of(ports)];

	return node && tcp_is_between(CONTAINER_OF(node, struct tcp_pcb, node), addresses, ports);
}

// Null: none.
static inline struct tcp_pcb *tcp_find(uint64_t addresses, uint32_t ports)
{
	uint16_t guess = tcp_guess_of(ports);
	struct tcp_hash_node *node = tcp_hash_guesses[guess];

	if (LIKELY(node &&
		   tcp_is_between(CONTAINER_OF(node, struct tcp_pcb, node), addresses, ports)))
		return CONTAINER_OF(node, struct tcp_pcb, node);
	return tcp_find_hashed(addresses, ports, guess);
}

static inline struct tcp_pcb *tcp_find6(const struct tcp_addresses6 *addresses, uint32_t ports,
					uint8_t index)
{
	uint16_t guess = tcp_guess_of(ports);
	struct tcp_hash_node *node = tcp_hash_guesses[guess];

	if (LIKELY(node && tcp_is_between6(CONTAINER_OF(node, struct tcp_pcb, node), addresses,
					   ports, index)))
		return CONTAINER_OF(node, struct tcp_pcb, node);
	return tcp_find_hashed6(addresses, ports, index, guess);
}
