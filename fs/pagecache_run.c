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
	const uint32_t mask = PAGE_LOOKS(0xff, 1, PAGE_LOOK), within = PAGE_LOOKS(PAGE_CLEAN, 1, 0);
	struct page *next = page + 1, *end = next + most;
	bool goes_on = page->followed;
	unsigned fresh = 0;
	while (goes_on && next < end) {
		for (; next < end && (next->looks & mask) == within; next++)
			fresh += page_wire_add(next);
		if (next == end || !page_readable(next))
			break;
		fresh += page_wire_add(next);  // the run's last, or a special one
		if (next->flags & PAGE_LOOK) { // memory may be asked for there, and pages go
			page_wire_added(fresh);
			fresh = 0;
			cache_looked_at(next);
		}
		goes_on = next->followed;
		next++;
	}
	page_wire_added(fresh);
	return next - 1;
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
