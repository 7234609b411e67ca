// SPDX-License-Identifier: BSD-2-Clause
// Inodes in memory: found by (volume, number), read once however many ask at the same time, kept after
// the last reference until there are too many.
//
//	          inode_open                read_inode: 0
//	(absent) ------------> LOADING -------------------> READY <------------- inode_make
//	     ^                    | error: every opener      |  last inode_put: onto the idle list,
//	     +--------------------+ gets it                  |  from where inode_open takes it back
//	     +-----------------------------------------------+
//	     | idle for longest, one too many, no pages:     | last inode_put, and it has no name left
//	     | forget hook, forget_inode                     v
//	     +-------------------------------------------- DYING: found by nobody; a worker has the format
//	          inode_leave, in the transaction that            give back its blocks and its number
//	          frees the number
//
// An inode that has pages in the cache stays: its pages are found through it. It costs less than an
// eighth of the smallest of them, so the page cache's own bound is bound enough.
#include "fs/transaction.h"
#include "fs/volume_private.h"
#include "fs/zeros.h"

#include "kernel/cpu.h"
#include "kernel/kstat.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/thread.h"

enum load { LOADING, READY, FAILED, DYING };

struct inode_private {
	struct inode inode;
	volatile uint32_t refs;		 // (L) but the step from n > 1 to n - 1 and from n to n + 1
	uint8_t load;			 // (L) enum load
	int error;			 // (L) FAILED: why
	struct inode_private *hash_next; // (L)
	struct inode_private *idle_next, *idle_prev; // (L) next: DYING, too
	bool hashed;				     // (L)
	struct waitq waiters;			     // (L) openers while LOADING
	struct page_owner owner;
	uint64_t format[INODE_FORMAT_BYTES / 8];
};

#define IDLE_MIN    1024		       // inodes kept without a reference, at least
#define TRIM_LOOK   16			       // idle inodes looked at for each one too many
#define BUCKETS_MAX (BIT(22) / sizeof(void *)) // the largest pmm block

static struct spinlock lock = SPINLOCK_INIT("inode", RANK_VOLUME);
// The maximum is set at boot: an inode for each frame (files of one page), those kept idle, and 8192
// that somebody holds: twice the files that as many connections and workers can have open.
static struct pool inode_pool = POOL_INIT("inode", struct inode_private, 0);
static struct zeros buckets; // of pointers to the first inode
static uint64_t bucket_mask, seed;
static struct waitq all_dead;
static struct inode_private *idle_first, *idle_last; // (L) most, least recently used
static uint64_t idle, idle_max;			     // (L)
static struct inode_private *dying_first, **dying_last = &dying_first; // (L)
static uint64_t dying; // (L) those being finished, too
static uint64_t count, loads, load_errors, forgotten, refused, deleted;
static bool dying_busy; // (L)
static void finish_dying(struct wtd *work);
static struct wtd dying_work = WTD_INIT(finish_dying, "inode_put");
static void (*forget_hook)(struct inode *inode);

KSTAT_GAUGE(count, "pagewire_inodes", "Inodes in memory.");
KSTAT_GAUGE(idle, "pagewire_inodes_idle", "Of them: held by nobody.");
KSTAT_GAUGE(dying, "pagewire_inodes_dying", "Deleted inodes whose blocks are being given back.");
KSTAT_COUNTER(deleted, "pagewire_inodes_deleted_total", "Inodes deleted after their last use.");
KSTAT_COUNTER(loads, "pagewire_inode_reads_total", "Inodes read from a volume.");
KSTAT_COUNTER(load_errors, "pagewire_inode_read_errors_total", "Inodes that could not be read.");
KSTAT_COUNTER(forgotten, "pagewire_inodes_forgotten_total", "Inodes that left memory.");
KSTAT_COUNTER(refused, "pagewire_inode_no_memory_total", "Inodes refused for lack of memory.");

static struct inode_private *private_of(const struct inode *inode)
{
	return CONTAINER_OF(inode, struct inode_private, inode);
}

struct page_owner *inode_page_owner(struct inode *inode)
{
	return &private_of(inode)->owner;
}

void *inode_format_data(struct inode *inode)
{
	return private_of(inode)->format;
}

void inode_set_forget_hook(void (*forget)(struct inode *inode))
{
	forget_hook = forget;
}

static uint64_t bucket_of(const struct volume *volume, uint64_t number)
{
	uint64_t h = (number ^ seed ^ (uint64_t)volume->id << 48) * 0x9e3779b97f4a7c15UL;
	return h >> 32 & bucket_mask;
}

static struct inode_private **bucket_to_write(const struct inode_private *p)
{
	return zeros_write(&buckets, bucket_of(p->inode.volume, p->inode.number), sizeof(p));
}

// Lock held.
static struct inode_private *find(const struct volume *volume, uint64_t number)
{
	struct inode_private *const *bucket =
	    zeros_read(&buckets, bucket_of(volume, number), sizeof(*bucket));
	struct inode_private *p = *bucket;
	while (p && (p->inode.number != number || p->inode.volume != volume))
		p = p->hash_next;
	return p;
}

static void hash(struct inode_private *p)
{
	struct inode_private **bucket = bucket_to_write(p);
	p->hash_next = *bucket;
	*bucket = p;
	p->hashed = true;
	count++;
}

static void unhash(struct inode_private *p)
{
	struct inode_private **link = bucket_to_write(p);
	while (*link != p)
		link = &(*link)->hash_next;
	*link = p->hash_next;
	p->hashed = false;
	count--;
}

static void idle_remove(struct inode_private *p)
{
	*(p->idle_prev ? &p->idle_prev->idle_next : &idle_first) = p->idle_next;
	*(p->idle_next ? &p->idle_next->idle_prev : &idle_last) = p->idle_prev;
	idle--;
}

static void idle_add(struct inode_private *p)
{
	p->idle_prev = NULL;
	p->idle_next = idle_first;
	*(idle_first ? &idle_first->idle_prev : &idle_last) = p;
	idle_first = p;
	idle++;
}

// Lock held. Takes up to `want` idle inodes without pages out of the cache, looking at up to `look`, and
// gives them as a list.
static struct inode_private *take_idle(size_t want, size_t look)
{
	struct inode_private *list = NULL;
	for (look = MIN(look, idle); want && look; look--) {
		struct inode_private *p = idle_last;
		idle_remove(p);
		if (p->owner.pages) {
			idle_add(p);
			continue;
		}
		unhash(p);
		p->hash_next = list;
		list = p;
		want--;
	}
	return list;
}

// Lock not held. Nobody else knows these any more.
static size_t forget(struct inode_private *list)
{
	size_t n = 0;
	for (struct inode_private *next; list; list = next, n++) {
		struct inode *inode = &list->inode;
		const struct filesystem *fs = volume_filesystem(inode->volume);
		next = list->hash_next;
		if (inode->server_data && forget_hook)
			forget_hook(inode);
		if (fs->forget_inode && (list->load == READY || list->load == DYING))
			fs->forget_inode(inode);
		pool_free(&inode_pool, list);
	}
	forgotten += n;
	return n;
}

// Lock held. One more reference.
static struct inode *hold(struct inode_private *p)
{
	if (__atomic_fetch_add(&p->refs, 1, __ATOMIC_RELAXED) == 0)
		idle_remove(p);
	return &p->inode;
}

void inode_get(struct inode *inode)
{
	uint32_t before = __atomic_fetch_add(&private_of(inode)->refs, 1, __ATOMIC_RELAXED);
	ASSERT(before);
}

// Lock held. Nobody has the inode open and no name leads to it.
static bool is_deleted(const struct inode_private *p)
{
	return p->load == READY && !p->inode.links &&
	       volume_filesystem(p->inode.volume)->writing != NULL;
}

// Lock held.
static void die(struct inode_private *p)
{
	p->load = DYING;
	p->idle_next = NULL;
	*dying_last = p;
	dying_last = &p->idle_next;
	dying++;
	wtd_post(&dying_work);
}

void inode_leave(struct inode *inode)
{
	struct inode_private *p = private_of(inode);
	spin_lock_wtd(&lock);
	if (p->hashed)
		unhash(p);
	spin_unlock_wtd(&lock);
}

// A worker, one at a time: deleting sleeps, and every deletion wants the volume's lock anyway.
static void finish_dying(struct wtd *work)
{
	for (;;) {
		spin_lock_wtd(&lock);
		struct inode_private *p = dying_busy ? NULL : dying_first;
		if (p) {
			dying_busy = true;
			dying_first = p->idle_next;
			if (!dying_first)
				dying_last = &dying_first;
		}
		spin_unlock_wtd(&lock);
		if (!p)
			return;
		volume_filesystem(p->inode.volume)->writing->finish_inode(&p->inode);
		inode_leave(&p->inode);
		ASSERT(!p->owner.pages);
		p->hash_next = NULL;
		forget(p);
		spin_lock_wtd(&lock);
		dying_busy = false;
		dying--;
		deleted++;
		waitq_wake_all(&all_dead);
		spin_unlock_wtd(&lock);
	}
}

void inode_wait_deleted(void)
{
	assert_may_sleep("inode_wait_deleted");
	spin_lock_wtd(&lock);
	while (dying)
		waitq_sleep(&all_dead, &lock);
	spin_unlock_wtd(&lock);
}

// The last reference is dropped under the lock, so that nobody can free the inode in between.
void inode_put(struct inode *inode)
{
	struct inode_private *p = private_of(inode), *gone = NULL;
	uint32_t refs = p->refs;
	while (refs > 1)
		if (__atomic_compare_exchange_n(&p->refs, &refs, refs - 1, false, __ATOMIC_RELEASE,
						__ATOMIC_RELAXED))
			return;
	ASSERT(refs);
	spin_lock_wtd(&lock);
	if (!__atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL)) {
		if (p->load == FAILED) { // not in the hash any more
			p->hash_next = NULL;
			gone = p;
		} else if (is_deleted(p)) {
			die(p);
		} else {
			idle_add(p);
			if (idle > idle_max)
				gone = take_idle(2, TRIM_LOOK);
		}
	}
	spin_unlock_wtd(&lock);
	forget(gone);
}

struct inode *inode_find_cached(struct volume *volume, uint64_t number)
{
	spin_lock_wtd(&lock);
	struct inode_private *p = find(volume, number);
	struct inode *inode = p && p->load == READY ? hold(p) : NULL;
	spin_unlock_wtd(&lock);
	return inode;
}

// Lock held. Somebody else reads it, or has.
static int wait_loaded(struct inode_private *p)
{
	hold(p);
	while (p->load == LOADING)
		waitq_sleep(&p->waiters, &lock);
	return p->error;
}

static struct inode_private *make(struct volume *volume, uint64_t number)
{
	struct inode_private *p = pool_alloc(&inode_pool);
	if (!p && inode_drop_unused(64))
		p = pool_alloc(&inode_pool);
	if (!p)
		return NULL;
	p->inode.volume = volume;
	p->inode.number = number;
	p->refs = 1;
	p->load = LOADING;
	waitq_init(&p->waiters);
	page_owner_init(&p->owner, &p->inode, volume);
	return p;
}

static void load(struct inode_private *p)
{
	int error = volume_filesystem(p->inode.volume)->read_inode(&p->inode);
	spin_lock_wtd(&lock);
	p->error = error;
	p->load = error ? FAILED : READY;
	loads++;
	if (error) {
		load_errors++;
		unhash(p);
	}
	waitq_wake_all(&p->waiters);
	spin_unlock_wtd(&lock);
}

// Under the volume's lock: who changes the volume never waits for an inode that is being read, because it is read
// by one who has the lock.
int inode_open_locked(struct volume *volume, uint64_t number, struct inode **out)
{
	assert_may_sleep("inode_open");
	*out = inode_find_cached(volume, number);
	if (*out)
		return 0;
	struct inode_private *fresh = make(volume, number);
	spin_lock_wtd(&lock);
	struct inode_private *p = find(volume, number);
	int error = 0;
	bool gone = p && p->load == DYING; // its last name went before; it must not come back
	if (gone) {
		p = NULL;
	} else if (p) {
		error = wait_loaded(p);
	} else if (fresh) {
		p = fresh;
		hash(p);
	}
	spin_unlock_wtd(&lock);
	if (gone && fresh)
		pool_free(&inode_pool, fresh);
	if (gone)
		return -ENOENT;
	if (!p) {
		refused++;
		return -ENOMEM;
	}
	if (p == fresh) {
		load(p);
		error = p->error;
	} else if (fresh) {
		pool_free(&inode_pool, fresh);
	}
	if (error) {
		inode_put(&p->inode);
		return error;
	}
	*out = &p->inode;
	return 0;
}

int inode_open(struct volume *volume, uint64_t number, struct inode **out)
{
	*out = inode_find_cached(volume, number);
	if (*out)
		return 0;
	volume_lock_shared(volume);
	int error = inode_open_locked(volume, number, out);
	volume_unlock_shared(volume);
	return error;
}

int inode_make(struct volume *volume, uint64_t number, struct inode **out)
{
	struct inode_private *p = make(volume, number);
	*out = NULL;
	if (!p) {
		refused++;
		return -ENOMEM;
	}
	spin_lock_wtd(&lock);
	bool known = find(volume, number);
	if (!known) {
		p->load = READY;
		hash(p);
	}
	spin_unlock_wtd(&lock);
	if (known) {
		pool_free(&inode_pool, p);
		return -EUCLEAN;
	}
	*out = &p->inode;
	return 0;
}

void inode_unmake(struct inode *inode)
{
	struct inode_private *p = private_of(inode);
	ASSERT(p->refs == 1 && p->load == READY && !p->owner.pages);
	inode_leave(inode);
	p->hash_next = NULL;
	forget(p);
}

void inode_changed(struct inode *inode)
{
	wtd_disable();
	if (inode->server_data && forget_hook)
		forget_hook(inode);
	wtd_enable();
	name_generation_advance();
}

int inode_read_dir(struct inode *dir, uint64_t *cursor,
		   bool (*visit)(void *ctx, const struct dir_entry *entry), void *ctx)
{
	assert_may_sleep("inode_read_dir");
	if (dir->type != INODE_DIRECTORY)
		return -ENOTDIR;
	volume_lock_shared(dir->volume);
	int error = volume_filesystem(dir->volume)->read_dir(dir, cursor, visit, ctx);
	volume_unlock_shared(dir->volume);
	return error;
}

int inode_read_link(struct inode *link, char *target, size_t size)
{
	assert_may_sleep("inode_read_link");
	if (link->type != INODE_SYMLINK)
		return -EINVAL;
	if (link->size >= size)
		return -ERANGE;
	volume_lock_shared(link->volume);
	int len = volume_filesystem(link->volume)->read_link(link, target, size);
	volume_unlock_shared(link->volume);
	return len;
}

size_t inode_drop_unused(size_t want)
{
	spin_lock_wtd(&lock);
	struct inode_private *list = take_idle(want, SIZE_MAX);
	spin_unlock_wtd(&lock);
	return forget(list);
}

void inode_init(void)
{
	struct pmm_stats stats;
	pmm_stats(&stats);
	idle_max = MAX(stats.frames_total / 4, (uint64_t)IDLE_MIN);
	inode_pool.maximum = (uint32_t)(stats.frames_total + idle_max + 8192);
	uint64_t size = 1024;
	while (size < idle_max && size < BUCKETS_MAX) // the idle ones: one to a bucket
		size *= 2;
	bucket_mask = size - 1;
	seed = cpu_random();
	waitq_init(&all_dead);
	if (!zeros_make(&buckets, size * sizeof(struct inode_private *)))
		PANIC("no memory for the inode hash (%lu buckets)", (unsigned long)size);
}

void inode_stop(void)
{
	ASSERT(!count && !idle && !dying);
	zeros_free(&buckets);
}
