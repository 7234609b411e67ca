// SPDX-License-Identifier: BSD-2-Clause
// What every file may lean on: fixed-width types, the handful of macros the compiler lacks, and the
// error numbers. Functions that fail return a negative number from the list below (Linux's values,
// so that they can go out to ring 3 unchanged).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t paddr_t; // physical address; what a device's DMA engine is given

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096UL

#define ARRAY_SIZE(a)		    (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, type, memb) ((type *)((char *)(p)-offsetof(type, memb)))
#define ALIGN_UP(x, a)		    (((x) + (a)-1) & ~((__typeof__(x))(a)-1))
#define ALIGN_DOWN(x, a)	    ((x) & ~((__typeof__(x))(a)-1))
#define MIN(a, b)		    ((a) < (b) ? (a) : (b))
#define MAX(a, b)		    ((a) > (b) ? (a) : (b))
#define LIKELY(x)		    __builtin_expect(!!(x), 1)
#define UNLIKELY(x)		    __builtin_expect(!!(x), 0)
#define BIT(n)			    (1UL << (n))

#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define NORETURN	  __attribute__((noreturn))
#define MUST_CHECK	  __attribute__((warn_unused_result))
// A function that is called in one place only, of another file of the read path: becomes part of its caller where
// they are compiled as one (boot/boot.mk). The compiler cannot know that nobody else calls it.
#define ONE_CALLER inline __attribute__((always_inline))

// Tables that each file adds rows to (statistics, console commands, command-line words, guest
// tests) are arrays the linker gathers: a row is a static struct in section NAME, and the table runs
// from __start_NAME to __stop_NAME. The host's linker provides the same symbols.
#define TABLE_ROW(name) __attribute__((used, retain, section(#name), aligned(8)))

#define NS_PER_US  1000ULL
#define NS_PER_MS  1000000ULL
#define NS_PER_SEC 1000000000ULL

// On the host the C library has the same names as macros.
#ifdef PAGEWIRE_HOST
#include <errno.h>
#else
enum error {
	EPERM = 1,
	ENOENT = 2,
	ESRCH = 3,
	EINTR = 4,
	EIO = 5,
	ENXIO = 6,
	E2BIG = 7,
	ENOEXEC = 8,
	EBADF = 9,
	ECHILD = 10,
	EAGAIN = 11, // would have to wait, and the caller may not
	ENOMEM = 12,
	EACCES = 13,
	EFAULT = 14,
	EBUSY = 16,
	EEXIST = 17,
	EXDEV = 18,
	ENODEV = 19,
	ENOTDIR = 20,
	EISDIR = 21,
	EINVAL = 22,
	ENFILE = 23,
	EMFILE = 24,
	ENOTTY = 25,
	ETXTBSY = 26,
	EFBIG = 27,
	ENOSPC = 28,
	ESPIPE = 29,
	EROFS = 30,
	EMLINK = 31,
	EPIPE = 32,
	EDOM = 33,
	ERANGE = 34,
	EDEADLK = 35,
	ENAMETOOLONG = 36,
	ENOLCK = 37,
	ENOSYS = 38,
	ENOTEMPTY = 39,
	ELOOP = 40,
	ENODATA = 61,
	EOVERFLOW = 75,
	ENOTSOCK = 88,
	EDESTADDRREQ = 89,
	EMSGSIZE = 90,
	EPROTOTYPE = 91,
	ENOPROTOOPT = 92,
	EPROTONOSUPPORT = 93,
	ESOCKTNOSUPPORT = 94,
	EOPNOTSUPP = 95,
	EAFNOSUPPORT = 97,
	EADDRINUSE = 98,
	EADDRNOTAVAIL = 99,
	ENETUNREACH = 101,
	ECONNABORTED = 103,
	ECONNRESET = 104,
	ENOBUFS = 105,
	EISCONN = 106,
	ENOTCONN = 107,
	ETOOMANYREFS = 109,
	ETIMEDOUT = 110,
	ECONNREFUSED = 111,
	EHOSTUNREACH = 113,
	EALREADY = 114,
	EINPROGRESS = 115,
	ESTALE = 116,
	EUCLEAN = 117, // structure needs cleaning: metadata on the volume is corrupt
};
#endif
