// SPDX-License-Identifier: BSD-2-Clause
// Anonymous memory that fork shares (MAP_SHARED | MAP_ANONYMOUS), and that of files in /dev/shm (shm.c): a backing
// whose pages are frames of its own, made when they are first touched and given back with the last mapping. Each
// mapping's entry counts on the frame like any other; the backing itself holds one count.
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/uspace_private.h"
#include "kernel/vmm.h"

#define CHUNK_PAGES (PAGE_SIZE / sizeof(struct page *))

struct shared {
	struct uspace_backing backing;
	struct mutex lock;
	uint64_t pages;	       // (lock)
	struct page ***chunks; // (lock) kpages; null where nothing was touched
	uint64_t chunk_count;  // (lock)
};

static struct pool shared_pool =
    POOL_INIT("shared memory", struct shared, 65536); // mappings of all programs

void backing_get(struct uspace_backing *backing)
{
	wtd_disable();
	backing->references++;
	wtd_enable();
}

void backing_put(struct uspace_backing *backing)
{
	bool last;

	wtd_disable();
	last = --backing->references == 0;
	wtd_enable();
	if (last)
		backing->ops->release(backing);
}

// What names the frames counts as the programs' memory, like page tables: somebody may touch one page here and there.
static void *table_alloc(uint64_t pages)
{
	return user_kpages_alloc_as(pages << PAGE_SHIFT, (uint32_t)pages);
}

static void table_free(void *table, uint64_t pages)
{
	user_kpages_free_as(table, pages << PAGE_SHIFT, (uint32_t)pages);
}

static uint64_t chunk_pages(uint64_t count)
{
	return ALIGN_UP(count * sizeof(struct page **), PAGE_SIZE) >> PAGE_SHIFT;
}

static struct page **slot_of(struct shared *s, uint64_t index)
{
	struct page ***chunk = &s->chunks[index / CHUNK_PAGES];

	if (!*chunk)
		*chunk = table_alloc(1);
	return *chunk ? &(*chunk)[index % CHUNK_PAGES] : NULL;
}

static int shared_page(struct uspace_backing *backing, uint64_t index, struct page **out)
{
	struct shared *s = CONTAINER_OF(backing, struct shared, backing);
	struct page **slot;
	int error = 0;

	mutex_lock(&s->lock);
	if (index >= s->pages) {
		mutex_unlock(&s->lock);
		return -ERANGE;
	}
	slot = slot_of(s, index);
	if (slot && !*slot)
		*slot = user_frame_alloc();
	if (!slot || !*slot) {
		error = -ENOMEM;
	} else {
		*out = *slot;
		page_wire_get(*out);
	}
	mutex_unlock(&s->lock);
	return error;
}

static void shared_release(struct uspace_backing *backing)
{
	struct shared *s = CONTAINER_OF(backing, struct shared, backing);

	for (uint64_t n = 0; n < s->chunk_count; n++) {
		if (!s->chunks[n])
			continue;
		for (uint64_t i = 0; i < CHUNK_PAGES; i++)
			if (s->chunks[n][i])
				user_frame_put(s->chunks[n][i]);
		table_free(s->chunks[n], 1);
	}
	if (s->chunk_count)
		table_free(s->chunks, chunk_pages(s->chunk_count));
	pool_free(&shared_pool, s);
}

static const struct uspace_backing_ops shared_ops = {.page = shared_page,
						     .release = shared_release};

bool uspace_is_shared_memory(const struct uspace_backing *backing)
{
	return backing->ops == &shared_ops;
}

// Could never be filled, and its chunks alone would fill memory.
static bool too_large(uint64_t bytes)
{
	struct pmm_stats stats;

	pmm_stats(&stats);
	return bytes >> PAGE_SHIFT > stats.frames_total;
}

// (lock)
static bool make_room(struct shared *s, uint64_t pages)
{
	uint64_t count = (pages + CHUNK_PAGES - 1) / CHUNK_PAGES;
	struct page ***chunks;

	if (count <= s->chunk_count)
		return true;
	chunks = table_alloc(chunk_pages(count));
	if (!chunks)
		return false;
	memcpy(chunks, s->chunks, s->chunk_count * sizeof(*chunks));
	if (s->chunk_count)
		table_free(s->chunks, chunk_pages(s->chunk_count));
	s->chunks = chunks;
	s->chunk_count = count;
	return true;
}

// (lock) Frames from `pages` on go, and what of the last page is beyond the end becomes zeros.
static void cut(struct shared *s, uint64_t pages, uint64_t bytes)
{
	struct page **slot;
	uint64_t last = bytes >> PAGE_SHIFT, in_page = bytes & (PAGE_SIZE - 1);

	for (uint64_t n = pages; n < s->pages; n++) {
		if (!s->chunks[n / CHUNK_PAGES]) {
			n |= CHUNK_PAGES - 1;
			continue;
		}
		slot = &s->chunks[n / CHUNK_PAGES][n % CHUNK_PAGES];
		if (*slot)
			user_frame_put(*slot);
		*slot = NULL;
	}
	slot =
	    in_page && last < s->pages && s->chunks[last / CHUNK_PAGES] ? slot_of(s, last) : NULL;
	if (slot && *slot)
		memset((char *)page_virt(*slot) + in_page, 0, PAGE_SIZE - in_page);
}

int uspace_shared_resize(struct uspace_backing *backing, uint64_t bytes)
{
	struct shared *s = CONTAINER_OF(backing, struct shared, backing);
	uint64_t pages = ALIGN_UP(bytes, PAGE_SIZE) >> PAGE_SHIFT;
	int error = 0;

	if (too_large(bytes))
		return -EFBIG;
	mutex_lock(&s->lock);
	if (!make_room(s, pages)) {
		error = -ENOSPC;
	} else {
		cut(s, pages, bytes);
		s->pages = pages;
	}
	mutex_unlock(&s->lock);
	return error;
}

struct uspace_backing *uspace_shared_new(uint64_t bytes)
{
	struct shared *s;

	if (too_large(bytes))
		return NULL;
	s = pool_alloc(&shared_pool);
	if (!s)
		return NULL;
	*s = (struct shared){.pages = bytes >> PAGE_SHIFT};
	if (!make_room(s, s->pages)) {
		pool_free(&shared_pool, s);
		return NULL;
	}
	s->backing = (struct uspace_backing){.ops = &shared_ops, .references = 1};
	s->lock = (struct mutex)MUTEX_INIT("shared memory");
	return &s->backing;
}
