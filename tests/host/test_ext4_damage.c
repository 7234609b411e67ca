// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/image_meta.c tests/host/ext4_tree.c fs/ext4_*.c fs/journal*.c kernel/crc32.c
// Damaged volumes. With metadata checksums a flipped bit gives an error or changes nothing, never
// other data and never a missing file; without them anything may come out, but nothing breaks. Only
// blocks that are read as metadata are damaged. One printed seed; each test has a time limit of its
// own.
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ext4_tree.h"
#include "kernel/crc32.h"
#include "kernel/kstat.h"
#include "shim.h"

#define ENTRIES_MAX 400
#define SECONDS	    4

struct entry {
	char path[200];
	uint64_t number, size;
	enum inode_type type;
	int64_t mtime;
	uint32_t links, sum;
};
static struct entry entries[ENTRIES_MAX];
static unsigned entry_count;

static uint8_t *bytes, *touched;
static uint64_t size;

static int setup(void **state)
{
	shim_init(1024);
	return 0;
}

static int teardown(void **state)
{
	free(bytes);
	free(touched);
	if (image_left_open())
		return -1;
	shim_finish();
	return 0;
}

static void load(const char *path)
{
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	size = (uint64_t)ftell(f);
	rewind(f);
	bytes = malloc(size);
	touched = calloc(size / 1024 + 1, 1);
	assert_int_equal(fread(bytes, 1, size, f), size);
	fclose(f);
}

// A sum over the file's ends and every sixteenth KB. An error is *error, and no sum.
static uint32_t sum_file(struct image *image, struct inode *file, int *error)
{
	uint8_t piece[1024];
	uint32_t sum = ~0U;
	uint64_t step = MAX(file->size / 200, 16384UL);
	for (uint64_t at = 0; !*error && at < file->size; at += step) {
		size_t len = (size_t)MIN(file->size - at, sizeof(piece));
		*error = image_read(image, file, at, piece, len);
		sum = crc32c(sum, piece, len);
	}
	if (*error || file->size <= sizeof(piece))
		return sum;
	*error = image_read(image, file, file->size - sizeof(piece), piece, sizeof(piece));
	return crc32c(sum, piece, sizeof(piece));
}

struct walk {
	struct image *image;
	const char *path;
};

static void note_tree(struct image *image, const char *path);

static bool note_entry(void *ctx, const struct dir_entry *entry)
{
	struct walk *walk = ctx;
	struct entry *e = &entries[entry_count++];
	int error = 0;
	assert_true(entry_count < ENTRIES_MAX);
	snprintf(e->path, sizeof(e->path), "%s%s%.*s", walk->path, walk->path[0] ? "/" : "",
		 entry->name_len, entry->name);
	struct inode *inode = image_find(walk->image, e->path, &error);
	assert_non_null(inode);
	e->number = inode->number;
	e->size = inode->size;
	e->type = inode->type;
	e->mtime = inode->mtime_sec;
	e->links = inode->links;
	if (e->type == INODE_FILE)
		e->sum = sum_file(walk->image, inode, &error);
	assert_int_equal(error, 0);
	image_inode_free(inode);
	if (e->type == INODE_DIRECTORY)
		note_tree(walk->image, e->path);
	return true;
}

static void note_tree(struct image *image, const char *path)
{
	struct walk walk = {image, path};
	uint64_t cursor = 0;
	int error;
	struct inode *dir = image_find(image, path, &error);
	assert_non_null(dir);
	assert_int_equal(ext4_filesystem.read_dir(dir, &cursor, note_entry, &walk), 0);
	image_inode_free(dir);
}

// Everything as noted, or -EUCLEAN. Returns how many of those.
static unsigned check_tree(struct image *image)
{
	unsigned errors = 0;
	for (struct entry *e = entries; e < entries + entry_count; e++) {
		int error;
		struct inode *inode = image_find(image, e->path, &error);
		if (!inode) {
			assert_int_equal(error, -EUCLEAN);
			errors++;
			continue;
		}
		assert_int_equal(inode->number, e->number);
		assert_int_equal(inode->size, e->size);
		assert_int_equal(inode->type, e->type);
		assert_int_equal(inode->mtime_sec, e->mtime);
		assert_int_equal(inode->links, e->links);
		if (e->type == INODE_FILE) {
			uint32_t sum = sum_file(image, inode, &error);
			assert_true(error == -EUCLEAN || (!error && sum == e->sum));
			errors += !!error;
		}
		image_inode_free(inode);
	}
	return errors;
}

static uint64_t random_touched(void)
{
	uint64_t kb;
	do
		kb = shim_random_below(size / 1024);
	while (!touched[kb]);
	return kb * 1024 + shim_random_below(1024);
}

static bool time_left(clock_t start)
{
	return clock() - start < SECONDS * CLOCKS_PER_SEC;
}

static void a_flipped_bit_under_checksums_gives_no_wrong_data(void **state)
{
	struct image image;
	unsigned flips = 0, seen = 0, unmounted = 0;
	clock_t start = clock();
	load(EXT4_IMAGES "/damage/csum.img");
	assert_int_equal(image_open_memory(&image, bytes, size, touched), 0);
	entry_count = 0;
	note_tree(&image, "");
	assert_int_equal(check_tree(&image), 0);
	image_close(&image);
	for (; flips < 4000 && time_left(start); flips++) {
		uint64_t at = random_touched();
		uint8_t bit = (uint8_t)(1 << shim_random_below(8));
		uint64_t counted = kstat_get("pagewire_ext4_corruptions_total", NULL);
		bytes[at] ^= bit;
		int error = image_open_memory(&image, bytes, size, NULL);
		if (error) {
			assert_true(error == -EUCLEAN || error == -EOPNOTSUPP || error == -ENODEV);
			unmounted++;
		} else if (check_tree(&image)) {
			assert_true(kstat_get("pagewire_ext4_corruptions_total", NULL) > counted);
			seen++;
		}
		image_close(&image);
		bytes[at] ^= bit;
	}
	print_message("%u flips: %u met, %u not mounted\n", flips, seen, unmounted);
	assert_true(seen > flips / 4);
}

// Puts random bytes, or small numbers, or what is somewhere else, into blocks of metadata.
static void mutate(unsigned times)
{
	while (times--) {
		uint64_t at = random_touched(), from = random_touched();
		size_t len = (size_t)MIN(1UL << shim_random_below(8), 1024 - at % 1024);
		uint64_t value = shim_random();
		switch (shim_random_below(4)) {
		case 0:
			memcpy(bytes + at, &value, MIN(len, sizeof(value)));
			break;
		case 1:
			bytes[at] = (uint8_t)shim_random_below(4);
			break;
		case 2:
			bytes[at] ^= (uint8_t)(1 << shim_random_below(8));
			break;
		default:
			memmove(bytes + at, bytes + from, MIN(len, 1024 - from % 1024));
		}
	}
}

static void survives(const char *path, unsigned rounds)
{
	struct image image;
	unsigned mounted = 0, errors = 0, round = 0;
	clock_t start = clock();
	load(path);
	uint8_t *whole = malloc(size);
	memcpy(whole, bytes, size);
	assert_int_equal(image_open_memory(&image, bytes, size, touched), 0);
	assert_int_equal(ext4_read_everything(&image), 0);
	image_close(&image);
	for (; round < rounds && time_left(start); round++) {
		mutate(1 + (unsigned)shim_random_below(20));
		if (!image_open_memory(&image, bytes, size, NULL)) {
			mounted++;
			errors += ext4_read_everything(&image);
		}
		image_close(&image);
		for (uint64_t kb = 0; kb < size / 1024; kb++)
			if (touched[kb])
				memcpy(bytes + kb * 1024, whole + kb * 1024, 1024);
	}
	print_message("%s: %u rounds, %u mounted, %u errors\n", path, round, mounted, errors);
	free(whole);
	assert_true(mounted > 0);
}

static void any_damage_without_checksums_is_survived(void **state)
{
	survives(EXT4_IMAGES "/damage/nocsum.img", 600);
}

static void any_damage_of_block_mapped_volumes_is_survived(void **state)
{
	survives(EXT4_IMAGES "/damage/ext3.img", 600);
}

static void any_damage_of_journals_is_survived(void **state)
{
	survives(EXT4_IMAGES "/journals/busy-old.img", 600);
}

static void any_damage_of_journals_with_checksums_is_survived(void **state)
{
	survives(EXT4_IMAGES "/journals/busy-1024-v2.img", 300);
}

int main(void)
{
	ext4_make_images("damage");
	ext4_make_images("journals");
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_flipped_bit_under_checksums_gives_no_wrong_data,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(any_damage_without_checksums_is_survived, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(any_damage_of_block_mapped_volumes_is_survived, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(any_damage_of_journals_is_survived, setup, teardown),
	    cmocka_unit_test_setup_teardown(any_damage_of_journals_with_checksums_is_survived,
					    setup, teardown),
	};
	return cmocka_run_group_tests_name("ext4_damage", tests, NULL, NULL);
}
