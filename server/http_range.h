// SPDX-License-Identifier: BSD-2-Clause
// The Range field (RFC 9110 section 14). Pure.
//
// Against "many small ranges" attacks: a field with more than HTTP_RANGES_MAX ranges is ignored (the
// whole file is the answer, section 14.2), and ranges that overlap, touch or leave a gap smaller than
// the header of a part are sent as one, in the place of the first of them.
#pragma once

#include "kernel/base.h"

#define HTTP_RANGES_MAX 16
#define HTTP_RANGE_GAP	80 // about what a part's header costs

struct http_range {
	uint64_t first, last; // both included
};

enum http_range_result {
	HTTP_RANGE_NONE,	 // ignore the field: not bytes, malformed, or too many
	HTTP_RANGE_SOME,	 // *count ranges, 1 or more
	HTTP_RANGE_UNSATISFIABLE // 416
};

// Any context. Reads a Range field's value for a file of `size` bytes.
enum http_range_result http_range_parse(const char *text, size_t len, uint64_t size,
					struct http_range out[HTTP_RANGES_MAX], unsigned *count);

// Where a request's body goes in a file: from `first` on, `length` bytes (UINT64_MAX: as many as there are).
struct http_place {
	uint64_t first, length;
};
// Any context. The Content-Range field of a PUT (RFC 9110 section 14.4): "bytes 5-9/10", "bytes 5-9/*".
// False: it is none, or contradicts itself.
bool http_content_range_parse(const char *text, size_t len, struct http_place *out);
// Any context. The X-Update-Range field of a PATCH (SabreDAV's partial update) of a file of `size` bytes:
// "append", "bytes=5-9", "bytes=5-", "bytes=-5". False: it is none, or begins before the file does.
bool http_update_range_parse(const char *text, size_t len, uint64_t size, struct http_place *out);
