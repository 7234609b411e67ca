// SPDX-License-Identifier: BSD-2-Clause
// The straight way in for a TCP segment in a plain IPv4 packet (net/straight.c).
#pragma once

#include "kernel/netdev.h"
#include "lwip/netif.h"
#include "net/rxpool.h"

// What is to be said of the frame's buffer, but for the last one.
enum straight {
	STRAIGHT_DONE = NETDEV_RX_DONE, // a sound TCP segment for us, and TCP has had it
	STRAIGHT_KEPT = NETDEV_RX_KEPT, // the same
	STRAIGHT_ROW =
	    NETDEV_RX_ROW, // the same; a connection acknowledges for the second time in a row
	STRAIGHT_NOT,	   // nothing was done; the general way (netif->input) decides
};

// The frame of `bytes` bytes in a buffer that is the card's. Fast WTD context.
enum straight straight_receive(struct netif *netif, struct rxbuf *buf, uint32_t bytes);
// How many of the frames from the first, of `bytes` bytes each, are bare acknowledgements that one behind them,
// sound and of the same connection, makes superfluous. They are counted as received.
uint32_t straight_row(const struct netif *netif, const struct netbuf *frames, uint32_t count,
		      uint32_t bytes);
extern bool straight_on;	  // tests compare both ways
extern uint64_t straight_general; // segments that came this way to tcp_input
