// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/ext4_bed.c fs/*.c kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// Extended attributes beside what others make of them: debugfs reads ours and we read its, a block that two files
// share is not changed under the other one, and what is too large is refused without a trace.
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
#include "shim.h"

#define SHARED_BYTES 300 // does not fit an inode of 256 bytes

static char shared[SHARED_BYTES], other[200];

static void make(const char *name)
{
	struct inode *root = volume_root_inode(bed_volume), *file;
	assert_int_equal(file_create(root, 0644, &file), 0);
	assert_int_equal(file_link(root, name, strlen(name), file, NAME_NEW), 0);
	inode_put(file);
	inode_put(root);
}

static void delete (const char *name)
{
	struct inode *root = volume_root_inode(bed_volume);
	assert_int_equal(name_remove(root, name, strlen(name)), 0);
	inode_put(root);
}

static struct inode *find(const char *name)
{
	struct inode *inode;
	assert_int_equal(name_find_wait(bed_volume, name, strlen(name), &inode), 0);
	return inode;
}

static int set(const char *file, const char *name, const void *value, size_t size)
{
	struct inode *inode = find(file);
	int error = xattr_set(inode, name, value, size);
	inode_put(inode);
	return error;
}

static void has(const char *file, const char *name, const char *value, size_t size)
{
	static char got[4096];
	struct inode *inode = find(file);
	int len = xattr_get(inode, name, got, sizeof(got));
	inode_put(inode);
	assert_int_equal(len, (int)size);
	assert_memory_equal(got, value, size);
}

static unsigned long acl_block(const char *file)
{
	const char *text = strstr(bed_debugfs("stat %s", file), "File ACL: ");
	assert_non_null(text);
	return strtoul(text + strlen("File ACL: "), NULL, 10);
}

// Two files, one attribute block: made by hand, made sound by e2fsck.
static void start_shared(const char *words)
{
	char command[200];
	memset(shared, 's', sizeof(shared));
	memset(other, 'o', sizeof(other));
	bed_start(words, "16m");
	make("one");
	make("two");
	assert_int_equal(set("one", "shared", shared, sizeof(shared)), 0);
	bed_unmount(true);
	unsigned long block = acl_block("one");
	assert_true(block);
	snprintf(command, sizeof(command), "debugfs -w -R 'sif two file_acl %lu' %%s", block);
	bed_command(command);
	bed_command("e2fsck -fy %s; true");
	assert_int_equal(acl_block("two"), block);
	bed_mount();
	has("two", "shared", shared, sizeof(shared));
}

static void finish_shared(void)
{
	bed_unmount(true);
	bed_mount();
	has("one", "shared", shared, sizeof(shared));
	delete ("one");
	bed_finish();
}

static void a_shared_block_is_copied_before_it_changes(void **state)
{
	static const char *const words[] = {"-b 1024", "-b 4096 -O ^metadata_csum"};
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		start_shared(words[i]);
		assert_int_equal(set("two", "other", other, sizeof(other)), 0);
		has("two", "shared", shared, sizeof(shared));
		has("two", "other", other, sizeof(other));
		bed_unmount(true);
		assert_true(acl_block("one") && acl_block("one") != acl_block("two"));
		bed_mount();
		finish_shared();
	}
}

static void a_shared_block_outlives_one_of_its_files(void **state)
{
	start_shared("-b 1024");
	delete ("two");
	finish_shared();
	start_shared("-b 1024");
	assert_int_equal(set("two", "shared", NULL, 0), 0);
	bed_unmount(true);
	assert_int_equal(acl_block("two"), 0);
	bed_mount();
	finish_shared();
}

static void debugfs_and_we_read_each_other(void **state)
{
	bed_start("-b 1024", "16m");
	make("file");
	assert_int_equal(set("file", "ours", "value", 5), 0);
	bed_unmount(true);
	assert_non_null(strstr(bed_debugfs("ea_get file user.ours"), "value"));
	bed_command("debugfs -w -R 'ea_set file user.theirs foreign' %s");
	bed_command("debugfs -w -R 'ea_set file trusted.kept as-it-is' %s");
	bed_mount();
	has("file", "theirs", "foreign", 7);
	memset(other, 'o', sizeof(other));
	assert_int_equal(set("file", "large", other, sizeof(other)), 0);
	assert_int_equal(set("file", "theirs", NULL, 0), 0);
	bed_unmount(true);
	assert_non_null(strstr(bed_debugfs("ea_get file trusted.kept"), "as-it-is"));
	assert_non_null(strstr(bed_debugfs("ea_get file user.ours"), "value"));
	bed_mount();
	bed_finish();
}

static void what_is_too_large_is_refused(void **state)
{
	static char value[5000];
	char name[300];
	bed_start("-b 1024", "16m");
	make("file");
	memset(value, 'v', sizeof(value));
	memset(name, 'n', sizeof(name));
	name[256] = 0;
	assert_int_equal(set("file", "a", value, 900), 0);
	assert_int_equal(set("file", "b", value, 900), -ENOSPC);
	assert_int_equal(set("file", "b", value, 5000), -ENOSPC);
	assert_int_equal(set("file", "a", value, 1000), -ENOSPC);
	assert_int_equal(set("file", "", value, 1), -EINVAL);
	assert_int_equal(set("file", name, value, 1), -EINVAL);
	name[255] = 0;
	assert_int_equal(set("file", name, value, 1), -ENOSPC);
	has("file", "a", value, 900);
	assert_int_equal(set("file", "a", value, 0), 0);
	has("file", "a", value, 0);
	assert_int_equal(set("file", name, value, 1), 0);
	bed_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_shared_block_is_copied_before_it_changes),
	    cmocka_unit_test(a_shared_block_outlives_one_of_its_files),
	    cmocka_unit_test(debugfs_and_we_read_each_other),
	    cmocka_unit_test(what_is_too_large_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
