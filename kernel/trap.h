// SPDX-License-Identifier: BSD-2-Clause
// What trap.asm leaves on the stack for an exception, lowest address first.
#pragma once

#include "kernel/base.h"

struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss; // pushed by the processor
};
// vector of a frame that no exception made: SYSCALL (user.asm), a program that was never in ring 3.
enum { TRAP_SYSCALL = 256, TRAP_FRESH = 257 };
_Static_assert(offsetof(struct trap_frame, rip) == 17 * 8, "trap.asm counts on it");

// panic.c: an exception nobody handles. The frame's registers are printed, the backtrace starts there.
NORETURN void panic_trap(const struct trap_frame *frame, const char *format, ...) PRINTF_LIKE(2, 3);
