// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: kernel/kprintf.c
// CFLAGS: -DKPRINTF_UNDER_TEST -Wno-format -Wno-format-extra-args -Wno-format-security
// The kernel's formatting beside the C library's: every conversion with random flags, widths, precisions
// and values; and the log: history, late sinks, long lines.
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "shim.h"

int tested_ksnprintf(char *out, size_t size, const char *format, ...);

#define SAME(...)                                                                                  \
	do {                                                                                       \
		char want[400], got[400];                                                          \
		int want_len = snprintf(want, sizeof want, __VA_ARGS__);                           \
		int got_len = tested_ksnprintf(got, sizeof got, __VA_ARGS__);                      \
		if (want_len != got_len || strcmp(want, got))                                      \
			fail_msg("want '%s' (%d), got '%s' (%d)", want, want_len, got, got_len);   \
	} while (0)

static void make_spec(char *spec, const char *size, char kind)
{
	char *p = spec;
	*p++ = '%';
	for (const char *flag = "-0+ #"; *flag; flag++)
		if (!shim_random_below(4))
			*p++ = *flag;
	if (shim_random_below(2))
		p += sprintf(p, "%u", (unsigned)shim_random_below(30));
	if (shim_random_below(2))
		p += sprintf(p, ".%u", (unsigned)shim_random_below(25));
	sprintf(p, "%s%c", size, kind);
}

static void integers_equal_the_library_under_any_flags(void **state)
{
	static const char *const sizes[] = {"", "hh", "h", "l", "ll", "z", "j", "t"};
	static const uint64_t edges[] = {0,	     1,		127,	   128,
					 255,	     32768,	INT32_MAX, 1UL << 31,
					 UINT32_MAX, INT64_MAX, 1UL << 63, ~0UL};
	for (unsigned n = 0; n < 200000; n++) {
		const char *size = sizes[shim_random_below(ARRAY_SIZE(sizes))];
		char kind = "diuxXo"[shim_random_below(6)], spec[32];
		uint64_t value = shim_random_below(2) ? edges[shim_random_below(ARRAY_SIZE(edges))]
						      : shim_random() >> shim_random_below(64);
		make_spec(spec, size, kind);
		if (size[0] == 0 || size[0] == 'h')
			SAME(spec, (int)value);
		else
			SAME(spec, value);
	}
}

static void strings_and_characters_equal_the_library(void **state)
{
	char not_terminated[3] = {'x', 'y', 'z'};
	SAME("%s|%10s|%-10s|%.2s|%10.2s|%-10.2s|%.0s", "abc", "abc", "abc", "abc", "abc", "abc",
	     "abc");
	SAME("%c|%5c|%-5c|%c", 'a', 'b', 'c', 0x141);
	SAME("%.3s", not_terminated);
	SAME("%*s|%*s|%.*s|%.*s", 6, "ab", -6, "ab", 1, "ab", -1, "ab");
}

static void stars_percent_and_pointers(void **state)
{
	SAME("100%%|%*d|%-*d|%.*d", 6, 42, 6, 42, 4, 42);
	SAME("%p", (void *)0x1234);
	char out[64];
	tested_ksnprintf(out, sizeof out, "%s %k", (char *)NULL);
	assert_string_equal(out, "(null) %k");
	tested_ksnprintf(out, sizeof out, "ends in %");
	assert_string_equal(out, "ends in %");
}

static void text_that_does_not_fit_is_cut_and_measured(void **state)
{
	char out[8];
	memset(out, 'z', sizeof out);
	assert_int_equal(tested_ksnprintf(out, sizeof out, "%s-%d", "abcdef", 12345), 12);
	assert_string_equal(out, "abcdef-");
	assert_int_equal(tested_ksnprintf(out, 1, "abc"), 3);
	assert_int_equal(out[0], 0);
	assert_int_equal(tested_ksnprintf(NULL, 0, "%100d", 1), 100);
}

static char seen[100000];
static size_t seen_len;
static void see(struct kprintf_sink *sink, const char *text, size_t len)
{
	memcpy(seen + seen_len, text, len);
	seen_len += len;
}
static void collect(void *ctx, const char *text, size_t len)
{
	see(NULL, text, len);
}

static void a_late_sink_gets_what_was_said_and_history_keeps_the_end(void **state)
{
	static struct kprintf_sink sink = {.write = see};
	kprintf("early %d\n", 1);
	kprintf_add_sink(&sink);
	kprintf("late %600d\n", 2);
	assert_int_equal(seen_len, 8 + 606);
	assert_memory_equal(seen, "early 1\nlate ", 13);
	assert_memory_equal(seen + seen_len - 3, " 2\n", 3);
	for (int i = 0; i < 10000; i++)
		kprintf("%07d\n", i);
	seen_len = 0;
	kprintf_history(collect, NULL);
	assert_int_equal(seen_len, 32768);
	assert_memory_equal(seen + seen_len - 8, "0009999\n", 8);
	assert_memory_equal(seen + seen_len - 32768, "0005904\n", 8);
}

static int troubles = -1; // -1: not yet
static jmp_buf out_of_it;
static void trouble(struct kprintf_sink *sink, const char *text, size_t len)
{
	if (troubles < 0)
		return;
	troubles++;
	kprintf("a panic inside a sink\n");
	longjmp(out_of_it, 1); // a panic does not come back either
}

// Last: the sink counts as broken from then on.
static void a_panic_inside_a_sink_is_printed_by_the_others(void **state)
{
	static struct kprintf_sink sink = {.write = trouble};
	kprintf_add_sink(&sink);
	troubles = 0;
	seen_len = 0;
	if (!setjmp(out_of_it)) {
		kprintf("this is where it happens\n");
		fail();
	}
	assert_int_equal(troubles, 1);
	assert_int_equal(seen_len, 22);
	assert_memory_equal(seen, "a panic inside a sink\n", 22);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(integers_equal_the_library_under_any_flags),
	    cmocka_unit_test(strings_and_characters_equal_the_library),
	    cmocka_unit_test(stars_percent_and_pointers),
	    cmocka_unit_test(text_that_does_not_fit_is_cut_and_measured),
	    cmocka_unit_test(a_late_sink_gets_what_was_said_and_history_keeps_the_end),
	    cmocka_unit_test(a_panic_inside_a_sink_is_printed_by_the_others),
	};
	shim_seed();
	return cmocka_run_group_tests_name("kprintf", tests, NULL, NULL);
}
