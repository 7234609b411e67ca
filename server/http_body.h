// SPDX-License-Identifier: BSD-2-Clause
// A request's body: which bytes are its content, and where it ends, because the next request begins behind
// it. Pure; bytes in pieces of any size. Two ways through it:
//
//	http_body_skip                       to nowhere: the answer needs no body
//	http_body_next, http_body_took       to somebody: framing is consumed, content is shown where it lies
#pragma once

#include "server/http_parse.h"

// A longer body is not waited for: the answer says Connection: close (and lingers, so that the client
// can read it).
#define HTTP_BODY_MAX 65536

enum http_body_result {
	HTTP_BODY_MORE,
	HTTP_BODY_END,
	HTTP_BODY_BAD,
	HTTP_BODY_TOO_LONG, // http_body_skip only
	HTTP_BODY_DATA	    // http_body_next only
};

struct http_body {
	uint64_t left;	// of the body, or of the chunk
	uint32_t taken; // bytes skipped so far, chunk framing included
	uint8_t state;	// http_body.c's
	uint8_t digits; // of the chunk size
	uint16_t line;	// bytes of the chunk extension or trailer line
};

// Any context. False: the request has no body (skip http_body_skip).
bool http_body_init(struct http_body *body, const struct http_request *request);
// Any context. *used: how many of the bytes belong to the body.
enum http_body_result http_body_skip(struct http_body *body, const char *bytes, size_t len,
				     size_t *used);
// Any context. Consumes framing up to the next content, or to the end: *used bytes. HTTP_BODY_DATA: behind them
// *data bytes of content lie, at least one; http_body_took says how many of them were used.
enum http_body_result http_body_next(struct http_body *body, const char *bytes, size_t len,
				     size_t *used, size_t *data);
void http_body_took(struct http_body *body, size_t n);
