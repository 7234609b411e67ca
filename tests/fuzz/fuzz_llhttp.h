// SPDX-License-Identifier: BSD-2-Clause
// llhttp as the fuzz target's oracle, behind a header of its own: its enumerators have our names.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct llhttp_answer {
	bool accepted; // the head, up to and with the empty line
	bool chunked;
	uint64_t length;    // Content-Length, 0: none
	const char *reason; // why not
};
void llhttp_ask(const char *head, size_t len, struct llhttp_answer *answer);
