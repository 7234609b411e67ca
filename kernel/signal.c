// SPDX-License-Identifier: BSD-2-Clause
// Sending signals and keeping what is pending (contract in kernel/signal.h). Under process_lock; delivery is
// signal_deliver.c's.
#include "kernel/signal.h"
#include "kernel/cpu.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/panic.h"
#include "kernel/pool.h"
#include "kernel/process.h"
#include "kernel/signalfd.h"

// What comes with signals that wait: what programs send, and as many of the kernel's own. One of these without it is
// delivered all the same.
static struct pool queued_pool = POOL_INIT("signal", struct signal_queued, 2 * SIGNALS_QUEUED_MAX);
static struct pool actions_pool = POOL_INIT("signal actions", struct signal_actions, PROCESSES_MAX);
static uint64_t sent;	// (T)
static uint64_t queued; // atomic: of the pool
KSTAT_COUNTER(sent, "pagewire_signals_total", "Signals sent to programs.");

#define UNBLOCKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))
#define STOPPERS                                                                                   \
	(SIGNAL_BIT(SIGSTOP) | SIGNAL_BIT(SIGTSTP) | SIGNAL_BIT(SIGTTIN) | SIGNAL_BIT(SIGTTOU))

struct signal_actions *signal_actions_new(const struct signal_actions *like)
{
	struct signal_actions *a = pool_alloc(&actions_pool);

	if (!a)
		return NULL;
	if (like)
		*a = *like;
	a->references = 1;
	return a;
}

void signal_actions_put(struct signal_actions *actions)
{
	if (__atomic_sub_fetch(&actions->references, 1, __ATOMIC_ACQ_REL) == 0)
		pool_free(&actions_pool, actions);
}

uint64_t signals_queued(void)
{
	return __atomic_load_n(&queued, __ATOMIC_RELAXED);
}

static void queued_free(struct signal_queued *q)
{
	__atomic_fetch_sub(&queued, 1, __ATOMIC_RELAXED);
	pool_free(&queued_pool, q);
}

void signal_pending_drop(struct signal_pending *pending)
{
	struct signal_queued *q, *next;

	for (q = pending->first; q; q = next) {
		next = q->next;
		queued_free(q);
	}
	*pending = (struct signal_pending){0};
}

bool signal_is_ignored_by_default(int signal)
{
	return signal == SIGCHLD || signal == SIGURG || signal == SIGWINCH || signal == SIGCONT;
}

// process_lock held from here on.

static void remove_bits(struct signal_pending *pending, uint64_t bits)
{
	struct signal_queued **link = &pending->first, *q;

	pending->bits &= ~bits;
	pending->last = NULL;
	while ((q = *link) != NULL) {
		if (bits & SIGNAL_BIT(q->info.signal)) {
			*link = q->next;
			queued_free(q);
		} else {
			pending->last = q;
			link = &q->next;
		}
	}
}

// A signal below 32 is pending once; from 32 on (real-time) each one counts. `limit`: of what may wait with its
// information; kill's own, and what comes of the kernel, below 32 is not counted against it.
static int enqueue(struct signal_pending *pending, int signal, const struct signal_info *info,
		   uint64_t limit)
{
	struct signal_queued *q = NULL;

	if (signal < 32 && pending->bits & SIGNAL_BIT(signal))
		return 0;
	if (info && ((signal < 32 && info->code >= 0) || signals_queued() < limit))
		q = pool_alloc(&queued_pool);
	if (!q && info && signal >= 32 && info->code && limit != UINT64_MAX)
		return -EAGAIN;
	pending->bits |= SIGNAL_BIT(signal);
	if (!q)
		return 0;
	__atomic_fetch_add(&queued, 1, __ATOMIC_RELAXED);
	q->info = *info;
	q->info.signal = signal;
	*(pending->last ? &pending->last->next : &pending->first) = q;
	pending->last = q;
	return 0;
}

int signal_take(struct signal_pending *pending, uint64_t blocked, struct signal_info *info)
{
	uint64_t ready = pending->bits & ~blocked;
	struct signal_queued **link = &pending->first, *q, *before = NULL;
	int signal;
	bool more = false;

	if (!ready)
		return 0;
	signal = __builtin_ctzl(ready) + 1;
	*info = (struct signal_info){.signal = signal};
	for (; (q = *link) != NULL && q->info.signal != signal; link = &q->next)
		before = q;
	if (q) {
		*info = q->info;
		*link = q->next;
		if (pending->last == q)
			pending->last = before;
		queued_free(q);
		for (q = *link; q; q = q->next)
			more |= q->info.signal == signal;
	}
	if (!more)
		pending->bits &= ~SIGNAL_BIT(signal);
	return signal;
}

static void resume(struct process *p)
{
	if (p->state != PROCESS_STOPPED)
		return;
	p->state = PROCESS_RUNNING;
	p->continued = true;
	p->stop_told = false;
	waitq_wake_all(&p->waiters);
	for (struct task *t = p->tasks; t; t = t->process_next)
		task_interrupt(t);
	if (p->parent)
		(void)process_tell_parent(p);
}

static bool ignores(const struct process *p, int signal)
{
	uint64_t handler = p->actions->action[signal - 1].handler;

	return handler == SIG_IGN || (handler == SIG_DFL && signal_is_ignored_by_default(signal));
}

// Continuing and stopping cancel each other; SIGKILL and SIGCONT wake who is stopped.
static bool prepare(struct process *p, int signal)
{
	if (!p->actions || p->state == PROCESS_ZOMBIE)
		return false;
	sent++;
	if (signal == SIGCONT || signal == SIGKILL) {
		remove_bits(&p->pending, STOPPERS);
		for (struct task *t = p->tasks; t; t = t->process_next)
			remove_bits(&t->pending, STOPPERS);
		resume(p);
	} else if (STOPPERS & SIGNAL_BIT(signal)) {
		remove_bits(&p->pending, SIGNAL_BIT(SIGCONT));
		for (struct task *t = p->tasks; t; t = t->process_next)
			remove_bits(&t->pending, SIGNAL_BIT(SIGCONT));
	}
	return true;
}

// It stays pending although nobody would handle it: the handler may change, or sigtimedwait takes it.
static bool keeps(const struct task *t, int signal)
{
	return (t->blocked | t->waits_for) & SIGNAL_BIT(signal);
}

static bool wants(const struct task *t, int signal)
{
	return (~t->blocked | t->waits_for | UNBLOCKABLE) & SIGNAL_BIT(signal);
}

static int send_to_process(struct process *p, int signal, const struct signal_info *info,
			   uint64_t limit)
{
	bool blocked_by_all = true;
	int error;

	if (!prepare(p, signal))
		return 0;
	for (struct task *t = p->tasks; t; t = t->process_next)
		blocked_by_all &= keeps(t, signal);
	if (ignores(p, signal) && !blocked_by_all)
		return 0;
	error = enqueue(&p->pending, signal, info, limit);
	if (!error)
		signalfd_tell(signal);
	for (struct task *t = p->tasks; t && !error; t = t->process_next)
		if (wants(t, signal))
			task_interrupt(t);
	return error;
}

static int send_to_task(struct task *t, int signal, const struct signal_info *info, uint64_t limit)
{
	int error;

	if (!prepare(t->process, signal) || (ignores(t->process, signal) && !keeps(t, signal)))
		return 0;
	error = enqueue(&t->pending, signal, info, limit);
	if (!error)
		signalfd_tell(signal);
	if (!error && wants(t, signal))
		task_interrupt(t);
	return error;
}

void signal_process_locked(struct process *p, int signal, const struct signal_info *info)
{
	(void)send_to_process(p, signal, info, UINT64_MAX);
}

void signal_task_locked(struct task *t, int signal, const struct signal_info *info)
{
	(void)send_to_task(t, signal, info, UINT64_MAX);
}

static uint64_t limit_of(const struct process *p)
{
	return MIN(p->limits[RLIMIT_SIGPENDING].soft, (uint64_t)SIGNALS_QUEUED_MAX);
}

int signal_process_sent_locked(struct process *p, int signal, const struct signal_info *info)
{
	return send_to_process(p, signal, info, limit_of(p));
}

int signal_task_sent_locked(struct task *t, int signal, const struct signal_info *info)
{
	return send_to_task(t, signal, info, limit_of(t->process));
}

void signal_action_changed_locked(struct process *p, int signal)
{
	if (!ignores(p, signal))
		return;
	remove_bits(&p->pending, SIGNAL_BIT(signal));
	for (struct task *t = p->tasks; t; t = t->process_next)
		remove_bits(&t->pending, SIGNAL_BIT(signal));
}

// ---- the public calls; process_lock not held ----

int signal_process_sent(struct process *p, int signal, const struct signal_info *info)
{
	int error;

	spin_lock_wtd(&process_lock);
	error = signal_process_sent_locked(p, signal, info);
	spin_unlock_wtd(&process_lock);
	return error;
}

void signal_process(struct process *p, int signal, const struct signal_info *info)
{
	spin_lock_wtd(&process_lock);
	signal_process_locked(p, signal, info);
	spin_unlock_wtd(&process_lock);
}

void signal_task(struct task *t, int signal, const struct signal_info *info)
{
	spin_lock_wtd(&process_lock);
	signal_task_locked(t, signal, info);
	spin_unlock_wtd(&process_lock);
}

struct group_send {
	int group, signal;
	const struct signal_info *info;
	unsigned count;
};

static void send_if_member(const struct process *p, void *ctx)
{
	struct group_send *g = ctx;

	if (p->group != g->group || p->state == PROCESS_ZOMBIE)
		return;
	g->count++;
	if (g->signal)
		(void)!signal_process_sent_locked((struct process *)(uintptr_t)p, g->signal,
						  g->info);
}

unsigned signal_group(int group, int signal, const struct signal_info *info)
{
	struct group_send g = {group, signal, info, 0};

	process_each(send_if_member, &g);
	return g.count;
}

// A fault cannot wait and cannot be refused.
void signal_force(int signal, int code, uint64_t address)
{
	struct task *t = task_current();
	struct signal_action *a = &t->process->actions->action[signal - 1];
	struct signal_info info = {.signal = signal, .code = code, .address = address};

	spin_lock_wtd(&process_lock);
	if (a->handler == SIG_IGN || t->blocked & SIGNAL_BIT(signal)) {
		a->handler = SIG_DFL;
		t->blocked &= ~SIGNAL_BIT(signal);
	}
	signal_task_locked(t, signal, &info);
	spin_unlock_wtd(&process_lock);
}

bool signal_waits(void)
{
	const struct task *t = task_current();

	return t->process->exiting || (t->process->single && t->process->single != t) ||
	       ((t->pending.bits | t->process->pending.bits) & (~t->blocked | UNBLOCKABLE));
}

bool signal_kills(void)
{
	const struct task *t = task_current();

	return t->process->exiting || (t->process->single && t->process->single != t) ||
	       (t->pending.bits | t->process->pending.bits) & SIGNAL_BIT(SIGKILL);
}

void signal_exec(struct process *p)
{
	spin_lock_wtd(&process_lock);
	for (unsigned n = 0; n < SIGNALS; n++) {
		bool ignored = p->actions->action[n].handler == SIG_IGN;

		p->actions->action[n] =
		    (struct signal_action){.handler = ignored ? SIG_IGN : SIG_DFL};
	}
	spin_unlock_wtd(&process_lock);
}
