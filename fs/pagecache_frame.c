// SPDX-License-Identifier: BSD-2-Clause
// The page cache's memory: every frame that nothing else needs. Frames come from the pmm while more
// than its reserve is free, in blocks of 64 KB where it has them, so that pages read one after the
// other lie one after the other; then from pages that go out of the cache (pagecache_lru.c). They go back
// when others ask (the pmm's reclaimer) and when less than the reserve is free.
#include "fs/pagecache_private.h"

#include "kernel/cpu.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/vmm.h"

#define BLOCK_ORDER 4 // frames taken at a time: 16, what the smallest read-ahead windows need
#define GIVE_BACK   4 // frames given back with each page taken while below the reserve

// Takes a page that may go out of the cache; it keeps its mapping as it was.
static struct page *evict(void)
{
	struct page *page = lru_oldest();
	if (!page)
		return NULL;
	lru_remember(page);
	cache_unhash(page);
	cache.evictions++;
	return page;
}

void frame_join(struct page *page, bool meta)
{
	bool hidden = page->flags & PAGE_HIDDEN;
	if (meta && hidden)
		vmm_show(page);
	else if (!meta && !hidden)
		vmm_hide(page);
	page->flags = PAGE_CACHE | (meta ? PAGE_META : 0) | (page->flags & PAGE_HIDDEN);
	page->lru_next = page->lru_prev = NULL;
}

void frame_give(struct page *page)
{
	ASSERT(!page->wire && !page->owner);
	if (page->flags & PAGE_HIDDEN)
		vmm_show(page);
	page->flags = 0;
	page->state = PAGE_EMPTY;
	page->lru_next = page->lru_prev = NULL;
	pmm_free(page, 0);
}

static struct page *spare_pop(void)
{
	struct page *page = cache.spare;
	if (page) {
		cache.spare = page->lru_next;
		cache.spare_pages--;
	}
	return page;
}

// A block becomes spare frames, in ascending order; each is freed by itself one day.
static void spare_add(struct page *block)
{
	for (struct page *page = block + BIT(BLOCK_ORDER) - 1; page >= block; page--) {
		page->lru_next = cache.spare;
		page->flags = 0;
		cache.spare = page;
		cache.spare_pages++;
	}
}

struct page *frame_take(void)
{
	struct page *page = spare_pop();
	if (page)
		return page;
	struct pmm_stats free;
	pmm_stats(&free);
	if (free.frames_free > free.reserve + BIT(BLOCK_ORDER)) {
		page = pmm_alloc(BLOCK_ORDER);
		if (page) {
			spare_add(page);
			return spare_pop();
		}
	}
	if (free.frames_free > free.reserve) {
		page = pmm_alloc(0);
		if (page)
			return page;
	}
	if (free.frames_free < free.reserve)
		cache_shrink(MIN(free.reserve - free.frames_free, (uint64_t)GIVE_BACK));
	page = evict();
	if (!page)
		writeback_hurry();
	return page;
}

size_t cache_shrink(size_t frames)
{
	size_t given = 0;
	struct page *page;
	while (given < frames && ((page = spare_pop()) || (page = evict()))) {
		frame_give(page);
		given++;
	}
	return given;
}

uint64_t frames_for_cache(void)
{
	struct pmm_stats free;
	pmm_stats(&free);
	uint64_t room = free.frames_free > free.reserve ? free.frames_free - free.reserve : 0;
	return cache.pages + cache.spare_pages + room;
}

bool frames_tight(void)
{
	return cache.reading > cache.frames_total / 8 ||
	       (page_pinned() > cache.pages / 2 && pmm_low());
}

// pmm_register_reclaim. Who holds the cache's lock or an inner one gets nothing.
static size_t reclaim(size_t frames)
{
	struct spinlock *inner = this_cpu()->locks;
	if (inner && inner->rank >= RANK_PAGECACHE)
		return 0;
	spin_lock_wtd(&cache.lock);
	size_t given = cache_shrink(frames);
	spin_unlock_wtd(&cache.lock);
	return given;
}

void frames_init(void)
{
	struct pmm_stats stats;
	pmm_stats(&stats);
	cache.frames_total = stats.frames_total;
	cache.dirty_max = MAX(MIN(cache.frames_total / 4, DIRTY_PAGES_MAX), 1UL);
	lru_init();
	cache.zero = pmm_alloc(0);
	if (!cache.zero)
		PANIC("no memory for the page cache");
	memset(page_virt(cache.zero), 0, PAGE_SIZE);
	frame_join(cache.zero, false);
	cache.zero->state = PAGE_CLEAN;
	pmm_register_reclaim(reclaim);
}
