// SPDX-License-Identifier: BSD-2-Clause
// TCP's timers cost what is due, not what there is. TCP has two clocks, ticks of 20 ms (tcp_fasttmr: delayed
// acknowledgements, retransmission, probes) and of 100 ms (tcp_slowtmr: persist, keepalive, ends of states, polls, what
// could not be sent), and a timing wheel for each (tcp_wheel.h).
//
// How to have a timer: say in fast_ticks() or slow_ticks() (tcp_timer.c) when it is due, as a function of the PCB's
// fields, and in tcp_fast_look() or tcp_slow_look() (tcp.c) what is done then. Nobody arms anything. Whoever changes a
// PCB says tcp_timed(pcb) BEFORE he does; tcp_input, the straight way, tcp_write, tcp_output, tcp_close do. Then it
// is looked at once, at the next fast tick, and put where its earliest deadline is:
//
//            tcp_timed()                 tick: looked at, once
//     idle ---------------> touched --------------------------------> in the wheels --deadline--> touched, looked at
//       ^                    ^   |                                        |
//       +--nothing is due----|---+                                        |
//                            +-------------tcp_timed()--------------------+
//
// So on the hot path a timer costs the one comparison in tcp_timed(), however often its deadline moves: a connection
// that is busy is looked at once a tick, one that waits only when it has waited, one that is idle never.
// `rtime`, `polltmr` and `persist_cnt` count ticks as ever: those that went by untouched are added when the PCB is
// touched or looked at.
//
// A timer finer than a tick (RFC 8985's reordering) is a list of its own and a sys_timeout for its earliest.
//
// Elsewhere: Linux arms a timer per connection in a wheel of jiffies whose outer levels fire late by up to an eighth,
// FreeBSD a callout each, both at each change of a deadline; lwIP visits every connection at every tick.
// Fast WTD context. Included by lwIP's tcp.h: no lwIP types here.
#pragma once

#include "tcp_wheel.h"

struct tcp_pcb;

struct tcp_timers {
	struct tcp_wheel_node fast, slow; // fast: in the wheel, or in the list of those touched
	// RFC 5482: so many milliseconds may what was sent stay unacknowledged, or a window closed, before the
	// connection is given up (ERR_ABRT), however often it was sent again; 0: as often as ever. Whoever sets it says
	// tcp_timed() before. The rest is the timers'.
	uint32_t user_timeout, user_since, user_acked; // ms; tcp_ticks; lastack then
	uint8_t user_waits;			       // for what, since then
	bool touched;
};

// Called by tcp_timed, and when a PCB becomes active: it is looked at at the next fast tick.
void tcp_timer_touch(struct tcp_pcb *pcb);
void tcp_timer_begin(struct tcp_pcb *pcb);
// A PCB is active no longer: no entry of it is left.
void tcp_timer_end(struct tcp_pcb *pcb);
// No timer has anything to do for it until something is done to it.
bool tcp_timer_idle(const struct tcp_pcb *pcb);

// tcp_fasttmr and tcp_slowtmr: a tick; those to look at, one after the other, then null. Each is touched: it may be
// freed, or anything done to it or to others.
void tcp_timer_fast_tick(void);
void tcp_timer_slow_tick(void);
struct tcp_pcb *tcp_timer_fast_next(void);
struct tcp_pcb *tcp_timer_slow_next(void);
// Its user's time-out is over.
bool tcp_timer_user_over(struct tcp_pcb *pcb);
// It has been looked at, and is there still: it goes where its deadlines are.
void tcp_timer_settle(struct tcp_pcb *pcb);
// Those that are touched, for tcp_txnow: one after another, from null to null.
struct tcp_pcb *tcp_timer_next_touched(const struct tcp_pcb *after);

extern uint64_t tcp_timer_visits; // PCBs that were looked at
