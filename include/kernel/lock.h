// SPDX-License-Identifier: BSD-2-Clause
// Spin locks that can testify, and the two ways of keeping others out on this processor.
//
// Three contexts exist: interrupt, fast WTD (both may not sleep), and thread (workers included; may
// sleep unless it holds one of these). A field touched from
//   - interrupts:            guard it with spin_lock_irq / spin_unlock_irq,
//   - fast WTDs and threads: guard it with spin_lock_wtd / spin_unlock_wtd (fast WTDs wait),
//   - fast WTDs only:        no lock while they all run on one processor; say so in the lock key.
// Nobody sleeps holding a spin lock; nobody takes a lock of a lower or equal rank while holding one
// of a higher rank. Both are checked on every acquire and are a panic that names both sides.
#pragma once

#include "kernel/base.h"
#include "kernel/cpu.h"

// Outermost first: a lock may be taken while holding only locks of smaller rank. docs/locks.md has
// the table with the fields each one guards.
enum lock_rank {
	RANK_HTTP = 10,
	RANK_TERMINAL = 12,
	RANK_STREAM = 13,
	RANK_POLL = 14,
	RANK_PROCESS = 15,
	RANK_EPOLL = 16,
	RANK_NET = 20,
	RANK_NAME = 30,
	RANK_VOLUME = 40,
	RANK_PAGECACHE = 50,
	RANK_BLOCK = 60,
	RANK_DRIVER = 70,
	RANK_POOL = 80,
	RANK_PMM = 90,
	RANK_VMM = 100,
	RANK_TIMER = 110,
	RANK_SCHED = 120,
	RANK_CONSOLE = 130,
	RANK_TRACE = 140,
};

enum lock_mode { LOCK_MODE_IRQ_WAS_OFF, LOCK_MODE_IRQ_WAS_ON, LOCK_MODE_WTD };

struct spinlock {
	volatile uint32_t held;
	uint32_t rank; // enum lock_rank
	const char *name;
	const char *holder;	// function that took it, while held
	uint64_t saved_flags;	// enum lock_mode, while held
	struct spinlock *outer; // the lock taken before this one on this processor
};

#define SPINLOCK_INIT(lock_name, lock_rank)                                                        \
	{                                                                                          \
		.name = (lock_name), .rank = (lock_rank)                                           \
	}

void spin_lock_irq_at(struct spinlock *lock, const char *holder); // any context
void spin_unlock_irq(struct spinlock *lock);
#ifdef PAGEWIRE_HOST
void spin_lock_wtd_at(struct spinlock *lock, const char *holder);
void spin_unlock_wtd(struct spinlock *lock);
#define spin_lock_brief(lock)	spin_lock_wtd(lock)
#define spin_unlock_brief(lock) spin_unlock_wtd(lock)
void wtd_disable(void);
void wtd_enable(void);
#else
// Out of line: a lock that is taken or out of order; who lets go out of turn; what came due meanwhile.
void spin_lock_slowly(struct spinlock *lock, const char *holder);
void spin_unlock_slowly(struct spinlock *lock);
void wtd_enable_slowly(struct cpu *cpu);

// Keeps fast WTDs from running on this processor until the matching enable (which runs those that
// came due meanwhile). Nests. Thread or fast WTD context; sleeping in between is a panic.
static inline void wtd_disable(void)
{
	this_cpu()->wtd_disabled++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void wtd_enable(void)
{
	struct cpu *cpu = this_cpu();
	uint32_t left;

	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	left = --cpu->wtd_disabled;
	__atomic_signal_fence(__ATOMIC_SEQ_CST); // what comes due from here on runs by itself
	if (UNLIKELY(left == 0 ? cpu->kick : (int32_t)left < 0))
		wtd_enable_slowly(cpu);
}

// Fast WTD or thread. With one processor nobody else can come between the look at `held` and the store.
static inline void spin_lock_wtd_at(struct spinlock *lock, const char *holder)
{
	struct cpu *cpu = this_cpu();
	struct spinlock *inner;

	cpu->wtd_disabled++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	inner = cpu->locks;
	if (UNLIKELY(CPU_MAX > 1 || lock->held || (inner && inner->rank >= lock->rank))) {
		spin_lock_slowly(lock, holder);
		return;
	}
	lock->held = 1;
	lock->holder = holder;
	lock->saved_flags = LOCK_MODE_WTD;
	lock->outer = inner;
	cpu->locks = lock;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void spin_unlock_wtd(struct spinlock *lock)
{
	struct cpu *cpu = this_cpu();

	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (UNLIKELY(CPU_MAX > 1 || cpu->locks != lock || lock->saved_flags != LOCK_MODE_WTD)) {
		spin_unlock_slowly(lock);
	} else {
		cpu->locks = lock->outer;
		lock->holder = NULL;
		lock->held = 0;
	}
	wtd_enable();
}

// The same, for a few instructions that take no other lock, do not sleep and do not ask who holds this one: while WTDs
// are off the one processor is theirs, and nobody could look at what the lock would say of them.
static inline void spin_lock_brief(struct spinlock *lock)
{
	if (CPU_MAX > 1) {
		spin_lock_wtd_at(lock, __func__);
		return;
	}
	wtd_disable();
	if (UNLIKELY(lock->held))
		spin_lock_slowly(lock, __func__); // says by whom
}

static inline void spin_unlock_brief(struct spinlock *lock)
{
	if (CPU_MAX > 1)
		spin_unlock_wtd(lock);
	else
		wtd_enable();
}
#endif
#define spin_lock_irq(lock) spin_lock_irq_at((lock), __func__)
#define spin_lock_wtd(lock) spin_lock_wtd_at((lock), __func__)
bool spin_held(const struct spinlock *lock);
// Rank of the innermost lock that this processor holds, 0 when it holds none. Any context.
uint32_t spin_rank_held(void);
// For waitq_sleep: drops `lock` without running what came due meanwhile, and takes it again the way
// it had been taken. Thread context, interrupts off around release; the token goes to reacquire.
struct spin_token {
	const char *holder;
	uint64_t mode;
};
struct spin_token spin_release_to_sleep(struct spinlock *lock);
void spin_reacquire(struct spinlock *lock, struct spin_token token);
