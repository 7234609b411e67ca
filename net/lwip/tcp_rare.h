// SPDX-License-Identifier: BSD-2-Clause
// What sends an established connection's segment the general way, whatever the segment: tcp_straight.c asks first.
// Most of it is in the pcb's flags; the rest is asked for one by one only after somebody has marked the connection
// (TF_RARE), as everybody must who sets any of it. Fast WTD context.
#pragma once

#include "lwip/priv/tcp_priv.h"

#define UNUSUAL                                                                                    \
	(TF_INFR | TF_RTO | TF_RXCLOSED | TF_CLOSEPEND | TF_NAGLEMEMERR | TF_ACK_NOW | TF_FIN |    \
	 TF_CAREFUL | TF_FRAGMENTED)
// Of a segment over IPv4. A connection over IPv6 is none of its.
#define UNUSUAL4 (UNUSUAL | TF_WIRE6)

static inline bool is_rare(const struct tcp_pcb *pcb)
{
	return pcb->ooseq || LWIP_TCP_SACK_VALID(pcb, 0) || pcb->refused_data ||
	       pcb->persist_backoff || pcb->netif_idx != NETIF_NO_INDEX;
}

// Something in its flags says so, among them UNUSUAL or UNUSUAL4. What was only suspected is forgotten.
static inline __attribute__((cold)) bool is_unusual(struct tcp_pcb *pcb, tcpflags_t unusual)
{
	if (pcb->flags & unusual || is_rare(pcb))
		return true;
	tcp_clear_flags(pcb, TF_RARE);
	return false;
}

// What is rare has its mark: the host's tests find out who forgets it.
static inline bool is_marked(const struct tcp_pcb *pcb, tcpflags_t unusual)
{
#ifdef PAGEWIRE_HOST
	LWIP_ASSERT("TF_RARE is where it has to be", pcb->flags & TF_RARE || !is_rare(pcb));
#endif
	return pcb->flags & (unusual | TF_RARE);
}
