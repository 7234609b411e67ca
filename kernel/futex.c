// SPDX-License-Identifier: BSD-2-Clause
// Futexes (kernel/futex.h; futex(2)). Waiters hang in a hash by key; the word is read and the waiter queued under one
// lock, so that a wake between the two cannot be missed.
#include "kernel/futex.h"
#include "kernel/cpu.h"
#include "kernel/lock.h"
#include "kernel/syscall.h"
#include "kernel/timer.h"
#include "kernel/usercopy.h"

enum { WAIT, WAKE, REQUEUE = 3, CMP_REQUEUE, WAKE_OP, WAIT_BITSET = 9, WAKE_BITSET };
enum { PRIVATE_FLAG = 128, CLOCK_REALTIME_FLAG = 256 };
#define OWNER_DIED   0x40000000U
#define WAITERS	     0x80000000U
#define TID_BITS     0x3fffffffU
#define BUCKETS	     256
#define ROBUST_LIMIT 2048

struct key {
	uint64_t where, offset;
};
struct waiter { // on the sleeper's stack
	struct waiter *next, **link;
	struct key key;
	uint32_t bits;
	bool woken;
	struct waitq waitq;
};

static struct spinlock lock = SPINLOCK_INIT("futex", RANK_STREAM);
static struct waiter *buckets[BUCKETS]; // (lock) oldest first

static int get_key(uintptr_t address, bool private, struct key *key)
{
	struct uspace *u = process_space();
	const struct uspace_region *r;
	struct page *page;
	bool shared, of_file;
	int error;

	if (address & 3)
		return -EINVAL;
	*key = (struct key){(uintptr_t)u, address};
	if (private)
		return 0;
	mutex_lock(&u->lock);
	r = uspace_region_at(u, address);
	shared = r && r->access & USPACE_SHARED;
	of_file = shared && r->backing && r->backing->file;
	if (of_file) // its page may be another one next time
		*key = (struct key){(uintptr_t)r->backing->file,
				    (r->offset << PAGE_SHIFT) + (address - r->start)};
	mutex_unlock(&u->lock);
	if (!shared || of_file)
		return 0;
	error = uspace_page(u, address, USPACE_READ, &page);
	if (error)
		return error;
	*key = (struct key){page_phys(page), address & (PAGE_SIZE - 1)};
	page_wire_put(page);
	return 0;
}

static struct waiter **bucket_of(const struct key *key)
{
	return &buckets[((key->where >> 6) * 31 + (key->offset >> 2)) % BUCKETS];
}

// Lock held from here on.

static void enlist(struct waiter *w)
{
	struct waiter **link = bucket_of(&w->key);

	while (*link)
		link = &(*link)->next;
	w->next = NULL;
	w->link = link;
	*link = w;
}

static void delist(struct waiter *w)
{
	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
}

static unsigned wake(const struct key *key, unsigned most, uint32_t bits)
{
	unsigned count = 0;

	for (struct waiter *w = *bucket_of(key), *next; w && count < most; w = next) {
		next = w->next;
		if (w->key.where != key->where || w->key.offset != key->offset || !(w->bits & bits))
			continue;
		delist(w);
		w->woken = true;
		waitq_wake_one(&w->waitq);
		count++;
	}
	return count;
}

// Moves up to `most` waiters to another word. To the same one nobody moves: who is put at the end of the list would be
// met there again.
static unsigned requeue(const struct key *from, const struct key *to, unsigned most)
{
	unsigned count = 0;
	bool moves = from->where != to->where || from->offset != to->offset;

	for (struct waiter *w = *bucket_of(from), *next; moves && w && count < most; w = next) {
		next = w->next;
		if (w->key.where != from->where || w->key.offset != from->offset)
			continue;
		delist(w);
		w->key = *to;
		enlist(w);
		count++;
	}
	return count;
}

// ---- not held ----

static int64_t wait(uintptr_t address, const struct key *key, uint32_t expected, uint64_t end,
		    uint32_t bits)
{
	struct waiter w = {.key = *key, .bits = bits};
	uint32_t value;
	int64_t result = 0;

	if (!bits)
		return -EINVAL;
	if (user_get(&value, address)) // brings the page in
		return -EFAULT;
	waitq_init(&w.waitq);
	spin_lock_wtd(&lock);
	if (user_read_now(&value, address, sizeof(value)))
		result = -EFAULT;
	else if (value != expected)
		result = -EAGAIN;
	if (result) {
		spin_unlock_wtd(&lock);
		return result;
	}
	enlist(&w);
	while (!w.woken && !result) {
		uint64_t now = end == UINT64_MAX ? 0 : clock_ns();

		if (now >= end)
			result = -ETIMEDOUT;
		else if (!waitq_sleep_interruptible(&w.waitq, &lock,
						    end == UINT64_MAX ? end : end - now) &&
			 !w.woken)
			result = end == UINT64_MAX ? -ERESTART : syscall_again(end);
	}
	if (w.woken)
		result = 0;
	else
		delist(&w);
	spin_unlock_wtd(&lock);
	return result;
}

static int64_t wake_op(uintptr_t address, uintptr_t address2, const struct key keys[2],
		       unsigned most, unsigned most2, uint32_t encoded)
{
	uint32_t op = encoded >> 28 & 7, compare = encoded >> 24 & 15, value, old, fresh;
	int32_t operand = (int32_t)(encoded << 8) >> 20, argument = (int32_t)(encoded << 20) >> 20;
	bool hit;
	int64_t count;

	if (encoded >> 31)
		operand = 1 << (operand & 31);
	value = (uint32_t)operand;
	if (user_get(&old, address2) || user_put(address2, &old)) // present and writable
		return -EFAULT;
	spin_lock_wtd(&lock);
	if (user_read_now(&old, address2, sizeof(old))) {
		spin_unlock_wtd(&lock);
		return -EFAULT;
	}
	fresh = op == 0	  ? value
		: op == 1 ? old + value
		: op == 2 ? old | value
		: op == 3 ? old & ~value
			  : old ^ value;
	if (user_write_now(address2, &fresh, sizeof(fresh))) {
		spin_unlock_wtd(&lock);
		return -EFAULT;
	}
	hit = compare == 0   ? (int32_t)old == argument
	      : compare == 1 ? (int32_t)old != argument
	      : compare == 2 ? (int32_t)old < argument
	      : compare == 3 ? (int32_t)old <= argument
	      : compare == 4 ? (int32_t)old > argument
			     : (int32_t)old >= argument;
	count = wake(&keys[0], most, ~0U);
	if (hit)
		count += wake(&keys[1], most2, ~0U);
	spin_unlock_wtd(&lock);
	return count;
}

static int64_t move_waiters(uintptr_t address, const struct key keys[2], unsigned most,
			    unsigned most2, bool compare, uint32_t expected)
{
	uint32_t value;
	int64_t count = -EAGAIN;

	if (user_get(&value, address))
		return -EFAULT;
	spin_lock_wtd(&lock);
	if (!compare || (!user_read_now(&value, address, sizeof(value)) && value == expected)) {
		count = wake(&keys[0], most, ~0U);
		count += requeue(&keys[0], &keys[1], most2);
	}
	spin_unlock_wtd(&lock);
	return count;
}

// When the wait ends: relative for WAIT, absolute for WAIT_BITSET. UINT64_MAX: never.
static int get_end(unsigned op, bool realtime, uintptr_t at, uint64_t *end)
{
	uint64_t ns, now;
	int error;

	*end = UINT64_MAX;
	if (!at)
		return 0;
	error = syscall_get_time(at, &ns);
	if (error)
		return error;
	now = clock_ns();
	if (op == WAIT)
		*end = syscall_end(ns);
	else if (realtime)
		*end = now + (ns > clock_realtime_ns() ? ns - clock_realtime_ns() : 0);
	else
		*end = ns;
	return 0;
}

static int64_t wake_locked(const struct key *key, unsigned most, uint32_t bits)
{
	int64_t count;

	if (!bits)
		return -EINVAL;
	spin_lock_wtd(&lock);
	count = wake(key, most, bits);
	spin_unlock_wtd(&lock);
	return count;
}

SYSCALL(202, futex)
{
	unsigned op = (unsigned)a[1] & ~(PRIVATE_FLAG | CLOCK_REALTIME_FLAG);
	bool private = a[1] & PRIVATE_FLAG,
	     two = op == REQUEUE || op == CMP_REQUEUE || op == WAKE_OP;
	unsigned most = (unsigned)MIN(a[2] & 0xffffffff, 0x7fffffffUL),
		 most2 = (unsigned)MIN(a[3], 0x7fffffffUL);
	struct key keys[2];
	uint64_t end;
	int error = get_key(a[0], private, &keys[0]);

	if (!error && two)
		error = get_key(a[4], private, &keys[1]);
	if (!error && (op == WAIT || op == WAIT_BITSET))
		error = get_end(op, a[1] & CLOCK_REALTIME_FLAG, a[3], &end);
	if (error)
		return error;
	switch (op) {
	case WAIT:
		return wait(a[0], &keys[0], (uint32_t)a[2], end, ~0U);
	case WAIT_BITSET:
		return wait(a[0], &keys[0], (uint32_t)a[2], end, (uint32_t)a[5]);
	case WAKE:
		return wake_locked(&keys[0], most, ~0U);
	case WAKE_BITSET:
		return wake_locked(&keys[0], most, (uint32_t)a[5]);
	case REQUEUE:
	case CMP_REQUEUE:
		return move_waiters(a[0], keys, most, most2, op == CMP_REQUEUE, (uint32_t)a[5]);
	case WAKE_OP:
		return wake_op(a[0], a[4], keys, most, most2, (uint32_t)a[5]);
	default:
		return -ENOSYS;
	}
}

void futex_wake_one(uintptr_t address)
{
	struct key key;

	if (!get_key(address, false, &key))
		(void)wake_locked(&key, 1, ~0U);
}

// ---- robust locks: the kernel marks what a dead thread held (set_robust_list(2)) ----

struct robust_head {
	uint64_t next;
	int64_t offset;
	uint64_t pending;
};

// Looks at the word and changes it in one step, as programs do: who sets WAITERS meanwhile stays seen. -EFAULT where
// its page has to be brought in, for writing.
static int mark_word(uintptr_t address, uint32_t tid, uint32_t *was)
{
	uint32_t fresh;
	int error;

	spin_lock_wtd(&lock);
	error = user_read_now(was, address, sizeof(*was));
	fresh = (*was & WAITERS) | OWNER_DIED;
	if (!error && (*was & TID_BITS) == tid)
		error = user_write_now(address, &fresh, sizeof(fresh));
	spin_unlock_wtd(&lock);
	return error;
}

// What the list names is marked, if the task has it, and who waits for it is woken. `pending`: it was about to be taken
// or let go of; if it was let go of, the wake-up may be what is missing. False: the rest of the list means nothing.
static bool mark_dead(const struct task *t, uintptr_t address, bool pending)
{
	uint32_t was;

	if (address & 3)
		return false;
	while (mark_word(address, (uint32_t)t->tid, &was)) {
		if (user_get(&was, address))
			return false;
		if ((was & TID_BITS) == (uint32_t)t->tid &&
		    uspace_fault(process_space(), address, USPACE_WRITE))
			return false;
	}
	if ((was & TID_BITS) == (uint32_t)t->tid || (pending && !was))
		futex_wake_one(address);
	return true;
}

void futex_robust_exit(struct task *t)
{
	struct robust_head head;
	uint64_t entry;

	if (!t->robust_list || user_get(&head, t->robust_list))
		return;
	entry = head.next;
	for (unsigned n = 0; n < ROBUST_LIMIT && (entry & ~1UL) != t->robust_list; n++) {
		uint64_t next, at = entry & ~1UL;

		if (user_get(&next, at))
			return;
		if (at != (head.pending & ~1UL) && !mark_dead(t, at + (uint64_t)head.offset, false))
			return;
		entry = next;
	}
	if (head.pending)
		(void)mark_dead(t, (head.pending & ~1UL) + (uint64_t)head.offset, true);
}

SYSCALL(273, set_robust_list)
{
	if (a[1] != sizeof(struct robust_head))
		return -EINVAL;
	task_current()->robust_list = a[0];
	return 0;
}

SYSCALL(274, get_robust_list)
{
	const uint64_t bytes = sizeof(struct robust_head);
	uint64_t list = task_current()->robust_list;
	struct task *t;

	if (a[0]) {
		spin_lock_wtd(&process_lock);
		t = task_find((int)a[0]);
		list = t ? t->robust_list : 0;
		spin_unlock_wtd(&process_lock);
		if (!t)
			return -ESRCH;
	}
	return user_put(a[1], &list) || user_put(a[2], &bytes) ? -EFAULT : 0;
}
