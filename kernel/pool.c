// SPDX-License-Identifier: BSD-2-Clause
// Fixed-size pools (include/kernel/pool.h). Objects are cut from runs of pages and kept on a list
// through their first word; the second word of a free object holds a seal made from its address,
// which is how a second free of the same object shows at the price of one compare.
//
// A pool is used with WTDs disabled, which on one processor is all the exclusion it needs; its lock
// is taken only on the way that grows it, refuses, or injects failures.
//
//	+--------+--------+-------------------+
//	| next   | seal   | junk ...          |   free
//	+--------+--------+-------------------+
//
// How pages go back is kernel/pool_trim.c's: nothing of it is done here for an object.
#include "kernel/pool.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool_private.h"
#include "kernel/trace.h"
#include "kernel/vmm.h"

static struct pool *pools;	// every pool ever grown; pushed atomically, never removed
static bool junk;		// set at boot or by a test
static bool fail_armed;		// test: pool_fail_after is in force
static uint32_t fail_countdown; // test: allocations that still succeed
static const char *fail_name;	// test: the only pool that fails; null: all
static struct spinlock fail_lock = SPINLOCK_INIT("pool-fail", RANK_POOL);

static size_t object_stride(const struct pool *pool)
{
	return ALIGN_UP(MAX(pool->object_bytes, sizeof(struct free_object)),
			MAX(pool->align, sizeof(void *)));
}

// Pages taken at a time: one for small objects; for those above an eighth of a page, whichever of
// up to eight wastes least; for larger ones the fewest that hold one.
static unsigned run_order(size_t stride)
{
	unsigned best = 0;
	size_t best_waste = SIZE_MAX;

	while (best < PMM_MAX_ORDER && PAGE_SIZE << best < stride)
		best++;
	if (stride <= PAGE_SIZE / 8 || best > 3)
		return best;
	for (unsigned order = best; order <= 3; order++) {
		size_t waste = ((PAGE_SIZE << order) % stride) << (3 - order);

		if (waste < best_waste) {
			best_waste = waste;
			best = order;
		}
	}
	return best;
}

// Under pressure the cache gives pages back; asking it takes its lock, so who holds that one or any
// inner lock gets only what is free.
static void *take_run(unsigned order)
{
	struct page *page = pmm_alloc(order);

	if (page)
		return page_virt(page);
	if (spin_rank_held() >= RANK_PAGECACHE)
		return NULL;
	return kpages_alloc(PAGE_SIZE << order);
}

static void register_pool(struct pool *pool)
{
	pool->next = __atomic_load_n(&pools, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&pools, &pool->next, pool, false, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		;
}

// Adds one run of pages. Called without the pool's lock: taking pages may call the cache.
static bool grow(struct pool *pool)
{
	size_t stride = object_stride(pool);
	unsigned order = run_order(stride);
	uint32_t count = (uint32_t)((PAGE_SIZE << order) / stride);
	struct free_object *free;
	struct page *head;
	char *run;
	bool first;

	ASSERT(pool->align <= PAGE_SIZE && (pool->align & (pool->align - 1)) == 0);
	run = take_run(order);
	if (!run)
		return false;
	head = page_of_phys(virt_to_phys(run));
	spin_lock_wtd(&pool->lock);
	first = pool->per_run == 0;
	pool->per_run = count;
	pool->order = (uint8_t)order;
	head->run = (struct page_run){.pool = pool};
	free = pool->free;
	for (char *at = run, *end = run + count * stride; at != end; at += stride) {
		struct free_object *o = (struct free_object *)at;

		o->next = free;
		o->seal = pool_seal(o);
		free = o;
	}
	pool->free = free;
	pool->total += count;
	spin_unlock_wtd(&pool->lock);
	if (first)
		register_pool(pool);
	pool_trim_grown();
	return true;
}

static bool injected_failure(const struct pool *pool)
{
	bool fail;

	if (LIKELY(!fail_armed))
		return false;
	if (fail_name && strcmp(fail_name, pool->name))
		return false;
	spin_lock_wtd(&fail_lock);
	fail = fail_armed && fail_countdown == 0;
	if (fail_armed && fail_countdown > 0)
		fail_countdown--;
	spin_unlock_wtd(&fail_lock);
	return fail;
}

NORETURN __attribute__((noinline)) void pool_written_panic(const struct pool *pool, const void *o)
{
	PANIC("pool %s: free object %p was written to", pool->name, o);
}

// With WTDs disabled, of a pool that may give: its first free object.
static inline struct free_object *take_first(struct pool *pool, struct free_object *o)
{
	uint32_t used = pool->used + 1;

	if (UNLIKELY(o->seal != pool_seal(o)))
		pool_written_panic(pool, o);
	pool->free = o->next;
	pool->used = used;
	if (used > pool->peak)
		pool->peak = used;
	return o;
}

// The first free object, or null: none, or as many handed out as allowed.
static struct free_object *take(struct pool *pool)
{
	struct free_object *o = NULL;

	spin_lock_wtd(&pool->lock);
	if (!pool->free)
		pool_trim_lend(pool);
	if (pool->used < pool->maximum && pool->free)
		o = take_first(pool, pool->free);
	spin_unlock_wtd(&pool->lock);
	return o;
}

static void *refuse(struct pool *pool)
{
	spin_lock_wtd(&pool->lock);
	pool->failed++;
	spin_unlock_wtd(&pool->lock);
	trace(TRACE_POOL_FULL, (uintptr_t)pool->name, pool->used, pool->maximum);
	return NULL;
}

static inline void *ready(const struct pool *pool, struct free_object *o)
{
	if (!pool->raw)
		return memset(o, 0, pool->object_bytes);
	o->seal = 0;
	return o;
}

// Entered with WTDs disabled once.
static __attribute__((noinline)) void *alloc_slowly(struct pool *pool)
{
	struct free_object *o;

	wtd_enable();
	if (injected_failure(pool))
		return refuse(pool);
	while (!(o = take(pool)))
		if (pool->used >= pool->maximum || !grow(pool))
			return refuse(pool);
	return ready(pool, o);
}

// What came due while a thread was in pool_alloc.
static __attribute__((noinline)) void *alloc_after_kick(struct pool *pool, struct free_object *o)
{
	wtd_disable();
	wtd_enable();
	return ready(pool, o);
}

// The common way makes no call it returns from: it is taken ten times a request.
void *pool_alloc(struct pool *pool)
{
	struct cpu *cpu = this_cpu();
	struct free_object *o;

	wtd_disable();
	o = pool->free;
	if (UNLIKELY(!o || pool->used >= pool->maximum || fail_armed || CPU_MAX > 1))
		return alloc_slowly(pool);
	take_first(pool, o);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	cpu->wtd_disabled--;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (UNLIKELY(cpu->kick))
		return alloc_after_kick(pool, o);
	return ready(pool, o);
}

static NORETURN __attribute__((noinline)) void free_panic(const struct pool *pool,
							  const void *object)
{
	const struct free_object *o = object;

	if (o->seal == pool_seal(o))
		PANIC("pool %s: object %p is freed twice", pool->name, object);
	PANIC("pool %s: %p is freed but nothing is out", pool->name, object);
}

// In words, rounded down: the two of the list and the seal are always there and written afterwards.
static __attribute__((noinline)) void fill_with_junk(struct free_object *o, size_t bytes)
{
	uint64_t *word = (uint64_t *)o;

	for (size_t n = 2; n < bytes / sizeof(*word); n++)
		word[n] = POOL_JUNK * 0x0101010101010101UL;
}

static inline void put_back(struct pool *pool, struct free_object *o)
{
	o->seal = pool_seal(o);
	o->next = pool->free;
	pool->free = o;
	pool->used--;
}

// Junk, or more than one processor.
static __attribute__((noinline)) void free_slowly(struct pool *pool, struct free_object *o)
{
	if (pool_run_of(pool, o)->run.pool != pool)
		PANIC("pool %s: %p is freed, which is none of its objects", pool->name, o);
	if (junk)
		fill_with_junk(o, pool->object_bytes);
	spin_lock_wtd(&pool->lock);
	put_back(pool, o);
	spin_unlock_wtd(&pool->lock);
}

void pool_free(struct pool *pool, void *object)
{
	struct free_object *o = object;

	if (UNLIKELY(o->seal == pool_seal(o) || pool->used == 0))
		free_panic(pool, object);
	if (UNLIKELY(junk || CPU_MAX > 1)) {
		free_slowly(pool, o);
		return;
	}
	wtd_disable();
	put_back(pool, o);
	wtd_enable();
}

bool pool_reserve(struct pool *pool, uint32_t objects)
{
	if (objects > pool->maximum)
		return false;
	pool->reserved = MAX(pool->reserved, objects);
	while (pool->total < objects)
		if (!grow(pool))
			return false;
	return true;
}

struct pool *pool_first(void)
{
	return __atomic_load_n(&pools, __ATOMIC_ACQUIRE);
}

void pool_set_junk(bool on)
{
	junk = on;
}

void pool_fail_named(const char *name, uint32_t k)
{
	spin_lock_wtd(&fail_lock);
	fail_name = name;
	fail_countdown = k;
	fail_armed = true;
	spin_unlock_wtd(&fail_lock);
}

void pool_fail_after(uint32_t k)
{
	pool_fail_named(NULL, k);
}

void pool_fail_off(void)
{
	spin_lock_wtd(&fail_lock);
	fail_armed = false;
	spin_unlock_wtd(&fail_lock);
}

static void write_figure(void (*emit)(void *ctx, const char *format, ...), void *ctx,
			 const char *name, const char *type, const char *help,
			 uint64_t (*figure)(const struct pool *pool))
{
	emit(ctx, "# HELP pagewire_pool_%s %s\n# TYPE pagewire_pool_%s %s\n", name, help, name,
	     type);
	for (const struct pool *p = pool_first(); p; p = p->next)
		emit(ctx, "pagewire_pool_%s{pool=\"%s\"} %lu\n", name, p->name,
		     (unsigned long)figure(p));
}

static uint64_t figure_total(const struct pool *pool)
{
	return pool->total;
}

static uint64_t figure_used(const struct pool *pool)
{
	return pool->used;
}

static uint64_t figure_high(const struct pool *pool)
{
	return pool_high(pool);
}

static uint64_t figure_maximum(const struct pool *pool)
{
	return pool->maximum;
}

static uint64_t figure_failed(const struct pool *pool)
{
	return pool->failed;
}

static void write_pools(void (*emit)(void *ctx, const char *format, ...), void *ctx)
{
	write_figure(emit, ctx, "objects", "gauge", "Objects made, handed out or not.",
		     figure_total);
	write_figure(emit, ctx, "used", "gauge", "Objects handed out now.", figure_used);
	write_figure(emit, ctx, "high", "gauge", "The most objects ever handed out.", figure_high);
	write_figure(emit, ctx, "maximum", "gauge", "Objects the pool may hand out.",
		     figure_maximum);
	write_figure(emit, ctx, "failed_total", "counter",
		     "Allocations refused: pool at its maximum or no memory.", figure_failed);
}
KSTAT_FAMILY(pools, write_pools);
