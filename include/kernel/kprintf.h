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
};
void kprintf_add_sink(struct kprintf_sink *sink);
// The last 32 KB of the log, oldest first, in one or two pieces. Any context; visit must not print.
void kprintf_history(void (*visit)(void *ctx, const char *text, size_t len), void *ctx);
