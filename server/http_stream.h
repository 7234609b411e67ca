// SPDX-License-Identifier: BSD-2-Clause
// A generated body that comes in batches (HTTP_BODY_STREAM): one buffer at a time is made and sent, so that an
// answer of any length costs the memory of one. Fast WTD context.
//
//	     more(x)                        queued
//	MADE <------- (WAIT_JOB, done) ...  SENDING  ----> more(x), or the end when `last` is set
//
// The first batch is made before the answer begins: one that is the last, too, has a Content-Length.
#pragma once

#include "kernel/base.h"

struct http_exchange;

struct http_stream {
	const char *bytes; // of this batch
	size_t len, at;	   // at: what of it is queued
	bool last;
	// Makes the next batch: x waits (HTTP_STAGE_WAIT_JOB) and comes back to HTTP_STAGE_SEND.
	void (*more)(struct http_exchange *x, struct http_stream *stream);
	void (*free)(struct http_stream *stream); // the exchange is over
};
// The first batch is there: x goes to HTTP_STAGE_SEND.
void http_stream_begin(struct http_exchange *x, struct http_stream *stream, uint16_t status,
		       const char *type);
