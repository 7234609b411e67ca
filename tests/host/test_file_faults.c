// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/ext4_bed.c tests/host/tree_model.c tests/host/tree_step.c fs/*.c
// SOURCES: kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// Every operation on names and attributes when the k-th disk read fails, the k-th object or the k-th frame cannot
// be had, for every k until it succeeds: it says why, the tree is what it was, nothing leaks, e2fsck finds nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fs/volume_private.h"
#include "kernel/panic.h"
#include "kernel/pool.h"
#include "shim.h"
#include "tree_model.h"

#define K_MAX 400 // an operation that fails more often has no end

static char long_name[256], value[3000];
static unsigned failures;

static struct node *at(struct node *dir, const char *name)
{
	struct node *node = model_find(dir, name);
	ASSERT(node);
	return node;
}

static void take(struct step step)
{
	step_take(&step);
}

// Enough names that the next long one splits a leaf; a tree that renames can go wrong in.
static void make_tree(void)
{
	memset(long_name, 'l', 255);
	memset(value, 'v', sizeof(value) - 1);
	take((struct step){.kind = STEP_MKDIR, .dir = model_root, .name = "a", .mode = 0755});
	take((struct step){.kind = STEP_MKDIR, .dir = model_root, .name = "b", .mode = 0755});
	struct node *a = at(model_root, "a"), *b = at(model_root, "b");
	take((struct step){.kind = STEP_MKDIR, .dir = a, .name = "sub", .mode = 0755});
	take((struct step){.kind = STEP_MKDIR, .dir = b, .name = "empty", .mode = 0755});
	take((struct step){.kind = STEP_CREATE, .dir = a, .name = "f"});
	take((struct step){.kind = STEP_CREATE, .dir = b, .name = "g"});
	for (unsigned i = 0; i < 40; i++) {
		long_name[0] = (char)('A' + i);
		take((struct step){
		    .kind = STEP_LINK, .dir = b, .name = long_name, .node = at(a, "f")});
	}
}

enum failing { READS, OBJECTS, FRAMES };

static void inject(enum failing what, uint32_t k)
{
	if (what == READS)
		bed_fail_reads(k);
	else if (what == OBJECTS)
		pool_fail_after(k);
	else
		shim_frames_fail_after(k);
}

static void injected_no_more(void)
{
	bed_fail_reads(UINT64_MAX);
	pool_fail_off();
	shim_frames_fail_off();
	shim_run();
}

static void fails_until_it_succeeds(const struct step *step, enum failing what)
{
	ASSERT(!step_expect(step));
	for (uint32_t k = 0;; k++) {
		ASSERT(k < K_MAX);
		bed_forget_cache();
		name_cache_drop();
		// The directories come back into memory: what is tested is the operation itself.
		if (step->dir)
			model_open(step->dir);
		if (step->dir2)
			model_open(step->dir2);
		if (step->node)
			model_open(step->node);
		inject(what, k);
		int error = step_real(step);
		injected_no_more();
		model_forget_inodes();
		if (!error)
			break;
		if (error != (what == READS ? -EIO : -ENOMEM))
			PANIC("%s with fault %u: %d", step_text(step), k, error);
		model_compare();
		failures++;
	}
	step_model(step);
	model_compare();
}

// Each step, and the one that undoes it, so that it can be taken again.
static void all_steps(enum failing what)
{
	struct node *a = at(model_root, "a"), *b = at(model_root, "b"), *f = at(a, "f");
	long_name[0] = 'z';
	const struct step steps[] = {
	    {.kind = STEP_CREATE, .dir = b, .name = long_name},
	    {.kind = STEP_RENAME, .dir = b, .name = long_name, .dir2 = a, .name2 = "moved"},
	    {.kind = STEP_CREATE, .dir = a, .name = "moved", .mode = NAME_REPLACE},
	    {.kind = STEP_RENAME,
	     .dir = a,
	     .name = "moved",
	     .dir2 = b,
	     .name2 = "g",
	     .mode = NAME_REPLACE},
	    {.kind = STEP_RENAME,
	     .dir = a,
	     .name = "sub",
	     .dir2 = b,
	     .name2 = "empty",
	     .mode = NAME_REPLACE},
	    {.kind = STEP_RENAME, .dir = b, .name = "empty", .dir2 = a, .name2 = "sub"},
	    {.kind = STEP_MKDIR, .dir = b, .name = "empty", .mode = 0700},
	    {.kind = STEP_LINK, .dir = a, .name = "f2", .node = f},
	    {.kind = STEP_REMOVE, .dir = a, .name = "f2"},
	    {.kind = STEP_SYMLINK, .dir = a, .name = "fast", .value = "target"},
	    {.kind = STEP_SYMLINK, .dir = a, .name = "slow", .value = value + 2500},
	    {.kind = STEP_REMOVE, .dir = a, .name = "fast"},
	    {.kind = STEP_REMOVE, .dir = a, .name = "slow"},
	    {.kind = STEP_ATTRIBUTES, .node = f, .mode = 0600, .size = 1000000000},
	    {.kind = STEP_XATTR, .node = f, .name = "small", .value = value, .size = 20},
	    {.kind = STEP_XATTR, .node = f, .name = "large", .value = value, .size = 700},
	    {.kind = STEP_XATTR, .node = f, .name = "large", .value = value, .size = 701},
	    {.kind = STEP_XATTR, .node = f, .name = "large"},
	    {.kind = STEP_XATTR, .node = f, .name = "small"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		fails_until_it_succeeds(&steps[i], what);
}

static void faults(enum failing what)
{
	failures = 0;
	bed_start("-b 1024", "16m");
	model_start();
	make_tree();
	all_steps(what);
	all_steps(what);
	bed_unmount(true);
	model_compare_rdump();
	bed_mount();
	model_compare();
	model_free();
	bed_finish();
	assert_true(failures > 80);
}

static void the_kth_read_fails(void **state)
{
	faults(READS);
}

static void the_kth_object_cannot_be_had(void **state)
{
	faults(OBJECTS);
}

static void the_kth_frame_cannot_be_had(void **state)
{
	faults(FRAMES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_kth_read_fails),
	    cmocka_unit_test(the_kth_object_cannot_be_had),
	    cmocka_unit_test(the_kth_frame_cannot_be_had),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
