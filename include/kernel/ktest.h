// SPDX-License-Identifier: BSD-2-Clause
// In-guest tests (tests/guest/*.c). Boot with `selftest`: every test runs in a thread, the result
// is KTAP on the first serial port (and the screen), the machine leaves through isa-debug-exit
// (value 0 on success: QEMU's status 1; value 1 on failure: status 3). After each test pages on the
// wire and every pool's use must be what they were before.
#pragma once

#include "kernel/base.h"

struct ktest {
	const char *suite;
	const char *name; // named by condition: "sleep-in-fast-wtd-panics"
	void (*run)(void);
};
#define KTEST(suite_name, id, text)                                                                \
	static void ktest_##id(void);                                                              \
	static const struct ktest ktest_row_##id TABLE_ROW(ktests) = {                             \
	    .suite = suite_name, .name = text, .run = ktest_##id};                                 \
	static void ktest_##id(void)

// A cache that keeps objects for later gives up those that nobody holds; called before objects and pages
// are counted. Thread context, may sleep.
struct ktest_drop {
	void (*run)(void);
};
#define KTEST_DROP(id, function)                                                                   \
	static const struct ktest_drop ktest_drop_##id TABLE_ROW(ktest_drops) = {.run = function}

// Marks the running test failed, with place and text, and goes on.
void ktest_fail(const char *file, int line, const char *format, ...) PRINTF_LIKE(3, 4);
void ktest_skip(const char *reason);			    // the running test cannot run here
void ktest_note(const char *format, ...) PRINTF_LIKE(1, 2); // a "# ..." line
#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond))                                                                       \
			ktest_fail(__FILE__, __LINE__, "expected: %s", #cond);                     \
	} while (0)
#define EXPECT_EQ(a, b)                                                                            \
	do {                                                                                       \
		uint64_t ktest_a = (uint64_t)(a), ktest_b = (uint64_t)(b);                         \
		if (ktest_a != ktest_b)                                                            \
			ktest_fail(__FILE__, __LINE__, "%s is %lu, expected %s = %lu", #a,         \
				   (unsigned long)ktest_a, #b, (unsigned long)ktest_b);            \
	} while (0)
// Runs fn(arg) and returns true if it panicked; the panic's message is kept in ktest_panic_text().
bool ktest_panics(void (*fn)(void *), void *arg);
const char *ktest_panic_text(void);

// True with the command-line word `icount`: QEMU runs with -icount shift=0, clock_cycles counts
// instructions exactly, and tests hold their instruction budgets to it.
bool ktest_counts_instructions(void);

NORETURN void ktest_run_all(void); // boot, thread context: runs them, leaves the machine
