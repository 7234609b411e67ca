// SPDX-License-Identifier: BSD-2-Clause
// What a program needs to tell the time without entering the kernel: one page, written by kernel/timer.c, read by
// kernel/vdso/clock.c in ring 3. While the sequence is odd, or when it has changed, what was read means nothing.
#pragma once

#include <stdint.h>

struct clock_page {
	uint32_t sequence, pad;
	// ns since kernel entry = base_ns + (TSC - base_cycles) * mult / 2^32
	uint64_t base_cycles, base_ns, mult;
	uint64_t realtime_offset; // Unix ns at 0
};
