// SPDX-License-Identifier: BSD-2-Clause
// Limits of processes.
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

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
