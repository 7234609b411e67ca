// SPDX-License-Identifier: BSD-2-Clause
// The page cache's memory, a page's life, metadata and inodes over a make-believe disk. Every test ends
// with nothing wired and every frame back.
// SOURCES: tests/host/fakefs*.c fs/pagecache*.c fs/meta.c fs/inode.c fs/name.c
// SOURCES: fs/name_cache.c fs/volume.c fs/zeros.c fs/journal_map.c kernel/rwlock.c kernel/copy.c kernel/string.c
#include "cachebed.h"

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

static void a_replaced_page_lives_until_it_is_off_the_wire(void **state)
{
	struct inode *inode = open_file(fake_file(FAKE_ROOT, "f", 1 << 20));
	struct page *old, *fresh;
	char bytes[PAGE_SIZE] = "new";
	size_t frames;
	assert_int_equal(pagecache_get_wait(inode, 100, &old), 0);
	assert_int_equal(write_at(inode, 100 * PAGE_SIZE, bytes, sizeof(bytes)), 0);
	fresh = pagecache_probe(inode, 100);
	assert_non_null(fresh);
	assert_ptr_not_equal(fresh, old);
	assert_true(fake_page_right(inode->number, 100, page_phys(old)));
	page_wire_put(fresh);
	frames = shim_frames_free();
	page_wire_put(old);
	assert_int_equal(shim_frames_free(), frames + 1);
	pagecache_drop();
	assert_int_equal(in_cache(inode), 1); // dirty: not dropped
	assert_int_equal(file_sync_wait(inode), 0);
	pagecache_drop();
	assert_int_equal(in_cache(inode), 0);
	inode_put(inode);
}

static void a_page_detached_while_it_is_read_reaches_who_waits(void **state)
{
	struct inode *inode = open_file(fake_file(FAKE_ROOT, "f", 1 << 20));
	struct asked a;
	struct page *fresh;
	char bytes[PAGE_SIZE] = "new";
	ask(&a, inode, 100);
	pagecache_detach(inode, 100);
	assert_int_equal(write_at(inode, 100 * PAGE_SIZE, bytes, sizeof(bytes)), 0);
	fresh = pagecache_probe(inode, 100);
	shim_run();
	assert_int_equal(a.get.status, 0);
	assert_ptr_not_equal(a.get.page, fresh);
	assert_true(fake_page_right(inode->number, 100, page_phys(a.get.page)));
	page_wire_put(a.get.page);
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

static void who_waits_for_a_read_that_was_a_hit_does_not_stop_the_queue(void **state)
{
	struct inode *inode = open_file(fake_file(FAKE_ROOT, "f", 1UL << 30));
	struct asked a[6];
	ask(&a[0], inode, 1000);
	pool_fail_after(0);
	for (unsigned i = 1; i < 6; i++)
		ask(&a[i], inode, i < 5 ? 5000 : 6000);
	pool_fail_off();
	shim_run();
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(a[i].told, 1);
		assert_int_equal(a[i].get.status, 0);
		page_wire_put(a[i].get.page);
	}
	inode_put(inode);
}

static void a_hole_that_was_written_is_a_hole_no_more(void **state)
{
	uint64_t number = fake_file(FAKE_ROOT, "sparse", 1UL << 30);
	fake_layout(number, 1000, true, true); // pages 1000 to 1999 are a hole
	struct inode *inode = open_file(number);
	struct page *zero, *fresh;
	char bytes[PAGE_SIZE] = "new";
	assert_int_equal(pagecache_get_wait(inode, 1500, &zero), 0);
	assert_int_equal(write_at(inode, 1501 * PAGE_SIZE, bytes, sizeof(bytes)), 0);
	fresh = pagecache_probe(inode, 1501);
	assert_ptr_not_equal(fresh, zero);
	page_wire_put(fresh);
	assert_int_equal(file_sync_wait(inode), 0);
	pagecache_drop();
	assert_null(pagecache_probe(inode, 1501)); // to be read from the disk
	page_wire_put(zero);
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

static void inodes_with_pages_stay(void **state)
{
	uint64_t first = fake_file(FAKE_ROOT, "f", 1000), reads;
	struct page *page;
	struct inode *inode;
	for (unsigned i = 0; i < 1500; i++) {
		inode = open_file(i ? fake_file(FAKE_ROOT, "f", 1000) : first);
		assert_int_equal(pagecache_get_wait(inode, 0, &page), 0);
		page_wire_put(page);
		inode_put(inode);
	}
	assert_int_equal(fake_counts.forgotten, 0);
	reads = fake_counts.inode_reads;
	inode = open_file(first);
	page = pagecache_probe(inode, 0);
	assert_non_null(page);
	assert_true(fake_page_right(first, 0, page_phys(page)));
	assert_int_equal(fake_counts.inode_reads, reads);
	page_wire_put(page);
	inode_put(inode);
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
#define TEST(name)	    cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_SMALL(name)    cmocka_unit_test_setup_teardown(name, setup_small_blocks, teardown)
#define TEST_WRITABLE(name) cmocka_unit_test_setup_teardown(name, setup_writable, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(every_page_on_the_wire_is_no_memory),
	    TEST(the_least_recently_used_page_goes_first),
	    TEST(memory_goes_back_under_pressure),
	    TEST_WRITABLE(a_replaced_page_lives_until_it_is_off_the_wire),
	    TEST_WRITABLE(a_page_detached_while_it_is_read_reaches_who_waits),
	    TEST(when_reads_run_out_gets_wait_their_turn),
	    TEST(who_waits_for_a_read_that_was_a_hit_does_not_stop_the_queue),
	    TEST_WRITABLE(a_hole_that_was_written_is_a_hole_no_more),
	    TEST(inodes_with_pages_stay),
	    TEST_SMALL(file_pages_are_hidden_and_metadata_is_not),
	    TEST_SMALL(replaced_metadata_comes_from_elsewhere),
	    TEST(inodes_leave_memory_when_nobody_holds_them),
	    TEST(openers_at_once_share_one_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
