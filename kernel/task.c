// SPDX-License-Identifier: BSD-2-Clause
// Tasks: the threads of programs, from first to last instruction (contract in kernel/process.h), and what of the
// processor belongs to the one that runs.
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/futex.h"
#include "kernel/kstat.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/process.h"
#include "kernel/sched.h"
#include "kernel/usercopy.h"
#include "kernel/vmm.h"
#include "kernel/vmm_private.h"

#define MSR_FS_BASE	   0xc0000100
#define MSR_KERNEL_GS_BASE 0xc0000102
#define TID_BUCKETS	   1024
#define TID_MAX		   (1 << 22) // Linux's pid_max

static struct pool task_pool = POOL_INIT("task", struct task, TASKS_MAX);
static struct task *tids[TID_BUCKETS]; // (T)
static int last_tid;		       // (T)
static uint64_t tasks;		       // (T)
KSTAT_GAUGE(tasks, "pagewire_tasks", "Threads of programs.");

struct task *task_current(void)
{
	return this_cpu()->current->task;
}

struct uspace *process_space(void)
{
	return task_current()->space;
}

// ---- what the scheduler calls; interrupts off ----

void task_pause(struct thread *t)
{
	cputime_leave(t->task);
}

void task_resume(struct thread *t)
{
	cputime_enter(t->task);
}

void task_leave(struct thread *previous)
{
	fpu_save(previous->task->fpu);
}

void task_enter(struct thread *next)
{
	struct task *t = next->task;
	uint64_t root = virt_to_phys(t->space->root);

	cputime_enter(t);
	fpu_restore(t->fpu);
	wrmsr(MSR_FS_BASE, t->fs_base);
	wrmsr(MSR_KERNEL_GS_BASE, t->gs_base);
	cpu_set_kernel_stack(t->stack_top);
	if (read_cr3() != root)
		write_cr3(root);
}

void task_set_bases(struct task *t, uint64_t fs, uint64_t gs)
{
	bool on = irq_save();

	t->fs_base = fs;
	t->gs_base = gs;
	wrmsr(MSR_FS_BASE, fs);
	wrmsr(MSR_KERNEL_GS_BASE, gs);
	irq_restore(on);
}

void task_use_space(struct task *t, struct uspace *space)
{
	bool on = irq_save();

	t->space = space;
	write_cr3(virt_to_phys(space->root));
	irq_restore(on);
}

// ---- numbers ----

struct task *task_find(int tid)
{
	struct task *t = tids[(unsigned)tid % TID_BUCKETS];

	while (t && t->tid != tid)
		t = t->tid_next;
	return t;
}

// A number that is neither a task's nor a process' nor a process group's. process_lock held.
int task_number(void)
{
	do {
		last_tid = last_tid % TID_MAX + 1;
	} while (task_find(last_tid) || process_number_taken(last_tid));
	return last_tid;
}

// process_lock held. Nobody finds it by its number any more; or it is found by this one.
static void number_drop(struct task *t)
{
	struct task **link = &tids[(unsigned)t->tid % TID_BUCKETS];

	while (*link != t)
		link = &(*link)->tid_next;
	*link = t->tid_next;
}

static void number_take(struct task *t, int tid)
{
	struct task **bucket = &tids[(unsigned)tid % TID_BUCKETS];

	t->tid = tid;
	t->tid_next = *bucket;
	*bucket = t;
}

// ---- making ----

static void begin(void *arg)
{
	struct task *t = arg;

	t->frame = (struct trap_frame *)(t->stack_top - sizeof(*t->frame));
	user_enter(&t->start, t->stack_top);
}

static struct task *task_alloc(void)
{
	struct task *t;

	if (!user_memory_take(TASK_FRAMES))
		return NULL;
	t = pool_alloc(&task_pool);
	if (t) {
		t->fpu = kpages_alloc(FPU_AREA);
		t->thread = t->fpu ? thread_make("program", THREAD_NORMAL, begin, t) : NULL;
		if (t->thread)
			return t;
		if (t->fpu)
			kpages_free(t->fpu, FPU_AREA);
		pool_free(&task_pool, t);
	}
	user_memory_give(TASK_FRAMES);
	return NULL;
}

struct task *task_make(struct process *p, const struct trap_frame *frame)
{
	bool may = p->task_count < TASKS_EACH && tasks < p->limits[RLIMIT_NPROC].soft;
	struct task *t = may ? task_alloc() : NULL;

	if (!t)
		return NULL;
	fpu_reset(t->fpu);
	t->process = p;
	t->space = p->space;
	t->start = *frame;
	t->alternate.flags = SS_DISABLE;
	t->attention = true; // what came before it was in the list: the end, execve, signals
	t->stack_top = (uintptr_t)t->thread->stack + THREAD_STACK;
	t->thread->task = t;
	spin_lock_wtd(&process_lock);
	p->references++;
	number_take(t, p->tasks ? task_number() : p->pid);
	t->process_next = p->tasks;
	p->tasks = t;
	p->task_count++;
	tasks++;
	spin_unlock_wtd(&process_lock);
	return t;
}

void task_run(struct task *t)
{
	thread_start(t->thread);
}

void task_take_pid(struct task *t)
{
	spin_lock_wtd(&process_lock);
	number_drop(t);
	number_take(t, t->process->pid);
	spin_unlock_wtd(&process_lock);
}

// process_lock held. Returns whether it was the last.
static bool strike_off(struct task *t)
{
	struct process *p = t->process;
	struct task **link = &p->tasks;

	cputime_task_ended(t);
	while (*link != t)
		link = &(*link)->process_next;
	*link = t->process_next;
	number_drop(t);
	tasks--;
	return --p->task_count == 0;
}

static void task_free(struct task *t)
{
	signal_pending_drop(&t->pending);
	kpages_free(t->fpu, FPU_AREA);
	pool_free(&task_pool, t);
	user_memory_give(TASK_FRAMES);
}

void task_unmake(struct task *t)
{
	struct process *p = t->process;

	spin_lock_wtd(&process_lock);
	strike_off(t);
	spin_unlock_wtd(&process_lock);
	t->thread->task = NULL;
	thread_unmake(t->thread);
	task_free(t);
	process_put(p);
}

// ---- ending ----

void task_exit(int code)
{
	struct task *t = task_current();
	struct process *p = t->process;
	bool on, last;

	t->is_exiting = true;
	futex_robust_exit(t); // before anybody is told that it has ended
	if (t->clear_tid) {
		uint32_t zero = 0;

		if (!user_put(t->clear_tid, &zero))
			futex_wake_one(t->clear_tid);
	}
	spin_lock_wtd(&process_lock);
	last = strike_off(t);
	if (last && !p->exiting) {
		p->exiting = true;
		p->exit_status = code;
	}
	waitq_wake_all(&p->waiters); // process_single, too
	// From here on it is a kernel thread: who is in the list no more may not keep the tables.
	on = irq_save();
	t->thread->task = NULL;
	write_cr3(virt_to_phys(vmm_root()));
	irq_restore(on);
	spin_unlock_wtd(&process_lock);
	if (last)
		process_end(p);
	task_free(t);
	process_put(p);
	thread_exit();
}

void process_exit(int status)
{
	struct process *p = process_current();

	spin_lock_wtd(&process_lock);
	if (!p->exiting) {
		p->exiting = true;
		p->exit_status = status;
		for (struct task *t = p->tasks; t; t = t->process_next)
			task_interrupt(t);
	}
	spin_unlock_wtd(&process_lock);
	task_exit(status);
}

int process_single(struct process *p)
{
	struct task *self = task_current();

	spin_lock_wtd(&process_lock);
	if (p->exiting || p->single) {
		spin_unlock_wtd(&process_lock);
		return -EINTR;
	}
	p->single = self;
	for (struct task *t = p->tasks; t; t = t->process_next)
		if (t != self)
			task_interrupt(t);
	while (p->task_count > 1)
		waitq_sleep(&p->waiters, &process_lock);
	p->single = NULL;
	spin_unlock_wtd(&process_lock);
	return 0;
}

// process_lock held. Something waits for it before ring 3; a sleep that may be broken off is.
void task_interrupt(struct task *t)
{
	t->attention = true;
	thread_interrupt(t->thread);
}
