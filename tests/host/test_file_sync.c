// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/crashdisk.c tests/host/crashbed.c tests/host/filebed.c fs/*.c
// SOURCES: kernel/block.c kernel/copy.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// What fsync promises of bytes that change nothing but themselves: pages written over blocks that a file has already,
// in commands that begin after the commit that holds the file's time; pages written again after an error. And that
// nobody is told "kept" once the journal was given up.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "crashbed.h"
#include "filebed.h"
#include "fs/name.h"
#include "fs/pagecache.h"
#include "fs/transaction.h"
#include "shim.h"

#define NAME  "file"
#define BLOCK 1024
#define BYTES                                                                                      \
	(384 * PAGE_SIZE) // six batches, with blocks of 1 KB: more than are on the disk at once

static struct volume *volume;
static struct inode *file;
static uint8_t *bytes, *found;

static void write_file(int byte, size_t len)
{
	memset(bytes, byte, len);
	filebed_must(filebed_write(file, 0, bytes, len), "write");
}

static int setup(void **state)
{
	crashbed_make("-b 1024 -N 64 -J size=1", "8m", NULL);
	volume = crashbed_mount(true);
	assert_true(volume_writable(volume));
	bytes = malloc(BYTES);
	found = malloc(BYTES);
	struct inode *root = volume_root_inode(volume);
	filebed_must(file_create(root, 0644, &file), "create");
	filebed_must(file_link(root, NAME, strlen(NAME), file, NAME_NEW), "link");
	inode_put(root);
	write_file('a', BYTES);
	filebed_must(inode_durable_wait(file), "sync");
	shim_advance(20 * NS_PER_SEC); // everything is home
	crashdisk_record();
	return 0;
}

static int teardown(void **state)
{
	free(bytes);
	free(found);
	crashdisk_free();
	return 0;
}

// What a power cut now would leave: every byte is the one that was promised.
static void cut_and_expect(int byte, size_t len)
{
	inode_put(file);
	crashbed_power_off();
	crashdisk_power_cut(crashdisk_events(), CRASH_NOTHING);
	volume = crashbed_mount(true);
	assert_true(volume && volume_writable(volume));
	filebed_must(name_find_wait(volume, NAME, strlen(NAME), &file), NAME);
	filebed_read(file, found, len);
	inode_put(file);
	crashbed_unmount();
	memset(bytes, byte, len);
	assert_memory_equal(found, bytes, len);
	assert_int_equal(crashbed_fsck(), 0);
}

static bool synced, told;
static int sync_status;
static void sync_done(struct file_sync *sync)
{
	synced = true;
	sync_status = sync->status;
}

static void committed(struct durable *durable)
{
	told = true;
}

// Somebody else's change, and who waits for it.
static void change_something(struct durable *durable)
{
	struct inode *root = volume_root_inode(volume), *other;

	told = false;
	filebed_must(file_create(root, 0644, &other), "create");
	inode_put(other);
	inode_put(root);
	*durable =
	    (struct durable){.volume = volume, .ticket = volume_ticket(volume), .done = committed};
	durable_wait(durable);
}

// Blocks that hold nothing but that byte on a disk whose power was cut.
static size_t blocks_of(int byte)
{
	uint8_t *left = crashdisk_after(crashdisk_events(), CRASH_NOTHING);
	uint8_t all[BLOCK];
	size_t count = 0;

	memset(all, byte, sizeof(all));
	for (size_t at = 0; at < crashdisk_size(); at += BLOCK)
		count += !memcmp(left + at, all, BLOCK);
	free(left);
	return count;
}

static void bytes_behind_the_commit_of_their_inode_survive(void **state)
{
	struct durable durable;

	crashdisk_rules.delay_max_ns = NS_PER_MS;
	change_something(&durable);
	for (int byte = 'b'; byte <= 'z'; byte++) {
		struct file_sync sync = {.inode = file, .done = sync_done};

		write_file(byte, BYTES);
		synced = false;
		file_sync(&sync);
		while (!synced) {
			if (told)
				change_something(&durable);
			shim_advance(NS_PER_MS / 8);
		}
		assert_int_equal(sync_status, 0);
		assert_int_equal(durable_wait_sync(volume, volume_ticket(volume)), 0);
		assert_int_equal(blocks_of(byte), BYTES / BLOCK);
		crashdisk_record();
	}
	while (!told)
		shim_advance(NS_PER_MS);
	cut_and_expect('z', BYTES);
}

static void bytes_written_again_after_an_error_survive(void **state)
{
	write_file('b', PAGE_SIZE);
	crashdisk_fail(BLOCK_WRITE, 0, 0);
	assert_int_equal(inode_durable_wait(file), -EIO);
	assert_int_equal(durable_wait_sync(volume, volume_ticket(volume)), 0);
	assert_int_equal(inode_durable_wait(file), 0);
	cut_and_expect('b', PAGE_SIZE);
}

static void nobody_is_told_kept_after_a_flush_that_failed(void **state)
{
	write_file('b', PAGE_SIZE);
	crashdisk_fail(BLOCK_FLUSH, 0, 0);
	assert_int_equal(inode_durable_wait(file), -EIO);
	assert_int_equal(inode_durable_wait(file), -EIO);
	assert_int_equal(volume_durable_wait(volume), -EIO);
	inode_put(file);
	crashbed_unmount();
}

// What is DIRTY then never gets to the disk.
static void nobody_is_told_kept_after_the_journal_was_given_up(void **state)
{
	write_file('b', PAGE_SIZE);
	transaction_abort(volume, -EIO, "of a test");
	shim_advance(20 * NS_PER_SEC);
	assert_int_equal(inode_durable_wait(file), -EIO);
	assert_int_equal(durable_wait_sync(volume, volume_ticket(volume)), -EIO);
	inode_put(file);
	crashbed_unmount();
}

static void a_sync_of_all_tells_of_a_page_that_waits_for_another_attempt(void **state)
{
	write_file('b', PAGE_SIZE);
	crashdisk_fail(BLOCK_WRITE, 0, 0);
	assert_int_equal(volume_durable_wait(volume), -EIO);
	shim_advance(5 * NS_PER_SEC);
	assert_int_equal(volume_durable_wait(volume), 0);
	cut_and_expect('b', PAGE_SIZE);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(bytes_behind_the_commit_of_their_inode_survive),
	    TEST(bytes_written_again_after_an_error_survive),
	    TEST(nobody_is_told_kept_after_a_flush_that_failed),
	    TEST(nobody_is_told_kept_after_the_journal_was_given_up),
	    TEST(a_sync_of_all_tells_of_a_page_that_waits_for_another_attempt),
	};
	return cmocka_run_group_tests_name("file_sync", tests, NULL, NULL);
}
