// SPDX-License-Identifier: BSD-2-Clause
// struct page: one for every frame of RAM, and the only thing that fs/ and net/ share.
//
// A cache page's life (fs/pagecache.c makes every transition but the wire count):
//
//            get, miss            DMA done             write           write-back starts
//   EMPTY -----------> READING -----------> CLEAN ------------> DIRTY -----------> WRITING
//     ^ |                 | error            | ^                ^ ^                   |
//     +-|-----------------+---- evicted, ----+ |                | +-- disk error -----+
//       |                     wire == 0        +----------------|---- on the disk ----+
//       +--- write of a page of which nothing old is left ------+
//
// A page that is WRITING is the disk's and does not change; who wants to write to it waits. A DIRTY or
// CLEAN page that somebody has wired is replaced.
//
// `wire` counts references that keep a page from changing and from moving: one for each custom pbuf
// that carries part of it (held until TCP and the card are both done with it), one for each disk
// command that reads or writes it, one for each caller between pagecache_get and page_wire_put.
// Whoever drops the last one unlocks: the release hook runs, in the context of that drop.
//
// A page that a writer replaced, or that was truncated away, while it was on the wire is DETACHED:
// it is in no hash and on no LRU, and the release hook frees its frame.
#pragma once

#include "kernel/base.h"

enum page_state { PAGE_EMPTY, PAGE_READING, PAGE_CLEAN, PAGE_DIRTY, PAGE_WRITING };

enum page_flag {
	PAGE_CACHE = BIT(0),	  // belongs to the page cache
	PAGE_DETACHED = BIT(1),	  // lives only until it is off the wire
	PAGE_HIDDEN = BIT(2),	  // not mapped in the direct map (cache=unmapped)
	PAGE_AGAIN = BIT(3),	  // was asked for again, some time after the first time
	PAGE_READAHEAD = BIT(4),  // read ahead and not yet asked for
	PAGE_META = BIT(5),	  // file-system metadata: read by the CPU, stays mapped
	PAGE_HEAD = BIT(6),	  // pmm: first frame of a free block
	PAGE_AHEAD_MARK = BIT(7), // when this page is asked for, the next read-ahead window is due
	PAGE_USER = BIT(14),	  // a program's frame (kernel/uspace.h)
	PAGE_VERIFIED =
	    BIT(8),	     // PAGE_META: checksum of its first 1 KB block was checked; BIT(9) to
			     // BIT(11): of the second to fourth (fs/filesystem.h: meta_verified)
	PAGE_HELD = BIT(12), // PAGE_META: with changes that are not home; on no LRU (meta_hold)
	PAGE_RESERVED = BIT(13), // DIRTY, and the volume was asked to keep blocks for it
	PAGE_MAPPED = BIT(15),	 // programs share it, or did: page_maps knows who
};

_Static_assert(PAGE_CACHE + PAGE_DETACHED + PAGE_HIDDEN + PAGE_AGAIN + PAGE_READAHEAD + PAGE_META +
		       PAGE_HEAD + PAGE_AHEAD_MARK + 15 * PAGE_VERIFIED + PAGE_HELD +
		       PAGE_RESERVED + PAGE_USER + PAGE_MAPPED ==
		   0xffff,
	       "each flag has a bit of its own");

struct page_owner; // fs/pagecache.c: the file (or volume metadata) a page belongs to

// What a pool keeps of a run of pages that its objects lie in, in the first one's struct page (kernel/pool_trim.c).
struct page_run {
	struct pool *pool;   // whose: constant until the run is given back
	void *first, *last;  // its free objects that the pass has found so far
	struct page *next;   // on one of the pass's lists, if there are any
	uint32_t free_count; // of them
};

// Lock key. C: pagecache lock. W: atomic. P: pmm lock while free. F: frozen while state is READING. O: the pool's lock.
struct page {
	struct page_owner *owner; // (C) null: not a cache page
	union {
		struct {
			uint64_t index;		// (C) page number in the owner
			struct page *hash_next; // (C) hash chain
			// (C) LRU list, or the owner's DIRTY pages; (P) free list
			struct page *lru_next, *lru_prev;
			void *waiters; // (C) who to post when READING ends
		};
		struct page_run run; // (O) a pool's
	};
	uint64_t stamp_ns;	// (C) when it came to the MRU end, or became DIRTY
	volatile uint32_t wire; // (W)
	union {
		struct {
			uint8_t state; // (C) enum page_state
			union {
				uint8_t order; // (P) size of the free block
				uint8_t
				    followed; // (C) in the hash: 1: what lies in the next frame is the next page
			};
			uint16_t flags; // (C) enum page_flag
		};
		uint32_t looks; // the three in one load (PAGE_LOOKS)
	};
};
#define PAGE_LOOKS(state, followed, flags)                                                         \
	((uint32_t)(state) | (uint32_t)(followed) << 8 | (uint32_t)(flags) << 16)
_Static_assert(sizeof(struct page) == 64, "struct page is one cache line");

extern struct page *pages;   // pages[n] describes frame n
extern uint64_t pages_count; // frames described (holes included)

static inline paddr_t page_phys(const struct page *page)
{
	return (paddr_t)(page - pages) << PAGE_SHIFT;
}
static inline struct page *page_of_phys(paddr_t addr)
{
	return &pages[addr >> PAGE_SHIFT];
}

// Any context. get: the page must be kept from eviction already (by the cache lock or by another
// reference). put: may run the release hook; the page may be gone afterwards.
void page_wire_get(struct page *page);
void page_wire_put(struct page *page);

// The same for each of `count` pages whose frames follow each other.
void page_wire_get_run(struct page *first, unsigned count);
void page_wire_put_run(struct page *first, unsigned count);

// page_wire_get in two, for whoever gets many: add is for each, true where nobody had the page; how many such there
// were is said at the end.
static inline bool page_wire_add(struct page *page)
{
	return __atomic_fetch_add(&page->wire, 1, __ATOMIC_ACQ_REL) == 0;
}
void page_wire_added(unsigned fresh);

// Pages with wire > 0 now, and the most there ever were: pagewire_cache_pinned_pages.
uint64_t page_pinned(void);
uint64_t page_pinned_high(void);

// The cache's interest in last references: pages that are DETACHED. Called with wire just gone to 0, in the context
// of the last page_wire_put; must not sleep. Registered once, at boot.
typedef void (*page_release_fn)(struct page *page);
void page_set_release_hook(page_release_fn fn);
// The same for frames of programs (PAGE_USER).
void page_set_user_release_hook(page_release_fn fn);

// Who knows which page tables name pages of files that programs share (kernel/filemap.c); null as long as there are
// none. With WTDs off. Each such entry holds a wire reference.
struct page_maps {
	void (*protect)(
	    struct page *page); // the page is about to be wired by others: no entry may write to it
	void (*drop)(const void *file,
		     uint64_t index); // the page (or hole) there goes: so do the entries
	void (*drop_from)(const void *file, uint64_t index); // and everything behind
	uint32_t (*count)(const struct page *page);	     // entries that name the page
};
extern const struct page_maps *page_maps;
static inline void page_maps_protect(struct page *page)
{
	if (UNLIKELY(page->flags & PAGE_MAPPED))
		page_maps->protect(page);
}
static inline void page_maps_drop(const void *file, uint64_t index)
{
	if (UNLIKELY(page_maps))
		page_maps->drop(file, index);
}
// Of the page's wire references, those of mappings: which do not keep it from changing.
static inline uint32_t page_maps_of(const struct page *page)
{
	return UNLIKELY(page->flags & PAGE_MAPPED) ? page_maps->count(page) : 0;
}
