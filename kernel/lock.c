// SPDX-License-Identifier: BSD-2-Clause
// Spin locks that testify (include/kernel/lock.h): who holds one, where it was taken, and in which
// order. Every acquire checks the order against the innermost lock this processor holds; the chain
// of held locks hangs on struct cpu, so a panic can print it.
//
// An interrupt may come between the steps of an acquire or release and take and drop locks of its
// own: it leaves the chain as it found it, so the steps need no protection of their own. A thread
// that holds a lock is never switched away from (interrupts are off, or WTDs and switches are
// disabled).
//
// The scheduler's own lock is not one of these: see sched_lock in kernel/sched.h.
#include "kernel/lock.h"
#include "kernel/cpu.h"
#include "kernel/panic.h"
#include "kernel/sched.h"

// Tens of milliseconds and more of looking at somebody else's lock; none is held for a hundredth of
// that.
#define SPIN_LIMIT (1U << 20)

static NORETURN __attribute__((noinline)) void order_panic(const struct spinlock *lock,
							   const char *holder)
{
	const struct spinlock *inner = this_cpu()->locks;

	for (const struct spinlock *l = inner; l; l = l->outer)
		if (l == lock)
			PANIC("%s takes lock %s again, taken by %s", holder, lock->name,
			      lock->holder);
	PANIC("%s takes lock %s (rank %u) inside %s (rank %u), taken by %s", holder, lock->name,
	      lock->rank, inner->name, inner->rank, inner->holder);
}

static __attribute__((noinline)) void wait_for(struct spinlock *lock, const char *holder)
{
	uint32_t spins = 0;

	do {
		while (__atomic_load_n(&lock->held, __ATOMIC_RELAXED)) {
			cpu_relax();
			if (++spins == SPIN_LIMIT)
				PANIC("%s waits for lock %s, held too long by %s", holder,
				      lock->name, lock->holder ? lock->holder : "nobody");
		}
	} while (__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE));
}

static inline void acquire(struct cpu *cpu, struct spinlock *lock, const char *holder,
			   enum lock_mode mode)
{
	struct spinlock *inner = cpu->locks;

	if (UNLIKELY(inner && inner->rank >= lock->rank))
		order_panic(lock, holder);
	if (UNLIKELY(__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE)))
		wait_for(lock, holder);
	lock->holder = holder;
	lock->saved_flags = mode;
	lock->outer = inner;
	cpu->locks = lock;
}

// Locks are usually dropped innermost first, but need not be.
static __attribute__((noinline)) void unchain(struct spinlock *lock)
{
	struct spinlock **link = &this_cpu()->locks;

	while (*link && *link != lock)
		link = &(*link)->outer;
	if (!*link)
		PANIC("lock %s is dropped by who does not hold it (holder: %s)", lock->name,
		      lock->holder ? lock->holder : "nobody");
	*link = lock->outer;
}

static inline void release(struct spinlock *lock)
{
	struct cpu *cpu = this_cpu();

	if (LIKELY(cpu->locks == lock))
		cpu->locks = lock->outer;
	else
		unchain(lock);
	lock->holder = NULL;
	__atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
}

static NORETURN __attribute__((noinline)) void kind_panic(const struct spinlock *lock,
							  const char *kind)
{
	PANIC("lock %s was taken with %s by %s", lock->name, kind,
	      lock->holder ? lock->holder : "nobody");
}

void spin_lock_irq_at(struct spinlock *lock, const char *holder)
{
	bool on = irq_save();

	acquire(this_cpu(), lock, holder, on ? LOCK_MODE_IRQ_WAS_ON : LOCK_MODE_IRQ_WAS_OFF);
}

void spin_unlock_irq(struct spinlock *lock)
{
	uint64_t mode = lock->saved_flags;

	if (UNLIKELY(mode == LOCK_MODE_WTD))
		kind_panic(lock, "spin_lock_wtd");
	release(lock);
	if (mode == LOCK_MODE_IRQ_WAS_ON) {
		irq_restore(true);
		sched_kick();
	}
}

void spin_lock_slowly(struct spinlock *lock, const char *holder)
{
	acquire(this_cpu(), lock, holder, LOCK_MODE_WTD);
}

void spin_unlock_slowly(struct spinlock *lock)
{
	if (UNLIKELY(lock->saved_flags != LOCK_MODE_WTD))
		kind_panic(lock, "spin_lock_irq");
	release(lock);
}

bool spin_held(const struct spinlock *lock)
{
	return __atomic_load_n(&lock->held, __ATOMIC_RELAXED);
}

uint32_t spin_rank_held(void)
{
	const struct spinlock *inner = this_cpu()->locks;

	return inner ? inner->rank : 0;
}

struct spin_token spin_release_to_sleep(struct spinlock *lock)
{
	struct spin_token token = {.holder = lock->holder, .mode = lock->saved_flags};

	release(lock);
	if (token.mode == LOCK_MODE_WTD)
		this_cpu()->wtd_disabled--;
	return token;
}

void spin_reacquire(struct spinlock *lock, struct spin_token token)
{
	if (token.mode == LOCK_MODE_WTD) {
		spin_lock_wtd_at(lock, token.holder);
		return;
	}
	irq_restore(token.mode == LOCK_MODE_IRQ_WAS_ON);
	spin_lock_irq_at(lock, token.holder);
}

void wtd_enable_slowly(struct cpu *cpu)
{
	ASSERT((int32_t)cpu->wtd_disabled >= 0);
	sched_kick();
}
