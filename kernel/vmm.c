// SPDX-License-Identifier: BSD-2-Clause
// The kernel's page tables; layout and contract in include/kernel/vmm.h. Intel SDM volume 3, 4.5.
//
// vmm_init builds new tables and switches to them once. Tables are never freed; an entry belongs to
// whoever took its address range, so only the map of ranges needs a lock. Afterwards only the window region (0xffffc000...)
// and, under cache=unmapped, single entries of the direct map change. No page is both writable and
// executable. The kernel image's frames are not in the direct map: text cannot be written through a
// second address, and device memory handed out from it goes by its own address.
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
#define MSR_PAT	   0x277

static inline uint64_t level_span(int level)
{
	return PAGE_SIZE << (9 * level);
}

// The window region: stacks, device registers, per-processor windows. A bit a page, set: taken.
#define AREA_BASE  0xffffc00000000000UL
#define AREA_PAGES (1UL << 18) // 1 GB
static struct spinlock vmm_lock = SPINLOCK_INIT("vmm", RANK_VMM);
static uint64_t area_map[AREA_PAGES / 64]; // (vmm_lock)
static size_t area_hint;		   // (vmm_lock) nothing is free below it
static uint64_t *root;			   // constant after vmm_init
static uint64_t nx;			   // constant: PTE_NX where the processor has it
static uint64_t *window_entry[CPU_MAX];	   // constant: the window's entry in the page tables
static uintptr_t window_address[CPU_MAX];  // constant
static struct page *window_page[CPU_MAX];  // own processor, WTDs disabled
static bool cache_unmapped;		   // constant after the command line

extern char text_start[], text_end[], rodata_start[], rodata_end[], data_start[], data_end[];
extern char boot_stack_guard[];

static bool parse_cache(const char *value)
{
	cache_unmapped = value && !strcmp(value, "unmapped");
	return cache_unmapped;
}
CMDLINE_OPTION(cache, "cache", "cache=unmapped  keep cache data pages out of the address space",
	       parse_cache);

bool vmm_cache_unmapped(void)
{
	return cache_unmapped;
}

static uint64_t *table_alloc(void)
{
	if (!pages)
		return phys_to_virt(pmm_early_alloc(1));
	return kpages_alloc(PAGE_SIZE);
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

static bool map_range(uintptr_t address, paddr_t phys, size_t len, uint64_t flags, int largest)
{
	return map_level(root, LEVEL_ROOT, address, address + len, phys, flags, largest);
}

// The entry that maps an address and its level; null where a table is missing.
static uint64_t *find_entry(uintptr_t address, int *level)
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
	entry = find_entry(address, &level);
	return entry && *entry & PTE_PRESENT && !(*entry & PTE_NO_CACHE);
}

bool vmm_is_guard(uintptr_t address)
{
	int level;
	uint64_t *entry;

	if (!root || !canonical(address))
		return false;
	entry = find_entry(address, &level);
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

		if (frame < pages_count && vmm_readable((uintptr_t)&pages[frame]) &&
		    pages[frame].flags & PAGE_HIDDEN)
			return "a hidden page of the cache";
		return "in the direct map, but no RAM of ours";
	}
	return "not the kernel's";
}

paddr_t virt_to_phys(const void *p)
{
	uintptr_t address = (uintptr_t)p;

	if (address >= (uintptr_t)text_start && address < (uintptr_t)data_end)
		return address - KERNEL_BASE;
	if (address >= DIRECT_BASE && address < AREA_BASE)
		return address - DIRECT_BASE;
	PANIC("0x%lx has no fixed physical address: not to be given to a device", address);
}

// First fit: `count` free pages whose number is `offset` modulo `align`. AREA_PAGES when there are none.
static size_t area_take(size_t count, size_t align, size_t offset)
{
	size_t start, n = 0;

	spin_lock_wtd(&vmm_lock);
	start = ALIGN_UP(area_hint, align) + offset;
	while (start + count <= AREA_PAGES && n < count) {
		if (area_map[(start + n) / 64] & BIT((start + n) % 64)) {
			start = ALIGN_UP(start + n + 1 - offset, align) + offset;
			n = 0;
		} else {
			n++;
		}
	}
	if (n == count) {
		for (size_t i = start; i < start + count; i++)
			area_map[i / 64] |= BIT(i % 64);
		if (start == area_hint)
			area_hint += count;
	}
	spin_unlock_wtd(&vmm_lock);
	return n == count ? start : AREA_PAGES;
}

static void area_give(size_t start, size_t count)
{
	spin_lock_wtd(&vmm_lock);
	for (size_t n = start; n < start + count; n++)
		area_map[n / 64] &= ~BIT(n % 64);
	area_hint = MIN(area_hint, start);
	spin_unlock_wtd(&vmm_lock);
}

static uintptr_t area_address(size_t index)
{
	return AREA_BASE + (index << PAGE_SHIFT);
}

static size_t area_index(uintptr_t address)
{
	ASSERT(address >= AREA_BASE && address < area_address(AREA_PAGES));
	return (address - AREA_BASE) >> PAGE_SHIFT;
}

// Takes the mappings of [address, address + len) away.
static void unmap_range(uintptr_t address, size_t len)
{
	uintptr_t end = address + len;

	while (address < end) {
		int level;
		uint64_t *entry = find_entry(address, &level);

		if (entry)
			*entry = 0;
		invlpg(address);
		address += entry ? level_span(level) : PAGE_SIZE;
	}
}

static void *map_somewhere(paddr_t addr, size_t len, uint64_t flags)
{
	paddr_t first = ALIGN_DOWN(addr, PAGE_SIZE);
	size_t bytes = ALIGN_UP(addr + len, PAGE_SIZE) - first, start;
	bool large = bytes >= level_span(LEVEL_2M);

	if (!len || addr + len < addr)
		return NULL;
	start = area_take(bytes >> PAGE_SHIFT, large ? ENTRIES : 1,
			  large ? (first >> PAGE_SHIFT) % ENTRIES : 0);
	if (start == AREA_PAGES)
		return NULL;
	if (!map_range(area_address(start), first, bytes, flags, LEVEL_2M)) {
		unmap_range(area_address(start), bytes);
		area_give(start, bytes >> PAGE_SHIFT);
		return NULL;
	}
	return (void *)(area_address(start) + (addr - first));
}

void *vmm_map_io(paddr_t addr, size_t len)
{
	return map_somewhere(addr, len,
			     PTE_WRITE | PTE_NO_CACHE | PTE_WRITE_THROUGH | PTE_GLOBAL | nx);
}

void *vmm_map_phys(paddr_t addr, size_t len, bool write_combining)
{
	uint64_t cache = !write_combining ? 0
			 : cpu_has.pat	  ? PTE_WRITE_THROUGH
					  : PTE_NO_CACHE | PTE_WRITE_THROUGH;

	return map_somewhere(addr, len, PTE_WRITE | PTE_GLOBAL | nx | cache);
}

void vmm_unmap(void *p, size_t len)
{
	uintptr_t address = ALIGN_DOWN((uintptr_t)p, PAGE_SIZE);
	size_t bytes = ALIGN_UP((uintptr_t)p + len, PAGE_SIZE) - address;

	unmap_range(address, bytes);
	area_give(area_index(address), bytes >> PAGE_SHIFT);
}

// The address must have a 4 KB entry (mapped or not) already.
static void set_guard(uintptr_t address)
{
	int level;
	uint64_t *entry = find_entry(address, &level);

	ASSERT(entry && level == LEVEL_4K);
	*entry = PTE_GUARD;
	invlpg(address);
}

static void stack_unmap(uintptr_t stack, size_t bytes)
{
	for (uintptr_t address = stack; address < stack + bytes; address += PAGE_SIZE) {
		int level;
		uint64_t *entry = find_entry(address, &level);

		if (entry && *entry & PTE_PRESENT)
			kpages_free(phys_to_virt(*entry & PTE_FRAME), PAGE_SIZE);
	}
	unmap_range(stack - PAGE_SIZE, bytes + PAGE_SIZE);
	area_give(area_index(stack - PAGE_SIZE), bytes / PAGE_SIZE + 1);
}

void *vmm_stack_alloc(size_t bytes)
{
	size_t start;
	uintptr_t stack;

	bytes = ALIGN_UP(bytes, PAGE_SIZE);
	start = area_take(bytes / PAGE_SIZE + 1, 1, 0);
	if (start == AREA_PAGES)
		return NULL;
	stack = area_address(start + 1);
	// The guard page gets its entry by being mapped for a moment, to whatever frame.
	if (!map_range(stack - PAGE_SIZE, 0, PAGE_SIZE, nx, LEVEL_4K)) {
		area_give(start, bytes / PAGE_SIZE + 1);
		return NULL;
	}
	set_guard(stack - PAGE_SIZE);
	for (size_t done = 0; done < bytes; done += PAGE_SIZE) {
		void *frame = kpages_alloc(PAGE_SIZE);

		if (!frame || !map_range(stack + done, virt_to_phys(frame), PAGE_SIZE,
					 PTE_WRITE | PTE_GLOBAL | nx, LEVEL_4K)) {
			kpages_free(frame, PAGE_SIZE);
			stack_unmap(stack, bytes);
			return NULL;
		}
	}
	return (void *)stack;
}

void vmm_stack_free(void *stack, size_t bytes)
{
	stack_unmap((uintptr_t)stack, ALIGN_UP(bytes, PAGE_SIZE));
}

// The direct map's own entry of a frame: cache=unmapped maps RAM by 4 KB pages.
static uint64_t *direct_entry(const struct page *page)
{
	int level;
	uint64_t *entry = find_entry((uintptr_t)page_virt(page), &level);

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
	unsigned cpu = this_cpu()->index;

	if (!cache_unmapped)
		return page_virt(page);
	wtd_disable();
	ASSERT(!window_page[cpu]);
	window_page[cpu] = page;
	*window_entry[cpu] = page_phys(page) | PTE_PRESENT | PTE_WRITE | nx;
	return (void *)window_address[cpu];
}

void vmm_window_close(struct page *page)
{
	unsigned cpu = this_cpu()->index;

	if (!cache_unmapped)
		return;
	ASSERT(window_page[cpu] == page);
	window_page[cpu] = NULL;
	*window_entry[cpu] = PTE_GUARD;
	invlpg(window_address[cpu]);
	wtd_enable();
}

// Boot, from here on.

static void windows_init(void)
{
	for (unsigned cpu = 0; cpu < CPU_MAX; cpu++) {
		size_t start = area_take(1, 1, 0);
		int level;

		window_address[cpu] = area_address(start);
		map_range(window_address[cpu], 0, PAGE_SIZE, nx, LEVEL_4K);
		set_guard(window_address[cpu]);
		window_entry[cpu] = find_entry(window_address[cpu], &level);
	}
}

static void map_image(const char *start, const char *end, uint64_t flags)
{
	map_range((uintptr_t)start, virt_to_phys(start), (size_t)(end - start), flags | PTE_GLOBAL,
		  LEVEL_4K);
}

static void map_ram(const struct boot_range *ranges, unsigned count)
{
	int largest = cache_unmapped ? LEVEL_4K : cpu_has.pages_1g ? LEVEL_1G : LEVEL_2M;

	for (unsigned i = 0; i < count; i++)
		if (ranges[i].usable)
			map_range(DIRECT_BASE + ranges[i].start, ranges[i].start,
				  ranges[i].end - ranges[i].start, PTE_WRITE | PTE_GLOBAL | nx,
				  largest);
}

void vmm_init(void)
{
	// The tables' own frames come off the ends of these ranges while RAM is being mapped; they are
	// RAM like the rest, so what is mapped is the ranges as they were.
	static struct boot_range ranges[BOOT_MAX_RANGES];
	unsigned count = boot_info.range_count;

	memcpy(ranges, boot_info.ranges, sizeof(ranges));
	nx = cpu_has.nx ? PTE_NX : 0;
	root = phys_to_virt(pmm_early_alloc(1));
	map_image(text_start, text_end, 0);
	map_image(rodata_start, rodata_end, nx);
	map_image(data_start, data_end, PTE_WRITE | nx);
	map_ram(ranges, count);
	set_guard((uintptr_t)boot_stack_guard);
	for (unsigned i = 0; i < IST_COUNT; i++)
		set_guard((uintptr_t)cpu_ist_guard(i));
	windows_init();
	if (cpu_has.pat) // entry 1 becomes write-combining: SDM 3A 12.12.4
		wrmsr(MSR_PAT, (rdmsr(MSR_PAT) & ~0xff00UL) | 0x0100);
	write_cr3(virt_to_phys(root));
}
