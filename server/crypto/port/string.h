// SPDX-License-Identifier: BSD-2-Clause
// For Argon2's and BearSSL's own sources: the C library's names, ours.
#pragma once

#include "kernel/kstring.h"

// Not optimised away: the compiler is told that the memory is looked at.
static inline void explicit_bzero(void *p, size_t len)
{
	memset(p, 0, len);
	__asm__ volatile("" ::"r"(p) : "memory");
}
