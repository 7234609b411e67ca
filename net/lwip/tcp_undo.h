// SPDX-License-Identifier: BSD-2-Clause
// What was sent again for nothing is undone: the window is what it was. Three kinds of evidence: the first
// acknowledgement afterwards echoes a time stamp from before (RFC 3522); the peer tells of all that was sent again that
// it came twice (RFC 3708); after a time-out, new segments are acknowledged and not the ones that were sent again
// (RFC 5682). For tcp_recover.c only. Fast WTD context.
#pragma once

#include "kernel/base.h"

struct tcp_pcb;
struct tcp_recovery;

// A recovery begins, before the window is made smaller; or a time-out, the first in a row or not.
void tcp_undo_recovery(const struct tcp_pcb *pcb, struct tcp_recovery *r);
void tcp_undo_timeout(const struct tcp_pcb *pcb, struct tcp_recovery *r, bool first);
// So many bytes are sent again.
void tcp_undo_resent(struct tcp_recovery *r, uint32_t bytes);
// The peer has got [left, right) twice.
void tcp_undo_twice(struct tcp_pcb *pcb, struct tcp_recovery *r, uint32_t left, uint32_t right);
// Once for each acknowledgement: whether it tells that all was for nothing.
bool tcp_undo_due(const struct tcp_pcb *pcb, struct tcp_recovery *r);
// `twice`: this acknowledgement tells of something that came twice.
void tcp_undo(struct tcp_pcb *pcb, struct tcp_recovery *r, bool twice);
