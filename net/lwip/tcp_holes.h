// SPDX-License-Identifier: BSD-2-Clause
// The scoreboard of a connection that has lost something: between what is acknowledged and the highest that is known
// to have arrived, everything has arrived but what lies in a hole. For tcp_recover.c only.
//
//     lastack                                        fack             snd_nxt
//        |  hole  | arrived |   hole   | arrived ... |  not known yet   |
#pragma once

#include "tcp_recover.h"
#include "tcp_wheel.h"

struct tcp_hole {
	uint32_t start, end; // sequence numbers
	uint32_t next;	     // what is before it has been sent again
	uint32_t sent_at;    // tcp_now() when some of it was sent last
	bool lost;	     // not only late
};

enum tcp_phase { TCP_WATCHING, TCP_RECOVERING, TCP_LOST };

// RFC 5682, 2.1, after a time-out: the acknowledgement of the first segment that was sent again decides whether
// new ones are sent next; theirs, whether the time-out was for nothing.
enum tcp_frto { TCP_FRTO_NOT, TCP_FRTO_FIRST, TCP_FRTO_NEW };

// What a reduction of the congestion window takes, should it turn out to be for nothing.
struct tcp_window_before {
	uint32_t cwnd, ssthresh, w_max, w_est, epoch, k;
};

struct tcp_recovery {
	struct tcp_hole holes[TCP_HOLES]; // ascending, none empty
	uint32_t count;
	uint32_t fack;
	uint32_t acked;	     // lastack when we looked last
	uint32_t point;	     // RECOVERING, LOST: where it ends
	uint32_t newest;     // when the last sent of what has arrived was sent, 0: not known
	uint32_t heard_ms;   // its round trip (RFC 8985: RACK.rtt)
	uint32_t overdue_ms; // until a hole is lost if nothing is heard of it; 0: none
	uint32_t probe_end, probe_at; // the probe that is out: its end, and when it was sent, or 0
	enum tcp_phase phase;
	bool at_once; // one unit may go out whatever the congestion window says
	bool rescued;
	bool smaller_worth_it;
	uint16_t
	    larger_mss; // before it became smaller because nothing was heard (tcp_path.h), 0: it did not
	uint8_t smaller_at; // pcb->nrtx when it did
	bool doubtful;	    // RECOVERING, LOST: nothing has told yet whether it was for nothing
	uint32_t resent_at; // when something was first sent again in it, or 0
	struct tcp_window_before before;
	uint32_t began; // lastack at the beginning of the last recovery or time-out
	uint32_t
	    resent; // bytes that were sent again in it and of which nobody told that they came twice
	bool all_twice; // somebody has told so of all of them
	bool widened;	// ... of some, and reo_wider knows
	enum tcp_frto frto;
	uint32_t frto_until; // NEW: where those new segments end
	uint32_t
	    linger_until; // nothing is missing, but a D-SACK may come until then; 0: something is
	struct tcp_pcb *pcb;
	struct tcp_wheel_node due; // tcp_overdue.c
};

// lastack has moved, or not.
void tcp_holes_acked(struct tcp_pcb *pcb);
// [left, right) has arrived; within lastack and snd_nxt.
void tcp_holes_arrived(struct tcp_pcb *pcb, uint32_t left, uint32_t right);
// Something has arrived that was sent then.
void tcp_holes_heard(struct tcp_recovery *r, uint32_t sent_at);
// What begins at lastack is lost, so many bytes of it.
void tcp_holes_first(struct tcp_pcb *pcb, uint32_t len);
// All that has not arrived is lost, and so is what was sent again.
void tcp_holes_all(struct tcp_pcb *pcb);
// Nothing is thought to be lost, after all, and nothing to have been sent again.
void tcp_holes_none(struct tcp_pcb *pcb);
// Decides which holes are lost, and in overdue_ms when to ask again; returns how many are lost once more.
unsigned tcp_holes_judge(struct tcp_pcb *pcb);
// Whether any is; the first that has something left to send, or null.
bool tcp_holes_lost(const struct tcp_recovery *r);
struct tcp_hole *tcp_holes_next(struct tcp_recovery *r);
