// SPDX-License-Identifier: BSD-2-Clause
// Page faults of programs: pages come when they are touched, and writes make copies (kernel/uspace.h).
#include "kernel/copy.h"
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/filemap.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/usercopy.h"
#include "kernel/uspace_private.h"
#include "kernel/vmm.h"
#include "kernel/vmm_private.h"

#define PTE_USER BIT(2)

static struct page *zero_page; // constant after boot
static uint64_t faults, faults_from_cache, copies, refused;
KSTAT_COUNTER(faults, "pagewire_user_faults_total", "Pages brought in for programs.");
KSTAT_COUNTER(faults_from_cache, "pagewire_user_faults_cache_total",
	      "Of them, mapped straight from the file cache.");
KSTAT_COUNTER(copies, "pagewire_user_page_copies_total",
	      "Pages copied because a program wrote to them.");
KSTAT_COUNTER(refused, "pagewire_user_memory_refused_total",
	      "Pages that a program did not get: at its limit, or no memory.");

struct page *uspace_zero_page(void)
{
	return zero_page;
}

void uspace_fault_init(void)
{
	void *memory = kpages_alloc(PAGE_SIZE);

	if (!memory)
		PANIC("no memory for the page of zeros");
	zero_page = page_of_phys(virt_to_phys(memory));
}

static uint64_t flags_for(unsigned access, bool writable)
{
	uint64_t flags = PTE_PRESENT | PTE_USER;

	if (writable && access & USPACE_WRITE)
		flags |= PTE_WRITE;
	if (!(access & USPACE_EXEC))
		flags |= vmm_nx;
	return flags;
}

static struct page *new_frame(struct uspace *u)
{
	struct page *page = u->frames < u->frames_max ? user_frame_alloc() : NULL;

	if (!page) {
		refused++;
		return NULL;
	}
	u->frames++;
	u->frames_high = MAX(u->frames_high, u->frames);
	return page;
}

static void set_entry(struct uspace *u, uintptr_t address, uint64_t *entry, const struct page *page,
		      uint64_t flags)
{
	*entry = page_phys(page) | flags;
	uspace_flush(u, address);
}

// A frame of the program's own with what `from` holds in its first `bytes`, zeros behind them.
static struct page *own_copy(struct uspace *u, struct page *from, size_t bytes)
{
	struct page *page = new_frame(u);

	if (!page)
		return NULL;
	copies++;
	u->copies++;
	if (from->flags & PAGE_CACHE)
		copy_from_cache(page_virt(page), from, 0, bytes);
	else
		memcpy(page_virt(page), page_virt(from), bytes);
	return page;
}

// Bytes of the backing that belong into the page at the address.
static size_t bytes_here(const struct uspace_region *r, uintptr_t address)
{
	uint64_t at = address - r->start;

	return r->bytes > at ? (size_t)MIN(r->bytes - at, PAGE_SIZE) : 0;
}

static int fill_from_backing(struct uspace *u, const struct uspace_region *r, uintptr_t address,
			     uint64_t *entry, bool write)
{
	struct page *page, *own;
	size_t bytes = bytes_here(r, address);
	int error = r->backing->ops->page(r->backing,
					  r->offset + ((address - r->start) >> PAGE_SHIFT), &page);

	if (error)
		return error;
	if (page->flags & PAGE_USER && (r->access & USPACE_SHARED || !write)) {
		user_frame_get(page);
		u->frames++;
		set_entry(u, address, entry, page, flags_for(r->access, r->access & USPACE_SHARED));
		page_wire_put(page);
		return 0;
	}
	if (!write && bytes == PAGE_SIZE) {
		faults_from_cache++;
		u->faults_from_cache++;
		set_entry(u, address, entry, page,
			  flags_for(r->access, false)); // our reference is the entry's
		return 0;
	}
	own = own_copy(u, page, bytes);
	page_wire_put(page);
	if (!own)
		return -ENOMEM;
	set_entry(u, address, entry, own, flags_for(r->access, true));
	return 0;
}

static int fill(struct uspace *u, const struct uspace_region *r, uintptr_t address, uint64_t *entry,
		bool write)
{
	struct page *own;

	faults++;
	u->faults++;
	if (r->backing && bytes_here(r, address))
		return fill_from_backing(u, r, address, entry, write);
	if (!write) {
		set_entry(u, address, entry, zero_page, flags_for(r->access, false));
		return 0;
	}
	own = new_frame(u);
	if (!own)
		return -ENOMEM;
	set_entry(u, address, entry, own, flags_for(r->access, true));
	return 0;
}

// The page is there, and a write was refused: it is shared with another space, with the file cache, or on the
// wire, where it may not change. If it is none of these any more, it is simply ours.
static int make_own(struct uspace *u, const struct uspace_region *r, uintptr_t address,
		    uint64_t *entry)
{
	struct page *page = page_of_phys(*entry & PTE_FRAME), *own;

	if (page->flags & PAGE_USER &&
	    (r->access & USPACE_SHARED || (page->index == 1 && !page->wire))) {
		set_entry(u, address, entry, page, flags_for(r->access, true));
		return 0;
	}
	own = own_copy(u, page, PAGE_SIZE);
	if (!own)
		return -ENOMEM;
	uspace_drop_entry(u, address, entry, NULL);
	set_entry(u, address, entry, own, flags_for(r->access, true));
	return 0;
}

static int fault_shared_file(struct uspace *u, const struct uspace_region *r, uintptr_t address,
			     uint64_t *entry, bool write)
{
	uint64_t now = *entry;

	if (now & PTE_PRESENT && now & PTE_USER && (!write || now & PTE_WRITE))
		return 0;
	faults++;
	u->faults++;
	faults_from_cache++;
	u->faults_from_cache++;
	return file_map_fault(u, r, address, entry, flags_for(r->access, write));
}

// A stack grows to the page touched, as long as it stays within its limit and a page away from what is below.
static struct uspace_region *grow_stack(struct uspace *u, uintptr_t address)
{
	struct uspace_region *below = NULL, *r = u->first;
	uintptr_t start = ALIGN_DOWN(address, PAGE_SIZE);

	while (r && r->end <= address) {
		below = r;
		r = r->next;
	}
	if (!r || !(r->access & USPACE_GROWS_DOWN) || r->end - start > u->stack_max ||
	    (below && below->end + PAGE_SIZE > start) ||
	    u->mapped + ((r->start - start) >> PAGE_SHIFT) > u->mapped_max)
		return NULL;
	u->mapped += (r->start - start) >> PAGE_SHIFT;
	r->start = start;
	return r;
}

static int fault_locked(struct uspace *u, uintptr_t address, unsigned access)
{
	struct uspace_region *r = uspace_region_at(u, address);
	uint64_t *entry;

	if (!r)
		r = grow_stack(u, address);
	if (!r || (access & ~r->access))
		return -EFAULT;
	entry = uspace_entry(u, address, true);
	if (!entry)
		return -ENOMEM;
	address = ALIGN_DOWN(address, PAGE_SIZE);
	if (region_is_shared_file(r))
		return fault_shared_file(u, r, address, entry, access & USPACE_WRITE);
	if (!(*entry & PTE_PRESENT))
		return fill(u, r, address, entry, access & USPACE_WRITE);
	if (access & USPACE_WRITE && !(*entry & PTE_WRITE))
		return make_own(u, r, address, entry);
	return 0; // another thread was faster
}

int uspace_fault(struct uspace *u, uintptr_t address, unsigned access)
{
	int error;

	if (address >= USER_END || address < USPACE_LOWEST)
		return -EFAULT;
	mutex_lock(&u->lock);
	error = fault_locked(u, address, access);
	mutex_unlock(&u->lock);
	return error;
}

// u->lock held. The page behind an address that was brought in, wired; null: taken back meanwhile (kernel/filemap.c).
static struct page *wired(struct uspace *u, uintptr_t address, unsigned access)
{
	uint64_t *entry = uspace_entry(u, address, false);
	struct page *page = NULL;

	wtd_disable();
	if (*entry & PTE_PRESENT && (!(access & USPACE_WRITE) || *entry & PTE_WRITE)) {
		page = page_of_phys(*entry & PTE_FRAME);
		page_wire_get(page);
	}
	wtd_enable();
	return page;
}

int uspace_page(struct uspace *u, uintptr_t address, unsigned access, struct page **out)
{
	int error;

	if (address >= USER_END || address < USPACE_LOWEST)
		return -EFAULT;
	mutex_lock(&u->lock);
	do {
		error = fault_locked(u, address, access);
		*out = error ? NULL : wired(u, address, access);
	} while (!error && !*out);
	mutex_unlock(&u->lock);
	return error;
}

// u->lock held. What is lent does not change: not by this program, and a file's page by nobody.
static void protect_lent(struct uspace *u, uintptr_t address, struct page *page)
{
	const struct uspace_region *r = uspace_region_at(u, address);
	uint64_t *entry = uspace_entry(u, address, false);

	wtd_disable();
	if (page->flags & PAGE_CACHE) {
		page_maps_protect(page);
	} else if (*entry & PTE_WRITE && !(r->access & USPACE_SHARED)) {
		*entry &= ~(uint64_t)PTE_WRITE;
		uspace_flush(u, ALIGN_DOWN(address, PAGE_SIZE));
	}
	wtd_enable();
}

int uspace_lend(struct uspace *u, uintptr_t address, struct page **out)
{
	int error = address >= USER_END || address < USPACE_LOWEST ? -EFAULT : 0;

	if (error)
		return error;
	mutex_lock(&u->lock);
	do {
		error = fault_locked(u, address, USPACE_READ);
		*out = error ? NULL : wired(u, address, USPACE_READ);
	} while (!error && !*out);
	if (!error)
		protect_lent(u, address, *out);
	mutex_unlock(&u->lock);
	return error;
}

// Into a page of a file that programs share, as long as it may be written to. False: not any more.
static bool write_shared_file(struct uspace *u, uintptr_t to, struct page *page, const void *from,
			      size_t bytes)
{
	const uint64_t *entry = uspace_entry(u, to, false);
	bool may;

	wtd_disable();
	may =
	    *entry & PTE_PRESENT && *entry & PTE_WRITE && page_of_phys(*entry & PTE_FRAME) == page;
	if (may) {
		memcpy((char *)vmm_window_open(page) + (to & (PAGE_SIZE - 1)), from, bytes);
		vmm_window_close(page);
	}
	wtd_enable();
	return may;
}

int uspace_write(struct uspace *u, uintptr_t to, const void *from, size_t bytes)
{
	while (bytes) {
		size_t at = to & (PAGE_SIZE - 1), piece = MIN(bytes, PAGE_SIZE - at);
		struct page *page;
		int error = uspace_page(u, to, USPACE_WRITE, &page);

		if (error)
			return error;
		if (page->flags & PAGE_CACHE && !write_shared_file(u, to, page, from, piece)) {
			page_wire_put(page);
			continue;
		}
		if (!(page->flags & PAGE_CACHE))
			memcpy((char *)page_virt(page) + at, from, piece);
		page_wire_put(page);
		to += piece;
		from = (const char *)from + piece;
		bytes -= piece;
	}
	return 0;
}

int uspace_grow_stack(struct uspace *u, uintptr_t address)
{
	int error = 0;

	mutex_lock(&u->lock);
	if (!uspace_region_at(u, address) && !grow_stack(u, address))
		error = -ENOMEM;
	mutex_unlock(&u->lock);
	return error;
}
