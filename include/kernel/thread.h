// SPDX-License-Identifier: BSD-2-Clause
// Kernel threads: what runs when there is no work to do. Priorities are strict; equal priorities
// take turns. A thread interrupted by work goes back to the head of its queue.
#pragma once

#include "kernel/base.h"

enum thread_priority {
	THREAD_LOW,    // only when nothing else wants the processor
	THREAD_NORMAL, // the console, housekeeping
	THREAD_HIGH,
	THREAD_PRIORITIES
};

struct thread;

// Thread context. The new thread owns a guarded stack of 16 KB; it ends when fn returns. Null when
// memory is short. `name` must outlive the thread.
struct thread *thread_create(const char *name, enum thread_priority priority, void (*fn)(void *),
			     void *arg) MUST_CHECK;
// Thread or worker context: may sleep.
void thread_yield(void);
void thread_sleep_ns(uint64_t ns);
const char *thread_name(void); // of the running thread; any context
// True where sleeping is allowed: thread or worker, no spin lock held, WTDs not disabled. Any
// context.
bool may_sleep(void);
// Panics, naming `what`, unless may_sleep().
void assert_may_sleep(const char *what);

// Waiting for a condition. The waker makes the condition true, then calls waitq_wake_*; the
// sleeper:
//
//	spin_lock_wtd(&obj->lock);
//	while (!obj->ready)
//		waitq_sleep(&obj->waitq, &obj->lock);     // drops the lock, sleeps, takes it again
//	spin_unlock_wtd(&obj->lock);
struct spinlock;
struct waitq {
	struct thread *first, *last; // (S) the scheduler's lock
};
void waitq_init(struct waitq *q);
void waitq_sleep(struct waitq *q, struct spinlock *lock);
// As above, for at most ns; false on time-out.
bool waitq_sleep_for(struct waitq *q, struct spinlock *lock, uint64_t ns);
// As above, and ends early, with false, when thread_interrupt was called for the sleeper, before or
// meanwhile, until thread_interrupt_seen. When the time is over it returns true like a wake-up.
bool waitq_sleep_interruptible(struct waitq *q, struct spinlock *lock, uint64_t ns) MUST_CHECK;
void thread_interrupt(struct thread *t); // any context; t must be there
void thread_interrupt_seen(void);	 // the running thread has looked why
void waitq_wake_one(struct waitq *q);	 // any context
void waitq_wake_all(struct waitq *q);	 // any context

// A lock that sleeps. Thread or worker context only. Not recursive (panic); only its holder may
// drop it (panic). It is handed to whoever has waited longest. There is no priority inheritance: a
// THREAD_LOW thread must not hold one that others want, or they wait behind every normal thread.
struct mutex {
	struct thread *holder; // (S)
	struct waitq waiters;  // (S)
	const char *name;
};
#define MUTEX_INIT(mutex_name)                                                                     \
	{                                                                                          \
		.name = (mutex_name)                                                               \
	}
void mutex_lock(struct mutex *m);
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);

void thread_init(void);			  // boot, once: the running code becomes the first thread
void thread_idle_loop(void) NORETURN;	  // the boot thread's last call: HLT until there is work
void thread_reschedule_at_irq_exit(void); // interrupt exit only, after fast WTDs ran
// Time that a processor was halted since kernel entry, for MONITOR's utilization. Any context.
uint64_t cpu_idle_ns(unsigned cpu);
