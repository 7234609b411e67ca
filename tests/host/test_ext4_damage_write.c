// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/ext4_bed.c fs/*.c kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// Damaged volumes, written to: bytes of metadata are flipped, on volumes without checksums, where nothing else
// tells. Whatever is on the disk then, the kernel answers with errors: no panic, nothing that the sanitizers see,
// everything given back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ext4_bed.h"
#include "fs/ext4_alloc.h"
#include "fs/file.h"
#include "fs/name.h"
#include "fs/volume_private.h"
#include "kernel/panic.h"
#include "shim.h"

#define INODES 40 // numbers that the base image uses, and some more
#define NAMES  24

static uint64_t damage_end; // bytes from the start that may be damaged
static unsigned mounted, succeeded, refused;

static uint64_t below(uint64_t limit)
{
	return shim_random_below(limit);
}

// Bytes that say something are better to change than others; never the magic of the superblock.
static void flip(uint8_t *bytes, uint64_t size)
{
	for (uint64_t n = 1 + below(6); n; n--) {
		uint64_t at = 1024 + below(MIN(size, damage_end) - 1024);
		for (unsigned tries = 0; !bytes[at] && tries < 50; tries++)
			at = 1024 + below(MIN(size, damage_end) - 1024);
		if (at / 1024 == 1 && below(8)) // most damage to the superblock is refused
			continue;
		bytes[at] = below(2) ? (uint8_t)below(256) : (uint8_t)(bytes[at] ^ 1U << below(8));
	}
}

static const char *some_name(char *name)
{
	sprintf(name, "f%u", (unsigned)below(NAMES));
	return name;
}

static void change_file(struct inode *inode)
{
	struct ext4 *fs = bed_volume->private;
	struct transaction t;
	struct fs_extent run;
	if (inode->type != INODE_FILE || below(3) == 0) {
		(void)!file_truncate(inode, below(2) ? 0 : below(300000));
		return;
	}
	if (transaction_begin(&t, bed_volume, ext4_credits_allocate(fs)))
		return;
	uint64_t size = inode->size, block = below(400);
	inode->size = MAX(size, (block + 9) << fs->block_shift);
	int error = ext4_allocate(&t, inode, block, 1 + below(9), &run);
	if (!error) {
		transaction_end(&t);
		succeeded++;
		return;
	}
	transaction_cancel(&t);
	inode->size = size;
}

static void one_change(struct inode *root)
{
	char name[16], other[16], value[200] = "";
	struct inode *inode = NULL;
	int error = 0;
	size_t len = strlen(some_name(name)), other_len = strlen(some_name(other));
	switch (below(9)) {
	case 0:
		error = file_create(root, 0644, &inode);
		if (!error && below(2))
			error = file_link(root, name, len, inode, NAME_REPLACE);
		break;
	case 1:
		error = dir_create(root, name, len, 0755, &inode);
		break;
	case 2:
		error = name_remove(root, name, len);
		break;
	case 3:
		error = name_rename(root, name, len, root, other, other_len, NAME_REPLACE);
		break;
	case 4:
		memset(value, 'x', sizeof(value) - 1);
		error = symlink_create(root, name, len, value, 1 + below(190), &inode);
		break;
	case 5:
		if (!inode_open(bed_volume, 1 + below(INODES), &inode))
			error = xattr_set(inode, "user.a", value, below(sizeof(value)));
		break;
	default:
		if (!inode_open(bed_volume, 1 + below(INODES), &inode))
			change_file(inode);
	}
	succeeded += !error;
	if (inode)
		inode_put(inode);
}

static void one_round(void)
{
	bed_again();
	bed_change(flip);
	if (bed_try_mount()) {
		struct inode *root = volume_root_inode(bed_volume);
		mounted++;
		for (unsigned i = 0; i < 40; i++)
			one_change(root);
		inode_put(root);
		inode_wait_deleted();
	} else {
		refused++;
	}
	bed_unmount(false);
}

static void rounds(const char *words, unsigned count)
{
	char line[300];
	assert_int_equal(
	    system("rm -rf build/host/damage_tree; mkdir -p build/host/damage_tree/d/e;"
		   "cd build/host/damage_tree; for i in `seq 0 15`; do "
		   "head -c $((i * 9000)) /dev/urandom > f$i; done; "
		   "ln -s f1 f16; ln -s `printf %0100d 7` f17; mkdir f18 f19;"
		   "for i in `seq 90`; do : > f19/name-of-a-file-$i; done"),
	    0);
	snprintf(line, sizeof(line), "%s -N 200 -d build/host/damage_tree", words);
	bed_make(line, "8m");
	bed_keep();
	mounted = succeeded = refused = 0;
	for (unsigned i = 0; i < count; i++)
		one_round();
	bed_remove();
	fprintf(stderr, "%s: %u written to, %u refused or read-only, %u changes made\n", words,
		mounted, refused, succeeded);
	assert_true(mounted > count / 4);
	assert_true(succeeded > mounted);
}

static void damaged_volumes_are_written_to_without_harm_to_us(void **state)
{
	damage_end = 120 << 10;
	rounds("-b 1024 -O ^metadata_csum,^resize_inode", 100);
	damage_end = 400 << 10;
	rounds("-b 1024 -O ^metadata_csum,^resize_inode,^extents,^64bit", 100);
	damage_end = 400 << 10;
	rounds("-b 4096 -O ^metadata_csum,orphan_file,^resize_inode", 60);
}

// ---- bitmaps that cannot be believed ------------------------------------------------------------------

static uint64_t spoiled; // block

static void spoil(uint8_t *bytes, uint64_t size)
{
	bytes[spoiled * 1024 + 3] ^= 1;
}

// A volume whose first group's bitmap of that kind does not match its checksum.
static struct inode *mount_spoiled(const char *kind, const char *size)
{
	char what[60];
	const char *at;

	bed_make("-b 1024 -O metadata_csum,64bit,^resize_inode -N 640", size);
	snprintf(what, sizeof(what), "%s bitmap at ", kind);
	at = strstr(bed_debugfs("stats"), what);
	assert_non_null(at);
	spoiled = strtoul(at + strlen(what), NULL, 10);
	bed_change(spoil);
	assert_true(bed_try_mount());
	return volume_root_inode(bed_volume);
}

static int allocate(struct inode *file, uint64_t count, struct fs_extent *run)
{
	struct ext4 *fs = bed_volume->private;
	struct transaction t;
	int error = transaction_begin(&t, bed_volume, ext4_credits_allocate(fs));

	assert_int_equal(error, 0);
	file->size = count << fs->block_shift;
	error = ext4_allocate(&t, file, 0, count, run);
	if (error)
		transaction_cancel(&t);
	else
		transaction_end(&t);
	return error;
}

// One bad sector under a bitmap costs what the group has free, and nothing else.
static void a_group_whose_bitmap_is_damaged_is_passed_by(void **state)
{
	static const char *const kinds[] = {"block", "inode"};
	struct inode *file, *dir;
	struct fs_extent run;

	for (unsigned k = 0; k < 2; k++) {
		struct inode *root = mount_spoiled(kinds[k], "40m");
		struct ext4 *fs = bed_volume->private;
		assert_true(fs->groups > 1);
		for (unsigned i = 0; i < 20; i++) {
			char name[8];
			sprintf(name, "d%u", i);
			assert_int_equal(file_create(root, 0644, &file), 0);
			assert_int_equal(allocate(file, 10 + i, &run), 0);
			if (k == 0)
				assert_true(ext4_group_of(fs, run.disk_block) > 0);
			else
				assert_true((file->number - 1) / fs->inodes_per_group > 0);
			assert_int_equal(file_link(root, name, strlen(name), file, NAME_NEW), 0);
			inode_put(file);
			name[0] = 'e';
			assert_int_equal(dir_create(root, name, strlen(name), 0755, &dir), 0);
			inode_put(dir);
		}
		inode_put(root);
		bed_unmount(false);
		bed_remove();
	}
}

static void with_no_other_group_that_is_what_is_said(void **state)
{
	struct inode *file, *root = mount_spoiled("block", "8m");
	struct fs_extent run;

	assert_int_equal(file_create(root, 0644, &file), 0);
	assert_int_equal(allocate(file, 10, &run), -EUCLEAN);
	file->size = 0;
	inode_put(file);
	inode_put(root);
	bed_unmount(false);
	bed_remove();
	root = mount_spoiled("inode", "8m");
	assert_int_equal(file_create(root, 0644, &file), -EUCLEAN);
	assert_int_equal(dir_create(root, "d", 1, 0755, &file), -EUCLEAN);
	inode_put(root);
	bed_unmount(false);
	bed_remove();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(damaged_volumes_are_written_to_without_harm_to_us),
	    cmocka_unit_test(a_group_whose_bitmap_is_damaged_is_passed_by),
	    cmocka_unit_test(with_no_other_group_that_is_what_is_said),
	};
	if (getenv("FILTER"))
		cmocka_set_test_filter(getenv("FILTER"));
	return cmocka_run_group_tests_name("ext4 damage, written", tests, NULL, NULL);
}
