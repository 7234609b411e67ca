// SPDX-License-Identifier: BSD-2-Clause
// Calls on what files are beside their bytes: rights, times, owners, the volume they are on.
#include "kernel/files.h"
#include "kernel/syscall_name.h"
#include "kernel/timer.h"
#include "kernel/usercopy.h"

enum { UTIME_NOW = 0x3fffffff, UTIME_OMIT = 0x3ffffffe };

static int64_t set_by_name(int at_fd, uintptr_t path, uint64_t flags,
			   const struct stream_attributes *set)
{
	struct name n = name_get(at_fd, path);
	int64_t error = n.error;

	if (!error)
		error = !n.provider->set ? -EROFS
					 : n.provider->set(n.rest, n.rest_len,
							   !(flags & AT_SYMLINK_NOFOLLOW), set);
	name_put(&n);
	return error;
}

static int64_t set_open(int fd, const struct stream_attributes *set)
{
	struct stream *s = files_find(fd);
	int64_t error = !s ? -EBADF : s->ops->set ? s->ops->set(s, set) : -EPERM;

	if (s)
		stream_put(s);
	return error;
}

// ---- rights ----

static int64_t set_mode(int at_fd, uintptr_t path, uint64_t mode, uint64_t flags)
{
	struct stream_attributes set = {.which = STREAM_SET_MODE, .mode = (uint32_t)mode & 07777};

	if (flags & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	return name_is_empty(path, flags) && at_fd != AT_FDCWD
		   ? set_open(at_fd, &set)
		   : set_by_name(at_fd, path, flags, &set);
}
SYSCALL(90, chmod)
{
	return set_mode(AT_FDCWD, a[0], a[1], 0);
}
SYSCALL(91, fchmod)
{
	return set_mode((int)a[0], 0, a[1], AT_EMPTY_PATH);
}
SYSCALL(268, fchmodat)
{
	return set_mode((int)a[0], a[1], a[2], 0);
}
SYSCALL(452, fchmodat2)
{
	return set_mode((int)a[0], a[1], a[2], a[3]);
}

// ---- times: the volume keeps the time of the last change ----

// times null: now. *set says nothing when the time is to stay.
static int take_mtime(const struct linux_timespec *times, struct stream_attributes *set)
{
	uint64_t now = clock_realtime_ns();

	*set = (struct stream_attributes){.which = STREAM_SET_MTIME,
					  .mtime_sec = (int64_t)(now / NS_PER_SEC),
					  .mtime_nsec = (uint32_t)(now % NS_PER_SEC)};
	for (unsigned n = 0; times && n < 2; n++)
		if ((uint64_t)times[n].nsec >= NS_PER_SEC && times[n].nsec != UTIME_NOW &&
		    times[n].nsec != UTIME_OMIT)
			return -EINVAL;
	if (!times || times[1].nsec == UTIME_NOW)
		return 0;
	if (times[1].nsec == UTIME_OMIT)
		set->which = 0;
	set->mtime_sec = times[1].sec;
	set->mtime_nsec = (uint32_t)times[1].nsec;
	return 0;
}

SYSCALL(280, utimensat)
{
	struct linux_timespec times[2];
	struct stream_attributes set;
	int error = a[2] ? user_get(&times, a[2]) : 0;

	if (a[3] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	if (!error)
		error = take_mtime(a[2] ? times : NULL, &set);
	if (error)
		return error;
	if (name_is_empty(a[1], a[1] ? a[3] : AT_EMPTY_PATH) && (int)a[0] != AT_FDCWD)
		return set_open((int)a[0], &set);
	return set_by_name((int)a[0], a[1], a[3], &set);
}

static int64_t set_timevals(int at_fd, uintptr_t path, uintptr_t from)
{
	struct linux_timeval given[2];
	struct linux_timespec times[2];
	struct stream_attributes set;
	int error = from ? user_get(&given, from) : 0;

	for (unsigned n = 0; from && !error && n < 2; n++) {
		times[n] = (struct linux_timespec){given[n].sec, given[n].usec * 1000};
		if ((uint64_t)given[n].usec >= 1000000)
			error = -EINVAL;
	}
	if (!error)
		error = take_mtime(from ? times : NULL, &set);
	return error ? error : set_by_name(at_fd, path, 0, &set);
}
SYSCALL(235, utimes)
{
	return set_timevals(AT_FDCWD, a[0], a[1]);
}
SYSCALL(261, futimesat)
{
	return set_timevals((int)a[0], a[1], a[2]);
}
SYSCALL(132, utime)
{
	struct stream_attributes set;
	int64_t given[2];
	struct linux_timespec times[2] = {0};

	if (a[1] && user_get(&given, a[1]))
		return -EFAULT;
	if (a[1])
		times[1].sec = given[1];
	(void)take_mtime(a[1] ? times : NULL, &set);
	return set_by_name(AT_FDCWD, a[0], 0, &set);
}

// ---- the volume ----

static int64_t put_space(uintptr_t at, const uint64_t space[7])
{
	const struct {
		int64_t type, block_bytes;
		uint64_t blocks, free, available, files, files_free, id;
		int64_t name_max, fragment_bytes, flags, spare[4];
	} out = {.type = (int64_t)space[0],
		 .block_bytes = (int64_t)space[1],
		 .blocks = space[2],
		 .free = space[3],
		 .available = space[4],
		 .files = space[5],
		 .files_free = space[6],
		 .name_max = 255,
		 .fragment_bytes = (int64_t)space[1]};

	_Static_assert(sizeof(out) == 120, "struct statfs");
	return user_put(at, &out);
}

SYSCALL(137, statfs)
{
	struct name n = name_get(AT_FDCWD, a[0]);
	uint64_t space[7];
	int64_t error = n.error;

	if (!error)
		error = n.provider->space ? n.provider->space(n.rest, n.rest_len, space) : -ENOSYS;
	name_put(&n);
	return error ? error : put_space(a[1], space);
}

SYSCALL(138, fstatfs)
{
	struct stream *s = files_find((int)a[0]);
	uint64_t space[7];
	int64_t error = !s ? -EBADF : s->ops->space ? s->ops->space(s, space) : -ENOSYS;

	if (s)
		stream_put(s);
	return error ? error : put_space(a[1], space);
}

// What every volume has in the cache goes to the disks, and is there when this returns.
static int64_t sync_all(void)
{
	const char *rest;
	size_t rest_len;
	const struct name_provider *p = path_provider("/", 1, &rest, &rest_len);

	return p && p->sync_all ? p->sync_all() : 0;
}
SYSCALL(162, sync)
{
	(void)sync_all();
	return 0;
}
SYSCALL(306, syncfs)
{
	struct stream *s = files_find((int)a[0]);

	if (!s)
		return -EBADF;
	stream_put(s);
	return sync_all();
}

// ---- statx ----

struct linux_statx_time {
	int64_t sec;
	uint32_t nsec, pad;
};
struct linux_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, pad;
	uint64_t ino, size, blocks, attributes_mask;
	struct linux_statx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare[14];
};
_Static_assert(sizeof(struct linux_statx) == 256, "struct statx");

SYSCALL(332, statx)
{
	enum { BASIC = 0x7ff, RESERVED = 0x80000000, SYNC_FLAGS = 0x6000, AUTOMOUNT = 0x800 };
	struct linux_statx out;
	struct stream_stat st;
	int64_t error;

	if (a[3] & RESERVED ||
	    a[2] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | SYNC_FLAGS | AUTOMOUNT))
		return -EINVAL;
	error = name_stat((int)a[0], a[1], a[2], &st);
	if (error)
		return error;
	out = (struct linux_statx){.mask = BASIC,
				   .blksize = st.block_bytes,
				   .nlink = (uint32_t)st.links,
				   .mode = (uint16_t)st.mode,
				   .ino = st.number,
				   .size = st.size,
				   .blocks = st.blocks,
				   .atime = {.sec = st.atime_sec, .nsec = st.atime_nsec},
				   .ctime = {.sec = st.ctime_sec, .nsec = st.ctime_nsec},
				   .mtime = {.sec = st.mtime_sec, .nsec = st.mtime_nsec},
				   .rdev_major = (uint32_t)(st.rdevice >> 8),
				   .rdev_minor = (uint32_t)st.rdevice & 0xff,
				   .dev_major = (uint32_t)(st.device >> 8),
				   .dev_minor = (uint32_t)st.device & 0xff};
	return user_put(a[4], &out);
}

// ---- owners ----

// There is one user: files belong to root, and stay so.
static int64_t change_owner(uint64_t user, uint64_t group)
{
	bool keep_user = !(uint32_t)user || (uint32_t)user == UINT32_MAX;
	bool keep_group = !(uint32_t)group || (uint32_t)group == UINT32_MAX;

	return keep_user && keep_group ? 0 : -EPERM;
}
static int64_t change_owner_at(int at_fd, uintptr_t path, uint64_t user, uint64_t group,
			       uint64_t flags)
{
	struct stream_stat st;
	int64_t error = name_stat(at_fd, path, flags, &st); // the name must be there

	return error ? error : change_owner(user, group);
}
SYSCALL(92, chown)
{
	return change_owner_at(AT_FDCWD, a[0], a[1], a[2], 0);
}
SYSCALL(93, fchown)
{
	struct stream *s = files_find((int)a[0]);

	if (!s)
		return -EBADF;
	stream_put(s);
	return change_owner(a[1], a[2]);
}
SYSCALL(94, lchown)
{
	return change_owner_at(AT_FDCWD, a[0], a[1], a[2], AT_SYMLINK_NOFOLLOW);
}
SYSCALL(260, fchownat)
{
	return change_owner_at((int)a[0], a[1], a[2], a[3], a[4]);
}
