// SPDX-License-Identifier: BSD-2-Clause
// Who a program is: root, and nobody else. Rights over files on volumes are the file servers' business, programs act on
// the console's authority.
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

static int64_t zero(void)
{
	return 0;
}
SYSCALL(102, getuid)
{
	return zero();
}
SYSCALL(104, getgid)
{
	return zero();
}
SYSCALL(107, geteuid)
{
	return zero();
}
SYSCALL(108, getegid)
{
	return zero();
}
SYSCALL(115, getgroups)
{
	return zero();
}
SYSCALL(116, setgroups)
{
	return a[0] ? -EPERM : 0;
}
SYSCALL(105, setuid)
{
	return a[0] ? -EPERM : 0; // there is root and nobody else
}
SYSCALL(106, setgid)
{
	return a[0] ? -EPERM : 0;
}

// ---- three at a time: each 0, or left alone ----

static bool keeps(uint64_t id)
{
	return !(uint32_t)id || (uint32_t)id == UINT32_MAX;
}
static int64_t set_three(const uint64_t a[6], unsigned count)
{
	for (unsigned n = 0; n < count; n++)
		if (!keeps(a[n]))
			return -EPERM;
	return 0;
}
static int64_t get_three(const uint64_t a[6])
{
	uint32_t none = 0;

	return user_put(a[0], &none) || user_put(a[1], &none) || user_put(a[2], &none) ? -EFAULT
										       : 0;
}
SYSCALL(113, setreuid)
{
	return set_three(a, 2);
}
SYSCALL(114, setregid)
{
	return set_three(a, 2);
}
SYSCALL(117, setresuid)
{
	return set_three(a, 3);
}
SYSCALL(118, getresuid)
{
	return get_three(a);
}
SYSCALL(119, setresgid)
{
	return set_three(a, 3);
}
SYSCALL(120, getresgid)
{
	return get_three(a);
}
SYSCALL(122, setfsuid)
{
	return zero();
}
SYSCALL(123, setfsgid)
{
	return zero();
}
