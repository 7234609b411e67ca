// SPDX-License-Identifier: BSD-2-Clause
// Formatted text. Conversions: %d %i %u %x %X %o %p %s %c %% with flags '-' '0' '+' ' ' '#', width,
// precision, '*', and the sizes hh h l ll z j t.  No floating point.
#pragma once

#include <stdarg.h>
#include "kernel/base.h"

// Like the C standard's snprintf: always terminates when size > 0, returns the length the whole text
// would have had. Any context.
#ifdef PAGEWIRE_HOST
#include <stdio.h>
#define ksnprintf  snprintf
#define kvsnprintf vsnprintf
#else
int ksnprintf(char *out, size_t size, const char *format, ...) PRINTF_LIKE(3, 4);
int kvsnprintf(char *out, size_t size, const char *format, va_list args) PRINTF_LIKE(3, 0);
#endif

// The kernel log: a line to the first serial port and to the screen, and kept in a ring that the
// console's history shows. Any context, never sleeps (output drains by polling when it must).
void kprintf(const char *format, ...) PRINTF_LIKE(1, 2);
void kvprintf(const char *format, va_list args) PRINTF_LIKE(1, 0);

// Where kprintf's characters go. Each sink is called with whole pieces of text, in any context, and
// must not sleep or call kprintf. Register once, at boot; a new sink gets what was logged before.
struct kprintf_sink {
	struct kprintf_sink *next;
	void (*write)(struct kprintf_sink *sink, const char *text, size_t len);
	// Null, or: what was written and is not yet to be seen is brought out now. The machine is
	// about to stop; interrupts are off for good.
	void (*flush)(struct kprintf_sink *sink);
};
void kprintf_add_sink(struct kprintf_sink *sink);
// The last 32 KB of the log, oldest first, in one or two pieces. Any context; visit must not print.
void kprintf_history(void (*visit)(void *ctx, const char *text, size_t len), void *ctx);
// Text for the sinks that is no part of the log: the console's. Any context, never sleeps.
void kprintf_emit(const char *text, size_t len);
void kprintf_flush(void); // cpu_stop's: last words reach the screen

// The console's, so that a line being typed survives the log: `before` is called with interrupts off
// before a kprintf's text, `after` behind it; line_start: the text ended a line. Null: none (panic).
struct kprintf_guard {
	void (*before)(void);
	void (*after)(bool line_start);
};
void kprintf_set_guard(const struct kprintf_guard *guard);
