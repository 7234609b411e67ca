// SPDX-License-Identifier: BSD-2-Clause
// Changes of a volume's metadata, and how they get into the journal and home. Private to fs/.
//
// One change is made at a time on a volume: transaction_begin takes the volume's lock for itself, and
// everybody who only reads structures (look-ups, listings, map) holds it shared: volume_lock_shared.
// What one begin..end changes goes into one commit, with what others changed before the commit.
//
//	struct transaction t;
//	int error = transaction_begin(&t, volume, blocks);	  // sleeps
//	error = transaction_get(&t, block, &data, &page);	  // before the first byte is changed
//	... change data ...; page_wire_put(page);
//	if (error)
//		transaction_cancel(&t);			  // every block is as it was
//	else
//		transaction_end(&t);
//
//	            begin          end, cancel             commit starts
//	(idle) ---------> RUNNING ------------> (more) ----------------> COMMITTING --> on disk
//	                     ^                                              | log written, flushed
//	                     +-- a fresh one, at once: changes go on        v
//	                                                  CHECKPOINT: blocks go home, log space comes back
//
// A commit copies the blocks of its transaction aside (metadata is not file data) and then writes those
// copies: first to the log, later home; so the pages may change again at once, and what goes home is never
// newer than what was committed. A page whose block is not home yet is DIRTY and stays in the cache.
// Ordered mode: file data that a transaction allocated blocks for is on the disk before its commit block.
#pragma once

#include "fs/file.h"
#include "fs/filesystem.h"
#include "fs/jbd2_write.h"

struct transaction_block; // transaction.c's: one block of the running transaction

struct transaction {
	struct volume *volume;
	uint32_t credits;		 // blocks it may still take
	struct transaction_block *first; // touched since begin, with what they held before
	uint32_t count;
};

// Sleeps: for the lock, for log space, for memory. `blocks` bounds how many different blocks it may touch
// (more is a panic: ours). 0, -EROFS (never writable, or no more: the journal was aborted), -E2BIG (never fits
// the log).
int transaction_begin(struct transaction *t, struct volume *volume, uint32_t blocks) MUST_CHECK;
// The volume's lock goes. cancel puts back every byte as it was at begin; inodes in memory that were changed
// are the caller's to put right (before the cancel).
void transaction_end(struct transaction *t);
void transaction_cancel(struct transaction *t);

// Sleeps. The metadata block for changing, wired; end with page_wire_put. `fresh`: it had no metadata meaning
// before (just allocated): not read, zeroed. Its checksum is the caller's to compute before the end of
// the transaction (ext4_write.h has the function for each kind).
int transaction_get(struct transaction *t, uint64_t block, void **data,
		    struct page **page) MUST_CHECK;
int transaction_get_fresh(struct transaction *t, uint64_t block, void **data,
			  struct page **page) MUST_CHECK;
// The blocks are metadata no more (freed): a replay must not bring them back (revoke record), and
// their pages leave the cache. -ENOMEM. For blocks of file data only `was_metadata` false: no revoke.
int transaction_forget(struct transaction *t, uint64_t block, uint64_t count,
		       bool was_metadata) MUST_CHECK;
// True while the block was freed by a transaction that is not committed: it may not be given out again.
// *until: the first block for which the answer is another one (UINT64_MAX: none).
bool transaction_freed_recently(struct volume *volume, uint64_t block, uint64_t *until);

// File data written to blocks that transaction `t` (still open) allocated, or that were there: its commit waits for the
// matching transaction_data_done, from any context but interrupt, with the ticket that _begin gave. There is a commit
// even if nothing else changed, for its flush is what makes that data durable.
uint64_t transaction_data_begin(struct transaction *t);
void transaction_data_done(struct volume *volume, uint64_t ticket);

// Any context. Something that must not be found wrong was found wrong, or the log cannot be written:
// nothing more is committed, the volume is read-only from now on, everybody who waits gets -EIO.
void transaction_abort(struct volume *volume, int error, const char *why);

// Sleeps. Readers of structures; name.c, inode.c, pagecache_plan.c and who lists. Nests inside a change of the same
// thread, and in nothing else (docs/locks.md).
void volume_lock_shared(struct volume *volume);
void volume_unlock_shared(struct volume *volume);

// Thread or worker context, sleeps, outside a change: everything changed up to now is committed and home.
int transaction_settle(struct volume *volume) MUST_CHECK;
// Thread or worker context, sleeps, outside a change: until what was freed up to now may be given out again. For
// who found no space. 0, -EROFS, -EIO.
int transaction_wait_freed(struct volume *volume) MUST_CHECK;

// Mounting and the end. open: the log was replayed home, ext4 says where it lies. 0 or an error.
struct transaction_log {
	const struct journal_source *source;
	struct journal_format format;
	uint32_t sequence; // of the first transaction to come; 0: as the log's superblock says
};
int transaction_open(struct volume *volume, const struct transaction_log *log) MUST_CHECK;
// Commits, writes everything home, marks the log empty. Sleeps. After it the volume is read-only. -EIO: not all
// of it could be written, the log is as it was and has what was promised.
int transaction_close(struct volume *volume) MUST_CHECK;
// The volume goes: what transaction_close left in memory.
void transaction_free(struct volume *volume);
