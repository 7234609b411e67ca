// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/ext4_bed.c tests/host/alloc_model.c fs/*.c
// SOURCES: kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// ext4's blocks: allocated, truncated, promised and given back, on volumes of every layout. A model knows which
// blocks of which file have a place; e2fsck is the judge of everything else.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "alloc_model.h"
#include "shim.h"

static void one_change(void)
{
	struct model_file *file = &model_files[shim_random_below(MODEL_FILES)];
	uint64_t block = shim_random_below(MODEL_BLOCKS), count;
	uint64_t size = file->inode->size >> model_fs->block_shift;
	switch (shim_random_below(8)) {
	case 0: // somewhere
	case 1:
		count = 1 + shim_random_below(8);
		break;
	case 2: // every other block
		for (uint64_t i = 0; i < 60 && block + i < MODEL_BLOCKS; i += 2)
			(void)model_fill(file, block + i, 1);
		return;
	case 3:
	case 4: // at the end
	case 5:
		block = MIN(size, MODEL_BLOCKS - 1UL);
		count = 1 + shim_random_below(200);
		break;
	case 6:
		assert_int_equal(model_truncate(file, shim_random_below(file->inode->size + 1)), 0);
		return;
	default:
		assert_int_equal(model_truncate(file, shim_random_below(4) ? file->inode->size : 0),
				 0);
		return;
	}
	(void)model_fill(file, block, MIN(count, MODEL_BLOCKS - block));
}

static void random_work(const char *words, const char *size, unsigned steps)
{
	model_start(words, size);
	for (unsigned i = 0; i < steps; i++) {
		one_change();
		if (i % 128 == 127)
			bed_settle();
		if (i == steps / 2) { // another life
			model_check();
			model_put();
			bed_unmount(true);
			model_fs = bed_mount();
			model_open();
		}
	}
	model_check();
	model_finish();
}

static void random_work_on_every_layout(void **state)
{
	random_work("-b 4096", "128m", 600);
	random_work("-b 1024", "24m", 600);
	random_work("-b 1024 -O ^metadata_csum", "24m", 300);
	random_work("-b 1024 -O ^metadata_csum,uninit_bg", "24m", 300);
	random_work("-b 2048 -O ^64bit", "40m", 300);
	random_work("-b 1024 -O ^flex_bg", "40m", 300);
	random_work("-b 1024 -O meta_bg,^resize_inode", "40m", 300);
	random_work("-b 1024 -O orphan_file,metadata_csum_seed", "24m", 300);
	random_work("-b 1024 -g 256", "16m", 300);
	random_work("-b 1024 -O ^extents,^64bit", "24m", 600);
	random_work("-b 4096 -O ^extents,^64bit,^metadata_csum", "128m", 300);
	random_work("-b 1024 -I 128 -O ^huge_file,^flex_bg", "24m", 300);
}

static unsigned depth_of(const struct model_file *file)
{
	const struct ext4_node *node = inode_format_data(file->inode);
	return ((const struct ext4_extent_header *)node->block)->eh_depth;
}

static uint64_t free_now(void)
{
	struct volume_space space;
	ext4_space(bed_volume, &space);
	assert_int_equal(space.blocks_reserved, 0);
	return model_fs->free_blocks;
}

// One block in two, so that nothing joins: 84 entries in a node of 1 KB.
static void trees_grow_to_three_levels_and_go_again(void **state)
{
	static bool there[70000];
	model_start("-b 1024 -m 0", "120m");
	uint64_t before = free_now();
	struct fs_extent run;
	for (uint64_t b = 0; b < 2 * 28400; b += 2)
		assert_int_equal(model_allocate(&model_files[0], b, 1, &run), 0);
	assert_int_equal(depth_of(&model_files[0]), 3);
	// The other way round, and at random.
	for (uint64_t b = 2 * 400; b; b -= 2)
		assert_int_equal(model_allocate(&model_files[1], b, 1, &run), 0);
	assert_int_equal(depth_of(&model_files[1]), 2);
	memset(there, 0, sizeof(there));
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t b = shim_random_below(10000) * 3;
		if (!there[b])
			assert_int_equal(model_allocate(&model_files[2], b, 1, &run), 0);
		there[b] = true;
	}
	assert_int_equal(depth_of(&model_files[2]), 2);
	model_put();
	bed_unmount(true);
	model_fs = bed_mount();
	model_open();
	for (uint64_t b = 0; b < 30000; b++) {
		assert_int_equal(ext4_map(model_files[2].inode, b, &run), 0);
		assert_int_equal(run.hole, !there[b]);
	}
	for (int i = 0; i < 3; i++) {
		// In two goes: the second from a tree that was shortened.
		assert_int_equal(model_truncate(&model_files[i], 1000 * 1024 + 7), 0);
		assert_int_equal(model_truncate(&model_files[i], 0), 0);
		assert_int_equal(depth_of(&model_files[i]), 0);
	}
	assert_int_equal(free_now(), before);
	model_finish();
}

static void holes_that_are_filled_join_again(void **state)
{
	struct fs_extent run;
	model_start("-b 4096", "64m");
	for (uint64_t b = 0; b < 3000; b += 2)
		assert_int_equal(model_allocate(&model_files[0], b, 1, &run), 0);
	for (uint64_t b = 1; b < 3000; b += 2)
		assert_int_equal(model_allocate(&model_files[0], b, 1, &run), 0);
	unsigned pieces = 0;
	for (uint64_t b = 0; b < 3000; b += run.count, pieces++)
		assert_int_equal(ext4_map(model_files[0].inode, b, &run), 0);
	assert_in_range(pieces, 1, 40); // each block's place was kept, but where the tree took it
	model_check();
	model_finish();
}

static void until_the_disk_is_full(const char *words)
{
	struct fs_extent run;
	model_start(words, "20m");
	uint64_t before = free_now(), given = 0;
	int error = 0;
	// Interleaved, so that trees need blocks too.
	for (uint64_t b = 0; !error; b += 3)
		for (int i = 0; i < MODEL_FILES && !error; i++) {
			error = model_allocate(&model_files[i], b, 1 + shim_random_below(2), &run);
			given += error ? 0 : run.count;
		}
	assert_int_equal(error, -ENOSPC);
	uint64_t left = free_now();
	assert_in_range(left, 0, 6); // a tree may have wanted more than there was
	assert_true(given > before / 2);
	model_put();
	bed_unmount(true);
	model_fs = bed_mount();
	model_open();
	for (int i = 0; i < MODEL_FILES; i++)
		assert_int_equal(model_truncate(&model_files[i], 0), 0);
	assert_int_equal(free_now(), before);
	// What is not committed yet cannot be had, and that is said.
	assert_int_equal(model_allocate(&model_files[0], 0, 1, &run), left ? 0 : -EAGAIN);
	model_finish();
}

static void a_full_disk_is_full_to_the_last_block(void **state)
{
	until_the_disk_is_full("-b 1024 -m 0");
	until_the_disk_is_full("-b 4096 -m 0");
	until_the_disk_is_full("-b 1024 -m 0 -O ^metadata_csum,^64bit");
}

static void blocks_freed_and_not_committed_are_not_given_out(void **state)
{
	struct fs_extent run;
	uint64_t b = 0;
	model_start("-b 1024 -m 0", "8m");
	while (!model_allocate(&model_files[0], b, 1000, &run))
		b += run.count;
	bed_settle();
	assert_int_equal(model_truncate(&model_files[0], 100 * 1024), 0);
	assert_int_equal(model_allocate(&model_files[1], 0, 10, &run), -EAGAIN);
	assert_true(free_now() > 1000);
	bed_settle();
	assert_int_equal(model_allocate(&model_files[1], 0, 10, &run), 0);
	model_finish();
}

static void promises_are_kept_and_no_more_is_promised_than_there_is(void **state)
{
	struct volume_space space;
	uint64_t promised = 0, block;
	struct transaction t;
	model_start("-b 4096 -m 5", "64m");
	ext4_space(bed_volume, &space);
	assert_int_equal(space.blocks_free, model_fs->free_blocks - model_fs->root_blocks);
	while (!ext4_reserve(bed_volume, 100))
		promised += 100;
	assert_in_range(promised, space.blocks_free - 200, space.blocks_free);
	assert_int_equal(ext4_reserve(bed_volume, 100), -ENOSPC);
	while (!ext4_reserve(bed_volume, 1))
		promised++;
	ext4_space(bed_volume, &space);
	assert_int_equal(space.blocks_reserved, promised);
	assert_int_equal(space.blocks_free, 0);
	assert_int_equal(ext4_reserve(bed_volume, UINT64_MAX), -ENOSPC);
	// Who did not reserve gets nothing; who did gets all of it, in single blocks.
	assert_int_equal(transaction_begin(&t, bed_volume, 10), 0);
	assert_int_equal(ext4_allocate_meta(&t, model_files[0].inode, 0, &block), -ENOSPC);
	transaction_cancel(&t);
	for (uint64_t n = 0; n < promised; n++) {
		struct fs_extent run;
		assert_int_equal(
		    model_allocate(&model_files[n % MODEL_FILES], n / MODEL_FILES * 2, 1, &run), 0);
		ext4_unreserve(bed_volume, 1);
	}
	model_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_work_on_every_layout),
	    cmocka_unit_test(trees_grow_to_three_levels_and_go_again),
	    cmocka_unit_test(holes_that_are_filled_join_again),
	    cmocka_unit_test(a_full_disk_is_full_to_the_last_block),
	    cmocka_unit_test(blocks_freed_and_not_committed_are_not_given_out),
	    cmocka_unit_test(promises_are_kept_and_no_more_is_promised_than_there_is),
	};
	return cmocka_run_group_tests_name("ext4 alloc", tests, NULL, NULL);
}
