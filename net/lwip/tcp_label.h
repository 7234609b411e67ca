// SPDX-License-Identifier: BSD-2-Clause
// The flow label of TCP's packets over IPv6 (RFC 6437): the same for all of a connection, from the SYN-ACK, be it a
// cookie, to TIME_WAIT's last acknowledgement and resets; to nobody else a connection's. So routers with several ways
// keep a connection on one of them without a look at its ports. It is made of addresses and ports alone: the general
// way writes it into each packet as it leaves (net/netdev.c), the straight way keeps it in ip_id, for which a pcb over
// IPv6 has no other use. Fast WTD context.
#pragma once

#include "lwip/tcp.h"

// Of a packet that lies there, IPv6's header with TCP's behind it. Never 0.
uint16_t tcp_label_of(const void *ip6);
// The same of a connection's packets, for its ip_id.
uint16_t tcp_label_make(const struct tcp_pcb *pcb);

// The 20 bits that are on the wire, of these 16.
static inline uint32_t tcp_label(uint16_t made)
{
	return (uint32_t)made << 4 | made >> 12;
}

static inline uint16_t tcp_label_known(struct tcp_pcb *pcb)
{
	if (!pcb->ip_id)
		pcb->ip_id = tcp_label_make(pcb);
	return pcb->ip_id;
}
