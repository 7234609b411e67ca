// SPDX-License-Identifier: BSD-2-Clause
// The kernel command line; contract in include/kernel/cmdline.h. Words are rows of a linker-gathered
// table; what is not in the table is an error that names its nearest neighbour.
#include "kernel/cmdline.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"

#define LINE_BYTES 1024
#define WORD_MAX   64 // the longest word that is compared with the known ones

extern const struct cmdline_option __start_cmdline_options[] __attribute__((weak));
extern const struct cmdline_option __stop_cmdline_options[] __attribute__((weak));

static char line[LINE_BYTES];
static bool selftest;
static const char *selftest_suite; // points into `line`

// Levenshtein distance, one row at a time.
unsigned edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned row[WORD_MAX + 1];

	a_len = MIN(a_len, (size_t)WORD_MAX);
	b_len = MIN(b_len, (size_t)WORD_MAX);
	for (size_t j = 0; j <= b_len; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			unsigned replace = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN(replace, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[b_len];
}

static void report_unknown(const char *key, size_t len)
{
	const struct cmdline_option *nearest = NULL;
	unsigned best = 0;

	for (const struct cmdline_option *o = __start_cmdline_options; o < __stop_cmdline_options;
	     o++) {
		unsigned distance = edit_distance(key, len, o->key, strlen(o->key));

		if (!nearest || distance < best) {
			nearest = o;
			best = distance;
		}
	}
	kprintf("command line: unknown word \"%.*s\"", (int)len, key);
	if (nearest)
		kprintf("; the nearest known is \"%s\" (%s)", nearest->key, nearest->usage);
	kprintf("\n");
}

// word: terminated, writable, not empty.
static void parse_word(char *word)
{
	char *equals = strchr(word, '=');
	size_t key_len = equals ? (size_t)(equals - word) : strlen(word);

	for (const struct cmdline_option *o = __start_cmdline_options; o < __stop_cmdline_options;
	     o++) {
		if (strlen(o->key) != key_len || strncmp(o->key, word, key_len))
			continue;
		if (!o->parse(equals ? equals + 1 : NULL))
			kprintf("command line: \"%s\" is refused; usage: %s\n", word, o->usage);
		return;
	}
	report_unknown(word, key_len);
}

// Half a word would be another word, or another address.
static void cut_at_a_word(void)
{
	size_t len = strlen(line);

	while (len && line[len] != ' ' && line[len] != '\t')
		len--;
	line[len] = 0;
	kprintf("command line: longer than %u characters, cut behind \"%s\"\n", LINE_BYTES - 1,
		line + (len > 32 ? len - 32 : 0));
}

void cmdline_parse(const char *text)
{
	static char words[LINE_BYTES];
	char *p = words;

	if (kstrlcpy(line, text, sizeof(line)) >= sizeof(line))
		cut_at_a_word();
	kstrlcpy(words, line, sizeof(words));
	for (;;) {
		char *word;

		while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')
			p++;
		if (!*p)
			return;
		word = p;
		while (*p && *p != ' ' && *p != '\t' && *p != '\n' && *p != '\r')
			p++;
		if (*p)
			*p++ = 0;
		parse_word(word);
	}
}

const char *cmdline_text(void)
{
	return line;
}

bool cmdline_selftest(void)
{
	return selftest;
}

const char *cmdline_selftest_suite(void)
{
	return selftest_suite;
}

static bool parse_selftest(const char *value)
{
	selftest = true;
	selftest_suite = value;
	return true;
}
CMDLINE_OPTION(option_selftest, "selftest",
	       "selftest[=SUITE]  run the tests inside the kernel, then leave", parse_selftest);
