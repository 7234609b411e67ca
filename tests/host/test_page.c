// SPDX-License-Identifier: BSD-2-Clause
// Wire counts, one by one and in runs, against a model: which pages are pinned, who is told of a page's last
// reference and when, and that giving back what nobody has is a panic.
// SOURCES: kernel/page.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernel/page.h"
#include "shim.h"

#define PAGES 64

static struct page first[PAGES];
static uint32_t wires[PAGES];
static unsigned told, told_user;

static void released(struct page *page)
{
	assert_int_equal(page->wire, 0);
	assert_true(page->flags & PAGE_DETACHED);
	told++;
}

static void user_released(struct page *page)
{
	assert_int_equal(page->wire, 0);
	assert_true(page->flags & PAGE_USER);
	told_user++;
}

static void counts_are_right_after_every_step(void **state)
{
	uint64_t high = page_pinned_high();

	for (unsigned n = 0; n < 200000; n++) {
		unsigned at = (unsigned)shim_random_below(PAGES), count = 1, gone[2] = {0, 0};
		bool run = shim_random_below(2), get = shim_random_below(2);

		if (run)
			count = 1 + (unsigned)shim_random_below(MIN(20, PAGES - at));
		for (unsigned i = at; !get && i < at + count; i++)
			if (!wires[i])
				count = i - at; // what can be given back
		if (!count)
			continue;
		for (unsigned i = at; i < at + count; i++) {
			if (shim_random_below(4) == 0)
				first[i].flags =
				    (uint16_t[]){0, PAGE_CACHE, PAGE_CACHE | PAGE_DETACHED,
						 PAGE_USER}[shim_random_below(4)];
			wires[i] += get ? 1U : -1U;
			if (!get && !wires[i]) {
				gone[0] += first[i].flags & PAGE_DETACHED ? 1 : 0;
				gone[1] += first[i].flags & PAGE_USER ? 1 : 0;
			}
		}
		told = told_user = 0;
		if (run)
			(get ? page_wire_get_run : page_wire_put_run)(first + at, count);
		else
			(get ? page_wire_get : page_wire_put)(first + at);
		assert_int_equal(told, gone[0]);
		assert_int_equal(told_user, gone[1]);
		uint64_t pinned = 0;
		for (unsigned i = 0; i < PAGES; i++) {
			assert_int_equal(first[i].wire, wires[i]);
			pinned += wires[i] != 0;
		}
		assert_int_equal(page_pinned(), pinned);
		high = MAX(high, pinned);
		assert_int_equal(page_pinned_high(), high);
	}
	for (unsigned i = 0; i < PAGES; i++)
		for (; wires[i]; wires[i]--)
			page_wire_put(first + i);
}

static void put(void *page)
{
	page_wire_put(page);
}

static void put_run(void *page)
{
	page_wire_put_run(page, 3);
}

static void giving_back_what_nobody_has_panics(void **state)
{
	assert_true(shim_panics(put, first));
	first[0].wire = 0;
	page_wire_get_run(first, 2);
	assert_true(shim_panics(put_run, first)); // the third
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(counts_are_right_after_every_step),
	    cmocka_unit_test(giving_back_what_nobody_has_panics),
	};
	page_set_release_hook(released);
	page_set_user_release_hook(user_released);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
