// SPDX-License-Identifier: BSD-2-Clause
// Signals, as programs ask for them.
#include "kernel/syscall.h"
#include "kernel/timer.h"
#include "kernel/usercopy.h"

#define SET_BYTES   8
#define SI_TKILL    (-6)
#define UNBLOCKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))

static bool valid(uint64_t signal)
{
	return signal >= 1 && signal <= SIGNALS;
}

SYSCALL(13, rt_sigaction)
{
	struct process *p = process_current();
	struct signal_action *action, fresh, old;
	int error = 0;

	if (!valid(a[0]) || a[3] != SET_BYTES || (a[1] && (a[0] == SIGKILL || a[0] == SIGSTOP)))
		return -EINVAL;
	if (a[1])
		error = user_get(&fresh, a[1]);
	if (error)
		return error;
	action = &p->actions->action[a[0] - 1];
	spin_lock_wtd(&process_lock);
	old = *action;
	if (a[1]) {
		fresh.mask &= ~UNBLOCKABLE;
		*action = fresh;
		signal_action_changed_locked(p, (int)a[0]);
	}
	spin_unlock_wtd(&process_lock);
	return a[2] ? user_put(a[2], &old) : 0;
}

SYSCALL(14, rt_sigprocmask)
{
	enum { SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK };
	struct task *t = task_current();
	uint64_t old = t->blocked, set = 0;

	if (a[3] != SET_BYTES || (a[1] && a[0] > SIG_SETMASK))
		return -EINVAL;
	if (a[1] && user_get(&set, a[1]))
		return -EFAULT;
	if (a[2] && user_put(a[2], &old))
		return -EFAULT;
	if (!a[1])
		return 0;
	set &= ~UNBLOCKABLE;
	spin_lock_wtd(&process_lock);
	t->blocked = a[0] == SIG_BLOCK	   ? t->blocked | set
		     : a[0] == SIG_UNBLOCK ? t->blocked & ~set
					   : set;
	t->attention |= signal_waits();
	spin_unlock_wtd(&process_lock);
	return 0;
}

SYSCALL(15, rt_sigreturn)
{
	return signal_return(task_current()->frame);
}

SYSCALL(127, rt_sigpending)
{
	struct task *t = task_current();
	uint64_t set = (t->pending.bits | t->process->pending.bits) & t->blocked;

	return a[1] > SET_BYTES ? -EINVAL : user_put(a[0], &set);
}

SYSCALL(131, sigaltstack)
{
	struct task *t = task_current();
	struct signal_stack fresh, old = t->alternate;
	bool on_it = t->frame->rsp - old.base < old.size && !(old.flags & SS_DISABLE);

	if (a[0] && user_get(&fresh, a[0]))
		return -EFAULT;
	old.flags = on_it ? SS_ONSTACK : old.flags & SS_DISABLE;
	if (a[1] && user_put(a[1], &old))
		return -EFAULT;
	if (!a[0])
		return 0;
	if (on_it)
		return -EPERM;
	if (fresh.flags & ~(SS_DISABLE | SS_ONSTACK))
		return -EINVAL;
	if (!(fresh.flags & SS_DISABLE) && fresh.size < 2048)
		return -ENOMEM;
	if (fresh.flags & SS_DISABLE)
		fresh.base = fresh.size = 0;
	t->alternate = fresh;
	return 0;
}

// Sleeps until a signal that is not blocked is there, with another mask meanwhile; the handler runs before the old one
// comes back.
static int64_t suspend(uint64_t mask)
{
	struct task *t = task_current();

	spin_lock_wtd(&process_lock);
	t->saved_blocked = t->blocked;
	t->restore_blocked = true;
	t->blocked = mask & ~UNBLOCKABLE;
	while (!signal_waits()) {
		thread_interrupt_seen();
		(void)!waitq_sleep_interruptible(&t->process->vfork_done, &process_lock,
						 UINT64_MAX);
	}
	t->attention = true;
	spin_unlock_wtd(&process_lock);
	return -ERESTART_UNHANDLED;
}

SYSCALL(130, rt_sigsuspend)
{
	uint64_t mask;

	if (a[1] != SET_BYTES)
		return -EINVAL;
	return user_get(&mask, a[0]) ? -EFAULT : suspend(mask);
}

SYSCALL(34, pause)
{
	return suspend(task_current()->blocked);
}

SYSCALL(128, rt_sigtimedwait)
{
	struct task *t = task_current();
	struct signal_info info;
	uint64_t set, ns = UINT64_MAX, end;
	int signal;

	if (a[3] != SET_BYTES)
		return -EINVAL;
	if (user_get(&set, a[0]))
		return -EFAULT;
	if (a[2]) {
		int error = syscall_get_time(a[2], &ns);

		if (error)
			return error;
	}
	end = ns == UINT64_MAX ? ns : clock_ns() + ns;
	set &= ~UNBLOCKABLE;
	spin_lock_wtd(&process_lock);
	t->waits_for = set; // so that the sender wakes us, and drops none of them
	for (;;) {
		uint64_t now = clock_ns();

		signal = signal_take(&t->pending, ~set, &info);
		if (!signal)
			signal = signal_take(&t->process->pending, ~set, &info);
		if (signal || now >= end || signal_waits())
			break;
		thread_interrupt_seen();
		(void)!waitq_sleep_interruptible(&t->process->vfork_done, &process_lock,
						 end == UINT64_MAX ? end : end - now);
	}
	t->waits_for = 0;
	t->attention = true;
	spin_unlock_wtd(&process_lock);
	if (!signal)
		return clock_ns() >= end ? -EAGAIN : -EINTR;
	return a[1] && user_put(a[1], &info) ? -EFAULT : signal;
}

static int send_to_process(int pid, int signal, const struct signal_info *info)
{
	struct process *p = process_find(pid);
	int error = 0;

	if (!p)
		return -ESRCH;
	if (signal)
		error = signal_process_sent(p, signal, info);
	process_put(p);
	return error;
}

struct everybody {
	int signal;
	const struct signal_info *info;
	const struct process *but;
	unsigned count;
};

static void send_to_one(const struct process *p, void *ctx)
{
	struct everybody *e = ctx;

	if (p == e->but)
		return;
	e->count++;
	if (e->signal)
		(void)!signal_process_sent_locked((struct process *)(uintptr_t)p, e->signal,
						  e->info);
}

SYSCALL(62, kill)
{
	int pid = (int)a[0], signal = (int)a[1];
	struct process *self = process_current();
	struct signal_info info = {.pid = self->pid};
	struct everybody all = {signal, &info, self, 0};

	if (signal && !valid((uint64_t)signal))
		return -EINVAL;
	if (pid > 0)
		return send_to_process(pid, signal, &info);
	if (pid == -1) {
		process_each(send_to_one, &all);
		return all.count ? 0 : -ESRCH;
	}
	return signal_group(pid ? -pid : self->group, signal, &info) ? 0 : -ESRCH;
}

static int64_t send_to_task(int group, int tid, int signal, const struct signal_info *info)
{
	struct task *t;
	int error = 0;

	if (tid <= 0 || (signal && !valid((uint64_t)signal)))
		return -EINVAL;
	spin_lock_wtd(&process_lock);
	t = task_find(tid);
	if (t && group && t->process->pid != group)
		t = NULL;
	if (t && signal)
		error = signal_task_sent_locked(t, signal, info);
	spin_unlock_wtd(&process_lock);
	return t ? error : -ESRCH;
}

static int64_t kill_task(int group, int tid, int signal)
{
	struct signal_info info = {.pid = process_current()->pid, .code = SI_TKILL};

	return send_to_task(group, tid, signal, &info);
}

SYSCALL(200, tkill)
{
	return kill_task(0, (int)a[0], (int)a[1]);
}

SYSCALL(234, tgkill)
{
	return (int)a[0] <= 0 ? -EINVAL : kill_task((int)a[0], (int)a[1], (int)a[2]);
}

// What a program says came with its signal; only to itself may it say what the kernel says, or kill and tkill.
static int get_info(uintptr_t at, int signal, int to, struct signal_info *info)
{
	if (user_get(info, at))
		return -EFAULT;
	info->signal = signal;
	return (info->code >= 0 || info->code == SI_TKILL) && to != process_current()->pid ? -EPERM
											   : 0;
}

SYSCALL(129, rt_sigqueueinfo)
{
	int pid = (int)a[0], signal = (int)a[1];
	struct signal_info info;
	int error = get_info(a[2], signal, pid, &info);

	if (!error && signal && !valid((uint64_t)signal))
		error = -EINVAL;
	return error ? error : send_to_process(pid, signal, &info);
}

SYSCALL(297, rt_tgsigqueueinfo)
{
	int group = (int)a[0], tid = (int)a[1], signal = (int)a[2];
	struct signal_info info;
	int error = group <= 0 || tid <= 0 ? -EINVAL : get_info(a[3], signal, group, &info);

	return error ? error : send_to_task(group, tid, signal, &info);
}
