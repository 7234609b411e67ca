// SPDX-License-Identifier: BSD-2-Clause
// What an operator is told of a card's IPv4 address: that none has come (once, ten seconds after the start), and
// that another machine has ours. Fast WTD context.
#pragma once

#include "lwip/netif.h"

struct pbuf;
// From the start, thread context with WTDs disabled: when the time is over, says why a card has no address yet.
void address_watch_start(void);
// netif->input of a card: looks at ARP, and hands every frame on to lwIP, whose the pbuf is from then on.
err_t address_watch_input(struct pbuf *p, struct netif *netif);
