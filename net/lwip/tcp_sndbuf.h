// SPDX-License-Identifier: BSD-2-Clause
// How much a connection may have queued: TCP_SND_BUF, and more where a longer path carries more. What is queued are
// references, to pages of files nearly always, so more room costs nothing until it is used.
//
// A connection is given more while its congestion window grows (tcp_cwnd.c): twice the window, for what is in flight
// and what goes next, but no more than a gigabit carries in two of the path's round trips and TCP_SND_BUF_MAX. However
// short the path is, TCP_SND_BUF_NEAR may be queued: acknowledgements come in batches (an interrupt that is held back,
// a hypervisor that carries frames one way at a time), and while one is under way there has to be something to send.
//
// All connections together are given no more than tcp_sndbuf_most (hooks.h) says; when that is used up, those that
// have nothing queued give back theirs. A connection has no struct tcp_sndbuf until it is given something.
//
// tcp.c ends, tcp_cwnd.c grows, tcp_out.c asks for the bound on pbufs. Fast WTD context.
#pragma once

#include "kernel/base.h"
#include "lwip/tcp.h"

struct tcp_sndbuf {
	struct tcp_pcb *pcb;
	struct tcp_sndbuf *next, **link;
	uint32_t bytes; // beyond TCP_SND_BUF
};

// Bytes that may be queued, sent or not.
static inline uint32_t tcp_sndbuf_limit(const struct tcp_pcb *pcb)
{
	return TCP_SND_BUF + (UNLIKELY(pcb->grown) ? pcb->grown->bytes : 0);
}

// Pbufs that may be: one for 256 bytes.
static inline uint32_t tcp_sndbuf_pbufs(const struct tcp_pcb *pcb)
{
	return MAX(tcp_sndbuf_limit(pcb) / 256, TCP_SND_QUEUELEN);
}
_Static_assert(TCP_SND_BUF_MAX / 256 < TCP_SNDQUEUELEN_OVERFLOW, "counted in 16 bits");

// The congestion window is so large that more than half of the room is in flight. May raise snd_buf.
void tcp_sndbuf_grow(struct tcp_pcb *pcb);
// The connection has ended; its queues are about to be freed. May be called without need.
void tcp_sndbuf_end(struct tcp_pcb *pcb);
