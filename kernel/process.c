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
#include "kernel/pidfd.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/sched.h"
#include "kernel/timer.h"
#include "kernel/usercopy.h"
#include "kernel/vmm.h"
#include "kernel/vmm_private.h"

struct spinlock process_lock = SPINLOCK_INIT("process", RANK_PROCESS);
static struct pool process_pool = POOL_INIT("process", struct process, PROCESSES_MAX);
static struct process *all;		 // (T)
static uint64_t processes;		 // (T)
static uint64_t started, ended, crashed; // (T)
KSTAT_GAUGE(processes, "pagewire_processes", "Processes, zombies included.");
KSTAT_COUNTER(started, "pagewire_processes_started_total", "Processes ever made.");
KSTAT_COUNTER(ended, "pagewire_processes_ended_total", "Processes that ended.");
KSTAT_COUNTER(crashed, "pagewire_processes_killed_total", "Of them, by a signal.");

// ---- numbers ----

struct process *process_find_locked(int pid)
{
	struct process *p = all;

	while (p && p->pid != pid)
		p = p->all_next;
	return p;
}

bool process_number_taken(int number)
{
	const struct process *p = all;

	while (p && p->pid != number && p->group != number && p->session != number)
		p = p->all_next;
	return p != NULL;
}

uint64_t processes_started(void)
{
	return started;
}

uint64_t process_count(void)
{
	return processes;
}

struct process *process_find(int pid)
{
	struct process *p;

	spin_lock_wtd(&process_lock);
	p = process_find_locked(pid);
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
	user_memory_give(PROCESS_FRAMES);
}

void process_each(void (*visit)(const struct process *p, void *ctx), void *ctx)
{
	spin_lock_wtd(&process_lock);
	for (const struct process *p = all; p; p = p->all_next)
		visit(p, ctx);
	spin_unlock_wtd(&process_lock);
}

void process_get_directory(struct process *p, char *out)
{
	spin_lock_wtd(&process_lock);
	kstrlcpy(out, p->directory, PATH_BYTES);
	spin_unlock_wtd(&process_lock);
}

void process_set_directory(struct process *p, const char *path)
{
	spin_lock_wtd(&process_lock);
	kstrlcpy(p->directory, path, PATH_BYTES);
	spin_unlock_wtd(&process_lock);
}

// ---- making ----

static void default_limits(struct process *p)
{
	for (unsigned n = 0; n < RLIMITS; n++)
		p->limits[n] = (struct limit){UINT64_MAX, UINT64_MAX};
	p->limits[RLIMIT_STACK].soft = 8 << 20;
	p->limits[RLIMIT_CORE] = (struct limit){0, 0};
	p->limits[RLIMIT_NPROC] = (struct limit){TASKS_MAX, TASKS_MAX};
	p->limits[RLIMIT_NOFILE] = (struct limit){1024, FILES_MAX};
	p->limits[RLIMIT_SIGPENDING] = (struct limit){SIGNALS_QUEUED_MAX, SIGNALS_QUEUED_MAX};
}

static struct process *process_alloc(void)
{
	struct process *p;

	if (!user_memory_take(PROCESS_FRAMES))
		return NULL;
	p = pool_alloc(&process_pool);
	if (p) {
		p->directory = kpages_alloc(PATH_BYTES);
		p->program = kpages_alloc(PATH_BYTES);
		if (p->directory && p->program)
			return p;
		if (p->directory)
			kpages_free(p->directory, PATH_BYTES);
		if (p->program)
			kpages_free(p->program, PATH_BYTES);
		pool_free(&process_pool, p);
	}
	user_memory_give(PROCESS_FRAMES);
	return NULL;
}

struct process *process_make(struct process *parent)
{
	struct process *p = process_alloc();

	if (!p)
		return NULL;
	p->references = 1; // for being in the list of all
	p->actions = signal_actions_new(parent ? parent->actions : NULL);
	if (!p->actions) {
		process_put(p);
		return NULL;
	}
	p->umask = 022;
	p->started_ns = clock_ns();
	waitq_init(&p->waiters);
	waitq_init(&p->vfork_done);
	process_alarm_init(p);
	cputime_watch_init(p);
	if (parent)
		memcpy(p->limits, parent->limits, sizeof(p->limits));
	else
		default_limits(p);
	spin_lock_wtd(&process_lock);
	if (parent && signal_waits()) { // perhaps for a whole group: the child would escape it
		spin_unlock_wtd(&process_lock);
		signal_actions_put(p->actions);
		process_put(p);
		return NULL;
	}
	p->pid = task_number();
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

// process_lock held. False: somebody else was faster (two threads in wait4, or one and the end of a parent).
static bool unlist(struct process *p)
{
	struct process **link = &all;

	while (*link && *link != p)
		link = &(*link)->all_next;
	if (!*link)
		return false;
	*link = p->all_next;
	if (p->parent) {
		for (link = &p->parent->children; *link != p; link = &(*link)->sibling)
			;
		*link = p->sibling;
		p->parent = NULL;
	}
	processes--;
	pidfds_leave(p);
	return true;
}

// What a process owns beside its number. Thread context; once. Others may look at it meanwhile (kill, PS): what they
// would find is out of their sight before it goes.
static void give_back(struct process *p)
{
	struct files *files;
	struct uspace *space;
	struct signal_actions *actions;

	spin_lock_wtd(&process_lock);
	files = p->files;
	space = p->space;
	actions = p->actions;
	p->files = NULL;
	p->space = NULL;
	p->actions = NULL;
	spin_unlock_wtd(&process_lock);
	if (files)
		files_put(files);
	if (space)
		uspace_put(space);
	if (actions)
		signal_actions_put(actions);
	signal_pending_drop(&p->pending);
	process_alarm_stop(p);
	process_timers_drop(p);
	cputime_watch_stop(p);
}

bool process_reap(struct process *p)
{
	bool ours;

	spin_lock_wtd(&process_lock);
	ours = unlist(p);
	spin_unlock_wtd(&process_lock);
	if (ours)
		process_put(p);
	return ours;
}

void process_unmake(struct process *p)
{
	give_back(p);
	process_reap(p);
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
		if (child->state == PROCESS_ZOMBIE && unlist(child)) {
			child->sibling = reaped;
			reaped = child;
		}
	}
	spin_unlock_wtd(&process_lock);
	while ((child = reaped) != NULL) {
		reaped = child->sibling;
		child->sibling = NULL;
		process_put(child);
	}
}

// The last task is in the kernel for good: everything goes, the parent is told.
void process_end(struct process *p)
{
	bool orphan;

	process_vfork_over(p);
	give_back(p);
	leave_children(p);
	if (p->ended)
		p->ended(p, p->ended_ctx);
	spin_lock_wtd(&process_lock);
	p->state = PROCESS_ZOMBIE;
	pidfds_tell(p);
	ended++;
	crashed += (p->exit_status & 0x7f) != 0;
	orphan = !p->parent;
	if (!orphan)
		orphan = process_tell_parent(p);
	orphan = orphan && unlist(p);
	spin_unlock_wtd(&process_lock);
	if (orphan)
		process_put(p);
}

void process_vfork_over(struct process *p)
{
	spin_lock_wtd(&process_lock);
	p->vforked = false;
	waitq_wake_all(&p->vfork_done);
	spin_unlock_wtd(&process_lock);
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
	kstrlcpy(p->program, how->path, PATH_BYTES);
	kstrlcpy(p->directory, how->directory ? how->directory : "/", PATH_BYTES);
	error = exec_args_init(&args);
	if (!error)
		error = add_strings(&args, how->argv, &args.argc);
	if (!error)
		error = add_strings(&args, how->envp, &args.envc);
	p->files = error ? NULL : files_new_console();
	if (!error && !p->files)
		error = -ENOMEM;
	if (!error)
		error = exec_build(p->program, &args, p, &p->space, &frame);
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
