// SPDX-License-Identifier: BSD-2-Clause
// HTTP dates (RFC 9110 section 5.6.7). Pure.
#pragma once

#include "kernel/base.h"

#define HTTP_DATE_LEN 29 // "Sun, 06 Nov 1994 08:49:37 GMT"

// Any context. Writes the IMF-fixdate of a Unix time, not terminated. Years outside 1..9999 are
// written as the nearest one inside.
void http_date_format(int64_t unix_seconds, char out[HTTP_DATE_LEN]);

// Any context. Reads IMF-fixdate, the RFC 850 form and asctime's. `now` settles the century of the RFC
// 850 form's two digits: a year more than 50 years ahead of it is one of the past. False: none of
// them, or no such day.
bool http_date_parse(const char *text, size_t len, int64_t now, int64_t *unix_seconds);
