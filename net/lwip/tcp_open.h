// SPDX-License-Identifier: BSD-2-Clause
// The straight way for the beginning of a connection: a SYN for a port that listens, and the acknowledgement of our
// SYN-ACK, where they lie in the receive buffer (tcp_open.c). Called by net/straight.c for a TCP segment in a plain
// IPv4 packet that is sound, comes from where a station can be, has no payload and was not taken by
// tcp_straight_takes. Fast WTD context.
#pragma once

#include "lwip/netif.h"
#include "lwip/prot/tcp.h"

// Does what tcp_input would with the segment between these addresses and ports (as they lie in the packet, the
// source's first). The connection that it opened may be gone. False: nothing was done, it is tcp_input's.
bool tcp_open(uint64_t addresses, uint32_t ports, const struct tcp_hdr *header,
	      struct netif *netif);
