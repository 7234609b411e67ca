// SPDX-License-Identifier: BSD-2-Clause
// What expat makes of a document, and what ours makes of it, as texts that are equal when both mean the same.
#pragma once

#include "kernel/base.h"

#define ORACLE_MAX 65536

enum oracle_verdict {
	ORACLE_AGREE,
	ORACLE_STRICTER, // ours refuses on purpose: a document type, a bound, an encoding
	ORACLE_DIFFER
};
// why: a sentence, after ORACLE_DIFFER.
enum oracle_verdict xml_oracle(const char *text, size_t len, const char **why);
