// SPDX-License-Identifier: BSD-2-Clause
// For lwIP's own sources: netif_find's atoi, the one thing it wants from stdlib.h. Digits only; stops
// at the first other character, and at a value no interface number reaches.
#pragma once

static inline int atoi(const char *text)
{
	int value = 0;

	while (*text >= '0' && *text <= '9' && value < 100000)
		value = value * 10 + (*text++ - '0');
	return value;
}
