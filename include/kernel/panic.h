// SPDX-License-Identifier: BSD-2-Clause
// Three kinds of failure, three words. The peer's fault (a bad packet, a corrupt volume) is counted
// and answered. The caller's fault is an error code. Our own broken invariant is a panic: it names
// function, file and line, prints registers, a symbolised backtrace and the last trace events on
// every sink, and stops (under `selftest` it leaves through isa-debug-exit with status 0x7f).
#pragma once

#include "kernel/base.h"

NORETURN void panic_at(const char *file, int line, const char *function, const char *format, ...)
    PRINTF_LIKE(4, 5);

#define PANIC(...) panic_at(__FILE__, __LINE__, __func__, __VA_ARGS__)
// Always compiled in. The condition must have no side effects.
#define ASSERT(cond)                                                                               \
	do {                                                                                       \
		if (UNLIKELY(!(cond)))                                                             \
			panic_at(__FILE__, __LINE__, __func__, "assertion failed: %s", #cond);     \
	} while (0)

// For ktest_panics: called first by every panic that is not inside another, with its message and
// interrupts off; may jump away, and then there was no panic. Null: none. Thread context.
void panic_set_test_hook(bool (*hook)(const char *message));
