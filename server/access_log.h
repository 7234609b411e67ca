// SPDX-License-Identifier: BSD-2-Clause
// The access log: one line an answer in the combined format of Apache and nginx, on the second serial port.
//
//   ADDRESS - - [22/Nov/2026:12:00:00 +0000] "GET /a HTTP/1.1" 200 1234 "referer" "user agent"
#pragma once

#include "kernel/base.h"

struct http_exchange;

// Whether access_log would do anything. Any context.
bool access_log_on(void);
// Fast WTD context, with the exchange's connection still there. Never waits: a line for which the port's
// ring has no room is lost and counted (pagewire_access_log_lost_total). Without the port, or with
// the word log=off: nothing.
void access_log(const struct http_exchange *x);
