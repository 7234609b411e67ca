// SPDX-License-Identifier: BSD-2-Clause
// Reads that fill pages: the disk's DMA goes straight into the frames. See struct page_read in
// pagecache_private.h for its life. While a read is on the disk each of its pages carries one wire
// reference, the disk's.
#include "fs/pagecache_private.h"

#include "kernel/panic.h"
#include "kernel/pool.h"

// Reads in flight: a demand read for each of some hundred clients that miss at once, and eight for each
// read-ahead of a megabyte. Who finds none waits for one (GET_QUEUED); read-ahead does without.
#define READS_MAX 1024

static struct pool read_pool = POOL_INIT("page-read", struct page_read, READS_MAX);

static void run(struct page_read *read, bool may_sleep);

struct page_read *read_alloc(struct page_owner *owner, uint64_t first)
{
	struct page_read *read = pool_alloc(&read_pool);
	if (!read)
		return NULL;
	read->owner = owner;
	read->first = first;
	if (owner->inode)
		inode_get(owner->inode);
	__atomic_add_fetch(&cache.reads, 1, __ATOMIC_RELAXED);
	return read;
}

void read_free(struct page_read *read)
{
	struct inode *inode = read->owner->inode;
	pool_free(&read_pool, read);
	__atomic_sub_fetch(&cache.reads, 1, __ATOMIC_RELAXED);
	if (inode)
		inode_put(inode);
	get_restart_queued();
}

// Lock held. The frame goes back to be EMPTY; it is freed when the disk's reference is dropped.
static void abandon(struct page *page)
{
	if (!(page->flags & PAGE_DETACHED)) {
		cache_unhash(page);
		page->flags |= PAGE_DETACHED;
	}
	page->state = PAGE_EMPTY;
}

// Lock held. Page n has what it can have.
static void finish_page(struct page_read *read, uint32_t n)
{
	struct page *page = read->page[n];
	if (read->status) {
		get_finish_all(page, NULL, read->status);
		abandon(page);
	} else if (read->hole & BIT(n)) {
		if (!(page->flags & PAGE_DETACHED) &&
		    read->owner->changes.version == read->version) {
			read->owner->hole_first = read->hole_first;
			read->owner->hole_end = read->hole_end;
		}
		cache.holes++;
		get_finish_all(page, cache.zero, 0);
		abandon(page);
	} else {
		cache_publish(page);
		get_finish_all(page, page, 0);
	}
}

// Several pages failed together: those that somebody waits for are read once more, each by itself, so
// that one bad sector costs one page. The rest was read-ahead and is forgotten.
static void retry_singly(struct page_read *read)
{
	spin_lock_wtd(&cache.lock);
	read->single = true;
	read->built = read->start;
	cache.retried++;
	spin_unlock_wtd(&cache.lock);
}

// Lock held. In single mode: is page n worth reading?
static bool nobody_wants(const struct page_read *read, uint32_t n)
{
	return read->single && !read->page[n]->waiters;
}

// The disk is done with [start, built). True: there is more to read.
static bool finish_stretch(struct page_read *read)
{
	uint32_t from = read->start;
	if (!read->status)
		plan_finish(read);
	if (read->status && read->built - from > 1) {
		retry_singly(read);
		read->status = 0;
	}
	spin_lock_wtd(&cache.lock);
	if (read->status)
		cache.read_errors++;
	for (uint32_t n = from; n < read->built; n++)
		finish_page(read, n);
	while (read->built < read->count && nobody_wants(read, read->built)) {
		abandon(read->page[read->built]);
		read->built++;
	}
	read->start = read->built;
	truncate_wake();
	spin_unlock_wtd(&cache.lock);
	for (uint32_t n = from; n < read->start; n++)
		page_wire_put(read->page[n]);
	read->status = 0;
	if (read->start < read->count)
		return true;
	read_free(read);
	return false;
}

// Block completion, fast WTD context; or from inside block_submit.
static void request_done(struct block_request *request)
{
	struct page_read *read = request->context;
	if (request->status)
		read->status = -EIO;
	if (__atomic_sub_fetch(&read->pending, 1, __ATOMIC_ACQ_REL))
		return;
	if (finish_stretch(read))
		run(read, false);
}

// True: all of it is over already.
static bool submit(struct page_read *read)
{
	uint32_t nreq =
	    read->nreq; // read may be gone once the last one is submitted but for our count
	__atomic_store_n(&read->pending, nreq + 1, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < nreq; i++) {
		read->req[i].op = BLOCK_READ;
		read->req[i].done = request_done;
		read->req[i].context = read;
		block_submit(read->owner->volume->dev, &read->req[i]);
	}
	return !__atomic_sub_fetch(&read->pending, 1, __ATOMIC_ACQ_REL);
}

static void run_in_worker(struct wtd *work)
{
	run(CONTAINER_OF(work, struct page_read, work), true);
}

static void run(struct page_read *read, bool may_sleep)
{
	do {
		int status = plan_stretch(read, may_sleep);
		if (status == -EAGAIN) {
			wtd_init(&read->work, run_in_worker, "page read");
			wtd_post(&read->work);
			return;
		}
		read->status = status;
		if (!status && !submit(read))
			return;
	} while (finish_stretch(read));
}

void read_start(struct page_read *read)
{
	ASSERT(read->count && read->count <= READ_PAGES);
	run(read, false);
}
