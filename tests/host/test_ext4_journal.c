// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/image_meta.c tests/host/ext4_tree.c fs/ext4_*.c fs/journal*.c kernel/crc32.c
// Volumes whose journal needs to be replayed, against e2fsprogs: see tests/host/ext4_journals.py.
// The journals written by debugfs, with every version of checksums, are replayed in memory; the
// result must be the tree that the last committed transaction leaves, while nothing on the disk has
// changed.
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ext4_tree.h"
#include "fs/journal.h"
#include "kernel/pmm.h"
#include "shim.h"

static int open_image(struct image *image, const char *name)
{
	char path[200];
	snprintf(path, sizeof(path), EXT4_IMAGES "/journals/%s.img", name);
	return image_open(image, path);
}

static void replays_to(const char *name, const char *tree)
{
	struct image image;
	char path[200];
	unsigned said = 0;
	int error = open_image(&image, name);
	if (error)
		fail_msg("%s: mount: %d", name, error);
	struct inode *root = image_find(&image, "", &error);
	assert_non_null(root);
	snprintf(path, sizeof(path), EXT4_IMAGES "/journals/tree-%s", tree);
	assert_true(ext4_compare_tree(&image, root, path, true) > 150);
	assert_int_equal(sscanf(image.volume.state, "journal replayed in memory (%u", &said), 1);
	assert_true(said > 0);
	image_inode_free(root);
	image_close(&image);
}

static void one_transaction(void **state)
{
	replays_to("plain-4096", "after");
	replays_to("plain-1024", "after");
	replays_to("plain-2048-v1", "after");
}

static void overwritten_and_revoked_blocks_and_an_uncommitted_end(void **state)
{
	replays_to("busy-4096", "after");
	replays_to("busy-1024-v2", "after");
	replays_to("busy-1024-nocsum", "after");
	replays_to("busy-2048", "after");
}

static void log_of_a_block_mapped_volume(void **state)
{
	replays_to("busy-old", "after");
}

static void log_that_goes_over_its_end(void **state)
{
	replays_to("wrapped-4096", "after");
	replays_to("wrapped-1024", "after");
	replays_to("wrapped-old", "after");
}

static void torn_commit_block_ends_the_log(void **state)
{
	replays_to("torn", "after");
	replays_to("commit-tail", "after");
}

static void refused(const char *name, int want)
{
	struct image image;
	int error = open_image(&image, name);
	image_close(&image);
	if (error != want)
		fail_msg("%s: %d, not %d", name, error, want);
}

static void damage_before_the_end_is_refused(void **state)
{
	refused("bad-data", -EUCLEAN);
	refused("bad-descriptor", -EUCLEAN);
	refused("bad-commit", -EUCLEAN);
	refused("bad-revoke", -EUCLEAN);
	refused("bad-super", -EUCLEAN);
}

static void journals_that_cannot_be_read_are_refused(void **state)
{
	refused("fast-commit", -EOPNOTSUPP);
	refused("external", -EOPNOTSUPP);
}

// A block that began with the log's own magic is stored without it.
static void escaped_blocks_of_files_and_links(void **state)
{
	struct image image;
	int error;
	char piece[4096];
	replays_to("escaped-4096", "escaped");
	assert_int_equal(open_image(&image, "escaped-4096"), 0);
	struct inode *link = image_find(&image, "escaped-link", &error);
	assert_non_null(link);
	assert_int_equal(ext4_filesystem.read_link(link, piece, sizeof(piece)), 304);
	assert_memory_equal(piece, "\xc0\x3b\x39\x98yyyy", 8);
	image_inode_free(link);
	image_close(&image);
}

static void out_of_memory_refuses_and_leaks_nothing(void **state)
{
	int error = -ENOMEM;
	for (uint32_t k = 0; error == -ENOMEM; k++) {
		struct image image;
		shim_frames_fail_after(k);
		error = open_image(&image, "busy-4096");
		shim_frames_fail_off();
		image_close(&image);
		assert_in_range(k, 0, 40);
		assert_true(error || k >= 5);
	}
	assert_int_equal(error, 0);
}

static int sum_pair(void *ctx, uint64_t key, uint64_t value)
{
	*(uint64_t *)ctx += key ^ value;
	return 0;
}

static void map_of_any_size(void **state)
{
	struct journal_map map = {.used = 0};
	uint64_t value, want = 0, have = 0;
	const uint64_t count = 20000;
	assert_false(journal_map_find(&map, 0, &value));
	for (uint64_t i = 0; i < count; i++)
		assert_int_equal(journal_map_set(&map, i * i, i), 0);
	for (uint64_t i = 0; i < count; i += 2)
		assert_int_equal(journal_map_set(&map, i * i, i + 1), 0);
	assert_int_equal(map.used, count);
	for (uint64_t i = 0; i < count; i++) {
		assert_true(journal_map_find(&map, i * i, &value));
		assert_int_equal(value, i % 2 ? i : i + 1);
		assert_int_equal(journal_map_find(&map, i * i + 1, &value), i == 0);
		want += (i * i) ^ (i % 2 ? i : i + 1);
	}
	assert_int_equal(journal_map_each(&map, sum_pair, &have), 0);
	assert_int_equal(have, want);
	journal_map_free(&map);
	assert_false(journal_map_find(&map, 4, &value));
}

int main(void)
{
	ext4_make_images("journals");
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(one_transaction, images_setup, images_teardown),
	    cmocka_unit_test_setup_teardown(overwritten_and_revoked_blocks_and_an_uncommitted_end,
					    images_setup, images_teardown),
	    cmocka_unit_test_setup_teardown(log_of_a_block_mapped_volume, images_setup,
					    images_teardown),
	    cmocka_unit_test_setup_teardown(log_that_goes_over_its_end, images_setup,
					    images_teardown),
	    cmocka_unit_test_setup_teardown(torn_commit_block_ends_the_log, images_setup,
					    images_teardown),
	    cmocka_unit_test_setup_teardown(damage_before_the_end_is_refused, images_setup,
					    images_teardown),
	    cmocka_unit_test_setup_teardown(journals_that_cannot_be_read_are_refused, images_setup,
					    images_teardown),
	    cmocka_unit_test_setup_teardown(escaped_blocks_of_files_and_links, images_setup,
					    images_teardown),
	    cmocka_unit_test_setup_teardown(out_of_memory_refuses_and_leaks_nothing, images_setup,
					    images_teardown),
	    cmocka_unit_test_setup_teardown(map_of_any_size, images_setup, images_teardown),
	};
	return cmocka_run_group_tests_name("ext4_journal", tests, NULL, NULL);
}
