// SPDX-License-Identifier: BSD-2-Clause
// Processes and what they may know of themselves. There is one user, root: rights over files on volumes are the file
#include "kernel/cpu.h"
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/syscall.h"
#include "kernel/timer.h"
#include "kernel/usercopy.h"
#include "kernel/version.h"

SYSCALL(56, clone)
{
	return process_clone(a[0], a[1], a[2], a[3], a[4]);
}

SYSCALL(57, fork)
{
	return process_clone(SIGCHLD, 0, 0, 0, 0);
}

SYSCALL(58, vfork)
{
	return process_clone(0x4100 | SIGCHLD, 0, 0, 0, 0); // CLONE_VFORK | CLONE_VM
}

// A vector of strings of the program, until its null pointer.
static int read_strings(struct exec_args *args, uintptr_t vector, unsigned *count)
{
	int error = 0;

	for (*count = 0; vector && !error; ++*count) {
		uint64_t at;
		int64_t len;

		error = user_get(&at, vector + *count * sizeof(at));
		if (error || !at)
			break;
		while ((len = user_read_text(args->text + args->bytes, at,
					     args->size - args->bytes)) == -ENAMETOOLONG &&
		       !(error = exec_args_grow(args)))
			;
		if (len >= 0)
			args->bytes += (size_t)len + 1;
		else if (!error)
			error = (int)len;
	}
	return error;
}

SYSCALL(59, execve)
{
	char *path = kpages_alloc(PATH_BYTES);
	struct exec_args args = {0};
	int64_t result = path ? path_from_user(path, AT_FDCWD, a[0], NULL) : -ENOMEM;

	if (result > 0)
		result = exec_args_init(&args);
	if (!result)
		result = read_strings(&args, a[1], &args.argc);
	if (!result)
		result = read_strings(&args, a[2], &args.envc);
	if (!result)
		result = process_execve(path, &args);
	exec_args_free(&args);
	if (path)
		kpages_free(path, PATH_BYTES);
	return result;
}

SYSCALL(60, exit)
{
	task_exit((int)(a[0] & 0xff) << 8);
}

SYSCALL(231, exit_group)
{
	process_exit((int)(a[0] & 0xff) << 8);
}

SYSCALL(61, wait4)
{
	return process_wait4((int)a[0], a[1], (int)a[2], a[3]);
}

SYSCALL(39, getpid)
{
	return process_current()->pid;
}

SYSCALL(110, getppid)
{
	const struct process *parent;
	int pid;

	spin_lock_wtd(&process_lock);
	parent = process_current()->parent;
	pid = parent ? parent->pid : 0;
	spin_unlock_wtd(&process_lock);
	return pid;
}

SYSCALL(186, gettid)
{
	return task_current()->tid;
}

SYSCALL(218, set_tid_address)
{
	task_current()->clear_tid = a[0];
	return task_current()->tid;
}

SYSCALL(158, arch_prctl)
{
	enum { ARCH_SET_GS = 0x1001, ARCH_SET_FS, ARCH_GET_FS, ARCH_GET_GS };
	struct task *t = task_current();

	switch (a[0]) {
	case ARCH_SET_FS:
	case ARCH_SET_GS:
		if (a[1] >= USER_END)
			return -EPERM;
		task_set_bases(t, a[0] == ARCH_SET_FS ? a[1] : t->fs_base,
			       a[0] == ARCH_SET_GS ? a[1] : t->gs_base);
		return 0;
	case ARCH_GET_FS:
		return user_put(a[1], &t->fs_base);
	case ARCH_GET_GS:
		return user_put(a[1], &t->gs_base);
	default:
		return -EINVAL;
	}
}

SYSCALL(157, prctl)
{
	enum {
		PR_SET_PDEATHSIG = 1,
		PR_GET_DUMPABLE = 3,
		PR_SET_DUMPABLE = 4,
		PR_SET_NAME = 15,
		PR_GET_NAME = 16,
		PR_SET_TIMERSLACK = 29,
		PR_SET_NO_NEW_PRIVS = 38
	};
	struct process *p = process_current();
	char name[16] = "";
	int64_t error;

	switch (a[0]) {
	case PR_SET_NAME:
		error = user_read_text(name, a[1], sizeof(name));
		if (error == -EFAULT)
			return error;
		spin_lock_wtd(&process_lock);
		name[sizeof(name) - 1] = 0;
		memcpy(p->name, name, sizeof(name));
		spin_unlock_wtd(&process_lock);
		return 0;
	case PR_GET_NAME:
		return user_write(a[1], p->name, sizeof(p->name));
	case PR_SET_PDEATHSIG:
		return a[1] > SIGNALS ? -EINVAL : a[1] ? -EOPNOTSUPP : 0;
	case PR_GET_DUMPABLE:
	case PR_SET_DUMPABLE:
	case PR_SET_NO_NEW_PRIVS:
	case PR_SET_TIMERSLACK:
		return 0;
	default:
		return -EINVAL;
	}
}

// ---- groups and sessions ----

// The process meant by a number (0: the caller), if it is the caller or a child of it. process_lock held.
static struct process *own_or_child(int pid)
{
	struct process *self = process_current();

	if (!pid || pid == self->pid)
		return self;
	for (struct process *c = self->children; c; c = c->sibling)
		if (c->pid == pid)
			return c;
	return NULL;
}

SYSCALL(109, setpgid)
{
	int pid = (int)a[0], group = (int)a[1];
	struct process *p, *self = process_current();
	int error = 0;

	if (group < 0)
		return -EINVAL;
	spin_lock_wtd(&process_lock);
	p = own_or_child(pid);
	if (!p)
		error = -ESRCH;
	else if (p != self && p->executed)
		error = -EACCES;
	else if (p->session != self->session || p->session == p->pid)
		error = -EPERM;
	else
		p->group = group ? group : p->pid;
	spin_unlock_wtd(&process_lock);
	return error;
}

static int64_t get_number(int pid, bool session)
{
	struct process *p = pid ? process_find(pid) : process_current();
	int64_t number = p ? (session ? p->session : p->group) : -ESRCH;

	if (p && pid)
		process_put(p);
	return number;
}

SYSCALL(121, getpgid)
{
	return get_number((int)a[0], false);
}
SYSCALL(111, getpgrp)
{
	return process_current()->group;
}
SYSCALL(124, getsid)
{
	return get_number((int)a[0], true);
}

SYSCALL(112, setsid)
{
	struct process *p = process_current();
	int64_t result = -EPERM;

	if (p->group == p->pid && signal_group(p->pid, 0, NULL) > 0 && p->session == p->pid)
		return result;
	spin_lock_wtd(&process_lock);
	if (p->group != p->pid)
		result = p->group = p->session = p->pid;
	spin_unlock_wtd(&process_lock);
	return result;
}

// ---- the machine ----

SYSCALL(63, uname)
{
	struct {
		char field[6][65];
	} u = {0};

	kstrlcpy(u.field[0], "Linux",
		 65); // programs ask for what they can expect; version tells who answers
	kstrlcpy(u.field[1], "pagewire", 65);
	kstrlcpy(u.field[2], "5.10.0", 65);
	kstrlcpy(u.field[3], "Pagewire " PAGEWIRE_VERSION, 65);
	kstrlcpy(u.field[4], "x86_64", 65);
	kstrlcpy(u.field[5], "(none)", 65);
	return user_put(a[0], &u);
}

SYSCALL(99, sysinfo)
{
	struct {
		int64_t uptime;
		uint64_t loads[3], total, free, shared, buffers, swap_total, swap_free;
		uint16_t processes, pad;
		uint32_t pad2;
		uint64_t high_total, high_free;
		uint32_t unit, pad3;
	} info = {0};
	struct pmm_stats stats;

	pmm_stats(&stats);
	info.uptime = (int64_t)(clock_ns() / NS_PER_SEC);
	info.total = stats.frames_total;
	info.free = stats.frames_free;
	info.processes = (uint16_t)MIN(process_count(), UINT16_MAX);
	info.unit = PAGE_SIZE;
	return user_put(a[0], &info);
}

// So many bytes are always given in one piece (getrandom(2)); programs count on it.
#define RANDOM_WHOLE 256

SYSCALL(318, getrandom)
{
	uint64_t done = 0, bytes = MIN(a[1], 1UL << 25);

	if (a[2] & ~7UL)
		return -EINVAL;
	while (done < bytes && (done < RANDOM_WHOLE || !signal_waits())) {
		uint64_t random = cpu_random();
		size_t piece = MIN(bytes - done, sizeof(random));

		if (user_write(a[0] + done, &random, piece))
			return -EFAULT;
		done += piece;
	}
	return (int64_t)done;
}
