// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/ext4_bed.c fs/*.c kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// ext4's changes when the k-th disk read fails, the k-th object or the k-th frame cannot be had, for every k until
// they succeed: the change is taken back without a trace, in memory too, and e2fsck finds nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "ext4_bed.h"
#include "fs/file.h"
#include "fs/volume_private.h"
#include "kernel/panic.h"
#include "kernel/pool.h"
#include "shim.h"

static struct ext4 *fs;
static struct inode *root, *file, *made;
static uint64_t at; // where the next block goes
static bool more;   // of a truncation
static unsigned failures;

static uint32_t credits(enum filesystem_change change)
{
	return ext4_writing.credits(bed_volume, change);
}

static int end(struct transaction *t, int error, struct inode *touched)
{
	if (!error) {
		transaction_end(t);
		return 0;
	}
	transaction_cancel(t);
	bed_fail_reads(UINT64_MAX);
	pool_fail_off();
	shim_frames_fail_off();
	if (touched)
		assert_int_equal(ext4_reload(touched), 0);
	return error;
}

// ---- changes; 0 or why it was taken back ----

static int one_block(void)
{
	struct transaction t;
	struct fs_extent run;
	int error = transaction_begin(&t, bed_volume, credits(CHANGE_ALLOCATE));
	if (error)
		return error;
	file->size = MAX(file->size, (at + 1) << fs->block_shift);
	error = end(&t, ext4_allocate(&t, file, at, 1, &run), file);
	at += error ? 0 : 2;
	return error;
}

static int shorter(void)
{
	struct transaction t;
	int error = transaction_begin(&t, bed_volume,
				      credits(CHANGE_TRUNCATE_STEP) + credits(CHANGE_ORPHAN));
	if (error)
		return error;
	error = ext4_orphan_add(&t, file);
	if (!error)
		error = ext4_truncate_step(&t, file, at, &more);
	if (!error && !more)
		error = ext4_orphan_remove(&t, file);
	return end(&t, error, file);
}

static int new_inode(enum inode_type type)
{
	struct transaction t;
	int error =
	    transaction_begin(&t, bed_volume, credits(CHANGE_NEW_INODE) + credits(CHANGE_ORPHAN));
	if (error)
		return error;
	made = NULL;
	error = ext4_new_inode(&t, root, type, 0755, &made);
	if (!error)
		error = ext4_orphan_add(&t, made);
	if (error && made)
		inode_unmake(made);
	return end(&t, error, NULL);
}

static int new_file(void)
{
	return new_inode(INODE_FILE);
}

static int new_directory(void)
{
	return new_inode(INODE_DIRECTORY);
}

// Of what is made and has no blocks.
static int free_made(void)
{
	struct transaction t;
	int error = transaction_begin(&t, bed_volume, credits(CHANGE_NEW_INODE));
	if (error)
		return error;
	error = ext4_free_inode(&t, made);
	if (!error)
		inode_unmake(made);
	return end(&t, error, error ? made : NULL);
}

// ---- faults ----

enum fault { FAULT_READ, FAULT_POOL, FAULT_FRAME, FAULTS };

static void arm(enum fault fault, uint32_t k)
{
	bed_settle(); // so that nothing is in a transaction yet
	if (fault == FAULT_READ) {
		pagecache_drop();
		bed_fail_reads(k);
	} else if (fault == FAULT_POOL) {
		pool_fail_after(k);
	} else {
		shim_frames_fail_after(k);
	}
}

// Until it succeeds: once for each kind of fault. before, after: null, or around each of the three.
static void stubbornly(int (*change)(void), void (*before_it)(void), void (*after_it)(void))
{
	for (enum fault fault = 0; fault < FAULTS; fault++) {
		if (before_it)
			before_it();
		for (uint32_t k = 0, error = 1; error; k++) {
			uint64_t blocks = fs->free_blocks;
			uint32_t inodes = fs->free_inodes;
			struct inode before = *file;
			arm(fault, k);
			error = (uint32_t)-change();
			bed_fail_reads(UINT64_MAX);
			pool_fail_off();
			shim_frames_fail_off();
			if (!error)
				continue;
			failures++;
			assert_true(error == (fault == FAULT_READ ? EIO : ENOMEM));
			assert_true(volume_writable(bed_volume));
			assert_int_equal(fs->free_blocks, blocks);
			assert_int_equal(fs->free_inodes, inodes);
			assert_int_equal(fs->pending_blocks, 0);
			assert_int_equal(file->links, before.links);
			assert_true(k < 200);
		}
		if (after_it)
			after_it();
	}
}

static void start(const char *words)
{
	fs = bed_start(words, "24m");
	root = volume_root_inode(bed_volume);
	assert_int_equal(file_create(root, 0644, &file), 0);
	assert_int_equal(file_link(root, "file", 4, file, NAME_NEW), 0);
	at = 0;
	failures = 0;
}

static void finish(void)
{
	inode_put(file);
	inode_put(root);
	bed_finish();
}

static void blocks(const char *words)
{
	start(words);
	uint64_t before = fs->free_blocks;
	// Through a new root, splits of leaves, and a third level.
	for (unsigned i = 0; i < 30; i++) {
		stubbornly(one_block, NULL, NULL);
		for (unsigned k = 0; k < 40; k++)
			assert_int_equal(one_block(), 0);
	}
	assert_true(failures > 200);
	at = file->size - 1000 * 1024;
	do
		stubbornly(shorter, NULL, NULL);
	while (more);
	at = 0;
	do
		stubbornly(shorter, NULL, NULL);
	while (more);
	bed_settle();
	assert_int_equal(fs->free_blocks, before);
	finish();
}

static void blocks_of_files(void **state)
{
	blocks("-b 1024");
	blocks("-b 4096 -O ^metadata_csum");
}

static void make_file(void)
{
	assert_int_equal(new_file(), 0);
}

// Nobody uses it, no name leads to it.
static void drop_made(void)
{
	made->links = 0;
	inode_put(made);
	inode_wait_deleted();
}

static void inodes(const char *words)
{
	start(words);
	uint32_t before = fs->free_inodes;
	uint64_t blocks = fs->free_blocks;
	for (unsigned i = 0; i < 5; i++) {
		stubbornly(new_directory, NULL, drop_made);
		stubbornly(new_file, NULL, drop_made);
		stubbornly(free_made, make_file, NULL);
	}
	assert_int_equal(fs->free_inodes, before);
	assert_int_equal(fs->free_blocks, blocks);
	assert_true(failures > 100);
	finish();
}

static void inodes_of_every_kind(void **state)
{
	inodes("-b 4096 -O orphan_file");
	inodes("-b 1024 -O ^orphan_file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(blocks_of_files),
	    cmocka_unit_test(inodes_of_every_kind),
	};
	return cmocka_run_group_tests_name("ext4 faults", tests, NULL, NULL);
}
