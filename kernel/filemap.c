// SPDX-License-Identifier: BSD-2-Clause
// Mappings of files that programs share (MAP_SHARED): which page table entries name which page of which file, so that
// the file cache can take them back (include/kernel/page.h: page_maps). An entry names the cache's own page and holds
// one wire reference on it.
//
//	                 read fault                  write fault: the page is DIRTY, and nobody but mappings has it
//	(no entry) ----------------> read-only ------------------------------------------------------------> writable
//	    ^                          |  ^                                                                     |
//	    | the page goes from the   |  | the page goes onto the wire, to the disk, or to who reads it        |
//	    +-- cache, or the oldest --+  +---------------------------------------------------------------------+
//	        entry makes room
//
// So what is on the wire does not change, whatever programs write: the next write fault gives the cache a fresh page
// (file_write's ways), and every program finds it there. Lock key: everything here is (W), WTDs off; entries of these
// regions are changed so only.
#include "kernel/filemap.h"
#include "kernel/cpu_private.h"
#include "kernel/kstat.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/uspace_private.h"

#define BUCKETS 4096

struct file_map {
	struct file_map *page_next, *entry_next; // (W) the two hashes
	struct file_map *older, *newer;		 // (W) of all
	const void *file;
	uint64_t index;
	struct uspace *u;
	uintptr_t address;
	uint64_t *entry; // of u's tables, which stay as long as u does
};

// As many as pin an eighth of a machine of 32 GB; the bound is maps_max.
static struct pool map_pool = POOL_INIT("file map", struct file_map, 1 << 20);
static struct file_map *by_page[BUCKETS], *by_entry[BUCKETS]; // (W)
static struct file_map *oldest, *newest;		      // (W)
static uint64_t maps, maps_max, taken_back; // (W); maps_max constant after the first
KSTAT_GAUGE(maps, "pagewire_user_file_maps", "Page table entries that name pages of shared files.");
KSTAT_COUNTER(taken_back, "pagewire_user_file_maps_taken_back_total",
	      "Of them, taken back: the page left the cache, or there were too many.");

static struct file_map **page_bucket(const void *file, uint64_t index)
{
	return &by_page[(((uintptr_t)file >> 4) + index) * 0x9e3779b97f4a7c15UL >> 52];
}

static struct file_map **entry_bucket(const uint64_t *entry)
{
	return &by_entry[((uintptr_t)entry >> 3) * 0x9e3779b97f4a7c15UL >> 52];
}
_Static_assert(BUCKETS == 1 << (64 - 52), "the hashes' upper bits");

static struct file_map *map_of(const uint64_t *entry)
{
	struct file_map *m = *entry_bucket(entry);

	while (m->entry != entry)
		m = m->entry_next;
	return m;
}

static void unlink_map(struct file_map *m)
{
	struct file_map **link = page_bucket(m->file, m->index);

	while (*link != m)
		link = &(*link)->page_next;
	*link = m->page_next;
	link = entry_bucket(m->entry);
	while (*link != m)
		link = &(*link)->entry_next;
	*link = m->entry_next;
	*(m->older ? &m->older->newer : &oldest) = m->newer;
	*(m->newer ? &m->newer->older : &newest) = m->older;
	maps--;
}

static void link_map(struct file_map *m)
{
	struct file_map **page = page_bucket(m->file, m->index), **entry = entry_bucket(m->entry);

	m->page_next = *page;
	*page = m;
	m->entry_next = *entry;
	*entry = m;
	m->newer = NULL;
	m->older = newest;
	*(newest ? &newest->newer : &oldest) = m;
	newest = m;
	maps++;
}

// The entry goes; the page's reference is the caller's.
static struct page *take_back(struct file_map *m)
{
	struct page *page = page_of_phys(*m->entry & PTE_FRAME);

	*m->entry = 0;
	uspace_flush(m->u, m->address);
	unlink_map(m);
	pool_free(&map_pool, m);
	return page;
}

// ---- for the file cache: page_maps ----

static void protect(struct page *page)
{
	for (struct file_map *m = *page_bucket(page->owner, page->index); m; m = m->page_next)
		if (m->file == page->owner && m->index == page->index && *m->entry & PTE_WRITE) {
			*m->entry &= ~(uint64_t)PTE_WRITE;
			uspace_flush(m->u, m->address);
		}
}

static void drop(const void *file, uint64_t index)
{
	struct file_map *m = *page_bucket(file, index), *next;

	for (; m; m = next) {
		next = m->page_next;
		if (m->file != file || m->index != index)
			continue;
		page_wire_put(take_back(m));
		taken_back++;
	}
}

static void drop_from(const void *file, uint64_t index)
{
	for (unsigned n = 0; n < BUCKETS; n++)
		for (struct file_map *m = by_page[n], *next; m; m = next) {
			next = m->page_next;
			if (m->file != file || m->index < index)
				continue;
			page_wire_put(take_back(m));
			taken_back++;
		}
}

static uint32_t count(const struct page *page)
{
	uint32_t n = 0;

	for (const struct file_map *m = *page_bucket(page->owner, page->index); m; m = m->page_next)
		n += m->file == page->owner && m->index == page->index &&
		     page_of_phys(*m->entry & PTE_FRAME) == page;
	return n;
}

static const struct page_maps own = {
    .protect = protect, .drop = drop, .drop_from = drop_from, .count = count};

// ---- for address spaces ----

static bool add(const void *file, uint64_t index, struct uspace *u, uintptr_t address,
		uint64_t *entry)
{
	struct file_map *m;
	struct pmm_stats stats;

	if (!maps_max) {
		pmm_stats(&stats);
		maps_max = MAX(stats.frames_total / 8, 16UL);
		page_maps = &own;
	}
	if (maps >= maps_max) {
		page_wire_put(take_back(oldest));
		taken_back++;
	}
	m = pool_alloc(&map_pool);
	if (!m)
		return false;
	*m = (struct file_map){
	    .file = file, .index = index, .u = u, .address = address, .entry = entry};
	link_map(m);
	return true;
}

struct page *file_map_take(uint64_t *entry)
{
	return take_back(map_of(entry));
}

void file_map_share(uint64_t *entry, struct uspace *copy, uintptr_t address, uint64_t *other)
{
	const struct file_map *m = map_of(entry);
	uint64_t was = *entry;

	page_wire_get(
	    page_of_phys(was & PTE_FRAME)); // the oldest, which goes to make room, may be this one
	if (add(m->file, m->index, copy, address, other))
		*other = was;
	else
		page_wire_put(page_of_phys(was & PTE_FRAME));
}

void file_map_move(uint64_t *entry, uintptr_t to, uint64_t *other)
{
	struct file_map *m = map_of(entry);

	unlink_map(m);
	*other = *entry;
	*entry = 0;
	uspace_flush(m->u, m->address);
	m->address = to;
	m->entry = other;
	link_map(m);
}

// The entry as it shall be; false: the page is not (any more) such that it may be.
static int install(struct uspace *u, const struct uspace_region *r, uintptr_t address,
		   uint64_t *entry, uint64_t flags)
{
	struct uspace_backing *b = r->backing;
	uint64_t index = r->offset + ((address - r->start) >> PAGE_SHIFT);
	struct page *page = b->ops->peek(b, index);
	bool there = entry_names_page(*entry) && page_of_phys(*entry & PTE_FRAME) == page;

	if (!page)
		return -EAGAIN;
	if (flags & PTE_WRITE && !(page->state == PAGE_DIRTY && page->owner == b->file &&
				   page->wire == page_maps_of(page)))
		return -EAGAIN;
	if (!there) {
		page_wire_get(page);
		if (entry_names_page(*entry))
			page_wire_put(file_map_take(entry));
		if (!add(b->file, index, u, address, entry)) {
			page_wire_put(page);
			return -ENOMEM;
		}
	}
	if (page->owner)
		page->flags |= PAGE_MAPPED;
	*entry = page_phys(page) | flags | PTE_FILE;
	uspace_flush(u, address);
	return 0;
}

// Others may want the page on the wire again and again; then the program tries again, and may be ended meanwhile.
#define TRIES 16

int file_map_fault(struct uspace *u, const struct uspace_region *r, uintptr_t address,
		   uint64_t *entry, uint64_t flags)
{
	struct uspace_backing *b = r->backing;
	uint64_t index = r->offset + ((address - r->start) >> PAGE_SHIFT);
	int error;

	for (unsigned n = 0; n < TRIES; n++) {
		struct page *page = NULL;

		if (n || flags & PTE_WRITE) {
			error = flags & PTE_WRITE ? b->ops->touch(b, index)
						  : b->ops->page(b, index, &page);
			if (error)
				return error;
		}
		wtd_disable();
		error =
		    b->ops->size_pages(b) > index ? install(u, r, address, entry, flags) : -ERANGE;
		wtd_enable();
		if (page)
			page_wire_put(page);
		if (error != -EAGAIN)
			return error;
	}
	return 0;
}
