// SPDX-License-Identifier: BSD-2-Clause
// The file cache: pages found by inode and index. See kernel/page.h for a page's life.
//
// From a fast WTD (the read path's stage 6):
//	page = pagecache_probe(inode, index);   // wired for us, or null
//	if (!page) { get->inode = inode; get->index = index; get->done = go_on; pagecache_get(get); }
//	... pagebuf_write(pcb, page, ...);      // takes its own reference
//	page_wire_put(page);
#pragma once

#include "fs/inode.h"
#include "kernel/page.h"
#include "kernel/wtd.h"

// Fast WTD or thread context, never sleeps. The page with a wire reference for the caller, readable
// now (CLEAN, DIRTY or WRITING); null when it is not in the cache. Counts the hit or nothing.
struct page *pagecache_probe(struct inode *inode, uint64_t index);

// Reads a page in. Exactly one call of done follows, in fast WTD context and never from inside
// pagecache_get, unless cancelled. Sequential use is noticed and read ahead of.
struct page_get {
	struct inode *inode; // the caller holds a reference until done
	uint64_t index;
	void (*done)(struct page_get *get);
	int status; // valid in done: 0, -EIO, -EUCLEAN, -ENOMEM (every page is on the wire), -ERANGE
	struct page *page;     // valid in done when status is 0: wired for the callee
	struct page_get *next; // pagecache.c's: waiters of one page
	struct wtd work;       // pagecache.c's
	uint8_t stage;	       // pagecache.c's
};
void pagecache_get(struct page_get *get); // fast WTD or thread context
// As name_cancel: true: done will not be called; false: it will, soon. Fast WTD context.
bool pagecache_cancel(struct page_get *get) MUST_CHECK;
// For threads: sleeps. 0 with a wired page.
int pagecache_get_wait(struct inode *inode, uint64_t index, struct page **out) MUST_CHECK;

struct pagecache_stats {
	uint64_t pages, pages_max, dirty, pinned;
	uint64_t hits, misses, readahead_pages, readahead_used, evictions, no_page;
	uint64_t lru_sitting_ns;    // age of the oldest page on the LRU
	uint64_t long_term_hits_pm; // hits per 1000 look-ups since boot
	uint64_t reads_in_flight;
};
void pagecache_stats(struct pagecache_stats *out); // any context but interrupt
// Gives back every page that is neither wired nor dirty; for tests and the console. Thread context.
void pagecache_drop(void);
void pagecache_init(void); // boot, after pmm and vmm
