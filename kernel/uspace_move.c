// SPDX-License-Identifier: BSD-2-Clause
// mremap: growing, shrinking and moving a mapping (contract in kernel/uspace.h). Page table entries move; what they
// name is not touched.
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

	*other = *entry;
	*entry = 0;
	uspace_flush(u, address);
}

// What the new place is like: a copy of the region at start, or -EFAULT when [start, start + bytes) is not in one.
static int describe(struct uspace *u, uintptr_t start, uint64_t bytes, struct uspace_region *out)
{
	const struct uspace_region *r;
	int error = 0;

	mutex_lock(&u->lock);
	r = uspace_region_at(u, start);
	if (!r || r->end - start < bytes)
		error = -EFAULT;
	if (!error) {
		*out = *r;
		out->offset += (start - r->start) >> PAGE_SHIFT;
		out->bytes -= MIN(out->bytes, start - r->start);
		if (out->backing)
			backing_get(out->backing);
	}
	mutex_unlock(&u->lock);
	return error;
}

static int move_entries(struct uspace *u, uintptr_t start, uintptr_t to, uint64_t bytes)
{
	struct moving m = {.from = start, .to = to};

	mutex_lock(&u->lock);
	uspace_each_entry(u, start, start + bytes, make_room, &m);
	if (!m.failed)
		uspace_each_entry(u, start, start + bytes, move_entry, &m);
	mutex_unlock(&u->lock);
	return m.failed ? -ENOMEM : 0;
}

static int64_t move_to(struct uspace *u, uintptr_t start, uint64_t old, uint64_t new, uintptr_t to,
		       const struct uspace_region *like)
{
	int error = uspace_map(u, to, new, like->access, like->backing, like->offset, like->bytes);

	if (error)
		return error == -EEXIST ? -ENOMEM : error;
	error = move_entries(u, start, to, MIN(old, new));
	if (error)
		return uspace_unmap(u, to, new) ? -ENOMEM : error;
	error = uspace_unmap(u, start, old);
	return error ? error : (int64_t)to;
}

int64_t uspace_move(struct uspace *u, uintptr_t start, uint64_t old, uint64_t new, bool may_move,
		    uintptr_t to)
{
	struct uspace_region like;
	int64_t result = describe(u, start, old, &like);

	if (result)
		return result;
	if (to && (to & (PAGE_SIZE - 1) || (to < start + old && start < to + new))) {
		result = -EINVAL;
	} else if (to) {
		result = uspace_unmap(u, to, new);
		if (!result)
			result = move_to(u, start, old, new, to, &like);
	} else if (new <= old) {
		result = new < old ? uspace_unmap(u, start + new, old - new) : 0;
		result = result ? result : (int64_t)start;
	} else if (uspace_is_free(u, start + old, new - old)) {
		uint64_t skip = old >> PAGE_SHIFT;

		result = uspace_map(u, start + old, new - old, like.access, like.backing,
				    like.offset + skip, like.bytes > old ? like.bytes - old : 0);
		result = result ? result : (int64_t)start;
	} else if (may_move) {
		to = uspace_find_free(u, new);
		result = to ? move_to(u, start, old, new, to, &like) : -ENOMEM;
	} else {
		result = -ENOMEM;
	}
	if (like.backing)
		backing_put(like.backing);
	return result;
}
