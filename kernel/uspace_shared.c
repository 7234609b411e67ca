// SPDX-License-Identifier: BSD-2-Clause
// Anonymous memory that fork shares (MAP_SHARED | MAP_ANONYMOUS): a backing whose pages are frames of its own, made
// when they are first touched and given back with the last mapping. Each mapping's entry counts on the frame like any
// other; the backing itself holds one count.
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/uspace_private.h"

#define CHUNK_PAGES (PAGE_SIZE / sizeof(struct page *))

struct shared {
	struct uspace_backing backing;
	struct mutex lock;
	uint64_t pages;	       // constant
	struct page ***chunks; // (lock) kpages; null where nothing was touched
	uint64_t chunk_count;  // constant
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

static struct page **slot_of(struct shared *s, uint64_t index)
{
	struct page ***chunk = &s->chunks[index / CHUNK_PAGES];

	if (!*chunk)
		*chunk = kpages_alloc(PAGE_SIZE);
	return *chunk ? &(*chunk)[index % CHUNK_PAGES] : NULL;
}

static int shared_page(struct uspace_backing *backing, uint64_t index, struct page **out)
{
	struct shared *s = CONTAINER_OF(backing, struct shared, backing);
	struct page **slot;
	int error = 0;

	if (index >= s->pages)
		return -ERANGE;
	mutex_lock(&s->lock);
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
		kpages_free(s->chunks[n], PAGE_SIZE);
	}
	kpages_free(s->chunks, s->chunk_count * sizeof(*s->chunks));
	pool_free(&shared_pool, s);
}

static const struct uspace_backing_ops shared_ops = {.page = shared_page,
						     .release = shared_release};

struct uspace_backing *uspace_shared_new(uint64_t bytes)
{
	struct shared *s;
	struct pmm_stats stats;

	pmm_stats(&stats);
	if (bytes >> PAGE_SHIFT >
	    stats.frames_total) // could never be filled, and its chunks alone would fill memory
		return NULL;
	s = pool_alloc(&shared_pool);
	if (!s)
		return NULL;
	s->pages = bytes >> PAGE_SHIFT;
	s->chunk_count = (s->pages + CHUNK_PAGES - 1) / CHUNK_PAGES;
	s->chunks = kpages_alloc(s->chunk_count * sizeof(*s->chunks));
	if (!s->chunks) {
		pool_free(&shared_pool, s);
		return NULL;
	}
	s->backing = (struct uspace_backing){.ops = &shared_ops, .references = 1};
	s->lock = (struct mutex)MUTEX_INIT("shared memory");
	return &s->backing;
}
