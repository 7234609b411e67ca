// SPDX-License-Identifier: BSD-2-Clause
// wait4 and waitid: who tells, who is told (POSIX waitpid, waitid; Linux wait4). Lock: process_lock.
#include "kernel/kstring.h"
#include "kernel/pidfd.h"
#include "kernel/process.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

enum {
	WNOHANG = 1,
	WUNTRACED = 2,
	WEXITED = 4,
	WCONTINUED = 8,
	WNOWAIT = 0x1000000,
	WALL_KINDS = 0xe0000000 // __WNOTHREAD, __WALL, __WCLONE: all children are alike
};
enum { P_ALL, P_PID, P_PGID, P_PIDFD };
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
		bool ended = c->state == PROCESS_ZOMBIE;

		if (!meant(self, c, which) || (ended && !(options & WEXITED)))
			continue; // what it did before its end is news no more
		*any = true;
		*status = c->exit_status;
		if (ended)
			return c;
		if (options & WUNTRACED && c->state == PROCESS_STOPPED && !c->stop_told) {
			c->stop_told = !(options & WNOWAIT);
			*status = c->stop_signal << 8 | 0x7f;
			return c;
		}
		if (options & WCONTINUED && c->continued) {
			c->continued = options & WNOWAIT;
			*status = 0xffff;
			return c;
		}
	}
	return NULL;
}

// *ended: the news is the child's end. It may end a moment after other news; then that is told by the next call.
static int wait_for_news(struct process *self, int which, int options, struct process **child,
			 int *status, bool *ended)
{
	int error = 0;
	bool any, interrupted = false;

	spin_lock_wtd(&process_lock);
	while (!(*child = find_news(self, which, options, status, &any)) && !error) {
		if (!any)
			error = -ECHILD; // also where the last one left no zombie (SA_NOCLDWAIT)
		else if (options & WNOHANG)
			break;
		else if (interrupted) // by another signal than that of a child who is waited for
			error = -ERESTART;
		else
			interrupted =
			    !waitq_sleep_interruptible(&self->waiters, &process_lock, UINT64_MAX);
	}
	if (*child) {
		(*child)->references++;
		*ended = (*child)->state == PROCESS_ZOMBIE;
		error = 0;
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

// One child's news; 0: none yet. With WNOWAIT the child stays as it is.
static int64_t wait_for(int which, int options, int *status, struct linux_rusage *usage)
{
	struct process *self = process_current(), *child;
	int error, pid;
	bool taken, ended;

	do { // another thread may have taken the same zombie
		error = wait_for_news(self, which, options, &child, status, &ended);
		if (error || !child)
			return error;
		pid = child->pid;
		usage_of(child, usage);
		taken = !ended || options & WNOWAIT || process_reap(child);
		if (taken && ended && !(options & WNOWAIT)) {
			spin_lock_wtd(&process_lock);
			cputime_child_told(self, child);
			spin_unlock_wtd(&process_lock);
		}
		process_put(child);
	} while (!taken);
	return pid;
}

int64_t process_wait4(int which, uintptr_t status_at, int options, uintptr_t usage_at)
{
	struct linux_rusage usage;
	int status;
	int64_t pid;

	if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | (int)WALL_KINDS) || which == INT32_MIN)
		return -EINVAL;
	pid = wait_for(which, options | WEXITED, &status, &usage);
	if (pid <= 0)
		return pid;
	if ((status_at && user_put(status_at, &status)) || (usage_at && user_put(usage_at, &usage)))
		return -EFAULT;
	return pid;
}

struct linux_child_info { // siginfo_t of SIGCHLD
	int32_t signal, error, code, pad, pid, uid, status, rest[25];
};
_Static_assert(sizeof(struct linux_child_info) == 128, "siginfo_t");

SYSCALL(247, waitid)
{
	int which = a[0] == P_ALL ? -1 : (int)a[1], options = (int)a[3], status = 0;
	struct linux_child_info info = {0};
	struct linux_rusage usage;
	bool waits = true;
	int64_t pid;

	if (options & ~(WNOHANG | WUNTRACED | WEXITED | WCONTINUED | WNOWAIT | (int)WALL_KINDS) ||
	    !(options & (WUNTRACED | WEXITED | WCONTINUED)) || a[0] > P_PIDFD ||
	    (a[0] == P_PID && which <= 0) || (a[0] >= P_PGID && which < 0))
		return -EINVAL;
	if (a[0] == P_PIDFD) {
		which = pidfd_number(which, &waits);
		if (which <= 0)
			return which ? which : -ECHILD;
	}
	pid = wait_for(a[0] == P_PGID ? -which : which, options | (waits ? 0 : WNOHANG), &status,
		       &usage);
	if (!pid && !waits && !(options & WNOHANG))
		pid = -EAGAIN;
	if (pid < 0)
		return pid;
	if (pid) {
		info.signal = SIGCHLD;
		info.pid = (int32_t)pid;
		info.code = status == 0xffff	      ? CLD_CONTINUED
			    : (status & 0xff) == 0x7f ? CLD_STOPPED
			    : status & 0x7f	      ? CLD_KILLED
						      : CLD_EXITED;
		info.status = info.code == CLD_CONTINUED ? SIGCONT
			      : info.code == CLD_KILLED	 ? status & 0x7f
							 : status >> 8 & 0xff;
	}
	if ((a[2] && user_put(a[2], &info)) || (pid && a[4] && user_put(a[4], &usage)))
		return -EFAULT;
	return 0;
}
