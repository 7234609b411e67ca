// SPDX-License-Identifier: BSD-2-Clause
// The body of a request on its way to whoever asked for it: HTTP_STAGE_RECEIVE. Content is handed over where
// it lies, in the receive buffers; what the receiver does not take stays there, and TCP's window closes.
//
//	x->stage  DECIDE --http_receive_begin--> RECEIVE --take, take, ...--> complete() --> what it sets
//	                                            |
//	                                            +--bad framing 400, FIN 400, too slow 408--> SEND
//
// "100 Continue" goes out with http_receive_begin, so an answer that can be given before it saves the client
// the body. Progress is HTTP_STALL_BYTES in http_stall= seconds at least, while the receiver takes. Fast
// WTD context.
#pragma once

#include "server/http_conn.h"

struct http_receiver {
	// Takes content: how many of the bytes. Fewer than all: it has set x->receive_waits and will clear it
	// and call http_conn_kick(x->conn); or it has answered.
	size_t (*take)(struct http_exchange *x, const char *bytes, size_t len);
	// The body is there as a whole (x->received bytes). Sets the stage.
	void (*complete)(struct http_exchange *x);
};

void http_receive_begin(struct http_exchange *x, const struct http_receiver *receiver);
// Collects the body in x->text, at most `most` bytes (longer: 413), and then calls done(x), which sets the
// stage. For documents; all of them together have a bound (503). It may be called at once: no body.
void http_receive_text(struct http_exchange *x, size_t most, void (*done)(struct http_exchange *x));

// http_conn.c's and http_exchange.c's. How many of the bytes were used.
size_t http_receive(struct http_exchange *x, const char *bytes, size_t len);
void http_receive_continue(struct http_exchange *x); // sends what is due of 100 Continue
void http_receive_free(struct http_exchange *x);
