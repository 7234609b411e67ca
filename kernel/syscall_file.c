// SPDX-License-Identifier: BSD-2-Clause
// Calls on descriptors.
#include "kernel/cpu.h"
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/pipe.h"
#include "kernel/siphash.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

enum { SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE };
enum { O_CLOEXEC = 02000000 };

// ---- buffers ----

static int64_t with_one(uint64_t fd, uintptr_t base, uint64_t len, bool write, bool at,
			uint64_t offset)
{
	struct stream *s = files_find((int)fd);
	struct stream_part part = {base, MIN(len, IO_MAX)};
	struct stream_io io = {.parts = &part, .count = 1, .left = part.len};
	int64_t done;

	if (!s)
		return -EBADF;
	if (at && s->ops->kind != STREAM_FILE)
		done = s->ops->kind == STREAM_DIRECTORY ? -EISDIR : -ESPIPE;
	else if (at)
		done = write ? stream_write_at(s, &io, offset) : stream_read_at(s, &io, offset);
	else
		done = write ? stream_write(s, &io) : stream_read(s, &io);
	stream_put(s);
	if (done == -EPIPE && write)
		signal_task(task_current(), SIGPIPE, NULL);
	return done;
}

SYSCALL(0, read)
{
	return with_one(a[0], a[1], a[2], false, false, 0);
}
SYSCALL(1, write)
{
	return with_one(a[0], a[1], a[2], true, false, 0);
}
SYSCALL(17, pread64)
{
	return (int64_t)a[3] < 0 ? -EINVAL : with_one(a[0], a[1], a[2], false, true, a[3]);
}
SYSCALL(18, pwrite64)
{
	return (int64_t)a[3] < 0 ? -EINVAL : with_one(a[0], a[1], a[2], true, true, a[3]);
}

int syscall_get_parts(uintptr_t at, uint64_t count, struct stream_io *io)
{
	struct stream_part *parts;
	int error;

	if (count > STREAM_PARTS_MAX)
		return -EINVAL;
	parts = user_kpages_alloc(MAX(count, 1UL) * sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	*io = (struct stream_io){.parts = parts, .count = (uint32_t)count};
	error = user_read(parts, at, count * sizeof(*parts));
	for (uint64_t n = 0; n < count && !error; n++) {
		if ((int64_t)parts[n].len < 0)
			error = -EINVAL;
		parts[n].len = MIN(parts[n].len, IO_MAX - io->left);
		io->left += parts[n].len;
	}
	if (error)
		syscall_put_parts(io, count);
	return error;
}

void syscall_put_parts(struct stream_io *io, uint64_t count)
{
	user_kpages_free((void *)(uintptr_t)io->parts, MAX(count, 1UL) * sizeof(*io->parts));
}

static int64_t with_many(uint64_t fd, uintptr_t parts, uint64_t count, bool write, bool at,
			 uint64_t offset)
{
	struct stream_io io;
	struct stream *s;
	int64_t done = syscall_get_parts(parts, count, &io);

	if (done)
		return done;
	s = files_find((int)fd);
	if (!s)
		done = -EBADF;
	else if (at && s->ops->kind != STREAM_FILE)
		done = -ESPIPE;
	else if (at)
		done = write ? stream_write_at(s, &io, offset) : stream_read_at(s, &io, offset);
	else
		done = write ? stream_write(s, &io) : stream_read(s, &io);
	if (s)
		stream_put(s);
	syscall_put_parts(&io, count);
	if (done == -EPIPE && write)
		signal_task(task_current(), SIGPIPE, NULL);
	return done;
}

SYSCALL(19, readv)
{
	return with_many(a[0], a[1], a[2], false, false, 0);
}
SYSCALL(20, writev)
{
	return with_many(a[0], a[1], a[2], true, false, 0);
}
SYSCALL(295, preadv)
{
	return (int64_t)a[3] < 0 ? -EINVAL : with_many(a[0], a[1], a[2], false, true, a[3]);
}
SYSCALL(296, pwritev)
{
	return (int64_t)a[3] < 0 ? -EINVAL : with_many(a[0], a[1], a[2], true, true, a[3]);
}
// With flags, of which none is served; at -1 the file's position counts.
static int64_t with_many_2(const uint64_t a[6], bool write)
{
	if (a[5])
		return -EOPNOTSUPP;
	if ((int64_t)a[3] < -1)
		return -EINVAL;
	return with_many(a[0], a[1], a[2], write, (int64_t)a[3] >= 0, a[3]);
}
SYSCALL(327, preadv2)
{
	return with_many_2(a, false);
}
SYSCALL(328, pwritev2)
{
	return with_many_2(a, true);
}

// ---- position, size, state ----

SYSCALL(3, close)
{
	return files_close((int)a[0]);
}

SYSCALL(436, close_range)
{
	enum { CLOSE_RANGE_CLOEXEC = 4 };
	uint32_t first = (uint32_t)a[0], last = (uint32_t)a[1];

	if (a[2] & ~(uint64_t)CLOSE_RANGE_CLOEXEC || first > last)
		return -EINVAL;
	last = MIN(last, process_current()->files->size);
	for (uint32_t fd = first; fd <= last; fd++) {
		if (a[2])
			(void)files_set_cloexec((int)fd, true);
		else
			(void)files_close((int)fd);
	}
	return 0;
}

// From a byte of the file on: where there is data, or a hole, which the end of the file is.
static int64_t seek_kind(struct stream *s, int64_t offset, bool for_hole)
{
	int64_t size = s->ops->size ? s->ops->size(s) : -EINVAL;

	if (size < 0)
		return size;
	if (offset < 0 || offset >= size)
		return -ENXIO;
	if (s->ops->seek)
		return s->ops->seek(s, (uint64_t)offset, for_hole);
	return for_hole ? size : offset;
}

static int64_t seek(struct stream *s, int64_t offset, uint64_t whence)
{
	int64_t base = 0, at = -EINVAL;

	if (s->ops->kind == STREAM_DEVICE)
		return 0; // as /dev/null and its kin on Linux
	if (s->ops->kind != STREAM_FILE && s->ops->kind != STREAM_DIRECTORY)
		return -ESPIPE;
	mutex_lock(&s->position_lock);
	if (whence == SEEK_CUR)
		base = (int64_t)s->position;
	else if (whence == SEEK_END)
		base = s->ops->size ? s->ops->size(s) : -EINVAL;
	if (whence == SEEK_DATA || whence == SEEK_HOLE)
		at = seek_kind(s, offset, whence == SEEK_HOLE);
	else if (whence <= SEEK_END && base >= 0 && !__builtin_add_overflow(base, offset, &at))
		at = at < 0 ? -EINVAL : at;
	else
		at = base < 0 ? base : -EINVAL;
	if (at >= 0)
		s->position = (uint64_t)at;
	mutex_unlock(&s->position_lock);
	return at;
}

SYSCALL(8, lseek)
{
	struct stream *s = files_find((int)a[0]);
	int64_t at = s ? seek(s, (int64_t)a[1], a[2]) : -EBADF;

	if (s)
		stream_put(s);
	return at;
}

int64_t stream_set_size(struct stream *s, uint64_t size)
{
	if ((int64_t)size < 0 || !s->ops->truncate || (s->flags & STREAM_ACCMODE) == STREAM_RDONLY)
		return -EINVAL;
	if (size > process_current()->limits[RLIMIT_FSIZE].soft) {
		signal_task(task_current(), SIGXFSZ, NULL);
		return -EFBIG;
	}
	return s->ops->truncate(s, size);
}

SYSCALL(77, ftruncate)
{
	struct stream *s = files_find((int)a[0]);
	int64_t error = s ? stream_set_size(s, a[1]) : -EBADF;

	if (s)
		stream_put(s);
	return error;
}

static int64_t sync_one(uint64_t fd)
{
	struct stream *s = files_find((int)fd);
	int64_t error = !s ? -EBADF : s->ops->sync ? s->ops->sync(s) : -EINVAL;

	if (s)
		stream_put(s);
	return error;
}
SYSCALL(74, fsync)
{
	return sync_one(a[0]);
}
SYSCALL(75, fdatasync)
{
	return sync_one(a[0]);
}

int syscall_put_stat(uintptr_t at, const struct stream_stat *st)
{
	struct linux_stat out = {.dev = st->device,
				 .ino = st->number,
				 .nlink = st->links,
				 .mode = st->mode,
				 .rdev = st->rdevice,
				 .size = (int64_t)st->size,
				 .blksize = st->block_bytes,
				 .blocks = (int64_t)st->blocks,
				 .atime = {st->atime_sec, st->atime_nsec},
				 .mtime = {st->mtime_sec, st->mtime_nsec},
				 .ctime = {st->ctime_sec, st->ctime_nsec}};

	return user_put(at, &out);
}

// What tells a pipe, with both its ends, or a socket from others as long as it is there; not where it lies in memory.
static uint64_t number_of(struct stream *s)
{
	static struct siphash_key key; // drawn once
	bool own = s->ops->kind == STREAM_PIPE || s->ops->kind == STREAM_SOCKET;

	if (!own)
		return 1;
	wtd_disable();
	if (!key.k0)
		key = (struct siphash_key){cpu_random() | 1, cpu_random()};
	wtd_enable();
	return siphash_word(&key, (uintptr_t)(pipe_is(s, true) ? s - 1 : s)) >> 16 | 1;
}

int stream_stat_of(struct stream *s, struct stream_stat *st)
{
	static const uint32_t modes[] = {
	    [STREAM_FILE] = 0100644,   [STREAM_DIRECTORY] = 040755, [STREAM_PIPE] = 010600,
	    [STREAM_SOCKET] = 0140777, [STREAM_DEVICE] = 020666,    [STREAM_TERMINAL] = 020620,
	    [STREAM_EVENT] = 0600};

	if (s->ops->stat)
		return s->ops->stat(s, st);
	*st = (struct stream_stat){.mode = modes[s->ops->kind],
				   .links = 1,
				   .block_bytes = PAGE_SIZE,
				   .device = s->ops->kind,
				   .number = number_of(s)};
	return 0;
}

SYSCALL(5, fstat)
{
	struct stream *s = files_find((int)a[0]);
	struct stream_stat st;
	int error = s ? stream_stat_of(s, &st) : -EBADF;

	if (s)
		stream_put(s);
	return error ? error : syscall_put_stat(a[1], &st);
}

SYSCALL(16, ioctl)
{
	enum { FIONBIO = 0x5421, FIOCLEX = 0x5451, FIONCLEX = 0x5450 };
	struct stream *s = files_find((int)a[0]);
	int64_t result = -ENOTTY;
	int on;

	if (!s)
		return -EBADF;
	if ((uint32_t)a[1] == FIOCLEX || (uint32_t)a[1] == FIONCLEX) {
		result = files_set_cloexec((int)a[0], (uint32_t)a[1] == FIOCLEX);
	} else if ((uint32_t)a[1] == FIONBIO) {
		result = user_get(&on, a[2]);
		if (!result)
			s->flags =
			    on ? s->flags | STREAM_NONBLOCK : s->flags & ~(uint32_t)STREAM_NONBLOCK;
	} else if (s->ops->ioctl) {
		result = s->ops->ioctl(s, (unsigned)a[1], a[2]);
	}
	stream_put(s);
	return result;
}

// ---- copies of descriptors ----

static int64_t duplicate(int fd, int from, bool close_on_exec)
{
	struct stream *s = files_find(fd);
	int64_t new;

	if (!s)
		return -EBADF;
	new = files_take(s, from, close_on_exec);
	if (new < 0)
		stream_put(s);
	return new;
}

static int64_t duplicate_to(int fd, int to, bool close_on_exec)
{
	struct stream *s = files_find(fd);
	int64_t new = -EBADF;

	if (s && to >= 0)
		new = files_set(process_current()->files, to, s, close_on_exec);
	if (s && new < 0)
		stream_put(s);
	return new;
}

SYSCALL(32, dup)
{
	return duplicate((int)a[0], 0, false);
}
SYSCALL(33, dup2)
{
	struct stream *s;

	if (a[0] != a[1])
		return duplicate_to((int)a[0], (int)a[1], false);
	s = files_find((int)a[0]);
	if (!s)
		return -EBADF;
	stream_put(s);
	return (int64_t)a[1];
}
SYSCALL(292, dup3)
{
	if (a[0] == a[1] || a[2] & ~(uint64_t)O_CLOEXEC)
		return -EINVAL;
	return duplicate_to((int)a[0], (int)a[1], a[2] & O_CLOEXEC);
}

SYSCALL(72, fcntl)
{
	enum {
		F_DUPFD,
		F_GETFD,
		F_SETFD,
		F_GETFL,
		F_SETFL,
		F_GETLK,
		F_SETLK,
		F_SETLKW,
		F_OFD_GETLK = 36,
		F_OFD_SETLK,
		F_OFD_SETLKW,
		F_DUPFD_CLOEXEC = 1030
	};
	const uint32_t changeable = STREAM_APPEND | STREAM_NONBLOCK;
	struct stream *s;
	int64_t result = 0;

	switch (a[1]) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return (int)a[2] < 0 ? -EINVAL
				     : duplicate((int)a[0], (int)a[2], a[1] == F_DUPFD_CLOEXEC);
	case F_GETFD:
		return files_get_cloexec((int)a[0]);
	case F_SETFD:
		return files_set_cloexec((int)a[0], a[2] & 1);
	default:
		break;
	}
	s = files_find((int)a[0]);
	if (!s)
		return -EBADF;
	if (a[1] == F_GETFL)
		result = (s->flags & ~STREAM_LOCKED) |
			 (s->ops->kind == STREAM_FILE ? 0100000 : 0); // O_LARGEFILE
	else if (a[1] == F_SETFL)
		s->flags = (s->flags & ~changeable) | ((uint32_t)a[2] & changeable);
	else if (a[1] >= F_GETLK && a[1] <= F_SETLKW)
		result = syscall_record_lock(s, (int)a[0], (enum record_lock)(a[1] - F_GETLK),
					     false, a[2]);
	else if (a[1] >= F_OFD_GETLK && a[1] <= F_OFD_SETLKW)
		result = syscall_record_lock(s, (int)a[0], (enum record_lock)(a[1] - F_OFD_GETLK),
					     true, a[2]);
	else
		result = -EINVAL;
	stream_put(s);
	return result;
}

// ---- pipes ----

static int64_t new_pipe(uintptr_t at, uint64_t flags)
{
	struct stream *ends[2];
	int fds[2], error;

	if (flags & ~(uint64_t)(O_CLOEXEC | STREAM_NONBLOCK))
		return -EINVAL;
	error = pipe_make(ends, (unsigned)flags & STREAM_NONBLOCK);
	if (error)
		return error;
	fds[0] = files_take(ends[0], 0, flags & O_CLOEXEC);
	fds[1] = fds[0] < 0 ? fds[0] : files_take(ends[1], 0, flags & O_CLOEXEC);
	if (fds[1] >= 0 && !user_put(at, &fds))
		return 0;
	error = fds[1] < 0 ? fds[1] : -EFAULT;
	fds[0] < 0 ? stream_put(ends[0]) : (void)files_close(fds[0]);
	fds[1] < 0 ? stream_put(ends[1]) : (void)files_close(fds[1]);
	return error;
}
SYSCALL(22, pipe)
{
	return new_pipe(a[0], 0);
}
SYSCALL(293, pipe2)
{
	return new_pipe(a[0], a[1]);
}

// ---- without copies ----

SYSCALL(40, sendfile)
{
	struct stream *to = files_find((int)a[0]), *from = files_find((int)a[1]);
	uint64_t offset = 0;
	int64_t done = to && from ? 0 : -EBADF;

	if (!done && a[2])
		done = user_get(&offset, a[2]);
	if (!done && ((to->flags & STREAM_ACCMODE) == STREAM_RDONLY ||
		      (from->flags & STREAM_ACCMODE) == STREAM_WRONLY))
		done = -EBADF;
	if (!done && !a[2])
		offset = stream_position(from);
	if (!done)
		done = stream_send_file(to, from, &offset, MIN(a[3], IO_MAX));
	if (done > 0 && !a[2])
		stream_set_position(from, offset);
	if (done >= 0 && a[2] && user_put(a[2], &offset))
		done = -EFAULT;
	if (to)
		stream_put(to);
	if (from)
		stream_put(from);
	if (done == -EPIPE)
		signal_task(task_current(), SIGPIPE, NULL);
	return done;
}
