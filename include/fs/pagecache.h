// SPDX-License-Identifier: BSD-2-Clause
// The file cache: pages found by inode and index. See kernel/page.h for a page's life.
//
// From a fast WTD (the read path's stage 6):
//	page = pagecache_probe(inode, index);   // wired for us, or null
//	if (!page) { get->inode = inode; get->index = index; get->done = go_on; pagecache_get(get); }
//	... pagebuf_write(pcb, page, ...);      // takes its own reference
//	page_wire_put(page);
//
// A page that is a hole from end to end is given as the one page of zeros that all holes share, so that
// sparse files cost no memory: a page got here is known by its frame, not by page->index.
// What lies beyond the end of the file in its last page reads as zeros.
#pragma once

#include "fs/inode.h"
#include "kernel/page.h"
#include "kernel/wtd.h"

// Fast WTD or thread context, never sleeps. The page with a wire reference for the caller, readable
// now (CLEAN, DIRTY or WRITING); null when it is not in the cache. Counts the hit or nothing.
struct page *pagecache_probe(struct inode *inode, uint64_t index);

// The same of the first page, which is all that a small file has. Fast WTD context only.
struct page *pagecache_first(struct inode *inode);

// Goes on where a probe ended: `page` is the inode's page `index`, wired for the caller. Of the `most` pages
// behind it, those whose frames lie behind its frame, without a gap, each with a wire reference for the
// caller: how many. Fast WTD or thread context, never sleeps.
unsigned pagecache_follow(struct inode *inode, struct page *page, uint64_t index, unsigned most);

// Reads a page in. Exactly one call of done follows, in fast WTD context and never from inside
// pagecache_get, unless cancelled. Sequential use is noticed and read ahead of.
struct page_get {
	struct inode *inode; // the caller holds a reference until done
	uint64_t index;
	// Where the caller knows how far it will go on: the first page that it will not ask for. 0: it does not.
	uint64_t until;
	void (*done)(struct page_get *get);
	int status; // valid in done: 0, -EIO, -EUCLEAN, -ENOMEM (every page is on the wire), -ERANGE
	struct page *page;	  // valid in done when status is 0: wired for the callee
	struct page_get *next;	  // pagecache.c's: waiters of one page
	struct wtd work;	  // pagecache.c's
	struct page_owner *owner; // pagecache.c's
	uint8_t stage;		  // pagecache.c's; 0 before the first pagecache_get
};
void pagecache_get(struct page_get *get); // fast WTD or thread context
// As name_cancel: true: done will not be called; false: it will, soon. Fast WTD context.
bool pagecache_cancel(struct page_get *get) MUST_CHECK;
// For threads: sleeps. 0 with a wired page.
int pagecache_get_wait(struct inode *inode, uint64_t index, struct page **out) MUST_CHECK;

// For page tables (kernel/filemap.c). peek: WTDs off: the page as it is now, not wired; null: not there, or READING.
// key: what the file's pages name as their owner.
struct page *pagecache_peek(struct inode *inode, uint64_t index);
const void *pagecache_key(struct inode *inode);

// For writers. Fast WTD or thread context.
// detach: takes the page out of the cache if it is there (truncation). Who has it wired keeps it as it
// is; with the last reference it is freed.
void pagecache_detach(struct inode *inode, uint64_t index);
// replace: a fresh page, DIRTY, wired for the caller, contents undefined, takes the identity; the old one,
// if any, is detached. Null: no memory, nothing changed. pagecache_clean: it is on the disk now; false if
// it was not a dirty page of the cache any more.
struct page *pagecache_replace(struct inode *inode, uint64_t index) MUST_CHECK;
bool pagecache_clean(struct page *page);

struct pagecache_stats {
	uint64_t pages, pages_max, dirty, pinned;
	uint64_t hits, misses, readahead_pages, readahead_used, readahead_lost, readahead_unread;
	uint64_t evictions, no_page;
	uint64_t lru_sitting_ns;    // age of the oldest page on the LRU
	uint64_t long_term_hits_pm; // hits per 1000 look-ups since boot
	uint64_t reads_in_flight;
};
void pagecache_stats(struct pagecache_stats *out); // any context but interrupt
// Gives back every page that is neither wired nor dirty; for tests and the console. Thread context.
void pagecache_drop(void);
void pagecache_init(void); // boot, after pmm and vmm
void pagecache_stop(void); // tests on the host: gives everything back; nothing may be wired
