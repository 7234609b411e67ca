// SPDX-License-Identifier: BSD-2-Clause
// Fake RAM and what hands it out: frames, pools, wire counts, hiding. See shim.h.
//
// The RAM is one memory file mapped twice: once at DIRECT_BASE, where frames can be hidden, once for
// "devices". Frame numbers start at SHIM_FIRST_FRAME, so that physical address 0 is nobody's.
#define _GNU_SOURCE
#include "shim.h"
#include "shim_private.h"

#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel/copy.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/vmm.h"

#define WEAK		 __attribute__((weak))
#define SHIM_FIRST_FRAME 1024UL // 4 MB: aligned for the largest order
#define JUNK		 0xa5

WEAK struct page *pages;
WEAK uint64_t pages_count;
uintptr_t host_direct_base;

static uint8_t *ram;	 // where frame SHIM_FIRST_FRAME is mapped for the processor
static uint8_t *ram_dma; // and for devices
static size_t ram_frames, frames_free, frames_low;
static uint8_t *frame_used;
static size_t frame_hint;
static uint64_t frames_reserve, frames_failed;
static int64_t frames_fail_after = -1, pools_fail_after = -1;
static bool unmapped;
static pmm_reclaim_fn reclaimer;
static page_release_fn release_hook;
static uint64_t pinned, pinned_high;
static struct spinlock pmm_lock = SPINLOCK_INIT("pmm", RANK_PMM);

static struct pool *pool_list;
static struct {
	struct page *page;
	unsigned order;
} * pool_blocks;
static size_t pool_block_count;

static unsigned order_of(size_t bytes)
{
	unsigned order = 0;
	while ((PAGE_SIZE << order) < bytes)
		order++;
	return order;
}

// ---- pools ----

static bool pools_keep;

void shim_pools_keep(bool keep)
{
	pools_keep = keep;
}

static bool pool_grow(struct pool *pool, size_t size)
{
	unsigned order = order_of(size);
	struct page *page = pmm_alloc(order);
	if (!page && reclaimer && reclaimer((size_t)1 << order))
		page = pmm_alloc(order);
	if (!page)
		return false;
	pool_blocks = realloc(pool_blocks, (pool_block_count + 1) * sizeof(*pool_blocks));
	pool_blocks[pool_block_count].page = page;
	pool_blocks[pool_block_count++].order = order;
	uint8_t *at = page_virt(page), *end = at + (PAGE_SIZE << order);
	for (; at + size <= end && pool->total < pool->maximum; at += size) {
		*(void **)at = pool->free;
		pool->free = at;
		pool->total++;
		ASAN_POISON_MEMORY_REGION(at, size);
	}
	return true;
}

static size_t object_size(const struct pool *pool)
{
	return ALIGN_UP(MAX(pool->object_bytes, sizeof(void *)), MAX(pool->align, 8UL));
}

WEAK void *pool_alloc(struct pool *pool)
{
	size_t size = object_size(pool);
	struct pool *known = pool_list;
	while (known && known != pool)
		known = known->next;
	if (!known) {
		pool->next = pool_list;
		pool_list = pool;
	}
	if (pools_fail_after > 0)
		pools_fail_after--;
	bool refuse = !pools_fail_after;
	if (refuse || (!pool->free && (pool->total >= pool->maximum || !pool_grow(pool, size)))) {
		pool->failed++;
		return NULL;
	}
	spin_lock_wtd(&pool->lock);
	void *object = pool->free;
	ASAN_UNPOISON_MEMORY_REGION(object, size);
	pool->free = *(void **)object;
	pool->used++;
	pool->high = MAX(pool->high, pool->used);
	spin_unlock_wtd(&pool->lock);
	if (pool->raw && pools_keep)
		return object;
	return memset(object, pool->raw ? JUNK : 0, size);
}

WEAK void pool_free(struct pool *pool, void *object)
{
	size_t size = object_size(pool);
	spin_lock_wtd(&pool->lock);
	ASSERT(pool->used);
	if (__asan_address_is_poisoned(object))
		PANIC("pool %s: %p freed twice", pool->name, object);
	if (!pools_keep)
		memset(object, JUNK, size);
	*(void **)object = pool->free;
	pool->free = object;
	pool->used--;
	ASAN_POISON_MEMORY_REGION(object, size);
	spin_unlock_wtd(&pool->lock);
}

WEAK bool pool_reserve(struct pool *pool, uint32_t objects)
{
	while (pool->total - pool->used < objects)
		if (pool->total >= pool->maximum || !pool_grow(pool, object_size(pool)))
			return false;
	return true;
}

WEAK struct pool *pool_first(void)
{
	return pool_list;
}

WEAK void pool_fail_after(uint32_t k)
{
	pools_fail_after = k;
}

WEAK void pool_fail_off(void)
{
	pools_fail_after = -1;
}

// ---- frames ----

void shim_init(size_t frames)
{
	shim_seed();
	if (ram)
		shim_fail("shim_init twice without shim_finish");
	size_t hole = SHIM_FIRST_FRAME * PAGE_SIZE, bytes = frames * PAGE_SIZE;
	int fd = memfd_create("ram", 0);
	uint8_t *base =
	    mmap(NULL, hole + bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) || base == MAP_FAILED)
		shim_fail("no memory for fake RAM");
	ram = mmap(base + hole, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	ram_dma = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ram == MAP_FAILED || ram_dma == MAP_FAILED)
		shim_fail("no memory for fake RAM");
	close(fd);
	host_direct_base = (uintptr_t)base;
	pages_count = SHIM_FIRST_FRAME + frames;
	pages = aligned_alloc(64, pages_count * sizeof(*pages));
	memset(pages, 0, pages_count * sizeof(*pages));
	frame_used = calloc(frames, 1);
	ram_frames = frames_free = frames_low = frames;
	frames_reserve = frames / 32;
	frame_hint = frames_failed = 0;
	pinned = pinned_high = 0;
	unmapped = false;
	shim_sched_init();
}

static void pools_finish(void)
{
	for (struct pool *pool = pool_list; pool; pool = pool->next) {
		if (pool->used)
			shim_fail("pool %s: %u objects still out", pool->name, pool->used);
		pool->free = NULL;
		pool->total = 0;
	}
	while (pool_list) {
		struct pool *pool = pool_list;
		pool_list = pool->next;
		pool->next = NULL;
	}
	for (size_t i = 0; i < pool_block_count; i++) {
		ASAN_UNPOISON_MEMORY_REGION(page_virt(pool_blocks[i].page),
					    PAGE_SIZE << pool_blocks[i].order);
		pmm_free(pool_blocks[i].page, pool_blocks[i].order);
	}
	free(pool_blocks);
	pool_blocks = NULL;
	pool_block_count = 0;
}

void shim_finish(void)
{
	shim_sched_finish();
	if (page_pinned())
		shim_fail("%llu pages still pinned", (unsigned long long)page_pinned());
	pools_finish();
	if (frames_free != ram_frames)
		shim_fail("%zu frames still out", ram_frames - frames_free);
	munmap((void *)host_direct_base, pages_count * PAGE_SIZE);
	munmap(ram_dma, ram_frames * PAGE_SIZE);
	free(pages);
	free(frame_used);
	ram = NULL;
	reclaimer = NULL;
	frames_fail_after = pools_fail_after = -1;
}

size_t shim_frames_free(void)
{
	return frames_free;
}

void shim_set_reserve(uint64_t frames)
{
	frames_reserve = frames;
}

void shim_frames_fail_after(uint32_t k)
{
	frames_fail_after = k;
}

void shim_frames_fail_off(void)
{
	frames_fail_after = -1;
}

static bool block_free(size_t first, size_t count)
{
	return first + count <= ram_frames && !memchr(frame_used + first, 1, count);
}

WEAK struct page *pmm_alloc(unsigned order)
{
	size_t count = (size_t)1 << order, blocks = ram_frames / count;
	ASSERT(order <= PMM_MAX_ORDER);
	spin_lock_wtd(&pmm_lock);
	if (frames_fail_after > 0)
		frames_fail_after--;
	else if (!frames_fail_after)
		blocks = 0;
	for (size_t i = 0; i < blocks && frames_free >= count; i++) {
		size_t first = (frame_hint / count + i) % blocks * count;
		if (!block_free(first, count))
			continue;
		memset(frame_used + first, 1, count);
		frame_hint = first + count < ram_frames ? first + count : 0;
		frames_free -= count;
		frames_low = MIN(frames_low, frames_free);
		for (size_t n = 0; n < count; n++)
			memset(&pages[SHIM_FIRST_FRAME + first + n], 0, sizeof(struct page));
		spin_unlock_wtd(&pmm_lock);
		return &pages[SHIM_FIRST_FRAME + first];
	}
	frames_failed++;
	spin_unlock_wtd(&pmm_lock);
	return NULL;
}

WEAK void pmm_free(struct page *page, unsigned order)
{
	size_t first = (size_t)(page - pages) - SHIM_FIRST_FRAME, count = (size_t)1 << order;
	spin_lock_wtd(&pmm_lock);
	ASSERT(page >= pages + SHIM_FIRST_FRAME && first + count <= ram_frames);
	for (size_t n = first; n < first + count; n++) {
		struct page *frame = &pages[SHIM_FIRST_FRAME + n];
		if (!frame_used[n])
			PANIC("frame %zu freed twice", SHIM_FIRST_FRAME + n);
		if (frame->wire || (frame->flags & (PAGE_CACHE | PAGE_HIDDEN)))
			PANIC("frame %zu freed with wire %u, flags %x", SHIM_FIRST_FRAME + n,
			      frame->wire, frame->flags);
		frame_used[n] = 0;
		memset(ram_dma + n * PAGE_SIZE, JUNK, PAGE_SIZE);
	}
	frames_free += count;
	spin_unlock_wtd(&pmm_lock);
}

WEAK void *kpages_alloc_raw(size_t bytes)
{
	struct page *page = pmm_alloc(order_of(bytes));
	if (!page && reclaimer && reclaimer((size_t)1 << order_of(bytes)))
		page = pmm_alloc(order_of(bytes));
	return page ? page_virt(page) : NULL;
}

WEAK void *kpages_alloc(size_t bytes)
{
	void *p = kpages_alloc_raw(bytes);

	return p ? memset(p, 0, PAGE_SIZE << order_of(bytes)) : NULL;
}

WEAK void kpages_free(void *p, size_t bytes)
{
	if (p)
		pmm_free(page_of_phys(virt_to_phys(p)), order_of(bytes));
}

WEAK void pmm_register_reclaim(pmm_reclaim_fn fn)
{
	reclaimer = fn;
}

WEAK void pmm_stats(struct pmm_stats *out)
{
	*out = (struct pmm_stats){
	    .frames_total = ram_frames,
	    .frames_free = frames_free,
	    .frames_free_low = frames_low,
	    .failed = frames_failed,
	    .reserve = frames_reserve,
	};
}

WEAK bool pmm_manages(uint64_t frame)
{
	return frame >= SHIM_FIRST_FRAME && frame < pages_count;
}

WEAK bool pmm_low(void)
{
	return frames_free <= frames_reserve;
}

// ---- pages: wire references, hiding, devices ----

WEAK void page_wire_added(unsigned fresh)
{
	pinned += fresh;
	pinned_high = MAX(pinned, pinned_high);
}

WEAK void page_wire_get(struct page *page)
{
	page_wire_added(page_wire_add(page));
}

WEAK void page_wire_put(struct page *page)
{
	ASSERT(page->wire);
	if (--page->wire)
		return;
	pinned--;
	if (release_hook)
		release_hook(page);
}

WEAK void page_wire_get_run(struct page *first, unsigned count)
{
	while (count--)
		page_wire_get(first++);
}

WEAK void page_wire_put_run(struct page *first, unsigned count)
{
	while (count--)
		page_wire_put(first++);
}

WEAK const struct page_maps *page_maps; // no programs

WEAK uint64_t page_pinned(void)
{
	return pinned;
}

WEAK uint64_t page_pinned_high(void)
{
	return pinned_high;
}

WEAK void page_set_release_hook(page_release_fn fn)
{
	release_hook = fn;
}

WEAK paddr_t virt_to_phys(const void *p)
{
	const uint8_t *at = p;
	if (at < ram || at >= ram + ram_frames * PAGE_SIZE)
		PANIC("%p is not in RAM that a device could reach", p);
	return (paddr_t)((uintptr_t)p - host_direct_base);
}

void shim_set_unmapped(bool on)
{
	unmapped = on;
}

WEAK bool vmm_cache_unmapped(void)
{
	return unmapped;
}

static void protect(struct page *page, int how)
{
	if (mprotect(page_virt(page), PAGE_SIZE, how))
		shim_fail("mprotect failed: too many pieces? hide fewer pages");
}

WEAK void vmm_hide(struct page *page)
{
	if (!unmapped)
		return;
	ASSERT(!(page->flags & PAGE_HIDDEN));
	page->flags |= PAGE_HIDDEN;
	protect(page, PROT_NONE);
}

WEAK void vmm_show(struct page *page)
{
	if (!unmapped)
		return;
	ASSERT(page->flags & PAGE_HIDDEN);
	page->flags &= (uint16_t)~PAGE_HIDDEN;
	protect(page, PROT_READ | PROT_WRITE);
}

WEAK void *vmm_window_open(struct page *page)
{
	if (page->flags & PAGE_HIDDEN)
		protect(page, PROT_READ | PROT_WRITE);
	return page_virt(page);
}

WEAK void vmm_window_close(struct page *page)
{
	if (page->flags & PAGE_HIDDEN)
		protect(page, PROT_NONE);
}

WEAK int copy_cache_write(struct page *page, size_t offset, const void *from, size_t len,
			  int (*copy)(void *to, const void *from, size_t len))
{
	uint8_t *window = vmm_window_open(page);
	int error = copy ? copy(window + offset, from, len) : 0;
	if (!copy)
		memcpy(window + offset, from, len);
	vmm_window_close(page);
	return error;
}

WEAK void copy_from_cache(void *to, struct page *page, size_t offset, size_t bytes)
{
	const uint8_t *window = vmm_window_open(page);

	memcpy(to, window + offset, bytes);
	vmm_window_close(page);
}

static uint8_t *dma_at(paddr_t addr, size_t len)
{
	paddr_t first = SHIM_FIRST_FRAME * PAGE_SIZE;
	if (addr < first || addr + len > first + ram_frames * PAGE_SIZE)
		shim_fail("DMA to %llx + %zu: no RAM there", (unsigned long long)addr, len);
	return ram_dma + (addr - first);
}

void shim_dma_write(paddr_t addr, const void *from, size_t len)
{
	memcpy(dma_at(addr, len), from, len);
}

void shim_dma_read(paddr_t addr, void *to, size_t len)
{
	memcpy(to, dma_at(addr, len), len);
}

void shim_dma_fill(paddr_t addr, int byte, size_t len)
{
	memset(dma_at(addr, len), byte, len);
}
