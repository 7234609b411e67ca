// SPDX-License-Identifier: BSD-2-Clause
// Writing through the page cache when something is full, slow, broken or called off. Every test ends with nothing
// wired, every frame back and every promise of blocks given back.
// SOURCES: tests/host/fakefs*.c fs/pagecache*.c fs/meta.c fs/inode.c fs/name.c
// SOURCES: fs/name_cache.c fs/volume.c fs/zeros.c fs/journal_map.c kernel/rwlock.c kernel/copy.c kernel/string.c
#include "writebed.h"

static void a_full_volume_says_so_at_once(void **state)
{
	struct inode *inode = new_file();
	struct writing w;
	uint64_t per_page = PAGE_SIZE / fake_rules.block_bytes;
	fake_rules.free_blocks = 10 * per_page;
	assert_int_equal(start_write(&w, inode, 0, bytes, 20 * PAGE_SIZE), -ENOSPC);
	assert_int_equal(w.write.offset, 10 * PAGE_SIZE);
	assert_int_equal(inode->size, 10 * PAGE_SIZE);
	assert_int_equal(file_sync_wait(inode), 0);
	assert_on_disk(inode, 0, bytes, 10 * PAGE_SIZE);
	// What has its blocks can still be changed.
	pagecache_drop();
	fake_rules.map_again_pct = 100; // the format would have to look
	assert_int_equal(start_write(&w, inode, 5 * PAGE_SIZE, bytes, 100), -EAGAIN);
	fake_rules.map_again_pct = 0;
	shim_advance(NS_PER_MS);
	assert_int_equal(w.told, 1);
	assert_int_equal(w.write.status, 0);
	assert_int_equal(start_write(&w, inode, 10 * PAGE_SIZE, bytes, 1), -ENOSPC);
	inode_put(inode);
}

static void who_writes_faster_than_the_disk_waits_in_turn(void **state)
{
	enum { WRITERS = 8 };
	struct inode *inodes[WRITERS];
	struct writing w[WRITERS] = {0};
	fake_rules.delay_max_ns = 100 * NS_PER_MS;
	uint64_t at[WRITERS] = {0}, most = 0, least = UINT64_MAX;
	for (unsigned i = 0; i < WRITERS; i++) {
		inodes[i] = new_file();
		w[i].told = 1;
	}
	for (unsigned step = 0; step < 1500; step++) {
		for (unsigned i = 0; i < WRITERS; i++) {
			if (!w[i].told)
				continue;
			at[i] = w[i].write.inode ? w[i].write.offset : 0;
			int status = start_write(&w[i], inodes[i], at[i], bytes, 16 * PAGE_SIZE);
			w[i].told = !status;
		}
		assert_true(cache.dirty <= cache.dirty_max + WRITERS * 17);
		// Others read meanwhile.
		if (step == 700) {
			struct inode *other = open_file(fake_file(FAKE_ROOT, "f", 100000));
			struct asked a;
			ask(&a, other, 3);
			shim_advance(NS_PER_SEC);
			assert_int_equal(a.told, 1);
			assert_int_equal(a.get.status, 0);
			page_wire_put(a.get.page);
			inode_put(other);
		}
		shim_advance(NS_PER_MS);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		if (!w[i].told)
			assert_true(file_write_cancel(&w[i].write));
		most = MAX(most, w[i].write.offset);
		least = MIN(least, w[i].write.offset);
	}
	print_message("%lu to %lu KB, %lu waits\n", least >> 10, most >> 10,
		      writeback_figures.room_waits);
	assert_true(least > 300 * PAGE_SIZE && most - least <= most / 4);
	fake_rules.delay_max_ns = 0;
	for (unsigned i = 0; i < WRITERS; i++) {
		assert_int_equal(file_sync_wait(inodes[i]), 0);
		inode_put(inodes[i]);
	}
}

static void an_error_is_told_once_and_the_page_is_tried_again(void **state)
{
	struct inode *inode = new_file();
	fake_rules.write_fails_pct = 100;
	assert_int_equal(write_at(inode, 0, bytes, 3 * PAGE_SIZE), 0);
	assert_int_equal(file_sync_wait(inode), -EIO);
	assert_int_equal(cache.dirty, 3);
	assert_file(inode, 0, bytes, 3 * PAGE_SIZE);
	fake_rules.write_fails_pct = 0;
	assert_int_equal(file_sync_wait(inode), 0);
	assert_on_disk(inode, 0, bytes, 3 * PAGE_SIZE);
	inode_put(inode);
}

static void one_bad_sector_costs_one_page(void **state)
{
	uint64_t number = fake_file(FAKE_ROOT, "f", 16 * PAGE_SIZE);
	struct inode *inode = open_file(number);
	fake_bad_block(number, 7, true, false);
	assert_int_equal(write_at(inode, 0, bytes, 16 * PAGE_SIZE), 0);
	assert_int_equal(file_sync_wait(inode), -EIO);
	assert_int_equal(cache.dirty, 1);
	assert_on_disk(inode, 0, bytes, 7 * PAGE_SIZE);
	assert_on_disk(inode, 8 * PAGE_SIZE, bytes + 8 * PAGE_SIZE, 8 * PAGE_SIZE);
	assert_file(inode, 7 * PAGE_SIZE, bytes + 7 * PAGE_SIZE, PAGE_SIZE);
	fake_bad_block(number, 7, false, false);
	shim_advance(5 * NS_PER_SEC);
	assert_int_equal(cache.dirty, 0);
	assert_on_disk(inode, 7 * PAGE_SIZE, bytes + 7 * PAGE_SIZE, PAGE_SIZE);
	assert_int_equal(file_sync_wait(inode), 0); // the sync before was told
	inode_put(inode);
}

static void a_page_that_cannot_be_written_is_given_up_in_the_end(void **state)
{
	struct inode *inode = new_file();
	uint64_t lost = writeback_figures.lost_pages;
	fake_rules.write_fails_pct = 100;
	assert_int_equal(write_at(inode, 0, bytes, 3 * PAGE_SIZE), 0);
	shim_advance(10 * NS_PER_SEC);
	assert_int_equal(cache.dirty, 3);
	shim_advance(100 * NS_PER_SEC);
	assert_int_equal(cache.dirty, 0);
	assert_int_equal(writeback_figures.lost_pages - lost, 3);
	uint64_t requests = fake_writes.requests;
	shim_advance(100 * NS_PER_SEC);
	assert_int_equal(fake_writes.requests, requests); // and not tried for ever
	assert_int_equal(file_sync_wait(inode), -EIO);
	assert_int_equal(file_sync_wait(inode), 0);
	fake_rules.write_fails_pct = 0;
	inode_put(inode);
}

static void a_disk_that_has_gone_ends_it_at_once(void **state)
{
	struct inode *inode = new_file(), *other = new_file();
	struct writing w;
	assert_int_equal(write_at(inode, 0, bytes, 3 * PAGE_SIZE), 0);
	assert_int_equal(write_at(other, 0, bytes, 3 * PAGE_SIZE), 0);
	fake_rules.dead = true;
	assert_int_equal(file_sync_wait(inode), -ENODEV);
	shim_advance(10 * NS_PER_SEC);
	assert_int_equal(cache.dirty, 0);
	transaction_abort(volume, -EIO, "test");
	assert_int_equal(start_write(&w, inode, 0, bytes, 1), -EROFS);
	assert_int_equal(file_sync_wait(other), -ENODEV);
	fake_rules.dead = false;
	inode_put(inode);
	inode_put(other);
}

static void an_aborted_journal_drops_what_is_dirty(void **state)
{
	struct inode *inode = new_file();
	assert_int_equal(write_at(inode, 0, bytes, 3 * PAGE_SIZE), 0);
	transaction_abort(volume, -EIO, "test");
	assert_int_equal(file_sync_wait(inode), -EROFS);
	assert_int_equal(cache.dirty, 0);
	assert_int_equal(inode->size, 0);
	assert_int_equal(fake_writes.requests, 0);
	inode_put(inode);
}

static void small_files_share_commands(void **state)
{
	struct inode *inode[20];
	for (unsigned i = 0; i < 20; i++) {
		inode[i] = new_file();
		assert_int_equal(write_at(inode[i], 0, bytes + i, 1000), 0);
	}
	assert_int_equal(writeback_all(volume), 0);
	assert_int_equal(cache.dirty, 0);
	assert_int_equal(fake_writes.requests, 1);
	assert_int_equal(fake_writes.transactions, 1);
	for (unsigned i = 0; i < 20; i++) {
		assert_on_disk(inode[i], 0, bytes + i, 1000);
		inode_put(inode[i]);
	}
}

static void a_small_log_takes_it_in_parts(void **state)
{
	struct inode *inode[20];
	fake_rules.log_blocks = 60;
	fake_rules.scatter_pct = 50;
	for (unsigned i = 0; i < 20; i++) {
		inode[i] = new_file();
		assert_int_equal(write_at(inode[i], 0, bytes + i, 30000), 0);
	}
	assert_int_equal(writeback_all(volume), 0);
	assert_int_equal(cache.dirty, 0);
	assert_true(fake_writes.transactions > 2);
	for (unsigned i = 0; i < 20; i++) {
		assert_on_disk(inode[i], 0, bytes + i, 30000);
		assert_int_equal(fake_disk_size(inode[i]->number), 30000);
		inode_put(inode[i]);
	}
}

static int bad_copy(void *to, const void *from, size_t len)
{
	return -EFAULT;
}

static void a_copy_that_fails_leaves_no_page(void **state)
{
	struct inode *inode = new_file();
	struct file_write write = {
	    .inode = inode, .bytes = bytes, .len = 100, .copy = bad_copy, .done = write_told};
	assert_int_equal(file_write(&write), -EFAULT);
	assert_int_equal(in_cache(inode), 0);
	assert_int_equal(inode->size, 0);
	assert_int_equal(fake_promised(), 0);
	inode_put(inode);
}

static void the_kth_allocation_fails_and_all_after_it(void **state)
{
	bool failed = true;
	for (uint32_t k = 0; failed && k < 100; k++) {
		struct inode *inode = open_file(fake_file(FAKE_ROOT, "f", 300000));
		struct page *held = NULL;
		failed = false;
		(void)!pagecache_get_wait(inode, 3, &held);
		pagecache_drop();
		pool_fail_after(k);
		shim_frames_fail_after(k);
		int status = write_at(inode, 3 * PAGE_SIZE + 1, bytes, 5000);
		failed |= status != 0;
		assert_true(!status || status == -ENOMEM);
		status = write_at(inode, 10 * PAGE_SIZE, bytes, 5 * PAGE_SIZE);
		failed |= status != 0;
		assert_true(!status || status == -ENOMEM);
		pool_fail_off();
		shim_frames_fail_off();
		page_wire_put(held);
		assert_int_equal(file_sync_wait(inode), 0);
		assert_int_equal(cache.dirty, 0);
		assert_int_equal(fake_promised(), 0);
		pagecache_drop();
		assert_int_equal(in_cache(inode), 0);
		inode_put(inode);
	}
	assert_false(failed);
}

static void a_write_is_called_off_wherever_it_waits(void **state)
{
	uint64_t number = fake_file(FAKE_ROOT, "f", 300000);
	struct inode *inode = open_file(number);
	struct writing w;
	for (unsigned round = 0; round < 6; round++) {
		struct page *held = NULL;
		if (round < 2) // old bytes are read
			assert_int_equal(start_write(&w, inode, 100, bytes, 10), -EAGAIN);
		if (round == 2 || round == 3) { // a page is being read
			struct asked a;
			ask(&a, inode, 20);
			assert_int_equal(start_write(&w, inode, 20 * PAGE_SIZE, bytes, 10),
					 -EAGAIN);
			if (round == 3)
				shim_run_one();
			assert_true(file_write_cancel(&w.write));
			shim_run();
			page_wire_put(a.get.page);
			continue;
		}
		if (round >= 4) { // a page is DIRTY and on the wire
			assert_int_equal(write_at(inode, 30 * PAGE_SIZE, bytes, PAGE_SIZE), 0);
			held = pagecache_probe(inode, 30);
			wtd_disable();
			assert_int_equal(start_write(&w, inode, 30 * PAGE_SIZE, bytes, 10),
					 -EAGAIN);
			wtd_enable();
		}
		if (round % 2)
			shim_run_one();
		if (!w.told)
			assert_true(file_write_cancel(&w.write));
		shim_run();
		if (held)
			page_wire_put(held);
	}
	assert_int_equal(file_sync_wait(inode), 0);
	inode_put(inode);
}

int main(void)
{
#define TEST(name)	 cmocka_unit_test_setup_teardown(name, setup_bytes, teardown)
#define TEST_SMALL(name) cmocka_unit_test_setup_teardown(name, setup_bytes_small_blocks, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_full_volume_says_so_at_once),
	    TEST_SMALL(a_full_volume_says_so_at_once),
	    TEST(who_writes_faster_than_the_disk_waits_in_turn),
	    TEST(an_error_is_told_once_and_the_page_is_tried_again),
	    TEST(one_bad_sector_costs_one_page),
	    TEST(a_page_that_cannot_be_written_is_given_up_in_the_end),
	    TEST(a_disk_that_has_gone_ends_it_at_once),
	    TEST(an_aborted_journal_drops_what_is_dirty),
	    TEST(small_files_share_commands),
	    TEST(a_small_log_takes_it_in_parts),
	    TEST(a_copy_that_fails_leaves_no_page),
	    TEST(the_kth_allocation_fails_and_all_after_it),
	    TEST(a_write_is_called_off_wherever_it_waits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
