// SPDX-License-Identifier: BSD-2-Clause
// What uspace.c and uspace_fault.c share.
#pragma once

#include "kernel/uspace.h"
#include "kernel/vmm_private.h"

// Left to software: not present, so that neither the program nor a call for it gets there (PROT_NONE), but the entry
// names its page all the same.
#define PTE_KEPT BIT(10)

static inline bool entry_names_page(uint64_t entry)
{
	return entry & (PTE_PRESENT | PTE_KEPT);
}

struct page *uspace_zero_page(void); // what anonymous memory reads as before it is written
void uspace_fault_init(void);
// For uspace_each_entry: the entry goes, and the frame or the page's reference with it.
void uspace_drop_entry(struct uspace *u, uintptr_t address, uint64_t *entry, void *ctx);
// As those without _locked; u->lock held, so that nobody comes between two of them.
int uspace_map_locked(struct uspace *u, const struct uspace_region *like) MUST_CHECK;
int uspace_unmap_locked(struct uspace *u, uintptr_t start, uint64_t bytes) MUST_CHECK;
bool uspace_is_free_locked(struct uspace *u, uintptr_t start, uint64_t bytes);
// A free range of so many bytes, below mmap_top; 0: none.
uintptr_t uspace_find_free_locked(struct uspace *u, uint64_t bytes);
// For spaces that are being made: a region like that one, with a reference on its backing, in no list (null: no
// memory); and into the list behind `before` (null: first), counted.
struct uspace_region *uspace_region_new(const struct uspace_region *like) MUST_CHECK;
void uspace_insert_after(struct uspace *u, struct uspace_region *before, struct uspace_region *r);
// Any context of a thread: if the processor's tables are this space's, it takes the kernel's.
void uspace_leave(struct uspace *u);
