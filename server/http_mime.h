// SPDX-License-Identifier: BSD-2-Clause
// Content-Type by file name. Pure, but for the index that http_mime_init makes of the table.
#pragma once

#include "kernel/base.h"

#define HTTP_MIME_TEXT_MAX 128 // longest content type with its parameter and the final NUL

struct http_mime_group {
	const char *top;  // "text/"; null ends the table
	const char *list; // "subtype ext ext;subtype ext;"
};
extern const struct http_mime_group http_mime_groups[];

// http_mime_find does it when it is first called. The number of extensions indexed.
unsigned http_mime_init(void);

// Any context. The type of a file by its name (the last segment of the path): by extension, any case;
// well-known names without one (README, Makefile) are text. An opaque number to compare and to give
// to http_mime_text; 0 is application/octet-stream.
uint32_t http_mime_find(const char *name, size_t len);

// Any context. The field value; text types say charset=utf-8. Returns its length.
size_t http_mime_text(uint32_t type, char out[HTTP_MIME_TEXT_MAX]);
