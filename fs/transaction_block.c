// SPDX-License-Identifier: BSD-2-Clause
// The blocks that a volume's journal has under way: found by number, each with the frames that hold its copies.
// A copy is a whole frame whatever the block's size, so that frames go back to everybody when they are home.
#include "fs/transaction_private.h"

#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"

#define BUCKETS_MIN 256U
#define BUCKETS_MAX 65536U

// The maximum is set when a volume is opened for writing: a quarter of all frames, for each of these blocks
// has a copy, and copies are kept below an eighth (transaction_open).
static struct pool block_pool = POOL_INIT("transaction-block", struct transaction_block, 0);

static struct transaction_block **bucket_of(const struct volume_log *log, uint64_t block)
{
	return &log->hash[(block * 0x9e3779b97f4a7c15UL >> 32) & log->hash_mask];
}

struct transaction_block *block_find(const struct volume_log *log, uint64_t block)
{
	struct transaction_block *b = *bucket_of(log, block);
	while (b && b->block != block)
		b = b->hash_next;
	return b;
}

struct transaction_block *block_add(struct volume_log *log, uint64_t block, void *data,
				    struct page *page)
{
	struct transaction_block *b = pool_alloc(&block_pool);
	if (!b)
		return NULL;
	b->block = block;
	b->data = data;
	b->page = page;
	spin_lock_wtd(&log->lock);
	ASSERT(!block_find(log, block));
	b->hash_next = *bucket_of(log, block);
	*bucket_of(log, block) = b;
	log->blocks++;
	meta_hold(page);
	spin_unlock_wtd(&log->lock);
	return b;
}

// Lock held. Is another block of the same page under way?
static bool page_needed(const struct volume_log *log, const struct transaction_block *gone)
{
	uint64_t per_page = PAGE_SIZE / log->volume->block_bytes;
	uint64_t first = ALIGN_DOWN(gone->block, per_page);
	for (uint64_t block = first; block < first + per_page; block++)
		if (block_find(log, block))
			return true;
	return false;
}

// Lock held.
static void block_drop(struct volume_log *log, struct transaction_block *b)
{
	struct transaction_block **link = bucket_of(log, b->block);
	while (*link != b)
		link = &(*link)->hash_next;
	*link = b->hash_next;
	log->blocks--;
	if (!page_needed(log, b))
		meta_release(b->page);
}

bool block_settled(struct volume_log *log, struct transaction_block *b)
{
	spin_lock_wtd(&log->lock);
	bool gone = !b->copy[0] && !b->copy[1] && !b->home && !b->writing && !b->on_home_list &&
		    !b->in_group[0] && !b->in_group[1] && !b->is_touched;
	if (gone)
		block_drop(log, b);
	spin_unlock_wtd(&log->lock);
	if (gone)
		pool_free(&block_pool, b);
	return gone;
}

void *copy_alloc(struct volume_log *log)
{
	void *copy = kpages_alloc(PAGE_SIZE);
	if (copy)
		__atomic_add_fetch(&log->copies, 1, __ATOMIC_RELAXED);
	return copy;
}

void copy_free(struct volume_log *log, void *copy)
{
	kpages_free(copy, PAGE_SIZE);
	__atomic_sub_fetch(&log->copies, 1, __ATOMIC_RELAXED);
}

int blocks_init(struct volume_log *log, uint32_t log_blocks)
{
	struct pmm_stats stats;
	uint32_t buckets = BUCKETS_MIN;
	pmm_stats(&stats);
	block_pool.maximum = (uint32_t)(stats.frames_total / 4);
	while (buckets < log_blocks / 4 && buckets < BUCKETS_MAX)
		buckets *= 2;
	log->hash = kpages_alloc(buckets * sizeof(*log->hash));
	log->hash_mask = buckets - 1;
	return log->hash ? 0 : -ENOMEM;
}

// After an error there are blocks that never got home: their pages are let go.
void blocks_stop(struct volume_log *log)
{
	for (uint32_t n = 0; n <= log->hash_mask; n++)
		for (struct transaction_block *b; (b = log->hash[n]);) {
			ASSERT(log->error && !b->in_group[0] && !b->in_group[1] && !b->writing);
			if (b->home)
				copy_free(log, b->home);
			b->home = NULL;
			b->on_home_list = false;
			(void)block_settled(log, b);
		}
	ASSERT(!log->blocks && !log->copies);
	kpages_free(log->hash, (log->hash_mask + 1) * sizeof(*log->hash));
	log->hash = NULL;
}
