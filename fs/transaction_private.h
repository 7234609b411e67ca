// SPDX-License-Identifier: BSD-2-Clause
// What the journal's writing half shares (fs/transaction.h is its contract).
//
//	transaction.c		 changes: begin, get, forget, end, cancel
//	transaction_block.c	 the blocks under way and their copies
//	freed.c			 what was freed and may not be given out yet
#pragma once

#include "fs/freed.h"
#include "fs/transaction.h"
#include "fs/volume_private.h"

// A block from its first change until it is home and no longer needed in the log. Its page is held in the
// cache meanwhile (meta_hold). Copies are frames of their own:
//
//	   first touched               commit starts            log written
//	(none) --------> copy[r]: undo -------------> copy[r]: to be logged ------> home ----> (none)
//	                    each change: what was                   the next group gets    written
//	                    there at its begin                      copy[1 - r]
//
// Lock key. X: the volume's lock, exclusive. J: log->lock. C: the commit, while its group is COMMITTING.
struct transaction_block {
	uint64_t block;
	struct transaction_block *hash_next; // (J)
	struct page *page;		     // held, but not wired
	void *data;			     // in the page
	struct transaction_block *next[2];   // (X) of a group's blocks, by its parity
	struct transaction_block *touched;   // (X) the open change's next
	void *copy[2];			     // (X, C) a group's
	void *home;			     // (J) committed, not home yet
	bool in_group[2];		     // (X, C)
	bool forgotten[2]; // (X, C) freed: not logged, and a revoke record if it ever was
	bool was_in_group, was_forgotten; // (X) before the open change
	bool is_touched, is_changed; // (X) by the open change; copy holds what was there before
};

// What goes into one commit.
struct transaction_group {
	uint64_t number; // ticket; (J) when it changes hands
	struct transaction_block *blocks;
	uint32_t count; // of them
	struct freed_set freed;
	uint32_t data_pending; // (J)
	bool changed;
};

// A volume's journal, while it may be written.
struct volume_log {
	struct volume *volume;
	struct spinlock lock;
	struct transaction_block **hash; // (J) buckets
	uint32_t hash_mask;
	uint32_t blocks, copies;     // (J) transaction blocks, and frames that hold copies
	struct transaction *open;    // (X) the change under way
	struct freed_run *open_runs; // (X) what it freed
	struct transaction_group group[2];
	unsigned running; // (X) which of the two; the other one is being committed, or empty
	int error;	  // (J) aborted with it
};
static inline struct volume_log *log_of(const struct volume *volume)
{
	return volume_private(volume)->log;
}
static inline struct transaction_group *running_group(struct volume_log *log)
{
	return &log->group[log->running];
}

// ---- transaction_block.c ----
// Any context but interrupt. Null: the block is not under way.
struct transaction_block *block_find(struct volume_log *log, uint64_t block);
// Its page goes from the caller to the block. Null: no memory (and the page is still the caller's).
struct transaction_block *block_add(struct volume_log *log, uint64_t block, void *data,
				    struct page *page) MUST_CHECK;
// Drops it when it has no copy and is in no group any more; true if so.
bool block_settled(struct volume_log *log, struct transaction_block *b);
// A block's worth of memory that a device may read; not zeroed.
void *copy_alloc(struct volume_log *log) MUST_CHECK;
void copy_free(struct volume_log *log, void *copy);
int blocks_init(struct volume_log *log, uint32_t log_blocks) MUST_CHECK;
void blocks_stop(struct volume_log *log);

// ---- meta.c ----
// As meta_get, for a block that is about to be written whole: not read if it can be helped.
int meta_get_fresh(struct volume *volume, uint64_t block, void **data,
		   struct page **page) MUST_CHECK;
// A page with blocks that are not home: it stays in the cache. Several blocks of a page count.
void meta_hold(struct page *page);
void meta_release(struct page *page);
void meta_clear_verified(struct page *page, const void *data);
// The block means something else now, or its page is not worth keeping: out of the cache if it can be.
void meta_forget(struct volume *volume, uint64_t block);

// ---- transaction.c ----
void runs_release(struct freed_run *run);
