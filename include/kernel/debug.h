// SPDX-License-Identifier: BSD-2-Clause
// Names for addresses of the kernel's text, and backtraces by frame pointers.
#pragma once

#include "kernel/base.h"

// "function+0x1c (kernel/file.c:123)", or the number where there is no name. Any context.
void debug_place(uintptr_t address, char *out, size_t size);
// Prints a line a frame with kprintf, starting at rip; every address is checked before it is read.
void debug_backtrace(uintptr_t rip, uintptr_t rbp);
