// SPDX-License-Identifier: BSD-2-Clause
// Writing behind: when DIRTY pages go to the disk, and which. One worker a volume, never two at a time.
//
//	a file is due when      it was changed 3.3 s ago; or a file_sync or a write waits for it; or a megabyte
//	                        of it is DIRTY; or memory is short
//	every file is due when  half of what the volume may have DIRTY is, or somebody waits for room
//
// Errors. The driver has tried a command several times before it gives up; a command of several pages is then
// repeated place by place, so that one bad sector costs one page. A page that could not be written stays
// DIRTY, readers see what was written, and the file remembers the error for its next file_sync, which is told
// once. The file is tried again after 1, 2, 4, ... s, and at every file_sync. After TRIES attempts in a row,
// or at once when the device has gone or the volume was turned read-only, what could not be written is
// dropped: counted, named in the log, and what the disk holds is the file. Want of memory drops nothing.
#include "fs/volume_private.h"

#include "kernel/kprintf.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/timer.h"

#define BATCHES 4 // a volume's, in memory; on the disk at once: up to 4 MB
#define TRIES	5
#define LOOK	64 // files passed over, because they failed, in search of one to write

// ---- the worker ----

// Lock held. Where the next file to be written is; null: nothing is due.
static struct page_owner *pick(const struct writeback *wb)
{
	struct page_owner *owner = wb->now_first;
	uint64_t now = clock_ns();
	if (owner)
		return owner;
	owner = wb->later_first;
	if (owner && (owner->changes.due_ns <= now || wb->closed))
		return owner;
	for (unsigned look = 0; owner && owner->changes.failures && look < LOOK; look++)
		owner = owner->changes.next;
	if (!owner || owner->changes.failures)
		return NULL;
	return dirty_much(wb) || dirty_before(&owner->changes, wb->hurry_ns) ? owner : NULL;
}

void writeback_kick(struct writeback *wb)
{
	if (wb->running) {
		wb->again = true;
		return;
	}
	if (!wb->idle && wb->batches >= wb->most)
		return; // the end of one of them comes here
	if (pick(wb)) {
		wtd_post(&wb->work);
	} else if (wb->later_first &&
		   (!wb->armed_ns || wb->later_first->changes.due_ns < wb->armed_ns)) {
		uint64_t now = clock_ns(), due = wb->later_first->changes.due_ns;
		wb->armed_ns = due;
		wtd_post_after(&wb->work, WTD_SLEEP, due > now ? due - now : 0);
	}
}

static struct write_batch *batch_get(struct writeback *wb)
{
	spin_lock_wtd(&cache.lock);
	struct write_batch *b = wb->idle;
	bool make = !b && wb->batches < wb->most;
	if (b)
		wb->idle = b->next;
	wb->batches += make;
	spin_unlock_wtd(&cache.lock);
	if (make)
		b = kpages_alloc(sizeof(*b));
	if (make && b)
		b->wb = wb;
	spin_lock_wtd(&cache.lock);
	if (make && !b)
		wb->most = MAX(--wb->batches, 1U);
	wb->in_flight += b != NULL;
	spin_unlock_wtd(&cache.lock);
	if (b)
		b->files = b->pages = b->built = b->placed_files = 0;
	return b;
}

// Lock held.
static void batch_put(struct write_batch *b)
{
	struct writeback *wb = b->wb;
	b->next = wb->idle;
	wb->idle = b;
	wb->in_flight--;
	waitq_wake_all(&wb->waitq);
}

int writeback_prepare(struct writeback *wb)
{
	if (wb->batches)
		return 0;
	struct write_batch *b = batch_get(wb);
	if (!b)
		return -ENOMEM;
	spin_lock_wtd(&cache.lock);
	batch_put(b);
	spin_unlock_wtd(&cache.lock);
	return 0;
}

// Lock held. The page and the DIRTY ones around it, in ascending order, as far as the batch reaches.
static void take_run(struct write_batch *b, struct page *page, uint32_t most)
{
	struct page_owner *owner = page->owner;
	uint64_t first = page->index, back = 0;
	struct page *at;
	while (first && back++ < most && (at = cache_find(owner, first - 1)) &&
	       at->state == PAGE_DIRTY)
		first--;
	while (b->pages < most && (at = cache_find(owner, first++)) && at->state == PAGE_DIRTY) {
		dirty_take(at);
		b->page[b->pages++] = at;
	}
}

// Lock held. The pages with the lowest numbers, when the file grew out of order: blocks behind the size that the
// disk knows would be a fault of the volume. b->page[first..] is a heap with the greatest of them in front.
static void take_lowest(struct write_batch *b, struct page_changes *c, uint32_t most)
{
	struct page **heap = b->page + b->pages;
	uint32_t count = 0, room = most - b->pages;
	for (struct page *page = c->first; page; page = page->lru_next) {
		uint32_t at = count;
		if (count < room) {
			for (; at && heap[(at - 1) / 2]->index < page->index; at = (at - 1) / 2)
				heap[at] = heap[(at - 1) / 2];
			heap[at] = page;
			count++;
			continue;
		}
		if (heap[0]->index < page->index)
			continue;
		for (uint32_t child = 1; at = (child - 1) / 2, child < count;
		     child = 2 * child + 1) {
			child += child + 1 < count && heap[child + 1]->index > heap[child]->index;
			if (heap[child]->index < page->index)
				break;
			heap[at] = heap[child];
		}
		heap[at] = page;
	}
	for (uint32_t n = 0; n < count; n++)
		dirty_take(heap[n]);
	if (c->first)
		c->low = heap[0]->index + 1;
	b->pages += count;
}

// Ascending; runs are so already.
static void sort_pages(struct page **pages, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++) {
		struct page *page = pages[i];
		uint32_t at = i;
		for (; at && pages[at - 1]->index > page->index; at--)
			pages[at] = pages[at - 1];
		pages[at] = page;
	}
}

// The file's reference goes to the batch, or is dropped when there is nothing to write.
static void take_file(struct write_batch *b, struct inode *inode, uint32_t most)
{
	struct page_owner *owner = inode_page_owner(inode);
	struct page_changes *c = &owner->changes;
	struct batch_file *f = &b->file[b->files];
	f->inode = inode;
	f->first = b->pages;
	f->status = 0;
	f->sized = false;
	spin_lock_wtd(&cache.lock);
	if (c->grown && !c->ascending)
		take_lowest(b, c, most);
	while (c->first && b->pages < most)
		take_run(b, c->first, most);
	f->count = b->pages - f->first;
	f->limit = inode->size;
	f->write_inode = c->inode_dirty || c->grown;
	c->inode_dirty = false;
	c->hurry = false;
	bool some = f->count || f->write_inode;
	c->batches += some;
	dirty_unqueue(owner);
	if (c->first)
		dirty_requeue(owner);
	spin_unlock_wtd(&cache.lock);
	if (some)
		b->files++;
	else
		inode_put(inode);
	sort_pages(b->page + f->first, f->count);
}

// Fills the batch with files that are due. False: none is.
static bool collect(struct write_batch *b)
{
	struct writeback *wb = b->wb;
	uint32_t most = BATCH_PLACES / (uint32_t)(PAGE_SIZE / wb->volume->block_bytes);
	while (b->files < BATCH_FILES && b->pages < most) {
		spin_lock_wtd(&cache.lock);
		struct page_owner *owner = pick(wb);
		uint64_t number = owner ? owner->inode->number : 0;
		if (owner)
			dirty_unqueue(owner);
		spin_unlock_wtd(&cache.lock);
		if (!owner)
			break;
		// Null: it has lost its last name and user. Its pages are dropped by who deletes it.
		struct inode *inode = inode_find_cached(wb->volume, number);
		if (inode)
			take_file(b, inode, most);
	}
	return b->files;
}

// ---- the end of a batch ----

// Lock held. What cannot be written is given up.
static void drop_file(struct page_owner *owner, int error)
{
	struct page_changes *c = &owner->changes;
	struct inode *inode = owner->inode;
	uint64_t pages = c->dirty;
	while (c->first)
		cache_detach(c->first);
	c->inode_dirty = c->hurry = false;
	c->failures = 0;
	if (c->grown)
		inode->size = MIN(inode->size, c->disk_size);
	c->grown = false;
	writeback_figures.lost_pages += pages;
	writeback_of(owner->volume)->lost += pages;
	kprintf("%s: inode %lu: %lu pages could not be written (error %d) and are lost\n",
		owner->volume->name, (unsigned long)inode->number, (unsigned long)pages, -error);
	dirty_requeue(owner);
}

// Lock held. Its pages are CLEAN, or DIRTY again.
static bool end_file(struct write_batch *b, struct batch_file *f)
{
	struct page_owner *owner = inode_page_owner(f->inode);
	struct page_changes *c = &owner->changes;
	bool drop = false;
	c->batches--;
	if (f->status) {
		writeback_figures.errors++;
		c->error = c->error ? c->error : f->status;
		c->failures += c->failures < UINT8_MAX;
		drop = f->status != -ENOMEM && (c->failures >= TRIES || b->wb->closed || b->fatal);
	} else if (f->count || f->write_inode) {
		c->failures = 0;
	}
	if (drop && !c->batches)
		drop_file(owner, f->status);
	write_tell_waiting(owner, 0);
	sync_check(owner);
	dirty_unqueue(owner);
	dirty_requeue(owner);
	return drop;
}

void writeback_ended(struct write_batch *b)
{
	struct writeback *wb = b->wb;
	struct volume *volume = wb->volume;
	struct inode *inodes[BATCH_FILES];
	uint32_t files = b->files, changed = 0;
	spin_lock_wtd(&cache.lock);
	for (uint32_t i = 0; i < files; i++) {
		inodes[i] = b->file[i].inode;
		changed |= (uint32_t)end_file(b, &b->file[i]) << i;
	}
	batch_put(b);
	dirty_wake_room();
	writeback_kick(wb);
	truncate_wake();
	spin_unlock_wtd(&cache.lock);
	writeback_settle(volume);
	for (uint32_t i = 0; i < files; i++) {
		if (changed & BIT(i))
			inode_changed(inodes[i]);
		inode_put(inodes[i]);
	}
}

// ---- the worker ----

static void write_one(struct write_batch *b)
{
	int error = batch_place(b);
	if (error)
		writeback_ended(b);
	else
		batch_submit(b);
}

// Lock held. False: something came up meanwhile.
static bool may_end(struct writeback *wb)
{
	wb->running = wb->again;
	wb->again = false;
	if (wb->running)
		return false;
	writeback_kick(wb);
	waitq_wake_all(&wb->waitq);
	return true;
}

static void run(struct wtd *work)
{
	struct writeback *wb = CONTAINER_OF(work, struct writeback, work);
	bool over;
	spin_lock_wtd(&cache.lock);
	wb->armed_ns = 0;
	over = wb->running;
	wb->again |= over;
	wb->running = true;
	spin_unlock_wtd(&cache.lock);
	while (!over) {
		struct write_batch *b = batch_get(wb);
		bool some = b && collect(b);
		if (some)
			write_one(b);
		spin_lock_wtd(&cache.lock);
		if (b && !some)
			batch_put(b);
		over = !some && may_end(wb);
		spin_unlock_wtd(&cache.lock);
	}
}

void writeback_init(struct writeback *wb, struct volume *volume)
{
	wb->volume = volume;
	wb->most = BATCHES;
	waitq_init(&wb->waitq);
	wtd_init(&wb->work, run, "write-behind");
	writeback_register(wb);
}

void writeback_stop(struct writeback *wb)
{
	spin_lock_wtd(&cache.lock);
	while (wb->running || wb->in_flight)
		waitq_sleep(&wb->waitq, &cache.lock);
	ASSERT(!wb->dirty && !wb->room_first);
	struct write_batch *b = wb->idle, *next;
	wb->idle = NULL;
	spin_unlock_wtd(&cache.lock);
	wtd_cancel(&wb->work);
	writeback_unregister(wb);
	for (; b; b = next) {
		next = b->next;
		kpages_free(b, sizeof(*b));
	}
}
