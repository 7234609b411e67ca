// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: kernel/string.c
// CFLAGS: -DSTRING_UNDER_TEST -fno-builtin
// The kernel's memory and string functions beside the C library's, at every small length, alignment and
// overlap; the rest by example.
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/base.h"
#include "kernel/kstring.h"

void *tested_memcpy(void *to, const void *from, size_t len);
void *tested_memmove(void *to, const void *from, size_t len);
void *tested_memset(void *to, int byte, size_t len);
int tested_memcmp(const void *a, const void *b, size_t len);
void *tested_memchr(const void *s, int c, size_t len);
size_t tested_strlen(const char *s);
size_t tested_strnlen(const char *s, size_t max);
int tested_strcmp(const char *a, const char *b);
int tested_strncmp(const char *a, const char *b, size_t max);
char *tested_strchr(const char *s, int c);
char *tested_strrchr(const char *s, int c);
char *tested_strstr(const char *s, const char *sub);

#define AREA 320
static uint8_t area[AREA], expected[AREA];

static void fill(void)
{
	for (size_t i = 0; i < AREA; i++)
		area[i] = expected[i] = (uint8_t)(i * 7 + 3);
}

// All small ones, and those round the switch to string instructions.
static size_t next_length(size_t len)
{
	return len == 70 ? 120 : len == 140 ? 250 : len + 1;
}

static void move_at_every_length_and_overlap_equals_the_library(void **state)
{
	for (size_t to = 0; to < 20; to++)
		for (size_t from = 0; from < 20; from++)
			for (size_t len = 0; len <= 264; len = next_length(len)) {
				fill();
				memmove(expected + to, expected + from, len);
				assert_ptr_equal(tested_memmove(area + to, area + from, len),
						 area + to);
				assert_memory_equal(area, expected, AREA);
			}
}

static void copy_and_set_at_every_length_and_alignment(void **state)
{
	uint8_t source[AREA];
	for (size_t i = 0; i < AREA; i++)
		source[i] = (uint8_t)~i;
	for (size_t to = 0; to < 9; to++)
		for (size_t len = 0; len + to <= AREA; len = next_length(len)) {
			fill();
			memcpy(expected + to, source, len);
			tested_memcpy(area + to, source, len);
			assert_memory_equal(area, expected, AREA);
			memset(expected + to, 0x1a5, len);
			tested_memset(area + to, 0x1a5, len);
			assert_memory_equal(area, expected, AREA);
		}
}

static int sign(int x)
{
	return (x > 0) - (x < 0);
}

static void comparisons_see_bytes_as_unsigned(void **state)
{
	static const char *const words[] = {"", "a", "ab", "abc", "b", "\xff", "a\xff", "a\x01"};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		for (size_t j = 0; j < ARRAY_SIZE(words); j++) {
			const char *a = words[i], *b = words[j];
			assert_int_equal(sign(tested_strcmp(a, b)), sign(strcmp(a, b)));
			for (size_t n = 0; n < 5; n++)
				assert_int_equal(sign(tested_strncmp(a, b, n)),
						 sign(strncmp(a, b, n)));
			size_t both = MIN(strlen(a), strlen(b)) + 1;
			assert_int_equal(sign(tested_memcmp(a, b, both)), sign(memcmp(a, b, both)));
		}
}

static void a_difference_is_found_wherever_it_is(void **state)
{
	uint8_t a[40], b[40];
	for (size_t len = 1; len <= sizeof(a); len++)
		for (size_t at = 0; at < len; at++) {
			memset(a, 0x80, sizeof(a));
			memset(b, 0x80, sizeof(b));
			assert_int_equal(tested_memcmp(a, b, len), 0);
			b[at] = 1;
			memset(b + at + 1, 0xff, sizeof(b) - at - 1);
			assert_true(tested_memcmp(a, b, len) > 0 && tested_memcmp(b, a, len) < 0);
			assert_int_equal(tested_memcmp(a, b, at), 0);
		}
}

static void searches_find_first_last_and_the_terminator(void **state)
{
	const char *s = "abracadabra";
	assert_ptr_equal(tested_strchr(s, 'b'), s + 1);
	assert_ptr_equal(tested_strrchr(s, 'b'), s + 8);
	assert_ptr_equal(tested_strchr(s, 0), s + 11);
	assert_ptr_equal(tested_strrchr(s, 0), s + 11);
	assert_null(tested_strchr(s, 'z'));
	assert_null(tested_strrchr(s, 'z'));
	assert_ptr_equal(tested_strstr(s, "cad"), s + 4);
	assert_ptr_equal(tested_strstr(s, ""), s);
	assert_ptr_equal(tested_strstr("", ""), "");
	assert_null(tested_strstr(s, "abrab"));
	assert_ptr_equal(tested_memchr(s, 'c', 11), s + 4);
	assert_null(tested_memchr(s, 'c', 4));
	assert_int_equal(tested_strlen(s), 11);
	for (size_t i = 0; i <= 11; i++)
		assert_int_equal(tested_strlen(s + i), 11 - i);
	assert_int_equal(tested_strlen("\xff\x80\x01\x81\x7f"), 5);
	assert_int_equal(tested_strnlen(s, 4), 4);
	assert_int_equal(tested_strnlen(s, 40), 11);
}

static void strlcpy_cuts_terminates_and_tells_the_length(void **state)
{
	char out[4] = "zzz";
	assert_int_equal(kstrlcpy(out, "ab", sizeof out), 2);
	assert_string_equal(out, "ab");
	assert_int_equal(kstrlcpy(out, "abcdef", sizeof out), 6);
	assert_string_equal(out, "abc");
	assert_int_equal(kstrlcpy(out, "xyz", 0), 3);
	assert_string_equal(out, "abc");
}

static void case_is_folded_for_ascii_only(void **state)
{
	assert_int_equal(kstrcasecmp("HeLLo", "hEllO"), 0);
	assert_true(kstrcasecmp("a", "B") < 0);
	assert_true(kstrcasecmp("[", "{") != 0);
	assert_true(kstrcasecmp("\xc4", "\xe4") != 0);
	assert_int_equal(kstrncasecmp("ABCx", "abcy", 3), 0);
	assert_int_equal(kstrncasecmp("a", "b", 0), 0);
}

static void numbers_are_read_whole_or_refused(void **state)
{
	static const struct {
		const char *text;
		bool ok;
		uint64_t value;
	} cases[] = {
	    {"0", true, 0},
	    {"00012", true, 12},
	    {"18446744073709551615", true, UINT64_MAX},
	    {"18446744073709551616", false, 0},
	    {"99999999999999999999", false, 0},
	    {"0xffffffffffffffff", true, UINT64_MAX},
	    {"0x10000000000000000", false, 0},
	    {"0XaB", true, 171},
	    {"0x", false, 0},
	    {"", false, 0},
	    {"12 ", false, 0},
	    {"-1", false, 0},
	    {"+1", false, 0},
	    {"1f", false, 0},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 0;
		assert_int_equal(kparse_u64(cases[i].text, strlen(cases[i].text), &value),
				 cases[i].ok);
		if (cases[i].ok)
			assert_true(value == cases[i].value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(move_at_every_length_and_overlap_equals_the_library),
	    cmocka_unit_test(copy_and_set_at_every_length_and_alignment),
	    cmocka_unit_test(comparisons_see_bytes_as_unsigned),
	    cmocka_unit_test(a_difference_is_found_wherever_it_is),
	    cmocka_unit_test(searches_find_first_last_and_the_terminator),
	    cmocka_unit_test(strlcpy_cuts_terminates_and_tells_the_length),
	    cmocka_unit_test(case_is_folded_for_ascii_only),
	    cmocka_unit_test(numbers_are_read_whole_or_refused),
	};
	return cmocka_run_group_tests_name("string", tests, NULL, NULL);
}
