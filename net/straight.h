// SPDX-License-Identifier: BSD-2-Clause
// The straight way in for a TCP segment in a plain IPv4 packet (net/straight.c).
#pragma once

#include "lwip/netif.h"
#include "net/rxpool.h"

// Fast WTD context. True: the frame of `bytes` bytes in the buffer was a sound TCP segment for us; TCP has had it,
// the buffer is the pool's or the stack's. False: nothing was done; the general way (netif->input) decides.
bool straight_receive(struct netif *netif, struct rxbuf *buf, uint32_t bytes);
extern bool straight_on; // tests compare both ways
