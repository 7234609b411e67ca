// SPDX-License-Identifier: BSD-2-Clause
// Changing the users file as text: see rights_edit.h. Pure.
#include "server/rights_edit.h"
#include "kernel/kstring.h"

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

// Whether word n (from 0) of the line is that one; null: any.
static bool word_is(const char *line, size_t len, unsigned n, const char *word)
{
	size_t at = 0, start;

	for (unsigned i = 0;; i++) {
		while (at < len && blank(line[at]))
			at++;
		start = at;
		while (at < len && !blank(line[at]))
			at++;
		if (i == n)
			return !word || (at - start == strlen(word) &&
					 memcmp(line + start, word, at - start) == 0);
		if (at == len)
			return !word;
	}
}

static void put_line(struct text *t, const char *line)
{
	if (!line)
		return;
	text_str(t, line);
	text_char(t, '\n');
}

unsigned rights_edit(const char *text, size_t len, const struct rights_edit *e, struct text *t)
{
	unsigned taken = 0;

	for (size_t at = 0; at < len;) {
		const char *line = text + at, *end = memchr(line, '\n', len - at);
		size_t n = end ? (size_t)(end - line) : len - at;
		at += n + 1;
		if (word_is(line, n, 0, e->kind) && word_is(line, n, 1, e->first) &&
		    word_is(line, n, 2, e->second)) {
			put_line(t, taken++ ? NULL : e->line);
			continue;
		}
		text_bytes(t, line, n);
		text_char(t, '\n');
	}
	if (!taken)
		put_line(t, e->line);
	return taken;
}
