// SPDX-License-Identifier: BSD-2-Clause
// Calls on what files are beside their bytes: times, owners, the volume they are on; and limits.
#include "kernel/files.h"
#include "kernel/pmm.h"
#include "kernel/syscall.h"
#include "kernel/timer.h"
#include "kernel/usercopy.h"

enum { UTIME_NOW = 0x3fffffff, UTIME_OMIT = 0x3ffffffe };

// The provider of a program's path, and the path as it wants it; text must be freed.
static int find_provider(int at_fd, uintptr_t path, char **text,
			 const struct name_provider **provider, const char **rest, size_t *rest_len)
{
	int64_t len;

	*text = kpages_alloc(PATH_BYTES);
	len = *text ? path_from_user(*text, at_fd, path) : -ENOMEM;
	if (len < 0)
		return (int)len;
	*provider = path_provider(*text, (size_t)len, rest, rest_len);
	return *provider ? 0 : -ENOENT;
}

SYSCALL(280, utimensat)
{
	struct linux_timespec times[2];
	const struct name_provider *provider = NULL;
	const char *rest = NULL;
	size_t rest_len = 0;
	char *text = NULL;
	int error = a[2] ? user_get(&times, a[2]) : 0;

	if (!a[2] || times[1].nsec == UTIME_NOW) {
		uint64_t now = clock_realtime_ns();

		times[1] = (struct linux_timespec){(int64_t)(now / NS_PER_SEC),
						   (int64_t)(now % NS_PER_SEC)};
	}
	if (!error && times[1].nsec == UTIME_OMIT)
		return 0;
	if (!error && (times[1].nsec < 0 || times[1].nsec >= (int64_t)NS_PER_SEC || !a[1]))
		error = -EINVAL; // without a name: docs/linux-abi.md
	if (!error)
		error = find_provider((int)a[0], a[1], &text, &provider, &rest, &rest_len);
	if (!error)
		error = provider->set_times ? provider->set_times(rest, rest_len, times[1].sec,
								  (uint32_t)times[1].nsec)
					    : -EROFS;
	if (text)
		kpages_free(text, PATH_BYTES);
	return error;
}

SYSCALL(137, statfs)
{
	struct {
		int64_t type, block_bytes;
		uint64_t blocks, free, available, files, files_free, id;
		int64_t name_max, fragment_bytes, flags, spare[4];
	} out = {.name_max = 255};
	const struct name_provider *provider = NULL;
	const char *rest = NULL;
	size_t rest_len = 0;
	char *text = NULL;
	uint64_t space[7];
	int error = find_provider(AT_FDCWD, a[0], &text, &provider, &rest, &rest_len);

	if (!error)
		error = provider->space ? provider->space(rest, rest_len, space) : -ENOSYS;
	if (text)
		kpages_free(text, PATH_BYTES);
	if (error)
		return error;
	out.type = (int64_t)space[0];
	out.block_bytes = out.fragment_bytes = (int64_t)space[1];
	out.blocks = space[2];
	out.free = space[3];
	out.available = space[4];
	out.files = space[5];
	out.files_free = space[6];
	return user_put(a[1], &out);
}

// There is one user: files belong to root, and stay so.
static int64_t change_owner(uint64_t user, uint64_t group)
{
	bool keep_user = !(uint32_t)user || (uint32_t)user == UINT32_MAX;
	bool keep_group = !(uint32_t)group || (uint32_t)group == UINT32_MAX;

	return keep_user && keep_group ? 0 : -EPERM;
}
SYSCALL(92, chown)
{
	return change_owner(a[1], a[2]);
}
SYSCALL(93, fchown)
{
	return change_owner(a[1], a[2]);
}
SYSCALL(94, lchown)
{
	return change_owner(a[1], a[2]);
}
SYSCALL(260, fchownat)
{
	return change_owner(a[2], a[3]);
}

// ---- limits ----

enum {
	RLIMIT_FSIZE = 1,
	RLIMIT_STACK = 3,
	RLIMIT_NPROC = 6,
	RLIMIT_NOFILE,
	RLIMIT_AS = 9,
	RLIMITS = 16
};

static uint64_t get_limit(const struct process *p, uint64_t which)
{
	switch (which) {
	case RLIMIT_STACK:
		return p->limits.stack_bytes;
	case RLIMIT_NOFILE:
		return p->limits.open_files;
	case RLIMIT_NPROC:
		return p->limits.tasks;
	case RLIMIT_AS:
		return p->limits.address_pages << PAGE_SHIFT;
	case RLIMIT_FSIZE:
		return p->limits.file_bytes;
	default:
		return UINT64_MAX;
	}
}

static int64_t limit_call(int pid, uint64_t which, uintptr_t old_at)
{
	uint64_t value[2];

	if (which >= RLIMITS)
		return -EINVAL;
	if (pid && pid != process_current()->pid)
		return -ESRCH;
	value[0] = value[1] = get_limit(process_current(), which);
	return old_at ? user_put(old_at, &value) : 0;
}
SYSCALL(97, getrlimit)
{
	return limit_call(0, a[0], a[1]);
}
SYSCALL(302, prlimit64)
{
	return a[2] ? -EPERM : limit_call((int)a[0], a[1], a[3]);
}
