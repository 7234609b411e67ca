// SPDX-License-Identifier: BSD-2-Clause
// The HTTP server's door: one call at boot. Everything else about it is private to server/.
#pragma once

#include "kernel/base.h"

// Boot, thread context, after the volumes are mounted and the stack has started. Listens on port 80
// (http_port=N) of every address, IPv4 and IPv6.
void http_start(void);
uint16_t http_port(void); // http_port=; any context
