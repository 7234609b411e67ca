// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/crashdisk.c tests/host/crashbed.c fs/*.c
// SOURCES: kernel/block.c kernel/copy.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// sync=relaxed by the shim's clock: who waits for a commit is told at once, everything is on the disk for good within
// ten seconds though nobody asks for it, and after an error who waits is told that.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "crashbed.h"
#include "fs/file.h"
#include "fs/name.h"
#include "kernel/cmdline.h"
#include "shim.h"

#define DIR   "made"
#define FILE_ "written"
#define BYTES 50000

extern const struct cmdline_option __start_cmdline_options[], __stop_cmdline_options[];
static struct volume *volume;
static uint8_t bytes[BYTES];

static void set_sync(const char *value)
{
	for (const struct cmdline_option *o = __start_cmdline_options; o < __stop_cmdline_options;
	     o++)
		if (strcmp(o->key, "sync") == 0)
			assert_true(o->parse(value));
}

static int setup(void **state)
{
	set_sync("relaxed");
	crashbed_make("-b 4096", "16m", NULL);
	volume = crashbed_mount(true);
	assert_true(volume_writable(volume));
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(1 + i % 251);
	return 0;
}

static int teardown(void **state)
{
	set_sync("strict");
	crashdisk_free();
	return 0;
}

static void make_dir(void)
{
	struct inode *root = volume_root_inode(volume), *dir;

	assert_int_equal(dir_create(root, DIR, strlen(DIR), 0755, &dir), 0);
	inode_put(dir);
	inode_put(root);
}

static bool told;
static int status;
static void done(struct durable *durable)
{
	told = true;
	status = durable->status;
}

// What an answer that waits for everything so far is told, without the clock moving on.
static void wait_now(struct durable *durable)
{
	told = false;
	*durable =
	    (struct durable){.volume = volume, .ticket = volume_ticket(volume), .done = done};
	durable_wait(durable);
	shim_run();
}

// Goes on with what a power cut now would leave.
static void cut_and_mount(void)
{
	crashbed_power_off();
	crashdisk_power_cut(crashdisk_events(), CRASH_NOTHING);
	volume = crashbed_mount(true);
	assert_true(volume_writable(volume));
}

static bool is_there(const char *name)
{
	struct inode *inode;
	bool there = name_find_wait(volume, name, strlen(name), &inode) == 0;

	if (there)
		inode_put(inode);
	return there;
}

static void expect_written(void)
{
	struct inode *inode;

	assert_int_equal(name_find_wait(volume, FILE_, strlen(FILE_), &inode), 0);
	assert_int_equal(inode->size, BYTES);
	inode_put(inode);
	crashbed_unmount();
	assert_memory_equal(crashbed_debugfs("cat /" FILE_), bytes, BYTES);
	assert_int_equal(crashbed_fsck(), 0);
}

static void an_answer_waits_for_no_commit(void **state)
{
	struct durable durable;

	crashdisk_record();
	make_dir();
	wait_now(&durable);
	assert_true(told);
	assert_int_equal(status, 0);
	assert_int_equal(durable_wait_sync(volume, volume_ticket(volume)), 0);
	shim_advance(4 * NS_PER_SEC); // the commit is due five seconds after the change
	cut_and_mount();
	assert_false(is_there(DIR));
	crashbed_unmount();
	assert_int_equal(crashbed_fsck(), 0);
}

static void ten_seconds_later_it_is_on_the_disk_for_good(void **state)
{
	struct inode *root = volume_root_inode(volume), *file;
	struct file_write write = {.bytes = (const char *)bytes, .len = BYTES};

	crashdisk_record();
	make_dir();
	assert_int_equal(file_create(root, 0644, &file), 0);
	write.inode = file;
	assert_int_equal(file_write(&write), 0); // and nobody syncs it
	assert_int_equal(file_link(root, FILE_, strlen(FILE_), file, NAME_NEW), 0);
	inode_put(file);
	inode_put(root);
	for (unsigned i = 0; i < 100; i++)
		shim_advance(NS_PER_SEC / 10);
	cut_and_mount();
	assert_true(is_there(DIR));
	expect_written();
}

static void after_an_error_who_waits_is_told(void **state)
{
	struct durable durable;

	make_dir();
	crashdisk_fail(BLOCK_WRITE, 0, UINT64_MAX / 2);
	for (unsigned i = 0; i < 100; i++)
		shim_advance(NS_PER_SEC / 10);
	assert_false(volume_writable(volume));
	wait_now(&durable);
	assert_true(told);
	assert_int_equal(status, -EIO);
	assert_int_equal(durable_wait_sync(volume, volume_ticket(volume)), -EIO);
	crashbed_power_off();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_answer_waits_for_no_commit),
	    TEST(ten_seconds_later_it_is_on_the_disk_for_good),
	    TEST(after_an_error_who_waits_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
