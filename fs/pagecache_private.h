// SPDX-License-Identifier: BSD-2-Clause
// What the page cache's files share with each other and with inode.c, meta.c and volume.c.
//
//	pagecache.c        identity -> page: the hash; probe; detach and replace
//	pagecache_lru.c    the lists of CLEAN pages: which one goes when a frame is needed
//	pagecache_frame.c  where frames come from (pmm, eviction) and go to (pmm, reclaim)
//	pagecache_run.c    pages whose frames lie behind each other
//	pagecache_get.c    pagecache_get and cancel: who waits for a page
//	pagecache_read.c   the disk reads that fill pages, from start to completion
//	pagecache_plan.c   from pages of a file to block requests
//	pagecache_ahead.c  how much to read, and read-ahead in the background
//	pagecache_stats.c  figures
//	pagecache_writing.h: what writing adds
//
// One lock (C: cache.lock) guards identity, state and lists of every page. A page that is READING
// belongs to one struct page_read, whose owner may fill it without the lock.
#pragma once

#include "fs/filesystem.h"
#include "fs/pagecache.h"
#include "fs/pagecache_writing.h"
#include "fs/zeros.h"
#include "kernel/lock.h"

// What pages belong to: a file, or a volume's metadata (inode is null, index counts from sector 0).
// Embedded in the inode and in the volume; must stay while `pages` is not 0.
struct page_owner {
	struct inode *inode;
	struct volume *volume;
	uint64_t key; // seeded, for the hash
	struct page
	    *first;	// (C) the one with index 0, if it is in the hash: all that a small file has
	uint64_t pages; // (C) in the hash
	uint64_t hole_first; // (C) the last hole seen: page indexes [hole_first, hole_end)
	uint64_t hole_end;   // (C)
	uint64_t top;	     // (C) no page in the hash has this index or a greater one
	struct page_changes changes;
};
void page_owner_init(struct page_owner *owner, struct inode *inode, struct volume *volume);
struct page_owner *inode_page_owner(struct inode *inode); // inode.c

struct page_list {
	struct page *first, *last; // (C) most, least recently used
	uint64_t pages;		   // (C)
};

struct pagecache {
	struct spinlock lock;
	struct zeros hash;   // (C) bucket: 32 bits, frame number of the first page, 0: none
	unsigned hash_shift; // 64 - log2(buckets)
	uint64_t seed[2];    // of owners' keys
	struct zeros went;   // (C) pagecache_lru.c's: what went out; 32 bits a bucket
	struct page_list once, again; // (C) CLEAN pages: asked for once, or not yet; PAGE_AGAIN
	struct page *spare;	      // (C) frames taken in blocks, not used yet, in order
	uint64_t spare_pages;	      // (C)
	struct page *zero;	      // what every whole-page hole reads as; never in the hash
	uint64_t pages;		      // (C) in the hash
	uint64_t reading;	      // (C) of them READING
	uint64_t dirty;		      // (C) of them DIRTY or WRITING
	uint64_t ended;		      // (C) times that pages left READING or WRITING
	uint64_t dirty_max;	      // constant: the ceiling for all volumes together
	uint64_t touch_ns;	      // (C) a page moved within this time is not moved again
	uint64_t frames_total;	      // constant
	uint64_t ahead_unread;	      // (C) pages read ahead and not yet asked for
	struct page_get *queued, **queued_last; // (C) gets that wait for a struct page_read
	uint64_t reads;				// (W) struct page_read in being
	// Figures, all (C).
	uint64_t hits, misses, underway, ahead_pages, ahead_used, ahead_lost;
	uint64_t evictions, promoted, returned, no_page, read_errors, detached;
	uint64_t holes, queued_total, retried;
};
extern struct pagecache cache;

// ---- pagecache.c; lock held ----
struct page *cache_find(const struct page_owner *owner, uint64_t index);
// A frame with that identity in the hash: READING, wired once for the disk. Null: no memory.
struct page *cache_claim(struct page_owner *owner, uint64_t index);
// Gives a frame (frame_take, frame_join) that identity; the caller says what state it is in.
void cache_insert(struct page *page, struct page_owner *owner, uint64_t index);
void cache_publish(struct page *page); // READING -> CLEAN, onto the LRU
// Out of the hash and off its list; the identity is gone. The page is still the caller's.
void cache_unhash(struct page *page);
// Out of the cache; its frame goes with the last reference. Not WRITING.
void cache_detach(struct page *page);
void cache_touch(struct page *page);
// The same for first .. last, whose frames lie behind each other, at that time.
void cache_touch_run(struct page *first, struct page *last, uint64_t now);
// What happens when a page with one of these flags is asked for: it is to be wired for somebody.
#define PAGE_LOOK (PAGE_READAHEAD | PAGE_AHEAD_MARK | PAGE_MAPPED)
void cache_looked_at(struct page *page);
static inline bool page_readable(const struct page *page)
{
	return page->state >= PAGE_CLEAN;
}
static inline bool owner_hole(const struct page_owner *owner, uint64_t index)
{
	return index >= owner->hole_first && index < owner->hole_end;
}

// ---- pagecache_frame.c; lock held ----
struct page *frame_take(void);		       // from the pmm while there is plenty, else evicted
void frame_give(struct page *page);	       // to the pmm; off the wire, no identity
void frame_join(struct page *page, bool meta); // hide or show as it must be in the cache
bool frames_tight(void);	    // too much is on the wire or being read for read-ahead
uint64_t frames_for_cache(void);    // that it has or could have if it took all that nobody needs
size_t cache_shrink(size_t frames); // evicts; returns how many frames went to the pmm
void frames_init(void);

// ---- pagecache_lru.c; lock held, but for lru_sitting_ns ----
void cache_unlru(struct page *page);
void cache_lru_add(struct page *page); // at the young end of its list
void lru_hit_first(struct page *page); // was read ahead, and is asked for now
void lru_hit_again(struct page *page); // on a list, and asked for some time after it came there
// Does that with first .. last, in this order and in one go, if they lie behind each other in a list as they do in
// memory. False: they do not, nothing is done.
bool lru_run_again(struct page *first, struct page *last, uint64_t now);
struct page *lru_oldest(void);		    // that may go; null: none
void lru_remember(const struct page *page); // it goes
void lru_recall(struct page *page);	    // with its identity, new: has it been here lately?
uint64_t lru_sitting_ns(void);
void lru_init(void);

// ---- pagecache_get.c ----
// Lock not held. get->done set; as pagecache_get, for any owner.
void get_start(struct page_get *get, struct page_owner *owner, uint64_t index);
// Lock held. Tells everyone who waits for `page`: a wired `give`, or null and why not.
void get_finish_all(struct page *page, struct page *give, int status);
// Lock held. The get waits for that page, which is READING and may be in no hash.
void get_wait_for(struct page_get *get, struct page *page);
void get_restart_queued(void); // a struct page_read came free
// Sleeps. As pagecache_get_wait, for any owner.
int get_sync(struct page_owner *owner, uint64_t index, struct page **out) MUST_CHECK;

// ---- pagecache_read.c ----
#define READ_PAGES    32 // in one struct page_read: 128 KB
#define READ_REQUESTS 8	 // at least the blocks of a page: 4 of 1 KB
#define READ_SEGS     (READ_PAGES + READ_REQUESTS)

// One read of neighbouring pages of one owner. All of them are READING; [start, built) are in the
// requests now on the disk. When those are done the next stretch is built, until start == count.
//
//	        read_start              requests built          last request done
//	(claim) ----------> plan_stretch --------------> on disk -----------------> read_free
//	                      ^   |  map_cached: -EAGAIN    |
//	                      |   +--> a worker goes on     | more pages, or each page of a
//	                      +-----------------------------+ failed stretch once more by itself
struct page_read {
	struct page_owner *owner; // an inode's: with a reference on the inode
	uint64_t first;		  // index of page[0]
	uint32_t count, start, built;
	uint32_t pending;	       // (W) requests on the disk, and one for whoever submits them
	int status;		       // of this stretch
	bool single;		       // a stretch failed: one page at a time
	bool mark;		       // pagecache_ahead.c's
	uint32_t hole;		       // bit n: page[n] is all hole
	uint64_t hole_first, hole_end; // the hole that the last of them lies in, in pages
	uint64_t version;	       // of the owner's changes, when the map was asked
	uint8_t escaped[READ_PAGES];   // bit n: block n of the page begins with jbd2's magic
	uint32_t sectors[READ_REQUESTS]; // of each request
	uint32_t nreq, nseg;
	struct page *page[READ_PAGES];
	struct block_request req[READ_REQUESTS];
	struct block_seg seg[READ_SEGS];
	struct wtd work;
};
// Any lock of smaller rank or the cache's may be held. Null: none to be had, wait for one.
struct page_read *read_alloc(struct page_owner *owner, uint64_t first);
void read_free(struct page_read *read);	 // lock not held; nothing claimed, or all of it finished
void read_start(struct page_read *read); // lock not held; [0, count) claimed

// ---- pagecache_plan.c ----
// Pages that the owner has.
uint64_t owner_end(const struct page_owner *owner);
// Lock not held. Fills built, req, seg and hole for a stretch from `start`; zeroes what is hole in pages
// that are not all hole. 0; -EAGAIN: must sleep; else why page[start], the whole stretch, cannot be read.
int plan_stretch(struct page_read *read, bool may_sleep) MUST_CHECK;
// Lock not held. Whether it is known where a file's page begins: 0, -EAGAIN: who may sleep must find out, or the
// format's error.
int plan_look(const struct page_owner *owner, uint64_t index, bool may_sleep) MUST_CHECK;
// After the disk is done: zeroes what lies beyond the end of the file, puts escaped blocks right.
void plan_finish(struct page_read *read);

// ---- pagecache_ahead.c ----
// Lock held. Claims read->first, which is asked for and not in the cache, and what is worth reading with it; sets
// read->count, which is 0 when there is no memory. What goes beyond this read is read in the background. until:
// page_get's.
void ahead_claim_miss(struct page_read *read, uint64_t until);
// Lock held. A page with PAGE_READAHEAD or PAGE_AHEAD_MARK was asked for (who asks holds the inode):
// counts it, and has the next window read if it is due.
void ahead_used(struct page *page);
// Lock held. Such a page leaves the cache (`lost`) or is written: nobody will ask for what was read ahead.
void ahead_forget(struct page *page, bool lost);
