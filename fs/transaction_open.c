// SPDX-License-Identifier: BSD-2-Clause
// Making a volume writable and giving it back: the journal's state is made from what the log's superblock says; at
// the end everything is committed and written home, and the log is marked empty.
#include "fs/transaction_private.h"

#include "kernel/kprintf.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"

static void set_limits(struct volume_log *log)
{
	struct pmm_stats stats;
	pmm_stats(&stats);
	log->log_blocks = journal_log_blocks(&log->writer);
	log->copies_max = (uint32_t)(stats.frames_total / 8);
	log->group_max = MIN(log->log_blocks / 4, log->copies_max / 2);
}

int transaction_open(struct volume *volume, const struct transaction_log *source)
{
	struct volume_log *log = kpages_alloc(sizeof(*log));
	if (!log)
		return -ENOMEM;
	log->volume = volume;
	log->lock = (struct spinlock)SPINLOCK_INIT("journal", RANK_VOLUME);
	waitq_init(&log->room);
	commit_init(log);
	home_init(log);
	log->home_batch = batch_make(volume->dev);
	int error = log->home_batch ? 0 : -ENOMEM;
	if (!error)
		error = journal_writer_open(&log->writer, source->source, &source->format,
					    source->sequence);
	if (!error) {
		set_limits(log);
		error = blocks_init(log, log->log_blocks);
	}
	if (error) {
		journal_writer_close(&log->writer);
		batch_free(log->home_batch);
		kpages_free(log, sizeof(*log));
		return error;
	}
	// Tickets do not wrap: sequence numbers are their low half.
	log->committed = BIT(32) + log->writer.sequence - 1;
	log->group[0].number = log->committed + 1;
	log->log_end = log->writer.head;
	volume_private(volume)->log = log;
	return 0;
}

// Sleeps until both workers are done with what they were asked for.
static void wait_idle(struct volume_log *log)
{
	spin_lock_wtd(&log->lock);
	while (log->commit_busy || log->commit_wanted || log->home_busy || log->home_wanted)
		waitq_sleep(&log->room, &log->lock);
	spin_unlock_wtd(&log->lock);
}

int transaction_settle(struct volume *volume)
{
	struct volume_log *log = log_of(volume);
	if (!log)
		return -EROFS;
	commit_request(log);
	wait_idle(log);
	home_request(log);
	wait_idle(log);
	return log->error ? -EIO : 0;
}

static void give_up_changes(struct volume_log *log)
{
	unsigned r = log->running;
	struct transaction_group *group = &log->group[r];
	struct freed_run *run;
	while (group->blocks) {
		struct transaction_block *b = group->blocks;
		group->blocks = b->next[r];
		b->in_group[r] = false;
		if (b->copy[r])
			copy_free(log, b->copy[r]);
		b->copy[r] = NULL;
	}
	while ((run = freed_take(&group->freed)))
		runs_release(run);
}

int transaction_close(struct volume *volume)
{
	struct volume_log *log = log_of(volume);
	if (!log || log->closing)
		return 0;
	rw_lock_exclusive(&volume_private(volume)->lock); // no change is open
	log->closing = true;
	rw_unlock_exclusive(&volume_private(volume)->lock);
	int error = transaction_settle(volume);
	(void)wtd_cancel(&log->commit_timer);
	(void)wtd_cancel(&log->home_timer);
	wait_idle(log);
	if (!error)
		error = journal_tail(&log->writer, 0, (uint32_t)log->committed + 1);
	if (error && !log->error)
		transaction_abort(volume, error, "the journal cannot be marked empty");
	wait_idle(log);
	return error;
}

void transaction_free(struct volume *volume)
{
	struct volume_log *log = log_of(volume);
	if (!log)
		return;
	ASSERT(log->closing && !log->waiters);
	give_up_changes(log);
	blocks_stop(log);
	journal_writer_close(&log->writer);
	batch_free(log->home_batch);
	volume_private(volume)->log = NULL;
	kpages_free(log, sizeof(*log));
}
