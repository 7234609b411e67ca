// SPDX-License-Identifier: BSD-2-Clause
// The wire count of struct page (include/kernel/page.h): stage 12 of the read path ends here.
// Whoever drops a page's last reference unlocks it and runs the cache's release hook, in its own
// context.
#include "kernel/page.h"
#include "kernel/kstat.h"
#include "kernel/panic.h"

const struct page_maps *page_maps;	  // (W) set once
static page_release_fn release_hook;	  // set once at boot
static page_release_fn user_release_hook; // ditto
static uint64_t pinned;			  // (W) pages with wire > 0
static uint64_t pinned_high;		  // (W) the most there ever were
KSTAT_GAUGE(pinned, "pagewire_cache_pinned_pages",
	    "Pages that a connection, the card or the disk holds now.");
KSTAT_GAUGE(pinned_high, "pagewire_cache_pinned_pages_high",
	    "The most pages ever held at one time.");

void page_wire_added(unsigned fresh)
{
	if (!fresh)
		return;
	uint64_t now = __atomic_add_fetch(&pinned, fresh, __ATOMIC_RELAXED);

	if (now > __atomic_load_n(&pinned_high, __ATOMIC_RELAXED))
		__atomic_store_n(&pinned_high, now, __ATOMIC_RELAXED);
}

void page_wire_get(struct page *page)
{
	page_wire_added(page_wire_add(page));
}

void page_wire_get_run(struct page *first, unsigned count)
{
	unsigned fresh = 0;

	for (struct page *page = first; page < first + count; page++)
		fresh += page_wire_add(page);
	page_wire_added(fresh);
}

// Out of line: nearly every page goes on being what it was.
static __attribute__((noinline)) void last_put(struct page *page)
{
	if (page->flags & PAGE_USER)
		user_release_hook(page);
	else if (release_hook)
		release_hook(page);
}

static __attribute__((noinline)) void put_too_often(const struct page *page)
{
	PANIC("page %lu is unlocked more often than it was locked (flags %x, index %lu)",
	      (unsigned long)(page - pages), page->flags, (unsigned long)page->index);
}

// True: that was the last reference, and `pinned` is to hear of it. What is counted down past zero stays there.
static inline bool put_one(struct page *page)
{
	if (LIKELY(__atomic_sub_fetch(&page->wire, 1, __ATOMIC_ACQ_REL) == 0))
		return true;
	if (UNLIKELY((int32_t)page->wire < 0))
		put_too_often(page);
	return false;
}

void page_wire_put(struct page *page)
{
	if (!put_one(page))
		return;
	__atomic_fetch_sub(&pinned, 1, __ATOMIC_RELAXED);
	if (UNLIKELY(page->flags & (PAGE_USER | PAGE_DETACHED)))
		last_put(page);
}

void page_wire_put_run(struct page *first, unsigned count)
{
	struct page *end = first + count;
	unsigned gone = 0;

	for (struct page *page = first; page != end; page++) {
		if (!put_one(page))
			continue;
		gone++;
		if (UNLIKELY(page->flags & (PAGE_USER | PAGE_DETACHED)))
			last_put(page);
	}
	if (gone)
		__atomic_fetch_sub(&pinned, gone, __ATOMIC_RELAXED);
}

uint64_t page_pinned(void)
{
	return __atomic_load_n(&pinned, __ATOMIC_RELAXED);
}

uint64_t page_pinned_high(void)
{
	return __atomic_load_n(&pinned_high, __ATOMIC_RELAXED);
}

void page_set_release_hook(page_release_fn fn)
{
	ASSERT(!release_hook || release_hook == fn);
	release_hook = fn;
}

void page_set_user_release_hook(page_release_fn fn)
{
	ASSERT(!user_release_hook);
	user_release_hook = fn;
}
