// SPDX-License-Identifier: BSD-2-Clause
// Advisory locks on files (contract in kernel/file_lock.h; POSIX fcntl, Linux flock and open file description locks).
// One list of all locks: programs hold a handful. A file is known by its device and number, which stay its own
// while a lock is on it, for whoever holds a lock has the file open.
#include "kernel/file_lock.h"
#include "kernel/files.h"
#include "kernel/kstat.h"
#include "kernel/lock.h"
#include "kernel/pool.h"
#include "kernel/syscall.h"

#define LOCKS_MAX     16384 // of all programs; more is -ENOLCK
#define DEADLOCK_DEEP 64    // who waits for whom: longer chains are not looked into

// Lock key. K: file_locks.
struct file_lock {
	struct file_lock *next;	 // (K)
	uint64_t device, number; // constant
	const void *owner;	 // constant
	uint64_t start, end;	 // (K) bytes, inclusive
	int pid;		 // constant
	bool whole, exclusive;	 // constant
};
struct waiter { // on the stack of one who waits
	struct waiter *next;
	const void *owner, *for_whom;
};

static struct spinlock file_locks = SPINLOCK_INIT("file locks", RANK_STREAM);
static struct pool lock_pool = POOL_INIT("file lock", struct file_lock, LOCKS_MAX);
static struct file_lock *all;  // (K)
static struct waiter *waiting; // (K)
static struct waitq changed;   // (K)
static uint64_t held;	       // (K)
KSTAT_GAUGE(held, "pagewire_file_locks", "Advisory locks that programs hold on files.");

static bool same_file(const struct file_lock *a, const struct file_lock *b)
{
	return a->device == b->device && a->number == b->number && a->whole == b->whole;
}

static bool overlap(const struct file_lock *a, const struct file_lock *b)
{
	return a->start <= b->end && b->start <= a->end;
}

// (K) The lock of somebody else that is in the way; of several, where the file is smallest.
static const struct file_lock *in_the_way(const struct file_lock *wanted)
{
	const struct file_lock *found = NULL;

	for (const struct file_lock *l = all; l; l = l->next)
		if (same_file(l, wanted) && l->owner != wanted->owner && overlap(l, wanted) &&
		    (l->exclusive || wanted->exclusive) && (!found || l->start < found->start))
			found = l;
	return found;
}

static void list_add(struct file_lock *l)
{
	l->next = all;
	all = l;
	held++;
}

static void list_remove(struct file_lock **link)
{
	struct file_lock *l = *link;

	*link = l->next;
	held--;
	pool_free(&lock_pool, l);
}

// (K) Nothing of the owner's is left in the range. `spare` is used when a lock is cut in two; true: it was.
static bool clear_range(const struct file_lock *range, struct file_lock *spare)
{
	struct file_lock **link = &all, *l;
	bool used = false;

	while ((l = *link) != NULL) {
		if (!same_file(l, range) || l->owner != range->owner || !overlap(l, range)) {
			link = &l->next;
		} else if (l->start < range->start && l->end > range->end) {
			*spare = *l;
			spare->start = range->end + 1;
			l->end = range->start - 1;
			list_add(spare);
			used = true;
			link = &l->next;
		} else if (l->start < range->start) {
			l->end = range->start - 1;
			link = &l->next;
		} else if (l->end > range->end) {
			l->start = range->end + 1;
			link = &l->next;
		} else {
			list_remove(link);
		}
	}
	return used;
}

// (K) Whether who stands in the way waits, over others perhaps, for the one who asks.
static bool would_deadlock(const void *self, const void *for_whom)
{
	for (unsigned deep = 0; deep < DEADLOCK_DEEP; deep++) {
		const struct waiter *w = waiting;

		if (for_whom == self)
			return true;
		while (w && w->owner != for_whom)
			w = w->next;
		if (!w)
			return false;
		for_whom = w->for_whom;
	}
	return false;
}

// (K) Until nothing is in the way.
static int wait_for(const struct file_lock *wanted, bool wait)
{
	const struct file_lock *other;
	int error = 0;

	while (!error && (other = in_the_way(wanted)) != NULL) {
		struct waiter self = {waiting, wanted->owner, other->owner}, **link = &waiting;

		if (!wait)
			return -EAGAIN;
		if (!wanted->whole && would_deadlock(wanted->owner, other->owner))
			return -EDEADLK;
		waiting = &self;
		if (!waitq_sleep_interruptible(&changed, &file_locks, UINT64_MAX))
			error = -ERESTART;
		while (*link != &self)
			link = &(*link)->next;
		*link = self.next;
	}
	return error;
}

static int describe(struct stream *s, const struct file_lock_owner *who, struct file_lock *out)
{
	struct stream_stat st;
	int error = s->ops->kind == STREAM_FILE || s->ops->kind == STREAM_DIRECTORY
			? stream_stat_of(s, &st)
			: -EINVAL;

	if (!error)
		*out = (struct file_lock){.device = st.device,
					  .number = st.number,
					  .owner = who->owner,
					  .whole = who->whole,
					  .pid = who->pid};
	return error;
}

int file_lock_set(struct stream *s, const struct file_lock_owner *who, int type, uint64_t start,
		  uint64_t end, bool wait)
{
	struct file_lock wanted, *fresh, *spare;
	int error = describe(s, who, &wanted);

	if (error)
		return error;
	wanted.start = start;
	wanted.end = end;
	wanted.exclusive = type == F_WRLCK;
	fresh = type == F_UNLCK ? NULL : pool_alloc(&lock_pool);
	spare = pool_alloc(&lock_pool);
	if (!spare || (type != F_UNLCK && !fresh)) {
		error = -ENOLCK;
		goto out;
	}
	spin_lock_wtd(&file_locks);
	if (fresh)
		error = wait_for(&wanted, wait);
	if (!error) {
		if (clear_range(&wanted, spare))
			spare = NULL;
		if (fresh) {
			*fresh = wanted;
			list_add(fresh);
			fresh = NULL;
			s->flags |= STREAM_LOCKED;
		}
		waitq_wake_all(&changed);
	}
	spin_unlock_wtd(&file_locks);
out:
	if (fresh)
		pool_free(&lock_pool, fresh);
	if (spare)
		pool_free(&lock_pool, spare);
	return error;
}

int file_lock_test(struct stream *s, const struct file_lock_owner *who, struct linux_flock *lock,
		   uint64_t start, uint64_t end)
{
	const struct file_lock *other;
	struct file_lock wanted;
	int error = describe(s, who, &wanted);

	if (error)
		return error;
	wanted.start = start;
	wanted.end = end;
	wanted.exclusive = lock->type == F_WRLCK;
	spin_lock_wtd(&file_locks);
	other = in_the_way(&wanted);
	lock->type = F_UNLCK;
	if (other) {
		lock->type = other->exclusive ? F_WRLCK : F_RDLCK;
		lock->whence = 0;
		lock->start = (int64_t)other->start;
		lock->len = other->end == INT64_MAX ? 0 : (int64_t)(other->end - other->start + 1);
		lock->pid = other->pid;
	}
	spin_unlock_wtd(&file_locks);
	return 0;
}

static void drop_all(struct stream *s, const struct file_lock_owner *who)
{
	struct file_lock range;

	if (describe(s, who, &range))
		return;
	range.end = UINT64_MAX;
	spin_lock_wtd(&file_locks);
	(void)clear_range(&range, NULL); // the range covers every lock: none is cut
	waitq_wake_all(&changed);
	spin_unlock_wtd(&file_locks);
}

void file_locks_closed(const struct files *files, struct stream *s)
{
	if (held && (s->ops->kind == STREAM_FILE || s->ops->kind == STREAM_DIRECTORY))
		drop_all(s, &(struct file_lock_owner){.owner = files});
}

void file_locks_stream_gone(struct stream *s)
{
	if (!(s->flags & STREAM_LOCKED))
		return;
	drop_all(s, &(struct file_lock_owner){.owner = s});
	drop_all(s, &(struct file_lock_owner){.owner = s, .whole = true});
}
