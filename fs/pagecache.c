// SPDX-License-Identifier: BSD-2-Clause
// The page cache: from (owner, index) to the page. Stage 6 of the read path ends in pagecache_probe.
//
// The hash has about a bucket a frame of RAM; a bucket is the frame number of its first page, further
// ones hang on page->hash_next. Keys are seeded at random, so nobody can choose file numbers that meet
// in one bucket. Pages of the cache are never touched here: they may not be mapped.
#include "fs/pagecache_private.h"

#include "kernel/cpu.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"

// 64 Mi, one a frame: 256 GB of RAM; chains grow beyond that
#define BUCKETS_MAX (ZEROS_BLOCKS * ZEROS_BLOCK / sizeof(uint32_t))

struct pagecache cache = {.lock = SPINLOCK_INIT("pagecache", RANK_PAGECACHE)};

void page_owner_init(struct page_owner *owner, struct inode *inode, struct volume *volume)
{
	// The same each time that the inode comes into memory: pages are remembered by it when they went.
	uint64_t name = (inode ? inode->number : 0) << 8 ^ volume->id;
	uint64_t key = (name ^ cache.seed[0]) * (cache.seed[1] | 1);
	key = (key ^ key >> 32) * 0xd6e8feb86659fd93UL;
	*owner = (struct page_owner){.inode = inode, .volume = volume, .key = key ^ key >> 32};
}

// Fibonacci hashing: neighbours in a file land far apart, and the key moves the whole file.
static uint64_t bucket_of(const struct page_owner *owner, uint64_t index)
{
	return ((owner->key ^ index) * 0x9e3779b97f4a7c15UL) >> cache.hash_shift;
}

static uint32_t *bucket_to_write(const struct page_owner *owner, uint64_t index)
{
	return zeros_write(&cache.hash, bucket_of(owner, index), sizeof(uint32_t));
}

static struct page *page_of_frame(uint32_t frame)
{
	return frame ? &pages[frame] : NULL;
}

struct page *cache_find(const struct page_owner *owner, uint64_t index)
{
	if (!index)
		return owner->first;
	const uint32_t *bucket = zeros_read(&cache.hash, bucket_of(owner, index), sizeof(*bucket));
	struct page *page = page_of_frame(*bucket);
	while (page && (page->index != index || page->owner != owner))
		page = page->hash_next;
	return page;
}

struct page *cache_claim(struct page_owner *owner, uint64_t index)
{
	struct page *page = frame_take();
	if (!page) {
		cache.no_page++;
		return NULL;
	}
	frame_join(page, !owner->inode);
	cache_insert(page, owner, index);
	lru_recall(page);
	page->state = PAGE_READING;
	cache.reading++;
	page_wire_get(page);
	return page;
}

// A page with that owner and index came (there: 1) into the frame, or goes from it (0): what lies round it is told.
static void tell_neighbours(struct page *page, uint8_t there)
{
	struct page *before = page - 1, *behind = page + 1;
	page->followed = there && behind < pages + pages_count && behind->owner == page->owner &&
			 behind->index == page->index + 1;
	if (page > pages && before->owner == page->owner && before->index + 1 == page->index)
		before->followed = there;
}

void cache_insert(struct page *page, struct page_owner *owner, uint64_t index)
{
	uint32_t *bucket = bucket_to_write(owner, index);
	page_maps_drop(owner, index); // of the hole
	page->owner = owner;
	page->index = index;
	page->waiters = NULL;
	tell_neighbours(page, 1);
	page->hash_next = page_of_frame(*bucket);
	*bucket = (uint32_t)(page - pages);
	if (!index) {
		ASSERT(!owner->first);
		owner->first = page;
	}
	owner->top = owner->pages ? MAX(owner->top, index + 1) : index + 1;
	owner->pages++;
	cache.pages++;
}

void cache_publish(struct page *page)
{
	ASSERT(page->state == PAGE_READING);
	page->state = PAGE_CLEAN;
	if (page->flags & PAGE_DETACHED)
		return;
	cache.reading--;
	cache_lru_add(page);
}

void cache_unhash(struct page *page)
{
	uint32_t *bucket = bucket_to_write(page->owner, page->index);
	struct page *at = page_of_frame(*bucket);
	if (at == page) {
		*bucket = page->hash_next ? (uint32_t)(page->hash_next - pages) : 0;
	} else {
		while (at->hash_next != page)
			at = at->hash_next;
		at->hash_next = page->hash_next;
	}
	if (!page->index)
		page->owner->first = NULL;
	ASSERT(page->state != PAGE_WRITING);
	ahead_forget(page, page_readable(page));
	if (page->state == PAGE_READING)
		cache.reading--;
	else if (page->state == PAGE_DIRTY)
		dirty_forget(page);
	else
		cache_unlru(page);
	ASSERT(page->owner->pages);
	page->owner->pages--;
	cache.pages--;
	tell_neighbours(page, 0);
	page->hash_next = NULL;
	page->owner = NULL;
}

// `now` is not before any stamp: those are clock_ns's.
static inline void touch(struct page *page, uint64_t now)
{
	if (now - page->stamp_ns <= cache.touch_ns || page->flags & PAGE_HELD)
		return;
	if (UNLIKELY(page->state != PAGE_CLEAN)) // on its file's list, or the disk's: on no LRU
		return;
	lru_hit_again(page);
}

void cache_touch(struct page *page)
{
	touch(page, clock_recent_ns());
}

void cache_touch_run(struct page *first, struct page *last, uint64_t now)
{
	if (now - last->stamp_ns > cache.touch_ns && lru_run_again(first, last, now))
		return;
	for (struct page *page = first; page <= last; page++)
		touch(page, now);
}

struct page *pagecache_probe(struct inode *inode, uint64_t index)
{
	struct page_owner *owner = inode_page_owner(inode);
	spin_lock_brief(&cache.lock);
	struct page *page = cache_find(owner, index);
	if (LIKELY(page && page_readable(page))) {
		page_wire_get(page);
		if (UNLIKELY(page->flags & PAGE_LOOK))
			cache_looked_at(page); // memory may be asked for there, and pages go
		cache_touch(page);
		cache.hits++;
	} else if ((page = owner_hole(owner, index) ? cache.zero : NULL)) {
		page_wire_get(page);
		cache.hits++;
	}
	spin_unlock_brief(&cache.lock);
	return page;
}

// In a fast WTD nobody else is at the cache, with one processor. What is to be done to the page besides is probe's.
ONE_CALLER struct page *pagecache_first(struct inode *inode)
{
	struct page *page = inode_page_owner(inode)->first;
	if (UNLIKELY(CPU_MAX > 1 || !page || !page_readable(page) || page->flags & PAGE_LOOK ||
		     clock_recent_ns() - page->stamp_ns > cache.touch_ns))
		return pagecache_probe(inode, 0);
	page_wire_get(page);
	cache.hits++;
	return page;
}

struct page *pagecache_peek(struct inode *inode, uint64_t index)
{
	struct page_owner *owner = inode_page_owner(inode);
	struct page *page = cache_find(owner, index);
	if (!page)
		return owner_hole(owner, index) ? cache.zero : NULL;
	return page_readable(page) ? page : NULL;
}

const void *pagecache_key(struct inode *inode)
{
	return inode_page_owner(inode);
}

void cache_looked_at(struct page *page)
{
	page_maps_protect(page);
	if (page->flags & (PAGE_READAHEAD | PAGE_AHEAD_MARK))
		ahead_used(page);
}

// The page loses its identity. Off the wire it goes at once, else with its last reference.
void cache_detach(struct page *page)
{
	changes_made(page->owner, page->index);
	page_maps_drop(page->owner, page->index);
	cache_unhash(page);
	page->flags |= PAGE_DETACHED;
	cache.detached++;
	if (!page->wire)
		frame_give(page);
}

void pagecache_detach(struct inode *inode, uint64_t index)
{
	struct page_owner *owner = inode_page_owner(inode);
	spin_lock_wtd(&cache.lock);
	struct page *page = cache_find(owner, index);
	if (page && page->state != PAGE_WRITING)
		cache_detach(page);
	spin_unlock_wtd(&cache.lock);
	writeback_settle(owner->volume);
}

// page_set_release_hook: a reference count came to 0.
static void released(struct page *page)
{
	if (LIKELY(!(page->flags & PAGE_DETACHED)))
		return;
	spin_lock_wtd(&cache.lock);
	if ((page->flags & PAGE_DETACHED) && !page->wire)
		frame_give(page);
	spin_unlock_wtd(&cache.lock);
}

void pagecache_drop(void)
{
	size_t freed;
	do {
		spin_lock_wtd(&cache.lock);
		freed = cache_shrink(64);
		spin_unlock_wtd(&cache.lock);
	} while (freed);
}

void pagecache_init(void)
{
	uint64_t buckets = 1024;
	frames_init();
	while (buckets < cache.frames_total && buckets < BUCKETS_MAX)
		buckets *= 2;
	cache.hash_shift = (unsigned)(64 - __builtin_ctzll(buckets));
	if (!zeros_make(&cache.hash, buckets * sizeof(uint32_t)) ||
	    !zeros_make(&cache.went, buckets * sizeof(uint32_t)))
		PANIC("no memory for the page cache's hash table (%lu buckets)",
		      (unsigned long)buckets);
	cache.seed[0] = cpu_random();
	cache.seed[1] = cpu_random();
	cache.queued_last = &cache.queued;
	page_set_release_hook(released);
}

void pagecache_stop(void)
{
	pagecache_drop();
	ASSERT(!cache.pages && !cache.reads && !cache.queued);
	zeros_free(&cache.hash);
	zeros_free(&cache.went);
	spin_lock_wtd(&cache.lock);
	frame_give(cache.zero);
	cache.zero = NULL;
	spin_unlock_wtd(&cache.lock);
}
