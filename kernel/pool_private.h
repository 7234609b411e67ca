// SPDX-License-Identifier: BSD-2-Clause
// What a pool's two files share: pool.c hands out and takes back, pool_trim.c gives whole pages back.
#pragma once

#include "kernel/page.h"
#include "kernel/pool.h"
#include "kernel/vmm.h"

#define POOL_SEAL 0xf4eedf4eedf4eedfUL

struct free_object {
	struct free_object *next;
	uintptr_t seal; // POOL_SEAL ^ address
};

static inline uintptr_t pool_seal(const struct free_object *o)
{
	return POOL_SEAL ^ (uintptr_t)o;
}

// The first frame of the run of pages that an object lies in. Blocks of the pmm's are aligned to their size.
static inline struct page *pool_run_of(const struct pool *pool, const void *object)
{
	return page_of_phys(ALIGN_DOWN(virt_to_phys(object), PAGE_SIZE << pool->order));
}

NORETURN void pool_written_panic(const struct pool *pool, const void *o);

// A pool took pages: somebody is to look soon whether it still needs them. Any context but interrupt, no lock held.
void pool_trim_grown(void);
// The pool's lock is held and its free list is empty: gives it some of the objects that a pass has set aside, if any.
void pool_trim_lend(struct pool *pool);
