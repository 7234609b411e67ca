// SPDX-License-Identifier: BSD-2-Clause
// What the boot loader told us, the same from Multiboot2 (GRUB, BIOS or UEFI) and PVH (qemu -kernel).
#pragma once

#include "kernel/base.h"

#define BOOT_MAX_RANGES 128

struct boot_range {
	paddr_t start, end;
	bool usable;
};

struct boot_info {
	const char *loader; // "multiboot2" or "pvh"
	char cmdline[1025]; // one more than cmdline.c takes: so it can tell that there was more
	struct boot_range ranges[BOOT_MAX_RANGES]; // sorted, no overlap
	unsigned range_count;
	bool ranges_lost;    // the table was full: what did not fit is not used
	paddr_t rsdp;	     // ACPI root pointer, 0: search low memory
	paddr_t framebuffer; // 0: none
	uint32_t fb_width, fb_height, fb_pitch, fb_bpp;
	uint8_t fb_red_shift, fb_green_shift, fb_blue_shift;
	bool text_mode;	       // 80x25 at 0xb8000
	uint64_t entry_cycles; // TSC at kernel entry
	bool rsdp_copied;      // the loader gave the root pointer itself rather than its address
	uint8_t rsdp_copy[40];
};
extern struct boot_info boot_info;

// Finds an ACPI table by signature; null: none. Mapped for good. Thread context, after vmm_init.
const void *acpi_find(const char signature[4]);
