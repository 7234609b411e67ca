// SPDX-License-Identifier: BSD-2-Clause
// The straight way in for a TCP segment in a plain IPv4 packet (net/straight.c).
#pragma once

#include "lwip/netif.h"
#include "lwip/pbuf.h"

// Fast WTD context. True: the frame was a sound TCP segment for us, and has been given to tcp_input (the
// pbuf is the stack's). False: nothing was done; the general way (netif->input) decides.
bool straight_input(struct netif *netif, struct pbuf *p);
extern bool straight_on; // tests compare both ways
