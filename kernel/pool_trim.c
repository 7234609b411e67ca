// SPDX-License-Identifier: BSD-2-Clause
// Pools give pages back that they have no use for (include/kernel/pool.h).
//
// Handing out and taking back an object costs nothing for it: nobody counts what is free in a page. Instead, somebody
// looks once a second at the most that each pool had handed out since the last look (`peak`). What a pool has beyond
// that, and an eighth, and a few pages, is too much; when it is clearly too much, a pass over its free objects
// finds out which pages are free from end to end:
//
//	free list --set aside--> aside --COUNT--> counted --SORT--> back to the pmm: wholly free ones that are too many
//	 ^ ^                    |                 (by run)    '---> by how full --JOIN--.
//	 | '---pool_trim_lend---'                                                       | the fullest
//	 '------------------------------------------------------------------------------' in front
//
// After a pass objects of the fullest pages are handed out first, so that the others become free. What the pass
// has set aside can be had all the same, whatever has become of it. A pool whose free objects lie scattered is
// passed over for a while.
//
// Pieces of some ten microseconds, a millisecond apart, by a fast WTD; each under the lock of the pool whose pass
// it is. With nothing to give the looks become rare; when no pool has pages that it could ever give, they end
// until one grows.
#include "kernel/kstat.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool_private.h"
#include "kernel/wtd.h"

#define LOOK_NS	       NS_PER_SEC
#define LOOK_LATEST_NS (8 * NS_PER_SEC)
#define PIECE_NS       NS_PER_MS
#define PIECE_OBJECTS  128 // counted at a time
#define PIECE_RUNS     16  // sorted or joined at a time
#define LENT_OBJECTS   64  // to who wants one while all are set aside
#define CLASSES	       8   // by how full a run is
#define PATIENCE_MAX   15  // looks

// Pages beyond what is needed: those that stay, and those that it takes for a pass to be worth it. Two runs
// at the least.
#define SPARE_PAGES 4
#define START_PAGES 8

enum stage { SET_ASIDE, COUNT, SORT, JOIN };

static void step(struct wtd *work);
static struct wtd work = WTD_INIT(step, "pool trim");
static bool started;	   // constant after boot
static uint64_t interval;  // (W) to the look that is armed; 0: none, or passes are under way
static struct pool *sweep; // (W) whose turn it is; null: no passes are under way

static struct {
	struct pool *pool; // null: there is none
	enum stage stage;
	uint32_t asked; // runs to give back, when it began
	struct free_object *aside;
	struct page *counted;	      // runs
	struct page *sorted[CLASSES]; // the fullest first
} pass;				      // (W) and the lock of `pool`

static uint64_t given, passes;
KSTAT_COUNTER(given, "pagewire_pool_frames_given_back_total",
	      "Page frames that pools gave back because they had no use for them.");
KSTAT_COUNTER(passes, "pagewire_pool_passes_total",
	      "Times a pool's free objects were sorted to find pages that are wholly free.");

uint64_t pool_frames(void)
{
	uint64_t frames = 0;

	for (const struct pool *pool = pool_first(); pool; pool = pool->next)
		frames += (uint64_t)(pool->total / pool->per_run) << pool->order;
	return frames;
}
KSTAT_GAUGE_FN(pool_frames, "pagewire_pool_frames", NULL, "Page frames that pools have now.",
	       pool_frames);

uint64_t pool_frames_given(void)
{
	return given;
}

// ---- how much ----------------------------------------------------------------------------------------

static uint32_t in_runs(const struct pool *pool, uint32_t pages)
{
	return MAX(pages >> pool->order, 2U);
}

// Runs that are to stay.
static uint32_t runs_kept(const struct pool *pool, uint32_t needed)
{
	uint32_t runs = (MAX(needed, pool->reserved) + pool->per_run - 1) / pool->per_run;

	return runs + runs / 8 + in_runs(pool, SPARE_PAGES);
}

static uint32_t runs_beyond(const struct pool *pool, uint32_t needed)
{
	uint32_t runs = pool->total / pool->per_run, kept = runs_kept(pool, needed);

	return runs > kept ? runs - kept : 0;
}

// Runs to give back; none if they are not many.
static uint32_t too_many(const struct pool *pool, uint32_t needed)
{
	uint32_t beyond = runs_beyond(pool, needed), kept = runs_kept(pool, needed);

	return beyond >= in_runs(pool, START_PAGES) + kept / 8 ? beyond : 0;
}

// ---- a pass ------------------------------------------------------------------------------------------

static struct page *pop(struct page **list)
{
	struct page *run = *list;

	*list = run->run.next;
	return run;
}

static void push(struct page **list, struct page *run)
{
	run->run.next = *list;
	*list = run;
}

// The run is on no list any more, its free objects are in front of `list`.
static void join(struct page *run, void **list)
{
	((struct free_object *)run->run.last)->next = *list;
	*list = run->run.first;
	run->run = (struct page_run){.pool = run->run.pool};
}

void pool_trim_lend(struct pool *pool)
{
	struct free_object *o;

	if (pass.pool != pool)
		return;
	for (unsigned n = 0; n < LENT_OBJECTS && (o = pass.aside); n++) {
		pass.aside = o->next;
		o->next = pool->free;
		pool->free = o;
	}
	for (unsigned class = 0; class < CLASSES && !pool->free; class ++)
		if (pass.sorted[class])
			join(pop(&pass.sorted[class]), &pool->free);
	if (!pool->free && pass.counted)
		join(pop(&pass.counted), &pool->free);
}

static void set_aside(struct pool *pool)
{
	pass.aside = pool->free;
	pool->free = NULL;
	pass.pool = pool;
	pass.asked = pool->give;
	passes++;
}

static bool count(struct pool *pool)
{
	struct free_object *o;

	for (unsigned n = 0; n < PIECE_OBJECTS && (o = pass.aside); n++) {
		struct page *page = pool_run_of(pool, o);
		struct page_run *run = &page->run;

		if (UNLIKELY(o->seal != pool_seal(o)))
			pool_written_panic(pool, o);
		ASSERT(run->pool == pool);
		pass.aside = o->next;
		o->next = run->first;
		run->first = o;
		if (run->free_count++)
			continue;
		run->last = o;
		push(&pass.counted, page);
	}
	return !pass.aside;
}

static void give_back(struct pool *pool, struct page *run)
{
	run->run = (struct page_run){.pool = NULL};
	pool->total -= pool->per_run;
	pool->give--;
	given += 1UL << pool->order;
	pmm_free(run, pool->order);
}

static bool sort(struct pool *pool)
{
	for (unsigned n = 0; n < PIECE_RUNS && pass.counted; n++) {
		struct page *run = pop(&pass.counted);
		uint32_t free = run->run.free_count;

		if (free == pool->per_run && pool->give && runs_beyond(pool, pool->peak))
			give_back(pool, run);
		else
			push(&pass.sorted[(free - 1) * CLASSES / pool->per_run], run);
	}
	return !pass.counted;
}

// The emptiest first, so that the fullest come to lie in front.
static bool join_all(struct pool *pool)
{
	unsigned class = CLASSES;

	for (unsigned n = 0; n < PIECE_RUNS; n++) {
		while (class && !pass.sorted[class - 1])
			class --;
		if (!class)
			return true;
		join(pop(&pass.sorted[class - 1]), &pool->free);
	}
	return false;
}

static void end(struct pool *pool)
{
	bool scattered = pool->give > pass.asked / 2;

	pool->patience = scattered ? (uint8_t)MIN(2 * pool->patience + 1, PATIENCE_MAX) : 0;
	pool->skip = pool->patience;
	pool->give = 0;
	pass.pool = NULL;
}

// A piece of the pool's pass. True: that was the last.
static bool go_on(struct pool *pool)
{
	bool over = false;

	spin_lock_wtd(&pool->lock);
	switch (pass.stage) {
	case SET_ASIDE:
		set_aside(pool);
		pass.stage = COUNT;
		break;
	case COUNT:
		if (count(pool))
			pass.stage = SORT;
		break;
	case SORT:
		if (sort(pool))
			pass.stage = JOIN;
		break;
	case JOIN:
		over = join_all(pool);
		if (!over)
			break;
		pass.stage = SET_ASIDE;
		end(pool);
	}
	spin_unlock_wtd(&pool->lock);
	return over;
}

// ---- when --------------------------------------------------------------------------------------------

// What one pool has too much of. True: it may have too much one day, without growing.
static bool look_at(struct pool *pool)
{
	spin_lock_wtd(&pool->lock);
	pool->give = too_many(pool, pool->peak);
	if (pool->give && pool->skip) {
		pool->skip--;
		pool->give = 0;
	}
	pool->high = pool_high(pool);
	pool->peak = pool->used;
	spin_unlock_wtd(&pool->lock);
	return too_many(pool, 0);
}

static void arm(uint64_t ns)
{
	interval = ns;
	if (ns)
		wtd_post_after(&work, WTD_FAST, ns);
}

// At all of them, and when to look again: not while there is something to give.
static void look(void)
{
	uint64_t next = MIN(2 * interval, (uint64_t)LOOK_LATEST_NS);
	bool give = false, later = false;

	for (struct pool *pool = pool_first(); pool; pool = pool->next) {
		later |= look_at(pool);
		give |= pool->give != 0;
	}
	arm(give || !later ? 0 : next);
}

static struct pool *next_to_give(struct pool *pool)
{
	while (pool && !pool->give)
		pool = pool->next;
	return pool;
}

static void step(struct wtd *w)
{
	if (!sweep) {
		look();
		sweep = next_to_give(pool_first());
	} else if (go_on(sweep)) {
		sweep = next_to_give(sweep->next);
		if (!sweep)
			arm(LOOK_NS);
	}
	if (sweep)
		wtd_post_after(&work, WTD_FAST, PIECE_NS);
}

void pool_trim_grown(void)
{
	if (!started || interval == LOOK_NS)
		return;
	wtd_disable();
	if (!sweep)
		arm(LOOK_NS);
	wtd_enable();
}

void pool_trim_start(void)
{
	started = true;
	arm(LOOK_NS);
}
