// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: kernel/cmdline.c kernel/string.c
// Words, values, refusals and the nearest known word of the kernel command line.
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/cmdline.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"

static char said[8192];
void kprintf(const char *format, ...)
{
	size_t len = strlen(said);
	va_list args;
	va_start(args, format);
	vsnprintf(said + len, sizeof said - len, format, args);
	va_end(args);
}

static char cache_value[64];
static int quiet_calls;
static bool parse_cache(const char *value)
{
	if (!value || strcmp(value, "unmapped"))
		return false;
	strcpy(cache_value, value);
	return true;
}
static bool parse_quiet(const char *value)
{
	quiet_calls++;
	return value == NULL;
}
CMDLINE_OPTION(cache, "cache", "cache=unmapped  pages out of sight", parse_cache);
CMDLINE_OPTION(quiet, "quiet", "quiet  say less", parse_quiet);

static void parse(const char *text)
{
	said[0] = cache_value[0] = 0;
	quiet_calls = 0;
	cmdline_parse(text);
}

static void words_are_split_at_blanks(void **state)
{
	parse("  quiet\tcache=unmapped \n quiet ");
	assert_int_equal(quiet_calls, 2);
	assert_string_equal(cache_value, "unmapped");
	assert_string_equal(said, "");
	assert_string_equal(cmdline_text(), "  quiet\tcache=unmapped \n quiet ");
	assert_false(cmdline_selftest());
	parse("");
	parse("selftest");
	assert_true(cmdline_selftest());
}

static void an_unknown_word_is_named_with_the_nearest(void **state)
{
	parse("cashe=unmapped quite slefetst");
	assert_non_null(strstr(said, "\"cashe\"; the nearest known is \"cache\""));
	assert_non_null(strstr(said, "\"quite\"; the nearest known is \"quiet\""));
	assert_non_null(strstr(said, "\"slefetst\"; the nearest known is \"selftest\""));
	assert_string_equal(cache_value, "");
	assert_int_equal(quiet_calls, 0);
}

static void prefixes_are_not_the_word(void **state)
{
	parse("cach=unmapped cachee=unmapped =x =");
	assert_string_equal(cache_value, "");
	assert_non_null(strstr(said, "\"cach\""));
	assert_non_null(strstr(said, "\"cachee\""));
}

static void what_does_not_fit_is_left_out_from_its_word_on(void **state)
{
	char text[1025]; // as much as the boot information keeps
	memset(text, ' ', sizeof text);
	memcpy(text, "quiet", 5);
	memcpy(text + 1024 - 17, "quiet quiet=12345", 18); // the last character does not fit
	parse(text);
	assert_int_equal(quiet_calls, 2);
	assert_non_null(strstr(said, "longer than 1023 characters"));
	assert_null(strstr(said, "refused"));
	memset(text, 'x', 1024);
	text[1024] = 0;
	parse(text);
	assert_non_null(strstr(said, "longer than 1023 characters"));
}

static void a_refused_value_is_named_and_changes_nothing(void **state)
{
	parse("cache=mapped cache quiet=1");
	assert_string_equal(cache_value, "");
	assert_non_null(strstr(said, "\"cache=mapped\" is refused; usage: cache=unmapped"));
	assert_non_null(strstr(said, "\"cache\" is refused"));
	assert_non_null(strstr(said, "\"quiet=1\" is refused"));
}

static void a_line_that_is_too_long_is_cut_and_said(void **state)
{
	char *text = malloc(5001);
	memset(text, 'x', 5000);
	text[5000] = 0;
	parse(text);
	free(text);
	assert_non_null(strstr(said, "cut"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(words_are_split_at_blanks),
	    cmocka_unit_test(an_unknown_word_is_named_with_the_nearest),
	    cmocka_unit_test(prefixes_are_not_the_word),
	    cmocka_unit_test(what_does_not_fit_is_left_out_from_its_word_on),
	    cmocka_unit_test(a_refused_value_is_named_and_changes_nothing),
	    cmocka_unit_test(a_line_that_is_too_long_is_cut_and_said),
	};
	return cmocka_run_group_tests_name("cmdline", tests, NULL, NULL);
}
