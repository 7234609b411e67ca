// SPDX-License-Identifier: BSD-2-Clause
// Statistics and the trace: what comes out is well formed and complete.
#include <stdarg.h>
#include "kernel/copy.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/pmm.h"
#include "kernel/trace.h"

// ---- kstat ----

static uint64_t test_counter = 41;
KSTAT_COUNTER(test_counter, "pagewire_test_rows_total", "Made by a test of the statistics.");

struct name_check {
	const struct kstat *before;
	unsigned rows;
};

static void check_name(const struct kstat *row, void *ctx)
{
	struct name_check *check = ctx;
	size_t len = strlen(row->name);
	bool total = len > 6 && !strcmp(row->name + len - 6, "_total");
	int by_name = check->before ? strcmp(check->before->name, row->name) : -1;

	check->rows++;
	if (strncmp(row->name, "pagewire_", 9))
		ktest_fail(__FILE__, __LINE__, "%s: the prefix is missing", row->name);
	if (total != (row->type == KSTAT_COUNTER_T))
		ktest_fail(__FILE__, __LINE__, "%s: counters and only they end in _total",
			   row->name);
	if (by_name > 0)
		ktest_fail(__FILE__, __LINE__, "%s is out of order", row->name);
	if (by_name == 0 && !strcmp(check->before->labels ? check->before->labels : "",
				    row->labels ? row->labels : ""))
		ktest_fail(__FILE__, __LINE__, "%s{%s} is there twice", row->name,
			   row->labels ? row->labels : "");
	if (by_name == 0 && row->type != check->before->type)
		ktest_fail(__FILE__, __LINE__, "%s has two types", row->name);
	if (by_name == 0 && strcmp(row->help, check->before->help))
		ktest_fail(__FILE__, __LINE__, "%s has two help texts", row->name);
	check->before = row;
}

KTEST("kstat", names, "rows-are-sorted-named-by-the-rules-and-unique")
{
	struct name_check check = {0};

	kstat_each(check_name, &check);
	ktest_note("%u rows", check.rows);
	EXPECT(check.rows > 20);
	EXPECT_EQ(kstat_get("pagewire_test_rows_total", NULL), 41);
}

static void get_missing(void *arg)
{
	(void)kstat_get("pagewire_no_such_thing_total", NULL);
}

KTEST("kstat", missing, "asking-for-a-row-that-is-not-there-panics")
{
	EXPECT(ktest_panics(get_missing, NULL));
	EXPECT(strstr(ktest_panic_text(), "pagewire_no_such_thing_total") != NULL);
}

#define EXPOSITION (256 * 1024)
struct text {
	char *at;
	size_t len;
};

static void append(void *ctx, const char *format, ...)
{
	struct text *text = ctx;
	va_list args;

	va_start(args, format);
	text->len +=
	    (size_t)kvsnprintf(text->at + text->len,
			       text->len < EXPOSITION ? EXPOSITION - text->len : 0, format, args);
	va_end(args);
}

// The family a line belongs to must be the one that the TYPE line above it opened, and no family
// may be opened twice. A histogram's rows have the family's name and a suffix.
static unsigned check_exposition(char *text)
{
	char *family = NULL, *line, *next;
	size_t family_len = 0;
	unsigned rows = 0;

	for (line = text; *line; line = next) {
		next = strchr(line, '\n');
		if (!next)
			break;
		*next++ = 0;
		if (!strncmp(line, "# TYPE ", 7)) {
			family = line + 7;
			family_len = (size_t)(strchr(family, ' ') - family);
			for (char *later = next; (later = strstr(later, "# TYPE ")); later += 7)
				if (!strncmp(later + 7, family, family_len + 1))
					ktest_fail(__FILE__, __LINE__, "two families %s", family);
		} else if (*line != '#') {
			rows++;
			if (!family || strncmp(line, family, family_len))
				ktest_fail(__FILE__, __LINE__, "row %s in a strange family", line);
			if (!strchr(line, ' '))
				ktest_fail(__FILE__, __LINE__, "row %s without a value", line);
		}
	}
	return rows;
}

KTEST("kstat", exposition, "the-exposition-opens-each-family-once-and-keeps-rows-in-it")
{
	struct text text = {.at = kpages_alloc(EXPOSITION)};

	EXPECT(text.at != NULL);
	if (!text.at)
		return;
	kstat_write(append, &text);
	EXPECT(text.len < EXPOSITION);
	EXPECT(strstr(text.at, "pagewire_wtd_latency_seconds_bucket{") != NULL);
	EXPECT(strstr(text.at, "pagewire_pool_used{pool=\"thread\"}") != NULL);
	EXPECT(strstr(text.at, "pagewire_copy_bytes_total{site=\"other\"}") != NULL);
	EXPECT(check_exposition(text.at) > 100);
	kpages_free(text.at, EXPOSITION);
}

// ---- trace ----

struct seen {
	unsigned lines, hogs;
	char last[160];
};

static void see(void *ctx, const char *text)
{
	struct seen *seen = ctx;

	seen->lines++;
	seen->hogs += strstr(text, "test-trace") != NULL;
	kstrlcpy(seen->last, text, sizeof(seen->last));
}

KTEST("trace", text, "events-come-back-as-sentences-oldest-first")
{
	struct seen seen = {0};

	trace(TRACE_WTD_HOG, (uintptr_t) "test-trace", 1, 0);
	trace(TRACE_WTD_HOG, (uintptr_t) "test-trace", 123456, 0);
	trace_dump(2, see, &seen);
	EXPECT_EQ(seen.lines, 2);
	EXPECT_EQ(seen.hogs, 2);
	EXPECT(strstr(seen.last, "a WTD of test-trace ran for 123456 ns") != NULL);
}

KTEST("trace", wraps, "the-ring-keeps-the-last-events-and-no-more")
{
	struct seen seen = {0};

	for (uint64_t n = 0; n < 5000; n++)
		trace(TRACE_WTD_HOG, (uintptr_t) "test-trace", n, 0);
	trace_dump(100000, see, &seen);
	EXPECT(seen.lines >= 1000 && seen.lines < 5000);
	EXPECT(strstr(seen.last, " 4999 ns") != NULL);
}
