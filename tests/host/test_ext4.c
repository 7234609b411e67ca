// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/image_meta.c tests/host/ext4_tree.c fs/ext4_*.c fs/journal*.c kernel/crc32.c
// ext4 against e2fsprogs: images made by mke2fs, e2fsck and debugfs from a tree (ext4_images.py)
// are read and compared with that tree, over block sizes, inode sizes and features.
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ext4_tree.h"
#include "fs/ext4.h"
#include "kernel/kstat.h"
#include "shim.h"

static void mount_image(struct image *image, const char *group, const char *name)
{
	char path[200];
	snprintf(path, sizeof(path), EXT4_IMAGES "/%s/%s.img", group, name);
	int error = image_open(image, path);
	if (error)
		fail_msg("%s: mount: %d", path, error);
}

static void compare(const char *name, const char *tree, unsigned least)
{
	struct image image;
	char path[200];
	int error;
	mount_image(&image, "trees", name);
	struct inode *root = image_find(&image, "", &error);
	assert_non_null(root);
	snprintf(path, sizeof(path), EXT4_IMAGES "/trees/%s", tree);
	assert_true(ext4_compare_tree(&image, root, path, true) >= least);
	assert_non_null(strstr(image.volume.state, "read-only"));
	assert_true(image.volume.read_only);
	image_inode_free(root);
	image_close(&image);
}

static void default_volumes_of_each_block_size(void **state)
{
	compare("default-4096", "tree-4096", 1600);
	compare("default-2048", "tree-2048", 1600);
	compare("default-1024", "tree-1024", 1600);
}

static void inode_sizes(void **state)
{
	compare("inode128", "tree-small", 100);
	compare("inode1024", "tree-small", 100);
}

static void without_metadata_checksums(void **state)
{
	compare("nocsum", "tree-4096", 1600);
	compare("gdt_csum", "tree-small", 100);
	compare("gdt_csum-32bit", "tree-small", 100);
}

static void block_mapped_files(void **state)
{
	compare("ext3-1024", "tree-1024", 1600);
	compare("ext3-4096", "tree-4096", 1600);
	compare("extent-less-csum", "tree-2048", 1600);
	compare("rev0", "tree-rev0", 1);
}

static void other_layouts_of_groups(void **state)
{
	compare("no64bit", "tree-small", 100);
	compare("meta_bg", "tree-small", 100);
	compare("sparse_super2", "tree-small", 100);
	compare("bigalloc", "tree-small", 100);
	compare("bigalloc-1024", "tree-small", 100);
	compare("small-groups", "tree-small", 100);
}

static void features_that_do_not_change_reading(void **state)
{
	compare("nofiletype", "tree-small", 100);
	compare("no-index", "tree-small", 100);
	compare("ea_inode-largedir", "tree-small", 100);
	compare("mmp-verity", "tree-small", 100);
}

static void directories_indexed_by_e2fsck(void **state)
{
	compare("indexed-default-4096", "tree-4096", 1600);
	compare("indexed-default-1024", "tree-1024", 1600);
	compare("indexed-nocsum", "tree-4096", 1600);
	compare("indexed-ext3-1024", "tree-1024", 1600);
}

static bool count_entry(void *ctx, const struct dir_entry *entry)
{
	++*(unsigned *)ctx;
	return true;
}

static void large_directory(const char *name, unsigned count, unsigned levels)
{
	struct image image;
	int error;
	unsigned listed = 0;
	uint64_t cursor = 0, number, most = 0;
	mount_image(&image, "large", name);
	struct inode *dir = image_find(&image, "dir", &error);
	assert_non_null(dir);
	for (unsigned i = 0; i < count; i += 1 + count / 3000) {
		char file[40];
		uint64_t before = image.meta_gets;
		int len = snprintf(file, sizeof(file), "n%u-\xe4%.*s", i, (int)(i % 7),
				   "\xff\xff\xff\xff\xff\xff\xff");
		error = ext4_filesystem.lookup(dir, file, (size_t)len, &number);
		if (error)
			fail_msg("%s: %s: %d", name, file, error);
		if (image.meta_gets - before > most)
			most = image.meta_gets - before;
		file[0] = 'm';
		assert_int_equal(ext4_filesystem.lookup(dir, file, (size_t)len, &number), -ENOENT);
	}
	// The index's levels, the leaf, the next leaf of the same hash, and extent blocks.
	assert_in_range(most, levels + 1, 2 * (levels + 1) + 2);
	assert_int_equal(ext4_filesystem.read_dir(dir, &cursor, count_entry, &listed), 0);
	assert_int_equal(listed, count);
	image_inode_free(dir);
	image_close(&image);
}

static void a_hundred_thousand_names_in_a_few_reads(void **state)
{
	large_directory("large-4096", 100000, 2);
	large_directory("large-1024", 30000, 2);
	large_directory("large-nocsum", 5000, 1);
}

static void each_directory_hash(void **state)
{
	large_directory("large-tea", 5000, 1);
	large_directory("large-legacy", 5000, 1);
	large_directory("large-unsigned", 5000, 1);
	large_directory("large-tea-unsigned", 5000, 1);
	large_directory("large-legacy-unsigned", 5000, 1);
}

static const char *make_name(char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		name[i] = "abcdefghijklmnopqrstuvwxyz\xe4\xf6\xfc\x80_+"[(i * 7 + len) % 32];
	name[len] = 0;
	return name;
}

// debugfs knows the signed kinds only; large_directory judges the others by e2fsck's indexes.
static void hashes_equal_those_of_debugfs(void **state)
{
	static const char *const algorithms[] = {"legacy", "half_md4", "tea"};
	static const uint32_t standard[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
	static const uint32_t none[4];
	const char *commands = EXT4_IMAGES "/dx_hash.commands";
	FILE *f = fopen(commands, "w");
	char name[256], line[400];
	unsigned want, checked = 0;
	assert_non_null(f);
	for (size_t len = 1; len < 256; len++)
		for (unsigned version = 0; version < ARRAY_SIZE(algorithms); version++)
			fprintf(f, "dx_hash -h %s %s\n", algorithms[version], make_name(name, len));
	fclose(f);
	f = popen("debugfs -f " EXT4_IMAGES "/dx_hash.commands 2>&1", "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		char *at = strstr(line, " is 0x");
		if (!at)
			continue;
		assert_int_equal(sscanf(at, " is %x", &want), 1);
		unsigned version = checked % ARRAY_SIZE(algorithms);
		size_t len = 1 + checked++ / ARRAY_SIZE(algorithms);
		assert_int_equal(ext4_hash(version, none, make_name(name, len), len), want);
		assert_int_equal(ext4_hash(version, standard, name, len), want);
	}
	pclose(f);
	assert_int_equal(checked, 255 * ARRAY_SIZE(algorithms));
}

static void expect_refused(const char *name, int want)
{
	struct image image;
	char path[200];
	snprintf(path, sizeof(path), EXT4_IMAGES "/refused/%s.img", name);
	assert_int_equal(image_open(&image, path), want);
	image_close(&image);
}

static void what_cannot_be_read_is_refused(void **state)
{
	expect_refused("inline_data", -EOPNOTSUPP);
	expect_refused("encrypt", -EOPNOTSUPP);
	expect_refused("casefold", -EOPNOTSUPP);
	expect_refused("journal_dev", -EOPNOTSUPP);
	expect_refused("block65536", -EOPNOTSUPP);
	expect_refused("unknown", -EOPNOTSUPP);
	expect_refused("not-ext4", -ENODEV);
}

static void special_and_unused_inodes_are_not_there(void **state)
{
	struct image image;
	int error;
	mount_image(&image, "trees", "default-4096");
	static const uint64_t numbers[] = {0,  1,    3,	   7,	 8,	    10,
					   12, 8000, 8192, 8193, 1UL << 32, ~0UL};
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		assert_null(image_inode(&image, numbers[i], &error));
		assert_int_equal(error, -ENOENT);
	}
	image_close(&image);
}

static void errors_of_callers(void **state)
{
	struct image image;
	struct fs_extent extent;
	int error;
	uint64_t number, cursor = 0;
	char name[300];
	memset(name, 'x', sizeof(name));
	mount_image(&image, "trees", "default-1024");
	struct inode *root = image_find(&image, "", &error);
	struct inode *file = image_find(&image, "sizes/4097", &error);
	assert_non_null(root);
	assert_non_null(file);
	assert_int_equal(ext4_filesystem.lookup(root, name, 256, &number), -ENAMETOOLONG);
	assert_int_equal(ext4_filesystem.lookup(root, name, 255, &number), -ENOENT);
	assert_int_equal(ext4_filesystem.lookup(root, name, 0, &number), -ENOENT);
	assert_int_equal(ext4_filesystem.lookup(file, name, 1, &number), -ENOTDIR);
	assert_int_equal(ext4_filesystem.read_dir(file, &cursor, count_entry, NULL), -ENOTDIR);
	assert_int_equal(ext4_filesystem.read_link(file, name, sizeof(name)), -EINVAL);
	assert_int_equal(ext4_filesystem.map(file, 1UL << 32, &extent), -ERANGE);
	assert_int_equal(kstat_get("pagewire_ext4_corruptions_total", NULL), 0);
	image_inode_free(root);
	image_inode_free(file);
	image_close(&image);
}

int main(void)
{
	ext4_make_images("trees");
	ext4_make_images("large");
	ext4_make_images("refused");
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(default_volumes_of_each_block_size, images_setup,
					    images_teardown),
	    cmocka_unit_test_setup_teardown(inode_sizes, images_setup, images_teardown),
	    cmocka_unit_test_setup_teardown(without_metadata_checksums, images_setup,
					    images_teardown),
	    cmocka_unit_test_setup_teardown(block_mapped_files, images_setup, images_teardown),
	    cmocka_unit_test_setup_teardown(other_layouts_of_groups, images_setup, images_teardown),
	    cmocka_unit_test_setup_teardown(features_that_do_not_change_reading, images_setup,
					    images_teardown),
	    cmocka_unit_test_setup_teardown(directories_indexed_by_e2fsck, images_setup,
					    images_teardown),
	    cmocka_unit_test_setup_teardown(a_hundred_thousand_names_in_a_few_reads, images_setup,
					    images_teardown),
	    cmocka_unit_test_setup_teardown(each_directory_hash, images_setup, images_teardown),
	    cmocka_unit_test_setup_teardown(hashes_equal_those_of_debugfs, images_setup,
					    images_teardown),
	    cmocka_unit_test_setup_teardown(what_cannot_be_read_is_refused, images_setup,
					    images_teardown),
	    cmocka_unit_test_setup_teardown(special_and_unused_inodes_are_not_there, images_setup,
					    images_teardown),
	    cmocka_unit_test_setup_teardown(errors_of_callers, images_setup, images_teardown),
	};
	return cmocka_run_group_tests_name("ext4", tests, NULL, NULL);
}
