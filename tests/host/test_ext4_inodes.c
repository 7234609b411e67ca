// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/ext4_bed.c fs/*.c kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// ext4's inodes: taken and given back, where directories go, what the table says of them; and orphans, which are
// finished by the next mount. e2fsck is the judge.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ext4_bed.h"
#include "fs/file.h"
#include "fs/name.h"
#include "fs/volume_private.h"
#include "kernel/panic.h"
#include "kernel/pool.h"
#include "shim.h"

static struct ext4 *fs;
static struct inode *root;

static void start(const char *words, const char *size)
{
	fs = bed_start(words, size);
	root = volume_root_inode(bed_volume);
}

static void finish(void)
{
	inode_put(root);
	bed_finish();
}

static uint32_t credits(enum filesystem_change change)
{
	return ext4_writing.credits(bed_volume, change);
}

static void write_blocks(struct inode *inode, uint64_t first, uint64_t count, uint64_t step)
{
	inode->size = MAX(inode->size, (first + count * step) << fs->block_shift);
	for (; count; count--, first += step) {
		struct fs_extent run;
		struct transaction t;
		assert_int_equal(transaction_begin(&t, bed_volume, credits(CHANGE_ALLOCATE)), 0);
		assert_int_equal(ext4_allocate(&t, inode, first, 1, &run), 0);
		transaction_end(&t);
	}
}

static void every_inode_is_given_out_once_and_comes_back(void **state)
{
	static struct inode *held[2000];
	unsigned count = 0;
	int error;
	start("-b 1024 -N 600", "8m");
	uint32_t before = fs->free_inodes;
	uint64_t blocks = fs->free_blocks;
	while (!(error = file_create(root, 0644, &held[count]))) {
		for (unsigned i = count > 20 ? count - 20 : 0; i < count; i++)
			assert_int_not_equal(held[i]->number, held[count]->number);
		count++;
	}
	assert_int_equal(error, -ENOSPC);
	assert_int_equal(count, before);
	assert_int_equal(fs->free_inodes, 0);
	while (count)
		inode_put(held[--count]);
	inode_wait_deleted();
	assert_int_equal(fs->free_inodes, before);
	assert_int_equal(fs->free_blocks, blocks);
	finish();
}

static void directories_of_the_root_spread_and_others_stay_near(void **state)
{
	struct inode *dir[60], *child, *file;
	uint8_t used[64] = {0};
	unsigned groups = 0, near = 0;
	start("-b 1024 -O ^flex_bg", "200m");
	for (int i = 0; i < 60; i++) {
		char name[16];
		snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(dir_create(root, name, strlen(name), 0755, &dir[i]), 0);
		uint64_t group = (dir[i]->number - 1) / fs->inodes_per_group;
		groups += !used[group]++;
		assert_int_equal(dir_create(dir[i], "child", 5, 0755, &child), 0);
		near += (child->number - 1) / fs->inodes_per_group == group;
		assert_int_equal(file_create(child, 0644, &file), 0);
		near += (file->number - 1) / fs->inodes_per_group == group;
		write_blocks(file, 0, 3, 1);
		struct fs_extent run;
		assert_int_equal(ext4_map(file, 0, &run), 0);
		near += ext4_group_of(fs, run.disk_block) == group;
		inode_put(file);
		inode_put(child);
	}
	assert_true(groups >= 20);
	assert_true(near >= 170);
	for (int i = 0; i < 60; i++)
		inode_put(dir[i]);
	inode_wait_deleted();
	finish();
}

static void expect(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no \"%s\" in: %s", part, text);
}

// debugfs reads it.
static void what_the_table_says(const char *words, const char *blocks, bool extra)
{
	struct inode *file, *dir;
	char line[40];
	start(words, "32m");
	assert_int_equal(dir_create(root, "dir", 3, 0750, &dir), 0);
	assert_int_equal(file_create(dir, 04751, &file), 0);
	assert_int_equal(file_link(dir, "a", 1, file, NAME_NEW), 0);
	assert_int_equal(file_link(dir, "b", 1, file, NAME_NEW), 0);
	uint64_t generation = file->generation, block_bytes = fs->block_bytes;
	write_blocks(file, 0, 1, 1);
	write_blocks(file, (5UL << 30) >> fs->block_shift, 2, 1);
	assert_int_equal(inode_set_attributes(file, INODE_SET_MTIME, 0, 0x123456789, 987654321), 0);
	struct transaction t;
	assert_int_equal(transaction_begin(&t, bed_volume, credits(CHANGE_INODE)), 0);
	assert_int_equal(ext4_write_inode(&t, file), 0);
	transaction_end(&t);
	inode_put(file);
	inode_put(dir);
	inode_put(root);
	bed_unmount(true);

	const char *said = bed_debugfs("stat /dir/a");
	expect(said, "Type: regular    Mode:  04751");
	snprintf(line, sizeof(line), "Generation: %lu", (unsigned long)generation);
	expect(said, line);
	expect(said, "User:  1234   Group: 70000   ");
	snprintf(line, sizeof(line), "Size: %lu", (5UL << 30) + 2 * block_bytes);
	expect(said, line);
	expect(said, blocks);
	expect(said, extra ? "mtime: 0x23456789:eb79a2c5" : "mtime: 0x23456789 ");
	if (extra)
		expect(said, "crtime: 0x");
	expect(bed_debugfs("stat /dir"), "Mode:  0750");
	expect(bed_debugfs("show_super_stats -h"), "large_file");
	fs = bed_mount();
	root = volume_root_inode(bed_volume);
	assert_int_equal(name_find_wait(bed_volume, "dir/b", 5, &file), 0);
	assert_int_equal(file->mtime_sec, extra ? 0x123456789 : 0x23456789);
	assert_int_equal(file->mtime_nsec, extra ? 987654321 : 0);
	assert_int_equal(file->links, 2);
	inode_put(file);
	finish();
}

static void what_the_table_says_of_inodes_of_each_size(void **state)
{
	what_the_table_says("-b 4096 -O ^large_file -E root_owner=1234:70000",
			    "Links: 2   Blockcount: 24\n", true);
	what_the_table_says("-b 1024 -I 512 -E root_owner=1234:70000", "Links: 2   Blockcount: 6\n",
			    true);
	what_the_table_says("-b 1024 -I 128 -O ^huge_file -E root_owner=1234:70000",
			    "Links: 2   Blockcount: 6\n", false);
}

// As a crash leaves them: files without a name, a directory, a truncation half-way.
static void orphans(const char *words, unsigned count)
{
	struct inode *held[400], *kept, *dir;
	struct transaction t;
	bool more;
	assert_true(count <= ARRAY_SIZE(held));
	start(words, "40m");
	assert_int_equal(file_create(root, 0600, &kept), 0);
	assert_int_equal(file_link(root, "kept", 4, kept, NAME_NEW), 0);
	write_blocks(kept, 0, 700, 2);
	uint64_t blocks = fs->free_blocks, kept_blocks = 0;
	uint32_t inodes = fs->free_inodes;
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(file_create(root, 0600, &held[i]), 0);
		write_blocks(held[i], i % 3, i % 5, 1 + i % 2);
	}
	assert_int_equal(dir_create(root, "dir", 3, 0700, &dir), 0);
	assert_int_equal(name_remove(root, "dir", 3), 0);
	// Some go again, first, last and in the middle.
	for (unsigned i = 0; i < count; i += count / 2) {
		inode_put(held[i]);
		held[i] = NULL;
	}
	inode_wait_deleted();
	uint32_t cost = credits(CHANGE_TRUNCATE_STEP) + credits(CHANGE_ORPHAN);
	assert_int_equal(transaction_begin(&t, bed_volume, cost), 0);
	assert_int_equal(ext4_orphan_add(&t, kept), 0);
	assert_int_equal(ext4_truncate_step(&t, kept, 5000, &more), 0);
	assert_true(more);
	transaction_end(&t);
	bed_snapshot();
	for (unsigned i = 0; i < count; i++)
		if (held[i])
			inode_put(held[i]);
	inode_put(dir);
	inode_put(kept);
	inode_put(root);
	inode_wait_deleted();
	bed_restore();

	fs = bed_mount();
	root = volume_root_inode(bed_volume);
	assert_int_equal(name_find_wait(bed_volume, "kept", 4, &kept), 0);
	assert_int_equal(kept->size, 5000);
	for (uint64_t b = 0; b << fs->block_shift < kept->size; b++) {
		struct fs_extent run;
		assert_int_equal(ext4_map(kept, b, &run), 0);
		kept_blocks += !run.hole;
	}
	assert_int_equal(fs->free_inodes, inodes);
	assert_in_range(fs->free_blocks, blocks + 700 - kept_blocks, blocks + 720);
	inode_put(kept);
	finish();
}

static void orphans_are_finished_by_the_next_mount(void **state)
{
	orphans("-b 1024 -O ^orphan_file", 40);
	orphans("-b 1024 -O orphan_file", 300); // more than a block of it holds
	orphans("-b 4096 -O orphan_file,metadata_csum_seed", 40);
	orphans("-b 1024 -O orphan_file,^metadata_csum", 40);
	orphans("-b 1024 -O ^orphan_file,^metadata_csum", 40);
}

// A name that leads to something else by now is left alone by who was sure of what it led to.
static void a_name_that_leads_elsewhere_stays(void **state)
{
	struct inode *was, *is, *found;
	start("-b 1024", "8m");
	assert_int_equal(file_create(root, 0600, &was), 0);
	assert_int_equal(file_create(root, 0600, &is), 0);
	assert_int_equal(file_link(root, "a", 1, was, NAME_NEW), 0);
	assert_int_equal(file_link_if(root, "a", 1, is, is->number, is->generation), -ESTALE);
	assert_int_equal(file_link_if(root, "a", 1, is, was->number, was->generation + 1), -ESTALE);
	assert_int_equal(file_link_if(root, "a", 1, is, was->number, was->generation), 0);
	assert_int_equal(name_remove_if(root, "a", 1, was), -ESTALE);
	assert_int_equal(name_rename_if(root, "a", 1, root, "b", 1, NAME_NEW, was), -ESTALE);
	assert_int_equal(name_find_wait(bed_volume, "a", 1, &found), 0);
	assert_ptr_equal(found, is);
	inode_put(found);
	assert_int_equal(name_rename_if(root, "a", 1, root, "b", 1, NAME_NEW, is), 0);
	assert_int_equal(name_remove_if(root, "a", 1, is), -ENOENT);
	assert_int_equal(name_remove_if(root, "b", 1, is), 0);
	assert_int_equal(name_find_wait(bed_volume, "b", 1, &found), -ENOENT);
	inode_put(was);
	inode_put(is);
	inode_wait_deleted();
	finish();
}

// What was freed and is not committed may not be given out: who needs it waits for that commit.
static void room_that_waits_for_a_commit_is_waited_for(void **state)
{
	struct inode *large, *dir, *link;
	struct transaction t;
	struct fs_extent run;
	char name[16], target[900];
	int error = 0;
	start("-b 1024 -m 0 -N 200", "8m");
	assert_int_equal(file_create(root, 0644, &large), 0);
	assert_int_equal(file_link(root, "large", 5, large, NAME_NEW), 0);
	for (uint64_t at = 0; !error; at += error ? 0 : run.count) {
		assert_int_equal(transaction_begin(&t, bed_volume, credits(CHANGE_ALLOCATE)), 0);
		large->size = (at + 1000) << fs->block_shift;
		error = ext4_allocate(&t, large, at, 1000, &run);
		if (error)
			transaction_cancel(&t);
		else
			transaction_end(&t);
	}
	assert_int_equal(error, -ENOSPC);
	assert_int_equal(fs->free_blocks, 0);
	assert_int_equal(dir_create(root, "none", 4, 0755, &dir), -ENOSPC);
	bed_settle();
	assert_int_equal(file_truncate(large, 3000 << 10), 0);
	assert_int_equal(dir_create(root, "dir", 3, 0755, &dir), 0);
	inode_put(dir);
	assert_int_equal(file_truncate(large, 1000 << 10), 0);
	memset(target, 'x', sizeof(target));
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "link%d", i);
		assert_int_equal(symlink_create(root, name, strlen(name), target, 900, &link), 0);
		inode_put(link);
	}
	inode_put(large);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_inode_is_given_out_once_and_comes_back),
	    cmocka_unit_test(directories_of_the_root_spread_and_others_stay_near),
	    cmocka_unit_test(what_the_table_says_of_inodes_of_each_size),
	    cmocka_unit_test(a_name_that_leads_elsewhere_stays),
	    cmocka_unit_test(room_that_waits_for_a_commit_is_waited_for),
	    cmocka_unit_test(orphans_are_finished_by_the_next_mount),
	};
	return cmocka_run_group_tests_name("ext4 inodes", tests, NULL, NULL);
}
