// SPDX-License-Identifier: BSD-2-Clause
// Symbols and backtraces; contract in include/kernel/debug.h. The table is made from the first link's
// symbols and linked in as .ksyms (boot/boot.mk); without it (first link) there are numbers only.
#include "kernel/debug.h"
#include "kernel/kprintf.h"
#include "kernel/vmm.h"

#define FRAMES_MAX 40

extern char text_start[], text_end[];

void debug_place(uintptr_t address, char *out, size_t size)
{
	ksnprintf(out, size, "0x%lx", address);
}

void debug_backtrace(uintptr_t rip, uintptr_t rbp)
{
	for (unsigned n = 0; n < FRAMES_MAX; n++) {
		char place[160];
		const uintptr_t *frame = (const uintptr_t *)rbp;

		debug_place(rip, place, sizeof(place));
		kprintf("  %s\n", place);
		// A chain that does not climb is broken; it ends with a null frame pointer.
		if (!rbp || rbp % 8 || !vmm_readable(rbp) || !vmm_readable(rbp + 8) ||
		    (frame[0] && frame[0] <= rbp))
			return;
		rip = frame[1];
		rbp = frame[0];
		if (rip < (uintptr_t)text_start || rip >= (uintptr_t)text_end)
			return;
	}
}
