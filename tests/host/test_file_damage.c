// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/ext4_bed.c fs/*.c kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// Damaged directories with an index and damaged attribute blocks, written to, on volumes without checksums, where
// nothing else tells: errors, no panic, nothing that the sanitizers see, everything given back.
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
#include "shim.h"

#define ROUNDS 150
#define NAMES  300

static uint64_t first, end; // blocks of the directory and of attributes lie there
static unsigned succeeded;

static uint64_t below(uint64_t limit)
{
	return shim_random_below(limit);
}

static size_t make_name(char *name, unsigned i)
{
	return (size_t)sprintf(name, "%u-%.*s", i, (int)(i * 7 % 90),
			       "----------------------------------------------------------------"
			       "----------------------------------------------------------------");
}

static void make_volume(void)
{
	char name[200], value[300] = "value";
	struct inode *root, *dir, *file;
	bed_start("-b 1024 -O ^metadata_csum,^resize_inode -N 200", "8m");
	root = volume_root_inode(bed_volume);
	assert_int_equal(dir_create(root, "dir", 3, 0755, &dir), 0);
	assert_int_equal(file_create(dir, 0644, &file), 0);
	for (unsigned i = 0; i < NAMES; i += 2)
		assert_int_equal(file_link(dir, name, make_name(name, i), file, NAME_NEW), 0);
	assert_int_equal(xattr_set(file, "a", value, sizeof(value)), 0);
	inode_put(file);
	inode_put(dir);
	inode_put(root);
	bed_unmount(true);
	// "dir" lies in as many blocks as the allocator found in one place or few.
	const char *text = bed_debugfs("blocks dir");
	for (char *next; *text; text = next) {
		uint64_t block = strtoul(text, &next, 10);
		if (next == text)
			break;
		first = first ? MIN(first, block) : block;
		end = MAX(end, block + 1);
	}
	assert_true(end - first >= 10 && end - first < 400);
	bed_keep();
}

// Mostly where names, lengths and index entries begin.
static void flip(uint8_t *bytes, uint64_t size)
{
	for (uint64_t n = 1 + below(8); n; n--) {
		uint64_t block = below(3) ? first + below(3) : first + below(end - first);
		uint64_t at = block * 1024 + (below(2) ? below(64) : below(1024));
		bytes[at] = below(2) ? (uint8_t)below(256) : (uint8_t)(bytes[at] ^ 1U << below(8));
	}
}

static void one_change(struct inode *dir)
{
	char name[200], other[200], value[400] = "";
	size_t len = make_name(name, (unsigned)below(NAMES));
	size_t other_len = make_name(other, (unsigned)below(NAMES));
	struct inode *inode = NULL;
	int error;
	switch (below(5)) {
	case 0:
		error = file_create(dir, 0644, &inode);
		if (!error)
			error = file_link(dir, name, len, inode, NAME_REPLACE);
		break;
	case 1:
		error = dir_create(dir, name, len, 0755, &inode);
		break;
	case 2:
		error = name_rename(dir, name, len, dir, other, other_len, NAME_REPLACE);
		break;
	case 3:
		error = name_find_wait(bed_volume, "dir", 3, &inode);
		if (!error)
			error = xattr_set(inode, "b", value, below(sizeof(value)));
		break;
	default:
		error = name_remove(dir, name, len);
	}
	succeeded += !error;
	if (inode)
		inode_put(inode);
}

static void damaged_indexes_are_written_to_without_harm_to_us(void **state)
{
	unsigned mounted = 0;
	make_volume();
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct inode *dir;
		bed_again();
		bed_change(flip);
		if (bed_try_mount()) {
			mounted++;
			if (!name_find_wait(bed_volume, "dir", 3, &dir)) {
				for (unsigned k = 0; k < 60; k++)
					one_change(dir);
				inode_put(dir);
			}
			inode_wait_deleted();
		}
		bed_unmount(false);
	}
	bed_remove();
	assert_int_equal(mounted, ROUNDS);
	assert_true(succeeded > ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(damaged_indexes_are_written_to_without_harm_to_us),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
