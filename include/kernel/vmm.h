// SPDX-License-Identifier: BSD-2-Clause
// The kernel's address space.
//
//   0xffff8000'00000000  direct map: physical address 0 upwards, all RAM, writable, never executable.
//                        The kernel image's frames are left out; under cache=unmapped so are cache
//                        data pages while they belong to the cache.
//   0xffffc000'00000000  stacks (guard page below each), device registers, windows
//   0xffffffff'80000000  kernel image: text read+execute, rodata read, data read+write
#pragma once

#include "kernel/base.h"
#include "kernel/page.h"

#ifdef PAGEWIRE_HOST
extern uintptr_t host_direct_base; // tests/host/shim.c: where the fake RAM starts
#define DIRECT_BASE host_direct_base
#else
#define DIRECT_BASE 0xffff800000000000UL
#endif
#define KERNEL_BASE 0xffffffff80000000UL

// Any context. The direct-map address of a physical address. It may be *named* for a hidden page (it
// is how pbufs carry them) but touching it then faults, which is the point.
static inline void *phys_to_virt(paddr_t addr)
{
	return (void *)(DIRECT_BASE + addr);
}
static inline void *page_virt(const struct page *page)
{
	return phys_to_virt(page_phys(page));
}
// Any context. For direct-map addresses (hidden or not) and addresses inside the kernel image: the
// only memory that may be given to a device. Anything else is a panic.
#ifdef PAGEWIRE_HOST
paddr_t virt_to_phys(const void *p);
#else
#define DIRECT_BYTES (1UL << 46)
paddr_t image_to_phys(const void *p); // what is not in the direct map
static inline paddr_t virt_to_phys(const void *p)
{
	uintptr_t offset = (uintptr_t)p - DIRECT_BASE;

	return LIKELY(offset < DIRECT_BYTES) ? offset : image_to_phys(p);
}
#endif

// Thread context, boot mostly. Device registers, uncached. Null when address space or memory is short.
void *vmm_map_io(paddr_t addr, size_t len) MUST_CHECK;
// The same for memory that is not RAM we manage (ACPI tables, the framebuffer: write_combining).
void *vmm_map_phys(paddr_t addr, size_t len, bool write_combining) MUST_CHECK;
void vmm_unmap(void *p, size_t len);

// Stacks with an unmapped guard page below. Thread context.
void *vmm_stack_alloc(size_t bytes) MUST_CHECK; // lowest usable address
void vmm_stack_free(void *stack, size_t bytes);
bool vmm_is_guard(uintptr_t address); // for the page-fault handler: "stack overflow"
// Any context. What kind of address it is, in words, for the page-fault handler.
const char *vmm_describe(uintptr_t address);
// Any context. Whether it can be read without a fault (for the backtrace).
bool vmm_readable(uintptr_t address);

// cache=unmapped. hide/show take a frame out of the direct map and put it back; no-ops when the mode
// is off. A window maps one hidden page for one of the two permitted copies (or for zero-filling a
// hole); windows are per processor and may not be held across a sleep. Two may be open, the
// second for a page that is copied into the first's (copy_from_page); they close in reverse order. With the mode off
// a window is the direct map. Fast WTD or thread context.
bool vmm_cache_unmapped(void);
void vmm_hide(struct page *page);
void vmm_show(struct page *page);
void *vmm_window_open(struct page *page);
void vmm_window_close(struct page *page);

void vmm_init(void); // boot: builds the final page tables and switches to them
