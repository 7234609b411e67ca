// SPDX-License-Identifier: BSD-2-Clause
// Memory: mmap and its kin, brk.
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

enum { PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4, PROT_KNOWN = 7 };
enum {
	MAP_SHARED = 1,
	MAP_PRIVATE = 2,
	MAP_TYPE = 3,
	MAP_FIXED = 0x10,
	MAP_ANONYMOUS = 0x20,
	MAP_GROWSDOWN = 0x100,
	MAP_FIXED_NOREPLACE = 0x100000,
};
enum { MS_ASYNC = 1, MS_INVALIDATE, MS_SYNC = 4, MS_KNOWN = 7 };
enum { MREMAP_MAYMOVE = 1, MREMAP_FIXED = 2 };
enum {
	MADV_NORMAL,
	MADV_RANDOM,
	MADV_SEQUENTIAL,
	MADV_WILLNEED,
	MADV_DONTNEED,
	MADV_FREE = 8,
	MADV_HUGEPAGE = 14,
	MADV_NOHUGEPAGE,
	MADV_DONTDUMP,
	MADV_DODUMP
};

static unsigned access_of(uint64_t prot)
{
	// A page that can be written or run can be read: so the processor has it.
	return (prot ? USPACE_READ : 0) | (prot & PROT_WRITE ? USPACE_WRITE : 0) |
	       (prot & PROT_EXEC ? USPACE_EXEC : 0);
}

// The file side of a mapping: its backing (a reference) and how many of its bytes count.
static int file_backing(int fd, uint64_t flags, uint64_t prot, struct uspace_backing **out,
			unsigned *access, uint64_t *file_bytes)
{
	struct stream *s = files_find(fd);
	struct stream_stat st;
	int error = s ? 0 : -EBADF;

	if (!error && (s->flags & STREAM_ACCMODE) == STREAM_WRONLY)
		error = -EACCES;
	if (!error && (!s->ops->backing || !s->ops->stat))
		error = -ENODEV;
	if (!error && flags & MAP_SHARED && prot & PROT_WRITE &&
	    (s->flags & STREAM_ACCMODE) != STREAM_RDWR)
		error = -EACCES;
	if (!error)
		error = s->ops->stat(s, &st);
	if (!error) {
		*out = s->ops->backing(s);
		*file_bytes = st.size;
		error = *out ? 0 : -ENODEV;
		if (!error && uspace_is_shared_memory(*out))
			*file_bytes = UINT64_MAX; // it may grow while it is mapped
	}
	if (!error && flags & MAP_SHARED) {
		*access |= USPACE_SHARED;
		if ((s->flags & STREAM_ACCMODE) != STREAM_RDWR)
			*access |= USPACE_READ_ONLY;
		if (prot & PROT_WRITE && !(*out)->file &&
		    !uspace_is_shared_memory(*out)) { // made by the kernel, for reading
			backing_put(*out);
			error = -ENODEV;
		}
	}
	if (s)
		stream_put(s);
	return error;
}

static enum uspace_where where_of(uint64_t flags)
{
	return flags & MAP_FIXED_NOREPLACE ? USPACE_FIXED_FREE
	       : flags & MAP_FIXED	   ? USPACE_FIXED
					   : USPACE_ANYWHERE;
}

SYSCALL(9, mmap)
{
	struct uspace *u = process_space();
	uint64_t bytes = ALIGN_UP(a[1], PAGE_SIZE), flags = a[3], offset = a[5], file_bytes = 0;
	unsigned access = access_of(a[2]);
	struct uspace_backing *backing = NULL;
	struct uspace_region like;
	int64_t at;
	int error = 0;

	if (!a[1] || (flags & MAP_TYPE) == 0 || offset & (PAGE_SIZE - 1) ||
	    a[2] & ~(uint64_t)PROT_KNOWN ||
	    (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) && a[0] & (PAGE_SIZE - 1)))
		return -EINVAL;
	if (bytes < a[1] || bytes > USER_END)
		return -ENOMEM;
	if (flags & MAP_GROWSDOWN &&
	    ((flags & MAP_TYPE) != MAP_PRIVATE || !(flags & MAP_ANONYMOUS)))
		return -EINVAL; // what grows downwards has no offsets
	if (!(flags & MAP_ANONYMOUS))
		error = file_backing((int)a[4], flags, a[2], &backing, &access, &file_bytes);
	if (error)
		return error;
	if (flags & MAP_GROWSDOWN)
		access |= USPACE_GROWS_DOWN;
	if ((flags & MAP_TYPE) != MAP_PRIVATE && !backing) {
		access |= USPACE_SHARED;
		file_bytes = UINT64_MAX; // the backing tells where it ends
		offset = 0;		 // of nothing
		backing = uspace_shared_new(bytes);
		if (!backing)
			return -ENOMEM;
	}
	like = (struct uspace_region){.access = access,
				      .backing = backing,
				      .offset = offset >> PAGE_SHIFT,
				      .bytes = file_bytes > offset ? file_bytes - offset : 0};
	at = uspace_place(u, a[0], bytes, where_of(flags), &like);
	if (backing)
		backing_put(backing);
	return at;
}

SYSCALL(10, mprotect)
{
	if (a[0] & (PAGE_SIZE - 1) || a[2] & ~(uint64_t)PROT_KNOWN)
		return -EINVAL;
	return a[1] ? uspace_protect(process_space(), a[0], ALIGN_UP(a[1], PAGE_SIZE),
				     access_of(a[2]))
		    : 0;
}

SYSCALL(11, munmap)
{
	return uspace_unmap(process_space(), a[0], ALIGN_UP(a[1], PAGE_SIZE));
}

SYSCALL(12, brk)
{
	struct uspace *u = process_space();
	uintptr_t old = ALIGN_UP(u->brk, PAGE_SIZE), wanted = ALIGN_UP(a[0], PAGE_SIZE);
	int error = 0;

	if (a[0] < u->brk_start || a[0] >= USER_END)
		return (int64_t)u->brk;
	if (wanted > old)
		error = uspace_map(u, old, wanted - old, USPACE_READ | USPACE_WRITE, NULL, 0, 0);
	else if (wanted < old)
		error = uspace_unmap(u, wanted, old - wanted);
	if (!error)
		u->brk = a[0];
	return (int64_t)u->brk;
}

SYSCALL(25, mremap)
{
	uint64_t old = ALIGN_UP(a[1], PAGE_SIZE), new = ALIGN_UP(a[2], PAGE_SIZE);

	if (a[0] & (PAGE_SIZE - 1) || !old || !new ||
	    a[3] & ~(uint64_t)(MREMAP_MAYMOVE | MREMAP_FIXED) ||
	    (a[3] & MREMAP_FIXED && !(a[3] & MREMAP_MAYMOVE)))
		return -EINVAL;
	return uspace_move(process_space(), a[0], old, new, a[3] & MREMAP_MAYMOVE,
			   a[3] & MREMAP_FIXED ? a[4] : 0);
}

// A reference on the file behind the next shared mapping of one in [*at, end), *at behind it; null: no more. Memory
// that is not mapped is *hole.
static struct uspace_backing *next_shared_file(uintptr_t *at, uintptr_t end, bool *hole)
{
	struct uspace *u = process_space();
	struct uspace_backing *found = NULL;
	const struct uspace_region *r;

	mutex_lock(&u->lock);
	for (r = u->first; r && !found && *at < end; r = r->next) {
		if (r->end <= *at)
			continue;
		*hole |= r->start > *at;
		if (r->start < end && r->access & USPACE_SHARED && r->backing &&
		    r->backing->ops->sync) {
			found = r->backing;
			backing_get(found);
		}
		*at = r->end;
	}
	*hole |= !found && *at < end;
	mutex_unlock(&u->lock);
	return found;
}

// MS_ASYNC asks for nothing: what is DIRTY is written behind anyway.
SYSCALL(26, msync)
{
	uintptr_t at = a[0], end = a[0] + ALIGN_UP(a[1], PAGE_SIZE);
	struct uspace_backing *file;
	int64_t error = 0;
	bool hole = false;

	if (a[0] & (PAGE_SIZE - 1) || a[2] & ~(uint64_t)MS_KNOWN ||
	    (a[2] & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
		return -EINVAL;
	if (end < at)
		return -ENOMEM;
	while (!error && (file = next_shared_file(&at, end, &hole))) {
		if (a[2] & MS_SYNC)
			error = file->ops->sync(file);
		backing_put(file);
	}
	return error ? error : hole ? -ENOMEM : 0;
}

SYSCALL(28, madvise)
{
	if (a[0] & (PAGE_SIZE - 1))
		return -EINVAL;
	switch (a[2]) {
	case MADV_DONTNEED:
	case MADV_FREE:
		return a[1] ? uspace_discard(process_space(), a[0], ALIGN_UP(a[1], PAGE_SIZE)) : 0;
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_WILLNEED:
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
		return 0;
	default:
		return -EINVAL;
	}
}
