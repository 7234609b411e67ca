// SPDX-License-Identifier: BSD-2-Clause
// The straight way for the end of a connection: the peer's FIN, and the acknowledgements of ours, where they lie in the
// receive buffer (tcp_leave.c). Called by net/straight.c for a TCP segment in a plain IPv4 packet that is sound, has no
// payload and was not taken by tcp_straight_takes. Fast WTD context.
#pragma once

#include "lwip/netif.h"
#include "lwip/prot/tcp.h"

// Does what tcp_input would with the segment between these addresses and ports (as they lie in the packet, the
// source's first). Its connection may be gone. False: nothing was done.
bool tcp_leave(uint64_t addresses, uint32_t ports, const struct tcp_hdr *header,
	       struct netif *netif);
