// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/crashdisk.c tests/host/crashbed.c tests/host/filebed.c fs/*.c
// SOURCES: kernel/block.c kernel/copy.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// Room that is asked for (fallocate) and holes, on a real ext4 volume whose free blocks are full of a stranger's bytes:
// what is read back, what a power cut at any moment leaves, trees that are split and emptied by holes in any order,
// and pages that somebody has on the wire meanwhile. e2fsck judges.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "crashbed.h"
#include "filebed.h"
#include "fs/file.h"
#include "fs/name.h"
#include "fs/pagecache_private.h"
#include "fs/volume_private.h"
#include "kernel/panic.h"
#include "shim.h"

#define FILE_MAX 80000
#define STEPS	 60
#define STRANGE	 0xee

static struct volume *volume;
static struct inode *root;

// What the file holds after each step; beyond its size zeros.
static struct state {
	uint64_t size;
	uint8_t bytes[FILE_MAX];
} states[STEPS + 1];

static void write_all(struct inode *inode, uint64_t offset, const void *from, size_t len)
{
	filebed_must(filebed_write(inode, offset, from, len), "write");
}

static void durable(struct inode *file)
{
	filebed_must(file_sync_wait(file), "sync");
	filebed_must(durable_wait_sync(volume, volume_ticket(volume)), "durable");
}

static struct inode *make_file(const char *name)
{
	struct inode *file;
	filebed_must(file_create(root, 0644, &file), "create");
	filebed_must(file_link(root, name, strlen(name), file, NAME_NEW), "link");
	return file;
}

static void mount(void)
{
	volume = crashbed_mount(true);
	ASSERT(volume && volume_writable(volume));
	root = volume_root_inode(volume);
}

static void unmount(void)
{
	inode_put(root);
	crashbed_unmount();
	if (crashbed_fsck())
		PANIC("e2fsck: %s", crashbed_said());
}

// Most of the free blocks have held something else before.
static void start(const char *words, const char *size)
{
	static uint8_t strange[64 << 10];
	struct volume_space space;
	crashbed_make(words, size, NULL);
	mount();
	struct inode *file = make_file("stranger");
	memset(strange, STRANGE, sizeof(strange));
	volume_space(volume, &space);
	uint64_t bytes = (space.blocks_free * volume->block_bytes) / 10 * 9;
	for (uint64_t at = 0; at + sizeof(strange) <= bytes; at += sizeof(strange))
		write_all(file, at, strange, sizeof(strange));
	durable(file);
	inode_put(file);
	filebed_must(name_remove(root, "stranger", 8), "remove");
	inode_wait_deleted();
	filebed_must(durable_wait_sync(volume, volume_ticket(volume)), "durable");
}

// ---- steps ----

static void change(struct inode *file, struct state *s, unsigned n)
{
	static uint8_t bytes[FILE_MAX];
	uint64_t from = shim_random_below(FILE_MAX - 20000), len = 1 + shim_random_below(20000);
	uint64_t end = from + len;
	switch (shim_random_below(8)) {
	case 0:
		filebed_must(file_allocate(file, from, len, true), "keep");
		break;
	case 1:
		filebed_must(file_allocate(file, from, len, false), "allocate");
		s->size = MAX(s->size, end);
		break;
	case 2:
	case 3:
		filebed_must(file_punch(file, from, len, false), "punch");
		memset(s->bytes + from, 0, len);
		break;
	case 4:
		filebed_must(file_punch(file, from, len, true), "zero");
		memset(s->bytes + from, 0, len);
		break;
	case 5:
		filebed_must(file_truncate(file, from), "truncate");
		memset(s->bytes + from, 0, FILE_MAX - from);
		s->size = from;
		break;
	default:
		memset(bytes, (int)(1 + n), len);
		write_all(file, from, bytes, len);
		memset(s->bytes + from, (int)(1 + n), len);
		s->size = MAX(s->size, end);
	}
}

static void same(struct inode *file, const struct state *s, const char *when)
{
	static uint8_t found[FILE_MAX + PAGE_SIZE];
	if (file->size != s->size)
		PANIC("%s: %lu bytes, not %lu", when, file->size, s->size);
	filebed_read(file, found, s->size);
	for (uint64_t i = 0; i < s->size; i++)
		if (found[i] != s->bytes[i])
			PANIC("%s: byte %lu is %u, not %u", when, i, found[i], s->bytes[i]);
}

static void work(void)
{
	struct inode *file;
	unmount(); // nothing is on its way to the disk
	mount();
	crashdisk_rules.delay_max_ns = 200000;
	crashdisk_record();
	file = make_file("f");
	durable(file);
	states[0] = (struct state){.size = 0};
	crashdisk_mark(0);
	for (unsigned n = 1; n <= STEPS; n++) {
		states[n] = states[n - 1];
		change(file, &states[n], n);
		same(file, &states[n], "in memory");
		if (shim_random_below(3))
			continue;
		durable(file);
		crashdisk_mark(n);
	}
	inode_put(file);
}

// ---- cuts ----

// Each byte, and the size, is as it was after some step, none before the last that was promised.
static void check_cut(uint32_t cut)
{
	static uint8_t found[FILE_MAX + PAGE_SIZE];
	struct inode *file;
	unsigned least = STEPS, n;
	while (!crashdisk_marked(cut, least))
		least--;
	filebed_must(name_find_wait(volume, "f", 1, &file), "find");
	ASSERT(file->size <= FILE_MAX);
	// A write that grows the file may be there in part.
	for (n = least; n <= STEPS && states[n].size < file->size;)
		n++;
	ASSERT(n <= STEPS);
	filebed_read(file, found, file->size);
	for (uint64_t i = 0; i < file->size; i++) {
		for (n = least; n <= STEPS && found[i] != states[n].bytes[i];)
			n++;
		if (n > STEPS)
			PANIC("cut %u, promised %u: byte %lu of %lu is %u, not %u", cut, least, i,
			      file->size, found[i], states[least].bytes[i]);
	}
	inode_put(file);
}

static void cut_everywhere(const char *words, const char *size, unsigned one_in)
{
	uint32_t cuts = 0;
	start(words, size);
	work();
	unmount();
	uint32_t events = crashdisk_events();
	crashdisk_rules.delay_max_ns = 0;
	for (uint32_t cut = 0; cut <= events; cut++) {
		if (!crashdisk_marked(cut, 0) || !crashdisk_worth_a_cut(cut) ||
		    (cut < events && shim_random_below(one_in)))
			continue;
		for (enum crash_how how = 0; how < CRASH_HOWS; how++, cuts++) {
			crashdisk_power_cut(cut, how);
			mount();
			check_cut(cut);
			inode_put(root);
			crashbed_unmount();
			if (!shim_random_below(12) && crashbed_fsck())
				PANIC("cut %u: e2fsck: %s", cut, crashbed_said());
		}
	}
	print_message("%s: %u events, %u cuts\n", words, events, cuts);
	crashdisk_free();
}

static void power_cuts_with_blocks_of_a_page(void **state)
{
	cut_everywhere("-b 4096 -N 64", "10m", 5);
}

static void power_cuts_with_small_blocks(void **state)
{
	cut_everywhere("-b 1024 -N 64 -J size=1", "5m", 5);
}

// ---- trees ----

#define TREE_PAGES 900

static void shuffled(unsigned *order)
{
	for (unsigned n = 0; n < TREE_PAGES; n++)
		order[n] = n;
	for (unsigned n = TREE_PAGES; n-- > 1;) {
		unsigned with = (unsigned)shim_random_below(n + 1), page = order[n];
		order[n] = order[with];
		order[with] = page;
	}
}

// Is the page a hole after that round? Every second one first, in any order, so that there are some hundred extents;
// then from the front, so that nodes become empty there; then all.
static bool gone(unsigned page, unsigned round)
{
	return page % 2 == 0 || (round == 1 && page < TREE_PAGES / 2) || round == 2;
}

static void a_tree_that_holes_split_and_empty(void **state)
{
	static unsigned order[TREE_PAGES];
	static uint8_t page[PAGE_SIZE], found[TREE_PAGES * PAGE_SIZE];
	struct volume_space before, after;
	start("-b 1024 -N 64 -J size=1", "8m");
	struct inode *file = make_file("tree");
	volume_space(volume, &before);
	for (unsigned n = 0; n < TREE_PAGES; n++) {
		memset(page, (int)(1 + n % 100), sizeof(page));
		write_all(file, n * PAGE_SIZE, page, sizeof(page));
	}
	durable(file);
	shuffled(order);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned n = 0; n < TREE_PAGES; n++) {
			unsigned at = round == 1 ? n : order[n];
			if (gone(at, round))
				filebed_must(file_punch(file, at * PAGE_SIZE, PAGE_SIZE, false),
					     "punch");
		}
		filebed_must(durable_wait_sync(volume, volume_ticket(volume)), "durable");
		inode_put(file);
		unmount();
		mount();
		filebed_must(name_find_wait(volume, "tree", 4, &file), "find");
		assert_int_equal(file->size, TREE_PAGES * PAGE_SIZE);
		filebed_read(file, found, sizeof(found));
		for (unsigned n = 0; n < TREE_PAGES; n++)
			assert_int_equal(found[n * PAGE_SIZE + n % PAGE_SIZE],
					 gone(n, round) ? 0 : 1 + n % 100);
	}
	volume_space(volume, &after);
	assert_int_equal(after.blocks_free, before.blocks_free);
	inode_put(file);
	unmount();
	crashdisk_free();
}

// ---- a full volume ----

// All the room there is is asked for, in ever smaller pieces. How many pages that makes.
static uint64_t ask_for_all(struct inode *file)
{
	uint64_t end = 0;
	for (uint64_t piece = 1 << 20; piece >= PAGE_SIZE;) {
		int error = file_allocate(file, end, piece, false);
		if (error && error != -ENOSPC)
			filebed_must(error, "allocate");
		if (error)
			piece /= 2;
		else
			end += piece;
	}
	return end / PAGE_SIZE;
}

// Every second page of it is written, so that the tree takes as many extents as there can be.
static void room_that_was_asked_for_can_be_written(const char *words, const char *size)
{
	static uint8_t page[PAGE_SIZE];
	crashbed_make(words, size, NULL);
	mount();
	struct inode *file = make_file("full");
	uint64_t pages = ask_for_all(file);
	for (uint64_t n = 0; n < pages; n += 2) {
		memset(page, (int)(1 + n % 200), sizeof(page));
		write_all(file, n * PAGE_SIZE, page, sizeof(page));
		if (n % 512 == 510)
			filebed_must(file_sync_wait(file), "sync");
	}
	durable(file);
	inode_put(file);
	unmount();
	crashdisk_free();
}

static void on_a_full_volume_room_that_was_asked_for_can_be_written(void **state)
{
	room_that_was_asked_for_can_be_written("-b 4096 -m 0 -N 64", "40m");
	room_that_was_asked_for_can_be_written("-b 1024 -m 0 -N 64 -J size=1", "12m");
}

// ---- the wire ----

static void who_has_a_page_wired_keeps_it_as_it_is(void **state)
{
	static uint8_t bytes[3 * PAGE_SIZE], seen[PAGE_SIZE];
	struct page *page[3], *now;
	start("-b 4096 -N 64", "10m");
	struct inode *file = make_file("wired");
	memset(bytes, 'w', sizeof(bytes));
	write_all(file, 0, bytes, sizeof(bytes));
	for (unsigned n = 0; n < 3; n++)
		filebed_must(pagecache_get_wait(file, n, &page[n]), "get");
	filebed_must(file_punch(file, 100, 2 * PAGE_SIZE, false), "punch");
	for (unsigned n = 0; n < 3; n++) {
		shim_dma_read(page_phys(page[n]), seen, PAGE_SIZE);
		assert_memory_equal(seen, bytes, PAGE_SIZE);
		page_wire_put(page[n]);
	}
	filebed_must(pagecache_get_wait(file, 0, &now), "get");
	shim_dma_read(page_phys(now), seen, PAGE_SIZE);
	assert_memory_equal(seen, bytes, 100);
	for (unsigned n = 100; n < PAGE_SIZE; n++)
		assert_int_equal(seen[n], 0);
	page_wire_put(now);
	durable(file);
	inode_put(file);
	unmount();
	crashdisk_free();
}

static void block_mapped_files_have_no_holes_punched(void **state)
{
	start("-b 1024 -N 64 -J size=1 -O ^extents,^64bit,^metadata_csum", "8m");
	struct inode *file = make_file("old");
	write_all(file, 0, "old", 3);
	assert_int_equal(file_punch(file, 0, 3, false), -EOPNOTSUPP);
	assert_int_equal(file_punch(root, 0, 3, false), -EISDIR);
	durable(file);
	inode_put(file);
	unmount();
	crashdisk_free();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(power_cuts_with_blocks_of_a_page),
	    cmocka_unit_test(power_cuts_with_small_blocks),
	    cmocka_unit_test(a_tree_that_holes_split_and_empty),
	    cmocka_unit_test(on_a_full_volume_room_that_was_asked_for_can_be_written),
	    cmocka_unit_test(who_has_a_page_wired_keeps_it_as_it_is),
	    cmocka_unit_test(block_mapped_files_have_no_holes_punched),
	};
	return cmocka_run_group_tests_name("file_holes", tests, NULL, NULL);
}
