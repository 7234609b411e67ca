// SPDX-License-Identifier: BSD-2-Clause
// The flight recorder: a ring of the last events, each 32 bytes, written from any context at the
// cost of a few stores. Panic and the console's TRACE print it. Events are the lines of
// trace_events.h, each with a sentence that says what happened and what a, b and c are.
#pragma once

#include "kernel/base.h"

enum trace_event {
#define TRACE_EVENT(id, text) TRACE_##id,
#include "kernel/trace_events.h"
#undef TRACE_EVENT
	TRACE_EVENTS
};

// Any context, with interrupts on or off; what a, b and c mean is the event's sentence.
void trace(enum trace_event event, uint64_t a, uint64_t b, uint64_t c);
// Calls line() with the text of the last `count` events, oldest first. Any context.
void trace_dump(unsigned count, void (*line)(void *ctx, const char *text), void *ctx);
