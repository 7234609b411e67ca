// SPDX-License-Identifier: BSD-2-Clause
// fork, vfork and clone. A process gets a copy of the address space (frames shared until written) or, with
// CLONE_VM | CLONE_VFORK, borrows its parent's until it execs or ends; a thread (CLONE_THREAD) shares everything.
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/pidfd.h"
#include "kernel/process.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

enum {
	CLONE_VM = 0x100,
	CLONE_FS = 0x200,
	CLONE_FILES = 0x400,
	CLONE_SIGHAND = 0x800,
	CLONE_PIDFD = 0x1000,
	CLONE_VFORK = 0x4000,
	CLONE_PARENT = 0x8000,
	CLONE_THREAD = 0x10000,
	CLONE_SYSVSEM = 0x40000,
	CLONE_SETTLS = 0x80000,
	CLONE_PARENT_SETTID = 0x100000,
	CLONE_CHILD_CLEARTID = 0x200000,
	CLONE_DETACHED = 0x400000,
	CLONE_CHILD_SETTID = 0x1000000,
};
#define CLONE_KNOWN                                                                                \
	(0xffUL | CLONE_PIDFD | CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_VFORK |  \
	 CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |                       \
	 CLONE_CHILD_CLEARTID | CLONE_DETACHED | CLONE_CHILD_SETTID)
#define THREAD_FLAGS (CLONE_VM | CLONE_SIGHAND | CLONE_FILES | CLONE_FS)

// 0: a combination that is served.
static int check_flags(uint64_t flags, uintptr_t tls)
{
	if (flags & ~CLONE_KNOWN)
		return -EINVAL;
	if (flags & CLONE_SETTLS && tls >= USER_END)
		return -EPERM; // the processor takes no such base
	if (flags & CLONE_PIDFD && flags & (CLONE_THREAD | CLONE_DETACHED | CLONE_PARENT_SETTID))
		return -EINVAL; // both would be told at one place
	if (flags & CLONE_THREAD)
		return (flags & THREAD_FLAGS) == THREAD_FLAGS ? 0 : -EINVAL;
	if (flags & (CLONE_SIGHAND | CLONE_FILES | CLONE_FS))
		return -EINVAL; // processes that share tables but are no threads: nobody's libc makes them
	return flags & CLONE_VM && !(flags & CLONE_VFORK) ? -EINVAL : 0;
}

static struct process *copy_process(struct process *parent, uint64_t flags)
{
	struct process *p = process_make(parent);

	if (!p)
		return NULL;
	process_get_directory(parent, p->directory);
	memcpy(p->program, parent->program, PATH_BYTES);
	memcpy(p->name, parent->name, sizeof(p->name));
	p->umask = parent->umask;
	p->arg_start = parent->arg_start;
	p->arg_end = parent->arg_end;
	p->vforked = flags & CLONE_VFORK;
	p->files = files_copy(parent->files);
	if (flags & CLONE_VM) {
		uspace_get(parent->space);
		p->space = parent->space;
	} else if (p->files) {
		p->space = uspace_fork(parent->space);
	}
	if (p->files && p->space)
		return p;
	process_unmake(p);
	return NULL;
}

// Nothing but the end breaks this off: the child has the parent's memory.
static void wait_for_vfork(struct process *child)
{
	spin_lock_wtd(&process_lock);
	while (child->vforked && !signal_kills()) {
		thread_interrupt_seen();
		(void)!waitq_sleep_interruptible(&child->vfork_done, &process_lock, UINT64_MAX);
	}
	task_current()->attention = true;
	spin_unlock_wtd(&process_lock);
}

// A descriptor of the child that does not run yet. 0 or an error.
static int tell_pidfd(const struct process *p, uintptr_t at)
{
	int fd = pidfd_make(p->pid, 0);

	if (fd < 0)
		return fd;
	if (!user_put(at, &fd))
		return 0;
	(void)files_close(fd);
	return -EFAULT;
}

int64_t process_clone(uint64_t flags, uintptr_t stack, uintptr_t parent_tid, uintptr_t child_tid,
		      uint64_t tls)
{
	struct task *self = task_current(), *t;
	struct process *p = self->process;
	struct trap_frame frame = *self->frame;
	int error = check_flags(flags, tls), tid;

	if (error)
		return error;
	if (!(flags & CLONE_THREAD) && !(p = copy_process(p, flags))) {
		self->attention |= signal_waits();
		return signal_waits() ? -ERESTART_ALWAYS : -EAGAIN;
	}
	frame.rax = 0;
	if (stack)
		frame.rsp = stack;
	t = task_make(p, &frame);
	if (!t) {
		if (p != self->process)
			process_unmake(p);
		return -EAGAIN;
	}
	if (flags & CLONE_PIDFD && (error = tell_pidfd(p, parent_tid))) {
		task_unmake(t);
		process_unmake(p);
		return error;
	}
	fpu_save(t->fpu);
	t->fs_base = flags & CLONE_SETTLS ? tls : self->fs_base;
	t->gs_base = self->gs_base;
	t->blocked = self->blocked;
	if (!(flags & CLONE_VM) || flags & CLONE_VFORK)
		t->alternate = self->alternate;
	t->clear_tid = flags & CLONE_CHILD_CLEARTID ? child_tid : 0;
	tid = t->tid;
	if (flags & CLONE_PARENT_SETTID)
		error = user_put(parent_tid, &tid);
	if (flags & CLONE_CHILD_SETTID && !error)
		error = uspace_write(t->space, child_tid, &tid, sizeof(tid));
	if (flags & CLONE_VFORK)
		process_get(p);
	task_run(t); // a bad address for the number is the program's own loss, as in Linux
	if (flags & CLONE_VFORK) {
		wait_for_vfork(p);
		process_put(p);
	}
	return tid;
}
