// SPDX-License-Identifier: BSD-2-Clause
// The console's font for framebuffers. The glyphs are made at build time from the distribution's Spleen
// (drivers/font.py): ASCII 0x20-0x7e, Latin-1 0xa0-0xff, and a box for the rest.
#pragma once

#include "kernel/base.h"

#define FONT_WIDTH  8
#define FONT_HEIGHT 16
#define FONT_ASCII  95
#define FONT_LATIN1 96
#define FONT_GLYPHS (FONT_ASCII + FONT_LATIN1 + 1)

extern const uint8_t font_bits[FONT_GLYPHS][FONT_HEIGHT]; // a byte a row, bit 7 on the left

static inline const uint8_t *font_glyph(uint16_t code)
{
	if (code >= 0x20 && code < 0x20 + FONT_ASCII)
		return font_bits[code - 0x20];
	if (code >= 0xa0 && code <= 0xff)
		return font_bits[FONT_ASCII + code - 0xa0];
	return font_bits[FONT_GLYPHS - 1];
}
