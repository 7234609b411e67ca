// SPDX-License-Identifier: BSD-2-Clause
// Clients far away that upload to netbed's server, in steps of a millisecond of the shim's clock. Each byte is
// compared when the server takes it, and a window that was announced may never go back.
//
//     upload_begin(&uploads[0], 50);
//     upload_ask(&uploads[0], 8 << 20);
//     ms = upload_run(1);
//     upload_finish(&uploads[0]);
#pragma once

#include "netbed.h"

#define UPLOAD_SEGMENT 1460
#define UPLOAD_FLIGHTS 16384
#define UPLOADS_MOST   60

// A client that sends as fast as its congestion window, which slow start doubles, the window that it was told and a
// rate allow. What does not get on for four round trips begins anew with the first byte that is missing.
struct upload {
	uint32_t rtt, rate;	// ms; bytes a ms, 0: any
	uint32_t lose, lose_at; // segments that are lost on the way, from this byte on
	uint32_t takes;		// bytes a ms that the server takes, 0: all at once
	struct bed_peer *peer;
	uint32_t base, next, una, edge, goal, cwnd; // sequence numbers; edge: of the window
	uint32_t widest;			    // window that was announced
	uint64_t progress_at;
	struct {
		uint64_t due;
		uint32_t seq, len, window;
	} flights[2][UPLOAD_FLIGHTS];
	uint32_t heads[2], tails[2];
	struct pbuf *held; // by a server that does not take all at once: a chain of the stack's
	uint32_t allowed;  // that it may take
};
extern struct upload uploads[UPLOADS_MOST]; // those that are used come first

void upload_begin(struct upload *up, uint32_t rtt); // connects
void upload_ask(struct upload *up, uint32_t bytes); // is to send so many more
void upload_millisecond(unsigned count);	    // of the first so many clients
uint32_t
upload_run(unsigned count); // until all that was asked for is acknowledged; the milliseconds
// The server has taken everything; the client resets.
void upload_finish(struct upload *up);
