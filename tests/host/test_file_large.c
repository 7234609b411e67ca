// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/ext4_bed.c fs/*.c kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// Directories that grow: a hundred thousand names and their end, indexes of two and three levels and of every
// hash, names of one hash in many leaves, more subdirectories than can be counted; and where a file ends. e2fsck is
// the judge.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ext4_bed.h"
#include "fs/ext4_htree.h"
#include "fs/file.h"
#include "fs/volume_private.h"
#include "kernel/panic.h"
#include "shim.h"

// Disk requests end wherever an interrupt could come, without a sleep for each.
static void start(const char *words, const char *size)
{
	bed_start(words, size);
	shim_preempt(shim_seed());
}

static void remount(void)
{
	bed_mount();
	shim_preempt(shim_seed());
}

static struct inode *make_dir(const char *name)
{
	struct inode *root = volume_root_inode(bed_volume), *dir;
	assert_int_equal(dir_create(root, name, strlen(name), 0755, &dir), 0);
	inode_put(root);
	return dir;
}

static struct inode *open_dir(const char *name)
{
	struct inode *dir;
	assert_int_equal(name_find_wait(bed_volume, name, strlen(name), &dir), 0);
	return dir;
}

static struct inode *make_file(struct inode *dir, const char *name)
{
	struct inode *file;
	assert_int_equal(file_create(dir, 0644, &file), 0);
	assert_int_equal(file_link(dir, name, strlen(name), file, NAME_NEW), 0);
	return file;
}

static unsigned levels_of(struct inode *dir)
{
	struct ext4_htree_path path;
	int error = ext4_htree_descend(dir, "x", 1, &path);
	assert_int_equal(error, 0);
	unsigned levels = path.levels;
	ext4_htree_put(&path);
	return levels;
}

static bool count(void *ctx, const struct dir_entry *entry)
{
	++*(unsigned *)ctx;
	return true;
}

static unsigned entries_of(struct inode *dir)
{
	unsigned n = 0;
	uint64_t cursor = 0;
	assert_int_equal(inode_read_dir(dir, &cursor, count, &n), 0);
	return n;
}

// Of a length that changes and is less than len, or 255.
static int number_name(char *name, unsigned i, unsigned len)
{
	int n = snprintf(name, 256, "%u-\xff\xe4", i),
	    end = len < 255 && len ? (int)(i * 7 % len) : (int)len;
	while (n < end)
		name[n++] = '-';
	name[n] = 0;
	return n;
}

// Hard links spread over a few files: names are what is tested. Returns the levels of the index.
static unsigned fill(struct inode *dir, unsigned count, unsigned len)
{
	struct inode *file = NULL;
	char name[256];
	for (unsigned i = 0; i < count; i++) {
		int n = number_name(name, i, len);
		if (i % 60000 == 0) {
			if (file)
				inode_put(file);
			file = make_file(dir, name);
		} else {
			int error = file_link(dir, name, (size_t)n, file, NAME_NEW);
			if (error)
				fail_msg("%s: %d", name, error);
		}
		if (i % 1000 == 999)
			bed_settle();
	}
	inode_put(file);
	return levels_of(dir);
}

static void empty(struct inode *dir, unsigned count, unsigned len)
{
	char name[256];
	for (unsigned i = 0; i < count; i++) {
		unsigned k = (unsigned)(i * 7919UL % count); // a prime: each once, in disorder
		int n = number_name(name, k, len);
		assert_int_equal(name_remove(dir, name, (size_t)n), 0);
		if (i % 1000 == 999)
			bed_settle();
	}
	assert_int_equal(entries_of(dir), 0);
}

static void grow_and_shrink(const char *words, const char *size, unsigned names, unsigned len,
			    unsigned levels)
{
	start(words, size);
	struct inode *dir = make_dir("dir");
	assert_int_equal(fill(dir, names, len), levels);
	assert_int_equal(entries_of(dir), names);
	inode_put(dir);
	bed_unmount(true);
	remount();
	dir = open_dir("dir");
	assert_int_equal(entries_of(dir), names);
	empty(dir, names, len);
	inode_put(dir);
	struct inode *root = volume_root_inode(bed_volume);
	assert_int_equal(name_remove(root, "dir", 3), 0);
	inode_put(root);
	bed_finish();
}

static void a_hundred_thousand_names_come_and_go(void **state)
{
	grow_and_shrink("-b 4096", "64m", 100000, 30, 2);
}

static void three_levels_with_large_dir(void **state)
{
	grow_and_shrink("-b 1024 -O large_dir", "64m", 44000, 255, 3);
}

static void an_index_without_room_is_full(void **state)
{
	char name[256];
	start("-b 1024", "64m");
	struct inode *dir = make_dir("dir"), *file = make_file(dir, "first");
	unsigned i = 0;
	int error = 0;
	for (; !error; i++) {
		int n = snprintf(name, sizeof(name), "%0250u", i);
		error = file_link(dir, name, (size_t)n, file, NAME_NEW);
		if (i % 1000 == 999)
			bed_settle();
	}
	assert_int_equal(error, -ENOSPC);
	assert_in_range(i, 122 * 63 * 2, 123 * 126 * 4); // all nodes and blocks at least half full
	assert_int_equal(file->links, i);
	assert_int_equal(entries_of(dir), i);
	inode_put(file);
	inode_put(dir);
	bed_finish();
}

static void set_hash(const char *algorithm, bool is_unsigned)
{
	bed_unmount(true);
	char words[100];
	snprintf(words, sizeof(words), "tune2fs -E hash_alg=%s %%s", algorithm);
	bed_command(words);
	snprintf(words, sizeof(words), "debugfs -w -R 'set_super_value flags %d' %%s",
		 is_unsigned + 1);
	bed_command(words);
	remount();
}

static void each_hash(void **state)
{
	static const char *const algorithms[] = {"legacy", "half_md4", "tea"};
	for (unsigned i = 0; i < 6; i++) {
		start("-b 1024", "16m");
		set_hash(algorithms[i / 2], i % 2);
		struct inode *dir = make_dir("dir");
		assert_int_equal(fill(dir, 3000, 100), 2);
		inode_put(dir);
		bed_finish();
	}
}

// ---- names of one hash ----

// Behind 244 times 'p' each of these gives the legacy hash 0x2468acf0: the words were searched for until there
// were enough. Of such names three fit a leaf of 1 KB.
static const char *const endings[] = {
    "MGNJAAPPF", "LGBJBAYGL", "LDFDDAOG[", "NHAPPAKHH", "GGJBGBPRv", "JFIMBCJNJ",
    "NMKAJCUUt", "BCHAKCLED", "IKFELCSUm", "GKJENCVYA", "LKGECDLJL", "BJAFEDIMv",
    "LFGCHDTIW", "MPGEJDLFE", "AKEDNDSQc", "OGAJAEFFy", "LGGEFERG[", "LIIFOEUHc",
    "PKGMBFAYD", "HGFAHFTVu", "FBNLLFJJP", "IGCEOFWUl", "LMIFEGGIG", "HHIAGGGSp",
};
#define COLLIDING ARRAY_SIZE(endings)

static void names_of_one_hash_fill_many_leaves(void **state)
{
	static char names[COLLIDING][256];
	static const uint32_t seed[4];
	for (unsigned i = 0; i < COLLIDING; i++) {
		memset(names[i], 'p', 244);
		strcpy(names[i] + 244, endings[i]);
		assert_int_equal(ext4_hash(EXT4_HASH_LEGACY, seed, names[i], 253), 0x2468acf0);
	}
	start("-b 1024", "16m");
	set_hash("legacy", false);
	struct inode *dir = make_dir("dir"), *file = make_file(dir, "first");
	fill(dir, 300, 100);
	for (unsigned i = 0; i < COLLIDING; i++)
		assert_int_equal(file_link(dir, names[i], 253, file, NAME_NEW), 0);
	for (unsigned i = 0; i < COLLIDING; i += 2)
		assert_int_equal(name_remove(dir, names[i], 253), 0);
	for (unsigned i = 0; i < COLLIDING; i++) {
		uint64_t number;
		int error = ext4_lookup(dir, names[i], 253, &number);
		assert_int_equal(error, i % 2 ? 0 : -ENOENT);
	}
	for (unsigned i = 0; i < COLLIDING; i += 2)
		assert_int_equal(file_link(dir, names[i], 253, file, NAME_NEW), 0);
	assert_int_equal(file->links, 1 + COLLIDING);
	inode_put(file);
	inode_put(dir);
	bed_finish();
}

// ---- links ----

static void more_subdirectories_than_can_be_counted(void **state)
{
	char name[32];
	start("-b 1024 -N 70000", "128m");
	struct inode *dir = make_dir("dir"), *child;
	for (unsigned i = 0; i < 65100; i++) {
		int n = snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(dir_create(dir, name, (size_t)n, 0755, &child), 0);
		inode_put(child);
		if (i == 64996 || i == 64997 || i == 64998 || i == 64999 || i == 65099) {
			inode_put(dir);
			bed_unmount(true);
			remount();
			dir = open_dir("dir");
			assert_int_equal(dir->links, i + 3 > 65000 ? 1 : i + 3);
		} else if (i % 1000 == 999) {
			bed_settle();
		}
	}
	inode_put(dir);
	bed_finish();
}

static void as_many_links_as_a_file_may_have(void **state)
{
	char name[32];
	start("-b 4096", "32m");
	struct inode *dir = make_dir("dir"), *file = make_file(dir, "0");
	for (unsigned i = 1; i < 65000; i++) {
		int n = snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(file_link(dir, name, (size_t)n, file, NAME_NEW), 0);
		if (i % 1000 == 999)
			bed_settle();
	}
	assert_int_equal(file_link(dir, "one more", 8, file, NAME_NEW), -EMLINK);
	inode_put(file);
	inode_put(dir);
	bed_finish();
}

// Neither a write nor a truncation goes beyond the last byte that three levels of block numbers reach. e2fsck knows
// the same limit.
static void a_file_ends_where_its_block_numbers_do(void **state)
{
	static const char word[] = "end";
	start("-b 1024 -O ^extents,^64bit", "8m");
	struct inode *root = volume_root_inode(bed_volume), *file = make_file(root, "f");
	uint64_t end = (12 + 256 + 256 * 256 + 256UL * 256 * 256) * 1024;
	struct file_write w = {.inode = file, .offset = end - 2, .bytes = word, .len = 3};
	assert_int_equal(file_write(&w), -EFBIG);
	w = (struct file_write){.inode = file, .offset = end, .bytes = word, .len = 1};
	assert_int_equal(file_write(&w), -EFBIG);
	assert_int_equal(file_truncate(file, end + 1), -EFBIG);
	assert_int_equal(file->size, 0);
	assert_int_equal(file_truncate(file, end), 0);
	assert_int_equal(file->size, end);
	assert_int_equal(file_truncate(file, 10), 0);
	inode_put(file);
	file = make_file(root, "g");
	assert_int_equal(file_truncate(file, end), 0);
	inode_put(file);
	inode_put(root);
	bed_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_hundred_thousand_names_come_and_go),
	    cmocka_unit_test(three_levels_with_large_dir),
	    cmocka_unit_test(an_index_without_room_is_full),
	    cmocka_unit_test(each_hash),
	    cmocka_unit_test(names_of_one_hash_fill_many_leaves),
	    cmocka_unit_test(more_subdirectories_than_can_be_counted),
	    cmocka_unit_test(as_many_links_as_a_file_may_have),
	    cmocka_unit_test(a_file_ends_where_its_block_numbers_do),
	};
	if (getenv("FILTER"))
		cmocka_set_test_filter(getenv("FILTER"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
