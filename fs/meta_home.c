// SPDX-License-Identifier: BSD-2-Clause
// A journal that was replayed in memory (meta_replace), written home for good, so that its log can be used again: while
// mounting for writing. Block by block from where the log has it to where it belongs; a power cut meanwhile leaves the
// log as it was.
#include "fs/disk_batch.h"
#include "fs/jbd2_write.h"
#include "fs/volume_private.h"

#include "kernel/pmm.h"

#define HOME_BUFFERS 64

struct going_home {
	struct volume *volume;
	struct disk_batch *batch;
	uint8_t *buffers; // a page each
	uint32_t used;
};

static int write_buffers(struct going_home *g)
{
	g->used = 0;
	return batch_run(g->batch, false);
}

static int bring_home(void *ctx, uint64_t block, uint64_t value)
{
	struct going_home *g = ctx;
	uint32_t bytes = g->volume->block_bytes, sectors = bytes >> SECTOR_SHIFT;
	uint8_t *buffer = g->buffers + g->used * PAGE_SIZE;
	int error =
	    block_rw_sync(g->volume->dev, BLOCK_READ, (value >> 1) * sectors, buffer, bytes);
	if (error)
		return error;
	if (value & 1)
		journal_unescape(buffer);
	bool added = batch_add(g->batch, block * sectors, buffer, bytes);
	if (!added) {
		error = write_buffers(g);
		if (!error && batch_add(g->batch, block * sectors, buffer, bytes))
			error = write_buffers(g);
		return error;
	}
	return ++g->used == HOME_BUFFERS ? write_buffers(g) : 0;
}

int meta_replaced_home(struct volume *volume)
{
	struct journal_map *map = &volume_private(volume)->replaced;
	struct going_home g = {.volume = volume,
			       .batch = batch_make(volume->dev),
			       .buffers = kpages_alloc(HOME_BUFFERS * PAGE_SIZE)};
	int error = g.batch && g.buffers ? 0 : -ENOMEM;
	if (!error)
		error = journal_map_each(map, bring_home, &g);
	if (!error)
		error = batch_run(g.batch, false);
	if (!error)
		error = batch_flush(g.batch);
	if (g.buffers)
		kpages_free(g.buffers, HOME_BUFFERS * PAGE_SIZE);
	batch_free(g.batch);
	return error;
}

void meta_forget_replaced(struct volume *volume)
{
	journal_map_free(&volume_private(volume)->replaced);
	pagecache_drop();
}
