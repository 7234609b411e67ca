// SPDX-License-Identifier: BSD-2-Clause
// Between vmm.c (the page tables, the direct map) and vmm_area.c (stacks, device registers and other
// mappings in the region at AREA_BASE).
#pragma once

#include "kernel/base.h"

enum {
	PTE_PRESENT = BIT(0),
	PTE_WRITE = BIT(1),
	PTE_WRITE_THROUGH = BIT(3), // PAT entry 1: made write-combining below
	PTE_NO_CACHE = BIT(4),
	PTE_LARGE = BIT(7),
	PTE_GLOBAL = BIT(8),
	PTE_GUARD = BIT(9), // software: not present on purpose, below a stack
};
#define PTE_NX	   BIT(63)
#define PTE_FRAME  0x000ffffffffff000UL
#define ENTRIES	   512
#define LEVEL_4K   0
#define LEVEL_2M   1
#define LEVEL_1G   2
#define LEVEL_ROOT 3

#define AREA_BASE  0xffffc00000000000UL
#define AREA_PAGES (1UL << 18) // 1 GB

static inline uint64_t level_span(int level)
{
	return PAGE_SIZE << (9 * level);
}

uint64_t *vmm_root(void); // the kernel's top table
extern uint64_t vmm_nx;	  // constant after vmm_init: PTE_NX where the processor has it

// Maps with the largest pages that fit, `largest` at most. False when memory is short. An address range
// belongs to whoever took it; two callers never map into the same one.
bool vmm_map_range(uintptr_t address, paddr_t phys, size_t len, uint64_t flags, int largest);
// The entry that maps an address and its level; null where a table is missing. Any context.
uint64_t *vmm_find_entry(uintptr_t address, int *level);
// The address must have a 4 KB entry (mapped or not) already.
void vmm_set_guard(uintptr_t address);
// Address space of `count` pages; AREA_PAGES when there is none.
size_t vmm_area_take(size_t count);
uintptr_t vmm_area_address(size_t index);
