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
	STRAIGHT_NOT,  // nothing was done; the general way (netif->input) decides
	STRAIGHT_NEXT, // nothing was done; one that waited comes first (straight_before)
};

// The frame of `bytes` bytes in a buffer that is the card's; its interface is up. Fast WTD context.
enum straight straight_receive(struct netif *netif, struct rxbuf *buf, uint32_t bytes);
// The same of frames that lie in one array until the last of their batch has been looked at: true: it is a bare
// acknowledgement over IPv4 that waits, for a later one of its connection may make it superfluous, which is then
// counted as received. The others must be taken with straight_left, one by one, behind the last frame; null: none is
// left.
bool straight_waits(struct netbuf *frame);
struct netbuf *straight_left(void);
// What straight_receive said of a frame that did not wait: one that did is to be received before it, then it again;
// null: there is none.
struct netbuf *straight_before(enum straight way);
// How many of the frames from the first, received by the interface, are bare acknowledgements of the same length that
// one behind them, sound and of the same connection, makes superfluous: an established connection to which nothing is
// missing. They are counted as received.
uint32_t straight_row(const struct netif *netif, const struct netbuf *frames, uint32_t count);
extern bool straight_on;	  // tests compare both ways
extern uint64_t straight_general; // segments that came this way to tcp_input
