// SPDX-License-Identifier: BSD-2-Clause
// Which page goes when a frame is needed. Plain LRU, NetWare's choice, too, lets one reader of a large file
// push out everything else. Here a page must be asked for twice to be worth more than those that pass by once:
//
//	           read in                  asked for again, not at once
//	(disk) ------------> list `once` ----------------------------> list `again`
//	  ^  |                |      ^                                     |
//	  |  |  out, oldest   |      |    oldest, while these are more     |
//	  |  |  first         |      |    than 3/4 of all                  |
//	  |  |                v      +-------------------------------------+
//	  |  |            remembered ---- read in again before it had been out too long ----> `again`
//	  |  +------------------^
//	  +-- forgotten, when another page is remembered in its place
//
// Two lists are segmented LRU, and Linux's active and inactive lists. To count only what comes some time later as
// asked for again is 2Q's (an answer is asked for in several pieces, programs read a page in several calls), and
// so is to remember pages that went. Without that a set of pages that is used in turns, and is larger than `once`,
// would never be found again, and what is in `again` would stay for ever. How long is too long is Linux's rule: when
// no more pages went than `again` has, the page would have stayed had `again` been given up for it. ARC and
// CLOCK-Pro fit the lists' sizes to the load; this needs no more than a fixed share and that rule.
//
// A page that was read ahead is asked for the first time when it is used. Until then it ages like any other: what
// nobody comes for goes.
//
// Memory of pages that went: 32 bits a frame, by a hash of volume, inode and page: a tag and when, in 256ths of
// a cache full. Only a hint: a wrong one keeps a page a little longer.
#include "fs/pagecache_private.h"

#include "kernel/panic.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"

#define LOOK_MAX                                                                                   \
	256 // pages of each list looked at for one that may go: bounds the time under the lock
#define DEMOTE_MAX   2 // pages that leave `again` for each page that goes
#define TOUCH_NS_MAX NS_PER_SEC

static struct page_list *list_of(const struct page *page)
{
	return page->flags & PAGE_AGAIN ? &cache.again : &cache.once;
}

void cache_unlru(struct page *page)
{
	struct page_list *list = list_of(page);
	*(page->lru_prev ? &page->lru_prev->lru_next : &list->first) = page->lru_next;
	*(page->lru_next ? &page->lru_next->lru_prev : &list->last) = page->lru_prev;
	page->lru_next = page->lru_prev = NULL;
	list->pages--;
}

void cache_lru_add(struct page *page)
{
	struct page_list *list = list_of(page);
	page->stamp_ns = clock_ns();
	page->lru_prev = NULL;
	page->lru_next = list->first;
	*(list->first ? &list->first->lru_prev : &list->last) = page;
	list->first = page;
	list->pages++;
}

void lru_hit_again(struct page *page)
{
	cache_unlru(page);
	cache.promoted += !(page->flags & PAGE_AGAIN);
	page->flags |= PAGE_AGAIN;
	cache_lru_add(page);
}

// Where pages of a file are asked for in a row they come to a list in a row, and stay side by side in it: the row is
// moved as one, and its pages are only stamped.
bool lru_run_again(struct page *first, struct page *last, uint64_t now)
{
	const uint32_t mask = PAGE_LOOKS(0xff, 0, PAGE_AGAIN | PAGE_HELD);
	const uint32_t alike = PAGE_LOOKS(PAGE_CLEAN, 0, first->flags & PAGE_AGAIN);
	struct page_list *from = list_of(first), *to = &cache.again;
	uint64_t count = (uint64_t)(last - first) + 1;

	for (struct page *page = first; page <= last; page++)
		if ((page->looks & mask) != alike || (page < last && page->lru_prev != page + 1))
			return false;
	*(last->lru_prev ? &last->lru_prev->lru_next : &from->first) = first->lru_next;
	*(first->lru_next ? &first->lru_next->lru_prev : &from->last) = last->lru_prev;
	from->pages -= count;
	first->lru_next = to->first;
	*(to->first ? &to->first->lru_prev : &to->last) = first;
	last->lru_prev = NULL;
	to->first = last;
	to->pages += count;
	for (struct page *page = first; page <= last; page++) {
		page->stamp_ns = now;
		page->flags |= PAGE_AGAIN;
	}
	if (from != to)
		cache.promoted += count;
	return true;
}

void lru_hit_first(struct page *page)
{
	if (page->state != PAGE_CLEAN)
		return;
	cache_unlru(page);
	cache_lru_add(page);
}

static void demote(struct page *page)
{
	cache_unlru(page);
	page->flags &= (uint16_t)~PAGE_AGAIN;
	cache_lru_add(page);
}

// The oldest page of the list that is off the wire. Those on the wire are being used: they are young again.
static struct page *oldest(struct page_list *list)
{
	for (uint64_t look = MIN(list->pages, (uint64_t)LOOK_MAX); look; look--) {
		struct page *page = list->last;
		if (!page->wire)
			return page;
		cache_unlru(page);
		cache_lru_add(page);
	}
	return NULL;
}

struct page *lru_oldest(void)
{
	for (unsigned n = 0; n < DEMOTE_MAX; n++)
		if (cache.again.pages > (cache.once.pages + cache.again.pages) / 4 * 3)
			demote(cache.again.last);
	struct page *page = oldest(&cache.once);
	if (!page)
		page = oldest(&cache.again);
	// A page is worth moving once in an eighth of the time that pages stay.
	if (page)
		cache.touch_ns = MIN((clock_ns() - page->stamp_ns) / 8, TOUCH_NS_MAX);
	return page;
}

uint64_t lru_sitting_ns(void)
{
	spin_lock_wtd(&cache.lock);
	const struct page *page = cache.once.last ? cache.once.last : cache.again.last;
	uint64_t age = page ? clock_ns() - page->stamp_ns : 0;
	spin_unlock_wtd(&cache.lock);
	return age;
}

// ---- pages that went ---------------------------------------------------------------------------------

// The number of the entry where the page is remembered, and its tag, which is not 0.
static uint64_t memory_of(const struct page_owner *owner, uint64_t index, uint16_t *tag)
{
	uint64_t mixed = (owner->key ^ index) * 0x9e3779b97f4a7c15UL;
	*tag = (uint16_t)(mixed >> (cache.hash_shift - 16)) | 1;
	return mixed >> cache.hash_shift;
}

static uint64_t step(void)
{
	return MAX(cache.frames_total / 256, 1UL);
}

static uint16_t now(void)
{
	return (uint16_t)(cache.evictions / step());
}

void lru_remember(const struct page *page)
{
	uint16_t tag;
	uint64_t place = memory_of(page->owner, page->index, &tag);
	if (!(page->flags & PAGE_READAHEAD)) // which nobody has asked for
		*(uint32_t *)zeros_write(&cache.went, place, sizeof(uint32_t)) =
		    (uint32_t)tag << 16 | now();
}

void lru_recall(struct page *page)
{
	uint16_t tag, away;
	uint64_t place = memory_of(page->owner, page->index, &tag);
	uint32_t memory = *(const uint32_t *)zeros_read(&cache.went, place, sizeof(memory));
	if (memory >> 16 != tag)
		return;
	away = (uint16_t)(now() - (uint16_t)memory);
	*(uint32_t *)zeros_write(&cache.went, place, sizeof(memory)) = 0;
	if (away * step() >= cache.again.pages)
		return;
	page->flags |= PAGE_AGAIN;
	cache.returned++;
}

void lru_init(void)
{
	cache.touch_ns = TOUCH_NS_MAX;
}
