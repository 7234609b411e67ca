// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/crashdisk.c tests/host/crashbed.c fs/*.c
// SOURCES: kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// Changes of metadata, and mounting for them: what a block holds after each way of ending a change, what was
// freed, what happens without memory. On a real ext4 volume, in blocks that it does not use.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "crashbed.h"
#include "fs/ext4_write.h"
#include "fs/transaction_private.h"
#include "kernel/panic.h"
#include "kernel/pool.h"
#include "shim.h"

static struct volume *volume;
static uint64_t spare; // a run of free blocks

static void start(const char *words)
{
	crashbed_make(words, "8m", NULL);
	volume = crashbed_mount(true);
	assert_non_null(volume);
	assert_true(volume_writable(volume));
	spare = volume->blocks - 200;
}

static int setup(void **state)
{
	start("-b 4096");
	return 0;
}

static int setup_small(void **state)
{
	start("-b 1024");
	return 0;
}

static int teardown(void **state)
{
	crashbed_unmount();
	int status = crashbed_fsck();
	if (status)
		fprintf(stderr, "%s", crashbed_said());
	crashdisk_free();
	return status;
}

static void end_all(void)
{
	assert_int_equal(transaction_settle(volume), 0);
}

static void fill(struct transaction *t, uint64_t block, int byte)
{
	struct page *page;
	void *data;
	assert_int_equal(transaction_get(t, block, &data, &page), 0);
	memset(data, byte, volume->block_bytes);
	page_wire_put(page);
}

static int byte_of(uint64_t block)
{
	const void *data;
	struct page *page;
	assert_int_equal(meta_get(volume, block, &data, &page), 0);
	int byte = *(const uint8_t *)data;
	for (uint32_t i = 0; i < volume->block_bytes; i++)
		assert_int_equal(((const uint8_t *)data)[i], byte);
	page_wire_put(page);
	return byte;
}

static int byte_on_disk(uint64_t block)
{
	return crashdisk_bytes()[block * volume->block_bytes];
}

static void what_is_changed_is_seen_and_gets_home(void **state)
{
	struct transaction t;
	assert_int_equal(transaction_begin(&t, volume, 4), 0);
	fill(&t, spare, 1);
	fill(&t, spare + 1, 2);
	fill(&t, spare, 3); // again: one credit
	transaction_end(&t);
	assert_int_equal(byte_of(spare), 3);
	assert_int_equal(byte_of(spare + 1), 2);
	end_all();
	assert_int_equal(byte_on_disk(spare), 3);
	assert_int_equal(byte_on_disk(spare + 1), 2);
	assert_int_equal(byte_on_disk(spare + 2), 0);
}

static void cancel_puts_back_what_was_there_at_begin(void **state)
{
	struct transaction t;
	struct page *page;
	void *data;
	assert_int_equal(transaction_begin(&t, volume, 4), 0);
	fill(&t, spare, 1);
	transaction_end(&t);
	assert_int_equal(transaction_begin(&t, volume, 4), 0);
	fill(&t, spare, 2);
	fill(&t, spare + 1, 3);
	assert_int_equal(transaction_get_fresh(&t, spare + 8, &data, &page), 0);
	memset(data, 9, volume->block_bytes);
	page_wire_put(page);
	assert_int_equal(transaction_forget(&t, spare, 3, true), 0);
	transaction_cancel(&t);
	assert_int_equal(byte_of(spare), 1);
	assert_int_equal(byte_of(spare + 1), 0);
	assert_int_equal(byte_of(spare + 8), 0);
	uint64_t until;
	assert_false(transaction_freed_recently(volume, spare, &until));
	end_all();
	assert_int_equal(byte_on_disk(spare), 1);
	assert_int_equal(byte_on_disk(spare + 8), 0);
}

static void change(int byte)
{
	struct transaction t;
	assert_int_equal(transaction_begin(&t, volume, 1), 0);
	fill(&t, spare, byte);
	transaction_end(&t);
}

static void wait_for_commit(const struct volume_log *log)
{
	while (log->commit_timer.state != WTD_IDLE || log->commit_wanted || log->commit_busy)
		shim_advance(1000);
}

// The timers of the commit and of the way home are due together: a block is committed again while its older content is
// on its way. When the commit is over first, nothing else happens that would ask for another round.
static void what_is_committed_during_a_round_gets_home_by_itself(void **state)
{
	struct volume_log *log = log_of(volume);
	unsigned overtaken = 0;
	crashdisk_rules.delay_max_ns = 100000;
	for (int byte = 1; byte < 100; byte++) {
		change(200);
		assert_int_equal(durable_wait_sync(volume, volume_ticket(volume)), 0);
		change(byte);
		shim_advance(COMMIT_DELAY_NS / 100 * 99);
		wait_for_commit(log);
		overtaken += log->home_busy;
		shim_advance(2 * COMMIT_DELAY_NS);
		assert_int_equal(log->blocks, 0);
		assert_int_equal(byte_on_disk(spare), byte);
	}
	assert_true(overtaken > 0);
}

static void fresh_blocks_are_zero_and_not_read(void **state)
{
	struct transaction t;
	struct page *page;
	void *data;
	assert_int_equal(transaction_begin(&t, volume, 1), 0);
	uint64_t reads = crashdisk_counts.ops[BLOCK_READ];
	assert_int_equal(transaction_get_fresh(&t, spare, &data, &page), 0);
	assert_true(volume->block_bytes < PAGE_SIZE || crashdisk_counts.ops[BLOCK_READ] == reads);
	for (uint32_t i = 0; i < volume->block_bytes; i++)
		assert_int_equal(((uint8_t *)data)[i], 0);
	page_wire_put(page);
	transaction_end(&t);
	end_all();
}

static void freed_blocks_are_known_until_the_commit(void **state)
{
	struct transaction t;
	uint64_t until;
	assert_int_equal(transaction_begin(&t, volume, 4), 0);
	fill(&t, spare + 2, 7);
	assert_int_equal(transaction_forget(&t, spare, 5, true), 0);
	assert_int_equal(transaction_forget(&t, spare + 10, 3, false), 0);
	transaction_end(&t);
	for (uint64_t b = spare - 1; b < spare + 14; b++) {
		bool freed = (b >= spare && b < spare + 5) || (b >= spare + 10 && b < spare + 13);
		assert_int_equal(transaction_freed_recently(volume, b, &until), freed);
		if (freed)
			assert_int_equal(until, b < spare + 5 ? spare + 5 : spare + 13);
	}
	end_all();
	assert_false(transaction_freed_recently(volume, spare, &until));
	assert_int_equal(until, UINT64_MAX);
	assert_int_equal(byte_on_disk(spare + 2), 0); // not written: it was freed
}

static void a_second_change_waits_and_readers_too(void **state)
{
	struct transaction t;
	assert_int_equal(transaction_begin(&t, volume, 1), 0);
	volume_lock_shared(volume); // nests
	volume_unlock_shared(volume);
	assert_true(rw_held_exclusive(&volume_private(volume)->lock));
	transaction_end(&t);
	assert_false(rw_held_exclusive(&volume_private(volume)->lock));
	end_all();
}

static void without_memory_a_change_fails_and_can_be_taken_back(void **state)
{
	for (uint32_t k = 0;; k++) {
		struct transaction t;
		struct page *page;
		void *data;
		int error = 0, n;
		assert_int_equal(transaction_begin(&t, volume, 8), 0);
		pool_fail_after(k);
		for (n = 0; n < 4 && !error; n++) {
			error = transaction_get(&t, spare + (uint64_t)n, &data, &page);
			if (error)
				break;
			memset(data, 1, volume->block_bytes);
			page_wire_put(page);
		}
		if (!error)
			error = transaction_forget(&t, spare + 20, 1, true);
		pool_fail_off();
		if (!error) {
			transaction_end(&t);
			break;
		}
		assert_int_equal(error, -ENOMEM);
		transaction_cancel(&t);
		for (n = 0; n < 4; n++)
			assert_int_equal(byte_of(spare + (uint64_t)n), 0);
	}
	end_all();
}

static void too_many_blocks(void *arg)
{
	fill(arg, spare, 1);
	fill(arg, spare + 1, 1);
}

static void more_blocks_than_asked_for_is_a_panic(void **state)
{
	struct transaction t;
	assert_int_equal(transaction_begin(&t, volume, 1), 0);
	assert_true(shim_panics(too_many_blocks, &t));
	page_wire_put(block_find(log_of(volume), spare + 1)->page); // whose holder panicked
	transaction_cancel(&t);
	end_all();
}

// The k-th frame that is asked for is not there, nor any after it; then the same for objects of pools.
static void mounting_without_memory_leaves_it_readable(void **state)
{
	crashbed_make("-b 1024", "8m", NULL);
	for (int pools = 0; pools < 2; pools++) {
		int error = -1;
		for (uint32_t k = 0; error; k++) {
			volume = crashbed_mount(false);
			assert_non_null(volume);
			if (pools)
				pool_fail_after(k);
			else
				shim_frames_fail_after(k);
			error = ext4_prepare_writing(volume);
			shim_frames_fail_off();
			pool_fail_off();
			assert_true(!error || error == -ENOMEM);
			assert_int_equal(volume_writable(volume), !error);
			assert_int_equal(byte_of(volume->blocks - 200), 0); // it can be read
			crashbed_unmount();
		}
	}
	assert_int_equal(crashbed_fsck(), 0);
	crashdisk_free();
}

static void the_kth_frame_missing_fails_a_change_cleanly(void **state)
{
	for (uint32_t k = 0;; k++) {
		struct transaction t;
		struct page *page;
		void *data;
		int error = 0;
		assert_int_equal(transaction_begin(&t, volume, 8), 0);
		shim_frames_fail_after(k);
		for (uint64_t n = 0; n < 4 && !error; n++) {
			error = transaction_get(&t, spare + n, &data, &page);
			if (error)
				break;
			memset(data, 1, volume->block_bytes);
			page_wire_put(page);
		}
		shim_frames_fail_off();
		if (!error) {
			transaction_end(&t);
			break;
		}
		assert_int_equal(error, -ENOMEM);
		transaction_cancel(&t);
	}
	// A commit and the way home need no memory.
	shim_frames_fail_after(0);
	pool_fail_after(0);
	assert_int_equal(transaction_settle(volume), 0);
	shim_frames_fail_off();
	pool_fail_off();
	assert_int_equal(byte_on_disk(spare + 3), 1);
}

int main(void)
{
#define TEST(name)                                                                                 \
	cmocka_unit_test_setup_teardown(name, setup, teardown),                                    \
	    cmocka_unit_test_setup_teardown(name, setup_small, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(what_is_changed_is_seen_and_gets_home),
	    TEST(what_is_committed_during_a_round_gets_home_by_itself),
	    TEST(cancel_puts_back_what_was_there_at_begin),
	    TEST(fresh_blocks_are_zero_and_not_read),
	    TEST(freed_blocks_are_known_until_the_commit),
	    TEST(a_second_change_waits_and_readers_too),
	    TEST(without_memory_a_change_fails_and_can_be_taken_back),
	    TEST(more_blocks_than_asked_for_is_a_panic),
	    TEST(the_kth_frame_missing_fails_a_change_cleanly),
	    cmocka_unit_test(mounting_without_memory_leaves_it_readable),
	};
	return cmocka_run_group_tests_name("transaction", tests, NULL, NULL);
}
