// SPDX-License-Identifier: BSD-2-Clause
// Changing the users file as text: lines that are not meant stay as they are, comments too. Pure.
#pragma once

#include "kernel/base.h"
#include "server/http_text.h"

struct rights_edit {
	// The line to take out: of this kind, with these words behind it (null: any).
	const char *kind, *first, *second;
	// What comes instead, at the place of the first one taken out or else at the end; null: nothing.
	const char *line;
};
// Writes the changed text to t. How many lines were taken out.
unsigned rights_edit(const char *text, size_t len, const struct rights_edit *edit, struct text *t);
