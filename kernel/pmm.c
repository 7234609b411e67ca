// SPDX-License-Identifier: BSD-2-Clause
// Page frames: a buddy allocator. Contract in include/kernel/pmm.h.
//
// A free block is on the free list of its order; its first frame's struct page has PAGE_HEAD set and
// says the order. No other struct page of a free block means anything (it may never have been written:
// initialising a million of them would be most of the boot). Two facts make merging safe all the same:
//   - the buddy of a block that is being freed cannot lie inside a larger free block, because that one
//     would contain both; so its first frame is allocated (initialised when that happened), the head
//     of a free block, or outside the usable ranges;
//   - for the last case seed_range writes the struct page of every frame outside a range that can be
//     the buddy of a block inside it.
// Blocks of the largest order, which have no buddies, are on no list until they are first taken: a range of
// them is two numbers, however much memory there is.
#include "kernel/pmm.h"
#include "kernel/boot.h"
#include "kernel/bootinfo.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/pmm_private.h"
#include "kernel/trace.h"
#include "kernel/vmm.h"

#define ORDERS	       (PMM_MAX_ORDER + 1)
#define MAX_RECLAIMERS 4
#define RECLAIM_ROUNDS 4
#define BOOT_MAPPED    (4UL << 30) // entry.asm's tables reach this far

struct page *pages;
uint64_t pages_count;

static struct spinlock pmm_lock = SPINLOCK_INIT("pmm", RANK_PMM);
static struct page *free_lists[ORDERS]; // (pmm_lock)
static uint64_t blocks_free[ORDERS];	// (pmm_lock)
static struct range {
	uint64_t next, end;			  // frame numbers
} fresh[BOOT_MAX_RANGES];			  // (pmm_lock) blocks of PMM_MAX_ORDER never taken
static unsigned fresh_count;			  // constant after pmm_init
static uint64_t frames_total, frames_free_low;	  // (pmm_lock)
static uint64_t frames_free, failed, reclaimed;	  // (pmm_lock)
static uint64_t reserve;			  // constant after pmm_init
static bool junk;				  // constant after boot
static pmm_reclaim_fn reclaimers[MAX_RECLAIMERS]; // constant after boot

KSTAT_GAUGE(frames_total, "pagewire_pmm_frames", "Page frames under management");
KSTAT_GAUGE(frames_free, "pagewire_pmm_frames_free", "Page frames free now");
KSTAT_GAUGE(frames_free_low, "pagewire_pmm_frames_free_low", "Least page frames ever free");
KSTAT_GAUGE(reserve, "pagewire_pmm_frames_reserve", "Page frames the cache leaves free");
KSTAT_COUNTER(failed, "pagewire_pmm_failed_total", "Allocations refused for lack of memory");
KSTAT_COUNTER(reclaimed, "pagewire_pmm_reclaimed_frames_total",
	      "Page frames given back by the cache for kernel structures");

static void list_add(struct page *page, unsigned order)
{
	page->lru_prev = NULL;
	page->lru_next = free_lists[order];
	if (page->lru_next)
		page->lru_next->lru_prev = page;
	free_lists[order] = page;
	blocks_free[order]++;
	page->order = (uint8_t)order;
	page->flags = PAGE_HEAD;
}

static void list_remove(struct page *page)
{
	if (page->lru_prev)
		page->lru_prev->lru_next = page->lru_next;
	else
		free_lists[page->order] = page->lru_next;
	if (page->lru_next)
		page->lru_next->lru_prev = page->lru_prev;
	blocks_free[page->order]--;
	page->flags = 0;
}

// Lock held. A block of the largest order that was never taken, or null.
static struct page *take_fresh(void)
{
	for (struct range *r = fresh; r < fresh + fresh_count; r++)
		if (r->next != r->end) {
			r->next += 1UL << PMM_MAX_ORDER;
			return &pages[r->next - (1UL << PMM_MAX_ORDER)];
		}
	return NULL;
}

// Lock held. Null when no block is large enough.
static struct page *take_block(unsigned order)
{
	unsigned have = order;
	struct page *page;

	while (have < ORDERS && !free_lists[have])
		have++;
	if (have < ORDERS) {
		page = free_lists[have];
		list_remove(page);
	} else {
		page = take_fresh();
		if (!page)
			return NULL;
		have = PMM_MAX_ORDER;
	}
	while (have > order) { // the upper halves go back
		have--;
		list_add(page + (1UL << have), have);
	}
	frames_free -= 1UL << order;
	frames_free_low = MIN(frames_free_low, frames_free);
	return page;
}

// Lock held.
static void give_block(struct page *page, unsigned order)
{
	uint64_t frame = (uint64_t)(page - pages);

	frames_free += 1UL << order;
	for (; order < PMM_MAX_ORDER; order++) {
		uint64_t buddy = frame ^ (1UL << order);
		struct page *other = &pages[buddy];

		if (buddy >= pages_count || !(other->flags & PAGE_HEAD) || other->order != order)
			break;
		list_remove(other);
		frame &= ~(1UL << order);
	}
	list_add(&pages[frame], order);
}

static struct page *alloc_block(unsigned order)
{
	struct page *page;
	uint64_t left;

	ASSERT(order <= PMM_MAX_ORDER);
	spin_lock_wtd(&pmm_lock);
	page = take_block(order);
	left = frames_free;
	if (!page)
		failed++;
	spin_unlock_wtd(&pmm_lock);
	if (!page) {
		trace(TRACE_PMM_FAILED, order, left, 0);
		return NULL;
	}
	if (junk)
		memset(page_virt(page), PAGE_JUNK, PAGE_SIZE << order);
	return page;
}

struct page *pmm_alloc(unsigned order)
{
	struct page *page = alloc_block(order);

	return page ? memset(page, 0, sizeof(*page) << order) : NULL;
}

void pmm_free(struct page *page, unsigned order)
{
	uint64_t frame = (uint64_t)(page - pages);

	ASSERT(order <= PMM_MAX_ORDER);
	ASSERT(frame < pages_count && !(frame & ((1UL << order) - 1)));
	if (page->flags & PAGE_HEAD)
		PANIC("frame 0x%lx is freed twice", frame);
	for (unsigned i = 0; i < 1U << order; i++)
		if (page[i].wire || page[i].flags & PAGE_HIDDEN)
			PANIC("frame 0x%lx is freed while %s", frame + i,
			      page[i].wire ? "on the wire" : "hidden");
	if (junk)
		memset(page_virt(page), PAGE_JUNK, PAGE_SIZE << order);
	spin_lock_wtd(&pmm_lock);
	give_block(page, order);
	spin_unlock_wtd(&pmm_lock);
}

static unsigned order_of(size_t bytes)
{
	size_t frames = (bytes + PAGE_SIZE - 1) >> PAGE_SHIFT;

	return frames <= 1 ? 0 : 64 - (unsigned)__builtin_clzl(frames - 1);
}

// What the cache gives back is scattered, so a large block asks for several times its size.
static bool reclaim(unsigned order, unsigned round)
{
	size_t wanted = (size_t)1 << (order + (order ? round + 1 : 0)), got = 0;

	for (unsigned i = 0; i < MAX_RECLAIMERS && reclaimers[i] && got < wanted; i++)
		got += reclaimers[i](wanted - got);
	spin_lock_wtd(&pmm_lock);
	reclaimed += got;
	spin_unlock_wtd(&pmm_lock);
	return got != 0;
}

static void *alloc_reclaiming(size_t bytes, struct page *(*alloc)(unsigned order))
{
	unsigned order = order_of(bytes);
	struct page *page;

	if (!bytes || order > PMM_MAX_ORDER)
		return NULL;
	page = alloc(order);
	for (unsigned round = 0; !page && round < RECLAIM_ROUNDS && reclaim(order, round); round++)
		page = alloc(order);
	return page ? page_virt(page) : NULL;
}

void *kpages_alloc_raw(size_t bytes)
{
	return alloc_reclaiming(bytes, pmm_alloc);
}

// The first frame's may be looked at as a buddy.
static struct page *alloc_bare(unsigned order)
{
	struct page *page = alloc_block(order);

	return page ? memset(page, 0, sizeof(*page)) : NULL;
}

void *kpages_alloc_bare(size_t bytes)
{
	return alloc_reclaiming(bytes, alloc_bare);
}

void kpages_free_bare(void *p, size_t bytes)
{
	struct page *page = p ? page_of_phys(virt_to_phys(p)) : NULL;

	if (!p)
		return;
	memset(page + 1, 0, sizeof(*page) * ((1UL << order_of(bytes)) - 1));
	kpages_free(p, bytes);
}

void *kpages_alloc(size_t bytes)
{
	void *p = kpages_alloc_raw(bytes);

	return p ? memset(p, 0, bytes) : NULL;
}

void kpages_free(void *p, size_t bytes)
{
	if (p)
		pmm_free(page_of_phys(virt_to_phys(p)), order_of(bytes));
}

void pmm_register_reclaim(pmm_reclaim_fn fn)
{
	unsigned i = 0;

	while (i < MAX_RECLAIMERS && reclaimers[i])
		i++;
	ASSERT(i < MAX_RECLAIMERS);
	reclaimers[i] = fn;
}

void pmm_stats(struct pmm_stats *out)
{
	spin_lock_wtd(&pmm_lock);
	*out = (struct pmm_stats){
	    .frames_total = frames_total,
	    .frames_free = frames_free,
	    .frames_free_low = frames_free_low,
	    .failed = failed,
	    .reserve = reserve,
	};
	spin_unlock_wtd(&pmm_lock);
}

bool pmm_low(void)
{
	return __atomic_load_n(&frames_free, __ATOMIC_RELAXED) <= reserve;
}

void pmm_set_junk(bool on)
{
	junk = on;
}

bool pmm_manages(uint64_t frame)
{
	for (unsigned i = 0; i < boot_info.range_count; i++)
		if (boot_info.ranges[i].usable &&
		    boot_info.ranges[i].start >> PAGE_SHIFT <= frame &&
		    frame < boot_info.ranges[i].end >> PAGE_SHIFT)
			return true;
	return false;
}

// Boot, from here on.

paddr_t pmm_early_alloc_raw(size_t frames)
{
	size_t bytes = frames << PAGE_SHIFT;

	ASSERT(!pages);
	for (unsigned i = boot_info.range_count; i-- > 0;) {
		struct boot_range *r = &boot_info.ranges[i];

		if (!r->usable || r->end > BOOT_MAPPED || r->end - r->start < bytes)
			continue;
		r->end -= bytes;
		return r->end;
	}
	PANIC("no %lu frames below 4 GB for the page tables", frames);
}

paddr_t pmm_early_alloc(size_t frames)
{
	paddr_t addr = pmm_early_alloc_raw(frames);

	memset(phys_to_virt(addr), 0, frames << PAGE_SHIFT);
	return addr;
}

// See the top of the file: `frame` may be looked at as a buddy.
static void seed_outside(uint64_t frame)
{
	if (frame < pages_count && !pmm_manages(frame))
		memset(&pages[frame], 0, sizeof(pages[frame]));
}

static void seed_range(uint64_t start, uint64_t end)
{
	for (unsigned order = 0; order < PMM_MAX_ORDER; order++) {
		uint64_t size = 1UL << order;

		seed_outside(start ? ALIGN_DOWN(start - 1, size) : pages_count);
		seed_outside(ALIGN_UP(end, size));
	}
	frames_total += end - start;
	frames_free += end - start;
	while (start < end) {
		unsigned order = PMM_MAX_ORDER;

		while (start & ((1UL << order) - 1) || start + (1UL << order) > end)
			order--;
		if (order == PMM_MAX_ORDER) {
			uint64_t whole = ALIGN_DOWN(end, 1UL << PMM_MAX_ORDER);

			fresh[fresh_count++] = (struct range){start, whole};
			start = whole;
		} else {
			list_add(&pages[start], order);
			start += 1UL << order;
		}
	}
}

// Takes the struct pages' own memory off the end of the last range that is large enough.
static void place_struct_pages(void)
{
	size_t bytes;

	for (unsigned i = 0; i < boot_info.range_count; i++)
		if (boot_info.ranges[i].usable)
			pages_count = boot_info.ranges[i].end >> PAGE_SHIFT;
	bytes = ALIGN_UP(pages_count * sizeof(struct page), PAGE_SIZE);
	for (unsigned i = boot_info.range_count; i-- > 0;) {
		struct boot_range *r = &boot_info.ranges[i];

		if (!r->usable || r->end - r->start < bytes)
			continue;
		r->end -= bytes;
		pages = phys_to_virt(r->end);
		return;
	}
	PANIC("no room for %lu struct pages", pages_count);
}

void pmm_init(void)
{
	place_struct_pages();
	for (unsigned i = 0; i < boot_info.range_count; i++)
		if (boot_info.ranges[i].usable &&
		    boot_info.ranges[i].end > boot_info.ranges[i].start)
			seed_range(boot_info.ranges[i].start >> PAGE_SHIFT,
				   boot_info.ranges[i].end >> PAGE_SHIFT);
	// What the network and the disk may need at any moment: 1/32 of memory, 2 MB to 64 MB.
	reserve = MIN(MAX(frames_total / 32, 512), 16384);
	frames_free_low = frames_free;
}
