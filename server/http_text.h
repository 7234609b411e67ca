// SPDX-License-Identifier: BSD-2-Clause
// A text being built in a bounded buffer, with the escapes that HTTP, HTML, JSON and the log need.
// Pure. A text that would not fit is marked `full` and keeps what fitted; whoever built it checks.
#pragma once

#include "kernel/base.h"

struct text {
	char *out;
	size_t len, size;
	bool full;
};
#define TEXT_OF(array) ((struct text){.out = (array), .size = sizeof(array)})

void text_bytes(struct text *t, const void *bytes, size_t len);
void text_str(struct text *t, const char *str);
void text_char(struct text *t, char c);
void text_u64(struct text *t, uint64_t value);
void text_hex(struct text *t, uint64_t value);
void text_digits(struct text *t, unsigned value, unsigned digits); // zero-padded

// Percent-encodes all but RFC 3986's unreserved characters and '/': safe as part of a path in a URI,
// in a header field and in an HTML attribute.
void text_uri(struct text *t, const char *bytes, size_t len);
// What may stand in HTML or XML text and in a quoted attribute. Bytes that are not UTF-8, control characters, and the
// two that XML does not have become U+FFFD.
void text_html(struct text *t, const char *bytes, size_t len);
// The inside of a JSON string; bytes that are not UTF-8 become U+FFFD.
void text_json(struct text *t, const char *bytes, size_t len);
// The inside of a quoted string of a log line: '"' and '\' and every byte that is not printable ASCII
// become \xhh, as nginx writes them.
void text_log(struct text *t, const char *bytes, size_t len);

// Length of the well-formed UTF-8 sequence at bytes (RFC 3629: no overlong forms, no surrogates, nothing
// above U+10FFFF); 0: there is none.
size_t utf8_sequence(const char *bytes, size_t len);
bool utf8_valid(const char *bytes, size_t len);
