// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: kernel/civil.c
// Dates against the host's C library, and every day of many years there and back.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "kernel/timer.h"
#include "shim.h"

#define DAY 86400

static void check(int64_t seconds)
{
	struct civil_time t;
	time_t host = seconds;
	struct tm tm;

	civil_from_unix(seconds, &t);
	assert_non_null(gmtime_r(&host, &tm));
	assert_int_equal(t.year, tm.tm_year + 1900);
	assert_int_equal(t.month, tm.tm_mon + 1);
	assert_int_equal(t.day, tm.tm_mday);
	assert_int_equal(t.hour, tm.tm_hour);
	assert_int_equal(t.minute, tm.tm_min);
	assert_int_equal(t.second, tm.tm_sec);
	assert_int_equal(t.weekday, tm.tm_wday);
	assert_true(civil_to_unix(&t) == seconds);
}

static void every_day_of_3000_years(void **state)
{
	for (int64_t day = -500 * 366; day < 2500 * 366; day++)
		check(day * DAY + (day * 7919) % DAY);
}

static void random_seconds_of_both_signs(void **state)
{
	for (int n = 0; n < 200000; n++) {
		int64_t seconds = (int64_t)(shim_random() >> 24);

		check(n % 2 ? seconds % (1LL << 38) : -(seconds % (1LL << 36)));
	}
}

static void known_moments(void **state)
{
	static const struct {
		int64_t seconds;
		struct civil_time t;
	} known[] = {
	    {0, {1970, 1, 1, 0, 0, 0, 4}},	    {-1, {1969, 12, 31, 23, 59, 59, 3}},
	    {951782400, {2000, 2, 29, 0, 0, 0, 2}}, {2147483648, {2038, 1, 19, 3, 14, 8, 2}},
	    {4107542400, {2100, 3, 1, 0, 0, 0, 1}}, {-62167219200, {0, 1, 1, 0, 0, 0, 6}},
	};

	for (size_t n = 0; n < ARRAY_SIZE(known); n++) {
		struct civil_time t;

		civil_from_unix(known[n].seconds, &t);
		assert_memory_equal(&t, &known[n].t, sizeof(t));
		assert_true(civil_to_unix(&known[n].t) == known[n].seconds);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(known_moments),
	    cmocka_unit_test(every_day_of_3000_years),
	    cmocka_unit_test(random_seconds_of_both_signs),
	};
	return cmocka_run_group_tests_name("civil", tests, NULL, NULL);
}
