// SPDX-License-Identifier: BSD-2-Clause
// Reading through the page cache over a make-believe disk: misses, waiters, holes, read-ahead, errors.
// Every test ends with nothing wired and every frame back.
// SOURCES: tests/host/fakefs*.c fs/pagecache*.c fs/meta.c fs/inode.c fs/name.c
// SOURCES: fs/name_cache.c fs/volume.c fs/zeros.c fs/journal_map.c kernel/rwlock.c kernel/copy.c kernel/string.c
#include "cachebed.h"

static void a_miss_is_read_and_then_hit(void **state)
{
	struct inode *inode = open_file(fake_file(FAKE_ROOT, "f", 100000));
	struct asked a;
	assert_null(pagecache_probe(inode, 3));
	ask(&a, inode, 3);
	assert_int_equal(a.told, 0);
	shim_run();
	assert_int_equal(a.told, 1);
	assert_int_equal(a.get.status, 0);
	assert_true(fake_page_right(inode->number, 3, page_phys(a.get.page)));
	assert_int_equal(a.get.page->wire, 1);
	struct page *again = pagecache_probe(inode, 3);
	assert_ptr_equal(again, a.get.page);
	assert_int_equal(again->wire, 2);
	page_wire_put(again);
	page_wire_put(again);
	assert_int_equal(page_pinned(), 0);
	ask(&a, inode, 25);
	shim_run();
	assert_int_equal(a.get.status, -ERANGE);
	inode_put(inode);
}

static void two_who_ask_share_one_read(void **state)
{
	struct inode *inode = open_file(fake_file(FAKE_ROOT, "f", 1 << 20));
	struct asked a, b, c;
	ask(&a, inode, 100);
	ask(&b, inode, 100);
	ask(&c, inode, 100);
	assert_true(pagecache_cancel(&b.get));
	shim_run();
	assert_int_equal(a.told + c.told, 2);
	assert_int_equal(b.told, 0);
	assert_ptr_equal(a.get.page, c.get.page);
	assert_int_equal(a.get.page->wire, 2);
	assert_int_equal(fake_counts.requests, 1);
	page_wire_put(a.get.page);
	page_wire_put(c.get.page);
	inode_put(inode);
}

static void cancelled_when_told_gives_the_page_back(void **state)
{
	struct inode *inode = open_file(fake_file(FAKE_ROOT, "f", 1 << 20));
	struct asked a;
	ask(&a, inode, 5);
	shim_run();
	page_wire_put(a.get.page);
	ask(&a, inode, 5);
	assert_int_equal(page_pinned(), 1);
	assert_true(pagecache_cancel(&a.get));
	assert_int_equal(page_pinned(), 0);
	assert_true(pagecache_cancel(&a.get));
	shim_run();
	assert_int_equal(a.told, 0);
	inode_put(inode);
}

static void small_blocks_anywhere_make_one_page(void **state)
{
	uint64_t number = fake_file(FAKE_ROOT, "f", 300001);
	fake_layout(number, 3, true, false);
	struct inode *inode = open_file(number);
	for (uint64_t i = 0; i < 74; i++) {
		struct page *page;
		assert_int_equal(pagecache_get_wait(inode, i, &page), 0);
		assert_true(fake_page_right(number, i, page_phys(page)));
		page_wire_put(page);
	}
	shim_run();
	inode_put(inode);
}

static void bytes_past_the_end_are_zero(void **state)
{
	static const uint64_t sizes[] = {1, 511, 512, 4095, 4096, 4097, 8192 + 1500};
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t number = fake_file(FAKE_ROOT, "f", sizes[i]);
		struct inode *inode = open_file(number);
		struct page *page;
		uint64_t last = (sizes[i] - 1) / PAGE_SIZE;
		assert_int_equal(pagecache_get_wait(inode, last, &page), 0);
		assert_true(fake_page_right(number, last, page_phys(page)));
		page_wire_put(page);
		shim_run();
		inode_put(inode);
	}
}

static void a_sparse_file_takes_no_memory(void **state)
{
	uint64_t number = fake_file(FAKE_ROOT, "sparse", 5UL << 30), maps;
	fake_layout(number, 1 << 19, true, true); // blocks 2 GB to 4 GB are a hole
	struct inode *inode = open_file(number);
	struct page *page, *zero = NULL;
	uint64_t first = 2UL << 30 >> PAGE_SHIFT;
	assert_int_equal(pagecache_get_wait(inode, first, &zero), 0);
	maps = fake_counts.maps;
	for (uint64_t i = first; i < first + 10000; i++) {
		page = pagecache_probe(inode, i);
		assert_ptr_equal(page, zero);
		page_wire_put(page);
	}
	assert_int_equal(fake_counts.maps, maps);
	assert_true(fake_page_right(number, first, page_phys(zero)));
	assert_int_equal(in_cache(inode), 0);
	assert_int_equal(fake_counts.requests, 0);
	page_wire_put(zero);
	inode_put(inode);
}

static void reading_in_sequence_stays_ahead(void **state)
{
	uint64_t number = fake_file(FAKE_ROOT, "f", 4 << 20), waited = 0;
	struct inode *inode = open_file(number);
	for (uint64_t i = 0; i < 1024; i++) {
		struct page *page = pagecache_probe(inode, i);
		if (!page) {
			waited++;
			assert_int_equal(pagecache_get_wait(inode, i, &page), 0);
		}
		assert_true(fake_page_right(number, i, page_phys(page)));
		page_wire_put(page);
		shim_run();
	}
	print_message("waited %lu times in 1024 pages, %lu requests\n", (unsigned long)waited,
		      (unsigned long)fake_counts.requests);
	assert_in_range(waited, 1, 2);
	assert_in_range(fake_counts.requests, 16, 80); // mostly 128 KB each
	assert_true(cache.ahead_used >= 1000);
	inode_put(inode);
}

static void two_streams_of_one_file_both_stay_ahead(void **state)
{
	uint64_t number = fake_file(FAKE_ROOT, "f", 4 << 20), waited = 0;
	struct inode *inode = open_file(number);
	for (uint64_t i = 0; i < 200; i++)
		for (uint64_t at = i; at <= i + 512; at += 512) {
			struct page *page = pagecache_probe(inode, at);
			if (!page) {
				waited++;
				assert_int_equal(pagecache_get_wait(inode, at, &page), 0);
			}
			page_wire_put(page);
			shim_run();
		}
	assert_in_range(waited, 2, 6);
	inode_put(inode);
}

static void random_reading_reads_no_more_than_asked(void **state)
{
	uint64_t number = fake_file(FAKE_ROOT, "f", 1UL << 30);
	struct inode *inode = open_file(number);
	for (uint64_t i = 0; i < 100; i++) {
		struct page *page;
		uint64_t at = 1000 + i * 1237;
		assert_int_equal(pagecache_get_wait(inode, at, &page), 0);
		page_wire_put(page);
		shim_run();
	}
	assert_int_equal(fake_counts.sectors, 800);
	inode_put(inode);
}

static void pages_read_together_lie_together(void **state)
{
	struct inode *inode = open_file(fake_file(FAKE_ROOT, "f", 16 * PAGE_SIZE));
	struct page *first, *page;
	assert_int_equal(pagecache_get_wait(inode, 0, &first), 0);
	for (uint64_t i = 1; i < 16; i++) {
		page = pagecache_probe(inode, i);
		assert_ptr_equal(page, first + i);
		page_wire_put(page);
	}
	assert_int_equal(fake_counts.requests, 1);
	page_wire_put(first);
	inode_put(inode);
}

static void one_bad_sector_costs_one_page(void **state)
{
	uint64_t number = fake_file(FAKE_ROOT, "f", 16 * PAGE_SIZE);
	fake_bad_block(number, 7, true, false);
	struct inode *inode = open_file(number);
	struct asked a[16];
	for (uint64_t i = 0; i < 16; i++)
		ask(&a[i], inode, i);
	shim_run();
	for (uint64_t i = 0; i < 16; i++) {
		assert_int_equal(a[i].told, 1);
		assert_int_equal(a[i].get.status, i == 7 ? -EIO : 0);
		if (i != 7)
			page_wire_put(a[i].get.page);
	}
	assert_null(pagecache_probe(inode, 7));
	fake_bad_block(number, 7, false, false);
	ask(&a[7], inode, 7);
	shim_run();
	assert_int_equal(a[7].get.status, 0);
	page_wire_put(a[7].get.page);
	inode_put(inode);
}

// Frames behind each other hold pages behind each other, each wired; a run ends where either does not go on.
static void a_run_ends_where_file_or_frames_do(void **state)
{
	struct inode *inode = open_file(fake_file(FAKE_ROOT, "f", 64 * PAGE_SIZE));
	struct inode *other = open_file(fake_file(FAKE_ROOT, "g", 64 * PAGE_SIZE));
	uint64_t runs = 0, at = 0;
	struct asked a;

	for (uint64_t i = 0; i < 64; i++) {
		ask(&a, inode, i);
		shim_run();
		page_wire_put(a.get.page);
		if (i % 10 == 3) { // a stranger takes a frame in between
			ask(&a, other, i);
			shim_run();
			page_wire_put(a.get.page);
		}
	}
	pagecache_detach(inode, 21);
	for (; at < 64; runs++) {
		struct page *page = pagecache_probe(inode, at);
		if (!page) {
			assert_int_equal(at++, 21);
			continue;
		}
		unsigned most = (unsigned)(1 + at % 17);
		unsigned got = pagecache_follow(inode, page, at, most);
		assert_true(got <= most);
		for (unsigned i = 0; i <= got; i++) {
			assert_int_equal(page[i].wire, 1);
			assert_true(fake_page_right(inode->number, at + i, page_phys(page + i)));
		}
		assert_int_equal(page_pinned(), got + 1);
		struct page *next =
		    got < most && at + got + 1 < 64 ? pagecache_probe(inode, at + got + 1) : NULL;
		assert_true(!next || next != page + got + 1);
		if (next)
			page_wire_put(next);
		assert_int_equal(pagecache_follow(inode, page, at + 1, 5), 0); // not that page
		page_wire_put_run(page, got + 1);
		at += got + 1;
	}
	assert_in_range(runs, 5, 40);
	inode_put(inode);
	inode_put(other);
}

static void a_corrupt_map_costs_one_page(void **state)
{
	uint64_t number = fake_file(FAKE_ROOT, "f", 16 * PAGE_SIZE);
	fake_bad_block(number, 7, false, true);
	struct inode *inode = open_file(number);
	struct asked a[16];
	for (uint64_t i = 0; i < 16; i++)
		ask(&a[i], inode, i);
	shim_run();
	for (uint64_t i = 0; i < 16; i++) {
		assert_int_equal(a[i].get.status, i == 7 ? -EUCLEAN : 0);
		if (i != 7)
			page_wire_put(a[i].get.page);
	}
	inode_put(inode);
}

int main(void)
{
#define TEST(name)	 cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_SMALL(name) cmocka_unit_test_setup_teardown(name, setup_small_blocks, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_miss_is_read_and_then_hit),
	    TEST(two_who_ask_share_one_read),
	    TEST(cancelled_when_told_gives_the_page_back),
	    TEST_SMALL(small_blocks_anywhere_make_one_page),
	    TEST(bytes_past_the_end_are_zero),
	    TEST_SMALL(bytes_past_the_end_are_zero),
	    TEST(a_sparse_file_takes_no_memory),
	    TEST(reading_in_sequence_stays_ahead),
	    TEST(two_streams_of_one_file_both_stay_ahead),
	    TEST(random_reading_reads_no_more_than_asked),
	    TEST(pages_read_together_lie_together),
	    TEST(a_run_ends_where_file_or_frames_do),
	    TEST(one_bad_sector_costs_one_page),
	    TEST(a_corrupt_map_costs_one_page),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
