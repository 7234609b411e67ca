// SPDX-License-Identifier: BSD-2-Clause
// From DIRTY pages to places on the disk: one transaction for a batch of pages of several files. Blocks that
// are not there are allocated now, for a run of pages at a time and in ascending order, so that a file that
// was written in one go lies in one piece. The inodes get their sizes and times in the same transaction, and
// its commit waits for the data (ordered mode): after a crash a file is as long as what is written of it.
//
// A transaction takes a bounded number of runs. What does not fit stays DIRTY and comes with the next
// batch; all that was placed is on its way to the disk before the next transaction begins, so a commit
// that waits for data never waits for us.
#include "fs/transaction.h"
#include "fs/volume_private.h"

#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/timer.h"

#define AGAIN_MAX 5  // commits waited for, when nothing else gives room
#define RUNS_MAX  32 // allocations in one transaction, where the log is large enough

// One call of batch_place.
struct placing {
	struct write_batch *b;
	struct transaction t;
	const struct filesystem *fs;
	struct inode *inode; // of the file being placed
	struct fs_extent ext;
	uint32_t runs; // that may still be allocated
	uint32_t block_bytes, per_page;
};

static bool in_extent(const struct fs_extent *ext, uint64_t block)
{
	return block >= ext->file_block && block - ext->file_block < ext->count;
}

// From `block` to the end of the pages that follow each other: what to allocate in one go.
static uint64_t run_blocks(const struct placing *p, const struct batch_file *f, uint32_t n,
			   uint64_t block)
{
	uint64_t last = p->b->page[n]->index;
	while (++n < f->first + f->count && p->b->page[n]->index == last + 1)
		last++;
	uint64_t end = MIN((last + 1) << PAGE_SHIFT, f->limit);
	return (end + p->block_bytes - 1) / p->block_bytes - block;
}

// 0: ext has the block's place. -E2BIG: no more runs fit this transaction.
static int find_block(struct placing *p, const struct batch_file *f, uint32_t n, uint64_t block)
{
	if (in_extent(&p->ext, block))
		return 0;
	int error = p->fs->map(f->inode, block, &p->ext);
	if (!error && p->ext.hole) {
		if (!p->runs)
			return -E2BIG;
		p->runs--;
		error = p->fs->writing->allocate(&p->t, f->inode, block, run_blocks(p, f, n, block),
						 &p->ext);
	}
	if (!error && !in_extent(&p->ext, block))
		PANIC("%s: no place for block %lu of inode %lu", p->fs->name, (unsigned long)block,
		      (unsigned long)f->inode->number);
	if (error)
		p->ext.count = 0;
	return error;
}

// Blocks next to each other inside the page are one place.
static void add_place(struct write_batch *b, uint32_t n, uint32_t offset, uint32_t bytes,
		      uint64_t lba, bool first)
{
	struct batch_place *last = first ? NULL : &b->place[b->places - 1];
	if (last && last->lba + (last->bytes >> SECTOR_SHIFT) == lba) {
		last->bytes = (uint16_t)(last->bytes + bytes);
		return;
	}
	b->place[b->places++] = (struct batch_place){
	    .lba = lba, .page = (uint16_t)n, .offset = (uint16_t)offset, .bytes = (uint16_t)bytes};
}

// Page n, up to the last block that the file has of it.
static int place_page(struct placing *p, const struct batch_file *f, uint32_t n)
{
	struct write_batch *b = p->b;
	uint32_t places = b->places;
	for (uint32_t at = 0; at < PAGE_SIZE; at += p->block_bytes) {
		uint64_t byte = (b->page[n]->index << PAGE_SHIFT) + at;
		uint64_t block = byte / p->block_bytes;
		if (byte >= f->limit)
			break;
		int error = find_block(p, f, n, block);
		if (error) {
			b->places = places;
			return error;
		}
		uint64_t disk = p->ext.disk_block + (block - p->ext.file_block);
		add_place(b, n, at, p->block_bytes, disk * (p->block_bytes >> SECTOR_SHIFT), !at);
	}
	return 0;
}

// Lock held. What the disk may be told of the file's size: up to the first page that is neither written nor on
// its way with this transaction or one before it.
static uint64_t covered_size(const struct write_batch *b, const struct batch_file *f)
{
	const struct page_changes *c = &inode_page_owner(f->inode)->changes;
	uint64_t size = f->inode->size;
	if (c->first)
		size = MIN(size, c->low << PAGE_SHIFT);
	if (b->built < f->first + f->count)
		size = MIN(size, b->page[b->built]->index << PAGE_SHIFT);
	return size;
}

static int write_inode(struct placing *p, struct batch_file *f)
{
	struct page_changes *c = &inode_page_owner(f->inode)->changes;
	spin_lock_wtd(&cache.lock);
	f->old_disk_size = c->disk_size;
	f->was_grown = c->grown;
	if (c->grown)
		c->disk_size = MAX(c->disk_size, covered_size(p->b, f));
	if (c->grown && c->disk_size >= f->inode->size)
		c->grown = false;
	f->sized = true;
	spin_unlock_wtd(&cache.lock);
	return p->fs->writing->write_inode(&p->t, f->inode);
}

// All that the transaction has room for. The file that an error is about has it in its status.
static int place_files(struct placing *p)
{
	struct write_batch *b = p->b;
	int error = 0;
	for (uint32_t i = 0; i < b->files && !error; i++) {
		struct batch_file *f = &b->file[i];
		p->ext = (struct fs_extent){0};
		// A truncation may have come first; with the volume's lock ours, none comes now.
		f->limit = MIN(f->limit, f->inode->size);
		while (b->built < f->first + f->count && !error) {
			error = place_page(p, f, b->built);
			b->built += !error;
		}
		bool some = !f->count || b->built > f->first;
		if ((!error || error == -E2BIG) && some) {
			int e = f->write_inode ? write_inode(p, f) : 0;
			error = e ? e : error;
			b->placed_files = i + 1;
		}
		if (error && error != -E2BIG)
			f->status = error;
	}
	return error == -E2BIG ? 0 : error;
}

// The transaction is taken back, and with it what was remembered of the inodes: nothing of the batch was placed.
static void cancel(struct placing *p)
{
	struct write_batch *b = p->b;
	for (uint32_t i = 0; i < b->files; i++) {
		struct batch_file *f = &b->file[i];
		struct page_changes *c = &inode_page_owner(f->inode)->changes;
		spin_lock_wtd(&cache.lock);
		memcpy(inode_format_data(f->inode), f->format, sizeof(f->format));
		if (f->sized) {
			c->disk_size = f->old_disk_size;
			c->grown = f->was_grown;
		}
		spin_unlock_wtd(&cache.lock);
	}
	transaction_cancel(&p->t);
	b->built = b->places = b->placed_files = 0;
}

// Pages without a place are DIRTY again: as they were, or for later when their file has met an error.
static void return_pages(struct write_batch *b)
{
	spin_lock_wtd(&cache.lock);
	for (uint32_t i = b->files; i--;) {
		struct batch_file *f = &b->file[i];
		struct page_changes *c = &inode_page_owner(f->inode)->changes;
		uint32_t from = MAX(b->built, f->first), to = f->first + f->count;
		for (uint32_t n = to; n-- > from;) {
			if (f->status)
				dirty_again(b->page[n]);
			else
				dirty_return(b->page[n]);
		}
		for (uint32_t n = from; n < to; n++)
			page_wire_put(b->page[n]);
		bool whole = i < b->placed_files && from >= to;
		if (f->write_inode && !whole && !c->inode_dirty) {
			c->inode_dirty = true;
			c->inode_ns = clock_ns();
		}
		f->count = from < to ? from - f->first : f->count;
	}
	b->pages = b->built;
	spin_unlock_wtd(&cache.lock);
}

// The blocks that were promised to the placed pages are allocated.
static void take_promises(struct write_batch *b)
{
	struct volume *volume = b->wb->volume;
	uint64_t pages = 0;
	spin_lock_wtd(&cache.lock);
	for (uint32_t n = 0; n < b->built; n++) {
		pages += (b->page[n]->flags & PAGE_RESERVED) != 0;
		b->page[n]->flags &= (uint16_t)~PAGE_RESERVED;
	}
	for (uint32_t i = 0; i < b->placed_files; i++)
		inode_page_owner(b->file[i].inode)->changes.version++;
	spin_unlock_wtd(&cache.lock);
	if (pages)
		volume_filesystem(volume)->writing->unreserve(
		    volume, pages * (PAGE_SIZE / volume->block_bytes));
}

// As many allocations as the log takes; -E2BIG is found out once a volume.
static int begin(struct placing *p)
{
	struct writeback *wb = p->b->wb;
	const struct filesystem_writing *writing = p->fs->writing;
	uint32_t run = writing->credits(wb->volume, CHANGE_ALLOCATE);
	uint32_t inode = writing->credits(wb->volume, CHANGE_INODE);
	int error = -E2BIG;
	if (!wb->runs)
		wb->runs = RUNS_MAX;
	for (; wb->runs; wb->runs /= 2) {
		p->runs = wb->runs;
		error = transaction_begin(&p->t, wb->volume, p->runs * run + p->b->files * inode);
		if (error != -E2BIG)
			break;
	}
	return error;
}

// In one transaction, or not at all. b->fatal: the volume is of no use.
static int try_place(struct placing *p)
{
	struct write_batch *b = p->b;
	int error = !volume_writable(b->wb->volume) ? -EROFS : begin(p);
	b->fatal = error && error != -ENOMEM;
	for (uint32_t i = 0; i < b->files; i++)
		b->file[i].status = error;
	if (error)
		return error;
	for (uint32_t i = 0; i < b->files; i++)
		memcpy(b->file[i].format, inode_format_data(b->file[i].inode),
		       sizeof(b->file[i].format));
	error = place_files(p);
	if (error) {
		cancel(p);
	} else {
		b->ticket = transaction_data_begin(&p->t);
		transaction_end(&p->t);
		take_promises(b);
	}
	return error;
}

int batch_place(struct write_batch *b)
{
	struct volume *volume = b->wb->volume;
	struct placing p = {.b = b,
			    .fs = volume_filesystem(volume),
			    .block_bytes = volume->block_bytes,
			    .per_page = (uint32_t)PAGE_SIZE / volume->block_bytes};
	b->places = 0;
	int error = try_place(&p);
	// There is room, but only what a transaction freed that is not committed yet.
	for (unsigned tries = 0; error == -EAGAIN && tries < AGAIN_MAX; tries++)
		if (!transaction_wait_freed(volume))
			error = try_place(&p);
	for (uint32_t i = 0; error == -EAGAIN && i < b->files; i++)
		if (b->file[i].status == -EAGAIN)
			b->file[i].status = -ENOSPC;
	return_pages(b);
	return error == -EAGAIN ? -ENOSPC : error;
}
