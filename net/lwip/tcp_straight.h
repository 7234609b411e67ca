// SPDX-License-Identifier: BSD-2-Clause
// What happens a million times on an established connection, as one page of code (tcp_straight.c). Called by
// net/straight.c for a TCP segment in a plain IPv4 packet that is sound. Fast WTD context.
//
//	pcb = tcp_straight_takes(dest, source, header, payload_bytes, netif);
//	if (pcb)
//		tcp_straight(pcb, header, payload or null, netif);
//	else
//		... tcp_input
#pragma once

#include "lwip/netif.h"
#include "lwip/prot/tcp.h"
#include "lwip/tcp.h"

// The connection of a segment from `source` to `dest`, network byte order as all of the header, with so many
// bytes of payload; null: none, or the segment is not one that tcp_straight knows what to do with. What
// other connections acknowledged is settled.
struct tcp_pcb *tcp_straight_takes(uint32_t dest, uint32_t source, const struct tcp_hdr *header,
				   uint32_t bytes, struct netif *netif);
// Does what tcp_input would, but for what tcp_straight_settle does. `payload` (null: none) is the stack's; the
// connection may be gone afterwards.
void tcp_straight(struct tcp_pcb *pcb, const struct tcp_hdr *header, struct pbuf *payload,
		  struct netif *netif);
// Frees what the last segments acknowledged, tells the server and sends what came of it. Before anything else
// is done with any connection, and at the end of a batch. The interface is the one they came by.
void tcp_straight_settle(struct netif *netif);
