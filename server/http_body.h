// SPDX-License-Identifier: BSD-2-Clause
// A request's body on its way to nowhere: nothing that is served takes a body, but the bytes must be
// counted exactly, because the next request begins behind them. Pure; bytes in pieces of any size.
#pragma once

#include "server/http_parse.h"

// A longer body is not waited for: the answer says Connection: close (and lingers, so that the client
// can read it).
#define HTTP_BODY_MAX 65536

enum http_body_result { HTTP_BODY_MORE, HTTP_BODY_END, HTTP_BODY_BAD, HTTP_BODY_TOO_LONG };

struct http_body {
	uint64_t left;	// of the body, or of the chunk
	uint32_t taken; // bytes so far, chunk framing included
	uint8_t state;	// http_body.c's
	uint8_t digits; // of the chunk size
	uint16_t line;	// bytes of the chunk extension or trailer line
};

// Any context. False: the request has no body (skip http_body_skip).
bool http_body_init(struct http_body *body, const struct http_request *request);
// Any context. *used: how many of the bytes belong to the body.
enum http_body_result http_body_skip(struct http_body *body, const char *bytes, size_t len,
				     size_t *used);
