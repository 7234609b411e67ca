// SPDX-License-Identifier: BSD-2-Clause
// Frames longer than a receive buffer: jumbo frames. The card spreads one over several (struct netbuf), and it becomes
// a chain of them, without a copy. Fast WTD context.
//
//               PART                                LAST
//     nothing --------> begun, more to come --------------------> a packet
//        ^   \                  | NONE: an error at its end, too long, the card was reset
//        |    \ no buffer       | no buffer: dropped, and so is the rest
//        +---------- LAST, NONE -+
#pragma once

#include "kernel/netdev.h"
#include "lwip/pbuf.h"

struct longframe {
	struct pbuf *begun; // null: nothing of it, or it is dropped
	bool dropped;	    // its rest is not wanted
};

// A part of a frame, or that there is none. True: the buffer is the stack's, or free. *packet: the frame, if this was
// its last part, with one reference; else null.
bool longframe_part(struct longframe *frame, struct netbuf *part, struct pbuf **packet);
