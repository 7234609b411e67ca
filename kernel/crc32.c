// SPDX-License-Identifier: BSD-2-Clause
// CRC-32 and CRC-32C, eight bytes a step ("slicing by 8"): slice[k][b] is the remainder of byte b
// followed by k zero bytes, so eight look-ups advance the remainder by eight bytes.
// Metadata only: file bytes are never summed.
#include "kernel/crc32.h"
#include "kernel/crc32_tables.h"
#include "kernel/kstring.h"

#define SLICES 8
typedef const uint32_t slices[SLICES][256];

CRC_POWERS(iso_, 0xedb88320); // reflected: bit 31 is the coefficient of x^0
CRC_POWERS(castagnoli_, 0x82f63b78);
static slices iso = CRC_SLICES(iso_);
static slices castagnoli = CRC_SLICES(castagnoli_);

static uint32_t advance(slices t, uint32_t crc, const uint8_t *p, size_t len)
{
	for (; len >= 8; p += 8, len -= 8) {
		uint32_t low, high;
		memcpy(&low, p, 4);
		memcpy(&high, p + 4, 4);
		low ^= crc;
		crc = t[7][low & 0xff] ^ t[6][low >> 8 & 0xff] ^ t[5][low >> 16 & 0xff] ^
		      t[4][low >> 24] ^ t[3][high & 0xff] ^ t[2][high >> 8 & 0xff] ^
		      t[1][high >> 16 & 0xff] ^ t[0][high >> 24];
	}
	for (; len; p++, len--)
		crc = (crc >> 8) ^ t[0][(crc ^ *p) & 0xff];
	return crc;
}

uint32_t crc32(uint32_t seed, const void *data, size_t len)
{
	return advance(iso, seed, data, len);
}

uint32_t crc32c(uint32_t seed, const void *data, size_t len)
{
	return advance(castagnoli, seed, data, len);
}
