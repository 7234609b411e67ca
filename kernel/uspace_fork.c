// SPDX-License-Identifier: BSD-2-Clause
// fork's copy of an address space (contract in kernel/uspace.h): the same regions, and the same frames until one side
// writes to them.
#include "kernel/filemap.h"
#include "kernel/lock.h"
#include "kernel/stream.h"
#include "kernel/usercopy.h"
#include "kernel/uspace_private.h"

struct fork {
	struct uspace *copy;
	bool failed;
};

// Both sides read the same frame from now on; whoever writes makes its own.
static void share_entry(struct uspace *u, uintptr_t address, uint64_t *entry, void *ctx)
{
	struct fork *fork = ctx;
	uint64_t *other = fork->failed ? NULL : uspace_entry(fork->copy, address, true);
	struct page *page = page_of_phys(*entry & PTE_FRAME);
	const struct uspace_region *r = uspace_region_at(u, address);

	if (!other) {
		fork->failed = true;
		return;
	}
	if (region_is_shared_file(r)) {
		wtd_disable();
		if (entry_names_page(*entry))
			file_map_share(entry, fork->copy, address, other);
		wtd_enable();
		return;
	}
	if (!(r->access & USPACE_SHARED))
		*entry &= ~(uint64_t)PTE_WRITE;
	uspace_flush(u, address);
	*other = *entry;
	if (page->flags & PAGE_USER) {
		user_frame_get(page);
		fork->copy->frames++;
	} else if (page != uspace_zero_page()) {
		page_wire_get(page);
	}
}

struct uspace *uspace_fork(struct uspace *u)
{
	struct fork fork = {.copy = uspace_new()};
	struct uspace *copy = fork.copy;
	struct uspace_region *last = NULL;

	if (!copy)
		return NULL;
	mutex_lock(&u->lock);
	for (const struct uspace_region *r = u->first; r && !fork.failed; r = r->next) {
		struct uspace_region *twin = uspace_region_new(r);

		fork.failed = !twin;
		if (twin) {
			uspace_insert_after(copy, last, twin);
			last = twin;
		}
	}
	if (!fork.failed)
		uspace_each_entry(u, 0, USER_END, share_entry, &fork);
	copy->program = u->program;
	if (copy->program)
		stream_get(copy->program);
	copy->brk_start = u->brk_start;
	copy->brk = u->brk;
	copy->mmap_top = u->mmap_top;
	copy->stack_max = u->stack_max;
	copy->frames_max = u->frames_max;
	copy->mapped_max = u->mapped_max;
	copy->data_max = u->data_max;
	copy->frames_high = copy->frames;
	mutex_unlock(&u->lock);
	if (!fork.failed)
		return copy;
	uspace_put(copy);
	return NULL;
}
