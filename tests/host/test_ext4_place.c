// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/ext4_bed.c tests/host/alloc_model.c fs/*.c
// SOURCES: kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// Where ext4's blocks go: streams side by side, small files, extents made before they are written, and the maps of
// ext2 and ext3.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "alloc_model.h"
#include "fs/file.h"
#include "kernel/thread.h"
#include "shim.h"

static uint64_t free_now(void)
{
	struct volume_space space;
	ext4_space(bed_volume, &space);
	assert_int_equal(space.blocks_reserved, 0);
	return model_fs->free_blocks;
}

// The writers take turns as the write-back of as many uploads does.
static void streams_stay_in_a_few_pieces(void **state)
{
	enum { WRITERS = 8 };
	const uint64_t blocks = (100UL << 20) >> 12;
	unsigned pieces[WRITERS] = {0};
	struct fs_extent run, last[WRITERS] = {0};
	model_start("-b 4096", "1200m");
	for (uint64_t at = 0; at < blocks; at += 256)
		for (int w = 0; w < WRITERS; w++)
			for (uint64_t done = 0; done < 256 && at + done < blocks;) {
				uint64_t want = MIN(256 - done, blocks - at - done);
				assert_int_equal(
				    model_allocate(&model_files[w], at + done, want, &run), 0);
				pieces[w] += run.disk_block != last[w].disk_block + last[w].count;
				last[w] = run;
				done += run.count;
			}
	for (int w = 0; w < WRITERS; w++) {
		ext4_release_preallocation(model_files[w].inode);
		assert_in_range(pieces[w], 1, 12);
	}
	model_finish();
}

static bool told;
static void note(struct file_write *write)
{
	assert_int_equal(write->status, 0);
	told = true;
}

static void upload(struct inode *inode, uint64_t offset, const char *bytes, size_t len)
{
	struct file_write write = {
	    .inode = inode, .offset = offset, .bytes = bytes, .len = len, .done = note};
	int error;
	while ((error = file_write(&write)) == -EAGAIN)
		for (told = false; !told;)
			thread_sleep_ns(NS_PER_MS);
	assert_int_equal(error, 0);
}

// The same from the top: bytes into the cache, written behind as it likes, while the cache is much smaller.
static void uploads_through_the_cache_stay_in_a_few_pieces(void **state)
{
	enum { WRITERS = 8, CHUNK = 65536 };
	const uint64_t bytes = 12UL << 20;
	static char chunk[CHUNK];
	struct fs_extent run;
	model_start("-b 4096", "400m");
	for (uint64_t at = 0; at < bytes; at += CHUNK)
		for (int w = 0; w < WRITERS; w++)
			upload(model_files[w].inode, at, chunk, CHUNK);
	for (int w = 0; w < WRITERS; w++) {
		unsigned pieces = 0;
		uint64_t next = 0;
		assert_int_equal(file_sync_wait(model_files[w].inode), 0);
		for (uint64_t b = 0; b < bytes >> 12; b += run.count) {
			assert_int_equal(ext4_map(model_files[w].inode, b, &run), 0);
			assert_false(run.hole);
			run.count -= b - run.file_block;
			pieces += run.disk_block + (b - run.file_block) != next;
			next = run.disk_block + (b - run.file_block) + run.count;
		}
		assert_in_range(pieces, 1, 10);
	}
	model_finish();
}

static void small_files_lie_side_by_side(void **state)
{
	struct fs_extent run, last = {0};
	unsigned apart = 0;
	model_start("-b 4096", "64m");
	for (int i = 0; i < MODEL_FILES; i++) {
		assert_int_equal(model_allocate(&model_files[i], 0, 4, &run), 0);
		assert_int_equal(run.count, 4);
		apart += i && run.disk_block != last.disk_block + 4;
		last = run;
	}
	assert_int_equal(apart, 0);
	model_finish();
}

// debugfs makes them, as Linux's fallocate does.
static void unwritten_extents_are_written_in_part(void **state)
{
	struct fs_extent run;
	uint64_t marked = 0;
	model_start("-b 1024", "24m");
	model_put();
	bed_unmount(true);
	bed_debugfs("fallocate /f0 0 3999");
	model_fs = bed_mount();
	model_open();
	uint64_t before = free_now();
	model_files[0].inode->size = 4000 * 1024;
	for (unsigned i = 0; i < 300; i++) {
		uint64_t b = shim_random_below(4000), count = 1 + shim_random_below(20);
		count = MIN(count, 4000 - b);
		assert_int_equal(model_fill(&model_files[0], b, count), 0);
	}
	for (uint64_t b = 0; b < 4000; b++) {
		assert_int_equal(ext4_map(model_files[0].inode, b, &run), 0);
		assert_int_equal(run.hole, !model_files[0].mapped[b]);
		marked += !run.hole;
	}
	assert_in_range(marked, 300, 3999);
	assert_in_range(before - free_now(), 1, 12); // the tree's
	model_check();
	assert_int_equal(model_truncate(&model_files[0], 0), 0);
	model_finish();
}

// Through the direct blocks and all three trees of numbers.
static void block_numbers_three_levels_deep(void **state)
{
	static const uint64_t places[] = {0,	 3,	11,    12,     13,     267,    268,
					  269,	 523,	524,   5000,   65803,  65804,  65805,
					  66060, 66061, 70000, 131340, 131341, 1000000};
	struct fs_extent run;
	model_start("-b 1024 -O ^extents,^64bit -m 0", "24m");
	uint64_t before = free_now();
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
		assert_int_equal(model_fill(&model_files[0], places[i], 1 + i % 3), 0);
	model_put();
	bed_unmount(true);
	model_fs = bed_mount();
	model_open();
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		assert_int_equal(ext4_map(model_files[0].inode, places[i], &run), 0);
		assert_false(run.hole);
	}
	assert_int_equal(ext4_map(model_files[0].inode, 100000, &run), 0);
	assert_true(run.hole);
	assert_int_equal(model_allocate(&model_files[1], 20000000, 1, &run), -EFBIG);
	for (unsigned i = ARRAY_SIZE(places); i-- > 0;) {
		assert_int_equal(model_truncate(&model_files[0], places[i] * 1024), 0);
		model_put();
		bed_unmount(true);
		model_fs = bed_mount();
		model_open();
	}
	assert_int_equal(free_now(), before);
	// Enough for several steps, in order and full of holes.
	for (uint64_t b = 0; b < 9000; b += 600)
		assert_int_equal(model_fill(&model_files[0], b, 590), 0);
	for (uint64_t b = 0; b < 12000; b += 3)
		assert_int_equal(model_fill(&model_files[1], b, 1), 0);
	assert_int_equal(model_truncate(&model_files[0], 0), 0);
	assert_int_equal(model_truncate(&model_files[1], 1024 * 100 + 1), 0);
	assert_int_equal(model_truncate(&model_files[1], 0), 0);
	assert_int_equal(free_now(), before);
	model_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(streams_stay_in_a_few_pieces),
	    cmocka_unit_test(uploads_through_the_cache_stay_in_a_few_pieces),
	    cmocka_unit_test(small_files_lie_side_by_side),
	    cmocka_unit_test(unwritten_extents_are_written_in_part),
	    cmocka_unit_test(block_numbers_three_levels_deep),
	};
	return cmocka_run_group_tests_name("ext4 place", tests, NULL, NULL);
}
