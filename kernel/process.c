// SPDX-License-Identifier: BSD-2-Clause
// Processes and tasks: making, finding and ending them (contract in kernel/process.h). What a process owned is given
// back by its last task, in thread context, before the parent is told; what remains until wait4 is the
// number and how it ended.
#include "kernel/process.h"
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/files.h"
#include "kernel/futex.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/sched.h"
#include "kernel/timer.h"
#include "kernel/usercopy.h"
#include "kernel/vmm.h"
#include "kernel/vmm_private.h"

#define MSR_FS_BASE	   0xc0000100
#define MSR_KERNEL_GS_BASE 0xc0000102
#define TID_BUCKETS	   1024
#define TID_MAX		   (1 << 22) // Linux's pid_max

struct spinlock process_lock = SPINLOCK_INIT("process", RANK_PROCESS);
static struct pool process_pool = POOL_INIT("process", struct process, PROCESSES_MAX);
static struct pool task_pool = POOL_INIT("task", struct task, TASKS_MAX);
static struct process *all;		 // (T)
static struct task *tids[TID_BUCKETS];	 // (T)
static int last_tid;			 // (T)
static uint64_t processes, tasks;	 // (T)
static uint64_t started, ended, crashed; // (T)
KSTAT_GAUGE(processes, "pagewire_processes", "Processes, zombies included.");
KSTAT_GAUGE(tasks, "pagewire_tasks", "Threads of programs.");
KSTAT_COUNTER(started, "pagewire_processes_started_total", "Processes ever made.");
KSTAT_COUNTER(ended, "pagewire_processes_ended_total", "Processes that ended.");
KSTAT_COUNTER(crashed, "pagewire_processes_killed_total", "Of them, by a signal.");

struct task *task_current(void)
{
	return this_cpu()->current->task;
}

struct uspace *process_space(void)
{
	return task_current()->space;
}

// ---- what the scheduler calls; interrupts off ----

void task_leave(struct thread *previous)
{
	fpu_save(previous->task->fpu);
}

void task_enter(struct thread *next)
{
	struct task *t = next->task;
	uint64_t root = virt_to_phys(t->space->root);

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

static struct task *find_task(int tid)
{
	struct task *t = tids[(unsigned)tid % TID_BUCKETS];

	while (t && t->tid != tid)
		t = t->tid_next;
	return t;
}

static struct process *find_process(int pid)
{
	struct process *p = all;

	while (p && p->pid != pid)
		p = p->all_next;
	return p;
}

// A number that is neither a task's nor a process' nor a process group's. process_lock held.
static int new_tid(void)
{
	bool taken;

	do {
		last_tid = last_tid % TID_MAX + 1;
		taken = find_task(last_tid) != NULL;
		for (const struct process *p = all; p && !taken; p = p->all_next)
			taken =
			    p->pid == last_tid || p->group == last_tid || p->session == last_tid;
	} while (taken);
	return last_tid;
}

struct task *task_find(int tid)
{
	return find_task(tid);
}

struct process *process_find(int pid)
{
	struct process *p;

	spin_lock_wtd(&process_lock);
	p = find_process(pid);
	if (p)
		p->references++;
	spin_unlock_wtd(&process_lock);
	return p;
}

void process_get(struct process *p)
{
	spin_lock_wtd(&process_lock);
	p->references++;
	spin_unlock_wtd(&process_lock);
}

void process_put(struct process *p)
{
	bool last;

	spin_lock_wtd(&process_lock);
	last = --p->references == 0;
	spin_unlock_wtd(&process_lock);
	if (!last)
		return;
	kpages_free(p->directory, PATH_BYTES);
	kpages_free(p->program, PATH_BYTES);
	pool_free(&process_pool, p);
}

void process_each(void (*visit)(const struct process *p, void *ctx), void *ctx)
{
	spin_lock_wtd(&process_lock);
	for (const struct process *p = all; p; p = p->all_next)
		visit(p, ctx);
	spin_unlock_wtd(&process_lock);
}

// ---- making ----

static void default_limits(struct process_limits *limits)
{
	struct pmm_stats stats;

	pmm_stats(&stats);
	*limits = (struct process_limits){.stack_bytes = 8 << 20,
					  .memory_frames = stats.frames_total / 2,
					  .open_files = 1024,
					  .tasks = TASKS_EACH,
					  .address_pages = (1UL << 46) >> PAGE_SHIFT,
					  .file_bytes = UINT64_MAX};
}

struct process *process_make(struct process *parent)
{
	struct process *p = pool_alloc(&process_pool);

	if (!p)
		return NULL;
	p->directory = kpages_alloc(PATH_BYTES);
	p->program = kpages_alloc(PATH_BYTES);
	if (!p->directory || !p->program) {
		if (p->directory)
			kpages_free(p->directory, PATH_BYTES);
		if (p->program)
			kpages_free(p->program, PATH_BYTES);
		pool_free(&process_pool, p);
		return NULL;
	}
	p->references = 1; // for being in the list of all
	p->mutex = (struct mutex)MUTEX_INIT("process");
	p->umask = 022;
	p->started_ns = clock_ns();
	waitq_init(&p->waiters);
	waitq_init(&p->vfork_done);
	process_alarm_init(p);
	if (parent)
		p->limits = parent->limits;
	else
		default_limits(&p->limits);
	spin_lock_wtd(&process_lock);
	p->pid = new_tid();
	p->group = parent ? parent->group : p->pid;
	p->session = parent ? parent->session : p->pid;
	p->parent = parent;
	if (parent) {
		p->sibling = parent->children;
		parent->children = p;
	}
	p->all_next = all;
	all = p;
	processes++;
	started++;
	spin_unlock_wtd(&process_lock);
	return p;
}

// process_lock held.
static void unlist(struct process *p)
{
	struct process **link = &all;

	while (*link != p)
		link = &(*link)->all_next;
	*link = p->all_next;
	if (p->parent) {
		for (link = &p->parent->children; *link != p; link = &(*link)->sibling)
			;
		*link = p->sibling;
		p->parent = NULL;
	}
	processes--;
}

// What a process owns beside its number. Thread context; once.
static void give_back(struct process *p)
{
	if (p->files)
		files_put(p->files);
	if (p->space)
		uspace_put(p->space);
	if (p->actions)
		signal_actions_put(p->actions);
	signal_pending_drop(&p->pending);
	process_alarm_stop(p);
	p->files = NULL;
	p->space = NULL;
	p->actions = NULL;
}

void process_reap(struct process *p)
{
	spin_lock_wtd(&process_lock);
	unlist(p);
	spin_unlock_wtd(&process_lock);
	process_put(p);
}

void process_unmake(struct process *p)
{
	give_back(p);
	process_reap(p);
}

static void begin(void *arg)
{
	struct task *t = arg;

	t->frame = (struct trap_frame *)(t->stack_top - sizeof(*t->frame));
	user_enter(&t->start, t->stack_top);
}

struct task *task_make(struct process *p, const struct trap_frame *frame)
{
	struct task *t = p->task_count < p->limits.tasks ? pool_alloc(&task_pool) : NULL;

	if (!t)
		return NULL;
	t->fpu = kpages_alloc(FPU_AREA);
	t->thread = t->fpu ? thread_make("program", THREAD_NORMAL, begin, t) : NULL;
	if (!t->thread) {
		if (t->fpu)
			kpages_free(t->fpu, FPU_AREA);
		pool_free(&task_pool, t);
		return NULL;
	}
	fpu_reset(t->fpu);
	t->process = p;
	t->space = p->space;
	t->start = *frame;
	t->alternate.flags = SS_DISABLE;
	t->stack_top = (uintptr_t)t->thread->stack + THREAD_STACK;
	t->thread->task = t;
	spin_lock_wtd(&process_lock);
	p->references++;
	t->tid = p->tasks ? new_tid() : p->pid;
	t->process_next = p->tasks;
	p->tasks = t;
	p->task_count++;
	t->tid_next = tids[(unsigned)t->tid % TID_BUCKETS];
	tids[(unsigned)t->tid % TID_BUCKETS] = t;
	tasks++;
	spin_unlock_wtd(&process_lock);
	return t;
}

void task_run(struct task *t)
{
	thread_start(t->thread);
}

// process_lock held. Returns whether it was the last.
static bool strike_off(struct task *t)
{
	struct process *p = t->process;
	struct task **link = &p->tasks;

	while (*link != t)
		link = &(*link)->process_next;
	*link = t->process_next;
	for (link = &tids[(unsigned)t->tid % TID_BUCKETS]; *link != t; link = &(*link)->tid_next)
		;
	*link = t->tid_next;
	tasks--;
	return --p->task_count == 0;
}

static void task_free(struct task *t)
{
	signal_pending_drop(&t->pending);
	kpages_free(t->fpu, FPU_AREA);
	pool_free(&task_pool, t);
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

// Its children get the kernel for a parent, which waits for nobody: those that ended already go now.
static void leave_children(struct process *p)
{
	struct process *child, *reaped = NULL;

	spin_lock_wtd(&process_lock);
	while ((child = p->children) != NULL) {
		p->children = child->sibling;
		child->parent = NULL;
		child->sibling = NULL;
		if (child->state == PROCESS_ZOMBIE) {
			child->sibling = reaped;
			reaped = child;
		}
	}
	spin_unlock_wtd(&process_lock);
	while ((child = reaped) != NULL) {
		reaped = child->sibling;
		child->sibling = NULL;
		process_reap(child);
	}
}

// The last task is in the kernel for good: everything goes, the parent is told.
static void process_end(struct process *p)
{
	bool orphan;

	process_vfork_over(p);
	give_back(p);
	leave_children(p);
	if (p->ended)
		p->ended(p, p->ended_ctx);
	spin_lock_wtd(&process_lock);
	p->state = PROCESS_ZOMBIE;
	ended++;
	crashed += (p->exit_status & 0x7f) != 0;
	orphan = !p->parent;
	if (!orphan)
		orphan = process_tell_parent(p);
	spin_unlock_wtd(&process_lock);
	if (orphan)
		process_reap(p);
}

void task_exit(int code)
{
	struct task *t = task_current();
	struct process *p = t->process;
	bool on, last;

	t->is_exiting = true;
	if (t->clear_tid) {
		uint32_t zero = 0;

		if (!user_put(t->clear_tid, &zero))
			futex_wake_one(t->clear_tid);
	}
	futex_robust_exit(t);
	spin_lock_wtd(&process_lock);
	last = strike_off(t);
	p->user_ns += t->user_ns;
	p->system_ns += t->system_ns;
	if (last && !p->exiting) {
		p->exiting = true;
		p->exit_status = code;
	}
	waitq_wake_all(&p->waiters); // process_single, too
	spin_unlock_wtd(&process_lock);
	on = irq_save(); // from here on it is a kernel thread
	t->thread->task = NULL;
	write_cr3(virt_to_phys(vmm_root()));
	irq_restore(on);
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

void process_vfork_over(struct process *p)
{
	spin_lock_wtd(&process_lock);
	p->vforked = false;
	waitq_wake_all(&p->vfork_done);
	spin_unlock_wtd(&process_lock);
}

// process_lock held. Something waits for it before ring 3; a sleep that may be broken off is.
void task_interrupt(struct task *t)
{
	t->attention = true;
	thread_interrupt(t->thread);
}

// ---- from the kernel ----

static int add_strings(struct exec_args *args, const char *const *list, unsigned *count)
{
	int error = 0;

	for (*count = 0; !error && list && list[*count]; ++*count)
		error = exec_args_add(args, list[*count], strlen(list[*count]));
	return error;
}

int process_start(const struct process_start *how)
{
	struct process *p = process_make(NULL);
	struct exec_args args;
	struct trap_frame frame;
	struct task *t;
	int error, pid;

	if (!p)
		return -EAGAIN;
	pid = p->pid;
	p->ended = how->ended;
	p->ended_ctx = how->ctx;
	kstrlcpy(p->directory, how->directory ? how->directory : "/", PATH_BYTES);
	error = exec_args_init(&args);
	if (!error)
		error = add_strings(&args, how->argv, &args.argc);
	if (!error)
		error = add_strings(&args, how->envp, &args.envc);
	p->actions = error ? NULL : signal_actions_new(NULL);
	p->files = error ? NULL : files_new_console();
	if (!error && (!p->actions || !p->files))
		error = -ENOMEM;
	if (!error)
		error = exec_build(how->path, &args, p, &p->space, &frame);
	exec_args_free(&args);
	t = error ? NULL : task_make(p, &frame);
	if (!t) {
		process_unmake(p);
		return error ? error : -ENOMEM;
	}
	process_name(p, how->path);
	task_run(t);
	return pid;
}
