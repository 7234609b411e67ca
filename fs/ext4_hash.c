// SPDX-License-Identifier: BSD-2-Clause
// The hashes that order a directory's index: the first ext3 attempt ("legacy"), half of MD4 (RFC
// 1320, three rounds of eight steps), and TEA (Wheeler and Needham, 1994) as a compression
// function. Each exists twice, as characters above 127 were once taken as negative on machines with
// a signed char; the superblock remembers which kind of machine made the volume. Pure.
#include "fs/ext4.h"

#define HASH_END 0x7fffffffU // 31 bits of ones mean "past the last name"

static uint32_t rotate_left(uint32_t word, int bits)
{
	return word << bits | word >> (32 - bits);
}

static uint32_t character(const char *name, size_t i, bool is_unsigned)
{
	return is_unsigned ? (uint32_t)(uint8_t)name[i] : (uint32_t)(int32_t)(int8_t)name[i];
}

// Packs the next `words` words from what is left of the name, four characters a word, the first one
// uppermost; what is missing is filled with the length.
static void pack(const char *name, size_t left, bool is_unsigned, uint32_t *out, unsigned words)
{
	uint32_t fill = (uint32_t)left | (uint32_t)left << 8;
	size_t at = 0;
	fill |= fill << 16;
	for (unsigned i = 0; i < words; i++) {
		out[i] = fill;
		for (unsigned k = 0; k < 4 && at < left; k++)
			out[i] = (out[i] << 8) + character(name, at++, is_unsigned);
	}
}

// RFC 1320 section 3.4, the auxiliary functions of the three rounds.
static uint32_t choose(uint32_t x, uint32_t y, uint32_t z)
{
	return (x & y) | (~x & z);
}
static uint32_t majority(uint32_t x, uint32_t y, uint32_t z)
{
	return (x & y) | (x & z) | (y & z);
}
static uint32_t parity(uint32_t x, uint32_t y, uint32_t z)
{
	return x ^ y ^ z;
}

static void half_md4(uint32_t state[4], const uint32_t in[8])
{
	static const struct {
		uint32_t (*mix)(uint32_t, uint32_t, uint32_t);
		uint32_t constant;
		uint8_t order[8], shift[4];
	} rounds[] = {
	    {choose, 0, {0, 1, 2, 3, 4, 5, 6, 7}, {3, 7, 11, 19}},
	    {majority, 0x5a827999, {1, 3, 5, 7, 0, 2, 4, 6}, {3, 5, 9, 13}},
	    {parity, 0x6ed9eba1, {3, 7, 2, 6, 1, 5, 0, 4}, {3, 9, 11, 15}},
	};
	uint32_t word[4] = {state[0], state[1], state[2], state[3]};
	for (unsigned r = 0; r < ARRAY_SIZE(rounds); r++)
		for (unsigned step = 0; step < 8; step++) {
			// The words take turns: a, d, c, b.
			uint32_t *a = &word[-step & 3], b = word[(1 - step) & 3];
			uint32_t c = word[(2 - step) & 3], d = word[(3 - step) & 3];
			*a +=
			    rounds[r].mix(b, c, d) + in[rounds[r].order[step]] + rounds[r].constant;
			*a = rotate_left(*a, rounds[r].shift[step % 4]);
		}
	for (unsigned i = 0; i < 4; i++)
		state[i] += word[i];
}

static void tea(uint32_t state[2], const uint32_t key[4])
{
	uint32_t y = state[0], z = state[1], sum = 0;
	for (int cycle = 0; cycle < 16; cycle++) {
		sum += 0x9e3779b9;
		y += ((z << 4) + key[0]) ^ (z + sum) ^ ((z >> 5) + key[1]);
		z += ((y << 4) + key[2]) ^ (y + sum) ^ ((y >> 5) + key[3]);
	}
	state[0] += y;
	state[1] += z;
}

static uint32_t legacy(const char *name, size_t len, bool is_unsigned)
{
	uint32_t newer = 0x12a3fe2d, older = 0x37abe8f9;
	for (size_t i = 0; i < len; i++) {
		uint32_t next = older + (newer ^ character(name, i, is_unsigned) * 7152373U);
		if (next & 0x80000000U)
			next -= 0x7fffffffU;
		older = newer;
		newer = next;
	}
	return newer << 1;
}

uint32_t ext4_hash(unsigned version, const uint32_t seed[4], const char *name, size_t len)
{
	uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
	uint32_t words[8], hash;
	bool is_unsigned = version >= EXT4_HASH_UNSIGNED;
	if (seed[0] | seed[1] | seed[2] | seed[3])
		for (unsigned i = 0; i < 4; i++)
			state[i] = seed[i];
	switch (version % EXT4_HASH_UNSIGNED) {
	case EXT4_HASH_HALF_MD4:
		for (size_t at = 0; at < len; at += sizeof(words)) {
			pack(name + at, len - at, is_unsigned, words, 8);
			half_md4(state, words);
		}
		hash = state[1];
		break;
	case EXT4_HASH_TEA:
		for (size_t at = 0; at < len; at += sizeof(words) / 2) {
			pack(name + at, len - at, is_unsigned, words, 4);
			tea(state, words);
		}
		hash = state[0];
		break;
	default:
		hash = legacy(name, len, is_unsigned);
	}
	hash &= ~1U;
	return hash == HASH_END << 1 ? (HASH_END - 1) << 1 : hash;
}
