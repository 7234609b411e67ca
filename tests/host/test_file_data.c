// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/crashdisk.c tests/host/crashbed.c tests/host/filebed.c fs/*.c
// SOURCES: kernel/block.c kernel/copy.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// File bytes on a real ext4 volume, written through the cache: what is read back, what e2fsck says, and what is left
// of it when the power fails at any moment. Files are uploaded as a server does it (written without a name,
// synced, named, waited for), while another file is streamed and never synced, one is changed in place and
// one is shortened.
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
#include "kernel/copy.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "shim.h"

#define NAMES	 6
#define LEN_MAX	 70000
#define VERSIONS 4096
#define STREAM	 "stream"

static struct volume *volume;
static struct inode *root;
static uint8_t bytes[LEN_MAX];
static uint64_t version, written;
static unsigned name_of[VERSIONS];
static uint64_t ends[VERSIONS]; // where the stream was cut off
static unsigned end_count;

// What version v of a file holds: its number, and bytes that depend on it and are never 0.
static size_t make_bytes(uint64_t v)
{
	uint64_t x = v * 0x9e3779b97f4a7c15UL + 1;
	size_t len = 8 + x % (v % 3 ? 3000 : LEN_MAX - 8);
	for (size_t i = 8; i < len; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		bytes[i] = (uint8_t)(1 + x % 127);
	}
	memcpy(bytes, &v, 8);
	return len;
}

static uint8_t stream_byte(uint64_t at)
{
	return (uint8_t)(1 + (at * 2654435761U >> 12) % 127);
}

static int write_all(struct inode *inode, uint64_t offset, const void *from, size_t len)
{
	written += len;
	return filebed_write(inode, offset, from, len);
}

static void upload(void)
{
	struct inode *file;
	char name[8];
	uint64_t v = ++version;
	size_t len = make_bytes(v), at = 0;
	name_of[v] = (unsigned)shim_random_below(NAMES);
	snprintf(name, sizeof(name), "f%u", name_of[v]);
	filebed_must(file_create(root, 0644, &file), "create");
	while (at < len) {
		size_t n = 1 + shim_random_below(1460);
		n = MIN(n, len - at);
		filebed_must(write_all(file, at, bytes + at, n), "write");
		at += n;
	}
	filebed_must(file_sync_wait(file), "sync");
	filebed_must(file_link(root, name, strlen(name), file, NAME_REPLACE), "link");
	inode_put(file);
	filebed_must(durable_wait_sync(volume, volume_ticket(volume)), "durable");
	crashdisk_mark(v);
}

static void stream(struct inode *file)
{
	uint8_t piece[3000];
	for (size_t i = 0; i < sizeof(piece); i++)
		piece[i] = stream_byte(file->size + i);
	filebed_must(write_all(file, file->size, piece, sizeof(piece)), "stream");
}

static struct inode *make_file(const char *name)
{
	struct inode *file;
	filebed_must(file_create(root, 0644, &file), "create");
	filebed_must(file_link(root, name, strlen(name), file, NAME_NEW), "link");
	return file;
}

static void work(unsigned count)
{
	struct inode *streamed = make_file(STREAM), *changed = make_file("changed");
	for (unsigned i = 0; i < count; i++) {
		upload();
		for (unsigned n = 0; n < 4; n++)
			stream(streamed);
		make_bytes(i + 1);
		filebed_must(write_all(changed, shim_random_below(200000), bytes,
				       8 + shim_random_below(5000)),
			     "change");
		if (!shim_random_below(4))
			filebed_must(file_truncate(changed, shim_random_below(changed->size)),
				     "truncate");
		if (!shim_random_below(4)) {
			ends[end_count] = shim_random_below(streamed->size);
			filebed_must(file_truncate(streamed, ends[end_count++]), "truncate");
		}
		if (!shim_random_below(8))
			thread_sleep_ns(4 * NS_PER_SEC);
	}
	inode_put(streamed);
	inode_put(changed);
}

// The newest version of each name that is promised by then; 0: none.
static uint64_t promised(uint32_t cut, unsigned name)
{
	for (uint64_t v = version; v; v--)
		if (name_of[v] == name && crashdisk_marked(cut, v))
			return v;
	return 0;
}

// One version, whole, and none older than what was promised.
static void check_upload(unsigned n, uint64_t least)
{
	static uint8_t found[LEN_MAX + PAGE_SIZE];
	struct inode *file;
	char name[8];
	uint64_t v;
	snprintf(name, sizeof(name), "f%u", n);
	int error = name_find_wait(volume, name, strlen(name), &file);
	if (error == -ENOENT && !least)
		return;
	filebed_must(error, name);
	ASSERT(file->size >= 8 && file->size <= LEN_MAX);
	filebed_read(file, found, file->size);
	memcpy(&v, found, 8);
	if (v < least || v > version || name_of[v] != n)
		PANIC("%s has version %lu, %lu was promised", name, v, least);
	if (make_bytes(v) != file->size)
		PANIC("%s has not the size of version %lu", name, v);
	for (uint64_t i = 0; i < file->size; i++)
		if (found[i] != bytes[i])
			PANIC("%s byte %lu of %lu of version %lu is %u, not %u", name, i,
			      file->size, v, found[i], bytes[i]);
	inode_put(file);
}

// The zeros behind a file's new end, in its last page, may be on the disk before its new size is.
static bool may_be_zero(uint64_t at)
{
	for (unsigned i = 0; i < end_count; i++)
		if (ends[i] <= at && ends[i] >> PAGE_SHIFT == at >> PAGE_SHIFT)
			return true;
	return false;
}

// No byte that was not streamed, and none missing in between.
static void check_stream(bool cut)
{
	struct inode *file;
	int error = name_find_wait(volume, STREAM, strlen(STREAM), &file);
	if (error == -ENOENT)
		return;
	filebed_must(error, STREAM);
	uint8_t *found = malloc(file->size + PAGE_SIZE);
	filebed_read(file, found, file->size);
	for (uint64_t i = 0; i < file->size; i++)
		if (found[i] != stream_byte(i) && !(cut && !found[i] && may_be_zero(i)))
			PANIC("byte %lu of %lu of the stream is %u", i, file->size, found[i]);
	free(found);
	inode_put(file);
}

static void check(uint32_t cut)
{
	for (unsigned n = 0; n < NAMES; n++)
		check_upload(n, promised(cut, n));
	check_stream(cut != UINT32_MAX);
}

static void start(const char *words, const char *size)
{
	crashbed_make(words, size, NULL);
	crashdisk_rules.delay_max_ns = 200000;
	volume = crashbed_mount(true);
	ASSERT(volume && volume_writable(volume));
	root = volume_root_inode(volume);
	crashdisk_record();
	version = written = end_count = 0;
}

static void files_and_cuts(const char *words, const char *size, unsigned count, unsigned one_in)
{
	start(words, size);
	uint64_t copied = copy_bytes(COPY_CACHE_WRITE), promises = 0;
	work(count);
	assert_int_equal(copy_bytes(COPY_CACHE_WRITE) - copied, written);
	check(UINT32_MAX);
	inode_put(root);
	crashbed_unmount();
	if (crashbed_fsck())
		PANIC("e2fsck: %s", crashbed_said());
	uint32_t events = crashdisk_events(), cuts = 0;
	crashdisk_rules.delay_max_ns = 0;
	for (uint32_t cut = 0; cut <= events; cut++) {
		if (!crashdisk_worth_a_cut(cut) || (cut < events && shim_random_below(one_in)))
			continue;
		for (enum crash_how how = 0; how < CRASH_HOWS; how++, cuts++) {
			crashdisk_power_cut(cut, how);
			volume = crashbed_mount(true);
			ASSERT(volume && volume_writable(volume));
			check(cut);
			crashbed_unmount();
			if (!shim_random_below(8) && crashbed_fsck())
				PANIC("cut %u: e2fsck: %s", cut, crashbed_said());
		}
		promises = promised(cut, 0);
	}
	print_message("%s: %lu uploads, %lu bytes, %u events, %u cuts, last promise %lu\n", words,
		      version, written, events, cuts, promises);
	crashdisk_free();
}

static void with_blocks_of_a_page(void **state)
{
	files_and_cuts("-b 4096 -N 64", "24m", 20, 12);
}

static void with_small_blocks(void **state)
{
	files_and_cuts("-b 1024 -N 64 -J size=1", "8m", 20, 12);
}

static void mapped_by_block_numbers(void **state)
{
	files_and_cuts("-b 1024 -N 64 -J size=1 -O ^extents,^64bit,^metadata_csum", "8m", 15, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(with_blocks_of_a_page),
	    cmocka_unit_test(with_small_blocks),
	    cmocka_unit_test(mapped_by_block_numbers),
	};
	return cmocka_run_group_tests_name("file_data", tests, NULL, NULL);
}
