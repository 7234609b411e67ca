// SPDX-License-Identifier: BSD-2-Clause
// Page frames. A buddy allocator over all usable RAM, orders 0 (4 KB) to 10 (4 MB), each block
// physically contiguous and aligned to its size. What it hands out is readable and writable through
// the direct map (vmm.h: phys_to_virt) until someone hides it.
#pragma once

#include "kernel/base.h"
#include "kernel/page.h"

#define PMM_MAX_ORDER 10
#define PAGE_JUNK     0xdb // what free and fresh frames are filled with, if at all

// Any context but interrupt. 2^order contiguous frames, contents undefined (junk-filled with
// PAGE_JUNK under `nic=late` and `selftest`); null when there is none: the caller asks for reclaim or
// fails. The first frame's struct page is returned with state PAGE_EMPTY and wire 0.
struct page *pmm_alloc(unsigned order) MUST_CHECK;
void pmm_free(struct page *page, unsigned order);

// `bytes` bytes of zeroed memory for kernel structures, in a power-of-two number of pages: what is behind them is
// undefined.
// kpages_alloc first asks the registered reclaimers when memory is short.
void *kpages_alloc(size_t bytes) MUST_CHECK;
void *kpages_alloc_raw(size_t bytes) MUST_CHECK; // contents undefined
void kpages_free(void *p, size_t bytes);
// For tables of megabytes that nobody but their owner knows: contents undefined, and so are the struct pages, clearing
// of which is left out. Nothing of it may be given to a device, a copy or a program.
void *kpages_alloc_bare(size_t bytes) MUST_CHECK;
void kpages_free_bare(void *p, size_t bytes);

// A reclaimer gives frames back under pressure (the page cache's does). Called in any context but
// interrupt, must not sleep; returns how many frames it freed.
typedef size_t (*pmm_reclaim_fn)(size_t frames_wanted);
void pmm_register_reclaim(pmm_reclaim_fn fn);

struct pmm_stats {
	uint64_t frames_total, frames_free, frames_free_low; // low: the least ever free
	uint64_t failed;				     // allocations refused
	uint64_t reserve;				     // frames the cache must leave free
};
void pmm_stats(struct pmm_stats *out); // of one moment; any context but interrupt
// Any context. No more than the reserve is free: who can do without (the cache) takes nothing now.
bool pmm_low(void);
// Any context. Whether the frame was ever the allocator's: the struct page of another (the kernel's own,
// the firmware's, a hole) was never written and means nothing.
bool pmm_manages(uint64_t frame);
// Boot, by the owners of `nic=late` and `selftest`: from now on frames are filled with PAGE_JUNK when
// they are handed out and when they are freed.
void pmm_set_junk(bool on);

// Boot, after vmm_init (which makes the direct map): usable ranges come from the boot information.
void pmm_init(void);
