// SPDX-License-Identifier: BSD-2-Clause
// Boot information, inside the kernel: who fills struct boot_info (kernel/bootinfo.c) and how the
// first allocators take memory out of its ranges. All of it runs once, at boot.
#pragma once

#include "kernel/boot.h"

enum boot_door { DOOR_MULTIBOOT2, DOOR_PVH }; // boot/entry.asm has the same numbers

// Reads what the loader left at physical address `addr` into `info`; read gives access to physical
// memory (identity at boot; a test's buffer on the host), null where there is none. False and a reason
// in info->loader's place when it makes no sense.
struct boot_reader {
	const void *(*at)(void *ctx, paddr_t addr, uint64_t len);
	void *ctx;
};
bool bootinfo_parse(enum boot_door door, paddr_t addr, const struct boot_reader *reader,
		    struct boot_info *info);

// Ranges: added in any order, overlapping or not; kept sorted and apart. What is said to be unusable
// anywhere wins over usable.
void bootinfo_add_range(struct boot_info *info, paddr_t start, paddr_t end, bool usable);
void bootinfo_reserve(struct boot_info *info, paddr_t start, paddr_t end);
// Gives up the highest usable ranges where that leaves more memory: the frames below them are described (struct page),
// holes and all, and a line of garbage in the firmware's table must not cost the machine. Returns how many bytes.
uint64_t bootinfo_drop_far(struct boot_info *info);
