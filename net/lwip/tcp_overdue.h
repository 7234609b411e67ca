// SPDX-License-Identifier: BSD-2-Clause
// A timer of a millisecond for connections that recover: RFC 8985's reordering timer (6.2, step 5), and the end of the
// time in which a peer may tell that something came twice. A wheel that turns only while somebody is in it. Fast WTD
// context.
#pragma once

#include "kernel/base.h"

struct tcp_recovery;

// tcp_recover_overdue(its pcb) is called, once, after so many milliseconds, at least 1. Replaces what was asked before.
void tcp_overdue_in(struct tcp_recovery *r, uint32_t ms);
// It is not called any more. May be called without need.
void tcp_overdue_never(struct tcp_recovery *r);
