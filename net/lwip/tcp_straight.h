// SPDX-License-Identifier: BSD-2-Clause
// What happens a million times on an established connection, as one page of code (tcp_straight.c). Called by
// net/straight.c for a TCP segment in a plain IPv4 packet that is sound. Fast WTD context.
//
//	pcb = tcp_straight_find(dest, source, ports);
//	if (pcb && tcp_straight_takes(pcb, header, payload_bytes))
//		tcp_straight(pcb, header, payload or null, netif);
//	else
//		... tcp_input
#pragma once

#include "lwip/netif.h"
#include "lwip/prot/tcp.h"
#include "lwip/tcp.h"

// The connection of a segment from `source` to `dest`, network byte order as all of the header; or null.
struct tcp_pcb *tcp_straight_find(uint32_t dest, uint32_t source, const struct tcp_hdr *header);
// Whether the segment, with so many bytes of payload, is one that tcp_straight knows what to do with.
// Nothing is changed.
bool tcp_straight_takes(const struct tcp_pcb *pcb, const struct tcp_hdr *header, uint32_t bytes);
// Does what tcp_input would. `payload` (null: none) is the stack's; the connection may be gone afterwards.
void tcp_straight(struct tcp_pcb *pcb, const struct tcp_hdr *header, struct pbuf *payload,
		  struct netif *netif);
