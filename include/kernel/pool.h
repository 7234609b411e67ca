// SPDX-License-Identifier: BSD-2-Clause
// Fixed-size pools: the way to allocate a kernel object whose size is known. A pool grows by pages
// up to its maximum and counts what it does; reaching the maximum is an ordinary state (null).
// Pages that a pool has had no use for during a second or more go back (kernel/pool_trim.c).
// Freed twice, or written to after that in its second word, is a panic; in test modes freed objects
// are filled with junk. Memory is physically contiguous within an object and DMA-able.
#pragma once

#include "kernel/base.h"
#include "kernel/lock.h"

#define POOL_JUNK 0x5a

struct pool {
	const char *name;
	size_t object_bytes;  // rounded up to align
	size_t align;	      // power of two, at most PAGE_SIZE
	uint32_t maximum;     // objects; derive it in a comment as a sum of its users
	bool raw;	      // pool_alloc does not zero: whoever allocates writes every field
	struct spinlock lock; // or WTDs disabled, which on one processor is the same
	void *free;	      // (lock) list through the objects' first word
	uint32_t total, used,
	    peak; // (lock) objects there are, handed out, most handed out since `high` was set
	uint64_t failed;   // (lock) refused at the maximum or for lack of memory
	struct pool *next; // all pools, for metrics and MEMORY
	uint32_t high;	   // (lock) most ever handed out, but for `peak`
	uint32_t reserved; // (lock) pool_reserve's: total stays above it
	uint32_t per_run;  // objects in a run of 2^order pages; set when it first grows
	uint8_t order;
	uint8_t skip,
	    patience;  // (lock) looks to pass over, and how many it was the last time: pool_trim.c
	uint32_t give; // (lock) runs of pages to give back
};

#define POOL_INIT(pool_name, type, max_objects)                                                    \
	{                                                                                          \
		.name = (pool_name), .object_bytes = sizeof(type), .align = _Alignof(type),        \
		.maximum = (max_objects), .lock = SPINLOCK_INIT(pool_name, RANK_POOL)              \
	}

#define POOL_INIT_RAW(pool_name, type, max_objects)                                                \
	{                                                                                          \
		.name = (pool_name), .object_bytes = sizeof(type), .align = _Alignof(type),        \
		.maximum = (max_objects), .raw = true, .lock = SPINLOCK_INIT(pool_name, RANK_POOL) \
	}

// Any context but interrupt. Zeroed object (unless the pool is raw) or null. Growing takes pages
// from the pmm (and from the cache under pressure, when the caller holds no lock that the cache may
// need).
void *pool_alloc(struct pool *pool) MUST_CHECK;
void pool_free(struct pool *pool, void *object);
// Makes sure `objects` exist now, so that later allocations up to that many cannot fail. Boot.
bool pool_reserve(struct pool *pool, uint32_t objects) MUST_CHECK;
// Walks every pool that was ever used, for metrics. Any context.
struct pool *pool_first(void);
// The most objects that were ever handed out. Any context.
static inline uint32_t pool_high(const struct pool *pool)
{
	return MAX(pool->high, pool->peak);
}
// Page frames that all pools have, and how many they have given back so far. Any context.
uint64_t pool_frames(void);
uint64_t pool_frames_given(void);
// Boot, once, after wtd_init_cpu: from now on pools give back pages.
void pool_trim_start(void);

// Whether freed objects are filled with junk, from end to end: selftest, nic=late. Boot, or a test.
void pool_set_junk(bool on);

// Makes the next allocations fail, for tests: the k-th from now (0: the next) and all after it
// until pool_fail_off. Returns nothing; counts how many were refused in pool->failed.
void pool_fail_after(uint32_t k);
void pool_fail_named(const char *name, uint32_t k); // the same for the pools of that name only
void pool_fail_off(void);
