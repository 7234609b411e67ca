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
#define INT_MAX		   0x7fffffff
#define X8_F		   "02x"
#define U16_F		   "u"
#define S16_F		   "d"
#define X16_F		   "x"
#define U32_F		   "u"
#define S32_F		   "d"
#define X32_F		   "x"
#define SZT_F		   "zu"
#endif
#define LWIP_NO_CTYPE_H 1

// A broken invariant of lwIP's is one of ours.
#define LWIP_PLATFORM_ASSERT(text) panic_at(__FILE__, __LINE__, __func__, "lwIP: %s", text)
#define LWIP_PLATFORM_DIAG(args)                                                                   \
	do {                                                                                       \
		kprintf args;                                                                      \
	} while (0)

// Every copy lwIP makes is counted when it touches a page of the file cache.
#define MEMCPY(to, from, len)  copy_other(to, from, len)
#define SMEMCPY(to, from, len) copy_other(to, from, len)
#define MEMMOVE(to, from, len) copy_other(to, from, len)

// net/random.c: unpredictable without the boot secret. Any context.
uint32_t net_random32(void);
#define LWIP_RAND() net_random32()
