// SPDX-License-Identifier: BSD-2-Clause
// The tables of kernel/crc32.c, computed by the compiler: slice[k][b] is the remainder of byte b followed by k zero
// bytes. Remainders add up (by exclusive or), so an entry is the sum of those of the byte's bits, and the remainders
// of single bits are one sequence: each is the one before, shifted by one more bit.
//
//	CRC_POWERS(name, 0x...);	the remainders of bits, of a reflected polynomial
//	static const uint32_t slice[8][256] = CRC_SLICES(name);
#pragma once

#include "kernel/base.h"

#define CRC_SHIFT(n, from, polynomial) ((n##from) >> 1 ^ ((n##from) & 1 ? (polynomial) : 0))

// Of the eight bits of a byte before k bytes, the highest first: that one follows from the lowest before k - 1.
#define CRC_BYTE(n, k, before, p)                                                                  \
	n##k##_0 = CRC_SHIFT(n, before, p), n##k##_1 = CRC_SHIFT(n, k##_0, p),                     \
	n##k##_2 = CRC_SHIFT(n, k##_1, p), n##k##_3 = CRC_SHIFT(n, k##_2, p),                      \
	n##k##_4 = CRC_SHIFT(n, k##_3, p), n##k##_5 = CRC_SHIFT(n, k##_4, p),                      \
	n##k##_6 = CRC_SHIFT(n, k##_5, p), n##k##_7 = CRC_SHIFT(n, k##_6, p)

#define CRC_POWERS(n, p)                                                                           \
	enum {                                                                                     \
		n##one = 1U,                                                                       \
		CRC_BYTE(n, 0, one, p),                                                            \
		CRC_BYTE(n, 1, 0_7, p),                                                            \
		CRC_BYTE(n, 2, 1_7, p),                                                            \
		CRC_BYTE(n, 3, 2_7, p),                                                            \
		CRC_BYTE(n, 4, 3_7, p),                                                            \
		CRC_BYTE(n, 5, 4_7, p),                                                            \
		CRC_BYTE(n, 6, 5_7, p),                                                            \
		CRC_BYTE(n, 7, 6_7, p)                                                             \
	}

#define CRC_ENTRY(n, k, b)                                                                         \
	(((b)&0x80 ? n##k##_0 : 0U) ^ ((b)&0x40 ? n##k##_1 : 0U) ^ ((b)&0x20 ? n##k##_2 : 0U) ^    \
	 ((b)&0x10 ? n##k##_3 : 0U) ^ ((b)&0x08 ? n##k##_4 : 0U) ^ ((b)&0x04 ? n##k##_5 : 0U) ^    \
	 ((b)&0x02 ? n##k##_6 : 0U) ^ ((b)&0x01 ? n##k##_7 : 0U))
#define CRC_4(n, k, b)                                                                             \
	CRC_ENTRY(n, k, b), CRC_ENTRY(n, k, (b) + 1), CRC_ENTRY(n, k, (b) + 2),                    \
	    CRC_ENTRY(n, k, (b) + 3)
#define CRC_16(n, k, b)                                                                            \
	CRC_4(n, k, b), CRC_4(n, k, (b) + 4), CRC_4(n, k, (b) + 8), CRC_4(n, k, (b) + 12)
#define CRC_64(n, k, b)                                                                            \
	CRC_16(n, k, b), CRC_16(n, k, (b) + 16), CRC_16(n, k, (b) + 32), CRC_16(n, k, (b) + 48)
#define CRC_SLICE(n, k)                                                                            \
	{                                                                                          \
		CRC_64(n, k, 0), CRC_64(n, k, 64), CRC_64(n, k, 128), CRC_64(n, k, 192)            \
	}
#define CRC_SLICES(n)                                                                              \
	{                                                                                          \
		CRC_SLICE(n, 0), CRC_SLICE(n, 1), CRC_SLICE(n, 2), CRC_SLICE(n, 3),                \
		    CRC_SLICE(n, 4), CRC_SLICE(n, 5), CRC_SLICE(n, 6), CRC_SLICE(n, 7)             \
	}
