// SPDX-License-Identifier: BSD-2-Clause
// mlock and its kin. A program's memory never goes to a disk, so locking it is bringing it in; what it maps of files
// stays wired while it is mapped. There is nothing to undo.
#include "kernel/syscall.h"
#include "kernel/uspace.h"
#include "kernel/usercopy.h"

enum { MCL_CURRENT = 1, MCL_FUTURE = 2, MCL_ONFAULT = 4, MLOCK_ONFAULT = 1 };

// What an access needs so that the page is the one that stays; -ENOMEM: there is a gap.
static int access_at(struct uspace *u, uintptr_t address, unsigned *access)
{
	const struct uspace_region *r;

	mutex_lock(&u->lock);
	r = uspace_region_at(u, address);
	if (r)
		*access = r->access & (USPACE_READ | USPACE_WRITE);
	mutex_unlock(&u->lock);
	return r ? 0 : -ENOMEM;
}

static int64_t each_page(uint64_t start, uint64_t bytes, bool bring_in)
{
	struct uspace *u = process_space();
	uintptr_t at = ALIGN_DOWN(start, PAGE_SIZE), end = ALIGN_UP(start + bytes, PAGE_SIZE);
	unsigned access;
	int error = 0;

	if (end < start || end > USER_END)
		return bytes > UINT64_MAX - start ? -EINVAL : -ENOMEM;
	for (; at < end && !error; at += PAGE_SIZE) {
		error = access_at(u, at, &access);
		if (!error && bring_in)
			error = access ? uspace_fault(u, at, access) : -ENOMEM;
		if (signal_kills())
			error = -EINTR;
	}
	return error == -EINTR || !error ? error : -ENOMEM;
}

SYSCALL(149, mlock)
{
	return each_page(a[0], a[1], true);
}

SYSCALL(150, munlock)
{
	return each_page(a[0], a[1], false);
}

SYSCALL(151, mlockall)
{
	return !a[0] || a[0] & ~(uint64_t)(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) ||
		       a[0] == MCL_ONFAULT
		   ? -EINVAL
		   : 0;
}

SYSCALL(152, munlockall)
{
	return 0;
}

SYSCALL(325, mlock2)
{
	return a[2] & ~(uint64_t)MLOCK_ONFAULT ? -EINVAL : each_page(a[0], a[1], !a[2]);
}
