// SPDX-License-Identifier: BSD-2-Clause
// /.pagewire/metrics: every statistic of the machine in Prometheus's text format.
#pragma once

#include "kernel/base.h"

struct http_exchange;

// Fast WTD context. Starts writing the text for the exchange, which waits meanwhile and then sends
// x->made. False: no memory.
bool metrics_start(struct http_exchange *x);
