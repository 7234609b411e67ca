// SPDX-License-Identifier: BSD-2-Clause
// The straight way in for a TCP segment in a plain IPv4 packet (net/straight.c).
#pragma once

#include "lwip/netif.h"
#include "net/rxpool.h"

enum straight {
	STRAIGHT_NOT,  // nothing was done; the general way (netif->input) decides
	STRAIGHT_DONE, // a sound TCP segment for us; TCP has had it, and the buffer is done with
	STRAIGHT_KEPT, // the same, but the buffer is the stack's, or the pool's already
};

// The frame of `bytes` bytes in a buffer that is the card's. Fast WTD context.
enum straight straight_receive(struct netif *netif, struct rxbuf *buf, uint32_t bytes);
extern bool straight_on;	  // tests compare both ways
extern uint64_t straight_general; // segments that came this way to tcp_input
