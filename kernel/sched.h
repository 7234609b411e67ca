// SPDX-License-Identifier: BSD-2-Clause
// What the scheduler's files share: threads as they are inside, and one struct sched a processor.
//
//   sched.c   who runs next, slices, switching, HLT    waitq.c   waiting, mutexes
//   wtd.c     work nodes, posting, the fast queue      worker.c  the pool that runs sleeping WTDs
//   thread.c  making and ending threads                wheel.c   delayed WTDs    timer.c  the clock
//
// A thread's states and who moves it:
//
//             sched_ready               sched_switch                    sched_block
//   BLOCKED --------------> READY ------------------> RUNNING --------------------------> BLOCKED
//      ^  thread_create       ^                          |
//                             +--------------------------+  preempted: to the head of its queue;
//                                                        |  yield, quantum used up: to the tail
//                                                        +--> DEAD, freed by the keeper (worker.c)
//
// S is the scheduler's lock of one processor. It is a bare one, outside the ranks of kernel/lock.h,
// because it is taken for every packet: innermost of all, interrupts off, nothing is called under
// it that takes another lock.
#pragma once

#include "kernel/cpu.h"
#include "kernel/lock.h"
#include "kernel/thread.h"
#include "kernel/wheel.h"
#include "kernel/wtd.h"

#define THREAD_WORKER ((unsigned)THREAD_PRIORITIES) // the ready queue ahead of all threads
#define READY_QUEUES  (THREAD_PRIORITIES + 1)
#define THREAD_STACK  (16 * 1024)

#define WTD_BOUND	 15		 // WTDs in a row before a ready thread gets a slice
#define SLICE_MAX	 (1 * NS_PER_MS) // a slice is as long as the row of WTDs was, within these
#define SLICE_MIN	 (100 * NS_PER_US)
#define ROW_GAP		 (20 * NS_PER_US) // so long without a WTD, and the row is over
#define THREAD_QUANTUM	 (10 * NS_PER_MS) // turns of threads of equal priority
#define WORKERS_MIN	 8
#define WORKERS_MAX	 128
#define WORKER_IDLE_LIFE (5 * NS_PER_SEC) // a worker above the minimum goes after so long idle
#define WORKER_RETRY	 (10 * NS_PER_MS) // after a failure to make one

enum thread_state { THREAD_BLOCKED, THREAD_READY, THREAD_RUNNING, THREAD_DEAD };
enum slice { SLICE_NONE, SLICE_THREAD, SLICE_WORKER };

struct thread {
	uintptr_t sp;		    // own; stack pointer while it is not running
	struct thread *next, *prev; // (S) the one list it is on: ready, waitq, idle workers, dead
	struct thread *all_next;    // (S) thread.c's list of all
	struct waitq *waiting;	    // (S) the queue it waits in, if any
	uint8_t state;		    // (S) enum thread_state
	uint8_t priority;	    // constant: enum thread_priority or THREAD_WORKER
	bool timed_out;		    // (S) its timer woke it
	bool leave;		    // (S) worker: end instead of taking more work
	bool interrupted;   // (S) thread_interrupt was called: interruptible sleeps end at once
	bool interruptible; // (S) BLOCKED in one
	uint32_t mutexes;   // own: how many it holds
	struct task *task;  // constant while it runs: the program's thread that it is, or null
	uint64_t quantum;   // (S) cycles left of its turn
	uint64_t since;	    // (S) cycles: running since; idle worker: idle since
	uint64_t stretch;   // (S) cycles: since when its WTD runs without sleeping
	const char *item;   // (S) owner of the WTD that it runs, worker only
	const char *name;   // constant
	void (*fn)(void *); // constant
	void *arg;	    // constant
	void *stack;	    // constant
	struct wtd timer;   // wakes it
};

struct wtd_figures {
	uint64_t posted, run, hogs;
	uint32_t depth_high; // the most that were ever queued
	int32_t room;	     // how many fewer are queued now
	uint64_t longest;    // cycles
	const char *longest_owner;
	uint64_t latency[WTD_LATENCY_BUCKETS];
	uint64_t latency_sum; // cycles
};

static inline uint32_t wtd_depth(const struct wtd_figures *f)
{
	return f->depth_high - (uint32_t)f->room;
}

struct wtd_queue {
	struct wtd
	    head; // of a ring: next is the first, prev the last, the head itself where there is none
	struct wtd_figures figures;
};

struct sched { // all (S) of this processor
	volatile uint32_t lock;
	bool idle;	    // in HLT, or about to
	enum slice slice;   // who has a slice now: the classes above wait
	uint64_t slice_end; // clock_ns
	uint32_t row;	    // WTDs run since a thread had the processor
	uint32_t fast_row;  // fast WTDs run since a worker had it
	uint64_t row_start; // cycles
	uint64_t wtd_end;   // cycles: when the last WTD stopped running
	struct wtd_queue queue[WTD_CLASSES];
	struct waitq ready[READY_QUEUES];
	uint64_t slices_given, switches;
	uint64_t idle_since, idle_cycles; // idle_since 0: not in HLT
	// worker.c
	struct waitq idle_workers; // most recently used first
	struct waitq dead;	   // threads to be freed
	struct thread *keeper;
	uint32_t workers, workers_idle, workers_high;
	uint64_t workers_max_hits, workers_failed;
	bool at_maximum;  // this burst has been counted in workers_max_hits
	bool backing_off; // making a worker has failed; the keeper tries again by itself
	struct wheel wheel;
};
extern struct sched scheds[CPU_MAX];

static inline struct sched *sched_self(void)
{
	return CPU_MAX == 1 ? scheds : &scheds[this_cpu()->index];
}

// clock_cycles without the call, for what runs for every packet.
static inline uint64_t sched_cycles(void)
{
	uint64_t low, high; // 32 bits each, the rest is zeros

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return high << 32 | low;
}

// Interrupts are off already; with one processor that alone keeps others out.
static inline void sched_lock(struct sched *s)
{
	while (CPU_MAX > 1 && __atomic_exchange_n(&s->lock, 1, __ATOMIC_ACQUIRE))
		cpu_relax();
}
static inline void sched_unlock(struct sched *s)
{
	if (CPU_MAX > 1)
		__atomic_store_n(&s->lock, 0, __ATOMIC_RELEASE);
	else
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline bool wtd_queued(const struct sched *s, enum wtd_class class)
{
	return s->queue[class].head.next != &s->queue[class].head;
}

// Lists of threads through next and prev, all (S).
static inline void list_push_tail(struct waitq *q, struct thread *t)
{
	t->next = NULL;
	t->prev = q->last;
	if (q->last)
		q->last->next = t;
	else
		q->first = t;
	q->last = t;
}
static inline void list_push_head(struct waitq *q, struct thread *t)
{
	t->prev = NULL;
	t->next = q->first;
	if (q->first)
		q->first->prev = t;
	else
		q->last = t;
	q->first = t;
}
static inline void list_remove(struct waitq *q, struct thread *t)
{
	if (t->prev)
		t->prev->next = t->next;
	else
		q->first = t->next;
	if (t->next)
		t->next->prev = t->prev;
	else
		q->last = t->prev;
	t->next = t->prev = NULL;
}

// sched.c
// ------------------------------------------------------------------------------------------ Runs
// what is pending and switches to who is better, if the caller's context allows it (interrupts on,
// not in an interrupt or fast WTD, WTDs enabled); else does nothing. Any context.
void sched_kick_now(void);
static inline void sched_kick(void)
{
	if (UNLIKELY(this_cpu()->kick))
		sched_kick_now();
}
// (S held, interrupts off) A BLOCKED thread, on no list, becomes READY.
void sched_ready(struct sched *s, struct thread *t);
// (S held) Wakes t if it is BLOCKED, wherever it waits. False: it was not.
bool sched_wake(struct sched *s, struct thread *t, bool timed_out);
// (S held, interrupts off; drops S) The running thread's state is BLOCKED, READY or DEAD and it is
// on the list it belongs on. Returns when it runs again, interrupts off.
void sched_switch(struct sched *s);
// (S held; drops S) Sleeps until sched_wake, or for ns (UINT64_MAX: no limit). As sched_switch.
void sched_block(struct sched *s, uint64_t ns);
bool sched_worker_ready(const struct sched *s); // (S) a worker could run now
bool sched_thread_ready(const struct sched *s); // (S) one above THREAD_LOW
// (S) For fast WTDs: whether those below have a turn now, or get one because of the row's length. No fast WTD is
// pending while there is a slice, and no row of fast ones is longer than the row that it is part of.
bool sched_bound_reached(struct sched *s);
static inline bool sched_bound(struct sched *s)
{
	return UNLIKELY(s->row >= WTD_BOUND - 1) && sched_bound_reached(s);
}
void sched_slice_over(struct sched *s); // (S) also before its time: its thread sleeps
extern uint64_t sched_gap_cycles;	// ROW_GAP
// (S) A WTD starts at `now` cycles: counts the row. Nobody else had the processor if it was taken
// from a worker in the middle of a WTD.
static inline void sched_row(struct sched *s, uint64_t now)
{
	if (s->row == 0 ||
	    (now - s->wtd_end > sched_gap_cycles && (!this_cpu()->current->item || s->idle))) {
		s->row = 0;
		s->fast_row = 0;
		s->row_start = now;
	}
	s->row++;
}
void sched_consider(struct sched *s, unsigned priority); // (S) somebody of that queue became ready
// (S) HLT ended at `now` cycles.
static inline void sched_idle_over(struct sched *s, uint64_t now)
{
	if (!s->idle_since)
		return;
	s->idle_cycles += now - s->idle_since;
	s->idle_since = 0;
}
// (S) Timer interrupt: ends slices and turns. Returns when it wants to be called again (clock_ns).
uint64_t sched_tick(struct sched *s, uint64_t now);
void sched_set_rates(void); // boot and after calibration: limits in cycles
uintptr_t context_switch(uintptr_t *save, uintptr_t load); // switch.asm
// process.c, interrupts off: the processor's state that belongs to a program's thread.
void task_pause(
    struct thread *t); // its processor time ends here, and goes on with task_resume or task_enter
void task_resume(struct thread *t);
void task_leave(struct thread *previous);
void task_enter(struct thread *next);

// wtd.c
// --------------------------------------------------------------------------------------------
void wtd_init_queues(void); // boot, before anything is posted
void wtd_enqueue(struct sched *s, struct wtd *work, enum wtd_class class); // (S) IDLE node
struct wtd *wtd_dequeue(struct sched *s, enum wtd_class class);		   // (S) null: none
// (S) Figures: a WTD of `class` posted at `posted` began at `start` and ran until `end` (cycles).
void wtd_account_start(struct wtd_figures *f, uint64_t posted, uint64_t start);
void wtd_account_run(struct wtd_figures *f, const char *owner, uint64_t start, uint64_t end);
void wtd_due(struct sched *s, uint64_t now); // (S) timer interrupt: queues the delayed that are due
void wtd_set_rates(void);		     // after calibration: the hog limit in cycles
bool wtd_arm(struct sched *s, struct wtd *work, enum wtd_class class, uint64_t delay_ns); // (S)

// worker.c
// -----------------------------------------------------------------------------------------
extern uint64_t worker_idle_life;    // ns; tests shorten it
void worker_wanted(struct sched *s); // (S) sleeping WTDs are queued and no worker is idle
void keeper_wake(struct sched *s);   // (S) there is a dead thread, or a worker is wanted

// thread.c
// -----------------------------------------------------------------------------------------
struct thread *thread_make(const char *name, unsigned priority, void (*fn)(void *), void *arg);
void thread_start(struct thread *t);  // made and not yet running
void thread_unmake(struct thread *t); // ditto: it never will
void thread_free(struct thread *t);   // DEAD, switched away from
NORETURN void thread_exit(void);
