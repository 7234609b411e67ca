// SPDX-License-Identifier: BSD-2-Clause
// Work to do: the scheduler's first class citizens.
//
// A node is allocated by its owner (usually inside the object the work is about), tied to a
// function once with wtd_init, and posted any number of times. Posting allocates nothing, is
// allowed in every context and is idempotent: posting a node that is queued does nothing. A node is
// dequeued before its function runs, so the function may post it again, or free the object it lies
// in.
//
//   fast WTD   may not sleep; runs at interrupt exit or at the next switch, ahead of every worker
//              and thread, on the stack that was interrupted. Packets, completions, cache hits.
//   WTD        may sleep; runs on a pooled worker, ahead of every thread. Cache misses, look-ups.
//
// Posted by a thread, both run before wtd_post* returns, as if an interrupt had posted them there,
// unless the thread holds a spin lock or has disabled WTDs: then they run when it lets go. Under a
// bare irq_save they wait for the next interrupt, unlock or sleep.
//
//        wtd_post*          dequeued by the scheduler
//   IDLE ----------> QUEUED --------------------------> IDLE (function is called)
//     |  wtd_post_after      timer due
//     +--------------> ARMED ----------> QUEUED         wtd_cancel: ARMED or QUEUED -> IDLE
//
// After 15 WTDs in a row, fast ones and others together, a ready thread of normal or high priority
// gets one slice: until it sleeps, at most as long as the row took (within 0.1 to 1 ms). WTDs that
// come due in a slice, fast ones too, wait for its end; so they may be late by 1 ms when a thread
// that does not sleep competes with a steady load, and never otherwise. A worker that waits gets its
// turn as the last of 15 fast WTDs, for one WTD. A row is over when others had the processor for
// 20 us. When nobody waits nothing is given away.
//
// A WTD that runs longer than the hog limit (default 2 ms, without sleeping) is counted, named and
// traced. Sleeping in a fast WTD is a panic that names its owner and what it called; returning from
// any WTD with a lock held is a panic, too.
#pragma once

#include "kernel/base.h"

enum wtd_class { WTD_FAST, WTD_SLEEP, WTD_CLASSES };
enum wtd_state { WTD_IDLE, WTD_QUEUED, WTD_ARMED };

struct wtd;
typedef void (*wtd_fn)(struct wtd *work);

struct wtd {
	struct wtd *next,
	    *prev;	   // (S) queue or timer-wheel bucket; S: the scheduler's lock of its cpu
	wtd_fn fn;	   // constant after wtd_init
	const char *owner; // constant: who to name in statistics, hog reports and panics
	uint64_t due;	   // (S) clock_ns at which an ARMED node joins its queue
	uint64_t posted;   // (S) QUEUED: clock_cycles then, for the latency; ARMED: its wheel slot
	uint8_t class;	   // (S) enum wtd_class
	uint8_t state;	   // (S) enum wtd_state
	uint16_t cpu;	   // (S) whose queue it is on
};

#define WTD_INIT(function, owner_name)                                                             \
	{                                                                                          \
		.fn = (function), .owner = (owner_name)                                            \
	}
// The same for a node that is not static. It must not be queued or ARMED. Any context.
void wtd_init(struct wtd *work, wtd_fn fn, const char *owner);

// Any context. True if this call queued the node; false if it was queued already. A node that was
// ARMED is taken off the timer wheel and queued now.
bool wtd_post_fast(struct wtd *work);
bool wtd_post(struct wtd *work);
// Interrupts off, no lock of the scheduler's users held: wtd_post_fast for the last line of an interrupt handler. It
// says true in any case, which is what the handler has to say then.
bool wtd_post_interrupt(struct wtd *work);
// Any context. Queues the node in `class` once delay_ns have passed; re-arms a node that was ARMED,
// leaves a QUEUED one alone (false).
bool wtd_post_after(struct wtd *work, enum wtd_class class, uint64_t delay_ns);
// Any context. True if the node was ARMED or QUEUED and is now IDLE; false if it was not (its
// function may be running, on this processor only further down the stack).
bool wtd_cancel(struct wtd *work);

// Whoever has just been busy may expect more soon: for some time a processor that has nothing to do does not
// halt but calls `look` again and again, which posts what it finds. It takes the interrupt's way to the
// work out of the answer to a single client.
struct wtd_watch {
	void (*look)(struct wtd_watch *watch); // interrupts off, no lock held
	void (*over)(
	    struct wtd_watch *watch); // the same: nobody looks any more. NULL: nobody relies on it
	uint64_t until;		      // clock_cycles; sched.c's, as what follows
	struct wtd_watch *next;
	bool known;
	bool relied; // wtd_watch_for said that it looks, and `over` was not called since
};
// From now on for `ns`, or longer if it was to be longer. True: the processor has nothing to do but fast WTDs, so
// it is going to look, and calls `over` before it halts or anything but a fast WTD has it: a device may keep its
// interrupt masked until then. Fast WTD context.
bool wtd_watch_for(struct wtd_watch *watch, uint64_t ns);

// Figures of one processor's queue of one class, for metrics and MONITOR. Any context.
#define WTD_LATENCY_BUCKETS                                                                        \
	24 // bucket n counts latencies below 2^(n+6) nanoseconds; the last, the rest
struct wtd_stats {
	uint64_t posted, run, hogs, slices_given;
	uint32_t depth, depth_high;
	uint64_t longest_ns;
	const char *longest_owner;
	uint64_t latency[WTD_LATENCY_BUCKETS];
	uint64_t latency_sum_ns;
	uint32_t workers, workers_idle, workers_max;
	uint64_t workers_max_hits;
};
// A processor's figures as they are read, which is not at one moment. Any context.
void wtd_stats(unsigned cpu, enum wtd_class class, struct wtd_stats *out);
#define WTD_HOG_LIMIT (2 * NS_PER_MS) // as long as nobody sets another
void wtd_set_hog_limit(uint64_t ns);  // tests

// Boot, once, after thread_init: makes this processor's queues and the minimum of workers.
void wtd_init_cpu(void);
// For the scheduler's own files and interrupt exit: run what is queued, in contract order.
void wtd_run_fast(void);
bool wtd_pending(void);
