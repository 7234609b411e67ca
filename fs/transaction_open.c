// SPDX-License-Identifier: BSD-2-Clause
// Making a volume writable and giving it back: the journal's state is made, and at the end everything is written
// home.
#include "fs/transaction_private.h"

#include "kernel/panic.h"
#include "kernel/pmm.h"

int transaction_open(struct volume *volume, const struct transaction_log *source)
{
	struct volume_log *log = kpages_alloc(sizeof(*log));
	if (!log)
		return -ENOMEM;
	log->volume = volume;
	log->lock = (struct spinlock)SPINLOCK_INIT("journal", RANK_VOLUME);
	log->group[0].number = source ? source->sequence : 1;
	int error = blocks_init(log, source ? source->blocks : 1024);
	if (error) {
		kpages_free(log, sizeof(*log));
		return error;
	}
	volume_private(volume)->log = log;
	return 0;
}

// A block of the running group to its place.
static int write_home(struct volume_log *log, struct transaction_block *b)
{
	uint32_t bytes = log->volume->block_bytes;
	return block_rw_sync(log->volume->dev, BLOCK_WRITE, b->block * (bytes >> SECTOR_SHIFT),
			     b->data, bytes);
}

int transaction_close(struct volume *volume)
{
	struct volume_log *log = log_of(volume);
	struct transaction_group *group = running_group(log);
	int error = 0;
	rw_lock_exclusive(&volume_private(volume)->lock);
	ASSERT(!log->open && !group->data_pending);
	while (group->blocks) {
		struct transaction_block *b = group->blocks;
		group->blocks = b->next[log->running];
		if (!b->forgotten[log->running] && !error)
			error = write_home(log, b);
		b->in_group[log->running] = false;
		if (b->copy[log->running])
			copy_free(log, b->copy[log->running]);
		b->copy[log->running] = NULL;
		(void)block_settled(log, b);
	}
	freed_empty(&group->freed, runs_release);
	volume_private(volume)->log = NULL;
	blocks_stop(log);
	kpages_free(log, sizeof(*log));
	rw_unlock_exclusive(&volume_private(volume)->lock);
	return error;
}
