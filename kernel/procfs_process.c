// SPDX-License-Identifier: BSD-2-Clause
// What /proc says of a process (kernel/procfs.h; proc(5) has the formats). What is not kept here is told as 0.
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/procfs.h"
#include "kernel/sched.h"
#include "kernel/timer.h"
#include "kernel/usercopy.h"
#include "kernel/vmm.h"

#define TICKS		 100 // a second
#define CMDLINE_MAX	 65536
#define USER_EXIT_SIGNAL SIGCHLD

// ---- the text ----

static bool make_room(struct proc_text *t, size_t more)
{
	size_t size = MAX(t->size, PAGE_SIZE);
	char *text;

	while (size < t->len + more)
		size *= 2;
	if (size == t->size)
		return true;
	text = size <= PROC_TEXT_MAX ? user_kpages_alloc(size) : NULL;
	if (!text)
		return false;
	if (t->text) {
		memcpy(text, t->text, t->len);
		user_kpages_free(t->text, t->size);
	}
	t->text = text;
	t->size = size;
	return true;
}

void proc_put(struct proc_text *t, const char *bytes, size_t len)
{
	if (!make_room(t, len))
		return;
	memcpy(t->text + t->len, bytes, len);
	t->len += len;
}

void proc_printf(struct proc_text *t, const char *format, ...)
{
	char line[512];
	va_list args;
	int len;

	va_start(args, format);
	len = kvsnprintf(line, sizeof(line), format, args);
	va_end(args);
	proc_put(t, line, MIN((size_t)len, sizeof(line) - 1));
}

// ---- a process, as it was at one moment ----

struct view {
	char state, name[16];
	int parent, group, session;
	unsigned threads;
	struct cpu_time used, children;
	uint64_t pages, frames, faults, pending, blocked, ignored, caught;
};

static char state_of(const struct process *p)
{
	if (p->state == PROCESS_ZOMBIE)
		return 'Z';
	if (p->state == PROCESS_STOPPED)
		return 'T';
	for (const struct task *t = p->tasks; t; t = t->process_next)
		if (t->thread->state != THREAD_BLOCKED)
			return 'R';
	return 'S';
}

static struct view look(struct process *p)
{
	struct view v = {0};

	spin_lock_wtd(&process_lock);
	v.state = state_of(p);
	memcpy(v.name, p->name, sizeof(v.name));
	v.parent = p->parent ? p->parent->pid : 0;
	v.group = p->group;
	v.session = p->session;
	v.threads = p->task_count;
	cputime_of_process(p, &v.used);
	v.children = p->used_by_children;
	v.pending = p->pending.bits;
	v.blocked = p->tasks ? p->tasks->blocked : 0;
	for (int n = 0; p->actions && n < SIGNALS; n++) {
		v.ignored |= p->actions->action[n].handler == SIG_IGN ? BIT(n) : 0;
		v.caught |= p->actions->action[n].handler > SIG_IGN ? BIT(n) : 0;
	}
	if (p->space) {
		v.pages = p->space->mapped;
		v.frames = p->space->frames;
		v.faults = p->space->faults;
	}
	spin_unlock_wtd(&process_lock);
	return v;
}

static unsigned long ticks(uint64_t cycles)
{
	return clock_cycles_to_ns(cycles) / (NS_PER_SEC / TICKS);
}

void proc_stat(struct proc_text *out, struct process *p)
{
	struct view v = look(p);

	proc_printf(out, "%d (%s) %c %d %d %d 0 -1 0 %lu 0 0 0 %lu %lu %lu %lu 20 0 %u 0 %lu ",
		    p->pid, v.name, v.state, v.parent, v.group, v.session, (unsigned long)v.faults,
		    ticks(v.used.user), ticks(v.used.system), ticks(v.children.user),
		    ticks(v.children.system), v.threads,
		    (unsigned long)(p->started_ns / (NS_PER_SEC / TICKS)));
	proc_printf(out, "%lu %lu %lu 0 0 0 0 0 %lu %lu %lu %lu 0 0 0 %d 0 0 0 0 0 0 0 0 0 ",
		    (unsigned long)(v.pages << PAGE_SHIFT), (unsigned long)v.frames,
		    (unsigned long)p->limits[RLIMIT_RSS].soft, (unsigned long)v.pending,
		    (unsigned long)v.blocked, (unsigned long)v.ignored, (unsigned long)v.caught,
		    USER_EXIT_SIGNAL);
	proc_printf(out, "0 0 0 0 %d\n", p->exit_status);
}

void proc_statm(struct proc_text *out, struct process *p)
{
	struct view v = look(p);

	proc_printf(out, "%lu %lu 0 0 0 %lu 0\n", (unsigned long)v.pages, (unsigned long)v.frames,
		    (unsigned long)v.frames);
}

void proc_status(struct proc_text *out, struct process *p)
{
	struct view v = look(p);
	const char *word = v.state == 'R'   ? "running"
			   : v.state == 'S' ? "sleeping"
			   : v.state == 'T' ? "stopped"
					    : "zombie";

	proc_printf(out, "Name:\t%s\nUmask:\t%04o\nState:\t%c (%s)\nTgid:\t%d\nPid:\t%d\n", v.name,
		    p->umask, v.state, word, p->pid, p->pid);
	proc_printf(out, "PPid:\t%d\nTracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n",
		    v.parent);
	if (v.state != 'Z')
		proc_printf(out, "VmSize:\t%8lu kB\nVmRSS:\t%8lu kB\n", (unsigned long)v.pages * 4,
			    (unsigned long)v.frames * 4);
	proc_printf(out, "Threads:\t%u\nSigQ:\t%lu/%lu\n", v.threads,
		    (unsigned long)signals_queued(),
		    (unsigned long)p->limits[RLIMIT_SIGPENDING].soft);
	proc_printf(out, "ShdPnd:\t%016lx\nSigBlk:\t%016lx\n", (unsigned long)v.pending,
		    (unsigned long)v.blocked);
	proc_printf(out, "SigIgn:\t%016lx\nSigCgt:\t%016lx\nCpus_allowed_list:\t0\n",
		    (unsigned long)v.ignored, (unsigned long)v.caught);
}

void proc_comm(struct proc_text *out, struct process *p)
{
	struct view v = look(p);

	proc_printf(out, "%s\n", v.name);
}

// Its address space with a reference; null: it has none any more.
static struct uspace *space_of(struct process *p)
{
	struct uspace *u;

	spin_lock_wtd(&process_lock);
	u = p->space;
	if (u)
		uspace_get(u);
	spin_unlock_wtd(&process_lock);
	return u;
}

void proc_cmdline(struct proc_text *out, struct process *p)
{
	uintptr_t at = p->arg_start, end = MIN(p->arg_end, at + CMDLINE_MAX);
	struct uspace *u = space_of(p);
	struct page *page;

	while (u && at < end && !uspace_page(u, at, USPACE_READ, &page)) {
		size_t in_page = at & (PAGE_SIZE - 1), bytes = MIN(end - at, PAGE_SIZE - in_page);

		if (page->flags &
		    PAGE_USER) // never a page of the file cache, whatever is mapped there
			proc_put(out, (const char *)page_virt(page) + in_page, bytes);
		page_wire_put(page);
		at += bytes;
	}
	if (u)
		uspace_put(u);
}

void proc_maps(struct proc_text *out, struct process *p)
{
	struct uspace *u = space_of(p);

	if (!u)
		return;
	mutex_lock(&u->lock);
	for (const struct uspace_region *r = u->first; r; r = r->next) {
		const char *name = vdso_is(r->backing) ? (r->offset ? "[vdso]" : "[vvar]")
				   : r->access & USPACE_GROWS_DOWN		   ? "[stack]"
				   : r->start == ALIGN_UP(u->brk_start, PAGE_SIZE) ? "[heap]"
				   : r->backing && !(r->access & USPACE_SHARED)	   ? "[file]"
										   : "";

		proc_printf(
		    out, "%08lx-%08lx %c%c%c%c %08lx 00:00 0 %s\n", r->start, r->end,
		    r->access & USPACE_READ ? 'r' : '-', r->access & USPACE_WRITE ? 'w' : '-',
		    r->access & USPACE_EXEC ? 'x' : '-', r->access & USPACE_SHARED ? 's' : 'p',
		    (unsigned long)(r->offset << PAGE_SHIFT), name);
	}
	mutex_unlock(&u->lock);
	uspace_put(u);
}

void proc_limits(struct proc_text *out, struct process *p)
{
	static const struct {
		int which;
		const char *name, *unit;
	} rows[] = {{RLIMIT_CPU, "Max cpu time", "seconds"},
		    {RLIMIT_FSIZE, "Max file size", "bytes"},
		    {RLIMIT_DATA, "Max data size", "bytes"},
		    {RLIMIT_STACK, "Max stack size", "bytes"},
		    {RLIMIT_CORE, "Max core file size", "bytes"},
		    {RLIMIT_NPROC, "Max processes", "processes"},
		    {RLIMIT_NOFILE, "Max open files", "files"},
		    {RLIMIT_AS, "Max address space", "bytes"},
		    {RLIMIT_SIGPENDING, "Max pending signals", "signals"}};

	proc_printf(out, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
	for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
		const struct limit *l = &p->limits[rows[n].which];
		char soft[24] = "unlimited", hard[24] = "unlimited";

		if (l->soft != UINT64_MAX)
			ksnprintf(soft, sizeof(soft), "%lu", (unsigned long)l->soft);
		if (l->hard != UINT64_MAX)
			ksnprintf(hard, sizeof(hard), "%lu", (unsigned long)l->hard);
		proc_printf(out, "%-25s %-20s %-20s %-10s\n", rows[n].name, soft, hard,
			    rows[n].unit);
	}
}
