// SPDX-License-Identifier: BSD-2-Clause
// HTTP dates: see http_date.h.
#include "server/http_date.h"
#include "kernel/kstring.h"
#include "kernel/timer.h"

static const char days[7][10] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
				 "Thursday", "Friday", "Saturday"};
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

#define YEAR_1	  (-62135596800LL) // 0001-01-01T00:00:00Z
#define YEAR_9999 253402300799LL   // 9999-12-31T23:59:59Z

static char *put(char *out, const char *text, size_t len)
{
	memcpy(out, text, len);
	return out + len;
}

static char *put_number(char *out, unsigned value, unsigned digits, char after)
{
	for (unsigned i = digits; i-- > 0; value /= 10)
		out[i] = (char)('0' + value % 10);
	out[digits] = after;
	return out + digits + 1;
}

void http_date_format(int64_t unix_seconds, char out[HTTP_DATE_LEN])
{
	struct civil_time t;

	civil_from_unix(MAX(YEAR_1, MIN(unix_seconds, YEAR_9999)), &t);
	out = put(out, days[t.weekday], 3);
	out = put(out, ", ", 2);
	out = put_number(out, t.day, 2, ' ');
	out = put(out, months + 3 * (t.month - 1), 3);
	*out++ = ' ';
	out = put_number(out, (unsigned)t.year, 4, ' ');
	out = put_number(out, t.hour, 2, ':');
	out = put_number(out, t.minute, 2, ':');
	out = put_number(out, t.second, 2, ' ');
	put(out, "GMT", 3);
}

struct reader {
	const char *at, *end;
	bool ok;
};

static void expect(struct reader *r, const char *text)
{
	size_t len = strlen(text);

	r->ok = r->ok && (size_t)(r->end - r->at) >= len && memcmp(r->at, text, len) == 0;
	if (r->ok)
		r->at += len;
}

static unsigned number(struct reader *r, unsigned digits)
{
	unsigned n = 0;

	for (; digits; digits--, r->at += r->ok) {
		r->ok = r->ok && r->at < r->end && *r->at >= '0' && *r->at <= '9';
		if (r->ok)
			n = n * 10 + (unsigned)(*r->at - '0');
	}
	return n;
}

static unsigned month(struct reader *r)
{
	for (unsigned m = 0; r->ok && r->end - r->at >= 3 && m < 12; m++)
		if (memcmp(r->at, months + 3 * m, 3) == 0) {
			r->at += 3;
			return m + 1;
		}
	r->ok = false;
	return 0;
}

static void clock_time(struct reader *r, struct civil_time *t)
{
	t->hour = number(r, 2);
	expect(r, ":");
	t->minute = number(r, 2);
	expect(r, ":");
	t->second = number(r, 2);
}

static void imf_fixdate(struct reader *r, struct civil_time *t)
{
	expect(r, ", ");
	t->day = number(r, 2);
	expect(r, " ");
	t->month = month(r);
	expect(r, " ");
	t->year = (int)number(r, 4);
	expect(r, " ");
	clock_time(r, t);
	expect(r, " GMT");
}

static void rfc850(struct reader *r, struct civil_time *t, int64_t now)
{
	struct civil_time today;

	expect(r, ", ");
	t->day = number(r, 2);
	expect(r, "-");
	t->month = month(r);
	expect(r, "-");
	civil_from_unix(now, &today);
	t->year = today.year - today.year % 100 + (int)number(r, 2);
	if (t->year > today.year + 50)
		t->year -= 100;
	else if (t->year <= today.year - 50)
		t->year += 100;
	expect(r, " ");
	clock_time(r, t);
	expect(r, " GMT");
}

static void asctime_date(struct reader *r, struct civil_time *t)
{
	expect(r, " ");
	t->month = month(r);
	expect(r, " ");
	if (r->ok && r->at < r->end && *r->at == ' ') {
		r->at++;
		t->day = number(r, 1);
	} else {
		t->day = number(r, 2);
	}
	expect(r, " ");
	clock_time(r, t);
	expect(r, " ");
	t->year = (int)number(r, 4);
}

// A day that the calendar has; 60 seconds are a leap second, taken as the next minute's first.
static bool civil_ok(const struct civil_time *t)
{
	struct civil_time back;

	if (t->year < 1 || t->month < 1 || t->day < 1 || t->day > 31 || t->hour > 23 ||
	    t->minute > 59 || t->second > 60)
		return false;
	civil_from_unix(civil_to_unix(t), &back);
	return t->second == 60 || (back.day == t->day && back.month == t->month);
}

bool http_date_parse(const char *text, size_t len, int64_t now, int64_t *unix_seconds)
{
	for (unsigned d = 0; d < ARRAY_SIZE(days); d++) {
		size_t whole = strlen(days[d]);
		struct reader r = {.at = text, .end = text + len, .ok = true};
		struct civil_time t = {0};

		if (len < 3 || memcmp(text, days[d], 3) != 0)
			continue;
		if (len > whole && memcmp(text, days[d], whole) == 0) {
			r.at += whole;
			rfc850(&r, &t, now);
		} else {
			r.at += 3;
			if (r.at < r.end && *r.at == ',')
				imf_fixdate(&r, &t);
			else
				asctime_date(&r, &t);
		}
		if (!r.ok || r.at != r.end || !civil_ok(&t))
			return false;
		*unix_seconds = civil_to_unix(&t);
		return true;
	}
	return false;
}
