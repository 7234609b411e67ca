// SPDX-License-Identifier: BSD-2-Clause
// Writing through the page cache over a make-believe disk: where bytes go, what readers see meanwhile, when and
// how they reach the disk. Every test ends with nothing wired, every frame back and every promise of blocks
// given back.
// SOURCES: tests/host/fakefs*.c fs/pagecache*.c fs/meta.c fs/inode.c fs/name.c
// SOURCES: fs/name_cache.c fs/volume.c fs/zeros.c fs/journal_map.c kernel/rwlock.c kernel/copy.c kernel/string.c
#include "writebed.h"

static void pieces_of_any_size_make_a_file(void **state)
{
	struct inode *inode = new_file();
	uint64_t at = 0, copied = copy_bytes(COPY_CACHE_WRITE);
	while (at < 100000) {
		size_t len = 1 + shim_random_below(3000);
		assert_int_equal(write_at(inode, at, bytes + at, len), 0);
		at += len;
		assert_int_equal(inode->size, at);
	}
	assert_int_equal(copy_bytes(COPY_CACHE_WRITE) - copied, at);
	assert_file(inode, 0, bytes, at);
	assert_int_equal(fake_writes.requests, 0);
	assert_int_equal(file_sync_wait(inode), 0);
	assert_on_disk(inode, 0, bytes, at);
	assert_int_equal(fake_disk_size(inode->number), at);
	// Written in one go, it lies in one piece.
	assert_in_range(fake_writes.requests, 1, 2);
	assert_int_equal(fake_writes.allocations, 1);
	pagecache_drop();
	assert_int_equal(in_cache(inode), 0);
	assert_file(inode, 0, bytes, at);
	assert_true(inode->mtime_sec || inode->mtime_nsec);
	inode_put(inode);
}

static void a_page_waits_for_others_before_it_is_written(void **state)
{
	struct inode *inode = new_file();
	assert_int_equal(write_at(inode, 0, bytes, 1000), 0);
	shim_advance(3200 * NS_PER_MS);
	assert_int_equal(fake_writes.requests, 0);
	shim_advance(200 * NS_PER_MS);
	assert_int_equal(fake_writes.requests, 1);
	assert_int_equal(cache.dirty, 0);
	assert_on_disk(inode, 0, bytes, 1000);
	for (unsigned i = 1000; i < 4096; i++)
		assert_int_equal(fake_disk_byte(inode->number, i), 0);
	inode_put(inode);
}

static void a_stream_is_written_while_it_comes(void **state)
{
	struct inode *inode = new_file();
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(write_at(inode, i * sizeof(bytes), bytes, sizeof(bytes)), 0);
	shim_run();
	assert_true(fake_writes.requests > 0);
	assert_int_equal(file_sync_wait(inode), 0);
	assert_in_range(fake_writes.requests, 4, 8); // 4 MB in commands of a megabyte
	assert_on_disk(inode, 15 * sizeof(bytes), bytes, sizeof(bytes));
	inode_put(inode);
}

static void a_page_on_the_wire_is_replaced(void **state)
{
	uint64_t number = fake_file(FAKE_ROOT, "f", 100000);
	struct inode *inode = open_file(number);
	struct page *old, *page;
	for (unsigned i = 0; i < 3; i++) {
		size_t from = i == 1 ? 100 : 0, len = i == 0 ? PAGE_SIZE : 200;
		assert_int_equal(pagecache_get_wait(inode, 5 + i, &old), 0);
		assert_int_equal(write_at(inode, (5 + i) * PAGE_SIZE + from, bytes, len), 0);
		assert_true(fake_page_right(number, 5 + i, page_phys(old)));
		assert_file(inode, (5 + i) * PAGE_SIZE + from, bytes, len);
		page = pagecache_probe(inode, 5 + i);
		assert_ptr_not_equal(page, old);
		// Around it are the old bytes.
		char was[PAGE_SIZE], is[PAGE_SIZE];
		shim_dma_read(page_phys(old), was, PAGE_SIZE);
		shim_dma_read(page_phys(page), is, PAGE_SIZE);
		assert_memory_equal(was, is, from);
		assert_memory_equal(was + from + len, is + from + len, PAGE_SIZE - from - len);
		page_wire_put(page);
		page_wire_put(old);
	}
	assert_int_equal(inode->size, 100000);
	inode_put(inode);
}

static void a_dirty_page_on_the_wire_is_written_and_then_replaced(void **state)
{
	struct inode *inode = new_file();
	struct page *old;
	char was[PAGE_SIZE];
	assert_int_equal(write_at(inode, 0, bytes, PAGE_SIZE), 0);
	old = pagecache_probe(inode, 0);
	assert_int_equal(write_at(inode, 50, bytes + 500, 100), 0);
	shim_dma_read(page_phys(old), was, PAGE_SIZE);
	assert_memory_equal(was, bytes, PAGE_SIZE);
	assert_file(inode, 0, bytes, 50);
	assert_file(inode, 50, bytes + 500, 100);
	assert_file(inode, 150, bytes + 150, PAGE_SIZE - 150);
	page_wire_put(old);
	inode_put(inode);
}

static void bytes_behind_a_gap_leave_a_hole_of_zeros(void **state)
{
	struct inode *inode = new_file();
	assert_int_equal(write_at(inode, 100, bytes, 1000), 0);
	assert_int_equal(write_at(inode, 50 * PAGE_SIZE + 7, bytes, 1000), 0);
	assert_int_equal(inode->size, 50 * PAGE_SIZE + 1007);
	for (unsigned pass = 0; pass < 2; pass++) {
		assert_file(inode, 100, bytes, 1000);
		assert_file(inode, 50 * PAGE_SIZE + 7, bytes, 1000);
		assert_int_equal(read_byte(inode, 99), 0);
		assert_int_equal(read_byte(inode, 1100), 0);
		assert_int_equal(read_byte(inode, 20 * PAGE_SIZE), 0);
		assert_int_equal(read_byte(inode, 50 * PAGE_SIZE + 6), 0);
		assert_int_equal(file_sync_wait(inode), 0);
		pagecache_drop();
	}
	assert_int_equal(fake_disk_byte(inode->number, 20 * PAGE_SIZE), 256);
	assert_int_equal(fake_writes.sectors, 16);
	inode_put(inode);
}

static void what_lay_behind_the_end_is_not_in_the_file_when_it_grows(void **state)
{
	// The last block of this file has bytes behind the file's end.
	uint64_t number = fake_file(FAKE_ROOT, "f", 5000);
	struct inode *inode = open_file(number);
	assert_int_not_equal(fake_disk_byte(number, 5000), 0);
	assert_int_equal(write_at(inode, 9 * PAGE_SIZE, bytes, 10), 0);
	assert_int_equal(read_byte(inode, 5000), 0);
	assert_int_equal(file_sync_wait(inode), 0);
	assert_int_equal(fake_disk_byte(number, 5000), 0);
	assert_int_equal(fake_disk_byte(number, 8191), 0);
	assert_int_equal(read_byte(inode, 9 * PAGE_SIZE), (unsigned)bytes[0]);
	inode_put(inode);
}

static void a_truncated_file_ends_in_zeros(void **state)
{
	struct inode *inode = new_file();
	struct page *held;
	char was[PAGE_SIZE];
	assert_int_equal(write_at(inode, 0, bytes, 10 * PAGE_SIZE), 0);
	assert_int_equal(file_sync_wait(inode), 0);
	held = pagecache_probe(inode, 2);
	shim_dma_read(page_phys(held), was, PAGE_SIZE);
	pagecache_truncate_begin(inode);
	inode->size = 2 * PAGE_SIZE + 100;
	assert_int_equal(pagecache_truncate(inode, inode->size), 0);
	fake_truncate_blocks(inode, inode->size);
	pagecache_truncate_end(inode);
	assert_int_equal(in_cache(inode), 3);
	// Who has the page on the wire keeps it; the file's own ends in zeros, here and on the disk.
	char is[PAGE_SIZE];
	shim_dma_read(page_phys(held), is, PAGE_SIZE);
	assert_memory_equal(was, is, PAGE_SIZE);
	page_wire_put(held);
	assert_int_equal(file_sync_wait(inode), 0);
	assert_file(inode, 0, bytes, 2 * PAGE_SIZE + 100);
	for (unsigned i = 100; i < PAGE_SIZE; i++)
		assert_int_equal(fake_disk_byte(inode->number, 2 * PAGE_SIZE + i),
				 i < 1024 || fake_rules.block_bytes > 1024 ? 0 : 256);
	inode_put(inode);
}

static void what_is_truncated_is_not_written(void **state)
{
	struct inode *inode = new_file();
	uint64_t free_before = fake_promised();
	assert_int_equal(write_at(inode, 0, bytes, 50 * PAGE_SIZE), 0);
	assert_true(fake_promised() > free_before);
	inode->size = 0;
	assert_int_equal(pagecache_truncate(inode, 0), 0);
	assert_int_equal(fake_promised(), free_before);
	assert_int_equal(in_cache(inode), 0);
	shim_advance(10 * NS_PER_SEC);
	assert_int_equal(fake_writes.requests, 0);
	inode_put(inode);
}

int main(void)
{
#define TEST(name)	 cmocka_unit_test_setup_teardown(name, setup_bytes, teardown)
#define TEST_SMALL(name) cmocka_unit_test_setup_teardown(name, setup_bytes_small_blocks, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(pieces_of_any_size_make_a_file),
	    TEST_SMALL(pieces_of_any_size_make_a_file),
	    TEST(a_page_waits_for_others_before_it_is_written),
	    TEST(a_stream_is_written_while_it_comes),
	    TEST(a_page_on_the_wire_is_replaced),
	    TEST_SMALL(a_page_on_the_wire_is_replaced),
	    TEST(a_dirty_page_on_the_wire_is_written_and_then_replaced),
	    TEST(bytes_behind_a_gap_leave_a_hole_of_zeros),
	    TEST(what_lay_behind_the_end_is_not_in_the_file_when_it_grows),
	    TEST_SMALL(what_lay_behind_the_end_is_not_in_the_file_when_it_grows),
	    TEST(a_truncated_file_ends_in_zeros),
	    TEST_SMALL(a_truncated_file_ends_in_zeros),
	    TEST(what_is_truncated_is_not_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
