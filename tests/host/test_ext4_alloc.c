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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_work_on_every_layout),
	};
	return cmocka_run_group_tests_name("ext4 alloc", tests, NULL, NULL);
}
