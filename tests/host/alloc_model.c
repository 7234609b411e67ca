// SPDX-License-Identifier: BSD-2-Clause
// See alloc_model.h.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "alloc_model.h"
#include "shim.h"

struct model_file model_files[MODEL_FILES];
struct ext4 *model_fs;

uint32_t model_credits(enum filesystem_change change)
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

void model_open(void)
{
	for (int i = 0; i < MODEL_FILES; i++) {
		char name[16];
		snprintf(name, sizeof(name), "f%d", i);
		model_files[i].inode = open_file(name);
	}
}

void model_put(void)
{
	for (int i = 0; i < MODEL_FILES; i++)
		inode_put(model_files[i].inode);
}

// A volume with empty files f0, f1, ...
void model_start(const char *words, const char *size)
{
	char line[300];
	assert_int_equal(
	    system("rm -rf build/host/ext4_alloc_tree; mkdir -p build/host/ext4_alloc_tree;"
		   " for i in `seq 0 15`; do : > build/host/ext4_alloc_tree/f$i; done"),
	    0);
	snprintf(line, sizeof(line), "%s -d build/host/ext4_alloc_tree", words);
	model_fs = bed_start(line, size);
	memset(model_files, 0, sizeof(model_files));
	model_open();
}

void model_finish(void)
{
	model_put();
	bed_finish();
}

// One call; the file grows to its end as a writer's would have.
int model_allocate(struct model_file *file, uint64_t block, uint64_t count, struct fs_extent *out)
{
	struct transaction t;
	uint64_t end = (block + count) << model_fs->block_shift, before = file->inode->size;
	assert_int_equal(transaction_begin(&t, bed_volume, model_credits(CHANGE_ALLOCATE)), 0);
	file->inode->size = MAX(before, end);
	int error = ext4_allocate(&t, file->inode, block, count, out);
	if (error) {
		transaction_cancel(&t);
		file->inode->size = before;
		return error;
	}
	transaction_end(&t);
	assert_true(out->count && out->count <= count && out->file_block == block && !out->hole);
	for (uint64_t i = 0; i < out->count && block + i < MODEL_BLOCKS; i++)
		file->mapped[block + i] = true;
	return 0;
}

// All of a stretch. 0, -ENOSPC.
int model_fill(struct model_file *file, uint64_t block, uint64_t count)
{
	while (count) {
		struct fs_extent run;
		int error = model_allocate(file, block, count, &run);
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

int model_truncate(struct model_file *file, uint64_t size)
{
	bool more = true;
	while (more) {
		struct transaction t;
		uint32_t cost = model_credits(CHANGE_TRUNCATE_STEP) + model_credits(CHANGE_ORPHAN);
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
	uint64_t first = (size + model_fs->block_bytes - 1) >> model_fs->block_shift;
	for (uint64_t i = first; i < MODEL_BLOCKS; i++)
		file->mapped[i] = false;
	return 0;
}

// Every file maps what the model says, no block is in two files, and no file's blocks are free.
void model_check(void)
{
	uint8_t *seen = calloc(model_fs->blocks, 1);
	for (int i = 0; i < MODEL_FILES; i++)
		for (uint64_t b = 0; b < MODEL_BLOCKS; b++) {
			struct fs_extent at, cached;
			if (b << model_fs->block_shift >= model_files[i].inode->size) {
				assert_false(model_files[i].mapped[b]);
				continue;
			}
			assert_int_equal(ext4_map(model_files[i].inode, b, &at), 0);
			assert_int_equal(ext4_map_cached(model_files[i].inode, b, &cached), 0);
			assert_int_equal(at.hole, !model_files[i].mapped[b]);
			if (at.hole)
				continue;
			uint64_t disk = at.disk_block + (b - at.file_block);
			assert_int_equal(cached.disk_block + (b - cached.file_block), disk);
			assert_false(seen[disk]++);
		}
	free(seen);
}
