// SPDX-License-Identifier: BSD-2-Clause
// CRC-32 and CRC-32C, eight bytes a step ("slicing by 8"): tables[k][b] is the remainder of byte b
// followed by k zero bytes, so eight look-ups advance the remainder by eight bytes. Tables are made at
// first use; making them twice at once writes the same words twice, so nothing guards them.
// Metadata only: file bytes are never summed.
#include "kernel/crc32.h"
#include "kernel/kstring.h"

#define SLICES 8

struct crc_tables {
	uint32_t polynomial; // reflected: bit 31 is the coefficient of x^0
	volatile bool ready;
	uint32_t slice[SLICES][256];
};

static struct crc_tables iso = {.polynomial = 0xedb88320};
static struct crc_tables castagnoli = {.polynomial = 0x82f63b78};

static void make_tables(struct crc_tables *t)
{
	uint32_t crc = 1; // the remainder of `bit`; that of several is the sum of theirs
	for (uint32_t bit = 128; bit; bit >>= 1) {
		crc = (crc >> 1) ^ (crc & 1 ? t->polynomial : 0);
		for (uint32_t above = 0; above < 256; above += 2 * bit)
			t->slice[0][above + bit] = t->slice[0][above] ^ crc;
	}
	for (int k = 1; k < SLICES; k++)
		for (int byte = 0; byte < 256; byte++) {
			uint32_t crc = t->slice[k - 1][byte];
			t->slice[k][byte] = (crc >> 8) ^ t->slice[0][crc & 0xff];
		}
	t->ready = true;
}

static uint32_t advance(struct crc_tables *t, uint32_t crc, const uint8_t *p, size_t len)
{
	if (UNLIKELY(!t->ready))
		make_tables(t);
	for (; len >= 8; p += 8, len -= 8) {
		uint32_t low, high;
		memcpy(&low, p, 4);
		memcpy(&high, p + 4, 4);
		low ^= crc;
		crc = t->slice[7][low & 0xff] ^ t->slice[6][low >> 8 & 0xff] ^
		      t->slice[5][low >> 16 & 0xff] ^ t->slice[4][low >> 24] ^
		      t->slice[3][high & 0xff] ^ t->slice[2][high >> 8 & 0xff] ^
		      t->slice[1][high >> 16 & 0xff] ^ t->slice[0][high >> 24];
	}
	for (; len; p++, len--)
		crc = (crc >> 8) ^ t->slice[0][(crc ^ *p) & 0xff];
	return crc;
}

uint32_t crc32(uint32_t seed, const void *data, size_t len)
{
	return advance(&iso, seed, data, len);
}

uint32_t crc32c(uint32_t seed, const void *data, size_t len)
{
	return advance(&castagnoli, seed, data, len);
}
