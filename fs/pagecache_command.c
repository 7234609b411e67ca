// SPDX-License-Identifier: BSD-2-Clause
// From places to commands: in the order in which they lie on the disk, neighbours joined up to what the device
// takes at once, whichever file they belong to. Completion, in fast WTD context, says which pages are
// CLEAN. A command of several places that failed is repeated, each place by itself.
#include "fs/transaction.h"
#include "fs/volume_private.h"

#include "kernel/panic.h"

// Heap sort: no worst case, no memory.
static void sift(struct batch_place *heap, uint32_t at, uint32_t count)
{
	struct batch_place moving = heap[at];
	for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
		child += child + 1 < count && heap[child + 1].lba > heap[child].lba;
		if (heap[child].lba <= moving.lba)
			break;
		heap[at] = heap[child];
	}
	heap[at] = moving;
}

static void sort_places(struct batch_place *place, uint32_t count)
{
	for (uint32_t i = count / 2; i--;)
		sift(place, i, count);
	for (uint32_t last = count; last-- > 1;) {
		struct batch_place greatest = place[0];
		place[0] = place[last];
		place[last] = greatest;
		sift(place, 0, last);
	}
}

// Does place n continue the command that is being built, which has so many sectors?
static bool joins(const struct write_batch *b, uint32_t n, uint32_t sectors)
{
	const struct block_device *dev = b->wb->volume->dev;
	const struct batch_place *place = &b->place[n], *before = n ? place - 1 : NULL;
	return !b->single && sectors &&
	       before->lba + (before->bytes >> SECTOR_SHIFT) == place->lba &&
	       sectors + (place->bytes >> SECTOR_SHIFT) <= dev->max_sectors;
}

static void request_done(struct block_request *request);

// The commands for all places, or (single) for those that failed.
static void build(struct write_batch *b)
{
	const struct block_device *dev = b->wb->volume->dev;
	struct block_request *req = NULL;
	uint32_t sectors = 0;
	b->nreq = b->nseg = 0;
	for (uint32_t n = 0; n < b->places; n++) {
		struct batch_place *place = &b->place[n];
		if (b->single && !place->failed)
			continue;
		paddr_t addr = page_phys(b->page[place->page]) + place->offset;
		struct block_seg *seg = b->nseg ? &b->seg[b->nseg - 1] : NULL;
		bool joined = joins(b, n, sectors);
		if (joined && seg->addr + seg->bytes == addr) {
			seg->bytes += place->bytes;
			sectors += place->bytes >> SECTOR_SHIFT;
			continue;
		}
		seg = &b->seg[b->nseg++];
		*seg = (struct block_seg){.addr = addr, .bytes = place->bytes};
		if (joined && req->nsegs < dev->max_segs) {
			req->nsegs++;
			sectors += place->bytes >> SECTOR_SHIFT;
			continue;
		}
		b->first_place[b->nreq] = (uint16_t)n;
		req = &b->req[b->nreq++];
		*req = (struct block_request){.op = BLOCK_WRITE,
					      .segs = seg,
					      .nsegs = 1,
					      .lba = place->lba,
					      .done = request_done,
					      .context = b};
		sectors = place->bytes >> SECTOR_SHIFT;
	}
}

// True: all of it is over already.
static bool submit(struct write_batch *b)
{
	uint32_t nreq =
	    b->nreq; // the batch may be gone once the last is submitted but for our count
	struct block_device *dev = b->wb->volume->dev;
	__atomic_store_n(&b->pending, nreq + 1, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < nreq; i++)
		block_submit(dev, &b->req[i]);
	return !__atomic_sub_fetch(&b->pending, 1, __ATOMIC_ACQ_REL);
}

// Marks the places of commands that failed. True: some of them are worth a second try.
static bool mark_failed(struct write_batch *b)
{
	bool again = false;
	for (uint32_t i = 0; i < b->nreq; i++) {
		uint32_t n = b->first_place[i];
		uint32_t end = b->single || i + 1 == b->nreq ? n + 1 : b->first_place[i + 1];
		if (!b->single && i + 1 == b->nreq)
			end = b->places;
		for (uint32_t at = n; at < end; at++)
			b->place[at].failed = b->req[i].status != 0;
		b->status = b->req[i].status ? b->req[i].status : b->status;
		again |= b->req[i].status == -EIO && end - n > 1;
	}
	return again;
}

static struct batch_file *file_of(struct write_batch *b, uint32_t n)
{
	struct batch_file *f = b->file;
	while (n >= f->first + f->count)
		f++;
	return f;
}

// Lock held. Every page is CLEAN, or DIRTY again.
static void finish_pages(struct write_batch *b)
{
	for (uint32_t at = 0; at < b->places; at++) {
		struct page *page = b->page[b->place[at].page];
		if (!b->place[at].failed || page->state != PAGE_WRITING)
			continue;
		dirty_again(page);
		file_of(b, b->place[at].page)->status = b->status;
	}
	for (uint32_t n = 0; n < b->built; n++)
		if (b->page[n]->state == PAGE_WRITING)
			dirty_done(b->page[n]);
	writeback_figures.pages += b->built;
}

// The disk is done with the commands. True: there are more.
static bool finish(struct write_batch *b)
{
	struct volume *volume = b->wb->volume;
	bool again = mark_failed(b);
	if (again) {
		b->single = true;
		b->status = 0;
		build(b);
		return true;
	}
	b->fatal = b->status && b->status != -EIO;
	spin_lock_wtd(&cache.lock);
	finish_pages(b);
	spin_unlock_wtd(&cache.lock);
	for (uint32_t n = 0; n < b->built; n++)
		page_wire_put(b->page[n]);
	transaction_data_done(volume, b->ticket);
	writeback_ended(b);
	return false;
}

static void request_done(struct block_request *request)
{
	struct write_batch *b = request->context;
	if (__atomic_sub_fetch(&b->pending, 1, __ATOMIC_ACQ_REL))
		return;
	while (finish(b) && submit(b))
		;
}

void batch_submit(struct write_batch *b)
{
	b->single = false;
	b->status = 0;
	sort_places(b->place, b->places);
	build(b);
	spin_lock_wtd(&cache.lock);
	writeback_figures.batches++;
	writeback_figures.commands += b->nreq;
	spin_unlock_wtd(&cache.lock);
	bool more = submit(b);
	while (more && finish(b))
		more = submit(b);
}
