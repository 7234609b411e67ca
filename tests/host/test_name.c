// SPDX-License-Identifier: BSD-2-Clause
// Paths to inodes over a make-believe file system: what is found, what is remembered, links, cancels.
// SOURCES: tests/host/fakefs*.c fs/pagecache*.c fs/meta.c fs/inode.c fs/name.c
// SOURCES: fs/name_cache.c fs/volume.c fs/zeros.c fs/journal_map.c kernel/rwlock.c kernel/copy.c kernel/string.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fakefs.h"
#include "fs/name.h"
#include "kernel/kstat.h"
#include "shim.h"

static struct volume *volume;
static uint64_t a, b, file, deep;

static int setup(void **state)
{
	volume = fake_start(2048);
	a = fake_dir(FAKE_ROOT, "a");
	b = fake_dir(a, "b");
	file = fake_file(b, "file.txt", 5000);
	deep = fake_file(FAKE_ROOT, "top", 1);
	return 0;
}

static int teardown(void **state)
{
	return fake_stop();
}

// The inode's number, or the error.
static int64_t found(int error, struct inode *inode)
{
	if (error) {
		assert_null(inode);
		return error;
	}
	int64_t number = (int64_t)inode->number;
	inode_put(inode);
	return number;
}

static int64_t cached(const char *path)
{
	struct inode *inode;
	int error = name_find_cached(volume, path, strlen(path), &inode);
	return found(error, inode);
}

static int64_t waited(const char *path)
{
	struct inode *inode;
	int error = name_find_wait(volume, path, strlen(path), &inode);
	return found(error, inode);
}

// What the slow way finds, the cache must say from then on without the disk.
static void expect(const char *path, int64_t answer)
{
	uint64_t lookups;
	assert_int_equal(waited(path), answer);
	lookups = fake_counts.lookups;
	assert_int_equal(cached(path), answer);
	assert_int_equal(waited(path), answer);
	assert_int_equal(fake_counts.lookups, lookups);
}

static void a_path_is_found_and_remembered(void **state)
{
	assert_int_equal(cached("a/b/file.txt"), -EAGAIN);
	expect("a/b/file.txt", (int64_t)file);
	assert_int_equal(fake_counts.lookups, 3);
	expect("", FAKE_ROOT);
	expect("/", FAKE_ROOT);
	expect("a", (int64_t)a);
	expect("a/b", (int64_t)b);
	assert_int_equal(fake_counts.lookups, 3);
	expect("/a//b///file.txt", (int64_t)file);
	expect("top", (int64_t)deep);
}

static void absent_names_are_remembered(void **state)
{
	expect("nothing", -ENOENT);
	expect("a/nothing", -ENOENT);
	expect("nothing/at/all", -ENOENT);
	expect("a/nothing/at/all", -ENOENT);
	assert_int_equal(fake_counts.lookups, 3);
}

static void a_file_is_no_directory(void **state)
{
	expect("top/x", -ENOTDIR);
	expect("top/x/y", -ENOTDIR);
	expect("top/", -ENOTDIR);
	expect("top", (int64_t)deep);
	expect("a/", (int64_t)a);
	expect("a/b//", (int64_t)b);
	expect("nothing/", -ENOENT);
}

static void names_may_be_long_and_odd(void **state)
{
	char name[300], path[4200];
	memset(name, 'n', sizeof(name));
	name[255] = 0;
	uint64_t longest = fake_file(FAKE_ROOT, name, 1);
	expect(name, (int64_t)longest);
	name[255] = 'n';
	name[256] = 0;
	expect(name, -ENAMETOOLONG);
	uint64_t odd = fake_file(a, "\x01\xff \"\\?*\n\xc3\xa9", 1);
	expect("a/\x01\xff \"\\?*\n\xc3\xa9", (int64_t)odd);
	memset(path, '/', sizeof(path));
	strcpy(path + 3000, "a/b/file.txt");
	expect(path, (int64_t)file);
	memset(path, 'x', sizeof(path));
	path[4100] = 0;
	expect(path, -ENAMETOOLONG);
}

// Too long for the path cache, found all the same.
static void a_deep_path_is_walked(void **state)
{
	char path[2000] = "", name[32];
	uint64_t dir = FAKE_ROOT;
	for (unsigned i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "directory-number-%u", i);
		dir = fake_dir(dir, name);
		strcat(strcat(path, name), "/");
	}
	strcat(path, "end");
	uint64_t end = fake_file(dir, "end", 1), lookups;
	assert_int_equal(waited(path), end);
	lookups = fake_counts.lookups;
	assert_int_equal(waited(path), end);
	assert_int_equal(fake_counts.lookups, lookups);
}

static void links_are_followed(void **state)
{
	fake_link(FAKE_ROOT, "absolute", "/a/b/file.txt");
	fake_link(b, "relative", "../../top");
	fake_link(FAKE_ROOT, "dir", "a/b/");
	fake_link(a, "chain", "../dir/./relative");
	fake_link(a, "out", "../../../../../../top");
	fake_link(a, "self-dir", ".");
	fake_link(FAKE_ROOT, "dangling", "a/gone");
	fake_link(FAKE_ROOT, "through-file", "top/x");
	fake_link(FAKE_ROOT, "file-slash", "top/");
	expect("absolute", (int64_t)file);
	expect("a/b/relative", (int64_t)deep);
	expect("dir", (int64_t)b);
	expect("dir/", (int64_t)b);
	expect("dir/file.txt", (int64_t)file);
	expect("dir/relative", (int64_t)deep);
	expect("a/chain", (int64_t)deep);
	expect("a/out", (int64_t)deep);
	expect("a/self-dir/self-dir/b/file.txt", (int64_t)file);
	expect("dangling", -ENOENT);
	expect("through-file", -ENOTDIR);
	expect("file-slash", -ENOTDIR);
	expect("absolute/", -ENOTDIR);
}

static void loops_of_links_end(void **state)
{
	char name[16], next[16];
	fake_link(FAKE_ROOT, "loop", "loop");
	fake_link(FAKE_ROOT, "ping", "pong");
	fake_link(FAKE_ROOT, "pong", "a/../ping");
	fake_link(FAKE_ROOT, "grow", "grow/x");
	expect("loop", -ELOOP);
	expect("loop/x", -ELOOP);
	expect("ping", -ELOOP);
	expect("grow", -ELOOP);
	for (unsigned i = 0; i < 41; i++) {
		snprintf(name, sizeof(name), "l%u", i);
		snprintf(next, sizeof(next), "l%u", i + 1);
		fake_link(FAKE_ROOT, name, i < 40 ? next : "top");
	}
	expect("l1", (int64_t)deep); // 40 links
	expect("l0", -ELOOP);	     // 41
}

static void links_that_grow_are_too_long(void **state)
{
	char target[1001];
	memset(target, 'x', sizeof(target));
	memcpy(target, "fat/", 4);
	target[1000] = 0;
	fake_link(FAKE_ROOT, "fat", target);
	assert_int_equal(waited("fat"), -ENAMETOOLONG);
}

static void a_broken_inode_is_not_remembered(void **state)
{
	uint64_t bad = fake_file(a, "bad", 1);
	fake_set_error(bad, -EUCLEAN);
	assert_int_equal(waited("a/bad"), -EUCLEAN);
	assert_int_equal(cached("a/bad"), -EAGAIN);
	fake_set_error(bad, -ENOENT);
	assert_int_equal(waited("a/bad"), -EUCLEAN); // a name without an inode
	fake_set_error(bad, 0);
	expect("a/bad", (int64_t)bad);
}

static void a_forgotten_name_is_looked_up_again(void **state)
{
	expect("a/b/file.txt", (int64_t)file);
	expect("a/b/new", -ENOENT);
	expect("a/new/x", -ENOENT);
	uint64_t fresh = fake_file(b, "new", 1), dir = fake_dir(a, "new");
	uint64_t x = fake_file(dir, "x", 1);
	assert_int_equal(cached("a/b/new"), -ENOENT);
	name_forget(volume, b, "new", 3);
	name_forget(volume, a, "new", 3);
	expect("a/b/new", (int64_t)fresh);
	expect("a/new/x", (int64_t)x);
	fake_unlink(b, "file.txt");
	name_forget(volume, b, "file.txt", 8);
	expect("a/b/file.txt", -ENOENT);
}

static void files_that_come_and_go_leave_paths_of_directories_known(void **state)
{
	expect("a/b", (int64_t)b);
	expect("a/b/file.txt", (int64_t)file);
	expect("a/b/leaf", -ENOENT);
	uint64_t fresh = fake_file(b, "leaf", 1);
	name_forget_leaf(volume, b, "leaf", 4);
	assert_int_equal(cached("a/b"), b);
	assert_int_equal(cached("a/b/file.txt"), file);
	assert_int_equal(cached("a/b/leaf"), -EAGAIN);
	expect("a/b/leaf", (int64_t)fresh);
	fake_unlink(b, "leaf");
	name_forget_leaf(volume, b, "leaf", 4);
	expect("a/b/leaf", -ENOENT);
	name_forget(volume, a, "other", 5);
	assert_int_equal(cached("a/b"), -EAGAIN);
}

struct asked {
	struct name_request request;
	unsigned told;
};

static void told(struct name_request *request)
{
	CONTAINER_OF(request, struct asked, request)->told++;
}

static void ask(struct asked *q, const char *path)
{
	*q = (struct asked){
	    .request = {.volume = volume, .path = path, .len = strlen(path), .done = told}};
	name_find(&q->request);
}

static void requests_are_told_once(void **state)
{
	static struct asked q[40];
	fake_rules.format_sleeps = true;
	for (unsigned i = 0; i < 40; i++)
		ask(&q[i], i % 2 ? "a/b/file.txt" : "a/none");
	shim_advance(NS_PER_MS);
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(q[i].told, 1);
		assert_int_equal(found(q[i].request.status, q[i].request.inode),
				 i % 2 ? (int64_t)file : -ENOENT);
		assert_true(name_cancel(&q[i].request));
	}
}

static void a_request_is_cancelled_at_each_stage(void **state)
{
	struct asked q;
	fake_rules.format_sleeps = true;
	ask(&q, "a/b/file.txt");
	assert_true(name_cancel(&q.request)); // still queued
	shim_advance(NS_PER_MS);
	assert_int_equal(q.told, 0);

	ask(&q, "a/b/file.txt");
	assert_true(shim_run_one()); // a worker is at it, and sleeps
	assert_false(name_cancel(&q.request));
	assert_false(name_cancel(&q.request));
	shim_advance(NS_PER_MS);
	assert_int_equal(q.told, 1);
	assert_int_equal(found(q.request.status, q.request.inode), file);

	ask(&q, "a/b/file.txt");
	assert_true(shim_run_one()); // all in memory: told, not yet delivered
	assert_int_equal(q.told, 0);
	assert_true(name_cancel(&q.request));
	shim_run();
	assert_int_equal(q.told, 0);
}

static void what_changed_while_it_was_looked_up_is_not_remembered(void **state)
{
	struct asked q;
	fake_rules.format_sleeps = true;
	assert_int_equal(waited("a/b"), b);
	ask(&q, "a/b/file.txt");
	uint64_t reads = fake_counts.inode_reads;
	while (fake_counts.inode_reads == reads) // the name is found; its inode is being read
		shim_advance(1);
	name_forget(volume, b, "file.txt", 8);
	shim_advance(NS_PER_MS);
	assert_int_equal(q.told, 1);
	assert_int_equal(found(q.request.status, q.request.inode), file);
	fake_unlink(b, "file.txt");
	assert_int_equal(cached("a/b/file.txt"), -EAGAIN);
	expect("a/b/file.txt", -ENOENT);
}

static void ten_thousand_absent_names_stay_within_bounds(void **state)
{
	char name[64];
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name),
			 i % 3 ? "no%u" : "a/no-such-file-with-a-name-that-is-rather-long-%u", i);
		assert_int_equal(waited(name), -ENOENT);
		assert_int_equal(waited("top"), deep); // kept young
	}
	assert_true(kstat_get("pagewire_name_cache_entries", NULL) <= 2 * 2048);
	assert_true(kstat_get("pagewire_name_cache_evictions_total", NULL) > 5000);
	assert_int_equal(cached("top"), deep);
	assert_int_equal(cached("no1"), -EAGAIN);
}

static bool count_entry(void *ctx, const struct dir_entry *entry)
{
	return ++*(unsigned *)ctx < 2;
}

static void directories_are_read_in_pieces(void **state)
{
	struct inode *dir, *plain;
	uint64_t cursor = 0;
	unsigned seen = 0;
	assert_int_equal(name_find_wait(volume, "", 0, &dir), 0);
	assert_int_equal(inode_read_dir(dir, &cursor, count_entry, &seen), 0);
	assert_int_equal(seen, 2);
	seen = 0;
	assert_int_equal(inode_read_dir(dir, &cursor, count_entry, &seen), 0);
	assert_int_equal(seen, 0);
	inode_put(dir);
	assert_int_equal(name_find_wait(volume, "top", 3, &plain), 0);
	assert_int_equal(inode_read_dir(plain, &cursor, count_entry, &seen), -ENOTDIR);
	inode_put(plain);
}

static void the_volume_has_a_name(void **state)
{
	assert_ptr_equal(volume_root(), volume);
	assert_ptr_equal(volume_find("sys"), volume);
	assert_null(volume_find("DATA"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_path_is_found_and_remembered),
	    TEST(absent_names_are_remembered),
	    TEST(a_file_is_no_directory),
	    TEST(names_may_be_long_and_odd),
	    TEST(a_deep_path_is_walked),
	    TEST(links_are_followed),
	    TEST(loops_of_links_end),
	    TEST(links_that_grow_are_too_long),
	    TEST(a_broken_inode_is_not_remembered),
	    TEST(a_forgotten_name_is_looked_up_again),
	    TEST(files_that_come_and_go_leave_paths_of_directories_known),
	    TEST(requests_are_told_once),
	    TEST(a_request_is_cancelled_at_each_stage),
	    TEST(what_changed_while_it_was_looked_up_is_not_remembered),
	    TEST(ten_thousand_absent_names_stay_within_bounds),
	    TEST(directories_are_read_in_pieces),
	    TEST(the_volume_has_a_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
