// SPDX-License-Identifier: BSD-2-Clause
// Changes: begin, get, forget, end, cancel. One is open at a time on a volume; between begin and end its thread
// holds the volume's lock for itself, so nothing here races with another change or with who reads structures.
#include "fs/transaction_private.h"

#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/thread.h"

// Runs freed and not committed. Deleting a badly fragmented file of 16 GB frees as many as this; a group that
// has a quarter of them is committed before the next change begins.
#define FREED_RUNS_MAX 65536

static struct pool run_pool = POOL_INIT("freed-run", struct freed_run, FREED_RUNS_MAX);
#define GROUP_RUNS_MAX (FREED_RUNS_MAX / 4)
static uint64_t changes, cancelled, waited;
KSTAT_COUNTER(waited, "pagewire_journal_waits_total",
	      "Times that a change waited for room in a log.");
KSTAT_COUNTER(changes, "pagewire_journal_changes_total", "Changes of metadata made.");
KSTAT_COUNTER(cancelled, "pagewire_journal_cancelled_total", "Changes taken back half-way.");

bool volume_writable(const struct volume *volume)
{
	const struct volume_log *log = log_of(volume);
	return log && !log->error && !log->closing;
}

static struct volume_log *open_log(const struct transaction *t)
{
	struct volume_log *log = log_of(t->volume);
	ASSERT(log && log->open == t);
	return log;
}

// The volume's lock is held. Whether a change of so many blocks may begin now: it must fit into the log together
// with what is there, and its group must not become too large to be one transaction.
static bool has_room(struct volume_log *log, uint32_t blocks)
{
	const struct transaction_group *group = running_group(log);
	uint32_t space = log_space_for(log, group->count + blocks);
	spin_lock_wtd(&log->lock);
	bool room = group->count + blocks <= log->group_max &&
		    group->freed.runs <= GROUP_RUNS_MAX &&
		    space + log->used + log->committing_space <= log->log_blocks &&
		    log->copies + blocks <= log->copies_max;
	spin_unlock_wtd(&log->lock);
	return room;
}

// Commits and writes home until something came free. `seen`: room_events before the look that found nothing.
static void wait_for_room(struct volume_log *log, uint64_t seen)
{
	waited++;
	commit_request(log);
	home_request(log);
	spin_lock_wtd(&log->lock);
	while (log->room_events == seen && !log->error)
		waitq_sleep(&log->room, &log->lock);
	spin_unlock_wtd(&log->lock);
}

int transaction_begin(struct transaction *t, struct volume *volume, uint32_t blocks)
{
	struct volume_log *log = log_of(volume);
	struct rwlock *lock = &volume_private(volume)->lock;
	*t = (struct transaction){.volume = volume, .credits = blocks};
	assert_may_sleep("transaction_begin");
	if (!log)
		return -EROFS;
	if (blocks > log->group_max)
		return -E2BIG;
	for (;;) {
		rw_lock_exclusive(lock);
		uint64_t seen = log->room_events;
		if (!volume_writable(volume)) {
			rw_unlock_exclusive(lock);
			return -EROFS;
		}
		if (has_room(log, blocks))
			break;
		rw_unlock_exclusive(lock);
		wait_for_room(log, seen);
	}
	ASSERT(!log->open);
	log->open = t;
	return 0;
}

// The open change knows the block from now on. Lock held, or nobody else knows it yet: from here on nobody drops it
// when it gets home.
static void touch(struct transaction *t, struct transaction_block *b, unsigned r)
{
	if (b->is_touched)
		return;
	b->is_touched = true;
	b->was_in_group = b->in_group[r];
	b->was_forgotten = b->forgotten[r];
	b->touched = t->first;
	t->first = b;
	t->count++;
}

// Null: the block is not under way.
static struct transaction_block *find_and_touch(struct volume_log *log, struct transaction *t,
						uint64_t block)
{
	spin_lock_wtd(&log->lock);
	struct transaction_block *b = block_find(log, block);
	if (b)
		touch(t, b, log->running);
	spin_unlock_wtd(&log->lock);
	return b;
}

static void join_group(struct volume_log *log, struct transaction_block *b, bool forgotten)
{
	unsigned r = log->running;
	struct transaction_group *group = &log->group[r];
	b->forgotten[r] = forgotten;
	if (b->in_group[r])
		return;
	b->in_group[r] = true;
	b->next[r] = group->blocks;
	group->blocks = b;
	group->count++;
}

// What the block holds now is put aside, once a change.
static int save(struct volume_log *log, struct transaction *t, struct transaction_block *b)
{
	unsigned r = log->running;
	if (!b->is_changed) {
		if (!b->copy[r])
			b->copy[r] = copy_alloc(log);
		if (!b->copy[r])
			return -ENOMEM;
		ASSERT(t->credits);
		t->credits--;
		memcpy(b->copy[r], b->data, log->volume->block_bytes);
		b->is_changed = true;
	}
	join_group(log, b, false);
	return 0;
}

static int get(struct transaction *t, uint64_t block, void *data, struct page *page)
{
	struct volume_log *log = open_log(t);
	struct transaction_block *b = find_and_touch(log, t, block);
	if (!b) {
		b = block_add(log, block, data, page);
		if (!b)
			return -ENOMEM;
		touch(t, b, log->running);
	}
	return save(log, t, b);
}

int transaction_get(struct transaction *t, uint64_t block, void **data, struct page **page)
{
	const void *found;
	int error = meta_get(t->volume, block, &found, page);
	if (error)
		return error;
	*data = (void *)(uintptr_t)found;
	error = get(t, block, *data, *page);
	if (error)
		page_wire_put(*page);
	return error;
}

int transaction_get_fresh(struct transaction *t, uint64_t block, void **data, struct page **page)
{
	int error = meta_get_fresh(t->volume, block, data, page);
	if (error)
		return error;
	error = get(t, block, *data, *page);
	if (error) {
		page_wire_put(*page);
		return error;
	}
	memset(*data, 0, t->volume->block_bytes);
	meta_clear_verified(*page, *data);
	return 0;
}

// A block that is under way will not be logged any more; one that was logged already gets a revoke record.
static void forget_block(struct transaction *t, struct volume_log *log, uint64_t block)
{
	struct transaction_block *b = find_and_touch(log, t, block);
	if (b)
		join_group(log, b, true);
	meta_forget(log->volume, block);
}

int transaction_forget(struct transaction *t, uint64_t block, uint64_t count, bool was_metadata)
{
	struct volume_log *log = open_log(t);
	struct freed_run *run = pool_alloc(&run_pool);
	if (!run)
		return -ENOMEM;
	run->first = block;
	run->count = count;
	spin_lock_wtd(&log->lock);
	bool new = freed_insert(&running_group(log)->freed, run);
	spin_unlock_wtd(&log->lock);
	if (!new) {
		pool_free(&run_pool, run);
		transaction_abort(log->volume, -EUCLEAN, "a block was freed twice");
		return -EUCLEAN;
	}
	run->next = log->open_runs;
	log->open_runs = run;
	for (uint64_t i = 0; was_metadata && i < count; i++)
		forget_block(t, log, block + i);
	return 0;
}

bool transaction_freed_recently(struct volume *volume, uint64_t block, uint64_t *until)
{
	struct volume_log *log = log_of(volume);
	const struct freed_set *sets[] = {&log->group[0].freed, &log->group[1].freed,
					  &log->draining};
	uint64_t next;
	bool found = false;
	*until = UINT64_MAX;
	spin_lock_wtd(&log->lock);
	for (unsigned n = 0; n < ARRAY_SIZE(sets) && !found; n++) {
		found = freed_find(sets[n], block, &next);
		*until = found ? next : MIN(*until, next);
	}
	spin_unlock_wtd(&log->lock);
	return found;
}

uint64_t transaction_data_begin(struct transaction *t)
{
	struct volume_log *log = open_log(t);
	struct transaction_group *group = running_group(log);
	spin_lock_wtd(&log->lock);
	group->data_pending++;
	group->changed = true; // bytes over blocks that are there need the commit's flush no less
	spin_unlock_wtd(&log->lock);
	return group->number;
}

void transaction_data_done(struct volume *volume, uint64_t ticket)
{
	struct volume_log *log = log_of(volume);
	spin_lock_wtd(&log->lock);
	struct transaction_group *group = &log->group[log->group[0].number == ticket ? 0 : 1];
	ASSERT(group->number == ticket && group->data_pending);
	if (!--group->data_pending)
		waitq_wake_all(&log->data_wait);
	spin_unlock_wtd(&log->lock);
}

static void close_change(struct volume_log *log, struct transaction *t, bool taken_back)
{
	const struct filesystem_writing *writing = volume_filesystem(t->volume)->writing;
	if (writing && writing->ended)
		writing->ended(t->volume, taken_back);
	log->open = NULL;
	log->open_runs = NULL;
	*t = (struct transaction){.volume = t->volume};
	rw_unlock_exclusive(&volume_private(log->volume)->lock);
}

void transaction_end(struct transaction *t)
{
	struct volume_log *log = open_log(t);
	struct transaction_group *group = running_group(log);
	group->changed |= t->first || log->open_runs;
	if (group->changed)
		commit_soon(log);
	if (group->count > log->group_max / 2 || group->freed.runs > GROUP_RUNS_MAX / 2)
		commit_request(log);
	for (struct transaction_block *b = t->first, *next; b; b = next) {
		next = b->touched;
		b->is_touched = b->is_changed = false;
		(void)block_settled(log, b); // it may not have got into the group
	}
	changes++;
	close_change(log, t, false);
}

static void take_back(struct volume_log *log, struct transaction_block *b)
{
	unsigned r = log->running;
	if (b->is_changed) {
		memcpy(b->data, b->copy[r], log->volume->block_bytes);
		meta_clear_verified(b->page, b->data);
	}
	b->is_touched = b->is_changed = false;
	b->forgotten[r] = b->was_forgotten;
	b->in_group[r] = b->was_in_group;
	if (b->in_group[r])
		return;
	if (b->copy[r])
		copy_free(log, b->copy[r]);
	b->copy[r] = NULL;
	uint64_t block = b->block;
	if (block_settled(log, b)) // a fresh one was never read: who wants it now reads it
		meta_forget(log->volume, block);
}

void transaction_cancel(struct transaction *t)
{
	struct volume_log *log = open_log(t);
	struct transaction_group *group = running_group(log);
	// What this change put into the group is in front of what was there.
	while (group->blocks && group->blocks->is_touched && !group->blocks->was_in_group) {
		group->blocks = group->blocks->next[log->running];
		group->count--;
	}
	for (struct transaction_block *b = t->first, *next; b; b = next) {
		next = b->touched;
		take_back(log, b);
	}
	for (struct freed_run *run = log->open_runs, *next; run; run = next) {
		next = run->next;
		spin_lock_wtd(&log->lock);
		freed_remove(&group->freed, run);
		spin_unlock_wtd(&log->lock);
		pool_free(&run_pool, run);
	}
	cancelled++;
	close_change(log, t, true);
}

void runs_release(struct freed_run *run)
{
	pool_free(&run_pool, run);
}
