// SPDX-License-Identifier: BSD-2-Clause
// The Internet checksum (RFC 1071) of what we receive and of ICMP: stage 4 of the read path. Frames that
// carry requests are short, so the start counts as much as the loop. lwIP calls it through LWIP_CHKSUM
// for each pbuf of a packet and puts the parts together.
#include "lwip/arch.h"

// Words of eight bytes, little-endian whatever the address: the sum of 16-bit words does not mind
// wider ones as long as the carry comes round (RFC 1071, 2 (C)). Folded to 16 bits.
static inline uint16_t sum_of(const uint8_t *p, int len, uint64_t sum)
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

uint16_t net_checksum(const void *data, int len)
{
	return sum_of(data, len, 0);
}

uint16_t net_checksum_pseudo(const void *data, int len, uint32_t source, uint32_t destination,
			     uint8_t protocol, uint16_t protocol_len)
{
	uint64_t start = (uint64_t)source + destination + ((uint64_t)protocol << 8) +
			 __builtin_bswap16(protocol_len);

	return (uint16_t)~sum_of(data, len, start);
}
