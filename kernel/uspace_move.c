// SPDX-License-Identifier: BSD-2-Clause
// mremap: growing, shrinking and moving a mapping (contract in kernel/uspace.h). Page table entries move; what they
// name is not touched.
#include "kernel/filemap.h"
#include "kernel/lock.h"
#include "kernel/usercopy.h"
#include "kernel/uspace_private.h"
#include "kernel/vmm_private.h"

struct moving {
	uintptr_t from, to;
	bool failed;
};

static void make_room(struct uspace *u, uintptr_t address, uint64_t *entry, void *ctx)
{
	struct moving *m = ctx;

	m->failed |= !uspace_entry(u, address - m->from + m->to, true);
}

static void move_entry(struct uspace *u, uintptr_t address, uint64_t *entry, void *ctx)
{
	const struct moving *m = ctx;
	uint64_t *other = uspace_entry(u, address - m->from + m->to, false);

	wtd_disable();
	if (*entry & PTE_FILE && entry_names_page(*entry))
		file_map_move(entry, address - m->from + m->to, other);
	else
		*other = *entry;
	*entry = 0;
	uspace_flush(u, address);
	wtd_enable();
}

// What the new place is like: a copy of the region at start, with a reference on its backing; or -EFAULT when
// [start, start + bytes) is not in one.
static int describe(struct uspace *u, uintptr_t start, uint64_t bytes, struct uspace_region *out)
{
	const struct uspace_region *r = uspace_region_at(u, start);

	if (!r || r->end - start < bytes)
		return -EFAULT;
	*out = *r;
	out->offset += (start - r->start) >> PAGE_SHIFT;
	out->bytes -= MIN(out->bytes, start - r->start);
	if (out->backing)
		backing_get(out->backing);
	return 0;
}

static int move_entries(struct uspace *u, uintptr_t start, uintptr_t to, uint64_t bytes)
{
	struct moving m = {.from = start, .to = to};

	uspace_each_entry(u, start, start + bytes, make_room, &m);
	if (!m.failed)
		uspace_each_entry(u, start, start + bytes, move_entry, &m);
	return m.failed ? -ENOMEM : 0;
}

static int64_t move_to(struct uspace *u, uintptr_t start, uint64_t old, uint64_t new, uintptr_t to,
		       struct uspace_region *like)
{
	int error;

	like->start = to;
	like->end = to + new;
	error = uspace_map_locked(u, like);
	if (error)
		return error == -EEXIST ? -ENOMEM : error;
	error = move_entries(u, start, to, MIN(old, new));
	if (error)
		return uspace_unmap_locked(u, to, new) ? -ENOMEM : error;
	error = uspace_unmap_locked(u, start, old);
	return error ? error : (int64_t)to;
}

// The same place: a shorter tail, or one more region behind it.
static int resize(struct uspace *u, uintptr_t start, uint64_t old, uint64_t new,
		  const struct uspace_region *like)
{
	struct uspace_region more = *like;

	if (new <= old)
		return new < old ? uspace_unmap_locked(u, start + new, old - new) : 0;
	more.start = start + old;
	more.end = start + new;
	more.offset += old >> PAGE_SHIFT;
	more.bytes -= MIN(more.bytes, old);
	return uspace_map_locked(u, &more);
}

static int64_t move_locked(struct uspace *u, uintptr_t start, uint64_t old, uint64_t new,
			   bool may_move, uintptr_t to, struct uspace_region *like)
{
	int error;

	if (to) {
		if (to & (PAGE_SIZE - 1) || to >= USER_END || new > USER_END - to ||
		    (to < start + old && start < to + new))
			return -EINVAL;
		error = uspace_unmap_locked(u, to, new);
		return error ? error : move_to(u, start, old, new, to, like);
	}
	if (new <= old || uspace_is_free_locked(u, start + old, new - old)) {
		error = resize(u, start, old, new, like);
		return error ? error : (int64_t)start;
	}
	to = may_move ? uspace_find_free_locked(u, new) : 0;
	return to ? move_to(u, start, old, new, to, like) : -ENOMEM;
}

int64_t uspace_move(struct uspace *u, uintptr_t start, uint64_t old, uint64_t new, bool may_move,
		    uintptr_t to)
{
	struct uspace_region like;
	int64_t result;

	mutex_lock(&u->lock);
	result = describe(u, start, old, &like);
	if (!result) {
		result = move_locked(u, start, old, new, may_move, to, &like);
		if (like.backing)
			backing_put(like.backing);
	}
	mutex_unlock(&u->lock);
	return result;
}
