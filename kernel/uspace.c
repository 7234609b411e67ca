// SPDX-License-Identifier: BSD-2-Clause
// Address spaces of programs: regions (contract in kernel/uspace.h). Everything that changes them holds the
// space's lock; page tables follow.
#include "kernel/uspace.h"
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/filemap.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/stream.h"
#include "kernel/usercopy.h"
#include "kernel/uspace_private.h"
#include "kernel/vmm.h"
#include "kernel/vmm_private.h"

// A space for each process (PROCESSES_MAX) and one that a fork or exec is making for each.
static struct pool space_pool = POOL_INIT("address space", struct uspace, 2 * 4096);
// Some thirty regions are usual; a program that maps thousands is bounded by USPACE_REGIONS_MAX.
static struct pool region_pool = POOL_INIT("region", struct uspace_region, 1 << 20);

#define ADDRESSES_MAX (1UL << 46) // bytes that one program may map: half of what there is

// ---- regions; lock held ----

struct uspace_region *uspace_region_new(const struct uspace_region *like)
{
	struct uspace_region *r = pool_alloc(&region_pool);

	if (!r)
		return NULL;
	*r = *like;
	if (r->backing)
		backing_get(r->backing);
	return r;
}

static void region_free(struct uspace_region *r)
{
	if (r->backing)
		backing_put(r->backing);
	pool_free(&region_pool, r);
}

// Pages of a region that RLIMIT_DATA counts.
static uint64_t data_pages(const struct uspace_region *r)
{
	unsigned kind = r->access & (USPACE_WRITE | USPACE_SHARED | USPACE_GROWS_DOWN);

	return kind == USPACE_WRITE ? (r->end - r->start) >> PAGE_SHIFT : 0;
}

void uspace_insert_after(struct uspace *u, struct uspace_region *before, struct uspace_region *r)
{
	r->prev = before;
	r->next = before ? before->next : u->first;
	if (r->next)
		r->next->prev = r;
	*(before ? &before->next : &u->first) = r;
	u->region_count++;
	u->mapped += (r->end - r->start) >> PAGE_SHIFT;
	u->data += data_pages(r);
}

static void take_out(struct uspace *u, struct uspace_region *r)
{
	*(r->prev ? &r->prev->next : &u->first) = r->next;
	if (r->next)
		r->next->prev = r->prev;
	u->region_count--;
	u->mapped -= (r->end - r->start) >> PAGE_SHIFT;
	u->data -= data_pages(r);
	if (u->recent == r)
		u->recent = NULL;
}

// The last region that starts at or below the address.
static struct uspace_region *at_or_below(struct uspace *u, uintptr_t address)
{
	struct uspace_region *r = u->recent && u->recent->start <= address ? u->recent : u->first;

	if (!r || r->start > address)
		return NULL;
	while (r->next && r->next->start <= address)
		r = r->next;
	return r;
}

struct uspace_region *uspace_region_at(struct uspace *u, uintptr_t address)
{
	struct uspace_region *r = at_or_below(u, address);

	if (!r || address >= r->end)
		return NULL;
	u->recent = r;
	return r;
}

// Cuts r at the address, which lies inside it; r keeps the lower part. Null: no memory.
static struct uspace_region *split(struct uspace *u, struct uspace_region *r, uintptr_t address)
{
	struct uspace_region *upper;
	uint64_t below = address - r->start;

	if (u->region_count >= USPACE_REGIONS_MAX || !(upper = uspace_region_new(r)))
		return NULL;
	u->mapped -= (r->end - address) >> PAGE_SHIFT;
	u->data -= data_pages(r);
	upper->start = address;
	upper->offset += below >> PAGE_SHIFT;
	upper->bytes -= MIN(upper->bytes, below);
	r->end = address;
	u->data += data_pages(r);
	uspace_insert_after(u, r, upper);
	return upper;
}

// Makes region boundaries at both ends of [start, end). False: no memory; then nothing has changed but how
// many regions say the same.
static bool cut_out(struct uspace *u, uintptr_t start, uintptr_t end)
{
	struct uspace_region *r = uspace_region_at(u, start);

	if (r && r->start < start && !split(u, r, start))
		return false;
	r = uspace_region_at(u, end - 1);
	return !r || r->end == end || split(u, r, end) != NULL;
}

// The first region with an address in [start, end), or null.
static struct uspace_region *first_in(struct uspace *u, uintptr_t start, uintptr_t end)
{
	struct uspace_region *r = at_or_below(u, start);

	if (!r || r->end <= start)
		r = r ? r->next : u->first;
	return r && r->start < end ? r : NULL;
}

static bool range_ok(uintptr_t start, uint64_t bytes)
{
	return bytes && !((start | bytes) & (PAGE_SIZE - 1)) && start >= USPACE_LOWEST &&
	       start < USER_END && bytes <= USER_END - start;
}

// ---- the public calls ----

int uspace_map_locked(struct uspace *u, const struct uspace_region *like)
{
	uint64_t bytes = like->end - like->start;
	struct uspace_region *r;

	if (!range_ok(like->start, bytes))
		return -ENOMEM;
	if (first_in(u, like->start, like->end))
		return -EEXIST;
	if (u->region_count >= USPACE_REGIONS_MAX ||
	    u->mapped + (bytes >> PAGE_SHIFT) > u->mapped_max ||
	    (data_pages(like) && u->data + data_pages(like) > u->data_max) ||
	    !(r = uspace_region_new(like)))
		return -ENOMEM;
	uspace_insert_after(u, at_or_below(u, like->start), r);
	return 0;
}

int uspace_map(struct uspace *u, uintptr_t start, uint64_t bytes, unsigned access,
	       struct uspace_backing *backing, uint64_t offset_pages, uint64_t file_bytes)
{
	const struct uspace_region like = {.start = start,
					   .end = start + bytes,
					   .access = access,
					   .backing = backing,
					   .offset = offset_pages,
					   .bytes = file_bytes};
	int error;

	mutex_lock(&u->lock);
	error = uspace_map_locked(u, &like);
	mutex_unlock(&u->lock);
	return error;
}

// Lock held: where a mapping may go that wants to be at the hint.
static int64_t find_place(struct uspace *u, uintptr_t hint, uint64_t bytes, enum uspace_where where)
{
	bool is_free = uspace_is_free_locked(u, ALIGN_DOWN(hint, PAGE_SIZE), bytes);
	int error;

	if (where == USPACE_FIXED) {
		error = hint >= USPACE_LOWEST ? uspace_unmap_locked(u, hint, bytes) : -EPERM;
		return error == -EINVAL ? -ENOMEM : error ? error : (int64_t)hint;
	}
	if (where == USPACE_FIXED_FREE)
		return is_free ? (int64_t)hint : -EEXIST;
	if (hint && is_free)
		return (int64_t)ALIGN_DOWN(hint, PAGE_SIZE);
	hint = uspace_find_free_locked(u, bytes);
	return hint ? (int64_t)hint : -ENOMEM;
}

int64_t uspace_place(struct uspace *u, uintptr_t hint, uint64_t bytes, enum uspace_where where,
		     const struct uspace_region *like)
{
	struct uspace_region r = *like;
	int64_t at;
	int error;

	mutex_lock(&u->lock);
	at = find_place(u, hint, bytes, where);
	if (at >= 0) {
		r.start = (uintptr_t)at;
		r.end = r.start + bytes;
		error = uspace_map_locked(u, &r);
		at = error ? error : at;
	}
	mutex_unlock(&u->lock);
	return at;
}

// An entry goes, and with it what it held.
void uspace_drop_entry(struct uspace *u, uintptr_t address, uint64_t *entry, void *ctx)
{
	struct page *page;
	uint64_t was;

	wtd_disable();
	was = *entry;
	page = was & PTE_FILE ? file_map_take(entry) : page_of_phys(was & PTE_FRAME);
	*entry = 0;
	wtd_enable();
	if (!entry_names_page(was)) // the file cache took it back a moment ago
		return;
	uspace_flush(u, address);
	if (page->flags & PAGE_USER) {
		u->frames--;
		user_frame_put(page);
	} else if (page != uspace_zero_page()) {
		page_wire_put(page);
	}
}

int uspace_unmap_locked(struct uspace *u, uintptr_t start, uint64_t bytes)
{
	struct uspace_region *r, *next;

	if (!range_ok(start, bytes))
		return -EINVAL;
	if (!cut_out(u, start, start + bytes))
		return -ENOMEM;
	for (r = first_in(u, start, start + bytes); r && r->start < start + bytes; r = next) {
		next = r->next;
		uspace_each_entry(u, r->start, r->end, uspace_drop_entry, NULL);
		take_out(u, r);
		region_free(r);
	}
	return 0;
}

int uspace_unmap(struct uspace *u, uintptr_t start, uint64_t bytes)
{
	int error;

	mutex_lock(&u->lock);
	error = uspace_unmap_locked(u, start, bytes);
	mutex_unlock(&u->lock);
	return error;
}

static bool all_mapped(struct uspace *u, uintptr_t start, uintptr_t end)
{
	const struct uspace_region *r = uspace_region_at(u, start);

	while (r && r->end < end)
		r = r->next && r->next->start == r->end ? r->next : NULL;
	return r != NULL;
}

// Takes from an entry what the region no longer allows; what it allows more comes with the next fault.
static void reduce_entry(struct uspace *u, uintptr_t address, uint64_t *entry, void *ctx)
{
	unsigned access = *(unsigned *)ctx;
	uint64_t fresh;

	wtd_disable();
	fresh = *entry & ~(uint64_t)(PTE_PRESENT | PTE_KEPT);
	if (!(access & USPACE_WRITE))
		fresh &= ~(uint64_t)PTE_WRITE;
	fresh = access & USPACE_EXEC ? fresh & ~vmm_nx : fresh | vmm_nx;
	fresh |= access ? PTE_PRESENT : PTE_KEPT;
	if (entry_names_page(*entry)) // not taken back a moment ago
		*entry = fresh;
	uspace_flush(u, address);
	wtd_enable();
}

static bool any_read_only(struct uspace *u, uintptr_t start, uintptr_t end)
{
	const struct uspace_region *r = first_in(u, start, end);

	while (r && r->start < end && !(r->access & USPACE_READ_ONLY))
		r = r->next;
	return r && r->start < end;
}

int uspace_protect(struct uspace *u, uintptr_t start, uint64_t bytes, unsigned access)
{
	const unsigned bits = USPACE_READ | USPACE_WRITE | USPACE_EXEC;
	int error = 0;

	if (!range_ok(start, bytes))
		return -ENOMEM;
	access &= bits;
	mutex_lock(&u->lock);
	if (!all_mapped(u, start, start + bytes))
		error = -ENOMEM;
	else if (access & USPACE_WRITE && any_read_only(u, start, start + bytes))
		error = -EACCES;
	else if (!cut_out(u, start, start + bytes))
		error = -ENOMEM;
	for (struct uspace_region *r = error ? NULL : first_in(u, start, start + bytes);
	     r && r->start < start + bytes; r = r->next) {
		u->data -= data_pages(r);
		r->access = (r->access & ~bits) | access;
		u->data += data_pages(r);
		uspace_each_entry(u, r->start, r->end, reduce_entry, &access);
	}
	mutex_unlock(&u->lock);
	return error;
}

int uspace_discard(struct uspace *u, uintptr_t start, uint64_t bytes)
{
	int error = 0;

	if (!range_ok(start, bytes))
		return -EINVAL;
	mutex_lock(&u->lock);
	if (all_mapped(u, start, start + bytes))
		uspace_each_entry(u, start, start + bytes, uspace_drop_entry, NULL);
	else
		error = -ENOMEM;
	mutex_unlock(&u->lock);
	return error;
}

bool uspace_is_free_locked(struct uspace *u, uintptr_t start, uint64_t bytes)
{
	return range_ok(start, bytes) && !first_in(u, start, start + bytes);
}

uintptr_t uspace_find_free_locked(struct uspace *u, uint64_t bytes)
{
	uintptr_t end = u->mmap_top, found = 0;
	struct uspace_region *r;

	for (r = at_or_below(u, end - 1); bytes && bytes < end && !found; r = r->prev) {
		uintptr_t floor = r ? r->end : USPACE_LOWEST;

		if (floor <= end && end - floor >= bytes && end - bytes >= USPACE_LOWEST)
			found = end - bytes;
		if (!r)
			break;
		end = MIN(end, r->start);
	}
	return found;
}

// ---- spaces ----

struct uspace *uspace_new(void)
{
	struct uspace *u = pool_alloc(&space_pool);
	struct pmm_stats stats;

	if (!u)
		return NULL;
	u->root = kpages_alloc(PAGE_SIZE);
	if (!u->root) {
		pool_free(&space_pool, u);
		return NULL;
	}
	memcpy(u->root + ENTRIES / 2, vmm_root() + ENTRIES / 2, PAGE_SIZE / 2);
	u->lock = (struct mutex)MUTEX_INIT("address space");
	u->references = 1;
	pmm_stats(&stats);
	u->frames_max = stats.frames_total / 2;
	uspace_set_limits(u, 8 << 20, UINT64_MAX, UINT64_MAX);
	return u;
}

void uspace_set_limits(struct uspace *u, uint64_t stack, uint64_t mapped, uint64_t data)
{
	u->stack_max = stack;
	u->mapped_max = MIN(mapped, ADDRESSES_MAX) >> PAGE_SHIFT;
	u->data_max = MIN(data, ADDRESSES_MAX) >> PAGE_SHIFT;
}

void uspace_get(struct uspace *u)
{
	__atomic_fetch_add(&u->references, 1, __ATOMIC_RELAXED);
}

void uspace_put(struct uspace *u)
{
	struct uspace_region *r;

	if (__atomic_sub_fetch(&u->references, 1, __ATOMIC_ACQ_REL))
		return;
	uspace_leave(u);
	uspace_each_entry(u, 0, USER_END, uspace_drop_entry, NULL);
	while ((r = u->first) != NULL) {
		take_out(u, r);
		region_free(r);
	}
	ASSERT(!u->frames && !u->mapped && !u->data);
	uspace_free_tables(u);
	if (u->program)
		stream_put(u->program);
	kpages_free(u->root, PAGE_SIZE);
	pool_free(&space_pool, u);
}

// The kernel's own table does for whoever has no program to run.
void uspace_leave(struct uspace *u)
{
	if (read_cr3() == virt_to_phys(u->root))
		write_cr3(virt_to_phys(vmm_root()));
}
