// SPDX-License-Identifier: BSD-2-Clause
// Processes as streams: pidfd_open(2), CLONE_PIDFD, pidfd_send_signal(2), waitid(P_PIDFD). A pidfd keeps nothing of its
// process: it hangs in a list of it until the process has been waited for and its number is free, and leads nowhere
// then.
#include "kernel/pidfd.h"
#include "kernel/files.h"
#include "kernel/pool.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

#define SI_TKILL (-6)

struct pidfd {
	struct stream stream;
	struct wtd work;
	struct process *process; // (T) null: it is over
	struct pidfd *next;	 // (T) of the process
};
static struct pool pidfd_pool = POOL_INIT("pidfd", struct pidfd, 16384); // of all programs

static struct pidfd *pidfd_of(struct stream *s)
{
	return CONTAINER_OF(s, struct pidfd, stream);
}

static void look_again(struct wtd *work)
{
	stream_notify(&CONTAINER_OF(work, struct pidfd, work)->stream);
}

void pidfds_tell(struct process *p)
{
	for (struct pidfd *f = p->pidfds; f; f = f->next)
		wtd_post_fast(&f->work);
}

void pidfds_leave(struct process *p)
{
	struct pidfd *f;

	while ((f = p->pidfds) != NULL) {
		p->pidfds = f->next;
		f->process = NULL;
		wtd_post_fast(&f->work);
	}
}

static unsigned pidfd_poll(struct stream *s)
{
	const struct process *p;
	bool ended;

	spin_lock_wtd(&process_lock);
	p = pidfd_of(s)->process;
	ended = !p || p->state == PROCESS_ZOMBIE;
	spin_unlock_wtd(&process_lock);
	return ended ? STREAM_IN : 0;
}

static void pidfd_close(struct stream *s)
{
	struct pidfd *f = pidfd_of(s), **link;

	spin_lock_wtd(&process_lock);
	if (f->process) {
		for (link = &f->process->pidfds; *link != f; link = &(*link)->next)
			;
		*link = f->next;
	}
	wtd_cancel(&f->work);
	spin_unlock_wtd(&process_lock);
	pool_free(&pidfd_pool, f);
}

static const struct stream_ops ops = {
    .kind = STREAM_EVENT, .poll = pidfd_poll, .close = pidfd_close};

int pidfd_make(int pid, unsigned flags)
{
	struct pidfd *f = pool_alloc(&pidfd_pool);
	int fd;

	if (!f)
		return -ENFILE;
	stream_init(&f->stream, &ops, STREAM_RDWR | (flags & STREAM_NONBLOCK));
	wtd_init(&f->work, look_again, "pidfd");
	spin_lock_wtd(&process_lock);
	f->process = process_find_locked(pid);
	if (f->process) {
		f->next = f->process->pidfds;
		f->process->pidfds = f;
	}
	fd = f->process ? 0 : task_find(pid) ? -EINVAL : -ESRCH;
	spin_unlock_wtd(&process_lock);
	if (!fd)
		fd = files_take(&f->stream, 0, true);
	if (fd < 0)
		stream_put(&f->stream);
	return fd;
}

int pidfd_number(int fd, bool *waits)
{
	struct stream *s = files_find(fd);
	const struct process *p;
	int pid = -EBADF;

	if (s && s->ops == &ops) {
		spin_lock_wtd(&process_lock);
		p = pidfd_of(s)->process;
		pid = p ? p->pid : 0;
		spin_unlock_wtd(&process_lock);
		*waits = !(s->flags & STREAM_NONBLOCK);
	}
	if (s)
		stream_put(s);
	return pid;
}

SYSCALL(434, pidfd_open)
{
	if ((int)a[0] <= 0 || a[1] & ~(uint64_t)STREAM_NONBLOCK)
		return -EINVAL;
	return pidfd_make((int)a[0], (unsigned)a[1]);
}

SYSCALL(424, pidfd_send_signal)
{
	struct process *self = process_current();
	int signal = (int)a[1], error = 0;
	struct signal_info info = {.pid = self->pid};
	struct stream *s;
	struct process *p;

	if (a[3])
		return -EINVAL;
	s = files_find((int)a[0]);
	if (!s || s->ops != &ops)
		error = -EBADF;
	else if (a[2] && user_get(&info, a[2]))
		error = -EFAULT;
	else if (signal < 0 || signal > SIGNALS || (a[2] && info.signal != signal))
		error = -EINVAL;
	if (!error) {
		spin_lock_wtd(&process_lock);
		p = pidfd_of(s)->process;
		if (!p)
			error = -ESRCH;
		else if (a[2] && p != self && (info.code >= 0 || info.code == SI_TKILL))
			error = -EPERM;
		else if (signal)
			error = signal_process_sent_locked(p, signal, &info);
		spin_unlock_wtd(&process_lock);
	}
	if (s)
		stream_put(s);
	return error;
}
