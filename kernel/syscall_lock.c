// SPDX-License-Identifier: BSD-2-Clause
// Locks on files, as programs ask for them.
#include "kernel/file_lock.h"
#include "kernel/files.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

// The bytes that a struct flock means. 0, -EINVAL, -EOVERFLOW.
static int range_of(struct stream *s, const struct linux_flock *l, uint64_t *start, uint64_t *end)
{
	int64_t base = 0, first, last;

	if (l->whence == 1)
		base = (int64_t)s->position;
	else if (l->whence == 2)
		base = s->ops->size ? s->ops->size(s) : -EINVAL;
	if (l->whence < 0 || l->whence > 2 || base < 0)
		return -EINVAL;
	if (__builtin_add_overflow(base, l->start, &first))
		return -EOVERFLOW;
	last = INT64_MAX;
	if (l->len > 0 && __builtin_add_overflow(first, l->len - 1, &last))
		return -EOVERFLOW;
	if (l->len < 0) {
		last = first - 1;
		first += l->len;
	}
	if (first < 0)
		return -EINVAL;
	*start = (uint64_t)first;
	*end = (uint64_t)last;
	return 0;
}

static bool mode_allows(const struct stream *s, int type)
{
	uint32_t mode = s->flags & STREAM_ACCMODE;

	return type == F_UNLCK || mode == STREAM_RDWR ||
	       mode == (type == F_RDLCK ? STREAM_RDONLY : STREAM_WRONLY);
}

// A process's locks on a file end when it closes any descriptor of it: also when another thread did so after ours had
// looked the descriptor up, while it waited for the lock, perhaps. Who finds that gives the lock back.
static int still_open(struct stream *s, int fd, const struct file_lock_owner *who, uint64_t start,
		      uint64_t end)
{
	struct stream *now = files_find(fd);

	if (now)
		stream_put(now);
	if (now == s)
		return 0;
	return file_lock_set(s, who, F_UNLCK, start, end, false) ?: -EBADF;
}

int64_t syscall_record_lock(struct stream *s, int fd, enum record_lock what, bool open_file,
			    uintptr_t at)
{
	struct process *p = process_current();
	struct file_lock_owner who = {.owner = open_file ? (const void *)s : p->files,
				      .pid = open_file ? -1 : p->pid};
	struct linux_flock lock;
	uint64_t start, end;
	int error = user_get(&lock, at);

	if (error)
		return error;
	if (lock.type < F_RDLCK || lock.type > F_UNLCK || (open_file && lock.pid) ||
	    (what == RECORD_TEST && lock.type == F_UNLCK))
		return -EINVAL;
	error = range_of(s, &lock, &start, &end);
	if (!error && what != RECORD_TEST && !mode_allows(s, lock.type))
		error = -EBADF;
	if (error)
		return error;
	if (what != RECORD_TEST) {
		error = file_lock_set(s, &who, lock.type, start, end, what == RECORD_SET_WAIT);
		return error || open_file || lock.type == F_UNLCK
			   ? error
			   : still_open(s, fd, &who, start, end);
	}
	error = file_lock_test(s, &who, &lock, start, end);
	return error ? error : user_put(at, &lock);
}

SYSCALL(73, flock)
{
	enum { LOCK_SH = 1, LOCK_EX, LOCK_NB = 4, LOCK_UN = 8 };
	struct stream *s = files_find((int)a[0]);
	const struct file_lock_owner who = {.owner = s, .whole = true, .pid = -1};
	uint64_t how = a[1] & ~(uint64_t)LOCK_NB;
	int64_t error;

	if (!s)
		return -EBADF;
	if (how != LOCK_SH && how != LOCK_EX && how != LOCK_UN)
		error = -EINVAL;
	else
		error = file_lock_set(s, &who,
				      how == LOCK_SH   ? F_RDLCK
				      : how == LOCK_EX ? F_WRLCK
						       : F_UNLCK,
				      0, INT64_MAX, !(a[1] & LOCK_NB));
	stream_put(s);
	return error;
}
