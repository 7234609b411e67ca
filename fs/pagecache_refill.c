// SPDX-License-Identifier: BSD-2-Clause
// Old bytes of a page that is written in part, while the page itself is on the wire (and must not change) or
// not in the cache: the disk's DMA puts them into a fresh page that only the write knows. It takes the old
// page's place once the new bytes are in it. The processor copies no byte of the file here.
//
// What is read is what the disk holds. It is the page's content because the page is not DIRTY (a DIRTY one is
// written first), and stays that until somebody changes the page: changes_made marks the write `stale` then,
// and it begins anew. The write is on its file's list `refills` for that, until the bytes are used or dropped.
#include "fs/volume_private.h"

#include "kernel/panic.h"

// Lock held.
static void leave(struct file_write *w)
{
	struct file_write **link = &inode_page_owner(w->inode)->changes.refills;
	while (*link != w)
		link = &(*link)->refill_next;
	*link = w->refill_next;
}

// The old bytes are there, or are not.
static void refilled(struct page_get *get)
{
	struct file_write *w = CONTAINER_OF(get, struct file_write, get);
	struct page *page = get->status ? NULL : get->page;
	spin_lock_wtd(&cache.lock);
	if (page && !w->stale) {
		w->refill = page;
		page = NULL;
	} else {
		leave(w);
	}
	write_tell(w, w->stale ? 0 : get->status);
	spin_unlock_wtd(&cache.lock);
	if (page)
		page_wire_put(page);
}

int refill_start(struct file_write *w, struct page_owner *owner, struct page_read **then)
{
	struct page_read *read = read_alloc(owner, w->index);
	struct page *page = read ? frame_take() : NULL;
	*then = read;
	if (!page)
		return -EBUSY;
	frame_join(page, false);
	page->flags |= PAGE_DETACHED;
	page->state = PAGE_READING;
	page->waiters = NULL;
	page_wire_get(page);
	read->page[0] = page;
	read->count = 1;
	ASSERT(!w->refill);
	w->stale = false;
	w->stage = WRITE_REFILL;
	w->refill_next = owner->changes.refills;
	owner->changes.refills = w;
	w->get = (struct page_get){
	    .inode = w->inode, .index = w->index, .owner = owner, .done = refilled};
	get_wait_for(&w->get, page);
	writeback_figures.refills++;
	return -EAGAIN;
}

struct page *refill_use(struct file_write *w)
{
	struct page *page = w->refill;
	leave(w);
	w->refill = NULL;
	return page;
}

void refill_drop(struct file_write *w)
{
	if (!w->refill)
		return;
	spin_lock_wtd(&cache.lock);
	struct page *page = refill_use(w);
	spin_unlock_wtd(&cache.lock);
	page_wire_put(page);
}

// The page is there, or cannot be had: the write looks again.
static void read_done(struct page_get *get)
{
	struct file_write *w = CONTAINER_OF(get, struct file_write, get);
	if (!get->status)
		page_wire_put(get->page);
	spin_lock_wtd(&cache.lock);
	write_tell(w, 0);
	spin_unlock_wtd(&cache.lock);
}

void refill_wait_read(struct file_write *w, struct page *page)
{
	w->stage = WRITE_GET;
	w->get = (struct page_get){.inode = w->inode, .index = w->index, .done = read_done};
	get_wait_for(&w->get, page);
}

void refill_ask_map(struct file_write *w, struct page_owner *owner, uint64_t index)
{
	w->stage = WRITE_GET;
	w->map_asked = true;
	w->get = (struct page_get){.inode = w->inode, .done = read_done};
	get_start(&w->get, owner, index);
}

bool refill_cancel(struct file_write *w)
{
	bool filling = w->stage == WRITE_REFILL;
	if (!pagecache_cancel(&w->get))
		return false;
	spin_lock_wtd(&cache.lock);
	if (filling)
		leave(w);
	w->stage = WRITE_IDLE;
	spin_unlock_wtd(&cache.lock);
	return true;
}
