// SPDX-License-Identifier: BSD-2-Clause
// How far the page cache reads ahead of whom: how windows grow, what ends them, how many streams share memory. All
// counts are exact or bounds; every test ends with nothing wired and every frame back.
// SOURCES: tests/host/fakefs*.c fs/pagecache*.c fs/meta.c fs/inode.c fs/name.c
// SOURCES: fs/name_cache.c fs/volume.c fs/zeros.c fs/journal_map.c kernel/rwlock.c kernel/copy.c kernel/string.c
#include "cachebed.h"

#define FRAMES	  32768
#define LARGEST	  96 // pages: the window that 1/256 of that gives, in whole commands
#define PAGES(mb) ((uint64_t)(mb) << (20 - PAGE_SHIFT))

static int start(size_t frames)
{
	volume = fake_start(frames);
	cache.ahead_pages = cache.ahead_used = cache.ahead_lost = cache.underway = 0;
	return 0;
}

static int setup_small(void **state)
{
	return start(4096);
}

static int setup_large(void **state)
{
	return start(FRAMES);
}

static struct inode *file_of_pages(uint64_t count)
{
	return open_file(fake_file(FAKE_ROOT, "f", count * PAGE_SIZE));
}

// A reader that stands at page `at` and knows, or does not, where it will stop.
struct reader {
	struct inode *inode;
	uint64_t at, until, waited;
};

// Asks for the next page, and lets the disk do what it has been told.
static void step(struct reader *r)
{
	struct page *page = pagecache_probe(r->inode, r->at);
	if (!page) {
		struct asked a = {
		    .get = {.inode = r->inode, .index = r->at, .until = r->until, .done = told}};
		pagecache_get(&a.get);
		shim_run();
		assert_int_equal(a.told, 1);
		assert_int_equal(a.get.status, 0);
		page = a.get.page;
		r->waited++;
	}
	assert_true(fake_page_right(r->inode->number, r->at, page_phys(page)));
	page_wire_put(page);
	r->at++;
	shim_run();
}

static void steps(struct reader *r, uint64_t count)
{
	while (count--)
		step(r);
}

// Pages from r->at on that are in the cache, without a gap.
static uint64_t ahead_of(const struct reader *r)
{
	struct page_owner *owner = inode_page_owner(r->inode);
	uint64_t n = 0;
	while (cache_find(owner, r->at + n))
		n++;
	return n;
}

// What was read ahead was used, is waiting, or was lost.
static void check_figures(void)
{
	assert_int_equal(cache.ahead_pages,
			 cache.ahead_used + cache.ahead_lost + cache.ahead_unread);
}

static void a_window_doubles_until_it_is_the_largest(void **state)
{
	struct reader r = {.inode = file_of_pages(PAGES(64))};
	uint64_t most = 0, before = 3, grown = 0;
	step(&r);
	assert_int_equal(ahead_of(&r), before); // 16 KB
	while (r.at < 16 * LARGEST) {
		step(&r);
		uint64_t now = ahead_of(&r);
		if (now > before) {
			assert_true(now <= 3 * before + 4);
			grown++;
		}
		assert_true(now >= 1 && now <= 2 * LARGEST);
		if (r.at > 8 * LARGEST)
			assert_true(now >= LARGEST - 1);
		most = MAX(most, now);
		before = now;
	}
	assert_int_equal(r.waited, 1);
	assert_int_equal(most, 2 * LARGEST - 1);
	assert_true(grown < 8 + 16 + 2); // a window is read in one go, not page by page
	assert_int_equal(cache.underway, 0);
	check_figures();
	inode_put(r.inode);
}

static void a_known_length_is_read_ahead_of_at_once(void **state)
{
	struct reader r = {.inode = file_of_pages(PAGES(64)), .until = PAGES(64)};
	step(&r);
	assert_int_equal(ahead_of(&r), LARGEST / 2 - 1);
	while (r.at < r.until) {
		step(&r);
		if (r.at >= READ_PAGES + 1 && r.at + LARGEST < r.until)
			assert_in_range(ahead_of(&r), LARGEST / 4, 2 * LARGEST);
	}
	assert_int_equal(r.waited, 1);
	assert_int_equal(fake_counts.sectors, PAGES(64) * 8);
	assert_in_range(fake_counts.requests, PAGES(64) / READ_PAGES,
			PAGES(64) / READ_PAGES * 5 / 4);
	check_figures();
	assert_int_equal(cache.ahead_lost + cache.ahead_unread, 0);
	inode_put(r.inode);
}

// From one page to as many as go into the first windows, wherever it lies: read together, and no page more.
static void a_range_is_read_and_no_page_more(void **state)
{
	static const uint64_t lengths[] = {1, 2, 3, 31, 32, 33, 40, LARGEST / 2};
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++)
		for (uint64_t first = 0; first < 4000; first += 3999) {
			struct reader r = {.inode = file_of_pages(PAGES(64)),
					   .at = first,
					   .until = first + lengths[i]};
			uint64_t sectors = fake_counts.sectors;
			steps(&r, lengths[i]);
			assert_int_equal(fake_counts.sectors - sectors, lengths[i] * 8);
			assert_int_equal(r.waited, 1);
			inode_put(r.inode);
		}
	check_figures();
}

// A range longer than a window is a stream; beyond its end lies no more than what a stream has ahead.
static void a_long_range_ends_soon_behind_its_end(void **state)
{
	struct reader r = {
	    .inode = file_of_pages(PAGES(64)), .at = 3000, .until = 3000 + 10 * LARGEST};
	steps(&r, 10 * LARGEST);
	assert_int_equal(r.waited, 1);
	assert_true(ahead_of(&r) <= 2 * LARGEST);
	inode_put(r.inode);
}

// Ranges in sequence, as a player asks for them: the second tells that there will be a third.
static void ranges_in_sequence_are_a_stream(void **state)
{
	struct reader r = {.inode = file_of_pages(PAGES(64)), .at = 5000};
	for (unsigned range = 0; range < 50; range++) {
		r.until = r.at + 20;
		steps(&r, 20);
	}
	assert_int_equal(r.waited, 2);
	inode_put(r.inode);
}

static void reading_at_random_reads_nothing_ahead(void **state)
{
	struct reader r = {.inode = file_of_pages(1 << 18)};
	for (uint64_t n = 0; n < 3000; n++) {
		r.at = 2 + 2 * shim_random_below((1 << 17) - 1); // even: no two are neighbours
		r.until = n % 2 ? 0 : r.at + 1;
		step(&r);
	}
	assert_int_equal(fake_counts.sectors, r.waited * 8);
	assert_int_equal(cache.ahead_pages, 0);
	inode_put(r.inode);
}

static void streams_of_one_file_do_not_disturb_each_other(void **state)
{
	struct inode *inode = file_of_pages(PAGES(64));
	struct reader r[3] = {
	    {.inode = inode}, {.inode = inode, .at = 5000}, {.inode = inode, .at = 9000}};
	for (unsigned n = 0; n < 3000; n++)
		step(&r[shim_random_below(3)]);
	assert_true(r[0].waited <= 1 && r[1].waited <= 2 && r[2].waited <= 2);
	uint64_t read = fake_counts.sectors / 8;
	assert_true(read <= 3000 + 3 * 2 * LARGEST);
	assert_int_equal(cache.ahead_lost, 0);
	check_figures();
	inode_put(inode);
}

static void who_stops_has_cost_two_windows_at_most(void **state)
{
	for (uint64_t length = 1; length < 4 * LARGEST; length += 37) {
		struct reader r = {.inode = file_of_pages(PAGES(64))};
		uint64_t sectors = fake_counts.sectors;
		steps(&r, length);
		shim_advance(NS_PER_SEC);
		uint64_t beyond = (fake_counts.sectors - sectors) / 8 - length;
		assert_true(beyond <= 2 * LARGEST && beyond <= 2 * length + 4);
		inode_put(r.inode);
	}
	check_figures();
}

static void pages_that_are_there_do_not_end_a_window(void **state)
{
	struct reader r = {.inode = file_of_pages(PAGES(64))}, other = r;
	for (other.at = 70; other.at < 6000; other.at += 100)
		step(&other), other.at--;
	assert_int_equal(cache.ahead_pages, 0);
	steps(&r, 6000);
	assert_int_equal(r.waited, 1);
	uint64_t read = fake_counts.sectors / 8;
	assert_in_range(read, 6000, 6000 + 2 * LARGEST); // none of them twice
	inode_put(r.inode);
}

static void a_hole_is_passed_over(void **state)
{
	uint64_t number = fake_file(FAKE_ROOT, "f", PAGES(64) << PAGE_SHIFT);
	fake_layout(number, 400, true, true); // every third run of 400 blocks
	struct reader r = {.inode = open_file(number), .until = PAGES(64)};
	steps(&r, 8000);
	assert_true(r.waited <= 1 + 2 * (8000 / 1200 + 1));
	inode_put(r.inode);
}

// A hundred streams in a memory for which one would have 16 pages ahead: what is ahead of all together stays an eighth
// of it, nothing is pushed out unread, and who goes on alone gets the large window back. In each round each takes a
// step, in random order: whom chance left behind for long would lose pages.
static void streams_share_what_may_be_read_ahead(void **state)
{
	struct reader r[100], *order[ARRAY_SIZE(r)];
	uint64_t most = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++) {
		r[i] = (struct reader){.inode = file_of_pages(PAGES(8)), .until = PAGES(8)};
		order[i] = &r[i];
	}
	for (unsigned round = 0; round < 600; round++)
		for (unsigned i = 0; i < ARRAY_SIZE(r); i++) {
			uint64_t other = i + shim_random_below(ARRAY_SIZE(r) - i);
			struct reader *next = order[other];
			order[other] = order[i];
			order[i] = next;
			step(next);
			most = MAX(most, cache.ahead_unread);
		}
	// Each may have a first window although the share is used up.
	assert_in_range(most, 4096 / 16, 4096 / 8 + ARRAY_SIZE(r) * 8);
	assert_int_equal(cache.ahead_lost, 0);
	check_figures();
	pagecache_drop();
	assert_int_equal(cache.ahead_unread, 0);
	check_figures();
	steps(&r[7], 100);
	assert_in_range(ahead_of(&r[7]), 8, 32);
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++)
		inode_put(r[i].inode);
}

// Programs took most of the memory.
static void less_memory_makes_smaller_windows(void **state)
{
	struct reader r = {.inode = file_of_pages(PAGES(64)), .until = PAGES(64)};
	static void *taken[FRAMES];
	unsigned n = 0;
	steps(&r, 1000);
	assert_in_range(ahead_of(&r), LARGEST / 2, 2 * LARGEST);
	while (n < FRAMES / 8 * 7)
		assert_non_null(taken[n++] = kpages_alloc(PAGE_SIZE));
	steps(&r, 1000);
	assert_in_range(ahead_of(&r), 4, LARGEST / 4 + 4);
	while (n)
		kpages_free(taken[--n], PAGE_SIZE);
	steps(&r, 1000);
	assert_in_range(ahead_of(&r), LARGEST / 2, 2 * LARGEST);
	inode_put(r.inode);
}

int main(void)
{
#define TEST_SMALL(name) cmocka_unit_test_setup_teardown(name, setup_small, teardown)
#define TEST_LARGE(name) cmocka_unit_test_setup_teardown(name, setup_large, teardown)
	const struct CMUnitTest tests[] = {
	    TEST_LARGE(a_window_doubles_until_it_is_the_largest),
	    TEST_LARGE(a_known_length_is_read_ahead_of_at_once),
	    TEST_LARGE(a_range_is_read_and_no_page_more),
	    TEST_LARGE(a_long_range_ends_soon_behind_its_end),
	    TEST_LARGE(ranges_in_sequence_are_a_stream),
	    TEST_LARGE(reading_at_random_reads_nothing_ahead),
	    TEST_LARGE(streams_of_one_file_do_not_disturb_each_other),
	    TEST_LARGE(who_stops_has_cost_two_windows_at_most),
	    TEST_LARGE(pages_that_are_there_do_not_end_a_window),
	    TEST_LARGE(a_hole_is_passed_over),
	    TEST_SMALL(streams_share_what_may_be_read_ahead),
	    TEST_LARGE(less_memory_makes_smaller_windows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
