// SPDX-License-Identifier: BSD-2-Clause
// Who waits for files to be written: one file (file_sync), everything of a volume (SYNC, the end of its writing).
#include "fs/transaction.h"
#include "fs/volume_private.h"

#include "kernel/console.h"
#include "kernel/panic.h"
#include "kernel/timer.h"

static void sync_deliver(struct wtd *work)
{
	struct file_sync *sync = CONTAINER_OF(work, struct file_sync, work);
	struct inode *inode = sync->inode;
	const struct filesystem_writing *writing = volume_filesystem(inode->volume)->writing;
	if (writing)
		writing->release_preallocation(inode);
	sync->done(sync);
}

static void sync_tell(struct file_sync *sync, int status)
{
	sync->status = status;
	wtd_init(&sync->work, sync_deliver, "file_sync");
	wtd_post_fast(&sync->work);
}

// An error ends them all: what failed is DIRTY again, and not to be waited for.
void sync_check(struct page_owner *owner)
{
	struct page_changes *c = &owner->changes;
	int error = c->error;
	if (c->batches)
		return;
	while (c->syncs && (error || !dirty_before(c, c->syncs->generation))) {
		struct file_sync *sync = c->syncs;
		c->syncs = sync->next;
		c->error = 0;
		writeback_figures.errors_told += error != 0;
		sync_tell(sync, error);
	}
}

void file_sync(struct file_sync *sync)
{
	struct page_owner *owner = inode_page_owner(sync->inode);
	struct page_changes *c = &owner->changes;
	struct file_sync **link = &c->syncs;
	spin_lock_wtd(&cache.lock);
	while (*link)
		link = &(*link)->next;
	sync->next = NULL;
	sync->generation = clock_ns();
	*link = sync;
	writeback_figures.syncs++;
	if (!dirty_before(c, sync->generation))
		sync_check(owner);
	dirty_requeue(owner);
	spin_unlock_wtd(&cache.lock);
}

struct sync_wait {
	struct file_sync sync;
	struct waitq waitq;
	bool done; // (C)
};

static void sync_done(struct file_sync *sync)
{
	struct sync_wait *wait = CONTAINER_OF(sync, struct sync_wait, sync);
	spin_lock_wtd(&cache.lock);
	wait->done = true;
	waitq_wake_all(&wait->waitq);
	spin_unlock_wtd(&cache.lock);
}

int file_sync_wait(struct inode *inode)
{
	struct sync_wait wait = {.sync = {.inode = inode, .done = sync_done}};
	assert_may_sleep("file_sync_wait");
	waitq_init(&wait.waitq);
	file_sync(&wait.sync);
	spin_lock_wtd(&cache.lock);
	while (!wait.done)
		waitq_sleep(&wait.waitq, &cache.lock);
	spin_unlock_wtd(&cache.lock);
	return wait.sync.status;
}

// Lock held. Something of the volume that was changed by `ns` is not on the disk yet.
static bool busy_since(const struct writeback *wb, uint64_t ns)
{
	if (wb->running || wb->in_flight || wb->now_first)
		return true;
	for (struct page_owner *o = wb->later_first; o; o = o->changes.next)
		if (dirty_before(&o->changes, ns) && (!o->changes.failures || wb->closed))
			return true;
	return false;
}

// Lock held. Of that, something failed and waits for its next attempt.
static bool failed_since(const struct writeback *wb, uint64_t ns)
{
	for (struct page_owner *o = wb->later_first; o; o = o->changes.next)
		if (o->changes.failures && dirty_before(&o->changes, ns))
			return true;
	return false;
}

static int wait_written(struct writeback *wb)
{
	uint64_t now = clock_ns();
	assert_may_sleep("writing everything behind");
	spin_lock_wtd(&cache.lock);
	uint64_t lost = wb->lost;
	wb->hurry_ns = now;
	writeback_kick(wb);
	while (busy_since(wb, now))
		waitq_sleep(&wb->waitq, &cache.lock);
	bool sound = lost == wb->lost && !failed_since(wb, now);
	spin_unlock_wtd(&cache.lock);
	return sound ? 0 : -EIO;
}

int writeback_all(struct volume *volume)
{
	return wait_written(writeback_of(volume));
}

// After writing was given up nothing is kept, whatever else there is to be seen; where it never began, all is.
int inode_durable_wait(struct inode *inode)
{
	struct volume *v = inode->volume;
	if (!volume_writable(v))
		return volume_private(v)->failed ? -EIO : 0;
	int error = inode->type == INODE_FILE ? file_sync_wait(inode) : 0;
	return error ? error : durable_wait_sync(v, volume_ticket(v));
}

int volume_durable_wait(struct volume *volume)
{
	if (!volume_writable(volume))
		return volume_private(volume)->failed ? -EIO : 0;
	int error = writeback_all(volume),
	    failed = durable_wait_sync(volume, volume_ticket(volume));
	return error ? error : failed;
}

int writeback_close(struct volume *volume)
{
	struct writeback *wb = writeback_of(volume);
	spin_lock_wtd(&cache.lock);
	wb->closed = true;
	dirty_wake_room();
	spin_unlock_wtd(&cache.lock);
	return wait_written(wb);
}

void writeback_open(struct volume *volume)
{
	struct writeback *wb = writeback_of(volume);
	spin_lock_wtd(&cache.lock);
	wb->closed = false;
	spin_unlock_wtd(&cache.lock);
}

// SYNC: what is dirty now is durable when the prompt comes back.
static void run_sync(int argc, char **argv)
{
	bool any = false;
	for (struct volume *v = volume_first(); v; v = v->next) {
		struct writeback *wb = writeback_of(v);
		uint64_t pages = wb->dirty;
		if (!volume_writable(v))
			continue;
		any = true;
		int error = volume_durable_wait(v);
		console_printf("%-16s %lu pages written%s\n", v->name, (unsigned long)pages,
			       error ? "; not everything: see the log" : "");
	}
	if (!any)
		console_printf("No volume is writable.\n");
}
CONSOLE_COMMAND(sync, "SYNC", "SYNC", "Writes everything that waits to be written.", run_sync);
