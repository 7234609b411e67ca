// SPDX-License-Identifier: BSD-2-Clause
// The commit: what changes since the last one changed goes into the log as one transaction. One worker; while it
// writes, the next group gathers, and everybody who waits for that one shares the next commit.
//
//	volume's lock, exclusive: every block's content into its copy; the other group runs from here on
//	ordered data of the group is on the disk
//	log: revokes, descriptors, copies; flush; commit block with FUA
//	copies are what goes home next; older ones are not needed any more
//
// Nothing here needs memory: the copies are there since the blocks were first touched.
#include "fs/transaction_private.h"

#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"

static uint64_t commits, blocks_logged, revokes, blocks_high;
KSTAT_COUNTER(commits, "pagewire_journal_commits_total", "Transactions committed to a log.");
KSTAT_COUNTER(blocks_logged, "pagewire_journal_blocks_total", "Blocks written to logs.");
KSTAT_COUNTER(revokes, "pagewire_journal_revokes_total", "Revoke records written to logs.");
KSTAT_GAUGE(blocks_high, "pagewire_journal_transaction_blocks_high",
	    "Blocks of the largest transaction committed.");

uint32_t log_space_for(const struct volume_log *log, uint32_t blocks)
{
	// A revoke record is for a block that is in the log: there are never more of them than that.
	return journal_space(&log->writer, blocks, log->log_blocks);
}

// The group that runs becomes the one to commit; null: nothing has changed.
static struct transaction_group *freeze(struct volume_log *log)
{
	struct rwlock *lock = &volume_private(log->volume)->lock;
	rw_lock_exclusive(lock);
	unsigned r = log->running;
	struct transaction_group *group = &log->group[r], *next = &log->group[1 - r];
	ASSERT(!log->open && !next->blocks && !next->data_pending && !next->freed.root);
	if (!group->changed) {
		rw_unlock_exclusive(lock);
		return NULL;
	}
	for (struct transaction_block *b = group->blocks; b; b = b->next[r])
		if (!b->forgotten[r])
			memcpy(b->copy[r], b->data, log->volume->block_bytes);
	spin_lock_wtd(&log->lock);
	next->number = group->number + 1;
	next->changed = false;
	next->count = 0;
	log->committing_space = log_space_for(log, group->count);
	log->running = 1 - r;
	spin_unlock_wtd(&log->lock);
	rw_unlock_exclusive(lock);
	return group;
}

static void wait_for_data(struct volume_log *log, struct transaction_group *group)
{
	spin_lock_wtd(&log->lock);
	while (group->data_pending)
		waitq_sleep(&log->data_wait, &log->lock);
	spin_unlock_wtd(&log->lock);
}

// Its content is in the log, in a transaction before this one.
static bool is_logged(const struct transaction_block *b)
{
	return b->home || b->writing;
}

static int write_revokes(struct volume_log *log, struct transaction_group *group, unsigned g)
{
	int error = 0;
	for (struct transaction_block *b = group->blocks; b && !error; b = b->next[g]) {
		if (!b->forgotten[g] || !is_logged(b))
			continue;
		error = journal_revoke(&log->writer, b->block);
		revokes++;
	}
	return error;
}

static int write_group(struct volume_log *log, struct transaction_group *group, unsigned g)
{
	struct journal_writer *w = &log->writer;
	int error = log->error ? -EIO : journal_begin(w, (uint32_t)group->number);
	uint64_t count = 0;
	if (!error)
		error = write_revokes(log, group, g);
	for (struct transaction_block *b = group->blocks; b && !error; b = b->next[g]) {
		if (b->forgotten[g])
			continue;
		error = journal_put(w, b->block, b->copy[g], &b->escaped);
		count++;
	}
	if (!error && log->error) // found out meanwhile: what was not promised is not kept
		error = -EIO;
	if (!error)
		error = journal_commit(w);
	commits += !error;
	blocks_logged += count;
	blocks_high = MAX(blocks_high, count);
	return error;
}

// Lock held. The block's committed content is newer than what waits to go home. What is on its way there
// already gets there first.
static void settle(struct volume_log *log, struct transaction_block *b, unsigned g, bool kept)
{
	void *copy = b->copy[g];
	b->copy[g] = NULL;
	b->in_group[g] = false;
	if (kept && b->escaped)
		journal_unescape(copy);
	b->escaped = false;
	if (kept && b->home) {
		copy_free(log, b->home);
		b->home = NULL;
	}
	if (kept && !b->forgotten[g]) {
		b->home = copy;
		copy = NULL;
		if (!b->on_home_list && !b->writing) { // else the other worker puts it there
			b->on_home_list = true;
			b->home_next = log->home_list;
			log->home_list = b;
		}
	}
	b->forgotten[g] = false;
	if (copy)
		copy_free(log, copy);
}

// Blocks that were freed may be given out again, unless an old content of them may still be on its way home:
// then when that is over. Run by run, because there can be many.
static void release_freed(struct volume_log *log, struct transaction_group *group)
{
	struct freed_run *run;
	do {
		spin_lock_wtd(&log->lock);
		run = freed_take(&group->freed);
		if (run && log->home_writing && freed_insert(&log->draining, run)) {
			spin_unlock_wtd(&log->lock);
			continue;
		}
		spin_unlock_wtd(&log->lock);
		if (run)
			runs_release(run);
	} while (run);
}

// After a commit that failed the copies go all the same, as nothing will be written any more; the blocks stay, so
// that their pages do: what is on the disk is older.
static void finish(struct volume_log *log, struct transaction_group *group, unsigned g, bool kept)
{
	struct transaction_block *b = group->blocks, *next;
	group->blocks = NULL;
	for (; b; b = next) {
		next = b->next[g];
		spin_lock_wtd(&log->lock);
		settle(log, b, g, kept);
		spin_unlock_wtd(&log->lock);
		if (kept)
			(void)block_settled(log, b);
	}
	release_freed(log, group);
	spin_lock_wtd(&log->lock);
	if (kept) {
		log->committed = group->number;
		log->used += log->writer.written;
		log->log_end = log->writer.head;
	}
	log->committing_space = 0;
	room_changed(log);
	spin_unlock_wtd(&log->lock);
}

static void commit(struct volume_log *log)
{
	unsigned g = log->running;
	struct transaction_group *group = freeze(log);
	if (group) {
		wait_for_data(log, group);
		int error = write_group(log, group, g);
		if (error)
			transaction_abort(log->volume, error, "the journal cannot be written");
		finish(log, group, g, !error);
	}
	waiters_tell(log);
	if (log->used > log->log_blocks / 2 || log->copies > log->copies_max / 2)
		home_request(log);
	else
		home_soon(log);
}

static void note_error(struct volume_log *log)
{
	if (!log->error || log->error_noted)
		return;
	log->error_noted = true;
	if (journal_note_error(&log->writer, log->error))
		kprintf("volume %s: the journal cannot be marked either\n", log->volume->name);
}

static void commit_worker(struct wtd *work)
{
	struct volume_log *log = CONTAINER_OF(work, struct volume_log, commit_work);
	spin_lock_wtd(&log->lock);
	if (log->commit_busy) {
		spin_unlock_wtd(&log->lock);
		return;
	}
	log->commit_busy = true;
	while (log->commit_wanted) {
		log->commit_wanted = false;
		spin_unlock_wtd(&log->lock);
		commit(log);
		note_error(log);
		spin_lock_wtd(&log->lock);
	}
	log->commit_busy = false;
	waitq_wake_all(&log->room); // what came free was told of where it did; see home_worker
	spin_unlock_wtd(&log->lock);
}

void commit_request(struct volume_log *log)
{
	spin_lock_wtd(&log->lock);
	log->commit_wanted = true;
	if (!log->commit_busy)
		wtd_post(&log->commit_work);
	spin_unlock_wtd(&log->lock);
}

static void timer_fires(struct wtd *work)
{
	commit_request(CONTAINER_OF(work, struct volume_log, commit_timer));
}

void commit_soon(struct volume_log *log)
{
	if (log->commit_timer.state == WTD_IDLE)
		wtd_post_after(&log->commit_timer, WTD_FAST, COMMIT_DELAY_NS);
}

void commit_init(struct volume_log *log)
{
	wtd_init(&log->commit_work, commit_worker, "journal commit");
	wtd_init(&log->commit_timer, timer_fires, "journal timer");
	waitq_init(&log->data_wait);
}
