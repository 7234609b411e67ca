// SPDX-License-Identifier: BSD-2-Clause
// The page cache over a make-believe disk. Every test ends with nothing wired and every frame back.
// SOURCES: tests/host/fakefs.c fs/pagecache.c fs/pagecache_frame.c fs/pagecache_get.c fs/pagecache_read.c fs/pagecache_plan.c fs/pagecache_ahead.c fs/pagecache_stats.c fs/meta.c fs/inode.c fs/name.c fs/name_cache.c fs/volume.c fs/journal_map.c kernel/string.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fakefs.h"
#include "fs/pagecache_private.h"
#include "kernel/kstat.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/thread.h"
#include "kernel/vmm.h"
#include "shim.h"

static struct volume *volume;

static int setup(void **state)
{
	volume = fake_start(4096);
	return 0;
}

static int setup_small_blocks(void **state)
{
	fake_rules.block_bytes = 1024;
	return setup(state);
}

static int teardown(void **state)
{
	return fake_stop();
}

static struct inode *open_file(uint64_t number)
{
	struct inode *inode;
	assert_int_equal(inode_open(volume, number, &inode), 0);
	return inode;
}

struct asked {
	struct page_get get;
	unsigned told;
	bool in_get; // done must not be called from inside pagecache_get
};

static void told(struct page_get *get)
{
	struct asked *a = CONTAINER_OF(get, struct asked, get);
	assert_false(a->in_get);
	a->told++;
}

static void ask(struct asked *a, struct inode *inode, uint64_t index)
{
	*a = (struct asked){.get = {.inode = inode, .index = index, .done = told}};
	a->in_get = true;
	pagecache_get(&a->get);
	a->in_get = false;
}

static uint64_t in_cache(struct inode *inode)
{
	return inode_page_owner(inode)->pages;
}

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

static void every_page_on_the_wire_is_no_memory(void **state)
{
	struct inode *inode = open_file(fake_file(FAKE_ROOT, "f", 1UL << 30));
	struct page **held = calloc(4096, sizeof(*held)), *page;
	unsigned n = 0;
	int error;
	while (!(error = pagecache_get_wait(inode, n * 3, &page)))
		held[n++] = page;
	assert_int_equal(error, -ENOMEM);
	assert_in_range(n, 4096 / 2, 4096);
	assert_true(kstat_get("pagewire_cache_no_page_total", NULL) > 0);
	// Metadata can still be read, and an old page is still what it was.
	const void *data;
	assert_int_equal(meta_get(volume, 77, &data, &page), 0);
	page_wire_put(page);
	assert_true(fake_page_right(inode->number, 0, page_phys(held[0])));
	while (n)
		page_wire_put(held[--n]);
	assert_int_equal(pagecache_get_wait(inode, 9999, &page), 0);
	page_wire_put(page);
	free(held);
	inode_put(inode);
}

static void the_least_recently_used_page_goes_first(void **state)
{
	struct inode *inode = open_file(fake_file(FAKE_ROOT, "f", 1UL << 30));
	struct page *page;
	for (uint64_t i = 0; i < 6000; i++) {
		assert_int_equal(pagecache_get_wait(inode, i * 3, &page), 0);
		page_wire_put(page);
		shim_advance(2 * NS_PER_MS);
		page = pagecache_probe(inode, 0); // kept young
		assert_non_null(page);
		page_wire_put(page);
	}
	assert_null(pagecache_probe(inode, 6));
	assert_null(pagecache_probe(inode, 1500));
	page = pagecache_probe(inode, 17997);
	assert_non_null(page);
	page_wire_put(page);
	assert_true(cache.evictions >= 6000 - 4096);
	assert_true(kstat_get("pagewire_cache_lru_sitting_seconds", NULL) >= 5);
	struct pmm_stats stats;
	pmm_stats(&stats);
	assert_true(stats.frames_free + cache.spare_pages + 16 >= stats.reserve);
	inode_put(inode);
}

static void memory_goes_back_under_pressure(void **state)
{
	struct inode *inode = open_file(fake_file(FAKE_ROOT, "f", 1UL << 30));
	struct page *page;
	void *taken[3000];
	for (uint64_t i = 0; i < 5000; i++) {
		assert_int_equal(pagecache_get_wait(inode, i * 3, &page), 0);
		page_wire_put(page);
	}
	for (unsigned i = 0; i < 3000; i++) {
		taken[i] = kpages_alloc(PAGE_SIZE);
		assert_non_null(taken[i]);
	}
	assert_true(in_cache(inode) < 1200);
	for (unsigned i = 0; i < 3000; i++)
		kpages_free(taken[i], PAGE_SIZE);
	inode_put(inode);
}

static void a_detached_page_lives_until_it_is_off_the_wire(void **state)
{
	struct inode *inode = open_file(fake_file(FAKE_ROOT, "f", 1 << 20));
	struct page *old, *fresh, *found;
	size_t frames;
	assert_int_equal(pagecache_get_wait(inode, 100, &old), 0);
	fresh = pagecache_replace(inode, 100);
	assert_non_null(fresh);
	assert_ptr_not_equal(fresh, old);
	assert_true(fake_page_right(inode->number, 100, page_phys(old)));
	found = pagecache_probe(inode, 100);
	assert_ptr_equal(found, fresh);
	page_wire_put(found);
	frames = shim_frames_free();
	page_wire_put(old);
	assert_int_equal(shim_frames_free(), frames + 1);
	pagecache_drop();
	found = pagecache_probe(inode, 100); // dirty: not dropped
	assert_ptr_equal(found, fresh);
	page_wire_put(found);
	page_wire_put(fresh);
	pagecache_drop();
	assert_int_equal(in_cache(inode), 1);
	assert_true(pagecache_clean(fresh));
	pagecache_drop();
	assert_int_equal(in_cache(inode), 0);
	inode_put(inode);
}

static void a_page_detached_while_it_is_read_reaches_who_waits(void **state)
{
	struct inode *inode = open_file(fake_file(FAKE_ROOT, "f", 1 << 20));
	struct asked a;
	struct page *fresh;
	ask(&a, inode, 100);
	pagecache_detach(inode, 100);
	fresh = pagecache_replace(inode, 100);
	shim_run();
	assert_int_equal(a.get.status, 0);
	assert_ptr_not_equal(a.get.page, fresh);
	assert_true(fake_page_right(inode->number, 100, page_phys(a.get.page)));
	page_wire_put(a.get.page);
	assert_true(pagecache_clean(fresh));
	page_wire_put(fresh);
	inode_put(inode);
}

static void when_reads_run_out_gets_wait_their_turn(void **state)
{
	struct inode *inode = open_file(fake_file(FAKE_ROOT, "f", 1UL << 30));
	struct asked *a = calloc(8, sizeof(*a));
	ask(&a[0], inode, 0);
	pool_fail_after(0);
	for (unsigned i = 1; i < 8; i++)
		ask(&a[i], inode, i * 1000);
	pool_fail_off();
	assert_true(pagecache_cancel(&a[3].get));
	assert_true(pagecache_cancel(&a[7].get));
	shim_run();
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(a[i].told, i != 3 && i != 7);
		if (a[i].told) {
			assert_int_equal(a[i].get.status, 0);
			page_wire_put(a[i].get.page);
		}
	}
	pool_fail_after(0);
	ask(&a[0], inode, 77777);
	shim_run();
	assert_int_equal(a[0].get.status, -ENOMEM);
	pool_fail_off();
	free(a);
	inode_put(inode);
}

static void file_pages_are_hidden_and_metadata_is_not(void **state)
{
	shim_set_unmapped(true);
	uint64_t number = fake_file(FAKE_ROOT, "f", 300001);
	fake_layout(number, 3, true, false);
	struct inode *inode = open_file(number);
	struct page *page, *meta;
	const void *data;
	assert_int_equal(pagecache_get_wait(inode, 2, &page), 0);
	assert_true(page->flags & PAGE_HIDDEN);
	assert_true(fake_page_right(number, 2, page_phys(page)));
	assert_int_equal(meta_get(volume, 9, &data, &meta), 0);
	assert_false(meta->flags & PAGE_HIDDEN);
	assert_int_equal(*(const uint64_t *)data, 18 * 0x9e3779b97f4a7c15UL);
	assert_false(meta_verified(meta, data));
	meta_set_verified(meta, data);
	assert_true(meta_verified(meta, data));
	assert_false(meta_verified(meta, (const char *)data + 1024));
	page_wire_put(meta);
	page_wire_put(page);
	shim_run();
	inode_put(inode);
	pagecache_drop();
}

static void replaced_metadata_comes_from_elsewhere(void **state)
{
	static const uint8_t magic[4] = {0xc0, 0x3b, 0x39, 0x98};
	struct page *page;
	const void *data;
	assert_int_equal(meta_replace(volume, 50, 60, false), 0);
	assert_int_equal(meta_replace(volume, 51, 61, true), 0);
	assert_int_equal(meta_get(volume, 50, &data, &page), 0);
	assert_int_equal(*(const uint64_t *)data, 120 * 0x9e3779b97f4a7c15UL);
	page_wire_put(page);
	assert_int_equal(meta_get(volume, 51, &data, &page), 0);
	assert_memory_equal(data, magic, 4);
	assert_int_equal(((const uint64_t *)data)[1], 122 * 0x9e3779b97f4a7c15UL + 1);
	page_wire_put(page);
	assert_int_equal(meta_get(volume, volume->blocks, &data, &page), -ERANGE);
}

static void inodes_leave_memory_when_nobody_holds_them(void **state)
{
	struct inode *inode;
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t number = fake_file(FAKE_ROOT, "f", 1000);
		inode = open_file(number);
		assert_int_equal(inode->number, number);
		inode_put(inode);
	}
	assert_true(fake_counts.forgotten >= 3000 - 1024 - 2);
	assert_true(kstat_get("pagewire_inodes", NULL) <= 1026);
}

static struct inode *opened[4];
static struct spinlock opened_lock = SPINLOCK_INIT("test", RANK_HTTP);
static unsigned open_failures;
static uint64_t to_open;
static void opener(void *arg)
{
	if (inode_open(volume, to_open, arg))
		open_failures++;
	spin_lock_wtd(&opened_lock);
	spin_unlock_wtd(&opened_lock);
}

static void openers_at_once_share_one_read(void **state)
{
	fake_rules.format_sleeps = true;
	uint64_t reads = fake_counts.inode_reads;
	to_open = fake_file(FAKE_ROOT, "f", 1000);
	open_failures = 0;
	for (unsigned i = 0; i < 4; i++)
		assert_non_null(thread_create("opener", THREAD_NORMAL, opener, &opened[i]));
	shim_advance(NS_PER_MS);
	assert_int_equal(open_failures, 0);
	assert_int_equal(fake_counts.inode_reads, reads + 1);
	for (unsigned i = 0; i < 4; i++) {
		assert_ptr_equal(opened[i], opened[0]);
		inode_put(opened[i]);
	}
	to_open = fake_file(FAKE_ROOT, "bad", 1000);
	fake_set_error(to_open, -EUCLEAN);
	for (unsigned i = 0; i < 4; i++)
		assert_non_null(thread_create("opener", THREAD_NORMAL, opener, &opened[i]));
	shim_advance(NS_PER_MS);
	assert_int_equal(open_failures, 4);
	assert_int_equal(fake_counts.inode_reads, reads + 2);
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
	    TEST(one_bad_sector_costs_one_page),
	    TEST(a_corrupt_map_costs_one_page),
	    TEST(every_page_on_the_wire_is_no_memory),
	    TEST(the_least_recently_used_page_goes_first),
	    TEST(memory_goes_back_under_pressure),
	    TEST(a_detached_page_lives_until_it_is_off_the_wire),
	    TEST(a_page_detached_while_it_is_read_reaches_who_waits),
	    TEST(when_reads_run_out_gets_wait_their_turn),
	    TEST_SMALL(file_pages_are_hidden_and_metadata_is_not),
	    TEST_SMALL(replaced_metadata_comes_from_elsewhere),
	    TEST(inodes_leave_memory_when_nobody_holds_them),
	    TEST(openers_at_once_share_one_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
