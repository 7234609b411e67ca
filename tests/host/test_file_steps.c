// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/crashdisk.c tests/host/crashbed.c fs/*.c
// SOURCES: kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// Every operation on names and attributes, alone and before every other one, with the power going at the moments
// in between: what is found after the next mount is the tree as it was after one of the steps, not one before the
// last that was promised. Single steps: in every way a cut can go, judged by e2fsck, too; pairs: with torn writes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "crashbed.h"
#include "fs/file.h"
#include "fs/name.h"
#include "fs/transaction.h"
#include "fs/volume_private.h"
#include "kernel/panic.h"
#include "shim.h"

#define TEXT_MAX 8192

static struct volume *volume;
static uint8_t *base;
static uint64_t base_bytes;

static void check(int error)
{
	if (error)
		PANIC("error %d", error);
}

// ---- the tree as text ----

struct list {
	struct {
		char name[256];
		uint64_t number;
	} entry[64];
	unsigned count;
};

static bool collect(void *ctx, const struct dir_entry *entry)
{
	struct list *list = ctx;
	memcpy(list->entry[list->count].name, entry->name, entry->name_len);
	list->entry[list->count].name[entry->name_len] = 0;
	list->entry[list->count++].number = entry->number;
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void describe(struct inode *inode, const char *name, char *text)
{
	char names[500] = "", target[1024] = "";
	struct list list = {.count = 0};
	uint64_t cursor = 0;
	int len = inode->type == INODE_SYMLINK ? 0 : xattr_list(inode, names, sizeof(names));
	if (inode->type == INODE_SYMLINK)
		check(volume_filesystem(volume)->read_link(inode, target, sizeof(target)) < 0);
	size_t used = strlen(text);
	snprintf(text + used, TEXT_MAX - used, "%.20s %d %o %u links %lu bytes %zu %d\n", name,
		 inode->type, inode->mode, inode->links,
		 (unsigned long)(inode->type == INODE_DIRECTORY ? 0 : inode->size), strlen(target),
		 len);
	if (inode->type != INODE_DIRECTORY)
		return;
	check(inode_read_dir(inode, &cursor, collect, &list));
	qsort(list.entry, list.count, sizeof(list.entry[0]), by_name);
	for (unsigned i = 0; i < list.count; i++) {
		struct inode *child;
		check(inode_open(volume, list.entry[i].number, &child));
		describe(child, list.entry[i].name, text);
		inode_put(child);
	}
	strcat(text, ".\n");
}

static void describe_volume(char *text)
{
	struct inode *root = volume_root_inode(volume);
	text[0] = 0;
	describe(root, "/", text);
	inode_put(root);
}

// ---- steps: whether they succeed depends on those before ----

static char long_name[256], long_target[600];

static struct inode *find(const char *path)
{
	struct inode *inode;
	return name_find_wait(volume, path, strlen(path), &inode) ? NULL : inode;
}

static void create(const char *dir_path, const char *name, unsigned mode)
{
	struct inode *dir = find(dir_path), *file;
	if (!dir)
		return;
	check(file_create(dir, 0644, &file));
	(void)!file_link(dir, name, strlen(name), file, mode);
	inode_put(file);
	inode_put(dir);
}

static void make_dir(const char *dir_path, const char *name)
{
	struct inode *dir = find(dir_path), *made;
	if (!dir)
		return;
	if (!dir_create(dir, name, strlen(name), 0755, &made))
		inode_put(made);
	inode_put(dir);
}

static void make_link(const char *name, const char *target)
{
	struct inode *root = volume_root_inode(volume), *made;
	if (!symlink_create(root, name, strlen(name), target, strlen(target), &made))
		inode_put(made);
	inode_put(root);
}

static void delete (const char *dir_path, const char *name)
{
	struct inode *dir = find(dir_path);
	if (!dir)
		return;
	(void)!name_remove(dir, name, strlen(name));
	inode_put(dir);
}

static void move(const char *from, const char *name, const char *to, const char *name2)
{
	struct inode *dir = find(from), *dir2 = find(to);
	if (dir && dir2)
		(void)!name_rename(dir, name, strlen(name), dir2, name2, strlen(name2),
				   NAME_REPLACE);
	if (dir)
		inode_put(dir);
	if (dir2)
		inode_put(dir2);
}

static void change(const char *path, uint16_t mode, const char *attribute, size_t size)
{
	static const char value[900];
	struct inode *inode = find(path);
	if (!inode)
		return;
	if (attribute)
		(void)!xattr_set(inode, attribute, size ? value : NULL, size);
	else if (mode)
		(void)!inode_set_attributes(inode, INODE_SET_MODE, mode, 0, 0);
	else
		(void)!file_truncate(inode, size);
	inode_put(inode);
}

static void step(unsigned which)
{
	switch (which) {
	case 0:
		return create("a", "new", NAME_NEW);
	case 1:
		return create("a", "f", NAME_REPLACE);
	case 2:
		return create("b", long_name, NAME_NEW); // splits a leaf
	case 3:
		return make_dir("a", "dir");
	case 4:
		return make_dir("b/empty", "dir");
	case 5:
		return make_link("fast", "target");
	case 6:
		return make_link("slow", long_target);
	case 7:
		return delete ("a", "f");
	case 8:
		return delete ("b", "empty");
	case 9:
		return delete ("b", "g");
	case 10:
		return move("a", "f", "b", "g");
	case 11:
		return move("a", "f", "b", "moved");
	case 12:
		return move("a", "sub", "b", "empty");
	case 13:
		return move("a", "sub", "b", "sub");
	case 14:
		return move("", "b", "a", "b");
	case 15:
		return change("a/f", 0600, NULL, 0);
	case 16:
		return change("a/f", 0, NULL, 5000);
	case 17:
		return change("a/f", 0, "small", 30);
	case 18:
		return change("a/f", 0, "large", 800);
	case 19:
		return change("b/g", 0, "old", 0);
	default:
		PANIC("no step %u", which);
	}
}
#define STEPS 20

// ---- cuts ----

static void mount(void)
{
	volume = crashbed_mount(true);
	if (!volume || !volume_writable(volume))
		PANIC("not mounted for writing");
}

static void make_base(const char *words)
{
	crashbed_make(words, "4m", NULL);
	mount();
	memset(long_name, 'l', 255);
	memset(long_target, 't', sizeof(long_target) - 1);
	make_dir("", "a");
	make_dir("", "b");
	make_dir("a", "sub");
	make_dir("b", "empty");
	create("a", "f", NAME_NEW);
	create("b", "g", NAME_NEW);
	for (char c = 'A'; c < 'C'; c++) {
		long_name[0] = c;
		create("b", long_name, NAME_NEW);
	}
	long_name[0] = 'z';
	change("b/g", 0, "old", 700);
	crashbed_unmount();
	base_bytes = crashdisk_size();
	base = malloc(base_bytes);
	memcpy(base, crashdisk_bytes(), base_bytes);
}

static char texts[3][TEXT_MAX];

static void record(const unsigned *steps, unsigned count)
{
	crashdisk_load_bytes(base, base_bytes);
	mount();
	describe_volume(texts[0]);
	crashdisk_record();
	for (unsigned i = 0; i < count; i++) {
		step(steps[i]);
		check(durable_wait_sync(volume, volume_ticket(volume)));
		crashdisk_mark(i + 1);
		describe_volume(texts[i + 1]);
	}
	inode_wait_deleted();
}

static void check_cut(uint32_t cut, const unsigned *steps, unsigned count, enum crash_how how)
{
	static char found[TEXT_MAX];
	unsigned least = 0;
	for (unsigned i = 1; i <= count; i++)
		if (crashdisk_marked(cut, i))
			least = i;
	crashdisk_power_cut(cut, how);
	mount();
	describe_volume(found);
	unsigned at = least;
	while (at <= count && strcmp(found, texts[at]))
		at++;
	if (at > count)
		PANIC("steps %u %u, cut %u: found\n%s\nnot\n%s", steps[0], steps[count - 1], cut,
		      found, texts[least]);
	crashbed_unmount();
}

static unsigned cuts(const unsigned *steps, unsigned count)
{
	unsigned done = 0;
	record(steps, count);
	uint32_t end = crashdisk_events();
	crashbed_power_off();
	for (uint32_t cut = 0; cut <= end; cut++) {
		if (!crashdisk_worth_a_cut(cut))
			continue;
		if (count == 1) {
			for (enum crash_how how = 0; how < CRASH_HOWS; how++, done++)
				check_cut(cut, steps, count, how);
			if (crashbed_fsck())
				PANIC("step %u, cut %u: %s", steps[0], cut, crashbed_said());
		} else {
			check_cut(cut, steps, count, CRASH_TORN);
			done++;
		}
	}
	return done;
}

static void single_steps(void **state)
{
	unsigned done = 0;
	make_base("-b 1024 -J size=1");
	for (unsigned i = 0; i < STEPS; i++)
		done += cuts(&i, 1);
	assert_true(done > 10 * STEPS);
	free(base);
	crashdisk_free();
}

static void pairs_of_steps(void **state)
{
	unsigned done = 0;
	make_base("-b 1024 -J size=1");
	for (unsigned i = 0; i < STEPS * STEPS; i++) {
		unsigned steps[2] = {i / STEPS, i % STEPS};
		done += cuts(steps, 2);
	}
	assert_true(done > STEPS * STEPS);
	free(base);
	crashdisk_free();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(single_steps),
	    cmocka_unit_test(pairs_of_steps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
