// SPDX-License-Identifier: BSD-2-Clause
// How far a peer may send ahead of us: TCP_WND, and more where a longer path carries more; or what a program said
// (SO_RCVBUF). Room in a window is a promise of receive buffers (net/rxpool.h), which are used where something is
// lost or where the server takes no more.
//
// A connection whose application takes half of its window quickly is measured: what is taken in each round trip,
// doubled, is what the window grows to, but no more than a gigabit carries in two round trips and TCP_RCV_BUF_MAX.
// All connections together are given no more than tcp_rcvbuf_most (hooks.h) says. When that is used up, those that
// were silent for a while give back what they were given; when receive buffers run low, all do. What was announced
// stays announced (RFC 9293, 3.8.6): what is given back is owed until as much has been received and taken.
//
//	      half a window within LONGEST_MS          a round trip is known            more is taken in one
//	none ---------------------------------> MEASURED -------------------> MEASURED ----------------------> GROWN
//	                                                                                  owed, and paid           |
//	                                           MEASURED <------------------------------------------------------+
//
// A connection has no struct tcp_rcvbuf until it is measured or fixed. tcp.c ends and asks, tcp_in.c keeps what
// waits out of order in it. Fast WTD context, or WTDs off.
#pragma once

#include "kernel/base.h"
#include "lwip/tcp.h"

struct tcp_rcvbuf {
	struct tcp_pcb *pcb;
	struct tcp_rcvbuf *next, **link;
	uint32_t limit; // rcv_wnd while nothing is untaken
	uint32_t owed;	// of limit: goes as it is taken
	bool fixed;	// by the program: nothing is measured
	// The round trip: its least, ms, 0: not known yet; what comes from edge on answers what was sent after edge_at.
	uint32_t ms, edge, edge_at;
	// Where the next segment out of order usually belongs, null: not known; pbufs up to there, or fewer.
	struct tcp_seg *ooseq_last;
	uint32_t ooseq_pbufs;
};

static inline uint32_t tcp_rcvbuf_limit(const struct tcp_pcb *pcb)
{
	return UNLIKELY(pcb->rcvbuf) ? pcb->rcvbuf->limit : TCP_WND_MAX(pcb);
}

// Receive buffers that may wait out of order.
static inline uint32_t tcp_rcvbuf_pbufs(const struct tcp_pcb *pcb)
{
	return tcp_rcvbuf_limit(pcb) / 1400;
}

uint32_t tcp_rcvbuf_measure(struct tcp_pcb *pcb, uint32_t bytes);
// The application has taken so many bytes: how many of them the window opens by. May raise rcv_wnd besides.
static inline uint32_t tcp_rcvbuf_taken(struct tcp_pcb *pcb, uint32_t bytes)
{
	pcb->rcv_taken += bytes;
	if (LIKELY(!pcb->rcvbuf && pcb->rcv_taken < TCP_WND / 2))
		return bytes;
	return tcp_rcvbuf_measure(pcb, bytes);
}

// From now on so many bytes, within TCP_RCV_FIXED_MIN and TCP_WND, as far as the peer was not told of more.
// begins: it was told of nothing but what its SYN or SYN-ACK was answered with.
void tcp_rcvbuf_fix(struct tcp_pcb *pcb, uint32_t bytes, bool begins);
// Receive buffers run low: what was given beyond TCP_WND is owed.
void tcp_rcvbuf_press(void);
// The connection has ended. May be called without need.
void tcp_rcvbuf_end(struct tcp_pcb *pcb);
