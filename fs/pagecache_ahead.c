// SPDX-License-Identifier: BSD-2-Clause
// Read-ahead. There is no state per reader: what is in the cache around the page asked for tells the
// story, so any number of clients may stream one file from different places. And who asks may say how far
// they will go on (page_get.until), which is believed at once: an answer of a known length.
//
//	a miss at page i                 i - 1 is in the cache: somebody reads in sequence. The run before
//	                                 i is measured by doubling; as much again is read. At the start of
//	                                 a file: 16 KB. Otherwise one page. What is known to be asked for
//	                                 is read in any case, up to half of the largest window: the first
//	                                 128 KB at once, the rest in the background.
//	page i is asked for, and it      the window from i to the first page that is missing is measured;
//	has PAGE_AHEAD_MARK              twice as much is read behind it, in the background, and the first
//	                                 new page gets the next mark. So there is always a window ahead of
//	                                 the reader.
//
// The first mark of what may be a stream is on the second page that is read, or on the first page of what is read
// in the background. A miss at a random place leaves none, nor does one whose end is known and read: random
// reading and short ranges read no page in vain.
//
// The largest window is 2 MB, or 1/256 of the memory that the cache has, and less as more of that memory is
// taken by pages that were read ahead and not asked for yet: they may be an eighth of it. So a thousand
// streams share what one alone would have had, and no page that somebody will ask for soon is pushed out
// by another that somebody will ask for later.
#include "fs/pagecache_private.h"

#include "kernel/panic.h"

#define WINDOW_FIRST 4	 // pages: 16 KB
#define WINDOW_MAX   512 // pages: 2 MB: between one and two of them are ahead of a stream
#define WHOLE_FILE   16	 // pages: a file up to 64 KB is read in one go
#define META_CLUSTER 4	 // pages of metadata read together, aligned

// Lock held. The largest window now.
static uint32_t ahead_window(void)
{
	uint64_t memory = frames_for_cache(), share = memory / 8;
	uint64_t room = share - MIN(share, cache.ahead_unread);
	uint64_t window = MIN(MIN(memory / 256, room / 4), (uint64_t)WINDOW_MAX);
	if (window > READ_PAGES) // whole commands
		window -= window % READ_PAGES;
	return (uint32_t)MAX(window, (uint64_t)WINDOW_FIRST);
}

// Lock held. From page `index` on, because of what is in the cache before it; 1: no stream.
static uint32_t measured(const struct page_owner *owner, uint64_t index)
{
	uint32_t window = 1;
	if (index == 0)
		return WINDOW_FIRST;
	if (!cache_find(owner, index - 1))
		return 1;
	while (window < READ_PAGES && index >= 2 * window && cache_find(owner, index - 2 * window))
		window *= 2;
	return MIN(MAX(2 * window, (uint32_t)WINDOW_FIRST), (uint32_t)READ_PAGES);
}

struct ahead {
	uint32_t pages; // to read
	bool goes_on;	// and more later: there must be a mark
};

// Lock held. What to read for someone who asks for page `index`, which is not in the cache.
static struct ahead on_miss(const struct page_owner *owner, uint64_t index, uint64_t until)
{
	uint64_t end = owner_end(owner), left = end - index, told, most;
	uint32_t run, largest;

	if (!owner->inode)
		return (struct ahead){.pages = META_CLUSTER - index % META_CLUSTER};
	if (frames_tight())
		return (struct ahead){.pages = 1};
	if (end <= WHOLE_FILE)
		return (struct ahead){.pages = (uint32_t)left};
	told = until > index ? MIN(until - index, left) : 0;
	// Where the end of the reading is known, the start of a file says nothing.
	largest = ahead_window();
	run = told && index == 0 ? 1 : MIN(measured(owner, index), largest);
	most = MIN(told, MAX(largest / 2, (uint32_t)WINDOW_FIRST));
	most = MIN(MAX(most, (uint64_t)run), left);
	return (struct ahead){.pages = (uint32_t)most,
			      .goes_on = most < left && (most < told || run > 1)};
}

// Lock held. Claims up to `count` pages from read->first, up to the first one that is there or cannot be had, and
// sets read->count. `asked`: the first is asked for, the rest is read-ahead. `mark`: leaves the first mark.
static void claim(struct page_read *read, uint32_t count, bool asked, bool mark)
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
			cache.ahead_unread++;
		}
		if (mark && read->count == (asked ? 1 : 0))
			page->flags |= PAGE_AHEAD_MARK;
		read->page[read->count] = page;
	}
}

// Lock held. The first page of [at, limit) that is missing, or limit.
static uint64_t first_missing(const struct page_owner *owner, uint64_t at, uint64_t limit)
{
	while (at < limit) {
		if (owner_hole(owner, at))
			at = owner->hole_end;
		else if (cache_find(owner, at))
			at++;
		else
			return at;
	}
	return limit;
}

// Claims and starts one read's worth of what is missing in [at, limit). Returns where to go on.
static uint64_t read_some(struct page_owner *owner, uint64_t at, uint64_t limit, bool *mark)
{
	struct page_read *read = read_alloc(owner, at);
	uint32_t claimed = 0;
	if (!read)
		return limit;
	spin_lock_wtd(&cache.lock);
	read->first = first_missing(owner, at, limit);
	if (read->first < limit && !frames_tight()) {
		claim(read, (uint32_t)(limit - read->first), false, *mark);
		claimed = read->count;
	}
	at = claimed ? read->first + claimed : limit;
	spin_unlock_wtd(&cache.lock);
	if (!claimed) {
		read_free(read);
		return at;
	}
	*mark = false;
	read_start(read);
	return at;
}

// Lock held. There is more ahead of page `from` than may be, from when there was more memory: the last page of
// [from, at) that nobody has asked for gets the mark, to look again there.
static void mark_later(struct page_owner *owner, uint64_t from, uint64_t at)
{
	while (--at > from) {
		struct page *page = cache_find(owner, at);
		if (page && page->flags & PAGE_READAHEAD) {
			page->flags |= PAGE_AHEAD_MARK;
			return;
		}
	}
}

// Lock held. Where the window that is due begins and ends: plan->first was asked for, and has the mark; or, where
// the plan says how many pages, those from plan->first on.
static uint64_t window(const struct page_read *plan, uint64_t *limit)
{
	struct page_owner *owner = plan->owner;
	uint64_t from = plan->first, end = owner_end(owner), most = ahead_window(), at;
	if (plan->count) {
		*limit = MIN(from + plan->count, end);
		return from;
	}
	*limit = MIN(from + 1 + 2 * most, end);
	at = first_missing(owner, from + 1, *limit);
	if (at < *limit)
		*limit = MIN(at + MIN(MAX(2 * (at - from), (uint64_t)WINDOW_FIRST), most), end);
	else if (at < end)
		mark_later(owner, from, at);
	return at;
}

static void read_window_in_worker(struct wtd *work);

// The planning read carries the place where the mark was, and a reference on the inode. Where the map must be read
// first it is read here, once, and not by a worker for each of the window's reads.
static void read_window(struct page_read *plan, bool may_sleep)
{
	bool mark = plan->mark;
	uint64_t limit;
	spin_lock_wtd(&cache.lock);
	uint64_t at = window(plan, &limit);
	spin_unlock_wtd(&cache.lock);
	if (at < limit && plan_look(plan->owner, at, may_sleep) == -EAGAIN) {
		wtd_init(&plan->work, read_window_in_worker, "read-ahead, map");
		wtd_post(&plan->work);
		return;
	}
	while (at < limit)
		at = read_some(plan->owner, at, limit, &mark);
	read_free(plan);
}

static void read_window_in_worker(struct wtd *work)
{
	read_window(CONTAINER_OF(work, struct page_read, work), true);
}

static void read_window_now(struct wtd *work)
{
	read_window(CONTAINER_OF(work, struct page_read, work), false);
}

// Lock held. Has pages read in the background: `count` from `index` on, with or without a mark on the first one; 0:
// the next window of a stream, whose mark was on that page.
static void plan(struct page_owner *owner, uint64_t index, uint32_t count, bool mark)
{
	struct page_read *read = read_alloc(owner, index);
	if (!read)
		return;
	read->count = count;
	read->mark = mark;
	wtd_init(&read->work, read_window_now, "read-ahead");
	wtd_post_fast(&read->work);
}

void ahead_claim_miss(struct page_read *read, uint64_t until)
{
	struct ahead ahead = on_miss(read->owner, read->first, until);
	bool more = ahead.pages > READ_PAGES;
	claim(read, ahead.pages, true, ahead.goes_on && !more);
	if (more && read->count == READ_PAGES)
		plan(read->owner, read->first + READ_PAGES, ahead.pages - READ_PAGES,
		     ahead.goes_on);
}

void ahead_used(struct page *page)
{
	bool mark = page->flags & PAGE_AHEAD_MARK;
	if (page->flags & PAGE_READAHEAD) {
		cache.ahead_used++;
		cache.ahead_unread--;
		lru_hit_first(page);
	}
	page->flags &= (uint16_t) ~(PAGE_READAHEAD | PAGE_AHEAD_MARK);
	if (mark)
		plan(page->owner, page->index, 0, true);
}

void ahead_forget(struct page *page, bool lost)
{
	if (page->flags & PAGE_READAHEAD) {
		cache.ahead_unread--;
		cache.ahead_lost += lost;
	}
	page->flags &= (uint16_t) ~(PAGE_READAHEAD | PAGE_AHEAD_MARK);
}
