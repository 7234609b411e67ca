// SPDX-License-Identifier: BSD-2-Clause
// lwIP's view of the compiler and of the machine. Included first by every lwIP header.
#pragma once

#include "kernel/base.h"
#include "kernel/copy.h"
#include "kernel/kprintf.h"
#include "kernel/panic.h"

#ifndef BYTE_ORDER // the host's <endian.h> has it, with the same meaning
#define BYTE_ORDER LITTLE_ENDIAN
#endif

#ifndef PAGEWIRE_HOST
#define LWIP_NO_INTTYPES_H 1
#define LWIP_NO_LIMITS_H   1
#define LWIP_NO_UNISTD_H   1
#ifndef INT_MAX
#define INT_MAX 0x7fffffff
#endif
#define X8_F  "02x"
#define U16_F "u"
#define S16_F "d"
#define X16_F "x"
#define U32_F "u"
#define S32_F "d"
#define X32_F "x"
#define SZT_F "zu"
#endif
#define LWIP_NO_CTYPE_H 1

// A broken invariant of lwIP's is one of ours.
#define LWIP_PLATFORM_ASSERT(text) panic_at(__FILE__, __LINE__, __func__, "lwIP: %s", text)
#define LWIP_PLATFORM_DIAG(args)                                                                   \
	do {                                                                                       \
		kprintf args;                                                                      \
	} while (0)

// Every copy lwIP makes is counted when it touches a page of the file cache. Not asked about: SMEMCPY of
// a constant length, with which lwIP moves addresses and headers (of frames, never of payload); it
// becomes plain moves.
#define MEMCPY(to, from, len) copy_other(to, from, len)
#define SMEMCPY(to, from, len)                                                                     \
	(__builtin_constant_p(len) ? __builtin_memcpy(to, from, len) : copy_other(to, from, len))
#define MEMMOVE(to, from, len) copy_other(to, from, len)

#define LWIP_DONT_PROVIDE_BYTEORDER_FUNCTIONS
#define lwip_htons(x) __builtin_bswap16(x)
#define lwip_htonl(x) __builtin_bswap32(x)

// net/checksum.c: the Internet checksum's sum, not inverted. Any context.
uint16_t net_checksum(const void *data, int len);
#define LWIP_CHKSUM net_checksum
// With IPv4's pseudo-header (RFC 9293, 3.1; addresses as they lie), inverted. For packets in one piece.
uint16_t net_checksum_pseudo(const void *data, int len, uint32_t source, uint32_t destination,
			     uint8_t protocol, uint16_t protocol_len);
#define LWIP_CHKSUM_PSEUDO net_checksum_pseudo

// net/random.c: unpredictable without the boot secret. Fast WTD context.
uint32_t net_random32(void);
uint16_t net_random16(void);
#define LWIP_RAND()  net_random32()
#define LWIP_IP_ID() net_random16()
