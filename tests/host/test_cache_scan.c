// SPDX-License-Identifier: BSD-2-Clause
// What stays in the cache: pages that are asked for again stay when others pass by once, however many; a set that
// is used no more gives way to the next within a few rounds; and the lists are what they should be all the time.
// SOURCES: tests/host/fakefs*.c fs/pagecache*.c fs/meta.c fs/inode.c fs/name.c
// SOURCES: fs/name_cache.c fs/volume.c fs/zeros.c fs/journal_map.c kernel/rwlock.c kernel/copy.c kernel/string.c
#include "cachebed.h"

#include "kernel/timer.h"

#define FRAMES 4096

static struct inode *file_of_pages(uint64_t count)
{
	return open_file(fake_file(FAKE_ROOT, "f", count * PAGE_SIZE));
}

// Asks for a page, and lets some time go by. False: it had to be read.
static bool use(struct inode *inode, uint64_t index)
{
	struct page *page = pagecache_probe(inode, index);
	bool hit = page;
	if (!page)
		assert_int_equal(pagecache_get_wait(inode, index, &page), 0);
	page_wire_put(page);
	shim_advance(NS_PER_MS);
	return hit;
}

// Pages [first, first + count) in this order; returns how many had to be read.
static uint64_t use_all(struct inode *inode, uint64_t first, uint64_t count)
{
	uint64_t missed = 0;
	for (uint64_t i = first; i < first + count; i++)
		missed += !use(inode, i);
	return missed;
}

static uint64_t count_list(const struct page_list *list, unsigned flag)
{
	uint64_t n = 0;
	const struct page *before = NULL;
	for (const struct page *page = list->first; page; before = page, page = page->lru_next) {
		assert_ptr_equal(page->lru_prev, before);
		assert_int_equal(page->flags & PAGE_AGAIN, flag);
		assert_int_equal(page->state, PAGE_CLEAN);
		n++;
	}
	assert_ptr_equal(list->last, before);
	assert_int_equal(list->pages, n);
	return n;
}

static void check_lists(void)
{
	uint64_t once = count_list(&cache.once, 0);
	uint64_t again = count_list(&cache.again, PAGE_AGAIN);
	assert_int_equal(once + again + cache.reading, cache.pages);
}

static uint64_t present(struct inode *inode, uint64_t first, uint64_t count)
{
	uint64_t n = 0;
	for (uint64_t i = first; i < first + count; i++)
		n += cache_find(inode_page_owner(inode), i) != NULL;
	return n;
}

// Twice, so that it counts, with a while between.
static struct inode *hot_set(uint64_t count)
{
	struct inode *inode = file_of_pages(count);
	use_all(inode, 0, count);
	shim_advance(2 * NS_PER_SEC);
	assert_int_equal(use_all(inode, 0, count), 0);
	return inode;
}

static void pages_asked_for_again_stay_while_ten_caches_full_pass_by(void **state)
{
	struct inode *hot = hot_set(1500), *scan = file_of_pages(10 * FRAMES);
	assert_true(cache.again.pages >= 1500 - 1); // the first pages of a file may be younger
	use_all(scan, 0, 10 * FRAMES);
	assert_int_equal(present(hot, 0, 1500), 1500);
	assert_true(present(scan, 0, 10 * FRAMES) > FRAMES / 3);
	check_lists();
	use_all(scan, 0, 10 * FRAMES); // the same once more: it comes back too late to matter
	assert_int_equal(present(hot, 0, 1500), 1500);
	assert_int_equal(use_all(hot, 0, 1500), 0);
	inode_put(hot);
	inode_put(scan);
}

// Many who stream at once, some of whom read at random, or the same page in several pieces, one after the other.
static void many_scans_at_once_push_nothing_out(void **state)
{
	struct inode *hot = hot_set(1000), *scan[20];
	uint64_t at[ARRAY_SIZE(scan)] = {0};
	for (unsigned i = 0; i < ARRAY_SIZE(scan); i++)
		scan[i] = file_of_pages(1 << 20);
	for (unsigned n = 0; n < 10 * FRAMES; n++) {
		unsigned who = (unsigned)shim_random_below(ARRAY_SIZE(scan));
		uint64_t index = who < 15 ? at[who]++ : shim_random_below(1 << 20);
		use(scan[who], index);
		if (shim_random_below(2))
			use(scan[who], index);
	}
	assert_int_equal(present(hot, 0, 1000), 1000);
	check_lists();
	inode_put(hot);
	for (unsigned i = 0; i < ARRAY_SIZE(scan); i++)
		inode_put(scan[i]);
}

// The old set is half of the cache and is not asked for any more; the new one is larger, and used in turns, or at
// random. There is no room for both.
static void a_set_that_changes_is_replaced(bool at_random)
{
	const uint64_t size = FRAMES * 5 / 8;
	struct inode *old = hot_set(FRAMES / 2), *new = file_of_pages(size);
	uint64_t missed = 0;
	for (unsigned round = 0; round < 8; round++) {
		missed = 0;
		for (uint64_t i = 0; i < size; i++)
			missed += !use(new, at_random ? shim_random_below(size) : i);
		shim_advance(2 * NS_PER_SEC);
	}
	print_message("round 8: %lu of %lu missed, %lu of the old set left\n",
		      (unsigned long)missed, (unsigned long)size,
		      (unsigned long)present(old, 0, FRAMES / 2));
	assert_true(missed <= size / 50);
	check_lists();
	inode_put(old);
	inode_put(new);
}

static void a_new_set_in_turns_replaces_the_old_one(void **state)
{
	a_set_that_changes_is_replaced(false);
}

static void a_new_set_at_random_replaces_the_old_one(void **state)
{
	a_set_that_changes_is_replaced(true);
}

// A set larger than what pages asked for once have, in turns, in a cache in which nothing else was asked for again.
static void a_loop_that_fits_is_kept(void **state)
{
	struct inode *inode = file_of_pages(FRAMES * 3 / 4);
	use_all(inode, 0, FRAMES * 3 / 4);
	shim_advance(2 * NS_PER_SEC);
	for (unsigned round = 0; round < 3; round++)
		assert_int_equal(use_all(inode, 0, FRAMES * 3 / 4), 0);
	inode_put(inode);
}

static void pages_read_ahead_count_when_they_are_used(void **state)
{
	struct inode *inode = file_of_pages(64);
	use(inode, 0);
	shim_run();
	shim_advance(3 * NS_PER_SEC);
	uint64_t promoted = cache.promoted;
	use_all(inode, 1, 3); // read long ago, and used for the first time
	assert_int_equal(cache.promoted, promoted);
	use_all(inode, 1, 3); // again, but at once
	assert_int_equal(cache.promoted, promoted);
	shim_advance(3 * NS_PER_SEC);
	use_all(inode, 1, 3);
	assert_int_equal(cache.promoted, promoted + 3);
	inode_put(inode);
}

// What is on the wire stays, on either list, and the other one gives its pages.
static void a_list_on_the_wire_leaves_the_other_one(void **state)
{
	for (unsigned turn = 0; turn < 2; turn++) {
		struct inode *hot = hot_set(1000), *rest = file_of_pages(6000);
		struct page *held[1000];
		for (uint64_t i = 0; i < 1000; i++)
			assert_int_equal(
			    pagecache_get_wait(turn ? hot : rest, i * (turn ? 1 : 3), &held[i]), 0);
		use_all(rest, 0, 6000);
		for (uint64_t i = 0; i < 1000; i++) {
			assert_int_equal(held[i]->wire, 1);
			assert_ptr_equal(
			    cache_find(inode_page_owner(turn ? hot : rest), i * (turn ? 1 : 3)),
			    held[i]);
			page_wire_put(held[i]);
		}
		check_lists();
		inode_put(hot);
		inode_put(rest);
		pagecache_drop();
		assert_int_equal(cache.once.pages + cache.again.pages, 0);
	}
}

// The random model: requests after Zipf's law, beside them a scan, against an LRU of the same size that is told the
// same.
#define MODEL_PAGES 8192
#define SCANNED	    3 // pages that pass by for each request

static uint64_t last_used[MODEL_PAGES]; // when; 0: never

// In an LRU a page is still there when fewer others than it has room for were used since. Pages that pass by are all
// different.
static bool lru_use(uint64_t index, uint64_t now)
{
	uint64_t since = (now - last_used[index]) * SCANNED;
	bool hit = last_used[index];
	for (uint64_t i = 0; i < MODEL_PAGES; i++)
		since += last_used[i] > last_used[index];
	last_used[index] = now;
	return hit && since < FRAMES;
}

static uint64_t zipf(void)
{
	// Rank r is asked for about as 1 / r: a random power of a random number.
	uint64_t bits = shim_random_below(14), rank = shim_random_below(1UL << bits);
	return rank * 2654435761UL % MODEL_PAGES;
}

static void requests_after_zipf_beside_a_scan_hit_more_than_in_an_lru(void **state)
{
	struct inode *inode = file_of_pages(MODEL_PAGES), *scan = file_of_pages(1 << 20);
	uint64_t missed = 0, lru_missed = 0;
	memset(last_used, 0, sizeof(last_used));
	for (unsigned n = 1; n <= 16000; n++) {
		uint64_t index = zipf();
		missed += !use(inode, index);
		lru_missed += !lru_use(index, n);
		use_all(scan, n * SCANNED, SCANNED);
		if (n == 4000) // from here on: the first ones had to be read in any case
			missed = lru_missed = 0;
	}
	print_message("missed %lu of 12000, an LRU %lu\n", (unsigned long)missed,
		      (unsigned long)lru_missed);
	check_lists();
	assert_true(missed < lru_missed);
	inode_put(inode);
	inode_put(scan);
}

// Where the page is to be in the list `again` if those of `pages` in front of it came there after it, in this order.
static bool in_front(struct page *const *order, unsigned count)
{
	const struct page *at = cache.again.first;
	for (unsigned i = count; i--; at = at->lru_next)
		if (at != order[i])
			return false;
	return true;
}

// Runs and single pages, at any time: those of a run that are old enough to be asked for again come to the front in
// the order of the file, as they would one by one; and nothing else moves.
static void a_run_is_moved_as_its_pages_would_be(void **state)
{
	const uint64_t size = 512;
	struct inode *inode = file_of_pages(size);
	uint64_t runs = 0, moved = 0;
	use_all(inode, 0, size);
	for (unsigned n = 0; n < 4000; n++) {
		uint64_t index = shim_random_below(size), before, age = cache.touch_ns;
		struct page *page, *order[20];
		unsigned most = shim_random_below(2) ? 0 : (unsigned)shim_random_below(20), count;
		unsigned due = 0;
		if (!shim_random_below(50))
			shim_advance(shim_random_below(4 * NS_PER_SEC));
		page = pagecache_probe(inode, index);
		assert_non_null(page);
		before = cache.promoted;
		for (unsigned i = 1; i <= most && index + i < size; i++)
			if (clock_ns() - page[i].stamp_ns > age && page[i].index == index + i)
				order[due++] = page + i;
		bool whole = due && order[0] == page + 1;
		count = pagecache_follow(inode, page, index, most);
		if (count) {
			while (due && order[due - 1] > page + count)
				due--;
			whole |= due && order[due - 1] == page + count;
			runs++;
			if (whole) {
				moved += due;
				for (unsigned i = 0; i < due; i++)
					assert_int_equal(order[i]->stamp_ns, clock_ns());
				assert_true(in_front(order, due));
			} else {
				assert_int_equal(cache.promoted, before);
			}
		}
		page_wire_put_run(page, count + 1);
		if (n % 100 == 0)
			check_lists();
	}
	print_message("%lu runs, %lu pages moved\n", (unsigned long)runs, (unsigned long)moved);
	assert_true(runs > 1000 && moved > 1000);
	assert_int_equal(page_pinned(), 0);
	check_lists();
	inode_put(inode);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(pages_asked_for_again_stay_while_ten_caches_full_pass_by),
	    TEST(many_scans_at_once_push_nothing_out),
	    TEST(a_new_set_in_turns_replaces_the_old_one),
	    TEST(a_new_set_at_random_replaces_the_old_one),
	    TEST(a_loop_that_fits_is_kept),
	    TEST(pages_read_ahead_count_when_they_are_used),
	    TEST(a_list_on_the_wire_leaves_the_other_one),
	    TEST(a_run_is_moved_as_its_pages_would_be),
	    TEST(requests_after_zipf_beside_a_scan_hit_more_than_in_an_lru),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
