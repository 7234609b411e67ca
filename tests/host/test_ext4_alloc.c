// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/ext4_bed.c fs/*.c kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// ext4's blocks: allocated, truncated, promised and given back, on volumes of every layout. A model knows which
// blocks of which file have a place; e2fsck is the judge of everything else.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ext4_bed.h"
#include "fs/volume_private.h"
#include "kernel/panic.h"
#include "kernel/pool.h"
#include "shim.h"

#define FILES	   16
#define BLOCKS_MAX 6000 // of a file of the model

// What the model knows of a file.
struct file {
	struct inode *inode;
	bool mapped[BLOCKS_MAX];
};
static struct file files[FILES];
static struct ext4 *fs;

static uint32_t credits(enum filesystem_change change)
{
	return ext4_writing.credits(bed_volume, change);
}

static struct inode *open_file(const char *name)
{
	struct inode *root = volume_root_inode(bed_volume), *inode;
	uint64_t number;
	assert_int_equal(ext4_filesystem.lookup(root, name, strlen(name), &number), 0);
	assert_int_equal(inode_open(bed_volume, number, &inode), 0);
	inode_put(root);
	return inode;
}

static void open_files(void)
{
	for (int i = 0; i < FILES; i++) {
		char name[16];
		snprintf(name, sizeof(name), "f%d", i);
		files[i].inode = open_file(name);
	}
}

static void put_files(void)
{
	for (int i = 0; i < FILES; i++)
		inode_put(files[i].inode);
}

// A volume with empty files f0, f1, ...
static void start(const char *words, const char *size)
{
	char line[300];
	assert_int_equal(
	    system("rm -rf build/host/ext4_alloc_tree; mkdir -p build/host/ext4_alloc_tree;"
		   " for i in `seq 0 15`; do : > build/host/ext4_alloc_tree/f$i; done"),
	    0);
	snprintf(line, sizeof(line), "%s -d build/host/ext4_alloc_tree", words);
	fs = bed_start(line, size);
	memset(files, 0, sizeof(files));
	open_files();
}

static void finish(void)
{
	put_files();
	bed_finish();
}

// One call; the file grows to its end as a writer's would have.
static int allocate(struct file *file, uint64_t block, uint64_t count, struct fs_extent *out)
{
	struct transaction t;
	uint64_t end = (block + count) << fs->block_shift, before = file->inode->size;
	assert_int_equal(transaction_begin(&t, bed_volume, credits(CHANGE_ALLOCATE)), 0);
	file->inode->size = MAX(before, end);
	int error = ext4_allocate(&t, file->inode, block, count, out);
	if (error) {
		transaction_cancel(&t);
		file->inode->size = before;
		return error;
	}
	transaction_end(&t);
	assert_true(out->count && out->count <= count && out->file_block == block && !out->hole);
	for (uint64_t i = 0; i < out->count && block + i < BLOCKS_MAX; i++)
		file->mapped[block + i] = true;
	return 0;
}

// All of a stretch. 0, -ENOSPC.
static int fill(struct file *file, uint64_t block, uint64_t count)
{
	while (count) {
		struct fs_extent run;
		int error = allocate(file, block, count, &run);
		if (error == -EAGAIN) {
			bed_settle();
			continue;
		}
		if (error)
			return error;
		block += run.count;
		count -= run.count;
	}
	return 0;
}

static int truncate(struct file *file, uint64_t size)
{
	bool more = true;
	while (more) {
		struct transaction t;
		uint32_t cost = credits(CHANGE_TRUNCATE_STEP) + credits(CHANGE_ORPHAN);
		assert_int_equal(transaction_begin(&t, bed_volume, cost), 0);
		int error = ext4_orphan_add(&t, file->inode);
		if (!error)
			error = ext4_truncate_step(&t, file->inode, size, &more);
		if (!error && !more)
			error = ext4_orphan_remove(&t, file->inode);
		if (error) {
			transaction_cancel(&t);
			assert_int_equal(ext4_reload(file->inode), 0);
			return error;
		}
		transaction_end(&t);
	}
	uint64_t first = (size + fs->block_bytes - 1) >> fs->block_shift;
	for (uint64_t i = first; i < BLOCKS_MAX; i++)
		file->mapped[i] = false;
	return 0;
}

// Every file maps what the model says, no block is in two files, and no file's blocks are free.
static void check_model(void)
{
	uint8_t *seen = calloc(fs->blocks, 1);
	for (int i = 0; i < FILES; i++)
		for (uint64_t b = 0; b < BLOCKS_MAX; b++) {
			struct fs_extent at, cached;
			if (b << fs->block_shift >= files[i].inode->size) {
				assert_false(files[i].mapped[b]);
				continue;
			}
			assert_int_equal(ext4_map(files[i].inode, b, &at), 0);
			assert_int_equal(ext4_map_cached(files[i].inode, b, &cached), 0);
			assert_int_equal(at.hole, !files[i].mapped[b]);
			if (at.hole)
				continue;
			uint64_t disk = at.disk_block + (b - at.file_block);
			assert_int_equal(cached.disk_block + (b - cached.file_block), disk);
			assert_false(seen[disk]++);
		}
	free(seen);
}

static void one_change(void)
{
	struct file *file = &files[shim_random_below(FILES)];
	uint64_t block = shim_random_below(BLOCKS_MAX), count;
	uint64_t size = file->inode->size >> fs->block_shift;
	switch (shim_random_below(8)) {
	case 0: // somewhere
	case 1:
		count = 1 + shim_random_below(8);
		break;
	case 2: // every other block
		for (uint64_t i = 0; i < 60 && block + i < BLOCKS_MAX; i += 2)
			(void)fill(file, block + i, 1);
		return;
	case 3:
	case 4: // at the end
	case 5:
		block = MIN(size, BLOCKS_MAX - 1UL);
		count = 1 + shim_random_below(200);
		break;
	case 6:
		assert_int_equal(truncate(file, shim_random_below(file->inode->size + 1)), 0);
		return;
	default:
		assert_int_equal(truncate(file, shim_random_below(4) ? file->inode->size : 0), 0);
		return;
	}
	(void)fill(file, block, MIN(count, BLOCKS_MAX - block));
}

static void random_work(const char *words, const char *size, unsigned steps)
{
	start(words, size);
	for (unsigned i = 0; i < steps; i++) {
		one_change();
		if (i % 128 == 127)
			bed_settle();
		if (i == steps / 2) { // another life
			check_model();
			put_files();
			bed_unmount(true);
			fs = bed_mount();
			open_files();
		}
	}
	check_model();
	finish();
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
}

static unsigned depth_of(const struct file *file)
{
	const struct ext4_node *node = inode_format_data(file->inode);
	return ((const struct ext4_extent_header *)node->block)->eh_depth;
}

static uint64_t free_now(void)
{
	struct volume_space space;
	ext4_space(bed_volume, &space);
	assert_int_equal(space.blocks_reserved, 0);
	return fs->free_blocks;
}

// One block in two, so that nothing joins: 84 entries in a node of 1 KB.
static void trees_grow_to_three_levels_and_go_again(void **state)
{
	static bool there[70000];
	start("-b 1024 -m 0", "120m");
	uint64_t before = free_now();
	struct fs_extent run;
	for (uint64_t b = 0; b < 2 * 28400; b += 2)
		assert_int_equal(allocate(&files[0], b, 1, &run), 0);
	assert_int_equal(depth_of(&files[0]), 3);
	// The other way round, and at random.
	for (uint64_t b = 2 * 400; b; b -= 2)
		assert_int_equal(allocate(&files[1], b, 1, &run), 0);
	assert_int_equal(depth_of(&files[1]), 2);
	memset(there, 0, sizeof(there));
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t b = shim_random_below(10000) * 3;
		if (!there[b])
			assert_int_equal(allocate(&files[2], b, 1, &run), 0);
		there[b] = true;
	}
	assert_int_equal(depth_of(&files[2]), 2);
	put_files();
	bed_unmount(true);
	fs = bed_mount();
	open_files();
	for (uint64_t b = 0; b < 30000; b++) {
		assert_int_equal(ext4_map(files[2].inode, b, &run), 0);
		assert_int_equal(run.hole, !there[b]);
	}
	for (int i = 0; i < 3; i++) {
		// In two goes: the second from a tree that was shortened.
		assert_int_equal(truncate(&files[i], 1000 * 1024 + 7), 0);
		assert_int_equal(truncate(&files[i], 0), 0);
		assert_int_equal(depth_of(&files[i]), 0);
	}
	assert_int_equal(free_now(), before);
	finish();
}

static void holes_that_are_filled_join_again(void **state)
{
	struct fs_extent run;
	start("-b 4096", "64m");
	for (uint64_t b = 0; b < 3000; b += 2)
		assert_int_equal(allocate(&files[0], b, 1, &run), 0);
	for (uint64_t b = 1; b < 3000; b += 2)
		assert_int_equal(allocate(&files[0], b, 1, &run), 0);
	unsigned pieces = 0;
	for (uint64_t b = 0; b < 3000; b += run.count, pieces++)
		assert_int_equal(ext4_map(files[0].inode, b, &run), 0);
	assert_in_range(pieces, 1, 40); // each block's place was kept, but where the tree took it
	check_model();
	finish();
}

static void until_the_disk_is_full(const char *words)
{
	struct fs_extent run;
	start(words, "20m");
	uint64_t before = free_now(), given = 0;
	int error = 0;
	// Interleaved, so that trees need blocks too.
	for (uint64_t b = 0; !error; b += 3)
		for (int i = 0; i < FILES && !error; i++) {
			error = allocate(&files[i], b, 1 + shim_random_below(2), &run);
			given += error ? 0 : run.count;
		}
	assert_int_equal(error, -ENOSPC);
	uint64_t left = free_now();
	assert_in_range(left, 0, 6); // a tree may have wanted more than there was
	assert_true(given > before / 2);
	put_files();
	bed_unmount(true);
	fs = bed_mount();
	open_files();
	for (int i = 0; i < FILES; i++)
		assert_int_equal(truncate(&files[i], 0), 0);
	assert_int_equal(free_now(), before);
	// What is not committed yet cannot be had, and that is said.
	assert_int_equal(allocate(&files[0], 0, 1, &run), left ? 0 : -EAGAIN);
	finish();
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
	start("-b 1024 -m 0", "8m");
	while (!allocate(&files[0], b, 1000, &run))
		b += run.count;
	bed_settle();
	assert_int_equal(truncate(&files[0], 100 * 1024), 0);
	assert_int_equal(allocate(&files[1], 0, 10, &run), -EAGAIN);
	assert_true(free_now() > 1000);
	bed_settle();
	assert_int_equal(allocate(&files[1], 0, 10, &run), 0);
	finish();
}

static void promises_are_kept_and_no_more_is_promised_than_there_is(void **state)
{
	struct volume_space space;
	uint64_t promised = 0, block;
	struct transaction t;
	start("-b 4096 -m 5", "64m");
	ext4_space(bed_volume, &space);
	assert_int_equal(space.blocks_free, fs->free_blocks - fs->root_blocks);
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
	assert_int_equal(ext4_allocate_meta(&t, files[0].inode, 0, &block), -ENOSPC);
	transaction_cancel(&t);
	for (uint64_t n = 0; n < promised; n++) {
		struct fs_extent run;
		assert_int_equal(allocate(&files[n % FILES], n / FILES * 2, 1, &run), 0);
		ext4_unreserve(bed_volume, 1);
	}
	finish();
}

// The writers take turns as the write-back of as many uploads does.
static void streams_stay_in_a_few_pieces(void **state)
{
	enum { WRITERS = 8 };
	const uint64_t blocks = (100UL << 20) >> 12;
	unsigned pieces[WRITERS] = {0};
	struct fs_extent run, last[WRITERS] = {0};
	start("-b 4096", "1200m");
	for (uint64_t at = 0; at < blocks; at += 256)
		for (int w = 0; w < WRITERS; w++)
			for (uint64_t done = 0; done < 256 && at + done < blocks;) {
				uint64_t want = MIN(256 - done, blocks - at - done);
				assert_int_equal(allocate(&files[w], at + done, want, &run), 0);
				pieces[w] += run.disk_block != last[w].disk_block + last[w].count;
				last[w] = run;
				done += run.count;
			}
	for (int w = 0; w < WRITERS; w++) {
		ext4_release_preallocation(files[w].inode);
		assert_in_range(pieces[w], 1, 12);
	}
	finish();
}

static void small_files_lie_side_by_side(void **state)
{
	struct fs_extent run, last = {0};
	unsigned apart = 0;
	start("-b 4096", "64m");
	for (int i = 0; i < FILES; i++) {
		assert_int_equal(allocate(&files[i], 0, 4, &run), 0);
		assert_int_equal(run.count, 4);
		apart += i && run.disk_block != last.disk_block + 4;
		last = run;
	}
	assert_int_equal(apart, 0);
	finish();
}

// debugfs makes them, as Linux's fallocate does.
static void unwritten_extents_are_written_in_part(void **state)
{
	struct fs_extent run;
	uint64_t marked = 0;
	start("-b 1024", "24m");
	put_files();
	bed_unmount(true);
	bed_debugfs("fallocate /f0 0 3999");
	fs = bed_mount();
	open_files();
	uint64_t before = free_now();
	files[0].inode->size = 4000 * 1024;
	for (unsigned i = 0; i < 300; i++) {
		uint64_t b = shim_random_below(4000), count = 1 + shim_random_below(20);
		count = MIN(count, 4000 - b);
		assert_int_equal(fill(&files[0], b, count), 0);
	}
	for (uint64_t b = 0; b < 4000; b++) {
		assert_int_equal(ext4_map(files[0].inode, b, &run), 0);
		assert_int_equal(run.hole, !files[0].mapped[b]);
		marked += !run.hole;
	}
	assert_in_range(marked, 300, 3999);
	assert_in_range(before - free_now(), 1, 12); // the tree's
	check_model();
	assert_int_equal(truncate(&files[0], 0), 0);
	finish();
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
	    cmocka_unit_test(streams_stay_in_a_few_pieces),
	    cmocka_unit_test(small_files_lie_side_by_side),
	    cmocka_unit_test(unwritten_extents_are_written_in_part),
	};
	return cmocka_run_group_tests_name("ext4 alloc", tests, NULL, NULL);
}
