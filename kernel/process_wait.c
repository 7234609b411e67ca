// SPDX-License-Identifier: BSD-2-Clause
// wait4: who tells, who is told (POSIX waitpid, Linux wait4). Lock: process_lock.
#include "kernel/kstring.h"
#include "kernel/process.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

enum { WNOHANG = 1, WUNTRACED = 2, WCONTINUED = 8, WALL = 0x40000000 };
enum { CLD_EXITED = 1, CLD_KILLED, CLD_DUMPED, CLD_TRAPPED, CLD_STOPPED, CLD_CONTINUED };

static bool meant(const struct process *self, const struct process *child, int which)
{
	if (which > 0)
		return child->pid == which;
	if (which == 0)
		return child->group == self->group;
	return which == -1 || child->group == -which;
}

// The parent ignores SIGCHLD or has said SA_NOCLDWAIT: its children leave no zombies.
static bool parent_does_not_care(const struct process *parent)
{
	const struct signal_action *a = &parent->actions->action[SIGCHLD - 1];

	return a->handler == SIG_IGN || a->flags & SA_NOCLDWAIT;
}

// Lock held. True: nobody will wait for it, it may go.
bool process_tell_parent(struct process *p)
{
	struct process *parent = p->parent;
	struct signal_info info = {.signal = SIGCHLD, .pid = p->pid};
	int status = p->exit_status;
	bool unwanted;

	if (!parent->actions) // it is ending itself, and leaves its children
		return false;
	info.code = p->state == PROCESS_STOPPED	  ? CLD_STOPPED
		    : p->state == PROCESS_RUNNING ? CLD_CONTINUED
		    : status & 0x7f		  ? CLD_KILLED
						  : CLD_EXITED;
	info.status = p->state == PROCESS_STOPPED ? p->stop_signal
		      : status & 0x7f		  ? status & 0x7f
						  : status >> 8 & 0xff;
	unwanted = p->state == PROCESS_ZOMBIE && parent_does_not_care(parent);
	if (!(p->state != PROCESS_ZOMBIE &&
	      parent->actions->action[SIGCHLD - 1].flags & SA_NOCLDSTOP))
		signal_process_locked(parent, SIGCHLD, &info);
	waitq_wake_all(&parent->waiters);
	return unwanted;
}

// Lock held. A child of whom there is something to tell, and what.
static struct process *find_news(struct process *self, int which, int options, int *status,
				 bool *any)
{
	*any = false;
	for (struct process *c = self->children; c; c = c->sibling) {
		if (!meant(self, c, which))
			continue;
		*any = true;
		*status = c->exit_status;
		if (c->state == PROCESS_ZOMBIE)
			return c;
		if (options & WUNTRACED && c->state == PROCESS_STOPPED && !c->stop_told) {
			c->stop_told = true;
			*status = c->stop_signal << 8 | 0x7f;
			return c;
		}
		if (options & WCONTINUED && c->continued) {
			c->continued = false;
			*status = 0xffff;
			return c;
		}
	}
	return NULL;
}

static int wait_for_news(struct process *self, int which, int options, struct process **child,
			 int *status)
{
	int error = 0;
	bool any;

	spin_lock_wtd(&process_lock);
	while (!(*child = find_news(self, which, options, status, &any)) && !error) {
		if (!any)
			error = -ECHILD;
		else if (options & WNOHANG)
			break;
		else if (!waitq_sleep_interruptible(&self->waiters, &process_lock, UINT64_MAX))
			error = -ERESTART;
	}
	if (*child) {
		(*child)->references++;
		error = 0; // the signal that broke off the sleep may be the child's
	}
	spin_unlock_wtd(&process_lock);
	return error;
}

static void usage_of(const struct process *child, struct linux_rusage *usage)
{
	struct cpu_time used;

	spin_lock_wtd(&process_lock);
	cputime_of_process(child, &used);
	spin_unlock_wtd(&process_lock);
	used.user += child->used_by_children.user; // a zombie: nobody changes them
	used.system += child->used_by_children.system;
	syscall_fill_usage(usage, &used);
}

int64_t process_wait4(int which, uintptr_t status_at, int options, uintptr_t usage_at)
{
	struct process *self = process_current(), *child;
	struct linux_rusage usage;
	int status, error, pid;
	bool taken;

	if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | WALL | 0x20000000 | 0x40000000) ||
	    which == INT32_MIN)
		return -EINVAL;
	do { // another thread may have taken the same zombie
		error = wait_for_news(self, which, options, &child, &status);
		if (error || !child)
			return error;
		pid = child->pid;
		usage_of(child, &usage);
		taken = child->state != PROCESS_ZOMBIE || process_reap(child);
		if (taken && child->state == PROCESS_ZOMBIE) {
			spin_lock_wtd(&process_lock);
			cputime_child_told(self, child);
			spin_unlock_wtd(&process_lock);
		}
		process_put(child);
	} while (!taken);
	if (status_at)
		error = user_put(status_at, &status);
	if (!error && usage_at)
		error = user_put(usage_at, &usage);
	return error ? error : pid;
}
