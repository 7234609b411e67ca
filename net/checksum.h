// SPDX-License-Identifier: BSD-2-Clause
// The Internet checksum (RFC 1071), inline: frames that carry requests are short, so the start counts as
// much as the loop.
#pragma once

#include "kernel/base.h"

// Words of eight bytes, little-endian whatever the address: the sum of 16-bit words does not mind
// wider ones as long as the carry comes round (RFC 1071, 2 (C)). Folded to 16 bits.
static inline uint16_t net_sum(const uint8_t *p, int len, uint64_t sum)
{
	uint64_t rest = 0;

	for (; len >= 32; p += 32, len -= 32)
		__asm__(
		    "addq (%1), %0; adcq 8(%1), %0; adcq 16(%1), %0; adcq 24(%1), %0; adcq $0, %0"
		    : "+r"(sum)
		    : "r"(p), "m"(*(const uint8_t(*)[32])p)
		    : "cc");
	for (; len >= 8; p += 8, len -= 8)
		__asm__("addq (%1), %0; adcq $0, %0"
			: "+r"(sum)
			: "r"(p), "m"(*(const uint8_t(*)[8])p)
			: "cc");
	if (len & 4) {
		rest = *(const uint32_t *)p;
		p += 4;
	}
	if (len & 2) {
		rest += *(const uint16_t *)p;
		p += 2;
	}
	if (len & 1)
		rest += *p;
	__asm__("addq %1, %0; adcq $0, %0" : "+r"(sum) : "r"(rest) : "cc");
	sum = (uint32_t)sum + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

// The sum of two 16-bit words.
static inline uint16_t net_sum_2(uint16_t a, uint16_t b)
{
	uint32_t sum = (uint32_t)a + b;

	return (uint16_t)(sum + (sum >> 16));
}

// Whether a sum of 16-bit words, of any width, is one that a sound packet has: all ones, which is zero in
// one's complement. 0xffff divides 2^64 - 1, so carries that came round (2 (C)) do not matter.
static inline bool net_sum_sound(uint64_t sum)
{
	// sum % 0xffff == 0, with the inverse of 0xffff modulo 2^64: the exact multiples, and no others, come out small
	return sum * 0xfffefffefffeffffUL <= UINT64_MAX / 0xffff;
}

// The sum of 20 bytes, as many as IPv4's header has, on top of another; not folded.
static inline uint64_t net_sum_20(const uint8_t *p, uint64_t sum)
{
	uint64_t last = *(const uint32_t *)(p + 16);

	__asm__("addq (%1), %0; adcq 8(%1), %0; adcq %2, %0; adcq $0, %0"
		: "+r"(sum)
		: "r"(p), "r"(last), "m"(*(const uint8_t(*)[16])p)
		: "cc");
	return sum;
}

// The bytes' sum on top of another, not folded. May read up to seven bytes behind the last: for frames in
// their buffers.
static inline uint64_t net_sum_wide(const uint8_t *p, uint32_t len, uint64_t sum)
{
	for (; len >= 64; p += 64, len -= 64)
		__asm__("addq (%1), %0; adcq 8(%1), %0; adcq 16(%1), %0; adcq 24(%1), %0;"
			"adcq 32(%1), %0; adcq 40(%1), %0; adcq 48(%1), %0; adcq 56(%1), %0; adcq "
			"$0, %0"
			: "+r"(sum)
			: "r"(p), "m"(*(const uint8_t(*)[64])p)
			: "cc");
	if (len & 32) {
		__asm__(
		    "addq (%1), %0; adcq 8(%1), %0; adcq 16(%1), %0; adcq 24(%1), %0; adcq $0, %0"
		    : "+r"(sum)
		    : "r"(p), "m"(*(const uint8_t(*)[32])p)
		    : "cc");
		p += 32;
	}
	if (len & 16) {
		__asm__("addq (%1), %0; adcq 8(%1), %0; adcq $0, %0"
			: "+r"(sum)
			: "r"(p), "m"(*(const uint8_t(*)[16])p)
			: "cc");
		p += 16;
	}
	if (len & 8) {
		__asm__("addq (%1), %0; adcq $0, %0"
			: "+r"(sum)
			: "r"(p), "m"(*(const uint8_t(*)[8])p)
			: "cc");
		p += 8;
	}
	if (len % 8) {
		uint64_t rest;
		__builtin_memcpy(&rest, p, sizeof(rest));
		rest &= (1UL << len % 8 * 8) - 1;
		__asm__("addq %1, %0; adcq $0, %0" : "+r"(sum) : "r"(rest) : "cc");
	}
	return sum;
}
