// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/ext4_bed.c tests/host/tree_model.c tests/host/tree_step.c fs/*.c
// SOURCES: kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// Random sequences of everything in include/fs/file.h that changes names and attributes, on volumes of many
// kinds, against a model; after each round e2fsck and debugfs judge the image.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fs/name.h"
#include "kernel/panic.h"
#include "shim.h"
#include "tree_model.h"

#define NAMES	  60
#define ROUNDS	  3
#define STEPS	  400
#define LINK_MAX  4000
#define VALUE_MAX 5000

static char names[NAMES][256], value[LINK_MAX + VALUE_MAX];

static uint64_t below(uint64_t limit)
{
	return shim_random_below(limit);
}

static void make_names(void)
{
	static const unsigned lengths[] = {1, 3, 8, 12, 40, 41, 120, 200, 254, 255};
	for (unsigned i = 0; i < NAMES; i++) {
		unsigned len = lengths[below(ARRAY_SIZE(lengths))];
		for (unsigned k = 0; k < len; k++)
			do
				names[i][k] = (char)(1 + below(255));
			while (names[i][k] == '/' || names[i][k] == '.');
		names[i][len] = 0;
	}
	for (unsigned i = 0; i < sizeof(value); i++)
		value[i] = (char)('a' + below(26));
	value[LINK_MAX] = 0; // targets of links end here
}

// One of those that can still be reached; null: none was found.
static struct node *pick(bool dir)
{
	unsigned n = 0;
	struct node *found = NULL;
	for (struct node *node = model_nodes; node; node = node->next) {
		if ((node->type == INODE_DIRECTORY) != dir || node->type == INODE_SYMLINK)
			continue;
		if ((node->links || node->open) && !below(++n))
			found = node;
	}
	return found;
}

static const char *pick_name(const struct node *dir)
{
	static char copies[2][256]; // entries move
	static unsigned which;
	if (!dir->count || !below(3))
		return names[below(NAMES)];
	return strcpy(copies[which ^= 1], dir->entries[below(dir->count)].name);
}

static struct step random_step(void)
{
	struct step s = {.kind = (enum step_kind)below(STEP_KINDS), .dir = pick(true)};
	if (below(2))
		s.kind = STEP_CREATE;
	s.name = pick_name(s.dir);
	s.mode = (unsigned)below(2);
	switch (s.kind) {
	case STEP_RENAME:
		s.dir2 = below(2) ? s.dir : pick(true);
		s.name2 = pick_name(s.dir2);
		break;
	case STEP_MKDIR:
		s.mode = 0700 + (unsigned)below(64);
		break;
	case STEP_SYMLINK:
		s.value = value + LINK_MAX - 1 - below(below(2) ? 100 : LINK_MAX - 1);
		break;
	case STEP_LINK:
		s.node = pick(false);
		break;
	case STEP_TRUNCATE:
		s.dir = NULL;
		s.node = pick(false);
		s.size = below(100000);
		break;
	case STEP_ATTRIBUTES:
		s.dir = NULL;
		s.node = pick(below(2));
		s.mode = (unsigned)below(010000);
		s.size = 1 + below(5UL << 31) - (1UL << 31); // e2fsck mistrusts times after 2310
		break;
	case STEP_XATTR:
		s.dir = NULL;
		s.node = pick(below(4) == 0);
		s.name =
		    ((const char *const[]){"a", "bb", "dav", "long-name-of-attribute"})[below(4)];
		s.size = below(4) ? below(40) : below(VALUE_MAX);
		s.value = below(4) ? value + below(LINK_MAX) : NULL;
		break;
	default:
		break;
	}
	if (!s.node && (!s.dir || s.kind == STEP_LINK))
		s = (struct step){
		    .kind = STEP_CREATE, .dir = model_root, .name = names[0], .mode = 1};
	return s;
}

// What was looked up before a change must not be answered after it.
static void look_up(struct node *dir, const char *name)
{
	char path[600];
	struct inode *inode;
	if (dir->parent != model_root || !dir->links)
		return;
	const char *dir_name = "";
	for (unsigned i = 0; i < model_root->count; i++)
		if (model_root->entries[i].node == dir)
			dir_name = model_root->entries[i].name;
	snprintf(path, sizeof(path), "%s/%s", dir_name, name);
	struct node *node = model_find(dir, name);
	if (node && node->type == INODE_SYMLINK)
		return;
	int error = name_find_wait(bed_volume, path, strlen(path), &inode);
	if (error != (node ? 0 : -ENOENT) || (node && inode->type != node->type))
		PANIC("%s: %d after the change", path, error);
	if (!error)
		inode_put(inode);
}

static void random_steps(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct step s = random_step();
		if (s.kind == STEP_SYMLINK && strlen(s.value) >= bed_volume->block_bytes)
			s.value = "short";
		if (s.dir && below(2))
			look_up(s.dir, s.name);
		if (below(8) == 0 && (s.node || s.dir))
			model_open(s.node ? s.node : s.dir);
		step_take(&s);
		if (s.dir)
			look_up(s.dir, s.name);
		if (s.dir2)
			look_up(s.dir2, s.name2);
		struct node *node = pick(false);
		if (node && below(4) == 0)
			model_close(node);
		if (below(16) == 0)
			shim_run();
	}
}

static void rounds(const char *words)
{
	bed_start(words, "16m");
	make_names();
	model_start();
	for (unsigned round = 0; round < ROUNDS; round++) {
		random_steps(STEPS);
		if (!model_short_times)
			model_compare();
		model_forget_inodes();
		bed_unmount(true);
		model_compare_rdump();
		bed_mount();
		model_compare();
	}
	model_free();
	bed_finish();
}

static void default_volumes(void **state)
{
	rounds("-b 4096");
	rounds("-b 1024");
	rounds("-b 2048 -O metadata_csum_seed,orphan_file");
}

static void without_checksums(void **state)
{
	rounds("-b 1024 -O ^metadata_csum");
	rounds("-b 4096 -O ^metadata_csum,uninit_bg,^64bit");
}

static void other_directories(void **state)
{
	rounds("-b 1024 -O ^dir_index");
	rounds("-b 1024 -O ^filetype");
	rounds("-b 1024 -O large_dir");
	rounds("-b 1024 -O ^dir_nlink,^metadata_csum");
}

static void other_inodes(void **state)
{
	model_short_times = true;
	rounds("-b 1024 -I 128");
	model_short_times = false;
	rounds("-b 4096 -I 1024");
	rounds("-b 1024 -O ^64bit,^flex_bg,^metadata_csum,^huge_file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(default_volumes),
	    cmocka_unit_test(without_checksums),
	    cmocka_unit_test(other_directories),
	    cmocka_unit_test(other_inodes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
