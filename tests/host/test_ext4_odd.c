// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/image_meta.c tests/host/ext4_tree.c fs/ext4_*.c fs/journal*.c kernel/crc32.c
// The odd cases, each in an image of its own. Two names of one hash, at each place in a leaf, so
// that in some directory they lie in two leaves; time stamps, set by debugfs; backup superblocks.
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ext4_tree.h"
#include "fs/ext4.h"
#include "shim.h"

#define TOP	    EXT4_IMAGES "/collide"
#define SEED_UUID   "12345678-9abc-def0-1234-56789abcdef0"
#define CANDIDATES  150000
#define DIRECTORIES 70
#define AFTER	    60 // names of larger hashes, so that there is an index

struct candidate {
	uint32_t hash, number;
};
static struct candidate candidates[CANDIDATES];
static unsigned pair; // candidates[pair] and [pair + 1] have one hash

static int setup(void **state)
{
	shim_init(1024);
	return 0;
}

static int teardown(void **state)
{
	if (image_left_open())
		return -1;
	shim_finish();
	return 0;
}

static void shell(const char *command)
{
	if (system(command))
		fail_msg("%s", command);
}

static int by_hash(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static void find_pair(void)
{
	static const uint8_t bytes[16] = {0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0,
					  0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0};
	uint32_t seed[4];
	memcpy(seed, bytes, sizeof(seed));
	for (uint32_t i = 0; i < CANDIDATES; i++) {
		char name[16];
		snprintf(name, sizeof(name), "c%07u", i);
		candidates[i] = (struct candidate){ext4_hash(EXT4_HASH_HALF_MD4, seed, name, 8), i};
	}
	qsort(candidates, CANDIDATES, sizeof(candidates[0]), by_hash);
	for (pair = DIRECTORIES; pair + 2 + AFTER < CANDIDATES; pair++)
		if (candidates[pair].hash == candidates[pair + 1].hash &&
		    candidates[pair].hash != candidates[pair + 2].hash)
			return;
	fail_msg("no two names of one hash");
}

// Directory k: k names of smaller hashes, the two, and names of larger ones.
static void make_image(void)
{
	char path[300], target[300];
	shell("rm -rf " TOP " && mkdir -p " TOP "/tree");
	snprintf(target, sizeof(target), TOP "/tree/target");
	int fd = open(target, O_CREAT | O_WRONLY, 0644);
	assert_true(fd >= 0);
	close(fd);
	for (unsigned k = 0; k < DIRECTORIES; k++) {
		snprintf(path, sizeof(path), TOP "/tree/d%u", k);
		assert_int_equal(mkdir(path, 0755), 0);
		for (unsigned i = pair - k; i < pair + 2 + AFTER; i++) {
			snprintf(path, sizeof(path), TOP "/tree/d%u/c%07u", k,
				 candidates[i].number);
			assert_int_equal(link(target, path), 0);
		}
	}
	shell("mke2fs -q -F -t ext4 -b 1024 -E hash_seed=" SEED_UUID " -d " TOP "/tree " TOP
	      "/collide.img 8m");
	shell("e2fsck -fyD " TOP "/collide.img >/dev/null 2>&1; e2fsck -fn " TOP
	      "/collide.img >/dev/null 2>&1");
}

// Does the index have a leaf that goes on with the hash of the one before it?
static bool has_continued_leaf(struct inode *dir)
{
	struct ext4_dir_block root;
	assert_int_equal(ext4_dir_block_get(dir, 0, &root), 0);
	const struct ext4_dx_entry *entries =
	    (const void *)((const uint8_t *)root.block.data + EXT4_DX_ROOT_ENTRIES);
	const struct ext4_dx_countlimit *head = (const void *)entries;
	bool found = false;
	for (uint32_t i = 1; root.kind == EXT4_DIR_INDEX && i < head->count; i++)
		found |= entries[i].hash & 1;
	ext4_block_put(&root.block);
	return found;
}

static void names_of_one_hash_in_two_leaves(void **state)
{
	struct image image;
	int error;
	unsigned continued = 0;
	find_pair();
	make_image();
	assert_int_equal(image_open(&image, TOP "/collide.img"), 0);
	for (unsigned k = 0; k < DIRECTORIES; k++) {
		char name[20];
		uint64_t number;
		snprintf(name, sizeof(name), "d%u", k);
		struct inode *dir = image_find(&image, name, &error);
		assert_non_null(dir);
		continued += has_continued_leaf(dir);
		for (unsigned i = pair - k - 1; i < pair + 2 + AFTER + 1; i++) {
			bool there = i >= pair - k && i < pair + 2 + AFTER;
			snprintf(name, sizeof(name), "c%07u", candidates[i].number);
			assert_int_equal(ext4_filesystem.lookup(dir, name, 8, &number),
					 there ? 0 : -ENOENT);
		}
		image_inode_free(dir);
	}
	assert_true(continued > 0);
	image_close(&image);
}

static void time_stamps_of_34_bits_and_nanoseconds(void **state)
{
	static const struct {
		const char *classic, *extra;
		int64_t sec;
		uint32_t nsec;
	} cases[] = {
	    {"0", "0", 0, 0},
	    {"0x7fffffff", "0", 0x7fffffff, 0},
	    {"0x80000000", "0", -0x80000000L, 0},
	    {"0xffffffff", "0xee6b27fc", -1, 999999999},
	    {"0x80000000", "1", 0x80000000L, 0},
	    {"0x7fffffff", "3", 0x37fffffffL, 0},
	    {"0x80000000", "0xee6b27ff", 0x280000000L, 999999999},
	    {"1", "0xfffffffc", 1, 0}, // more than a second of nanoseconds: none
	};
	shell("rm -rf " TOP " && mkdir -p " TOP "/tree && touch " TOP "/tree/file && "
	      "mke2fs -q -F -t ext4 -d " TOP "/tree " TOP "/times.img 4m");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct image image;
		char command[300];
		int error;
		snprintf(command, sizeof(command),
			 "printf 'sif file i_mtime_lo %s\\nsif file i_mtime_extra %s\\n' | "
			 "debugfs -w -f - " TOP "/times.img >/dev/null 2>&1",
			 cases[i].classic, cases[i].extra);
		shell(command);
		assert_int_equal(image_open(&image, TOP "/times.img"), 0);
		struct inode *file = image_find(&image, "file", &error);
		assert_non_null(file);
		assert_int_equal(file->mtime_sec, cases[i].sec);
		assert_int_equal(file->mtime_nsec, cases[i].nsec);
		image_inode_free(file);
		image_close(&image);
	}
}

// The disk is full of something else before the volume is made.
static void unwritten_extents_read_as_zeros(void **state)
{
	struct image image;
	struct fs_extent extent;
	static uint8_t data[200 * 1024], zeros[200 * 1024];
	int error;
	shell("rm -rf " TOP " && mkdir -p " TOP "/tree && truncate -s 200k " TOP "/tree/file && "
	      "yes something | head -c 4194304 >" TOP "/unwritten.img && "
	      "mke2fs -q -F -t ext4 -b 1024 -E nodiscard -d " TOP "/tree " TOP "/unwritten.img && "
	      "debugfs -w -R 'fallocate file 10 150' " TOP "/unwritten.img 2>/dev/null");
	assert_int_equal(image_open(&image, TOP "/unwritten.img"), 0);
	struct inode *file = image_find(&image, "file", &error);
	assert_non_null(file);
	assert_int_equal(ext4_filesystem.map(file, 20, &extent), 0);
	assert_true(extent.hole);
	assert_in_range(extent.file_block, 10, 20); // so there is an extent
	assert_int_equal(image_read(&image, file, 0, data, sizeof(data)), 0);
	assert_memory_equal(data, zeros, sizeof(data));
	image_inode_free(file);
	image_close(&image);
}

static void deleted_inode_is_not_there(void **state)
{
	struct image image;
	int error;
	shell("rm -rf " TOP " && mkdir -p " TOP "/tree && touch " TOP "/tree/file && "
	      "mke2fs -q -F -t ext4 -d " TOP "/tree " TOP "/deleted.img 4m");
	assert_int_equal(image_open(&image, TOP "/deleted.img"), 0);
	struct inode *file = image_find(&image, "file", &error);
	assert_non_null(file);
	uint64_t number = file->number;
	image_inode_free(file);
	image_close(&image);
	shell("debugfs -w -R 'rm file' " TOP "/deleted.img 2>/dev/null");
	assert_int_equal(image_open(&image, TOP "/deleted.img"), 0);
	assert_null(image_inode(&image, number, &error));
	assert_int_equal(error, -ENOENT);
	assert_null(image_find(&image, "file", &error));
	assert_int_equal(error, -ENOENT);
	image_close(&image);
}

static void flip(const char *path, uint64_t at)
{
	uint8_t byte;
	int fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	close(fd);
}

static void backup_superblock_when_the_first_is_damaged(void **state)
{
	// Number of blocks, block size, the magic, the checksum, a byte nobody uses but the
	// checksum.
	static const uint16_t damage[] = {0x04, 0x18, 0x38, 0x3fc, 0x3f0};
	static const char *const sizes[] = {"1024 20m", "2048 40m", "4096 160m"};
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		char command[300];
		snprintf(command, sizeof(command),
			 "rm -rf " TOP " && mkdir -p " TOP "/tree && echo hello > " TOP
			 "/tree/file && mke2fs -q -F -t ext4 -d " TOP "/tree -b %.4s " TOP
			 "/backup.img %s",
			 sizes[s], sizes[s] + 5);
		shell(command);
		for (size_t i = 0; i < ARRAY_SIZE(damage); i++) {
			struct image image;
			int error;
			char text[6];
			flip(TOP "/backup.img", 1024 + damage[i]);
			assert_int_equal(image_open(&image, TOP "/backup.img"), 0);
			assert_non_null(strstr(image.volume.state, "backup in group 1"));
			struct inode *file = image_find(&image, "file", &error);
			assert_non_null(file);
			assert_int_equal(image_read(&image, file, 0, text, 6), 0);
			assert_memory_equal(text, "hello\n", 6);
			image_inode_free(file);
			image_close(&image);
			flip(TOP "/backup.img", 1024 + damage[i]);
		}
	}
	// No superblock at all: the old backup of something else is nobody's.
	shell("dd if=/dev/zero of=" TOP "/backup.img bs=1024 count=4 conv=notrunc 2>/dev/null");
	struct image image;
	assert_int_equal(image_open(&image, TOP "/backup.img"), -ENODEV);
	image_close(&image);
}

static void volume_larger_than_its_device_is_refused(void **state)
{
	struct image image;
	shell("mkdir -p " TOP " && mke2fs -q -F -t ext4 -b 1024 " TOP
	      "/cut.img 20m && truncate -s 9m " TOP "/cut.img");
	assert_int_equal(image_open(&image, TOP "/cut.img"), -EUCLEAN);
	image_close(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(names_of_one_hash_in_two_leaves, setup, teardown),
	    cmocka_unit_test_setup_teardown(time_stamps_of_34_bits_and_nanoseconds, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(backup_superblock_when_the_first_is_damaged, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(unwritten_extents_read_as_zeros, setup, teardown),
	    cmocka_unit_test_setup_teardown(deleted_inode_is_not_there, setup, teardown),
	    cmocka_unit_test_setup_teardown(volume_larger_than_its_device_is_refused, setup,
					    teardown),
	};
	return cmocka_run_group_tests_name("ext4_odd", tests, NULL, NULL);
}
