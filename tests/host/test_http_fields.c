// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: server/http_range.c server/http_date.c server/http_cond.c server/http_parse.c
// SOURCES: server/http_head.c kernel/civil.c kernel/string.c
// Ranges against a bitmap oracle, dates against the C library, conditions against RFC 9110's table.
#define _GNU_SOURCE
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>
#include "kernel/kstring.h"
#include "server/http_cond.h"
#include "server/http_date.h"
#include "server/http_range.h"
#include "shim.h"

static enum http_range_result ranges(const char *text, uint64_t size, struct http_range *out,
				     unsigned *count)
{
	return http_range_parse(text, strlen(text), size, out, count);
}

static void one_is(const char *text, uint64_t size, uint64_t first, uint64_t last)
{
	struct http_range r[HTTP_RANGES_MAX];
	unsigned n;

	assert_int_equal(ranges(text, size, r, &n), HTTP_RANGE_SOME);
	assert_int_equal(n, 1);
	assert_int_equal(r[0].first, first);
	assert_int_equal(r[0].last, last);
}

static void result_is(const char *text, uint64_t size, enum http_range_result want)
{
	struct http_range r[HTTP_RANGES_MAX];
	unsigned n;
	if (ranges(text, size, r, &n) != want)
		fail_msg("%s of %lu", text, (unsigned long)size);
}

static void single_ranges(void **state)
{
	one_is("bytes=0-0", 100, 0, 0);
	one_is("bytes=0-", 100, 0, 99);
	one_is("BYTES= 5-1000 ", 100, 5, 99);
	one_is("bytes=-1", 100, 99, 99);
	one_is("bytes=-1000", 100, 0, 99);
	one_is("bytes=99-99999999999999999999999", 100, 99, 99);
	one_is("bytes=200-300,5-6", 100, 5, 6);
	one_is("bytes=4294967296-4294967297", 1UL << 40, 1UL << 32, (1UL << 32) + 1);
	one_is("bytes=-99999999999999999999999", 100, 0, 99);
	result_is("bytes=100-", 100, HTTP_RANGE_UNSATISFIABLE);
	result_is("bytes=-0", 100, HTTP_RANGE_UNSATISFIABLE);
	result_is("bytes=0-", 0, HTTP_RANGE_UNSATISFIABLE);
	result_is("bytes=-5", 0, HTTP_RANGE_NONE);
	result_is("bytes=99999999999999999999-", 100, HTTP_RANGE_UNSATISFIABLE);
	static const char *const bad[] = {
	    "bytes=",	 "bytes=-",    "bytes=5-4",  "bytes",	"lines=1-2",   "bytes=a-",
	    "bytes=1-b", "bytes=1--2", "bytes=1 -2", "bytes=,", "bytes=1-2,x", "bytes =1-2",
	    ""};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		result_is(bad[i], 100, HTTP_RANGE_NONE);
}

static void near_ranges_are_joined_and_far_ones_keep_their_order(void **state)
{
	struct http_range r[HTTP_RANGES_MAX];
	unsigned n;

	assert_int_equal(ranges("bytes=500-599,0-9,1000-1009,600-", 2000, r, &n), HTTP_RANGE_SOME);
	assert_int_equal(n, 2);
	assert_int_equal(r[0].first, 500);
	assert_int_equal(r[0].last, 1999);
	assert_int_equal(r[1].first, 0);
	one_is("bytes=0-9,89-98", 1000, 0, 98);
	one_is("bytes=0-99,400-499,50-450", 1000, 0, 499);
}

static void too_many_ranges_are_ignored(void **state)
{
	char text[400] = "bytes=0-0";

	for (int i = 1; i < HTTP_RANGES_MAX; i++)
		sprintf(text + strlen(text), ",%d-%d", i * 1000, i * 1000);
	result_is(text, 1 << 20, HTTP_RANGE_SOME);
	strcat(text, ",999000-999000");
	result_is(text, 1 << 20, HTTP_RANGE_NONE);
}

// The bytes asked for are all sent, nothing twice, and no part begins within a gap of another.
static void random_ranges_against_a_bitmap(void **state)
{
	enum { SIZE = 3000 };

	for (int round = 0; round < 20000; round++) {
		uint8_t want[SIZE] = {0}, got[SIZE] = {0};
		char text[400] = "bytes=";
		struct http_range r[HTTP_RANGES_MAX];
		unsigned n;
		for (uint64_t i = 0, specs = 1 + shim_random_below(8); i < specs; i++) {
			uint64_t a = shim_random_below(SIZE), b = a + shim_random_below(200);
			sprintf(text + strlen(text), "%s%lu-%lu", i ? ", " : "", (unsigned long)a,
				(unsigned long)b);
			for (uint64_t k = a; k <= b && k < SIZE; k++)
				want[k] = 1;
		}
		assert_int_equal(ranges(text, SIZE, r, &n), HTTP_RANGE_SOME);
		for (unsigned i = 0; i < n; i++) {
			assert_true(r[i].first <= r[i].last && r[i].last < SIZE);
			for (uint64_t k = r[i].first; k <= r[i].last; k++)
				assert_int_equal(got[k]++, 0);
			for (unsigned j = 0; j < n; j++)
				assert_true(i == j || r[i].first > r[j].last + HTTP_RANGE_GAP ||
					    r[j].first > r[i].last + HTTP_RANGE_GAP);
		}
		for (unsigned k = 0; k < SIZE; k++)
			assert_true(got[k] >= want[k]);
	}
}

static void dates_agree_with_the_c_library_both_ways(void **state)
{
	for (int round = 0; round < 100000; round++) {
		int64_t t = (int64_t)shim_random_below(253402300800UL), back;
		char mine[HTTP_DATE_LEN], theirs[64];
		time_t seconds = t;
		struct tm tm;
		http_date_format(t, mine);
		strftime(theirs, sizeof(theirs), "%a, %d %b %Y %H:%M:%S GMT",
			 gmtime_r(&seconds, &tm));
		assert_memory_equal(mine, theirs, HTTP_DATE_LEN);
		assert_true(http_date_parse(mine, HTTP_DATE_LEN, 0, &back));
		assert_int_equal(back, t);
		strftime(theirs, sizeof(theirs), "%a %b %e %H:%M:%S %Y", &tm);
		assert_true(http_date_parse(theirs, strlen(theirs), 0, &back));
		assert_int_equal(back, t);
	}
}

static int64_t date(const char *text)
{
	int64_t t = -1, now = 1790000000; // September 2026
	return http_date_parse(text, strlen(text), now, &t) ? t : -1;
}

static void obsolete_dates_and_bad_ones(void **state)
{
	assert_int_equal(date("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
	assert_int_equal(date("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
	assert_int_equal(date("Sun Nov  6 08:49:37 1994"), 784111777);
	assert_int_equal(date("Thursday, 06-Nov-75 08:49:37 GMT"), 3340255777); // 2075
	assert_int_equal(date("Thursday, 06-Nov-77 08:49:37 GMT"), 247654177);	// 1977
	static const char *const bad[] = {"",
					  "Sun",
					  "Sun, 06 Nov 1994 08:49:37",
					  "Sun, 06 Nov 1994 08:49:37 GMTx",
					  "Sun, 06 Nov 1994 08:49:37 UTC",
					  "Sun, 6 Nov 1994 08:49:37 GMT",
					  "Sun, 31 Feb 1994 08:49:37 GMT",
					  "Sun, 00 Nov 1994 08:49:37 GMT",
					  "Sun, 06 Nov 1994 24:49:37 GMT",
					  "Sun, 06 Nov 0000 08:49:37 GMT",
					  "Sun, 06 nov 1994 08:49:37 GMT",
					  "Xyz, 06 Nov 1994 08:49:37 GMT",
					  "784111777"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(date(bad[i]), -1);
}

// Fields and, for each, what comes out for a file with ETag "e" changed at MODIFIED.
#define MODIFIED 784111777
#define SAME	 "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE	 "Sun, 06 Nov 1994 08:49:36 GMT"
static const struct {
	const char *fields;
	enum http_condition condition;
	bool range;
} conditions[] = {
    {"", HTTP_COND_SERVE, false},
    {"If-Match: \"x\", \"e\"\r\n", HTTP_COND_SERVE, false},
    {"If-Match: \"x\"\r\nIf-Match: \"e\"\r\n", HTTP_COND_SERVE, false},
    {"If-Match: *\r\n", HTTP_COND_SERVE, false},
    {"If-Match: \"x\"\r\n", HTTP_COND_FAILED, false},
    {"If-Match: W/\"e\"\r\n", HTTP_COND_FAILED, false},
    {"If-Match: \"x,\\\"e\"\r\n", HTTP_COND_FAILED, false},
    {"If-Match: \"e\"\r\nIf-Unmodified-Since: " BEFORE "\r\n", HTTP_COND_SERVE, false},
    {"If-Unmodified-Since: " SAME "\r\n", HTTP_COND_SERVE, false},
    {"If-Unmodified-Since: " BEFORE "\r\n", HTTP_COND_FAILED, false},
    {"If-Unmodified-Since: yesterday\r\n", HTTP_COND_SERVE, false},
    {"If-None-Match: \"e\"\r\n", HTTP_COND_NOT_MODIFIED, false},
    {"If-None-Match: W/\"e\"\r\n", HTTP_COND_NOT_MODIFIED, false},
    {"If-None-Match: *\r\n", HTTP_COND_NOT_MODIFIED, false},
    {"If-None-Match: \"x\"\r\nIf-Modified-Since: " SAME "\r\n", HTTP_COND_SERVE, false},
    {"If-Modified-Since: " SAME "\r\n", HTTP_COND_NOT_MODIFIED, false},
    {"If-Modified-Since: " BEFORE "\r\n", HTTP_COND_SERVE, false},
    {"If-Match: \"x\"\r\nIf-None-Match: \"e\"\r\n", HTTP_COND_FAILED, false},
    {"Range: bytes=0-1\r\n", HTTP_COND_SERVE, true},
    {"Range: bytes=0-1\r\nIf-Range: \"e\"\r\n", HTTP_COND_SERVE, true},
    {"Range: bytes=0-1\r\nIf-Range: \"x\"\r\n", HTTP_COND_SERVE, false},
    {"Range: bytes=0-1\r\nIf-Range: W/\"e\"\r\n", HTTP_COND_SERVE, false},
    {"Range: bytes=0-1\r\nIf-Range: " SAME "\r\n", HTTP_COND_SERVE, true},
    {"Range: bytes=0-1\r\nIf-Range: " BEFORE "\r\n", HTTP_COND_SERVE, false},
    {"Range: bytes=0-1\r\nIf-Range:\r\n", HTTP_COND_SERVE, false},
    {"Range: bytes=0-1\r\nIf-Range: \"e\"\r\nIf-Range: \"e\"\r\n", HTTP_COND_SERVE, false},
    {"Range: bytes=0-1\r\nRange: bytes=2-3\r\n", HTTP_COND_SERVE, false},
};

static void conditions_in_the_order_of_the_rfc(void **state)
{
	static const struct http_parse_limits limits = {HTTP_HEAD_MAX, HTTP_TARGET_MAX,
							HTTP_HEADERS_MAX};
	const struct http_validators v = {"\"e\"", 3, MODIFIED};

	for (size_t i = 0; i < ARRAY_SIZE(conditions); i++) {
		char head[400];
		struct http_parser p;
		struct http_request r;
		const char *reason;
		size_t used;
		int len =
		    sprintf(head, "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", conditions[i].fields);
		http_parser_init(&p);
		assert_int_equal(http_parse(&p, &limits, head, (size_t)len, &used),
				 HTTP_PARSE_HEAD);
		assert_int_equal(http_decode(head, &p, &r, &reason), 0);
		if (http_condition(head, &r, &v, MODIFIED + 9) != conditions[i].condition ||
		    http_range_applies(head, &r, &v, MODIFIED + 9) != conditions[i].range)
			fail_msg("%s", conditions[i].fields);
	}
}

static void where_a_body_goes_is_read_strictly(void **state)
{
	static const struct {
		const char *text;
		uint64_t first, length; // length 0: refused
	} puts[] =
	    {
		{"bytes 0-0/1", 0, 1},
		{"Bytes 5-9/10", 5, 5},
		{"bytes 5-9/*", 5, 5},
		{"bytes 5-9/9", 0, 0},
		{"bytes 9-5/10", 0, 0},
		{"bytes 5-9", 0, 0},
		{"bytes 5-/10", 0, 0},
		{"bytes */10", 0, 0},
		{"bytes 5-9/10 ", 0, 0},
		{"bytes=5-9/10", 0, 0},
		{"bytes 5-99999999999999999999/*", 0, 0},
		{"bytes 99999999999999999999-99999999999999999999/*", 0, 0},
		{"", 0, 0},
	    },
	  patches[] = {
	      {"append", 1000, UINT64_MAX},
	      {"APPEND", 1000, UINT64_MAX},
	      {"append ", 0, 0},
	      {"bytes=5-9", 5, 5},
	      {"bytes=5-", 5, UINT64_MAX},
	      {"bytes=2000-2001", 2000, 2},
	      {"bytes=-5", 995, UINT64_MAX},
	      {"bytes=-1001", 0, 0},
	      {"bytes=9-5", 0, 0},
	      {"bytes=-", 0, 0},
	      {"bytes=1-2,4-5", 0, 0},
	      {"5-9", 0, 0},
	  };
	struct http_place place;

	for (size_t i = 0; i < ARRAY_SIZE(puts); i++) {
		bool ok = http_content_range_parse(puts[i].text, strlen(puts[i].text), &place);
		if (ok != (puts[i].length > 0) ||
		    (ok && (place.first != puts[i].first || place.length != puts[i].length)))
			fail_msg("%s", puts[i].text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(patches); i++) {
		const char *text = patches[i].text;
		bool ok = http_update_range_parse(text, strlen(text), 1000, &place);
		if (ok != (patches[i].length > 0) ||
		    (ok && (place.first != patches[i].first || place.length != patches[i].length)))
			fail_msg("%s", text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(single_ranges),
	    cmocka_unit_test(near_ranges_are_joined_and_far_ones_keep_their_order),
	    cmocka_unit_test(too_many_ranges_are_ignored),
	    cmocka_unit_test(random_ranges_against_a_bitmap),
	    cmocka_unit_test(dates_agree_with_the_c_library_both_ways),
	    cmocka_unit_test(obsolete_dates_and_bad_ones),
	    cmocka_unit_test(conditions_in_the_order_of_the_rfc),
	    cmocka_unit_test(where_a_body_goes_is_read_strictly),
	};
	shim_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
