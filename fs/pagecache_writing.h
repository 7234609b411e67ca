// SPDX-License-Identifier: BSD-2-Clause
// The page cache's writing half: what its files share with each other and with file.c and transaction.c.
//
//	pagecache_dirty.c      which pages are DIRTY: lists, the ceiling, who waits for room
//	pagecache_write.c      file_write: bytes into pages
//	pagecache_refill.c     old bytes of a page that is written in part, by DMA
//	pagecache_truncate.c   the end of a file moves down: pages go, the last one ends in zeros
//	pagecache_writeback.c  when and what is written behind: delay, ceiling, errors
//	pagecache_sync.c       who waits for it: file_sync, SYNC, the end of a volume
//	pagecache_batch.c      from DIRTY pages to places on the disk, in a transaction
//	pagecache_command.c    from places to commands in order, and their completion
//
// A file with DIRTY pages is on one of its volume's two lists:
//
//	            first page DIRTY              3.3 s, or a sync, or a megabyte, or the ceiling
//	(on none) -------------------> LATER ---------------------------------------------------> NOW
//	    ^                            ^                                                         |
//	    | nothing left               | some left, or an error: later                           |
//	    +----------------------------+---------------- in a struct write_batch <---------------+
#pragma once

#include "fs/file.h"
#include "kernel/block.h"
#include "kernel/thread.h"

struct page_owner;
struct transaction;
struct write_batch;

enum writeback_queue { WB_NONE, WB_LATER, WB_NOW };

// What page_owner keeps of a file that is written. All zero: nothing was, or all is on the disk.
struct page_changes {
	struct page *first, *last;	// (C) DIRTY pages, oldest first, linked as the LRU is
	uint64_t dirty;			// (C) how many
	uint64_t low;			// (C) no DIRTY page has a smaller index
	struct page_owner *next, *prev; // (C) of the volume's list
	uint64_t due_ns;		// (C) LATER: when it is to be written
	uint64_t inode_ns;		// (C) `inode_dirty`: since when
	struct file_sync *syncs;	// (C) oldest first
	struct file_write *refills;	// (C) reading old bytes of a page
	struct file_write *waiting;	// (C) for a page to be written, for the end of a truncation
	uint64_t version;		// (C) goes up when pages or their places change
	uint64_t disk_size;		// (C) `grown`: bytes below are on the disk or on their way
	int error;			// (C) met since the last file_sync
	uint32_t batches;		// (C) struct write_batch with something of this file
	uint8_t queue;			// (C) enum writeback_queue
	uint8_t failures;		// (C) batches that failed in a row
	bool ascending;			// (C) the list is in order of the index, too
	bool grown;			// (C) inode->size is not to be written yet: disk_size is
	bool inode_dirty;		// (C) size or times are not in a transaction yet
	bool hurry;			// (C) somebody waits for a DIRTY page of it to be CLEAN
	bool truncating;		// (C)
};

// What a volume keeps of writing behind; in struct volume_private.
struct writeback {
	struct volume *volume;
	struct writeback *next;			     // (C) of all that were ever used
	struct page_owner *now_first, *now_last;     // (C)
	struct page_owner *later_first, *later_last; // (C) by due_ns
	uint64_t dirty;				     // (C) pages DIRTY or WRITING
	struct file_write *room_first,
	    *room_last;		     // (C) who waits for room, first come, first served
	uint64_t hurry_ns;	     // (C) what was DIRTY by then is due
	uint64_t armed_ns;	     // (C) when the worker comes by itself; 0: it does not
	uint64_t forgotten;	     // (C) pages whose reservation is to be given back
	struct write_batch *idle;    // (C)
	uint32_t batches, in_flight; // (C) made; not idle
	uint32_t most;		     // (C) batches that there may be; fewer when memory is short
	uint32_t runs;		     // allocations that fit one transaction; the worker's
	uint64_t lost;		     // (C) pages that could not be written
	bool running, again;	     // (C) the worker
	bool closed;		     // (C) nothing more is taken
	struct waitq waitq;	     // for batches to end, with nothing dirty
	struct wtd work;
};

// ---- for file_truncate.c, file_allocate.c and file_punch.c: pagecache_truncate.c. Thread or worker context ----
// The caller must not hold the volume's lock (a transaction, volume_lock_shared): these wait for pages
// that are read or written, and that may need it. The order that file_truncate keeps:
//
//	pagecache_truncate_begin(inode);	who writes to the file waits from here on
//	a transaction: inode->size = size, orphan_add, write_inode
//	pagecache_truncate(inode, size);
//	transactions: truncate_step
//	pagecache_truncate_end(inode);
//
// One at a time; begin waits for another's end.
void pagecache_truncate_begin(struct inode *inode);
void pagecache_truncate_end(struct inode *inode);
// inode->size is `from` or less already (an inode that nobody can find: whatever it is). When it returns,
// no page beyond is in the cache, being read or being written; DIRTY ones were dropped and what was
// reserved for them given back. The rest of the page in which the file now ends is zeros, also on the disk
// once it was written. 0, or -EIO, -ENOMEM: that page could not be read.
int pagecache_truncate(struct inode *inode, uint64_t from) MUST_CHECK;
// For file_punch.c, between begin and end, with nothing DIRTY: pages [first, end) leave the cache, as above; and zeros
// for bytes [from, to) of one page, as far as the file has them, which make it DIRTY. 0, -EIO, -ENOMEM, -ENOSPC.
void pagecache_punch(struct inode *inode, uint64_t first, uint64_t end);
int pagecache_zero(struct inode *inode, uint64_t from, uint64_t to) MUST_CHECK;

// ---- for volume.c ----
void writeback_init(struct writeback *wb, struct volume *volume); // thread context
void writeback_stop(struct writeback *wb); // thread context, may sleep; nothing is dirty
// ---- for who ends a volume's writing, before transaction_close: pagecache_writeback.c. Sleeps ----
// Writes everything; from its beginning on file_write gives -EROFS. What cannot be written is dropped. 0 or
// -EIO: something was lost.
int writeback_close(struct volume *volume);
void writeback_open(
    struct volume *volume); // takes the closing back, for a mount that failed; tests
// Everything that was dirty when it was called is with the disk, or has failed once more: -EIO. Sleeps.
int writeback_all(struct volume *volume) MUST_CHECK;

// ---- pagecache_dirty.c ----
#define WRITE_DELAY_NS                                                                             \
	(3300 * NS_PER_MS)    // how long a change may wait for others before it is written
#define STREAM_PAGES	256UL // 1 MB of one file: written at once, the disk may as well begin
#define DIRTY_PAGES_MAX (BIT(28) >> PAGE_SHIFT) // 256 MB: what a slow disk can be made to owe
struct writeback *writeback_of(struct volume *volume); // any context
// Lock not held.
void writeback_register(struct writeback *wb);
void writeback_unregister(struct writeback *wb);
// Lock held, from here on to writeback_settle.
// A page of a file, CLEAN and on the LRU (or just inserted), becomes DIRTY. `reserved`: the volume keeps
// blocks for it.
void dirty_add(struct page *page, bool reserved);
// A WRITING page is DIRTY again. again: it could not be written, and is the newest; return: it was not
// tried, and is the oldest.
void dirty_again(struct page *page);
void dirty_return(struct page *page);
// DIRTY -> WRITING: off the file's list, wired for the disk.
void dirty_take(struct page *page);
// WRITING -> CLEAN; the disk's wire is still there.
void dirty_done(struct page *page);
// A DIRTY page leaves the cache unwritten (cache_unhash does the rest).
void dirty_forget(struct page *page);
// The content of page `index` changed, or its page went: old bytes that are being read are old no more.
void changes_made(struct page_owner *owner, uint64_t index);
void dirty_inode(struct page_owner *owner); // size or times are to be written
// Puts the file on the list where it belongs now, and sees to it that the worker comes in time.
void dirty_requeue(struct page_owner *owner);
void dirty_unqueue(struct page_owner *owner);
// Something of the file that changed by that time is in no batch yet.
bool dirty_before(const struct page_changes *c, uint64_t ns);
bool dirty_room(const struct writeback *wb); // may one more page become DIRTY?
bool dirty_much(const struct writeback *wb); // the disk should not wait any longer
void dirty_wait_room(struct writeback *wb, struct file_write *write);
void dirty_leave_room(struct writeback *wb, struct file_write *write); // cancelled
void dirty_use_grant(struct file_write *write);			       // it goes on, or does not
void dirty_wake_room(void); // fewer pages are DIRTY: who waited may go on
// Lock not held. Gives back what was reserved for pages that were forgotten.
void writeback_settle(struct volume *volume);

// ---- pagecache_write.c; lock held ----
// `write` is on no list any more: its WTD goes on with it, or ends it with the error.
void write_tell(struct file_write *write, int status);
void write_tell_waiting(struct page_owner *owner, int status); // all of changes.waiting
// Lock not held. As file_write, for pagecache_truncate.
int write_take(struct file_write *write) MUST_CHECK;

// ---- pagecache_refill.c ----
enum write_stage { WRITE_IDLE, WRITE_ROOM, WRITE_PAGE, WRITE_GET, WRITE_REFILL, WRITE_TOLD };
struct page_read;
// Lock held. What page write->index holds on the disk is to be read into a page that nobody else knows.
// -EAGAIN, and write_tell comes: read_start(*then) when the lock is dropped. -EBUSY: no memory now;
// read_free(*then) if there is one.
int refill_start(struct file_write *write, struct page_owner *owner,
		 struct page_read **then) MUST_CHECK;
// Lock held. The page, or the page of zeros, is the caller's now with its wire.
struct page *refill_use(struct file_write *write);
void refill_drop(struct file_write *write); // lock not held; nothing: fine
// Lock held. write_tell comes when the page is not READING any more.
void refill_wait_read(struct file_write *write, struct page *page);
// Lock not held. write_tell comes when the format knows where the page lies.
void refill_ask_map(struct file_write *write, struct page_owner *owner, uint64_t index);
bool refill_cancel(struct file_write *write) MUST_CHECK; // lock not held. False: write_tell comes

// ---- pagecache_truncate.c ----
void truncate_wake(void); // lock held: pages are not READING or WRITING any more

// ---- pagecache_writeback.c ----
// Lock held. The worker comes when it should; memory is short: everything DIRTY is due.
void writeback_kick(struct writeback *wb);
void writeback_hurry(void);
// Lock not held. What writing behind cannot do without, before the first page becomes DIRTY. 0 or -ENOMEM.
int writeback_prepare(struct writeback *wb) MUST_CHECK;
// pagecache_sync.c's. Lock held. Tells whoever has waited for what is now over.
void sync_check(struct page_owner *owner);
// Lock not held. A batch came to its end; its pages are what they are.
void writeback_ended(struct write_batch *batch);
extern struct writeback_figures {
	uint64_t pages, commands, batches, errors, lost_pages, dropped_pages, room_waits,
	    page_waits, refills, replaced, syncs, errors_told;
} writeback_figures; // (C)

// ---- pagecache_batch.c, pagecache_command.c ----
#define BATCH_PLACES 256 // runs of sectors: pages, with blocks of 4 KB
#define BATCH_FILES  32
struct batch_file {
	struct inode *inode;   // with a reference
	uint32_t first, count; // of the batch's pages, ascending by index
	uint64_t limit;	       // the file's size when they were taken
	bool write_inode;
	int status; // why its pages are DIRTY again
	// batch_place's, for when the transaction is cancelled.
	bool sized, was_grown;
	uint64_t old_disk_size;
	uint64_t format[INODE_FORMAT_BYTES / 8];
};
struct batch_place {
	uint64_t lba;
	uint16_t page, offset, bytes;
	bool failed;
};
// Pages on their way to the disk.
//
//	       collect             places known, transaction ended       all commands done
//	idle ----------> FILLING ----------------------------> ON DISK ---------------------> idle
//	                    | error: pages DIRTY again            ^ | some failed, of several pages:
//	                    +----------------> idle               +-+ each place by itself
struct write_batch {
	struct writeback *wb;
	struct write_batch *next;
	uint32_t files, pages, places, nreq, nseg;
	uint32_t built;	       // pages [0, built) have their places
	uint32_t placed_files; // files [0, placed_files) have some
	uint64_t ticket;       // transaction_data_begin's
	uint32_t pending;      // (W) commands on the disk, and one for who submits them
	bool single;	       // the second time: a command for each place
	bool fatal;	       // no use trying again
	int status;
	struct batch_file file[BATCH_FILES];
	struct page *page[BATCH_PLACES];
	struct batch_place place[BATCH_PLACES];
	struct block_request req[BATCH_PLACES];
	struct block_seg seg[BATCH_PLACES];
	uint16_t first_place[BATCH_PLACES]; // of each command
};
// Sleeps. Finds and allocates where the pages go, as far as one transaction reaches, and writes the inodes.
// Nothing could be placed: the error, and the batch holds what it held.
int batch_place(struct write_batch *batch) MUST_CHECK;
void batch_submit(struct write_batch *batch); // ends in writeback_ended
