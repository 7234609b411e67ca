// SPDX-License-Identifier: BSD-2-Clause
// Read-ahead. There is no state per reader: what is in the cache around the page asked for tells the
// story, so any number of clients may stream one file from different places.
//
//	a miss at page i                 i - 1 is in the cache: somebody reads in sequence. The run before
//	                                 i is measured by doubling; as much again is read, the first time
//	                                 16 KB. Otherwise (and not at the start of the file): one page.
//	page i is asked for, and it      the window from i to the first page that is missing is measured;
//	has PAGE_AHEAD_MARK              twice as much is read behind it, in the background, and the first
//	                                 new page gets the next mark. So there is always a window ahead of
//	                                 the reader, of up to 1 MB (or 1/128 of memory).
#include "fs/pagecache_private.h"

#include "kernel/panic.h"

#define WINDOW_FIRST 4	 // pages: 16 KB
#define WINDOW_MAX   256 // pages: 1 MB
#define WHOLE_FILE   16	 // pages: a file up to 64 KB is read in one go
#define META_CLUSTER 4	 // pages of metadata read together, aligned

static uint32_t window_max(void)
{
	uint64_t share = cache.frames_total / 128;
	return (uint32_t)MAX(MIN(share, (uint64_t)WINDOW_MAX), (uint64_t)WINDOW_FIRST);
}

uint32_t ahead_on_miss(const struct page_owner *owner, uint64_t index)
{
	uint64_t end = owner_end(owner), left = end - index;
	uint32_t window = 1;

	if (!owner->inode)
		return META_CLUSTER - index % META_CLUSTER;
	if (frames_tight())
		return 1;
	if (end <= WHOLE_FILE)
		return (uint32_t)left;
	if (index == 0)
		return WINDOW_FIRST;
	if (!cache_find(owner, index - 1))
		return 1;
	while (window < READ_PAGES && index >= 2 * window && cache_find(owner, index - 2 * window))
		window *= 2;
	window = MIN(MAX(2 * window, (uint32_t)WINDOW_FIRST), (uint32_t)READ_PAGES);
	return (uint32_t)MIN((uint64_t)window, left);
}

void ahead_claim(struct page_read *read, uint32_t count, bool asked)
{
	uint64_t end = owner_end(read->owner);
	bool file = read->owner->inode;

	for (read->count = 0; read->count < MIN(count, (uint32_t)READ_PAGES); read->count++) {
		uint64_t index = read->first + read->count;
		bool ahead = !asked || read->count;
		if (index >= end)
			return;
		if (ahead && (cache_find(read->owner, index) || owner_hole(read->owner, index)))
			return;
		struct page *page = cache_claim(read->owner, index);
		if (!page)
			return;
		if (file && ahead) {
			page->flags |= PAGE_READAHEAD;
			cache.ahead_pages++;
		}
		// The second page of a first window: when it is asked for, this is a stream.
		if (file && asked && read->count == 1)
			page->flags |= PAGE_AHEAD_MARK;
		read->page[read->count] = page;
	}
}

// Lock held. The first page after `index` that is missing; 0: there is none in the file, or there is more
// than the largest window ahead already.
static uint64_t first_missing(const struct page_owner *owner, uint64_t index)
{
	uint64_t at = index + 1, far = index + window_max();
	while (at <= far) {
		if (owner_hole(owner, at))
			at = owner->hole_end;
		else if (cache_find(owner, at))
			at++;
		else
			return at < owner_end(owner) ? at : 0;
	}
	return 0;
}

// Claims and starts one read's worth of [at, at + count). Returns the pages claimed.
static uint32_t read_some(struct page_owner *owner, uint64_t at, uint32_t count, bool mark)
{
	struct page_read *read = read_alloc(owner, at);
	uint32_t claimed = 0;
	if (!read)
		return 0;
	spin_lock_wtd(&cache.lock);
	if (!frames_tight())
		ahead_claim(read, count, false);
	claimed = read->count;
	if (claimed && mark)
		read->page[0]->flags |= PAGE_AHEAD_MARK;
	spin_unlock_wtd(&cache.lock);
	if (claimed)
		read_start(read);
	else
		read_free(read);
	return claimed;
}

// The planning read carries the place where the mark was, and a reference on the inode.
static void plan_window(struct wtd *work)
{
	struct page_read *plan = CONTAINER_OF(work, struct page_read, work);
	struct page_owner *owner = plan->owner;
	spin_lock_wtd(&cache.lock);
	uint64_t at = first_missing(owner, plan->first);
	spin_unlock_wtd(&cache.lock);
	uint32_t want = 0, got = 1;
	if (at)
		want = MIN(MAX(2 * (uint32_t)(at - plan->first), (uint32_t)WINDOW_FIRST),
			   window_max());
	for (bool mark = true; want && got; mark = false) {
		got = read_some(owner, at, want, mark);
		at += got;
		want -= got;
	}
	read_free(plan);
}

void ahead_used(struct page *page)
{
	bool mark = page->flags & PAGE_AHEAD_MARK;
	if (page->flags & PAGE_READAHEAD)
		cache.ahead_used++;
	page->flags &= (uint16_t) ~(PAGE_READAHEAD | PAGE_AHEAD_MARK);
	if (!mark)
		return;
	struct page_read *plan = read_alloc(page->owner, page->index);
	if (!plan)
		return;
	wtd_init(&plan->work, plan_window, "read-ahead");
	wtd_post_fast(&plan->work);
}
