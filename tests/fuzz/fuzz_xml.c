// SPDX-License-Identifier: BSD-2-Clause
// The XML reader against expat: what ours accepts expat accepts and understands alike, and the other way
// round but for what ours refuses on purpose. The document lies in memory of its exact size.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "xml_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size ? size : 1);
	const char *why;

	memcpy(text, data, size);
	if (xml_oracle(text, size, &why) == ORACLE_DIFFER) {
		fprintf(stderr, "%s\n", why);
		abort();
	}
	free(text);
	return 0;
}
