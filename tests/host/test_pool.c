// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: kernel/pool.c kernel/pool_trim.c
// Pools and the pages they give back: what goes and what stays, what is handed out while a pass is under way, what is
// found out about objects that somebody wrote to; and all of it against a model that knows every object.
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/pool_private.h"
#include "kernel/vmm.h"
#include "shim.h"

#define FRAMES	8192
#define MANY	2000
#define SETTLED (300 * NS_PER_SEC) // longer than any pool is passed over

struct object {
	uint64_t words[14];
};
static struct pool pool = POOL_INIT("object", struct object, MANY);
static struct object *out[MANY];

static int setup(void **state)
{
	shim_init(FRAMES);
	pool_trim_start();
	return 0;
}

// What pools still have goes, so that the shim can count.
static int teardown(void **state)
{
	for (struct pool *p = pool_first(); p; p = p->next)
		for (size_t f = 0; f < pages_count; f++)
			if (pages[f].run.pool == p)
				pmm_free(&pages[f], p->order);
	shim_finish();
	return 0;
}

static uint64_t given(void)
{
	return kstat_get("pagewire_pool_frames_given_back_total", NULL);
}

static uint64_t passes(void)
{
	return kstat_get("pagewire_pool_passes_total", NULL);
}

static void take(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		out[i] = pool_alloc(&pool);
		assert_non_null(out[i]);
	}
}

static void give(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		pool_free(&pool, out[i]);
}

static void settle(void)
{
	assert_int_equal(pool.used, 0);
	shim_advance(SETTLED);
	assert_true(pool.total <= 12 * pool.per_run);
}

static void what_nobody_needs_goes_back(void **state)
{
	size_t free = shim_frames_free();
	uint64_t before = given();

	take(0, MANY);
	size_t taken = free - shim_frames_free();
	assert_int_equal(taken, pool.total / pool.per_run);
	shim_advance(SETTLED);
	assert_int_equal(free - shim_frames_free(), taken);
	give(0, MANY);
	shim_advance(20 * NS_PER_SEC);
	assert_in_range(free - shim_frames_free(), 1, 4);
	assert_int_equal(given() - before, taken - (free - shim_frames_free()));
	assert_int_equal(pool.total, (free - shim_frames_free()) * pool.per_run);
	assert_int_equal(pool_high(&pool), MANY);
	take(0, MANY); // and is taken again
	give(0, MANY);
	settle();
}

static void a_steady_load_takes_and_gives_no_pages(void **state)
{
	take(0, 1000);
	give(0, 1000);
	uint64_t before = given(), looked = passes();
	uint32_t total = pool.total;
	for (unsigned n = 0; n < 1000; n++) {
		take(0, 1000);
		give(0, 1000);
		shim_advance(100 * NS_PER_MS);
		assert_int_equal(pool.total, total);
	}
	assert_int_equal(given(), before);
	assert_int_equal(passes(), looked);
	settle();
	assert_true(given() > before);
}

static void what_was_reserved_stays(void **state)
{
	static struct pool reserved = POOL_INIT("reserved", struct object, MANY);
	struct object *some[MANY];

	assert_true(pool_reserve(&reserved, 1000));
	for (unsigned i = 0; i < MANY; i++)
		some[i] = pool_alloc(&reserved);
	for (unsigned i = 0; i < MANY; i++)
		pool_free(&reserved, some[i]);
	shim_advance(SETTLED);
	assert_in_range(reserved.total, 1000, 1500);
	shim_frames_fail_after(0);
	for (unsigned i = 0; i < 1000; i++) {
		some[i] = pool_alloc(&reserved);
		assert_non_null(some[i]);
	}
	shim_frames_fail_off();
	for (unsigned i = 0; i < 1000; i++)
		pool_free(&reserved, some[i]);
}

static void where_an_object_stays_in_each_page_nothing_goes_and_few_look(void **state)
{
	struct object *first[MANY];
	unsigned kept = 0;

	take(0, MANY);
	uint32_t total = pool.total;
	uint64_t before = passes();
	for (unsigned i = 0; i < MANY; i++) {
		unsigned n = 0;
		while (n < kept && pool_run_of(&pool, first[n]) != pool_run_of(&pool, out[i]))
			n++;
		if (n == kept)
			first[kept++] = out[i];
		else
			pool_free(&pool, out[i]);
	}
	assert_int_equal(kept, total / pool.per_run);
	shim_advance(SETTLED);
	assert_int_equal(pool.total, total);
	assert_in_range(passes() - before, 1, 10);
	while (kept)
		pool_free(&pool, first[--kept]);
	shim_advance(SETTLED);
	settle();
}

static bool is_full(const bool *full, const struct object *o)
{
	return full[pool_run_of(&pool, o) - pages];
}

// Half of the pages have an object or two free, the others all but one.
static void after_a_pass_the_fullest_pages_come_first(void **state)
{
	bool *full = calloc(pages_count, sizeof(*full));
	uint8_t *left = calloc(pages_count, 1);
	unsigned free_in_full = 0, kept = 0, turn = 0;

	take(0, MANY);
	for (unsigned i = 0; i < MANY; i++) {
		size_t frame = (size_t)(pool_run_of(&pool, out[i]) - pages);
		if (!left[frame]++)
			full[frame] = turn++ & 1;
		if (full[frame] ? left[frame] > 4 : left[frame] == 1) {
			out[kept++] = out[i];
			continue;
		}
		free_in_full += full[frame];
		pool_free(&pool, out[i]);
	}
	shim_advance(SETTLED);
	unsigned more = free_in_full;
	take(kept, kept + more);
	for (unsigned i = kept; i < kept + more; i++)
		assert_true(is_full(full, out[i]));
	uint32_t total = pool.total;
	unsigned stay = 0;
	for (unsigned i = 0; i < kept + more; i++)
		if (is_full(full, out[i]))
			out[stay++] = out[i];
		else
			pool_free(&pool, out[i]);
	shim_advance(2 * SETTLED);
	assert_true(pool.total < total * 3 / 4); // the empty half is gone
	give(0, stay);
	settle();
	free(full);
	free(left);
}

// At every moment of a pass all that is free can be had.
static void without_memory_a_pass_holds_nothing_back(void **state)
{
	for (unsigned pieces = 0; pieces < 60; pieces++) {
		take(0, MANY);
		give(0, MANY);
		uint64_t before = passes();
		while (passes() == before)
			shim_advance(NS_PER_MS);
		shim_advance(pieces * NS_PER_MS);
		uint32_t total = pool.total;
		shim_frames_fail_after(0);
		take(0, MIN(total, MANY));
		assert_true(total >= MANY || !pool_alloc(&pool));
		shim_frames_fail_off();
		give(0, MIN(total, MANY));
		settle();
	}
}

static void pass_over(void *arg)
{
	shim_advance(SETTLED);
}

static void free_to_the_wrong_pool(void *object)
{
	static struct pool other = POOL_INIT("other", struct object, 1);
	void *one = pool_alloc(&other);

	pool_free(&other, object);
	pool_free(&other, one);
}

// ---- the model ---------------------------------------------------------------------------------------

#define KINDS 5
#define MOST  3000
static struct pool kinds[KINDS] = {
#define KIND(text, bytes, max)                                                                     \
	{                                                                                          \
		.name = (text), .object_bytes = (bytes), .align = 8, .maximum = (max),             \
		.raw = true, .lock = SPINLOCK_INIT(text, RANK_POOL)                                \
	}
    KIND("16", 16, MOST),     KIND("112", 112, MOST),  KIND("560", 560, MOST),
    KIND("2048", 2048, 1000), KIND("6000", 6000, 500),
};
static uint64_t *model[KINDS][MOST]; // all that is out
static unsigned known[KINDS];

static uint64_t mark(const uint64_t *object, size_t word)
{
	return (uintptr_t)object * 0x9e3779b97f4a7c15 + word;
}

static void model_take(unsigned k)
{
	struct pool *p = &kinds[k];
	uint64_t *o = pool_alloc(p);

	assert_int_equal(!o, known[k] == p->maximum);
	if (!o)
		return;
	for (size_t w = 0; w < p->object_bytes / 8; w++)
		o[w] = mark(o, w);
	model[k][known[k]++] = o;
}

static void model_give(unsigned k)
{
	struct pool *p = &kinds[k];
	unsigned at;
	uint64_t *o;

	if (!known[k])
		return;
	at = (unsigned)shim_random_below(known[k]);
	o = model[k][at];
	for (size_t w = 0; w < p->object_bytes / 8; w++)
		assert_int_equal(o[w], mark(o, w));
	model[k][at] = model[k][--known[k]];
	pool_free(p, o);
}

static void model_check(size_t frames)
{
	size_t expected = 0;

	for (struct pool *p = pool_first(); p; p = p->next)
		if (p->per_run) {
			assert_int_equal(p->total % p->per_run, 0);
			expected += (size_t)(p->total / p->per_run) << p->order;
		}
	for (unsigned k = 0; k < KINDS; k++)
		assert_int_equal(kinds[k].used, known[k]);
	assert_int_equal(frames - shim_frames_free(), expected);
}

static void random_use_against_a_model(void **state)
{
	uint64_t before = given();
	size_t others = 0;

	for (struct pool *p = pool_first(); p; p = p->next)
		others += (size_t)(p->total / p->per_run) << p->order;
	size_t frames = shim_frames_free() + others;
	pool_set_junk(true);
	for (unsigned phase = 0; phase < 60; phase++) {
		unsigned k = (unsigned)shim_random_below(KINDS);
		unsigned chance = (unsigned)shim_random_below(101); // of taking
		unsigned steps = (unsigned)shim_random_below(4000);
		uint64_t idle = shim_random_below(50 * NS_PER_MS);
		for (unsigned n = 0; n < steps; n++) {
			unsigned which =
			    shim_random_below(8) ? k : (unsigned)shim_random_below(KINDS);
			if (shim_random_below(100) < chance)
				model_take(which);
			else
				model_give(which);
			if (!shim_random_below(20))
				shim_advance(shim_random_below(idle + 1));
		}
		model_check(frames);
	}
	for (unsigned k = 0; k < KINDS; k++)
		while (known[k])
			model_give(k);
	shim_advance(2 * SETTLED);
	model_check(frames);
	for (unsigned k = 0; k < KINDS; k++)
		assert_true(kinds[k].total <= 12 * kinds[k].per_run);
	assert_true(given() > before);
	pool_set_junk(false);
}

static void frees_to_the_wrong_pool_are_panics(void **state)
{
	struct object *o = pool_alloc(&pool);

	pool_set_junk(true);
	assert_true(shim_panics(free_to_the_wrong_pool, o));
	pool_set_junk(false);
	assert_non_null(strstr(shim_panic_text(), "none of its objects"));
	pool_free(&pool, o);
	for (struct pool *p = pool_first(); p; p = p->next)
		if (p->used) // what the panic left behind
			p->used--;
}

// The last: the pool's pass never ends.
static void a_pass_finds_what_was_written_to(void **state)
{
	take(0, MANY);
	give(0, MANY);
	uint64_t was = out[0]->words[1];
	out[0]->words[1] = 1;
	assert_true(shim_panics(pass_over, NULL));
	assert_non_null(strstr(shim_panic_text(), "was written to"));
	out[0]->words[1] = was;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_nobody_needs_goes_back),
	    cmocka_unit_test(a_steady_load_takes_and_gives_no_pages),
	    cmocka_unit_test(what_was_reserved_stays),
	    cmocka_unit_test(where_an_object_stays_in_each_page_nothing_goes_and_few_look),
	    cmocka_unit_test(after_a_pass_the_fullest_pages_come_first),
	    cmocka_unit_test(without_memory_a_pass_holds_nothing_back),
	    cmocka_unit_test(random_use_against_a_model),
	    cmocka_unit_test(frees_to_the_wrong_pool_are_panics),
	    cmocka_unit_test(a_pass_finds_what_was_written_to),
	};
	return cmocka_run_group_tests_name("pool", tests, setup, teardown);
}
