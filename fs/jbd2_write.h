// SPDX-License-Identifier: BSD-2-Clause
// jbd2's log, written: transactions one after the other, as fs/journal.c (and e2fsck, and Linux) read them. Who
// calls knows what is in a transaction and how much room the log has; this knows what it looks like on the disk.
// Everything sleeps. One thread or worker at a time writes transactions; journal_tail may come from another one.
//
//	error = journal_begin(w, sequence);
//	error = journal_revoke(w, block);                  // any number, first
//	error = journal_put(w, block, copy);               // any number
//	error = journal_commit(w);                         // on the disk for good when it returns 0
//	... journal_tail(w, w->head, sequence + 1);        // once all of it is home, and flushed there
#pragma once

#include "fs/disk_batch.h"
#include "fs/journal.h"

#define JOURNAL_DESCRIPTORS 8 // descriptor and revoke blocks written at a time

struct journal_run { // log blocks that follow each other on the volume
	uint32_t first, count;
	uint64_t disk;
};

struct journal_writer {
	const char *name; // of the device, for messages
	struct block_device *dev;
	uint32_t block_bytes;
	uint32_t first, last; // log blocks: [first, last)
	uint32_t compat, incompat, csum_seed, tag_bytes;
	uint8_t *super;		  // block 0 as it is on the disk
	struct journal_run *runs; // ascending
	uint32_t run_count, last_run;
	size_t runs_bytes;
	struct disk_batch *batch, *super_batch;
	struct mutex super_lock;
	bool empty; // the superblock says there is nothing to replay

	uint32_t head;	  // the next log block to be written
	uint32_t written; // log blocks of this transaction
	uint32_t sequence;
	uint8_t *zero; // a block of zeros
	uint8_t *buffer[JOURNAL_DESCRIPTORS];
	uint32_t buffers_used;
	uint8_t *descriptor, *revoke; // the open ones, or null
	uint32_t offset;	      // where the next tag or record goes in it
	uint8_t *last_tag;
};

// What the format above says about the volume: the log's features are set by it, as Linux does.
struct journal_format {
	bool wide;	// block numbers of 64 bits
	bool checksums; // version 3
};
// The log must be empty, or have been replayed home; `sequence`: of the first transaction, if the log is to begin
// anew; 0: as its superblock says. 0, -EOPNOTSUPP (said by name), -EUCLEAN, -EIO, -ENOMEM.
int journal_writer_open(struct journal_writer *w, const struct journal_source *source,
			const struct journal_format *format, uint32_t sequence) MUST_CHECK;
void journal_writer_close(struct journal_writer *w); // gives the memory back, writes nothing

// Log blocks that a transaction of so many blocks and revoke records takes at most.
uint32_t journal_space(const struct journal_writer *w, uint32_t blocks, uint32_t revokes);
static inline uint32_t journal_log_blocks(const struct journal_writer *w)
{
	return w->last - w->first;
}

int journal_begin(struct journal_writer *w, uint32_t sequence) MUST_CHECK;
int journal_revoke(struct journal_writer *w, uint64_t block) MUST_CHECK;
// `copy` stays as it is until journal_commit returns, but for its first four bytes, when they are jbd2's magic:
// *escaped, and whoever owns the copy puts them back then (journal_unescape).
int journal_put(struct journal_writer *w, uint64_t block, void *copy, bool *escaped) MUST_CHECK;
void journal_unescape(void *copy);
// Everything that was written to the disk before is durable, too, when it returns 0.
int journal_commit(struct journal_writer *w) MUST_CHECK;
// The log begins at `start` with transaction `sequence` from now on; start 0: it is empty. Durable.
int journal_tail(struct journal_writer *w, uint32_t start, uint32_t sequence) MUST_CHECK;
// For the next who mounts: this one gave up with that error.
int journal_note_error(struct journal_writer *w, int error) MUST_CHECK;
