// SPDX-License-Identifier: BSD-2-Clause
// Batches of disk writes (fs/disk_batch.h). Thread and worker context; completions are fast WTDs.
#include "fs/disk_batch.h"

#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/vmm.h"

struct disk_batch *batch_make(struct block_device *dev)
{
	struct disk_batch *batch = kpages_alloc(sizeof(*batch));
	if (!batch)
		return NULL;
	batch->dev = dev;
	batch->lock = (struct spinlock)SPINLOCK_INIT("disk batch", RANK_BLOCK);
	waitq_init(&batch->waitq);
	return batch;
}

void batch_free(struct disk_batch *batch)
{
	if (batch)
		kpages_free(batch, sizeof(*batch));
}

// Onto the last request, if it goes on where that one ends.
static bool join(struct disk_batch *batch, uint64_t lba, paddr_t addr, uint32_t bytes)
{
	if (!batch->count)
		return false;
	const struct block_device *dev = batch->dev;
	uint32_t last = batch->count - 1, limit = MIN(dev->max_segs, (uint32_t)BATCH_SEGS);
	struct block_request *r = &batch->request[last];
	uint32_t *length = &batch->sectors[last];
	if (r->lba + *length != lba || *length + (bytes >> SECTOR_SHIFT) > dev->max_sectors ||
	    r->nsegs >= limit)
		return false;
	batch->seg[last][r->nsegs++] = (struct block_seg){.addr = addr, .bytes = bytes};
	*length += bytes >> SECTOR_SHIFT;
	return true;
}

bool batch_add(struct disk_batch *batch, uint64_t lba, const void *memory, uint32_t bytes)
{
	paddr_t addr = virt_to_phys(memory);
	if (join(batch, lba, addr, bytes))
		return true;
	if (batch->count == BATCH_REQUESTS)
		return false;
	uint32_t n = batch->count++;
	batch->seg[n][0] = (struct block_seg){.addr = addr, .bytes = bytes};
	batch->sectors[n] = bytes >> SECTOR_SHIFT;
	batch->request[n] = (struct block_request){
	    .op = BLOCK_WRITE, .segs = batch->seg[n], .nsegs = 1, .lba = lba};
	return true;
}

static void done(struct block_request *r)
{
	struct disk_batch *batch = r->context;
	spin_lock_wtd(&batch->lock);
	if (r->status && !batch->status)
		batch->status = r->status;
	ASSERT(batch->pending);
	if (!--batch->pending)
		waitq_wake_one(&batch->waitq);
	spin_unlock_wtd(&batch->lock);
}

int batch_run(struct disk_batch *batch, bool fua)
{
	assert_may_sleep("batch_run");
	batch->pending = batch->count;
	batch->status = 0;
	for (uint32_t n = 0; n < batch->count; n++) {
		struct block_request *r = &batch->request[n];
		r->fua = fua;
		r->done = done;
		r->context = batch;
		block_submit(batch->dev, r);
	}
	spin_lock_wtd(&batch->lock);
	while (batch->pending)
		waitq_sleep(&batch->waitq, &batch->lock);
	spin_unlock_wtd(&batch->lock);
	batch->count = 0;
	return batch->status;
}

int batch_flush(struct disk_batch *batch)
{
	ASSERT(!batch->count);
	batch->request[0] = (struct block_request){.op = BLOCK_FLUSH};
	batch->count = 1;
	return batch_run(batch, false);
}
