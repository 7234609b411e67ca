// SPDX-License-Identifier: BSD-2-Clause
// Segments without data for connections that have no PCB: SYN-ACKs for half-open ones, ACKs for those in
// TIME_WAIT. Fast WTD context.
#pragma once

#include "kernel/base.h"
#include "tcp_hash.h"

struct tcp_bare {
	uint32_t seqno, ackno;
	uint16_t window;
	uint8_t flags;
	uint8_t netif_idx; // the interface to use where no route says which
	uint16_t mss;	   // in a SYN: the option, cut to what the interface takes; 0: none
	bool scale, sack;  // in a SYN: window scale, SACK permitted (RFC 7323, 2018)
	bool timestamps;
	uint32_t ts_offset, ts_echo; // TSval is that of now with this offset; TSecr
};

// lwIP's place of the neighbour that the last one went to: a hint for what goes the same way next.
extern uint16_t tcp_bare_neighbour;

// Sends it. Nothing happens when memory is short or no interface fits: such segments are sent again when
// the peer asks again.
void tcp_bare_send(const struct tcp_tuple *tuple, const struct tcp_bare *segment);
