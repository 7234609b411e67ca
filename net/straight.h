// SPDX-License-Identifier: BSD-2-Clause
// The straight way in for a TCP segment in a plain IPv4 or IPv6 packet (net/straight.c).
#pragma once

#include "kernel/netdev.h"
#include "lwip/netif.h"
#include "net/rxpool.h"

enum straight {
	STRAIGHT_DONE, // a sound TCP segment for us, and TCP has had it
	STRAIGHT_KEPT, // the same; the buffer is no longer the card's
	STRAIGHT_ROW, // done; a connection acknowledges for the second time in a row: straight_row may find more
	STRAIGHT_NOT, // nothing was done; the general way (netif->input) decides
};

// The frame of `bytes` bytes in a buffer that is the card's; its interface is up. Fast WTD context.
enum straight straight_receive(struct netif *netif, struct rxbuf *buf, uint32_t bytes);
// How many of the frames from the first, received by the interface, are bare acknowledgements of the same length that
// one behind them, sound and of the same connection, makes superfluous: an established connection to which nothing is
// missing. They are counted as received.
uint32_t straight_row(const struct netif *netif, const struct netbuf *frames, uint32_t count);
extern bool straight_on;	  // tests compare both ways
extern uint64_t straight_general; // segments that came this way to tcp_input
