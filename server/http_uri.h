// SPDX-License-Identifier: BSD-2-Clause
// From a request's path to a path on a volume, and back. Pure.
//
// The raw path is cut at '/', each segment is percent-decoded exactly once, and only then "." and ".."
// are resolved (RFC 3986 section 5.2.4), so that no spelling of ".." leaves the root: above the root
// there is the root. Empty segments vanish. A name that holds an escaped '/' cannot exist on a volume.
#pragma once

#include "kernel/base.h"

#define HTTP_PATH_MAX 4096 // decoded; a longer path: 414

struct http_path {
	uint16_t len;	// bytes in the caller's buffer: "a/b/c", no leading or trailing '/'
	bool directory; // it ended with '/', "." or ".."
	bool reserved;	// its first segment is ".pagewire"
};

// Any context. Decodes raw[0..len) into out (HTTP_PATH_MAX bytes, not terminated). 0, or the status to
// answer with: 400 (a bad escape, or an escaped NUL), 404 (an escaped '/'), 414.
int http_path_decode(const char *raw, size_t len, char *out, struct http_path *path);

// Any context. The Destination field of COPY and MOVE (RFC 4918 section 10.3): an absolute URI whose authority is
// `host` (the request's own), or an absolute path; decoded into out as by http_path_decode. 0, 400, 404,
// 414, or 502 (another server).
int http_destination_decode(const char *value, size_t len, const char *host, size_t host_len,
			    char *out, struct http_path *path);

// The value of `key` in a query ("a=1&b=2"), not decoded. False: it has none.
bool http_query_value(const char *query, size_t len, const char *key, const char **value,
		      size_t *value_len);
