// SPDX-License-Identifier: BSD-2-Clause
// What the journal's writing half shares (fs/transaction.h is its contract).
//
//	transaction.c		 changes: begin, get, forget, end, cancel
//	transaction_block.c	 the blocks under way and their copies
//	transaction_commit.c	 from the running group to the log
//	transaction_home.c	 from the log to where the blocks belong
//	transaction_wait.c	 tickets, and who waits for them; the end by an error
//	transaction_open.c	 mounting and the end
//	freed.c			 what was freed and may not be given out yet
//	jbd2_write.c		 the log's format; disk_batch.c: many writes at once
#pragma once

#include "fs/freed.h"
#include "fs/jbd2_write.h"
#include "fs/transaction.h"
#include "fs/volume_private.h"

#include "kernel/timer.h"

// What nobody waits for is committed after so long, and goes home so long after the last commit.
#define COMMIT_DELAY_NS (5 * NS_PER_SEC)

// A block from its first change until it is home and no longer needed in the log. Its page is held in the
// cache meanwhile (meta_hold). Copies are frames of their own:
//
//	   first touched               commit starts            log written
//	(none) --------> copy[r]: undo -------------> copy[r]: to be logged ------> home ----> (none)
//	                    each change: what was                   the next group gets    written
//	                    there at its begin                      copy[1 - r]
//
// Lock key. X: the volume's lock, exclusive. J: log->lock. C: the commit, while the group is COMMITTING. H: the
// worker that writes home.
struct transaction_block {
	uint64_t block;
	struct transaction_block *hash_next; // (J)
	struct page *page;		     // held, but not wired
	void *data;			     // in the page
	struct transaction_block *next[2];   // (X, C) of a group's blocks
	struct transaction_block *touched;   // (X) the open change's next
	void *copy[2];			     // (X, C) a group's
	void *home;			     // (J) committed, not home yet
	struct transaction_block *home_next; // (J) of those with `home`; (H) of those being written
	void *writing;			     // (J) on its way home
	bool on_home_list;		     // (J)
	bool in_group[2];		     // (X, C)
	bool forgotten[2]; // (X, C) freed: not logged, and a revoke record if it ever was
	bool was_in_group, was_forgotten; // (X) before the open change
	bool is_touched, is_changed; // (X) by the open change; copy holds what was there before
	bool escaped;		     // (C)
};

// What goes into one commit.
struct transaction_group {
	uint64_t number; // (J) ticket; its low half is the sequence number in the log
	struct transaction_block *blocks; // (X, C)
	uint32_t count;			  // (X, C) of them
	struct freed_set freed;		  // (J)
	uint32_t data_pending;		  // (J)
	bool changed;			  // (X)
};

// A volume's journal, while it may be written. Two workers, each alone at what it does:
//
//	commit: asked for by who waits, by the timer, by who needs room
//	home:   asked for by the commit when much is not home, by the timer, by who needs room
struct volume_log {
	struct volume *volume;
	struct spinlock lock;
	struct transaction_block **hash; // (J) buckets
	uint32_t hash_mask;
	uint32_t blocks, copies;     // (J) transaction blocks, (atomic) frames that hold copies
	struct transaction *open;    // (X) the change under way
	struct freed_run *open_runs; // (X) what it freed
	struct transaction_group group[2];
	unsigned running;   // (X, J) which of the two; the other one is being committed, or empty
	uint64_t committed; // (J) tickets up to here are kept
	int error;	    // (J) given up with it
	const char *why;    // (J)
	bool error_noted;   // (C)
	bool closing;	    // (J) no more changes
	struct durable *waiters; // (J)

	struct journal_writer writer;
	uint32_t log_blocks, group_max,
	    copies_max;		   // constant: of the log; blocks of a group; frames of copies
	uint32_t used;		   // (J) log blocks from the tail to the last commit
	uint32_t committing_space; // (J) log blocks that the commit under way may still need

	bool commit_wanted, commit_busy; // (J)
	struct wtd commit_work, commit_timer;
	struct waitq data_wait; // the commit, for data

	bool home_wanted, home_busy; // (J)
	bool home_writing;	     // (J) old contents may be on their way home
	struct wtd home_work, home_timer;
	struct disk_batch *home_batch;
	struct transaction_block *home_list; // (J) with `home`
	struct freed_set
	    draining;	  // (J) freed and committed, but an older content may be on its way home
	uint32_t log_end; // (J) log block behind the last commit

	uint64_t room_events; // (J) how often something came free
	struct waitq room;    // who waits for that, or for a worker to be idle
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
// Lock held. Null: the block is not under way.
struct transaction_block *block_find(const struct volume_log *log, uint64_t block);
// Its page goes from the caller to the block. Null: no memory (and the page is still the caller's).
struct transaction_block *block_add(struct volume_log *log, uint64_t block, void *data,
				    struct page *page) MUST_CHECK;
// Drops it when it has no copy, is in no group, and no open change knows it; true if so.
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

// ---- transaction_commit.c, transaction_home.c: any context but interrupt ----
void commit_request(struct volume_log *log); // now
void commit_soon(struct volume_log *log);    // within five seconds
void home_request(struct volume_log *log);   // now
void home_soon(struct volume_log *log); // what is committed, unless more is: after five seconds
void commit_init(struct volume_log *log);
void home_init(struct volume_log *log);
uint32_t log_space_for(const struct volume_log *log, uint32_t blocks); // log blocks for a group

// ---- transaction_wait.c ----
// Lock held. Something came free, or a worker is idle.
void room_changed(struct volume_log *log);
// Those whose ticket is kept are told, or all of them after an error.
void waiters_tell(struct volume_log *log);
