// SPDX-License-Identifier: BSD-2-Clause
// What lwIP and the straight ways ask of parked connections (include/net/park.h; tcp_park.c). Fast WTD context.
// Included by lwIP's tcp.c and tcp_in.c.
#pragma once

#include "lwip/tcp.h"
#include "tcp_hash.h"

// Whether an entry of kind TCP_HASH_PARKED is the connection between these ends; between these, as they lie in a packet
// that comes in (pcb->wire_addresses, wire_ports; over IPv6 by the interface with that index). The first: within
// tcp_input, which knows the interface.
bool tcp_park_is(const struct tcp_hash_node *node, const struct tcp_tuple *tuple);
bool tcp_park_is_between(const struct tcp_hash_node *node, uint64_t addresses, uint32_t ports);
struct tcp_addresses6;
bool tcp_park_is_between6(const struct tcp_hash_node *node, const struct tcp_addresses6 *addresses,
			  uint32_t ports, uint8_t index);
// A segment has come for it: its PCB. Null: there is no memory, and the segment is to be dropped (counted).
struct tcp_pcb *tcp_park_wake(struct tcp_hash_node *node);
// One of our addresses goes, and all that are parked there.
void tcp_park_address_gone(const ip_addr_t *old);
