// SPDX-License-Identifier: BSD-2-Clause
// What a connection received and cannot use yet, in the receive buffers it came in: pipelined requests behind
// a busy answer, a body that comes faster than the disk takes it. conn->held is a ring of pbufs, linked
// by `next` and given as its last; what is used of the first is cut off its head. Held bytes are not
// reported to TCP (tcp_recved), so the window that the peer sees closes as they grow; a peer that
// fills buffers with a few bytes each meets the bound on their number instead, and TCP keeps the next one
// and takes no more until it is taken. Fast WTD context.
#include "kernel/kstat.h"
#include "kernel/pmm.h"
#include "net/stack.h"
#include "server/http_conn.h"

// The bound on all held buffers is half of what the receive pool lets be held (net/rxpool.c: a 32nd of
// memory): the other half is for what everybody else receives. Beyond it those who hold few may hold few.
#define HELD_FEW 8
static uint64_t held_all, held_all_max, held_most, held_refused;
KSTAT_GAUGE(
    held_all, "pagewire_http_held_buffers",
    "Receive buffers with bytes that the server cannot use yet: bodies, pipelined requests");
KSTAT_GAUGE(held_most, "pagewire_http_held_buffers_high", "The most there were");
KSTAT_COUNTER(held_refused, "pagewire_http_held_refused_total",
	      "Segments that were left with TCP because their connection held enough");

void http_held_start(void)
{
	struct pmm_stats memory;

	pmm_stats(&memory);
	held_all_max = MAX(512UL, MIN(32768UL, memory.frames_total / 32));
}

bool http_held_enough(const struct http_conn *conn)
{
	uint32_t most = MAX(HTTP_HELD_MAX, stack_window_buffers(conn->pcb));
	bool enough =
	    conn->held_count >= most || (held_all >= held_all_max && conn->held_count >= HELD_FEW);

	held_refused += enough;
	return enough;
}

void http_held_drop(struct http_conn *conn)
{
	struct pbuf *last = conn->held, *first = last->next;

	last->next = first->next;
	if (first == last)
		conn->held = NULL;
	conn->held_count--;
	held_all--;
	first->next = NULL;
	pbuf_free(first);
}

void http_held_add(struct http_conn *conn, struct pbuf *p, size_t used)
{
	struct pbuf *last = p, *first = conn->held ? conn->held->next : p;

	pbuf_ref(p); // the caller's goes; that of those behind it is their predecessor's
	pbuf_remove_header(p, used);
	conn->held_count++;
	held_all++;
	for (; last->next; last = last->next) {
		conn->held_count++;
		held_all++;
	}
	if (conn->held)
		conn->held->next = p;
	last->next = first;
	conn->held = last;
	held_most = MAX(held_most, held_all);
}
