// SPDX-License-Identifier: BSD-2-Clause
// Asking for a page: who waits for what. A struct page_get is in one of these states:
//
//	            miss                            read done
//	IDLE -------------------> GET_WAITING ------------------+
//	 | |   no page_read left                get_restart_    v        its WTD runs
//	 | +-------------------> GET_QUEUED --> queued, as new  GET_TOLD ------------> IDLE, done called
//	 +----------------------------------------------------->+
//	     hit, or an error
//
// done is always called from the get's own WTD, never from inside pagecache_get or a completion, so
// that a get can be cancelled until the very moment its done runs.
#include "fs/pagecache_private.h"

#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/thread.h"

enum get_stage { GET_IDLE, GET_WAITING, GET_QUEUED, GET_TOLD };

static void deliver(struct wtd *work)
{
	struct page_get *get = CONTAINER_OF(work, struct page_get, work);
	get->stage = GET_IDLE;
	get->done(get);
}

// Lock held.
static void finish(struct page_get *get, struct page *page, int status)
{
	if (page)
		page_wire_get(page);
	get->page = page;
	get->status = status;
	get->stage = GET_TOLD;
	wtd_init(&get->work, deliver, "pagecache_get");
	wtd_post_fast(&get->work);
}

void get_finish_all(struct page *page, struct page *give, int status)
{
	struct page_get *get = page->waiters, *next;
	page->waiters = NULL;
	for (; get; get = next) {
		next = get->next;
		finish(get, give, status);
	}
}

// Lock held. First come, first served.
void get_wait_for(struct page_get *get, struct page *page)
{
	struct page_get *last = page->waiters;
	while (last && last->next)
		last = last->next;
	get->next = NULL;
	get->page = page;
	get->stage = GET_WAITING;
	if (last)
		last->next = get;
	else
		page->waiters = get;
	cache.misses++;
}

// Lock held. True if the page is there, on its way, or a hole: nothing has to be read.
static bool take_what_is_there(struct page_get *get)
{
	struct page *page = cache_find(get->owner, get->index);
	if (!page && owner_hole(get->owner, get->index))
		page = cache.zero;
	if (!page)
		return false;
	if (page->flags & PAGE_LOOK)
		cache_looked_at(page);
	if (!page_readable(page)) {
		get_wait_for(get, page);
		cache.underway++;
		return true;
	}
	if (page != cache.zero)
		cache_touch(page);
	cache.hits++;
	finish(get, page, 0);
	return true;
}

// Lock held. With memory all in use, file data may not take the last quarter of the cache that is off the
// wire: names and metadata must still be found when stalled clients hold the rest.
static bool may_read(const struct page_owner *owner)
{
	return !owner->inode || page_pinned() < cache.pages / 4 * 3 || !pmm_low();
}

// Lock held. Claims the page and what is worth reading with it; null: the get was queued or told.
static struct page_read *claim_for(struct page_get *get)
{
	struct page_read *read = may_read(get->owner) ? read_alloc(get->owner, get->index) : NULL;
	if (!read && may_read(get->owner) && cache.reads) {
		get->stage = GET_QUEUED;
		get->next = NULL;
		*cache.queued_last = get;
		cache.queued_last = &get->next;
		cache.queued_total++;
		return NULL;
	}
	if (read)
		ahead_claim_miss(read, get->until);
	if (!read || !read->count) {
		cache.no_page++;
		finish(get, NULL, -ENOMEM);
		return read;
	}
	get_wait_for(get, read->page[0]);
	return read;
}

void get_start(struct page_get *get, struct page_owner *owner, uint64_t index)
{
	struct page_read *read = NULL;
	get->owner = owner;
	get->index = index;
	spin_lock_wtd(&cache.lock);
	ASSERT(get->stage == GET_IDLE);
	if (index >= owner_end(owner))
		finish(get, NULL, -ERANGE);
	else if (!take_what_is_there(get))
		read = claim_for(get);
	spin_unlock_wtd(&cache.lock);
	// From here on the get may be done with and gone.
	if (read && read->count)
		read_start(read);
	else if (read)
		read_free(read);
}

// While a read is in being, another one coming free will start the next; without one, nobody would.
static void restart(struct wtd *work)
{
	struct page_get *get;
	do {
		spin_lock_wtd(&cache.lock);
		get = cache.queued;
		if (get) {
			cache.queued = get->next;
			if (!cache.queued)
				cache.queued_last = &cache.queued;
			get->stage = GET_IDLE;
		}
		spin_unlock_wtd(&cache.lock);
		if (get)
			get_start(get, get->owner, get->index);
	} while (get && cache.queued && !cache.reads);
}
static struct wtd restart_work = WTD_INIT(restart, "page reads that waited");

void get_restart_queued(void)
{
	if (cache.queued)
		wtd_post_fast(&restart_work);
}

void pagecache_get(struct page_get *get)
{
	get_start(get, inode_page_owner(get->inode), get->index);
}

// Lock held. Unlinks get from a list and gives the address of the last link, for the queue.
static struct page_get **unlink_get(struct page_get **list, struct page_get *get)
{
	struct page_get **link = list;
	while (*link != get)
		link = &(*link)->next;
	*link = get->next;
	while (*link)
		link = &(*link)->next;
	return link;
}

bool pagecache_cancel(struct page_get *get)
{
	struct page *put = NULL;
	bool cancelled = true;
	spin_lock_wtd(&cache.lock);
	if (get->stage == GET_WAITING) {
		struct page_get *list = get->page->waiters;
		unlink_get(&list, get);
		get->page->waiters = list;
	} else if (get->stage == GET_QUEUED) {
		cache.queued_last = unlink_get(&cache.queued, get);
	} else if (get->stage == GET_TOLD) {
		cancelled = wtd_cancel(&get->work);
		put = cancelled ? get->page : NULL;
	}
	if (cancelled)
		get->stage = GET_IDLE;
	spin_unlock_wtd(&cache.lock);
	if (put)
		page_wire_put(put);
	return cancelled;
}

struct sync_get {
	struct page_get get;
	struct waitq waitq;
	bool done; // (C)
};

static void sync_done(struct page_get *get)
{
	struct sync_get *sync = CONTAINER_OF(get, struct sync_get, get);
	spin_lock_wtd(&cache.lock);
	sync->done = true;
	waitq_wake_all(&sync->waitq);
	spin_unlock_wtd(&cache.lock);
}

int get_sync(struct page_owner *owner, uint64_t index, struct page **out)
{
	struct sync_get sync = {.get.done = sync_done};
	assert_may_sleep("waiting for a page");
	waitq_init(&sync.waitq);
	get_start(&sync.get, owner, index);
	spin_lock_wtd(&cache.lock);
	while (!sync.done)
		waitq_sleep(&sync.waitq, &cache.lock);
	spin_unlock_wtd(&cache.lock);
	*out = sync.get.page;
	return sync.get.status;
}

int pagecache_get_wait(struct inode *inode, uint64_t index, struct page **out)
{
	*out = pagecache_probe(inode, index);
	return *out ? 0 : get_sync(inode_page_owner(inode), index, out);
}
