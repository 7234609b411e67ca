// SPDX-License-Identifier: BSD-2-Clause
// The shim's threads, which hand one baton round, and the loop that runs everything. See shim.h.
//
// Every shim thread is a pthread, but only the one with the baton runs. The test's own thread is the
// scheduler: it alone takes work off the queues; a worker or thread that sleeps, yields or ends gives
// the baton back to it.
#include "shim.h"
#include "shim_private.h"

#include <pthread.h>
#include <stdlib.h>

#include "kernel/cpu.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/wtd.h"

#define WEAK __attribute__((weak))

enum shim_state { RUNNING, READY, SLEEPING, PARKED };

struct thread {
	pthread_t pthread;
	pthread_cond_t cond;
	const char *name;
	enum shim_state state;
	struct thread *next;	 // ready list, wait queue or parked list
	struct thread *all_next; // every thread but the test's
	void (*fn)(void *);	 // a thread's; null for a worker
	void *arg;
	struct wtd *work; // a worker's
	bool quit;
	struct waitq *on;
	uint64_t wake_at; // 0: no time limit
};

static struct thread test_thread = {.name = "test"};
static pthread_mutex_t big = PTHREAD_MUTEX_INITIALIZER;
static struct thread *baton, *all_threads, *parked;
static struct waitq ready;
// ---- threads ----

static void push(struct waitq *q, struct thread *t)
{
	t->next = NULL;
	*(q->first ? &q->last->next : &q->first) = t;
	q->last = t;
}

static void take_out(struct waitq *q, struct thread *t)
{
	struct thread *before = NULL;
	for (struct thread *at = q->first; at != t; at = at->next)
		before = at;
	*(before ? &before->next : &q->first) = t->next;
	if (q->last == t)
		q->last = before;
}

static void wait_baton(struct thread *self)
{
	while (baton != self)
		pthread_cond_wait(&self->cond, &big);
	host_cpu.current = self;
}

static void switch_to(struct thread *to)
{
	struct thread *self = host_cpu.current;
	baton = to;
	pthread_cond_signal(&to->cond);
	wait_baton(self);
	if (self != &test_thread) // the test's thread may go on sleeping: see block
		self->state = RUNNING;
}

static void *thread_main(void *arg)
{
	struct thread *self = arg;
	pthread_mutex_lock(&big);
	for (;;) {
		wait_baton(self);
		if (self->quit)
			break;
		self->state = RUNNING;
		if (self->fn)
			self->fn(self->arg);
		else
			self->work->fn(self->work);
		if (host_cpu.locks || host_cpu.wtd_disabled)
			PANIC("thread %s ended with WTDs disabled", self->name);
		self->state = PARKED;
		if (!self->fn) {
			self->next = parked;
			parked = self;
		}
		baton = &test_thread;
		pthread_cond_signal(&test_thread.cond);
	}
	pthread_mutex_unlock(&big);
	return NULL;
}

static struct thread *make_thread(const char *name, void (*fn)(void *), void *arg)
{
	struct thread *t = calloc(1, sizeof(*t));
	t->name = name;
	t->fn = fn;
	t->arg = arg;
	t->all_next = all_threads;
	all_threads = t;
	pthread_cond_init(&t->cond, NULL);
	if (pthread_create(&t->pthread, NULL, thread_main, t))
		shim_fail("pthread_create failed");
	return t;
}

static void make_ready(struct thread *t)
{
	t->on = NULL;
	t->wake_at = 0;
	t->state = READY;
	if (t != &test_thread)
		push(&ready, t);
}

static void must_be_scheduler(const char *what)
{
	if (host_cpu.current != &test_thread || host_cpu.in_fast_wtd)
		PANIC("%s outside the test's own thread", what);
}

bool shim_run_one(void)
{
	must_be_scheduler("shim_run");
	if (shim_run_fast())
		return true;
	struct wtd *work = shim_take_sleep_work();
	if (work) {
		struct thread *worker = parked;
		if (worker)
			parked = worker->next;
		else
			worker = make_thread("worker", NULL, NULL);
		worker->work = work;
		switch_to(worker);
		return true;
	}
	struct thread *t = ready.first;
	if (!t)
		return false;
	take_out(&ready, t);
	switch_to(t);
	return true;
}

size_t shim_run(void)
{
	size_t ran = 0;
	while (shim_run_one())
		ran++;
	return ran;
}

static uint64_t next_event(void)
{
	uint64_t at = shim_first_due();
	for (struct thread *t = all_threads; t; t = t->all_next)
		if (t->state == SLEEPING && t->wake_at)
			at = MIN(at, t->wake_at);
	if (test_thread.state == SLEEPING && test_thread.wake_at)
		at = MIN(at, test_thread.wake_at);
	return at;
}

static void time_out(struct thread *t)
{
	if (t->state != SLEEPING || !t->wake_at || t->wake_at > shim_now)
		return;
	if (t->on)
		take_out(t->on, t);
	make_ready(t);
}

static void fire(uint64_t at)
{
	shim_now = MAX(shim_now, at);
	shim_queue_due();
	for (struct thread *t = all_threads; t; t = t->all_next)
		time_out(t);
	time_out(&test_thread);
}

void shim_advance(uint64_t ns)
{
	uint64_t target = shim_now + ns;
	shim_run();
	while (next_event() <= target) {
		fire(next_event());
		shim_run();
	}
	shim_now = MAX(shim_now, target);
}

// The running thread is on its wait queue, if any. Returns when somebody made it ready.
static void block(const char *what)
{
	struct thread *self = host_cpu.current;
	self->state = SLEEPING;
	if (self != &test_thread) {
		switch_to(&test_thread);
		return;
	}
	while (self->state == SLEEPING) {
		if (shim_run_one())
			continue;
		if (next_event() == UINT64_MAX)
			PANIC("deadlock: the test sleeps in %s and nothing is left to run", what);
		fire(next_event());
	}
	self->state = RUNNING;
}

WEAK struct thread *thread_create(const char *name, enum thread_priority priority,
				  void (*fn)(void *), void *arg)
{
	struct thread *t = make_thread(name, fn, arg);
	make_ready(t);
	return t;
}

WEAK bool may_sleep(void)
{
	return !host_cpu.in_fast_wtd && !host_cpu.locks && !host_cpu.wtd_disabled;
}

WEAK void assert_may_sleep(const char *what)
{
	if (!may_sleep())
		PANIC("%s in %s holding %s, WTDs disabled %u times", what,
		      host_cpu.in_fast_wtd ? host_cpu.fast_owner : "a thread",
		      host_cpu.locks ? host_cpu.locks->name : "nothing", host_cpu.wtd_disabled);
}

WEAK const char *thread_name(void)
{
	return host_cpu.current->name;
}

WEAK void thread_yield(void)
{
	assert_may_sleep("thread_yield");
	if (host_cpu.current == &test_thread) {
		shim_run_one();
		return;
	}
	make_ready(host_cpu.current);
	switch_to(&test_thread);
}

WEAK void thread_sleep_ns(uint64_t ns)
{
	assert_may_sleep("thread_sleep_ns");
	host_cpu.current->wake_at = shim_now + MAX(ns, 1UL);
	block("thread_sleep_ns");
}

WEAK void waitq_init(struct waitq *q)
{
	*q = (struct waitq){0};
}

static void sleep_on(struct waitq *q, struct spinlock *lock, uint64_t wake_at, const char *what)
{
	struct thread *self = host_cpu.current;
	if (host_cpu.locks != lock || lock->outer || host_cpu.wtd_disabled != 1)
		PANIC("%s with more than its one lock (%s) held", what, lock->name);
	push(q, self);
	self->on = q;
	self->wake_at = wake_at;
	self->state = SLEEPING;
	host_cpu.locks =
	    NULL; // no preemption here: it is on the queue, and a wake-up makes it ready
	lock->held = 0;
	host_cpu.wtd_disabled = 0;
	assert_may_sleep(what);
	block(what);
	spin_lock_wtd_at(lock, what);
}

WEAK void waitq_sleep(struct waitq *q, struct spinlock *lock)
{
	sleep_on(q, lock, 0, "waitq_sleep");
}

WEAK bool waitq_sleep_for(struct waitq *q, struct spinlock *lock, uint64_t ns)
{
	uint64_t end = shim_now + MAX(ns, 1UL);
	sleep_on(q, lock, end, "waitq_sleep_for");
	return shim_now < end;
}

WEAK void waitq_wake_one(struct waitq *q)
{
	struct thread *t = q->first;
	if (!t)
		return;
	take_out(q, t);
	make_ready(t);
}

WEAK void waitq_wake_all(struct waitq *q)
{
	while (q->first)
		waitq_wake_one(q);
}

WEAK void mutex_lock(struct mutex *m)
{
	assert_may_sleep("mutex_lock");
	if (m->holder == host_cpu.current)
		PANIC("mutex %s is not recursive", m->name);
	while (m->holder) {
		push(&m->waiters, host_cpu.current);
		host_cpu.current->on = &m->waiters;
		block("mutex_lock");
	}
	m->holder = host_cpu.current;
}

WEAK bool mutex_trylock(struct mutex *m)
{
	if (m->holder)
		return false;
	m->holder = host_cpu.current;
	return true;
}

WEAK void mutex_unlock(struct mutex *m)
{
	ASSERT(m->holder == host_cpu.current);
	m->holder = NULL;
	waitq_wake_one(&m->waiters);
}

// ---- start and end ----

void shim_sched_init(void)
{
	pthread_mutex_lock(&big);
	shim_wtd_init();
	host_cpu.current = &test_thread;
	test_thread = (struct thread){.name = "test", .cond = PTHREAD_COND_INITIALIZER};
	baton = &test_thread;
}

void shim_sched_finish(void)
{
	shim_wtd_finish();
	while (all_threads) {
		struct thread *t = all_threads;
		if (t->state != PARKED)
			shim_fail("thread %s has not ended", t->name);
		all_threads = t->all_next;
		t->quit = true;
		baton = t;
		pthread_cond_signal(&t->cond);
		pthread_mutex_unlock(&big);
		pthread_join(t->pthread, NULL);
		pthread_mutex_lock(&big);
		free(t);
	}
	parked = NULL;
	pthread_mutex_unlock(&big);
}
