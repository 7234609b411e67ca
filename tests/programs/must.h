// SPDX-License-Identifier: BSD-2-Clause
// For test programs: what must hold, or the program says which line it was, and ends.
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("line %d: %s: %s\n", __LINE__, #condition, strerror(errno));        \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)
