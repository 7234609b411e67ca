// SPDX-License-Identifier: BSD-2-Clause
// Bytes into the cache: file_write, the write path's one copy. For each page it touches:
//
//	the page                          what happens
//	--------------------------------  ---------------------------------------------------------------
//	is there, nobody has it wired     the bytes go into it
//	is there, on the wire; or absent  a fresh page takes its place (who has the old one keeps it). If
//	                                  bytes of the old one remain, the disk's DMA fills the fresh page
//	                                  first (pagecache_refill.c): the processor copies no old byte
//	is DIRTY, on the wire, and bytes  it is written, and then as above
//	of it remain
//	is being read, or WRITING         the write waits for the disk
//
// What a fresh page holds beyond the bytes written is zeros. The page is in the cache before the size says
// so, both under the cache's lock, so that a reader never sees a byte that was not written. Blocks are
// promised by the volume before a page becomes DIRTY (delayed allocation); they are found when it is
// written (pagecache_batch.c).
//
//	          must wait                    told                    all taken, or an error
//	IDLE ------------------> ROOM, PAGE, ---------> TOLD: take ------------------------> IDLE, done called
//	 ^ |                     GET, REFILL             |  ^ must wait again
//	 | +-> all taken, error      ^-------------------+--+
#include "fs/volume_private.h"

#include "kernel/copy.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"

// What is written of one page: [at, at + bytes), and zeros behind it up to zero_end (0: none).
struct piece {
	struct page_owner *owner;
	uint64_t index;
	uint32_t at, bytes;
	uint32_t old; // bytes of the page that the file has
	uint32_t zero_end;
	bool zero_tail; // beyond the file's end: it takes no blocks
};
// A call of write_take.
struct taking {
	struct file_write *write;
	struct writeback *wb;
	uint32_t allowed;  // pages that may become DIRTY past the ceiling
	bool blocks_asked; // the next page's blocks: settled
	bool promised;	   // ... by a promise, to be given back if it is not used
};
enum way {
	IN_PLACE,
	FRESH,
	REFILLED,
	REFILL,
	STALE,
	WAIT_READ,
	WAIT_WRITTEN,
	WRITE_FIRST,
	NOTHING
};

// Lock held.
static bool old_bytes_remain(const struct piece *p)
{
	return p->old && (p->at || MAX(p->bytes, p->zero_end) < p->old);
}

// Lock held. A page that is not in the cache, or cannot be changed as it is.
static enum way way_of_another_page(const struct file_write *w, const struct piece *p,
				    const struct page *page)
{
	bool remain = old_bytes_remain(p), hole = !page && owner_hole(p->owner, p->index);
	if (!p->bytes && !w->touch && (hole || w->refill == cache.zero))
		return NOTHING; // zeros are there already
	if (!remain || hole)
		return FRESH;
	if (page && page->state == PAGE_DIRTY)
		return WRITE_FIRST;
	if (!w->refill)
		return REFILL;
	return w->stale ? STALE : REFILLED;
}

// Lock held. Decides, and changes nothing.
static enum way way_of(const struct file_write *w, struct piece *p, const struct page *page)
{
	uint64_t start = p->index << PAGE_SHIFT, size = p->owner->inode->size;
	p->old = size > start ? (uint32_t)MIN(size - start, PAGE_SIZE) : 0;
	if (page && page->state == PAGE_READING)
		return WAIT_READ;
	if (page && page->state == PAGE_WRITING)
		return WAIT_WRITTEN;
	if (w->touch && !p->old)
		return NOTHING; // beyond the end: the fault says so
	if (page && page->wire == page_maps_of(page))
		return IN_PLACE;
	return way_of_another_page(w, p, page);
}

static void zero(struct page *page, uint32_t from, uint32_t to)
{
	if (from >= to)
		return;
	uint8_t *window = vmm_window_open(page);
	memset(window + from, 0, to - from);
	vmm_window_close(page);
}

// Lock held.
static int copy_in(struct file_write *w, const struct piece *p, struct page *page)
{
	int error = 0;
	if (p->bytes)
		error = copy_cache_write(page, p->at, w->bytes, p->bytes, w->copy);
	zero(page, p->at + p->bytes, p->zero_end);
	return error;
}

// Lock held. What the bytes are now in takes the identity, DIRTY; who has `old` keeps it.
static void put_in_place(struct taking *t, const struct piece *p, struct page *page,
			 struct page *old)
{
	if (old) {
		cache_detach(old);
		writeback_figures.replaced++;
	}
	page->flags &= (uint16_t)~PAGE_DETACHED;
	cache_insert(page, p->owner, p->index);
	page->state = PAGE_EMPTY; // on no list yet
	dirty_add(page, t->promised);
	t->promised = false;
}

// Lock held. -EAGAIN: there is no frame.
static int into_fresh_page(struct taking *t, const struct piece *p, struct page *old)
{
	struct page *page = frame_take();
	if (!page)
		return -EAGAIN;
	frame_join(page, false);
	zero(page, 0, p->at);
	zero(page, p->at + p->bytes, PAGE_SIZE);
	int error = copy_in(t->write, p, page);
	if (error)
		frame_give(page);
	else
		put_in_place(t, p, page, old);
	return error;
}

// Lock held. The old bytes that the disk put into the write's own page.
static int into_refilled_page(struct taking *t, const struct piece *p, struct page *old)
{
	struct page *page = t->write->refill;
	if (page == cache.zero)
		return into_fresh_page(t, p, old);
	int error = copy_in(t->write, p, page);
	if (error)
		return error;
	put_in_place(t, p, page, old);
	page_wire_put(refill_use(t->write)); // it has an identity: nothing else happens
	return 0;
}

// Lock held.
static int into_page(struct taking *t, const struct piece *p, struct page *page)
{
	if (p->at > p->old && page->flags & PAGE_MAPPED)
		zero(page, p->old, p->at); // a program may have written there, beyond the end
	int error = copy_in(t->write, p, page);
	if (page->state == PAGE_CLEAN) {
		dirty_add(page, t->promised);
		t->promised = false;
	}
	return error;
}

// Lock held. The bytes are in the cache: now the file may be said to have them.
static void grow(const struct piece *p)
{
	struct page_changes *c = &p->owner->changes;
	struct inode *inode = p->owner->inode;
	uint64_t end = (p->index << PAGE_SHIFT) + p->at + p->bytes;
	if (!p->bytes || end <= inode->size)
		return;
	if (!c->grown)
		c->disk_size = inode->size;
	c->grown = true;
	inode->size = end;
}

// Lock held. -EAGAIN: no room, or no frame.
static int put_piece(struct taking *t, struct piece *p, enum way way, struct page *page)
{
	bool makes_dirty = way != IN_PLACE || page->state == PAGE_CLEAN;
	int error;
	if (makes_dirty && !t->allowed && !p->zero_tail &&
	    (t->wb->room_first || !dirty_room(t->wb)))
		return -EAGAIN;
	changes_made(p->owner, p->index);
	if (way == IN_PLACE)
		error = into_page(t, p, page);
	else if (way == REFILLED)
		error = into_refilled_page(t, p, page);
	else
		error = into_fresh_page(t, p, page);
	if (error)
		return error;
	if (makes_dirty) {
		t->allowed -= t->allowed > 0;
		t->blocks_asked = false;
	}
	grow(p);
	return 0;
}

// Lock held. Until a page is on the disk, or a truncation is over.
static int wait_page(struct file_write *w, struct page_owner *owner)
{
	struct file_write **link = &owner->changes.waiting;
	while (*link)
		link = &(*link)->next;
	w->stage = WRITE_PAGE;
	w->next = NULL;
	*link = w;
	writeback_figures.page_waits++;
	return -EAGAIN;
}

// Lock held. With nothing DIRTY no page will come free by our doing.
static int wait_room(struct taking *t)
{
	if (!cache.dirty)
		return -ENOMEM;
	dirty_wait_room(t->wb, t->write);
	return -EAGAIN;
}

// Lock held. Once `then` is set, it is to be called when the lock is dropped.
static int step(struct taking *t, struct piece *p, struct page *page, enum way way,
		struct page_read **then)
{
	struct file_write *w = t->write;
	struct page_owner *owner = p->owner;
	int status;
	w->index = p->index;
	switch (way) {
	case NOTHING:
		return 0;
	case WAIT_WRITTEN:
		return wait_page(w, owner);
	case WRITE_FIRST:
		owner->changes.hurry = true;
		dirty_requeue(owner);
		return wait_page(w, owner);
	case WAIT_READ:
		refill_wait_read(w, page);
		return -EAGAIN;
	case REFILL:
		status = refill_start(w, owner, then);
		return status == -EBUSY ? wait_room(t) : status;
	default:
		status = put_piece(t, p, way, page);
		return status == -EAGAIN ? wait_room(t) : status;
	}
}

// Does the volume have to promise blocks for the page? 1: yes. 0: they are there. -EAGAIN: who knows.
static int blocks_missing(const struct piece *p)
{
	struct inode *inode = p->owner->inode;
	uint32_t bytes = inode->volume->block_bytes;
	uint64_t start = p->index << PAGE_SHIFT;
	uint64_t end = start + MAX(p->at + p->bytes, p->old);
	struct fs_extent ext;
	if (start >= inode->size || end > ALIGN_UP(inode->size, bytes))
		return 1;
	for (uint64_t at = start; at < end; at += bytes) {
		int error = volume_filesystem(inode->volume)->map_cached(inode, at / bytes, &ext);
		if (error)
			return error;
		if (ext.hole && !ext.unwritten)
			return 1;
	}
	return 0;
}

// Lock not held.
static int ask_blocks(struct taking *t, const struct piece *p)
{
	struct volume *volume = p->owner->volume;
	int missing = p->zero_tail || t->promised ? 0 : blocks_missing(p), error = 0;
	if (missing == 1 || missing == -EAGAIN)
		error = volume_filesystem(volume)->writing->reserve(
		    volume, PAGE_SIZE / volume->block_bytes);
	else if (missing < 0)
		return missing;
	if (error == -ENOSPC && missing == -EAGAIN && !t->write->map_asked)
		return -EAGAIN; // reading the page tells
	t->promised |= missing && !error;
	t->blocks_asked = !error;
	return error;
}

static bool takes_page(enum way way)
{
	return way == IN_PLACE || way == FRESH || way == REFILLED;
}

static int take_piece(struct taking *t, struct piece *p)
{
	struct page_read *read = NULL;
	struct file_write *w = t->write;
	for (;;) {
		if (w->refill && (w->stale || w->index != p->index))
			refill_drop(w);
		spin_lock_wtd(&cache.lock);
		struct page *page = cache_find(p->owner, p->index);
		enum way way = way_of(w, p, page);
		bool held_back = p->owner->changes.truncating && !p->zero_end;
		bool ask = !held_back && takes_page(way) && !t->blocks_asked &&
			   !(page && page->state == PAGE_DIRTY);
		int status = 0;
		if (held_back)
			status = wait_page(w, p->owner);
		else if (!ask && way != STALE)
			status = step(t, p, page, way, &read);
		spin_unlock_wtd(&cache.lock);
		// After -EAGAIN the write may be over and gone.
		if (read && read->count)
			read_start(read);
		else if (read)
			read_free(read);
		if (way == STALE && !held_back)
			continue;
		if (!ask)
			return status;
		status = ask_blocks(t, p);
		if (status == -EAGAIN)
			refill_ask_map(w, p->owner, p->index);
		if (status)
			return status;
	}
}

// The next piece. Before a write that begins behind the page in which the file ends, that page's rest is made
// zeros on the disk, too: what is there was never part of the file.
static struct piece next_piece(const struct file_write *w, bool filled, bool *gap)
{
	uint64_t size = w->inode->size;
	struct piece p = {.owner = inode_page_owner(w->inode),
			  .zero_end = w->zero_tail ? PAGE_SIZE : w->zero_to,
			  .zero_tail = w->zero_tail};
	uint64_t at = w->offset;
	bool none = w->zero_tail || w->zero_to || w->touch;
	*gap = !filled && !none && size % PAGE_SIZE && w->offset >> PAGE_SHIFT > size >> PAGE_SHIFT;
	if (*gap) {
		p.zero_tail = true;
		p.zero_end = PAGE_SIZE;
		at = size;
	} else if (!none) {
		p.bytes = (uint32_t)MIN(w->len, PAGE_SIZE - at % PAGE_SIZE);
	}
	p.index = at >> PAGE_SHIFT;
	p.at = at % PAGE_SIZE;
	return p;
}

static int may_write(const struct file_write *w)
{
	struct volume *volume = w->inode->volume;
	uint64_t limit;
	struct writeback *wb = writeback_of(volume);
	if (w->inode->type != INODE_FILE)
		return w->inode->type == INODE_DIRECTORY ? -EISDIR : -EINVAL;
	if (!volume_filesystem(volume)->writing || !volume_writable(volume) || wb->closed)
		return -EROFS;
	limit = volume_filesystem(volume)->writing->size_max(w->inode);
	if (w->offset > limit || w->len > limit - w->offset)
		return -EFBIG;
	return writeback_prepare(wb);
}

// Times are set when the bytes are there. Nobody has prepared anything for a file without a name.
static void written(struct inode *inode)
{
	uint64_t now = clock_realtime_ns();
	spin_lock_wtd(&cache.lock);
	inode->mtime_sec = (int64_t)(now / NS_PER_SEC);
	inode->mtime_nsec = (uint32_t)(now % NS_PER_SEC);
	dirty_inode(inode_page_owner(inode));
	spin_unlock_wtd(&cache.lock);
	if (inode->links || inode->server_data)
		inode_changed(inode);
}

int write_take(struct file_write *w)
{
	struct inode *inode = w->inode;
	struct volume *volume = inode->volume;
	struct taking t = {.write = w, .wb = writeback_of(volume), .allowed = w->granted};
	bool took = false, filled = false, gap;
	int status = may_write(w);
	if (w->granted)
		dirty_use_grant(w);
	inode_get(inode); // the write may be over before we are
	while (!status && (w->len || w->zero_tail || w->zero_to || w->touch)) {
		struct piece p = next_piece(w, filled, &gap);
		status = take_piece(&t, &p);
		filled |= gap;
		if (status || gap)
			continue;
		took |= p.bytes || w->touch;
		w->offset += p.bytes;
		w->bytes += p.bytes;
		w->len -= p.bytes;
		w->map_asked = false;
		w->zero_tail = w->touch = false;
		w->zero_to = 0;
	}
	if (status != -EAGAIN)
		refill_drop(w);
	if (t.promised)
		volume_filesystem(volume)->writing->unreserve(volume,
							      PAGE_SIZE / volume->block_bytes);
	writeback_settle(volume);
	if (took)
		written(inode);
	inode_put(inode);
	return status;
}

int file_write(struct file_write *w)
{
	ASSERT(w->stage == WRITE_IDLE);
	return write_take(w);
}

static void go_on(struct wtd *work)
{
	struct file_write *w = CONTAINER_OF(work, struct file_write, work);
	int status = w->status;
	w->stage = WRITE_IDLE;
	if (!status && !w->copy) {
		status = write_take(w);
		if (status == -EAGAIN)
			return;
	}
	if (status)
		refill_drop(w);
	w->status = status;
	w->done(w);
}

void write_tell(struct file_write *w, int status)
{
	w->stage = WRITE_TOLD;
	w->status = status;
	wtd_init(&w->work, go_on, "file_write");
	wtd_post_fast(&w->work);
}

void write_tell_waiting(struct page_owner *owner, int status)
{
	struct file_write *w = owner->changes.waiting, *next;
	owner->changes.waiting = NULL;
	for (; w; w = next) {
		next = w->next;
		write_tell(w, status);
	}
}

// Lock held.
static void leave_page(struct file_write *w)
{
	struct file_write **link = &inode_page_owner(w->inode)->changes.waiting;
	while (*link != w)
		link = &(*link)->next;
	*link = w->next;
}

bool file_write_cancel(struct file_write *w)
{
	bool cancelled = true;
	if (w->stage == WRITE_GET || w->stage == WRITE_REFILL)
		cancelled = refill_cancel(w);
	spin_lock_wtd(&cache.lock);
	if (w->stage == WRITE_ROOM)
		dirty_leave_room(writeback_of(w->inode->volume), w);
	else if (w->stage == WRITE_PAGE)
		leave_page(w);
	else if (w->stage == WRITE_TOLD)
		cancelled = wtd_cancel(&w->work);
	if (cancelled && w->granted)
		dirty_use_grant(w);
	if (cancelled)
		w->stage = WRITE_IDLE;
	spin_unlock_wtd(&cache.lock);
	if (cancelled)
		refill_drop(w);
	return cancelled;
}
