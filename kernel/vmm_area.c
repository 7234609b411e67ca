// SPDX-License-Identifier: BSD-2-Clause
// Mappings that come and go: device registers, firmware tables, the framebuffer, and stacks with a guard
// page below. Contract in include/kernel/vmm.h. Address space is taken first fit from a map of bits; the
// entries of a range are then its taker's alone, so the lock guards the map only.
#include "kernel/cpu_private.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/vmm.h"
#include "kernel/vmm_private.h"

// The window region: stacks, device registers, per-processor windows. A bit a page, set: taken.
static struct spinlock vmm_lock = SPINLOCK_INIT("vmm", RANK_VMM);
static uint64_t area_map[AREA_PAGES / 64]; // (vmm_lock)
static size_t area_hint;		   // (vmm_lock) nothing is free below it

// How many of the `count` pages from `start` on are free, up to the first that is not. (vmm_lock)
static size_t free_run(size_t start, size_t count)
{
	size_t n = 0;

	while (n < count) {
		unsigned bit = (start + n) % 64, left = 64 - bit;
		uint64_t taken = area_map[(start + n) / 64] >> bit;

		if (taken)
			return MIN(n + (unsigned)__builtin_ctzl(taken), count);
		n += left;
	}
	return count;
}

// (vmm_lock)
static void mark(size_t start, size_t count, bool taken)
{
	for (size_t n = 0, bits; n < count; n += bits) {
		unsigned bit = (start + n) % 64;
		uint64_t *word = &area_map[(start + n) / 64], mask;

		bits = MIN(count - n, 64UL - bit);
		mask = (bits == 64 ? UINT64_MAX : BIT(bits) - 1) << bit;
		*word = taken ? *word | mask : *word & ~mask;
	}
}

// First fit: `count` free pages whose number is `offset` modulo `align`. AREA_PAGES when there are none.
static size_t area_take(size_t count, size_t align, size_t offset)
{
	size_t start, n = 0;

	spin_lock_wtd(&vmm_lock);
	start = ALIGN_UP(area_hint, align) + offset;
	while (start + count <= AREA_PAGES && (n = free_run(start, count)) < count)
		start = ALIGN_UP(start + n + 1 - offset, align) + offset;
	if (n == count) {
		mark(start, count, true);
		if (start == area_hint)
			area_hint += count;
	} else {
		start = AREA_PAGES;
	}
	spin_unlock_wtd(&vmm_lock);
	return start;
}

size_t vmm_area_take(size_t count)
{
	return area_take(count, 1, 0);
}

static void area_give(size_t start, size_t count)
{
	spin_lock_wtd(&vmm_lock);
	mark(start, count, false);
	area_hint = MIN(area_hint, start);
	spin_unlock_wtd(&vmm_lock);
}

uintptr_t vmm_area_address(size_t index)
{
	return AREA_BASE + (index << PAGE_SHIFT);
}

static size_t area_index(uintptr_t address)
{
	ASSERT(address >= AREA_BASE && address < vmm_area_address(AREA_PAGES));
	return (address - AREA_BASE) >> PAGE_SHIFT;
}

// Takes the mappings of [address, address + len) away.
static void unmap_range(uintptr_t address, size_t len)
{
	uintptr_t end = address + len;

	while (address < end) {
		int level;
		uint64_t *entry = vmm_find_entry(address, &level);

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

	// Beyond what the processor can address an entry is corrupt, and its use a fault.
	if (!len || addr + len < addr || addr + len > BIT(cpu_has.address_bits))
		return NULL;
	start = area_take(bytes >> PAGE_SHIFT, large ? ENTRIES : 1,
			  large ? (first >> PAGE_SHIFT) % ENTRIES : 0);
	if (start == AREA_PAGES)
		return NULL;
	if (!vmm_map_range(vmm_area_address(start), first, bytes, flags, LEVEL_2M)) {
		unmap_range(vmm_area_address(start), bytes);
		area_give(start, bytes >> PAGE_SHIFT);
		return NULL;
	}
	return (void *)(vmm_area_address(start) + (addr - first));
}

void *vmm_map_io(paddr_t addr, size_t len)
{
	return map_somewhere(addr, len,
			     PTE_WRITE | PTE_NO_CACHE | PTE_WRITE_THROUGH | PTE_GLOBAL | vmm_nx);
}

void *vmm_map_phys(paddr_t addr, size_t len, bool write_combining)
{
	uint64_t cache = !write_combining ? 0
			 : cpu_has.pat	  ? PTE_WRITE_THROUGH
					  : PTE_NO_CACHE | PTE_WRITE_THROUGH;

	return map_somewhere(addr, len, PTE_WRITE | PTE_GLOBAL | vmm_nx | cache);
}

void vmm_unmap(void *p, size_t len)
{
	uintptr_t address = ALIGN_DOWN((uintptr_t)p, PAGE_SIZE);
	size_t bytes = ALIGN_UP((uintptr_t)p + len, PAGE_SIZE) - address;

	unmap_range(address, bytes);
	area_give(area_index(address), bytes >> PAGE_SHIFT);
}

void vmm_set_guard(uintptr_t address)
{
	int level;
	uint64_t *entry = vmm_find_entry(address, &level);

	ASSERT(entry && level == LEVEL_4K);
	*entry = PTE_GUARD;
	invlpg(address);
}

static void free_frames(uintptr_t stack, size_t bytes)
{
	for (uintptr_t address = stack; address < stack + bytes; address += PAGE_SIZE) {
		int level;
		uint64_t *entry = vmm_find_entry(address, &level);

		if (entry && *entry & PTE_PRESENT)
			kpages_free(phys_to_virt(*entry & PTE_FRAME), PAGE_SIZE);
	}
}

static void stack_unmap(uintptr_t stack, size_t bytes)
{
	free_frames(stack, bytes);
	unmap_range(stack - PAGE_SIZE, bytes + PAGE_SIZE);
	area_give(area_index(stack - PAGE_SIZE), bytes / PAGE_SIZE + 1);
}

// The stack's frames are given back one by one, however they were taken: in one piece if there is one.
static bool map_whole(uintptr_t stack, size_t bytes)
{
	unsigned order = 0;
	struct page *frames;

	while (PAGE_SIZE << order < bytes && order < PMM_MAX_ORDER)
		order++;
	frames = PAGE_SIZE << order == bytes ? pmm_alloc(order) : NULL;
	if (!frames)
		return false;
	// The guard page has its entry by being mapped for a moment, to whatever frame.
	if (vmm_map_range(stack - PAGE_SIZE, page_phys(frames) - PAGE_SIZE, bytes + PAGE_SIZE,
			  PTE_WRITE | PTE_GLOBAL | vmm_nx, LEVEL_4K))
		return true;
	unmap_range(stack - PAGE_SIZE, bytes + PAGE_SIZE);
	pmm_free(frames, order);
	return false;
}

static bool map_pieces(uintptr_t stack, size_t bytes)
{
	if (!vmm_map_range(stack - PAGE_SIZE, 0, PAGE_SIZE, vmm_nx, LEVEL_4K))
		return false;
	for (size_t done = 0; done < bytes; done += PAGE_SIZE) {
		void *frame = kpages_alloc_raw(PAGE_SIZE);

		if (frame && vmm_map_range(stack + done, virt_to_phys(frame), PAGE_SIZE,
					   PTE_WRITE | PTE_GLOBAL | vmm_nx, LEVEL_4K))
			continue;
		kpages_free(frame, PAGE_SIZE);
		free_frames(stack, done);
		unmap_range(stack - PAGE_SIZE, bytes + PAGE_SIZE);
		return false;
	}
	return true;
}

void *vmm_stack_alloc(size_t bytes)
{
	size_t start;
	uintptr_t stack;

	bytes = ALIGN_UP(bytes, PAGE_SIZE);
	start = vmm_area_take(bytes / PAGE_SIZE + 1);
	if (start == AREA_PAGES)
		return NULL;
	stack = vmm_area_address(start + 1);
	if (!map_whole(stack, bytes) && !map_pieces(stack, bytes)) {
		area_give(start, bytes / PAGE_SIZE + 1);
		return NULL;
	}
	vmm_set_guard(stack - PAGE_SIZE);
	return (void *)stack;
}

void vmm_stack_free(void *stack, size_t bytes)
{
	stack_unmap((uintptr_t)stack, ALIGN_UP(bytes, PAGE_SIZE));
}
