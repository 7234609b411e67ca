// SPDX-License-Identifier: BSD-2-Clause
// The kernel's page tables; layout and contract in include/kernel/vmm.h. Intel SDM volume 3, 4.5.
//
// vmm_init builds new tables and switches to them once. Tables are never freed; an entry belongs to
// whoever took its address range, so only the map of ranges needs a lock (vmm_area.c). Afterwards only
// the window region (0xffffc000...) and, under cache=unmapped, single entries of the direct map change.
//
// No page is both writable and executable. The kernel image's frames are not in the direct map: text
// cannot be written through a second address, and device memory handed out from it goes by its own.
#include "kernel/vmm.h"
#include "kernel/boot.h"
#include "kernel/cmdline.h"
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pmm_private.h"
#include "kernel/vmm_private.h"
#include "kernel/wtd.h"

#define MSR_PAT 0x277

static uint64_t *root; // constant after vmm_init
uint64_t vmm_nx;       // constant: PTE_NX where the processor has it
#define WINDOWS 2      // a page that is written, and inside it one that is read
static struct window {
	uint64_t *entry;   // constant: its entry in the page tables
	uintptr_t address; // constant
	struct page *page; // own processor, WTDs disabled
} windows[CPU_MAX][WINDOWS];
static bool cache_unmapped; // constant after the command line
static uint64_t
    *split_tables; // constant: with cache=unmapped a table for each 2 MB, written when it is needed

extern char text_start[], text_end[], rodata_start[], rodata_end[], data_start[], data_end[];
extern char boot_stack_guard[];

static bool parse_cache(const char *value)
{
	cache_unmapped = value && !strcmp(value, "unmapped");
	return cache_unmapped;
}
CMDLINE_OPTION(cache, "cache", "cache=unmapped  keep cache data pages out of the address space",
	       parse_cache);

uint64_t *vmm_root(void)
{
	return root;
}

bool vmm_cache_unmapped(void)
{
	return cache_unmapped;
}

// The first tables: cleared by the loader, behind the kernel's image, and like all tables only in the direct map.
#define FIRST_TABLES 16 // a machine with 4 GB takes 14
static uint64_t first_tables[FIRST_TABLES][ENTRIES]
    __attribute__((section(".tables,\"aw\",@nobits#"), aligned(PAGE_SIZE)));

static uint64_t *table_alloc(void)
{
	static unsigned used;

	if (pages)
		return kpages_alloc(PAGE_SIZE);
	if (used < FIRST_TABLES)
		return phys_to_virt((uintptr_t)first_tables[used++] - KERNEL_BASE);
	return phys_to_virt(pmm_early_alloc(1));
}

// The next lower table behind an entry, made if it is missing. Null when memory is short. Allocation
// may ask the cache to give pages back, so no lock is held; two makers of one table settle it here.
static uint64_t *table_below(uint64_t *entry)
{
	uint64_t *table, seen = 0;

	if (*entry & PTE_PRESENT)
		return phys_to_virt(*entry & PTE_FRAME);
	table = table_alloc();
	if (!table)
		return NULL;
	if (__atomic_compare_exchange_n(entry, &seen, virt_to_phys(table) | PTE_PRESENT | PTE_WRITE,
					false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return table;
	kpages_free(table, PAGE_SIZE);
	return phys_to_virt(seen & PTE_FRAME);
}

static unsigned index_at(uintptr_t address, int level)
{
	return address >> (PAGE_SHIFT + 9 * level) & (ENTRIES - 1);
}

// Writes entries from `address` on that map whole pages of the table's level, up to the table's end,
// to `end` or to an entry that is taken; returns how much it mapped.
static size_t fill_entries(uint64_t *table, int level, uintptr_t address, uintptr_t end,
			   uint64_t leaf)
{
	uint64_t span = level_span(level), *entry = &table[index_at(address, level)];
	size_t count = MIN((end - address) / span, (size_t)(&table[ENTRIES] - entry)), n = 0;

	if (level == LEVEL_4K) { // no table can be there, and a page is mapped once
#pragma GCC unroll 8
		for (; n < count; n++, leaf += PAGE_SIZE)
			entry[n] = leaf;
	}
	for (; n < count && !(entry[n] & PTE_PRESENT); n++, leaf += span)
		entry[n] = leaf;
	return n * span;
}

// Maps [address, end) to phys upwards with the largest pages that fit, `largest` at most.
static bool map_level(uint64_t *table, int level, uintptr_t address, uintptr_t end, paddr_t phys,
		      uint64_t flags, int largest)
{
	uint64_t span = level_span(level);

	ASSERT(level >= LEVEL_4K);
	while (address != end) {
		size_t done = 0;

		if (level <= largest && !((address | phys) & (span - 1)))
			done = fill_entries(table, level, address, end,
					    phys | flags | PTE_PRESENT | (level ? PTE_LARGE : 0));
		if (!done) {
			uint64_t *below = table_below(&table[index_at(address, level)]);

			// The last span of the address space ends at 0: count, do not compare.
			done = MIN(end - address, span - (address & (span - 1)));
			if (!below || !map_level(below, level - 1, address, address + done, phys,
						 flags, largest))
				return false;
		}
		phys += done;
		address += done;
	}
	return true;
}

bool vmm_map_range(uintptr_t address, paddr_t phys, size_t len, uint64_t flags, int largest)
{
	return map_level(root, LEVEL_ROOT, address, address + len, phys, flags, largest);
}

uint64_t *vmm_find_entry(uintptr_t address, int *level)
{
	uint64_t *table = root;

	for (*level = LEVEL_ROOT; table; (*level)--) {
		uint64_t *entry = &table[index_at(address, *level)];

		if (*level == LEVEL_4K || (*level < LEVEL_ROOT && *entry & PTE_LARGE))
			return entry;
		if (!(*entry & PTE_PRESENT))
			return NULL;
		table = phys_to_virt(*entry & PTE_FRAME);
	}
	return NULL;
}

static bool canonical(uintptr_t address)
{
	return (uintptr_t)((intptr_t)(address << 16) >> 16) == address;
}

bool vmm_readable(uintptr_t address)
{
	int level;
	uint64_t *entry;

	if (!root || !canonical(address))
		return false;
	entry = vmm_find_entry(address, &level);
	return entry && *entry & PTE_PRESENT && !(*entry & PTE_NO_CACHE);
}

bool vmm_is_guard(uintptr_t address)
{
	int level;
	uint64_t *entry;

	if (!root || !canonical(address))
		return false;
	entry = vmm_find_entry(address, &level);
	return entry && !(*entry & PTE_PRESENT) && *entry & PTE_GUARD;
}

const char *vmm_describe(uintptr_t address)
{
	if (!canonical(address))
		return "not an address";
	if (address >= KERNEL_BASE)
		return "beyond the kernel image";
	if (address >= AREA_BASE)
		return "no device register or stack there";
	if (address >= DIRECT_BASE) {
		uint64_t frame = (address - DIRECT_BASE) >> PAGE_SHIFT;

		if (pages && pmm_manages(frame) && pages[frame].flags & PAGE_HIDDEN)
			return "a hidden page of the cache";
		return "in the direct map, but no RAM of ours";
	}
	return "not the kernel's";
}

_Static_assert(DIRECT_BASE + DIRECT_BYTES <= AREA_BASE, "the direct map ends before the area");

paddr_t image_to_phys(const void *p)
{
	uintptr_t address = (uintptr_t)p;

	if (address >= (uintptr_t)text_start && address < (uintptr_t)data_end)
		return address - KERNEL_BASE;
	PANIC("0x%lx has no fixed physical address: not to be given to a device", address);
}

// Makes 4 KB pages of a 2 MB page of the direct map. The table was put aside at boot (split_tables): this cannot fail.
// WTDs disabled, so that nobody hides a page by a table that is being filled.
static void split(uint64_t *entry)
{
	paddr_t first = *entry & PTE_FRAME;
	uint64_t *table = split_tables + first / level_span(LEVEL_2M) * ENTRIES;
	uint64_t leaf = *entry & ~(uint64_t)PTE_LARGE;

	for (unsigned n = 0; n < ENTRIES; n++, leaf += PAGE_SIZE)
		table[n] = leaf;
	__atomic_store_n(entry, virt_to_phys(table) | PTE_PRESENT | PTE_WRITE, __ATOMIC_RELEASE);
	invlpg((uintptr_t)phys_to_virt(first));
}

// The direct map's own entry of a frame, of which cache=unmapped makes one of 4 KB if it is not yet.
static uint64_t *direct_entry(const struct page *page)
{
	int level;
	uint64_t *entry;

	wtd_disable();
	entry = vmm_find_entry((uintptr_t)page_virt(page), &level);
	if (entry && level == LEVEL_2M) {
		split(entry);
		entry = vmm_find_entry((uintptr_t)page_virt(page), &level);
	}
	wtd_enable();
	ASSERT(entry && level == LEVEL_4K);
	return entry;
}

void vmm_hide(struct page *page)
{
	if (!cache_unmapped)
		return;
	ASSERT(!(page->flags & PAGE_HIDDEN));
	page->flags |= PAGE_HIDDEN;
	*direct_entry(page) &= ~(uint64_t)PTE_PRESENT;
	invlpg((uintptr_t)page_virt(page));
}

void vmm_show(struct page *page)
{
	if (!cache_unmapped)
		return;
	ASSERT(page->flags & PAGE_HIDDEN);
	page->flags &= (uint16_t)~PAGE_HIDDEN;
	*direct_entry(page) |= PTE_PRESENT;
}

void *vmm_window_open(struct page *page)
{
	struct window *w = windows[this_cpu()->index];

	if (!cache_unmapped)
		return page_virt(page);
	wtd_disable();
	w += w->page != NULL;
	ASSERT(!w->page);
	w->page = page;
	*w->entry = page_phys(page) | PTE_PRESENT | PTE_WRITE | vmm_nx;
	return (void *)w->address;
}

void vmm_window_close(struct page *page)
{
	struct window *w = windows[this_cpu()->index];

	if (!cache_unmapped)
		return;
	w += w[1].page != NULL;
	ASSERT(w->page == page);
	w->page = NULL;
	*w->entry = PTE_GUARD;
	invlpg(w->address);
	wtd_enable();
}

// Boot, from here on.

static void windows_init(void)
{
	for (unsigned n = 0; n < CPU_MAX * WINDOWS; n++) {
		struct window *w = &windows[n / WINDOWS][n % WINDOWS];
		int level;

		w->address = vmm_area_address(vmm_area_take(1));
		vmm_map_range(w->address, 0, PAGE_SIZE, vmm_nx, LEVEL_4K);
		vmm_set_guard(w->address);
		w->entry = vmm_find_entry(w->address, &level);
	}
}

static void map_image(const char *start, const char *end, uint64_t flags)
{
	vmm_map_range((uintptr_t)start, virt_to_phys(start), (size_t)(end - start),
		      flags | PTE_GLOBAL, LEVEL_4K);
}

static void map_ram(const struct boot_range *ranges, unsigned count)
{
	int largest = cpu_has.pages_1g && !cache_unmapped ? LEVEL_1G : LEVEL_2M;
	paddr_t last = 0;

	for (unsigned i = 0; i < count; i++)
		if (ranges[i].usable)
			last = ranges[i].end;
	if (cache_unmapped)
		split_tables = phys_to_virt(pmm_early_alloc_raw(last / level_span(LEVEL_2M)));
	for (unsigned i = 0; i < count; i++)
		if (ranges[i].usable)
			vmm_map_range(DIRECT_BASE + ranges[i].start, ranges[i].start,
				      ranges[i].end - ranges[i].start,
				      PTE_WRITE | PTE_GLOBAL | vmm_nx, largest);
}

void vmm_init(void)
{
	// The tables' own frames come off the ends of these ranges while RAM is being mapped; they are
	// RAM like the rest, so what is mapped is the ranges as they were.
	static struct boot_range ranges[BOOT_MAX_RANGES];
	unsigned count = boot_info.range_count;

	memcpy(ranges, boot_info.ranges, sizeof(ranges));
	vmm_nx = cpu_has.nx ? PTE_NX : 0;
	root = table_alloc();
	map_image(text_start, text_end, 0);
	map_image(rodata_start, rodata_end, vmm_nx);
	map_image(data_start, data_end, PTE_WRITE | vmm_nx);
	map_ram(ranges, count);
	vmm_map_range((uintptr_t)phys_to_virt((uintptr_t)first_tables - KERNEL_BASE),
		      (uintptr_t)first_tables - KERNEL_BASE, sizeof(first_tables),
		      PTE_WRITE | PTE_GLOBAL | vmm_nx, LEVEL_4K);
	vmm_set_guard((uintptr_t)boot_stack_guard);
	for (unsigned i = 0; i < IST_COUNT; i++)
		vmm_set_guard((uintptr_t)cpu_ist_guard(i));
	windows_init();
	if (cpu_has.pat) // entry 1 becomes write-combining: SDM 3A 12.12.4
		wrmsr(MSR_PAT, (rdmsr(MSR_PAT) & ~0xff00UL) | 0x0100);
	write_cr3(virt_to_phys(root));
}
