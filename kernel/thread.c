// SPDX-License-Identifier: BSD-2-Clause
// Making and ending threads (include/kernel/thread.h). Who runs when is sched.c's.
#include "kernel/kstat.h"
#include "kernel/panic.h"
#include "kernel/pool.h"
#include "kernel/sched.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"

// WORKERS_MAX workers and the keeper; the console, housekeeping and the log of each of some ten
// parts of the system; the test runner's; as many again to spare.
// And the threads of programs (TASKS_MAX in kernel/process.h).
#define THREADS_MAX (WORKERS_MAX + 128 + 8192)

static struct pool thread_pool = POOL_INIT("thread", struct thread, THREADS_MAX);
static struct thread boot_thread; // who called thread_init
static struct thread *threads;	  // (S) every thread made here and not freed

// Every MARK_STEP-th word of a fresh stack is this, so that one can see how deep it was ever used. Fast WTDs
// run on whatever stack was interrupted, so each needs room for the deepest of them.
#define STACK_MARK 0xa7a7a7a7a7a7a7a7UL
#define MARK_STEP  32

// The thread's sleep is over. Fast WTD.
static void time_is_up(struct wtd *work)
{
	struct thread *t = CONTAINER_OF(work, struct thread, timer);
	struct sched *s = sched_self();
	bool on = irq_save();

	sched_lock(s);
	sched_wake(s, t, true);
	sched_unlock(s);
	irq_restore(on);
}

// context_switch returns into this on a new thread's stack, interrupts off.
static void thread_begin(void)
{
	struct thread *t = this_cpu()->current;

	irq_restore(true);
	t->fn(t->arg);
	thread_exit();
}

// What context_switch pops from a new stack: six registers (a zero RBP ends backtraces), then where
// to go. One word more keeps the stack aligned as the ABI has it at a function's first instruction.
static uintptr_t first_frame(void *stack)
{
	uint64_t *top = (uint64_t *)((char *)stack + THREAD_STACK);

	*--top = 0;
	*--top = (uintptr_t)thread_begin;
	for (int saved = 0; saved < 6; saved++)
		*--top = 0;
	return (uintptr_t)top;
}

static void mark_stack(uint64_t *from, const uint64_t *to)
{
	for (uint64_t *word = from; word < to; word += MARK_STEP)
		*word = STACK_MARK;
}

// Bytes at the low end of the stack that were never used, to within MARK_STEP words.
static uint64_t unused_bytes(const struct thread *t)
{
	const uint64_t *word = t->stack;
	size_t n = 0;

	while (n < THREAD_STACK / sizeof(*word) && word[n] == STACK_MARK)
		n += MARK_STEP;
	return n * sizeof(*word);
}

static uint64_t least_unused = THREAD_STACK; // (S) of threads that are gone

static uint64_t read_least_unused(void)
{
	struct sched *s = sched_self();
	bool on = irq_save();
	uint64_t least;

	sched_lock(s);
	least = least_unused;
	for (const struct thread *t = threads; t; t = t->all_next)
		least = MIN(least, unused_bytes(t));
	sched_unlock(s);
	irq_restore(on);
	return least;
}
KSTAT_GAUGE_FN(stack_unused, "pagewire_thread_stack_unused_bytes", NULL,
	       "The least that any thread has ever left unused of its 16 KB stack.",
	       read_least_unused);

static void enlist(struct thread *t)
{
	struct sched *s = sched_self();
	bool on = irq_save();

	sched_lock(s);
	t->all_next = threads;
	threads = t;
	sched_unlock(s);
	irq_restore(on);
}

static void strike_off(struct thread *t)
{
	struct sched *s = sched_self();
	bool on = irq_save();

	sched_lock(s);
	for (struct thread **link = &threads; *link; link = &(*link)->all_next)
		if (*link == t) {
			*link = t->all_next;
			break;
		}
	least_unused = MIN(least_unused, unused_bytes(t));
	sched_unlock(s);
	irq_restore(on);
}

struct thread *thread_make(const char *name, unsigned priority, void (*fn)(void *), void *arg)
{
	struct thread *t = pool_alloc(&thread_pool);

	if (!t)
		return NULL;
	t->stack = vmm_stack_alloc(THREAD_STACK);
	if (!t->stack) {
		pool_free(&thread_pool, t);
		return NULL;
	}
	mark_stack(t->stack, (uint64_t *)t->stack + THREAD_STACK / sizeof(uint64_t));
	t->state = THREAD_BLOCKED;
	t->priority = (uint8_t)priority;
	t->name = name;
	t->fn = fn;
	t->arg = arg;
	t->sp = first_frame(t->stack);
	t->quantum = clock_ns_to_cycles(THREAD_QUANTUM);
	wtd_init(&t->timer, time_is_up, "sleep");
	enlist(t);
	return t;
}

void thread_free(struct thread *t)
{
	ASSERT(t->state == THREAD_DEAD && t->timer.state == WTD_IDLE);
	strike_off(t);
	vmm_stack_free(t->stack, THREAD_STACK);
	pool_free(&thread_pool, t);
}

void thread_start(struct thread *t)
{
	struct sched *s = sched_self();
	bool on = irq_save();

	sched_lock(s);
	sched_ready(s, t);
	sched_unlock(s);
	irq_restore(on);
	sched_kick();
}

void thread_unmake(struct thread *t)
{
	t->state = THREAD_DEAD;
	thread_free(t);
}

struct thread *thread_create(const char *name, enum thread_priority priority, void (*fn)(void *),
			     void *arg)
{
	struct thread *t = thread_make(name, priority, fn, arg);

	if (t)
		thread_start(t);
	return t;
}

void thread_exit(void)
{
	struct thread *t = this_cpu()->current;
	struct sched *s = sched_self();

	assert_may_sleep("the end of a thread");
	if (t->mutexes)
		PANIC("thread %s ends holding a mutex", t->name);
	irq_off();
	sched_lock(s);
	t->state = THREAD_DEAD;
	list_push_tail(&s->dead, t);
	if (s->slice)
		sched_slice_over(s);
	keeper_wake(s);
	sched_switch(s);
	PANIC("dead thread %s runs", t->name);
}

const char *thread_name(void)
{
	const struct thread *t = this_cpu()->current;

	if (!t)
		return "boot";
	return sched_self()->idle ? "idle" : t->name;
}

extern char boot_stack_guard[]; // boot/entry.asm: a page, then THREAD_STACK bytes

// The part of the boot stack below where we are.
static void mark_boot_stack(void)
{
	boot_thread.stack = boot_stack_guard + PAGE_SIZE;
	mark_stack(boot_thread.stack, (uint64_t *)__builtin_frame_address(0) - 128);
}

void thread_init(void)
{
	boot_thread = (struct thread){.name = "boot",
				      .priority = THREAD_NORMAL,
				      .state = THREAD_RUNNING,
				      .since = clock_cycles(),
				      .quantum = clock_ns_to_cycles(THREAD_QUANTUM)};
	wtd_init(&boot_thread.timer, time_is_up, "sleep");
	wtd_init_queues();
	mark_boot_stack();
	enlist(&boot_thread);
	this_cpu()->current = &boot_thread;
}

// Sleeping for ever is enough: who finds nobody ready halts.
void thread_idle_loop(void)
{
	struct sched *s = sched_self();

	assert_may_sleep("thread_idle_loop");
	for (;;) {
		irq_off();
		sched_lock(s);
		sched_block(s, UINT64_MAX);
	}
}
