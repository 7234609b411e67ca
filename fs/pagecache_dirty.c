// SPDX-License-Identifier: BSD-2-Clause
// Which pages are DIRTY. A file's DIRTY pages hang on a list of its own, in the order in which they became
// so, and are on no LRU: eviction never meets them. A file with something to write is on one of its
// volume's two lists (fs/pagecache_writing.h has the picture).
//
// The ceiling: DIRTY and WRITING pages of all volumes together stay below a quarter of memory (and 256 MB);
// volumes that are written share that in equal parts, so that a slow disk does not stop who writes to a
// fast one. Who finds no room waits in a queue, and goes on in its turn as pages reach the disk.
#include "fs/volume_private.h"

#include "kernel/panic.h"
#include "kernel/timer.h"

#define GRANT_PAGES   16 // who waited may make so many pages dirty at a time
#define BACKOFF_SHIFT 6	 // after errors: one second, two, four, ... up to 64

static struct writeback *all;  // (C) every volume's that was ever written
static uint64_t volumes_dirty; // (C) of them with DIRTY or WRITING pages
static uint64_t granted;       // (C) pages promised to who was woken
struct writeback_figures writeback_figures;

struct writeback *writeback_of(struct volume *volume)
{
	return &volume_private(volume)->writeback;
}

void writeback_register(struct writeback *wb)
{
	spin_lock_wtd(&cache.lock);
	wb->next = all;
	all = wb;
	spin_unlock_wtd(&cache.lock);
}

void writeback_unregister(struct writeback *wb)
{
	spin_lock_wtd(&cache.lock);
	struct writeback **link = &all;
	while (*link != wb)
		link = &(*link)->next;
	*link = wb->next;
	spin_unlock_wtd(&cache.lock);
}

// ---- a file's list ----

static struct writeback *wb_of(const struct page_owner *owner)
{
	return writeback_of(owner->volume);
}

static void count_dirty(struct writeback *wb)
{
	if (!wb->dirty++)
		volumes_dirty++;
	cache.dirty++;
}

static void uncount_dirty(struct writeback *wb)
{
	ASSERT(wb->dirty && cache.dirty);
	if (!--wb->dirty)
		volumes_dirty--;
	cache.dirty--;
}

static void append(struct page *page)
{
	struct page_changes *c = &page->owner->changes;
	page->state = PAGE_DIRTY;
	page->stamp_ns = clock_ns();
	c->ascending = !c->first || (c->ascending && page->index > c->last->index);
	c->low = c->first ? MIN(c->low, page->index) : page->index;
	page->lru_next = NULL;
	page->lru_prev = c->last;
	*(c->last ? &c->last->lru_next : &c->first) = page;
	c->last = page;
	c->dirty++;
}

static void unlink_page(struct page *page)
{
	struct page_changes *c = &page->owner->changes;
	*(page->lru_prev ? &page->lru_prev->lru_next : &c->first) = page->lru_next;
	*(page->lru_next ? &page->lru_next->lru_prev : &c->last) = page->lru_prev;
	page->lru_next = page->lru_prev = NULL;
	c->dirty--;
	if (c->first && c->ascending)
		c->low = c->first->index;
}

void dirty_add(struct page *page, bool reserved)
{
	struct page_owner *owner = page->owner;
	if (page->state == PAGE_CLEAN)
		cache_unlru(page);
	ahead_forget(page, false);
	if (reserved)
		page->flags |= PAGE_RESERVED;
	append(page);
	count_dirty(wb_of(owner));
	owner->changes.version++;
	owner->hole_first = owner->hole_end = 0;
	dirty_requeue(owner);
}

void dirty_again(struct page *page)
{
	ASSERT(page->state == PAGE_WRITING);
	append(page);
}

// In front, and no younger than what follows: the list is in order of time.
void dirty_return(struct page *page)
{
	struct page_changes *c = &page->owner->changes;
	ASSERT(page->state == PAGE_WRITING);
	page->state = PAGE_DIRTY;
	c->ascending = !c->first || (c->ascending && page->index < c->first->index);
	c->low = c->first ? MIN(c->low, page->index) : page->index;
	if (c->first)
		page->stamp_ns = MIN(page->stamp_ns, c->first->stamp_ns);
	page->lru_prev = NULL;
	page->lru_next = c->first;
	*(c->first ? &c->first->lru_prev : &c->last) = page;
	c->first = page;
	c->dirty++;
}

void dirty_take(struct page *page)
{
	ASSERT(page->state == PAGE_DIRTY);
	unlink_page(page);
	page_maps_protect(page);
	page->state = PAGE_WRITING;
	page_wire_get(page);
}

void dirty_done(struct page *page)
{
	ASSERT(page->state == PAGE_WRITING);
	page->state = PAGE_CLEAN;
	uncount_dirty(wb_of(page->owner));
	cache_lru_add(page);
}

void dirty_forget(struct page *page)
{
	struct page_owner *owner = page->owner;
	struct writeback *wb = wb_of(owner);
	unlink_page(page);
	uncount_dirty(wb);
	if (page->flags & PAGE_RESERVED)
		wb->forgotten++;
	page->flags &= (uint16_t)~PAGE_RESERVED;
	owner->changes.version++;
	owner->hole_first = owner->hole_end = 0;
	dirty_requeue(owner);
	dirty_wake_room();
}

void writeback_settle(struct volume *volume)
{
	struct writeback *wb = writeback_of(volume);
	spin_lock_wtd(&cache.lock);
	uint64_t pages = wb->forgotten;
	wb->forgotten = 0;
	spin_unlock_wtd(&cache.lock);
	if (pages)
		volume_filesystem(volume)->writing->unreserve(
		    volume, pages * (PAGE_SIZE / volume->block_bytes));
}

void changes_made(struct page_owner *owner, uint64_t index)
{
	for (struct file_write *w = owner->changes.refills; w; w = w->refill_next)
		w->stale |= w->index == index;
}

void dirty_inode(struct page_owner *owner)
{
	struct page_changes *c = &owner->changes;
	if (!c->inode_dirty)
		c->inode_ns = clock_ns();
	c->inode_dirty = true;
	dirty_requeue(owner);
}

bool dirty_before(const struct page_changes *c, uint64_t ns)
{
	return (c->first && c->first->stamp_ns <= ns) || (c->inode_dirty && c->inode_ns <= ns);
}

// What of the file the disk holds for certain, or will before the journal says so. Bytes that grew since the
// file was last written whole may lie in blocks that hold something else yet.
uint64_t inode_disk_size(struct inode *inode)
{
	const struct page_changes *c = &inode_page_owner(inode)->changes;
	wtd_disable();
	uint64_t size = c->grown ? MIN(c->disk_size, inode->size) : inode->size;
	wtd_enable();
	return size;
}

// ---- a volume's lists ----

void dirty_unqueue(struct page_owner *owner)
{
	struct page_changes *c = &owner->changes;
	struct writeback *wb = wb_of(owner);
	if (c->queue == WB_NONE)
		return;
	bool now = c->queue == WB_NOW;
	struct page_owner **first = now ? &wb->now_first : &wb->later_first;
	struct page_owner **last = now ? &wb->now_last : &wb->later_last;
	*(c->prev ? &c->prev->changes.next : first) = c->next;
	*(c->next ? &c->next->changes.prev : last) = c->prev;
	c->next = c->prev = NULL;
	c->queue = WB_NONE;
}

// Behind those that are due earlier: nearly always at the end.
static void enqueue(struct page_owner *owner, enum writeback_queue queue)
{
	struct page_changes *c = &owner->changes;
	struct writeback *wb = wb_of(owner);
	bool now = queue == WB_NOW;
	struct page_owner **first = now ? &wb->now_first : &wb->later_first;
	struct page_owner **last = now ? &wb->now_last : &wb->later_last;
	struct page_owner *before = *last;
	while (!now && before && before->changes.due_ns > c->due_ns)
		before = before->changes.prev;
	c->prev = before;
	c->next = before ? before->changes.next : *first;
	*(c->prev ? &c->prev->changes.next : first) = owner;
	*(c->next ? &c->next->changes.prev : last) = owner;
	c->queue = (uint8_t)queue;
}

static uint64_t due_ns(const struct page_changes *c)
{
	uint64_t since = UINT64_MAX;
	if (c->first)
		since = c->first->stamp_ns;
	if (c->inode_dirty)
		since = MIN(since, c->inode_ns);
	if (c->failures)
		return clock_ns() + (NS_PER_SEC << MIN(c->failures - 1, BACKOFF_SHIFT));
	return since + WRITE_DELAY_NS;
}

// What was changed before a file_sync is on its way, and the sync waits for that alone: pages that were
// changed since would only keep it waiting.
static bool draining(const struct page_changes *c)
{
	return c->syncs && c->batches && !dirty_before(c, c->syncs->generation);
}

static enum writeback_queue queue_for(const struct page_owner *owner)
{
	const struct page_changes *c = &owner->changes;
	if ((!c->first && !c->inode_dirty) || draining(c))
		return WB_NONE;
	if ((c->syncs && dirty_before(c, c->syncs->generation)) || c->hurry)
		return WB_NOW;
	if (c->failures)
		return WB_LATER;
	return c->dirty >= STREAM_PAGES || dirty_before(c, wb_of(owner)->hurry_ns) ? WB_NOW
										   : WB_LATER;
}

void dirty_requeue(struct page_owner *owner)
{
	struct page_changes *c = &owner->changes;
	struct writeback *wb = wb_of(owner);
	enum writeback_queue queue = queue_for(owner);
	if (queue != c->queue) {
		dirty_unqueue(owner);
		c->due_ns = queue == WB_LATER ? due_ns(c) : 0;
		if (queue != WB_NONE)
			enqueue(owner, queue);
	}
	writeback_kick(wb);
}

// ---- the ceiling ----

static uint64_t share(void)
{
	return cache.dirty_max / MAX(volumes_dirty, 1UL);
}

bool dirty_room(const struct writeback *wb)
{
	uint64_t used = wb->dirty + granted;
	if (!wb->dirty)
		return true; // whatever others do
	return used < share() && page_pinned() + cache.dirty + granted < cache.frames_total / 4 * 3;
}

bool dirty_much(const struct writeback *wb)
{
	return wb->dirty > share() / 2 || wb->room_first;
}

void dirty_wait_room(struct writeback *wb, struct file_write *write)
{
	write->stage = WRITE_ROOM;
	write->next = NULL;
	*(wb->room_first ? &wb->room_last->next : &wb->room_first) = write;
	wb->room_last = write;
	writeback_figures.room_waits++;
	writeback_kick(wb);
}

void dirty_leave_room(struct writeback *wb, struct file_write *write)
{
	struct file_write **link = &wb->room_first, *before = NULL;
	while (*link != write) {
		before = *link;
		link = &before->next;
	}
	*link = write->next;
	if (wb->room_last == write)
		wb->room_last = before;
}

void dirty_use_grant(struct file_write *write)
{
	granted -= write->granted;
	write->granted = 0;
}

// In turn, as long as there is room for what they will take.
static void wake_room(struct writeback *wb)
{
	while (wb->room_first && (dirty_room(wb) || wb->closed)) {
		struct file_write *write = wb->room_first;
		wb->room_first = write->next;
		write->granted = MIN((uint32_t)(write->len / PAGE_SIZE) + 1, GRANT_PAGES);
		granted += write->granted;
		write_tell(write, 0);
	}
}

void dirty_wake_room(void)
{
	for (struct writeback *wb = all; wb; wb = wb->next)
		wake_room(wb);
}

void writeback_hurry(void)
{
	for (struct writeback *wb = all; wb; wb = wb->next) {
		if (!wb->dirty)
			continue;
		wb->hurry_ns = clock_ns();
		writeback_kick(wb);
	}
}
