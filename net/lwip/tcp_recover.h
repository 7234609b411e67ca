// SPDX-License-Identifier: BSD-2-Clause
// What a sender does about loss: which data has arrived out of order, which is lost, and when it is sent again.
// RFC 6675 (SACK), RFC 6582 (NewReno, where the peer has no SACK), RFC 3042 (limited transmit), of RFC 8985
// the tail loss probe and the rule that what was sent before something that has arrived is lost when its own
// answer is overdue, with a timer (tcp_overdue.h). What was for nothing is undone (tcp_undo.h).
//
// A connection without loss has no struct tcp_recovery, and TF_INFR is set exactly while it has one: the fast
// ways ask for that flag and for nothing else here.
//
//     (none) --duplicate ACK, SACK block, probe--> WATCHING --something is lost--> RECOVERING
//        ^                                           |  ^                              |
//        +---nothing is missing any more-------------+  +---all up to the point--------+
//     WATCHING, RECOVERING or none --time-out--> LOST --all up to the point--> WATCHING
//     RECOVERING, LOST --it was only late--> WATCHING, with the window from before
// Before it has none again, two round trips may pass in which a peer can tell that what was sent again came twice.
//
// The queue of unacknowledged segments is not touched: what is sent again is a packet of its own that refers to the
// same pages, so it needs no segment cut in two and does not wait for a card that still has the first one.
// tcp_in.c calls ack, tcp.c's timers timeout and probe, tcp_output window and send. Fast WTD context.
#pragma once

#include "kernel/base.h"

struct tcp_pcb;

// Holes that are kept apart. Where there are more, blocks that would make another are not believed in: their data
// counts as in flight, and is told of again.
#define TCP_HOLES 32

// An acknowledgement has been taken (lastack, unacked and dupacks say so), which was a duplicate, carried SACK
// blocks, or came while TF_INFR is set.
void tcp_recover_ack(struct tcp_pcb *pcb, bool duplicate);
// TF_INFR: the peer's window was `before` and is larger now. If that had no room for what was sent again first, it was
// not lost by the way, and goes once more. The caller calls tcp_output, after the rest of the acknowledgement.
void tcp_recover_opened(struct tcp_pcb *pcb, uint32_t before);
// What tcp_overdue_in was asked for: the answer to something is overdue, or nothing more is to be told.
void tcp_recover_overdue(struct tcp_pcb *pcb);
// The retransmission timer has run out. ERR_OK, or ERR_MEM: nothing changed, try again soon.
int tcp_recover_timeout(struct tcp_pcb *pcb);
// Packets are smaller from now on: those under way were too long for the path, which says nothing about
// congestion. All of it is sent again, as far as the window lets it, and the window stays (RFC 1191, 6.5). Then
// tcp_output.
void tcp_recover_smaller(struct tcp_pcb *pcb);
// How many ticks after the retransmission timer was started a probe is due, if the time-out is not before it;
// -1: none is (RFC 8985, 7.2).
int32_t tcp_recover_probe_after(const struct tcp_pcb *pcb);
// Nothing was heard for two round trips: sends the last segment again, once, so that its answer tells what is
// missing (RFC 8985, 7.3).
void tcp_recover_probe(struct tcp_pcb *pcb);
// TF_INFR: how far beyond lastack the congestion window lets new data go; whether an acknowledgement opens it.
uint32_t tcp_recover_window(const struct tcp_pcb *pcb);
bool tcp_recover_grows(const struct tcp_pcb *pcb);
// TF_INFR: sends again what is lost, as far as the congestion window lets it.
void tcp_recover_send(struct tcp_pcb *pcb);
// The connection ends, or nothing is missing any more. May be called without need.
void tcp_recover_end(struct tcp_pcb *pcb);
