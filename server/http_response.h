// SPDX-License-Identifier: BSD-2-Clause
// The heads of answers, and the bodies that are short enough to go with them. Pure text.
#pragma once

#include "server/http_conn.h"

struct http_file;

// A redirect's Location may be three times a path and a query; everything else is far smaller.
#define HTTP_HEAD_OUT_MAX (3 * (HTTP_PATH_MAX + HTTP_TARGET_MAX) + 1024)

// Status line, Server and Date (HTTP_DATE_LEN bytes; the date's last byte is third from the end).
void http_head_begin(struct text *t, unsigned status, const char *date);
// Content-Type, Content-Length, Last-Modified, ETag and Accept-Ranges of a whole file.
void http_head_file(struct text *t, const struct http_file *file, uint64_t length);
// Connection where it must be said, and the empty line.
void http_head_end(struct text *t, bool keep_alive, unsigned minor);

// The whole head of the exchange's answer, with the body if it is a short one: returns its length.
size_t http_response_head(const struct http_exchange *x, struct text *t);
// What stands before part `n` of a multipart answer, and behind the last one (n == count).
void http_part_head(const struct http_exchange *x, unsigned n, struct text *t);
const char *http_status_text(unsigned status);
