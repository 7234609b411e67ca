// SPDX-License-Identifier: BSD-2-Clause
// Runs: pages of a file whose frames lie behind each other, which sequential reading makes of the blocks that
// frames come in (pagecache_frame.c). A run costs one look-up in the hash, whatever its length: each of its pages says
// whether the next frame has the next page (page->followed; pagecache.c keeps it), and one word of it says that
// nothing is special. Its age is that of its ends. Stage 6 of the read path.
#include "fs/pagecache_private.h"

#include "kernel/timer.h"

// A run is looked at as a whole: it is as old as its first page, or its last where others went on from the first.
// The page in front of it is not of it: it may have been asked for together with what lies before.
static inline void touch_ends(struct page *first, struct page *last)
{
	uint64_t now = clock_recent_ns();
	if (UNLIKELY(now - first->stamp_ns > cache.touch_ns ||
		     now - last->stamp_ns > cache.touch_ns))
		cache_touch_run(first, last, now);
}

// Wires up to `most` pages behind `page`, as far as the run goes and is readable; returns the last.
static inline struct page *wire_run(struct page *page, unsigned most)
{
	const uint32_t mask = PAGE_LOOKS(0xff, 0, PAGE_LOOK);
	struct page *wired = page;
	for (uint32_t looks = page->looks; most && looks & PAGE_LOOKS(0, 1, 0); most--) {
		struct page *next = page + 1;
		looks = next->looks;
		if (UNLIKELY((looks & mask) != PAGE_LOOKS(PAGE_CLEAN, 0, 0))) {
			if (!page_readable(next))
				break;
			if (next->flags &
			    PAGE_LOOK) { // memory may be asked for there, and pages go
				page_wire_get_run(wired + 1, (unsigned)(next - wired));
				wired = next;
				cache_looked_at(next);
				looks = next->looks;
			}
		}
		page = next;
	}
	page_wire_get_run(wired + 1, (unsigned)(page - wired));
	return page;
}

unsigned pagecache_follow(struct inode *inode, struct page *page, uint64_t index, unsigned most)
{
	struct page *last = page;

	spin_lock_brief(&cache.lock);
	if (LIKELY(page->owner == inode_page_owner(inode) && page->index == index))
		last = wire_run(page, most); // else a hole's, or replaced meanwhile
	if (last > page) {
		touch_ends(page + 1, last);
		cache.hits += (uint64_t)(last - page);
	}
	spin_unlock_brief(&cache.lock);
	return (unsigned)(last - page);
}
