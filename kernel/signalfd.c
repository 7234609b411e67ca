// SPDX-License-Identifier: BSD-2-Clause
// signalfd(2): signals that wait for who reads, as a stream. What there is is the reading task's and its process', not
// the maker's: a child that has inherited the descriptor reads its own. Senders say "look again" by a WTD, for they
// hold process_lock, inside which no stream can be told.
#include "kernel/signalfd.h"
#include "kernel/files.h"
#include "kernel/pool.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

#define SET_BYTES   8
#define UNBLOCKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))
#define SI_TIMER    (-2)
enum { O_CLOEXEC = 02000000 };

struct signalfd {
	struct stream stream;
	struct wtd work;
	uint64_t set;	       // (T) of signals
	struct signalfd *next; // (T)
};
// Of all programs, and each is looked at for each signal sent.
static struct pool signalfd_pool = POOL_INIT("signalfd", struct signalfd, 1024);
static struct signalfd *all; // (T)

struct linux_signalfd_info {
	uint32_t signal;
	int32_t error, code;
	uint32_t pid, uid;
	int32_t fd;
	uint32_t timer, band, overrun, trap;
	int32_t status, value;
	uint64_t pointer, user_ticks, system_ticks, address;
	uint8_t rest[48];
};
_Static_assert(sizeof(struct linux_signalfd_info) == 128, "struct signalfd_siginfo");

static struct signalfd *signalfd_of(struct stream *s)
{
	return CONTAINER_OF(s, struct signalfd, stream);
}

void signalfd_tell(int signal)
{
	for (struct signalfd *s = all; s; s = s->next)
		if (s->set & SIGNAL_BIT(signal))
			wtd_post_fast(&s->work);
}

static void look_again(struct wtd *work)
{
	stream_notify(&CONTAINER_OF(work, struct signalfd, work)->stream);
}

static struct linux_signalfd_info told(const struct signal_info *info)
{
	struct linux_signalfd_info out = {
	    .signal = (uint32_t)info->signal, .error = info->error, .code = info->code};

	if (info->code == SI_TIMER) {
		out.timer = (uint32_t)info->pid;
		out.overrun = info->uid;
	} else if (info->code > 0 && info->signal != SIGCHLD) {
		out.address = info->address;
		return out;
	} else {
		out.pid = (uint32_t)info->pid;
		out.uid = info->uid;
	}
	if (info->code < 0) {
		out.pointer = info->value;
		out.value = (int32_t)info->value;
	} else if (info->code > 0) {
		out.status = info->status;
	}
	return out;
}

static int64_t signalfd_read(struct stream *s, struct stream_io *io, uint64_t offset)
{
	struct task *t = task_current();
	struct linux_signalfd_info out;
	struct signal_info info;
	int64_t done = 0;
	int signal;

	if (io->left < sizeof(out))
		return -EINVAL;
	while (io->left >= sizeof(out)) {
		uint64_t others;

		spin_lock_wtd(&process_lock);
		others = ~signalfd_of(s)->set;
		signal = signal_take(&t->pending, others, &info);
		if (!signal)
			signal = signal_take(&t->process->pending, others, &info);
		spin_unlock_wtd(&process_lock);
		if (!signal)
			break;
		out = told(&info);
		if (stream_io_out(io, &out, sizeof(out)))
			return done ? done : -EFAULT;
		done += (int64_t)sizeof(out);
	}
	return done ? done : -EAGAIN;
}

// Who asks is who would read.
static unsigned signalfd_poll(struct stream *s)
{
	const struct task *t = task_current();
	uint64_t pending = t ? t->pending.bits | t->process->pending.bits : 0;

	return pending & signalfd_of(s)->set ? STREAM_IN : 0;
}

static void signalfd_close(struct stream *s)
{
	struct signalfd *f = signalfd_of(s), **link = &all;

	spin_lock_wtd(&process_lock);
	while (*link != f)
		link = &(*link)->next;
	*link = f->next;
	wtd_cancel(&f->work);
	spin_unlock_wtd(&process_lock);
	pool_free(&signalfd_pool, f);
}

static const struct stream_ops ops = {
    .kind = STREAM_EVENT, .read = signalfd_read, .poll = signalfd_poll, .close = signalfd_close};

static int64_t make(uint64_t set, unsigned flags)
{
	struct signalfd *f = pool_alloc(&signalfd_pool);
	int fd;

	if (!f)
		return -ENFILE;
	stream_init(&f->stream, &ops, STREAM_RDWR | (flags & STREAM_NONBLOCK));
	wtd_init(&f->work, look_again, "signalfd");
	f->set = set;
	spin_lock_wtd(&process_lock);
	f->next = all;
	all = f;
	spin_unlock_wtd(&process_lock);
	fd = files_take(&f->stream, 0, flags & O_CLOEXEC);
	if (fd < 0)
		stream_put(&f->stream);
	return fd;
}

static int64_t change(int fd, uint64_t set)
{
	struct stream *s = files_find(fd);
	int64_t error = !s ? -EBADF : s->ops != &ops ? -EINVAL : 0;

	if (!error) {
		spin_lock_wtd(&process_lock);
		signalfd_of(s)->set = set;
		spin_unlock_wtd(&process_lock);
		stream_notify(s);
	}
	if (s)
		stream_put(s);
	return error ? error : fd;
}

static int64_t signalfd(int fd, uintptr_t at, uint64_t bytes, uint64_t flags)
{
	uint64_t set;

	if (flags & ~(uint64_t)(O_CLOEXEC | STREAM_NONBLOCK) || bytes != SET_BYTES)
		return -EINVAL;
	if (user_get(&set, at))
		return -EFAULT;
	set &= ~UNBLOCKABLE;
	return fd == -1 ? make(set, (unsigned)flags) : change(fd, set);
}
SYSCALL(282, signalfd)
{
	return signalfd((int)a[0], a[1], a[2], 0);
}
SYSCALL(289, signalfd4)
{
	return signalfd((int)a[0], a[1], a[2], a[3]);
}
