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
#define THREADS_MAX (WORKERS_MAX + 128)

static struct pool thread_pool = POOL_INIT("thread", struct thread, THREADS_MAX);
static struct thread boot_thread; // who called thread_init

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
	t->state = THREAD_BLOCKED;
	t->priority = (uint8_t)priority;
	t->name = name;
	t->fn = fn;
	t->arg = arg;
	t->sp = first_frame(t->stack);
	t->quantum = clock_ns_to_cycles(THREAD_QUANTUM);
	wtd_init(&t->timer, time_is_up, "sleep");
	return t;
}

void thread_free(struct thread *t)
{
	ASSERT(t->state == THREAD_DEAD && t->timer.state == WTD_IDLE);
	vmm_stack_free(t->stack, THREAD_STACK);
	pool_free(&thread_pool, t);
}

struct thread *thread_create(const char *name, enum thread_priority priority, void (*fn)(void *),
			     void *arg)
{
	struct thread *t = thread_make(name, priority, fn, arg);
	struct sched *s = sched_self();
	bool on;

	if (!t)
		return NULL;
	on = irq_save();
	sched_lock(s);
	sched_ready(s, t);
	sched_unlock(s);
	irq_restore(on);
	sched_kick();
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

void thread_init(void)
{
	boot_thread = (struct thread){.name = "boot",
				      .priority = THREAD_NORMAL,
				      .state = THREAD_RUNNING,
				      .since = clock_cycles(),
				      .quantum = clock_ns_to_cycles(THREAD_QUANTUM)};
	wtd_init(&boot_thread.timer, time_is_up, "sleep");
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
