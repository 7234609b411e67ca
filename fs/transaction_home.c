// SPDX-License-Identifier: BSD-2-Clause
// Home: what is committed is written to where it belongs, in the order of the blocks, so that the log's beginning can
// be forgotten. One worker, beside the commit. What it writes are copies made by commits, so pages may change
// meanwhile, and nothing gets home that is not in the log.
//
//	take every block with a committed copy; note where the log ends now
//	write them, flush
//	the log begins at what was noted; then its space, and blocks freed meanwhile, may be used again
#include "fs/transaction_private.h"

#include "kernel/kstat.h"
#include "kernel/panic.h"

static uint64_t rounds, blocks_home;
KSTAT_COUNTER(rounds, "pagewire_journal_checkpoints_total",
	      "Times that committed blocks were written home.");
KSTAT_COUNTER(blocks_home, "pagewire_journal_home_blocks_total", "Blocks written home.");

// What one round takes care of.
struct round {
	struct transaction_block *list;
	uint32_t used;	// log blocks that it makes free
	uint32_t start; // where the log begins afterwards, and with which transaction
	uint64_t committed;
};

// Two sorted lists into one.
static struct transaction_block *merge(struct transaction_block *a, struct transaction_block *b)
{
	struct transaction_block *first = NULL, **end = &first;
	while (a && b) {
		struct transaction_block **less = a->block < b->block ? &a : &b;
		*end = *less;
		end = &(*less)->home_next;
		*less = (*less)->home_next;
	}
	*end = a ? a : b;
	return first;
}

// By block, without memory: runs of 2^n blocks in sorted[n], merged as a counter carries.
static struct transaction_block *sort(struct transaction_block *list)
{
	struct transaction_block *sorted[32] = {NULL}, *all = NULL;
	while (list) {
		struct transaction_block *one = list;
		unsigned n;
		list = list->home_next;
		one->home_next = NULL;
		for (n = 0; n < ARRAY_SIZE(sorted) - 1 && sorted[n]; n++) {
			one = merge(sorted[n], one);
			sorted[n] = NULL;
		}
		sorted[n] = merge(sorted[n], one);
	}
	for (unsigned n = 0; n < ARRAY_SIZE(sorted); n++)
		all = merge(sorted[n], all);
	return all;
}

static struct round take(struct volume_log *log)
{
	struct round round = {.list = NULL};
	spin_lock_wtd(&log->lock);
	struct transaction_block *b = log->home_list, *next, *gone = NULL;
	log->home_list = NULL;
	for (; b; b = next) {
		next = b->home_next;
		b->on_home_list = false;
		b->writing = b->home;
		b->home = NULL;
		if (!b->writing) { // freed since
			b->home_next = gone;
			gone = b;
			continue;
		}
		b->home_next = round.list;
		round.list = b;
	}
	log->home_writing = true; // from here on what is freed waits for the end of the round
	round.used = log->used;
	round.start = log->log_end;
	round.committed = log->committed;
	spin_unlock_wtd(&log->lock);
	for (; gone; gone = next) {
		next = gone->home_next;
		(void)block_settled(log, gone);
	}
	return round;
}

static int write_home(struct volume_log *log, struct transaction_block *list)
{
	struct disk_batch *batch = log->home_batch;
	uint32_t bytes = log->volume->block_bytes, sectors = bytes >> SECTOR_SHIFT;
	int error = 0;
	for (struct transaction_block *b = list; b && !error; b = b->home_next) {
		if (batch_add(batch, b->block * sectors, b->writing, bytes))
			continue;
		error = batch_run(batch, false);
		if (!batch_add(batch, b->block * sectors, b->writing, bytes))
			error = -EIO;
	}
	int last = batch_run(batch, false);
	if (!error)
		error = last;
	return error ? error : batch_flush(batch);
}

static void finish(struct volume_log *log, const struct round *round, bool kept)
{
	struct transaction_block *b = round->list, *next;
	for (; b; b = next) {
		next = b->home_next;
		spin_lock_wtd(&log->lock);
		copy_free(log, b->writing);
		b->writing = NULL;
		if (b->home && !b->on_home_list) { // a commit gave it another one meanwhile
			b->on_home_list = true;
			b->home_next = log->home_list;
			log->home_list = b;
		}
		spin_unlock_wtd(&log->lock);
		blocks_home++;
		if (kept)
			(void)block_settled(log, b);
	}
	spin_lock_wtd(&log->lock);
	log->home_writing = false;
	spin_unlock_wtd(&log->lock);
	struct freed_run *run;
	do {
		spin_lock_wtd(&log->lock);
		run = freed_take(&log->draining);
		spin_unlock_wtd(&log->lock);
		if (run)
			runs_release(run);
	} while (run);
	spin_lock_wtd(&log->lock);
	if (kept)
		log->used -= round->used;
	spin_unlock_wtd(&log->lock);
}

// Whether anything could come free.
static bool go_home(struct volume_log *log)
{
	struct round round = take(log);
	int error = log->error ? -EIO : 0;
	round.list = sort(round.list);
	if (!error && round.list)
		error = write_home(log, round.list);
	if (!error && round.used)
		error = journal_tail(&log->writer, round.start, (uint32_t)round.committed + 1);
	if (error)
		transaction_abort(log->volume, error, "blocks cannot be written home");
	finish(log, &round, !error);
	rounds += round.list != NULL;
	return round.list || round.used || error;
}

void home_soon(struct volume_log *log)
{
	if (log->home_list)
		wtd_post_after(&log->home_timer, WTD_FAST, COMMIT_DELAY_NS);
}

static void home_worker(struct wtd *work)
{
	struct volume_log *log = CONTAINER_OF(work, struct volume_log, home_work);
	spin_lock_wtd(&log->lock);
	if (log->home_busy) {
		spin_unlock_wtd(&log->lock);
		return;
	}
	while (log->home_wanted) {
		log->home_wanted = false;
		log->home_busy = true;
		spin_unlock_wtd(&log->lock);
		bool changed = go_home(log);
		spin_lock_wtd(&log->lock);
		log->home_busy = false;
		// A round with nothing to do is no event for wait_for_room, which asked for it: it would ask
		// again and again while a commit is under way.
		if (changed)
			room_changed(log);
		else
			waitq_wake_all(&log->room);
	}
	home_soon(log); // for what a commit left to the round that is over
	spin_unlock_wtd(&log->lock);
}

void home_request(struct volume_log *log)
{
	spin_lock_wtd(&log->lock);
	log->home_wanted = true;
	if (!log->home_busy)
		wtd_post(&log->home_work);
	spin_unlock_wtd(&log->lock);
}

static void timer_fires(struct wtd *work)
{
	home_request(CONTAINER_OF(work, struct volume_log, home_timer));
}

void home_init(struct volume_log *log)
{
	wtd_init(&log->home_work, home_worker, "journal checkpoint");
	wtd_init(&log->home_timer, timer_fires, "journal timer");
}
