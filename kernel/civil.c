// SPDX-License-Identifier: BSD-2-Clause
// Dates of the proleptic Gregorian calendar from and to Unix time (include/kernel/timer.h). Pure.
// The year is counted from 1 March, so that the leap day is the last of it; 400 years are 146,097
// days.
#include "kernel/timer.h"

#define DAYS_400_YEARS 146097
#define DAYS_TO_1970   719468 // from 0000-03-01 to 1970-01-01
#define DAY_SECONDS    86400

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

void civil_from_unix(int64_t unix_seconds, struct civil_time *out)
{
	int64_t day = floor_div(unix_seconds, DAY_SECONDS);
	unsigned second = (unsigned)(unix_seconds - day * DAY_SECONDS);
	int64_t era = floor_div(day + DAYS_TO_1970, DAYS_400_YEARS);
	unsigned in_era = (unsigned)(day + DAYS_TO_1970 - era * DAYS_400_YEARS);
	unsigned year =
	    (in_era - in_era / 1460 + in_era / 36524 - in_era / (DAYS_400_YEARS - 1)) / 365;
	unsigned in_year = in_era - (365 * year + year / 4 - year / 100); // 0: 1 March
	unsigned march_month = (5 * in_year + 2) / 153;			  // 0: March

	out->day = in_year - (153 * march_month + 2) / 5 + 1;
	out->month = march_month < 10 ? march_month + 3 : march_month - 9;
	out->year = (int)(era * 400 + year + (out->month <= 2));
	out->hour = second / 3600;
	out->minute = second / 60 % 60;
	out->second = second % 60;
	out->weekday = (unsigned)(((day + 4) % 7 + 7) % 7); // 1 January 1970 was a Thursday
}

int64_t civil_to_unix(const struct civil_time *t)
{
	int64_t year = (int64_t)t->year - (t->month <= 2);
	int64_t era = floor_div(year, 400);
	unsigned in_era_year = (unsigned)(year - era * 400);
	unsigned march_month = t->month > 2 ? t->month - 3 : t->month + 9;
	unsigned in_year = (153 * march_month + 2) / 5 + t->day - 1;
	int64_t in_era = in_era_year * 365 + in_era_year / 4 - in_era_year / 100 + (int64_t)in_year;

	return (era * DAYS_400_YEARS + in_era - DAYS_TO_1970) * DAY_SECONDS + t->hour * 3600 +
	       t->minute * 60 + t->second;
}
