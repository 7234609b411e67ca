// SPDX-License-Identifier: BSD-2-Clause
// The kernel command line: blank-separated words, "key" or "key=value". Each layer adds the words it
// knows as rows of a table. An unknown word or a refused value is named in an error, with the nearest
// known word, and changes nothing.
#pragma once

#include "kernel/base.h"

struct cmdline_option {
	const char *key;
	const char *usage; // "cache=unmapped  keep cache data pages out of the address space"
	// value is null for a bare word. Returns false to refuse it. Boot context, before any init.
	bool (*parse)(const char *value);
};
#define CMDLINE_OPTION(id, key_text, usage_text, function)                                         \
	static const struct cmdline_option cmdline_##id TABLE_ROW(cmdline_options) = {             \
	    .key = key_text, .usage = usage_text, .parse = function}

void cmdline_parse(const char *text);	  // boot, once; text need not outlive the call
const char *cmdline_text(void);		  // as it was given, cut where it was too long; constant
bool cmdline_selftest(void);		  // "selftest": run the guest tests, then leave
const char *cmdline_selftest_suite(void); // "selftest=SUITE": only these; null: all

// How many characters must be added, removed or changed to make one of the other (of each the first 64
// count). Pure. For errors that name the nearest known word.
unsigned edit_distance(const char *a, size_t a_len, const char *b, size_t b_len);
