// SPDX-License-Identifier: BSD-2-Clause
// The TCP/IP stack's start, its timers and its addresses. lwIP runs in fast WTD context on one
// processor; a thread that wants to call it does so between wtd_disable and wtd_enable.
#pragma once

#include "kernel/base.h"

void stack_init(
    void); // boot: lwIP, one interface per netdev, DHCP or the `ip=` line; thread context
// Called (fast WTD context) when an interface gets its first IPv4 address, and again when it gets one after it had
// none; with ip=off its first IPv6 address that is not link-local, in brackets as in a URL. For the ready line.
void stack_set_address_hook(void (*fn)(const char *address_text));
bool stack_address_text(char *out,
			size_t size); // first interface's IPv4, else IPv6; false: none yet
// Sends what was queued in this batch and rings each card's doorbell once. Called by whoever produced
// output outside the receive path (which does it at the end of its batch). Fast WTD context.
void stack_flush(void);

// How many receive buffers a full window of full segments of this connection comes in. It may grow
// (net/lwip/tcp_rcvbuf.h).
struct tcp_pcb;
uint32_t stack_window_buffers(const struct tcp_pcb *pcb);

// Over loopback the pages of the file cache come as they lie, and with cache=unmapped nobody can read them. For a
// server that does: the same bytes in memory that is mapped, as few of them copied as possible (site="stream_head");
// null: no memory, and the packet is as it was. Fast WTD context.
struct pbuf;
struct pbuf *stack_mapped(struct pbuf *p);
extern bool stack_unmapped_seen; // such a page has come
static inline struct pbuf *stack_readable(struct pbuf *p)
{
	return UNLIKELY(stack_unmapped_seen) ? stack_mapped(p) : p;
}
