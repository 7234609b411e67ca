// SPDX-License-Identifier: BSD-2-Clause
// Tickets: who waits for a commit, and how an error ends all waiting. A ticket is the number of a group; groups are
// committed in order, so everything up to `committed` is kept.
//
//	          durable_wait                    its commit is on the disk, or an error
//	(nothing) ------------> on log->waiters -----------------------------------------> its WTD: done is called
//	    |                                                                                  ^
//	    +---- it is kept already; sync=relaxed; there is no journal to wait for -----------+
#include "fs/transaction_private.h"

#include "kernel/cmdline.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"

static bool relaxed; // sync=relaxed
static uint64_t waits, aborts;
KSTAT_COUNTER(waits, "pagewire_journal_durable_waits_total",
	      "Answers that waited for a commit before they were given.");
KSTAT_COUNTER(aborts, "pagewire_journal_aborts_total",
	      "Volumes that became read-only because of an error.");

static bool parse_sync(const char *value)
{
	relaxed = value && !strcmp(value, "relaxed");
	return relaxed || (value && !strcmp(value, "strict"));
}
CMDLINE_OPTION(sync, "sync",
	       "sync=strict|relaxed  when a change is answered: when it is on the disk, or at once",
	       parse_sync);

uint64_t volume_ticket(const struct volume *volume)
{
	struct volume_log *log = log_of(volume);
	if (!log)
		return 0;
	spin_lock_wtd(&log->lock);
	const struct transaction_group *group = running_group(log);
	// After an error that of a group that never gets to the disk: what was changed since the last commit may be
	// gone from memory, too, and with it what would tell.
	bool open = group->changed || log->error;
	uint64_t ticket = open ? group->number : group->number - 1;
	spin_unlock_wtd(&log->lock);
	return ticket;
}

static void deliver(struct wtd *work)
{
	struct durable *durable = CONTAINER_OF(work, struct durable, work);
	durable->done(durable);
}

static void tell(struct durable *durable, int status)
{
	durable->status = status;
	wtd_init(&durable->work, deliver, "durable_wait");
	wtd_post_fast(&durable->work);
}

// Lock held. Whether it is decided, and how.
static bool decided(const struct volume_log *log, uint64_t ticket, int *status)
{
	*status = ticket <= log->committed ? 0 : -EIO;
	return !*status || log->error;
}

void waiters_tell(struct volume_log *log)
{
	int status;
	spin_lock_wtd(&log->lock);
	for (struct durable **link = &log->waiters, *durable; (durable = *link);) {
		if (decided(log, durable->ticket, &status)) {
			*link = durable->next;
			tell(durable, status);
		} else {
			link = &durable->next;
		}
	}
	spin_unlock_wtd(&log->lock);
}

static void wait_strictly(struct volume_log *log, struct durable *durable)
{
	int status = 0;
	spin_lock_wtd(&log->lock);
	bool now = decided(log, durable->ticket, &status);
	if (now) {
		tell(durable, status);
	} else {
		durable->next = log->waiters;
		log->waiters = durable;
		waits++;
	}
	spin_unlock_wtd(&log->lock);
	if (!now)
		commit_request(log);
}

void durable_wait(struct durable *durable)
{
	struct volume_log *log = log_of(durable->volume);
	if (log && !(relaxed && !log->error))
		wait_strictly(log, durable);
	else
		tell(durable, 0);
}

struct sync_wait {
	struct durable durable;
	struct volume_log *log;
	struct waitq waitq;
	bool over; // (J)
};

static void sync_over(struct durable *durable)
{
	struct sync_wait *wait = CONTAINER_OF(durable, struct sync_wait, durable);
	struct volume_log *log = wait->log;
	spin_lock_wtd(&log->lock);
	wait->over = true;
	waitq_wake_one(&wait->waitq);
	spin_unlock_wtd(&log->lock);
}

static int wait_sync(struct volume_log *log, uint64_t ticket)
{
	struct sync_wait wait = {
	    .durable = {.volume = log->volume, .ticket = ticket, .done = sync_over}, .log = log};
	assert_may_sleep("durable_wait_sync");
	waitq_init(&wait.waitq);
	wait_strictly(log, &wait.durable);
	spin_lock_wtd(&log->lock);
	while (!wait.over)
		waitq_sleep(&wait.waitq, &log->lock);
	spin_unlock_wtd(&log->lock);
	return wait.durable.status;
}

int durable_wait_sync(struct volume *volume, uint64_t ticket)
{
	struct volume_log *log = log_of(volume);
	if (!log || (relaxed && !log->error))
		return 0;
	return wait_sync(log, ticket);
}

int transaction_wait_freed(struct volume *volume)
{
	struct volume_log *log = log_of(volume);
	if (!log)
		return -EROFS;
	int error = wait_sync(log, volume_ticket(volume));
	spin_lock_wtd(&log->lock);
	while (log->draining.root)
		waitq_sleep(&log->room, &log->lock);
	spin_unlock_wtd(&log->lock);
	return error;
}

void room_changed(struct volume_log *log)
{
	log->room_events++;
	waitq_wake_all(&log->room);
}

void transaction_abort(struct volume *volume, int error, const char *why)
{
	struct volume_log *log = log_of(volume);
	spin_lock_wtd(&log->lock);
	bool first = !log->error;
	if (first) {
		log->error = error;
		log->why = why;
		room_changed(log);
	}
	spin_unlock_wtd(&log->lock);
	if (!first)
		return;
	aborts++;
	volume->read_only = true;
	volume_private(volume)->failed = true;
	volume->state = "read-only after an error";
	kprintf("volume %s: read-only from now on: %s (error %d)\n", volume->name, why, -error);
	waiters_tell(log);
	commit_request(log); // which notes the error in the log
}
