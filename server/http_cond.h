// SPDX-License-Identifier: BSD-2-Clause
// Conditional requests (RFC 9110 section 13). Pure: decides on the head, the validators and the time.
#pragma once

#include "server/http_parse.h"

#define HTTP_ETAG_MAX 80

struct http_validators {
	const char *etag; // strong, with its quotes
	size_t etag_len;
	int64_t modified; // Last-Modified, Unix seconds
};

enum http_condition {
	HTTP_COND_SERVE,	// go on
	HTTP_COND_NOT_MODIFIED, // 304
	HTTP_COND_FAILED	// 412
};

// Any context. Evaluates If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since in the order
// of section 13.2.2, for GET and HEAD.
enum http_condition http_condition(const char *head, const struct http_request *request,
				   const struct http_validators *v, int64_t now);

// Any context. Whether a request that changes something may: the same fields for the methods that are neither
// GET nor HEAD. v null: nothing is there; etag_len 0: something without an entity-tag (a collection).
bool http_condition_to_change(const char *head, const struct http_request *request,
			      const struct http_validators *v, int64_t now);

// Any context. Whether the Range field counts: there is one, and If-Range is absent or names exactly
// this representation (section 13.1.5: strong comparison, or the exact date, a second old at least).
bool http_range_applies(const char *head, const struct http_request *request,
			const struct http_validators *v, int64_t now);
