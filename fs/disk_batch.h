// SPDX-License-Identifier: BSD-2-Clause
// Several writes to a disk at once, for who may sleep: what the journal writes to its log and home. Pieces that
// follow each other on the disk become one request.
//
//	while (more) {
//		if (!batch_add(batch, lba, memory, bytes))      // full
//			error = batch_run(batch);               // sleeps until all of it is written
//		...
//	}
#pragma once

#include "kernel/block.h"
#include "kernel/lock.h"
#include "kernel/thread.h"

#define BATCH_REQUESTS 16
#define BATCH_SEGS     64 // of a request: 256 KB in blocks of 4 KB

struct disk_batch {
	struct block_device *dev;
	uint32_t count;	  // requests built
	uint32_t pending; // (L) of them not over
	int status;	  // (L) the first error
	struct spinlock lock;
	struct waitq waitq;
	uint32_t sectors[BATCH_REQUESTS];
	struct block_request request[BATCH_REQUESTS];
	struct block_seg seg[BATCH_REQUESTS][BATCH_SEGS];
};

struct disk_batch *batch_make(struct block_device *dev) MUST_CHECK; // null: no memory
void batch_free(struct disk_batch *batch);			    // null is fine
// False: no room, nothing added. `memory` is direct-map memory and must not change until batch_run returns.
bool batch_add(struct disk_batch *batch, uint64_t lba, const void *memory,
	       uint32_t bytes) MUST_CHECK;
// Requests that can still be begun.
static inline uint32_t batch_room(const struct disk_batch *batch)
{
	return BATCH_REQUESTS - batch->count;
}
// Sleep; the batch is empty afterwards. fua: durable when it returns.
int batch_run(struct disk_batch *batch, bool fua) MUST_CHECK;
int batch_flush(struct disk_batch *batch) MUST_CHECK; // the disk's cache; nothing may be added
