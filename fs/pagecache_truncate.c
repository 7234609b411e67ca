// SPDX-License-Identifier: BSD-2-Clause
// The end of a file moves down: its pages beyond leave the cache. Who has one wired keeps it as it is. Pages that
// the disk is reading or writing are waited for, because their blocks are about to be given to somebody
// else. The rest of the page in which the file now ends is made zeros, as if zeros had been written to it: in
// the page, or in a fresh one when it is on the wire (fs/pagecache_write.c).
#include "fs/volume_private.h"

#include "kernel/panic.h"
#include "kernel/pmm.h"

static struct waitq busy; // for pages to be neither READING nor WRITING; and for other truncations
static uint32_t waiting;  // (C)

void truncate_wake(void)
{
	cache.ended++;
	if (waiting)
		waitq_wake_all(&busy);
}

// Lock held, and dropped meanwhile.
static void wait(void)
{
	waiting++;
	waitq_sleep(&busy, &cache.lock);
	waiting--;
}

void pagecache_truncate_begin(struct inode *inode)
{
	struct page_changes *c = &inode_page_owner(inode)->changes;
	assert_may_sleep("pagecache_truncate_begin");
	spin_lock_wtd(&cache.lock);
	while (c->truncating)
		wait();
	c->truncating = true;
	spin_unlock_wtd(&cache.lock);
}

void pagecache_truncate_end(struct inode *inode)
{
	struct page_owner *owner = inode_page_owner(inode);
	spin_lock_wtd(&cache.lock);
	ASSERT(owner->changes.truncating);
	owner->changes.truncating = false;
	write_tell_waiting(owner, 0);
	truncate_wake();
	spin_unlock_wtd(&cache.lock);
}

// Lock held. True: the page is gone. False: the disk has it.
static bool drop(struct page *page)
{
	if (page->state == PAGE_READING || page->state == PAGE_WRITING)
		return false;
	if (page->state == PAGE_DIRTY)
		writeback_figures.dropped_pages++;
	cache_detach(page);
	return true;
}

#define LOOK 512 // pages looked at before others may have the lock

// Looks at page numbers [first, end). True: the disk has one of them.
static bool drop_by_index(struct page_owner *owner, uint64_t first, uint64_t end)
{
	bool busy_pages = false;
	spin_lock_wtd(&cache.lock);
	for (uint64_t i = first; i < end && owner->pages; i++) {
		struct page *page = cache_find(owner, i);
		busy_pages |= page && !drop(page);
		if ((i - first) % LOOK == LOOK - 1) {
			spin_unlock_wtd(&cache.lock);
			spin_lock_wtd(&cache.lock);
		}
	}
	spin_unlock_wtd(&cache.lock);
	return busy_pages;
}

// The same, for a file with more page numbers than there are frames: looks at every frame. The struct page of a frame
// that was never handed out may still say what it said before a restart: the hash knows better.
static bool drop_by_frame(struct page_owner *owner, uint64_t first, uint64_t end)
{
	bool busy_pages = false;
	spin_lock_wtd(&cache.lock);
	for (uint64_t n = 0; n < pages_count && owner->pages; n++) {
		struct page *page = &pages[n];
		if (pmm_manages(n) && (page->flags & (PAGE_CACHE | PAGE_DETACHED)) == PAGE_CACHE &&
		    page->owner == owner && page->index >= first && page->index < end &&
		    cache_find(owner, page->index) == page)
			busy_pages |= !drop(page);
		if (n % LOOK == LOOK - 1) {
			spin_unlock_wtd(&cache.lock);
			spin_lock_wtd(&cache.lock);
		}
	}
	spin_unlock_wtd(&cache.lock);
	return busy_pages;
}

// Once more after each page that the disk lets go of, until there is none in [first, most).
static void drop_all(struct page_owner *owner, uint64_t first, uint64_t most)
{
	uint64_t version;
	for (;;) {
		spin_lock_wtd(&cache.lock);
		version = cache.ended;
		uint64_t end = MIN(owner->top, most);
		spin_unlock_wtd(&cache.lock);
		bool disk_has = end - first > pages_count && end > first
				    ? drop_by_frame(owner, first, end)
				    : drop_by_index(owner, first, end);
		if (!disk_has)
			return;
		spin_lock_wtd(&cache.lock);
		while (version == cache.ended)
			wait();
		spin_unlock_wtd(&cache.lock);
	}
}

// Lock held. What is remembered of pages from that one on, beside the pages themselves.
static void forget(struct page_owner *owner, uint64_t first)
{
	struct page_changes *c = &owner->changes;
	c->version++;
	if (page_maps)
		page_maps->drop_from(owner, first);
	owner->hole_first = owner->hole_end = 0;
	for (struct file_write *w = c->refills; w; w = w->refill_next)
		w->stale = true;
}

// Lock held. What is remembered of the file's end.
static void cut(struct page_owner *owner, uint64_t from)
{
	struct page_changes *c = &owner->changes;
	c->disk_size = MIN(c->disk_size, from);
	c->grown = c->grown && c->disk_size < owner->inode->size;
	forget(owner, (from + PAGE_SIZE - 1) >> PAGE_SHIFT);
}

struct tail {
	struct file_write write;
	struct waitq waitq;
	bool done; // (C)
};

static void tail_done(struct file_write *write)
{
	struct tail *tail = CONTAINER_OF(write, struct tail, write);
	spin_lock_wtd(&cache.lock);
	tail->done = true;
	waitq_wake_all(&tail->waitq);
	spin_unlock_wtd(&cache.lock);
}

// Zeros from `from` to the end of its page (to: 0), or to that byte of it.
static int put_zeros(struct inode *inode, uint64_t from, uint32_t to)
{
	struct tail tail = {.write = {.inode = inode,
				      .offset = from,
				      .zero_tail = !to,
				      .zero_to = to,
				      .done = tail_done}};
	int status;
	waitq_init(&tail.waitq);
	do {
		tail.done = false;
		status = write_take(&tail.write);
		if (status != -EAGAIN)
			return status;
		spin_lock_wtd(&cache.lock);
		while (!tail.done)
			waitq_sleep(&tail.waitq, &cache.lock);
		spin_unlock_wtd(&cache.lock);
		status = tail.write.status;
	} while (!status && (tail.write.zero_tail || tail.write.zero_to));
	return status;
}

int pagecache_zero(struct inode *inode, uint64_t from, uint64_t to)
{
	return put_zeros(inode, from, (uint32_t)(to - ALIGN_DOWN(from, PAGE_SIZE)));
}

void pagecache_punch(struct inode *inode, uint64_t first, uint64_t end)
{
	struct page_owner *owner = inode_page_owner(inode);
	assert_may_sleep("pagecache_punch");
	drop_all(owner, first, end);
	spin_lock_wtd(&cache.lock);
	forget(owner, first);
	spin_unlock_wtd(&cache.lock);
	writeback_settle(inode->volume);
}

int pagecache_truncate(struct inode *inode, uint64_t from)
{
	struct page_owner *owner = inode_page_owner(inode);
	uint64_t first = (from + PAGE_SIZE - 1) >> PAGE_SHIFT;
	assert_may_sleep("pagecache_truncate");
	drop_all(owner, first, UINT64_MAX);
	spin_lock_wtd(&cache.lock);
	cut(owner, from);
	if (!from) {
		owner->changes.inode_dirty = false;
		dirty_requeue(owner);
	}
	spin_unlock_wtd(&cache.lock);
	writeback_settle(inode->volume);
	return from % PAGE_SIZE ? put_zeros(inode, from, 0) : 0;
}
