// SPDX-License-Identifier: BSD-2-Clause
// The HTTP/1.1 request parser (the read path's stage 5). Pure: bytes in, a request, an error or "more"
// out; no memory, no clock, no connection. Two steps, so that nothing is scanned twice however the
// bytes arrive:
//
//	http_parser_init(&p);
//	for each piece:                             // a receive buffer; cut anywhere
//		result = http_parse(&p, &limits, bytes, len, &used);
//	HTTP_PARSE_HEAD:  the head is the p.pos bytes so far; http_decode(head, &p, &request)
//	                  reads it where it lies (contiguous); the next byte belongs to the body.
//	HTTP_PARSE_ERROR: p.status and p.reason; what follows cannot be trusted: answer and close.
//
// http_parse checks every byte against RFC 9112's grammar as it arrives; http_decode gives meaning and
// refuses what request smuggling lives on. Offsets are from the first byte given to http_parse.
// Stricter than the RFCs allow a server to be, on purpose: no bare LF, no obs-fold (section 5.2), no
// blank before the colon (5.1), no repeated Content-Length, no Content-Length beside
// Transfer-Encoding (6.1), no control byte in a value.
#pragma once

#include "kernel/base.h"

struct http_parse_limits {
	uint16_t head_max;    // request line, fields and the empty line; more: 431
	uint16_t target_max;  // request target; more: 414
	uint16_t headers_max; // fields; more: 431
};
#define HTTP_HEAD_MAX	 16384 // the default of each
#define HTTP_TARGET_MAX	 8192
#define HTTP_HEADERS_MAX 100

enum http_parse_result { HTTP_PARSE_MORE, HTTP_PARSE_HEAD, HTTP_PARSE_ERROR };

struct http_parser {
	uint8_t state;	     // http_parse.c's
	uint8_t blank_lines; // empty lines before the request line (RFC 9112 section 2.2)
	uint8_t minor;	     // HTTP/1.minor
	uint16_t pos;	     // bytes taken so far
	uint16_t method_at;  // offsets and lengths in the head
	uint16_t method_len;
	uint16_t target_at;
	uint16_t target_len;
	uint16_t headers_at; // first byte after the request line
	uint16_t header_count;
	uint16_t status;    // the answer to give, after HTTP_PARSE_ERROR
	const char *reason; // one sentence, after HTTP_PARSE_ERROR
};

void http_parser_init(struct http_parser *p);
// True once a byte of a request (an empty line does not count) was seen: the header deadline runs.
bool http_parser_started(const struct http_parser *p);
// Any context. *used: how many of the bytes belong to the head (all of them unless it ended).
enum http_parse_result http_parse(struct http_parser *p, const struct http_parse_limits *limits,
				  const char *bytes, size_t len, size_t *used);

enum http_method { // RFC 9110, 5789, 4918; in the order in which Allow names them
	HTTP_GET,
	HTTP_HEAD,
	HTTP_OPTIONS,
	HTTP_PUT,
	HTTP_PATCH,
	HTTP_DELETE,
	HTTP_MKCOL,
	HTTP_COPY,
	HTTP_MOVE,
	HTTP_PROPFIND,
	HTTP_PROPPATCH,
	HTTP_LOCK,
	HTTP_UNLOCK,
	HTTP_METHODS,
	HTTP_KNOWN = HTTP_METHODS, // a registered method that is not served: 405
	HTTP_FOREIGN		   // anything else: 501
};

struct http_view { // len 0 and at 0: absent
	uint16_t at, len;
};

struct http_request {
	enum http_method method;
	uint8_t minor;		 // 0 or more; above 1 is spoken to as 1 (RFC 9110 section 2.5)
	bool keep_alive;	 // what the client wants
	bool chunked;		 // the body has chunked framing
	bool expect_continue;	 // Expect: 100-continue
	bool asterisk;		 // OPTIONS *
	uint64_t content_length; // 0 when absent or chunked
	struct http_view method_name, target;
	struct http_view path, query; // parts of the target, raw; query without '?'
	bool has_query;
	struct http_view host;	  // from the target in absolute form, else the field
	struct http_view headers; // all the field lines
	// Fields that may stand once only. One that stands twice is void: len 0, but at not 0.
	struct http_view range, if_range, if_modified_since, if_unmodified_since;
	struct http_view referer, user_agent;
	struct http_view dav_if;			  // If (RFC 4918 section 10.4)
	bool has_if_match, has_if_none_match, has_accept; // lists: walk with http_header_next
};

// Any context. head: p->pos contiguous bytes after HTTP_PARSE_HEAD. 0, or the status to answer with
// (400, 417, 501, ...) before closing, and then *reason says why in one sentence.
int http_decode(const char *head, const struct http_parser *p, struct http_request *out,
		const char **reason);

// Walks the field lines with the given (lower-case) name. *cursor starts at 0. False: no more.
bool http_header_next(const char *head, const struct http_request *request, const char *name,
		      uint16_t *cursor, struct http_view *value);

// Next element of a comma-separated list (RFC 9110 section 5.6.1), quoted strings kept whole, blanks
// trimmed, empty elements skipped. *at moves on. False: the end.
bool http_list_next(const char *text, size_t len, size_t *at, const char **item, size_t *item_len);

bool http_is_tchar(uint8_t c);
