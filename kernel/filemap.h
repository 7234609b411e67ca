// SPDX-License-Identifier: BSD-2-Clause
// Shared mappings of files: page table entries that name pages of the file cache (kernel/filemap.c has the picture).
// The calls but file_map_fault with WTDs off, in which alone such entries are looked at and changed: the cache takes
// them back at any other time.
#pragma once

#include "kernel/uspace.h"

#define PTE_FILE BIT(9) // left to software: the entry is one of these

static inline bool region_is_shared_file(const struct uspace_region *r)
{
	return r->access & USPACE_SHARED && r->backing && r->backing->file;
}

// Thread context, sleeps, u->lock held. Makes the entry name the page, writable if `flags` say so. 0 (or the program
// tries again), -ERANGE: beyond the end, -EIO, -ENOSPC, -ENOMEM.
int file_map_fault(struct uspace *u, const struct uspace_region *r, uintptr_t address,
		   uint64_t *entry, uint64_t flags) MUST_CHECK;
// The entry goes; the page's wire reference is the caller's.
struct page *file_map_take(uint64_t *entry) MUST_CHECK;
// `other` names the same page, for fork; or nothing, and a fault brings it.
void file_map_share(uint64_t *entry, struct uspace *copy, uintptr_t address, uint64_t *other);
void file_map_move(uint64_t *entry, uintptr_t to, uint64_t *other); // mremap
