// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: fs/partition.c fs/partition_gpt.c kernel/block.c kernel/crc32.c kernel/string.c
// Partition tables as sgdisk, fdisk and sfdisk make them, then damaged and hostile ones.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "fs/partition.h"
#include "fs/partition_table.h"
#include "kernel/crc32.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/wtd.h"
#include "shim.h"

#define MB	 (1024 * 1024)
#define DISK_MB	 64
#define SECTORS	 (DISK_MB * 2048)
#define IMAGE	 "build/host/partition.img"
#define MAX_DEVS 400

static struct block_device *disk;
static uint8_t *image;
static uint64_t unreadable = UINT64_MAX; // sector
static struct block_request *queue;
static struct wtd disk_work;

static void run_disk(struct wtd *work)
{
	while (queue) {
		struct block_request *r = queue;
		uint64_t byte = r->disk_lba << SECTOR_SHIFT;
		queue = r->next;
		int status = 0;
		for (uint32_t n = 0; n < r->nsegs; n++) {
			shim_dma_write(r->segs[n].addr, image + byte, r->segs[n].bytes);
			if (unreadable * 512 >= byte && unreadable * 512 < byte + r->segs[n].bytes)
				status = -EIO;
			byte += r->segs[n].bytes;
		}
		block_complete(r, status);
	}
}

static void submit(struct block_device *dev, struct block_request *r)
{
	r->next = queue;
	queue = r;
	wtd_post_fast(&disk_work);
}

// A new disk with an empty image. Registered disks stay for good, as in the kernel.
static void new_disk(uint32_t sector_bytes)
{
	static struct block_device disks[MAX_DEVS];
	static char names[MAX_DEVS][16];
	static unsigned count;
	assert_in_range(count, 0, MAX_DEVS - 1);
	snprintf(names[count], sizeof names[0], "disk%u", count);
	disk = &disks[count];
	*disk = (struct block_device){.name = names[count++],
				      .sectors = SECTORS,
				      .sector_bytes = sector_bytes,
				      .max_segs = 16,
				      .max_sectors = 64,
				      .submit = submit};
	block_register(disk);
	free(image);
	image = calloc(1, DISK_MB * MB);
	unreadable = UINT64_MAX;
}

// Lets a tool make a table on a file of the disk's size, and reads it in.
static void made_by(const char *command)
{
	char line[600];
	new_disk(512);
	snprintf(line, sizeof line,
		 "rm -f " IMAGE " && truncate -s %dM " IMAGE " && (%s) >/dev/null 2>&1", DISK_MB,
		 command);
	assert_int_equal(system(line), 0);
	FILE *f = fopen(IMAGE, "rb");
	assert_non_null(f);
	assert_int_equal(fread(image, 1, DISK_MB * MB, f), DISK_MB * MB);
	fclose(f);
}

static const struct block_device *part(unsigned number)
{
	char name[40];
	snprintf(name, sizeof name, "%sp%u", disk->name, number);
	for (const struct block_device *dev = block_first(); dev; dev = dev->next)
		if (!strcmp(dev->name, name))
			return dev;
	return NULL;
}

static void expect_part(unsigned number, uint64_t start, uint64_t sectors)
{
	const struct block_device *p = part(number);
	assert_non_null(p);
	assert_ptr_equal(p->parent, disk);
	assert_int_equal(p->start, start);
	assert_int_equal(p->sectors, sectors);
}

#define SGDISK_TWO "sgdisk -n 1:2048:+20M -n 3:0:+10M " IMAGE

static void an_empty_disk_has_none(void **state)
{
	new_disk(512);
	assert_int_equal(partition_scan(disk), 0);
}

static void a_file_system_with_a_boot_sector_has_none(void **state)
{
	new_disk(512);
	memset(image, 0x90, 510);
	image[510] = 0x55;
	image[511] = 0xaa;
	assert_int_equal(partition_scan(disk), 0);
}

static void gpt_by_sgdisk(void **state)
{
	made_by(SGDISK_TWO);
	assert_int_equal(partition_scan(disk), 2);
	expect_part(1, 2048, 20 * 2048);
	expect_part(3, 2048 + 20 * 2048, 10 * 2048);
	assert_null(part(2));
	assert_int_equal(partition_scan((struct block_device *)(uintptr_t)part(1)), 0);
}

static void gpt_by_fdisk_of_4096_byte_sectors(void **state)
{
	made_by("printf 'g\\nn\\n1\\n256\\n1279\\nw\\n' | fdisk -b 4096 " IMAGE);
	disk->sector_bytes = 4096;
	assert_int_equal(partition_scan(disk), 1);
	expect_part(1, 256 * 8, 1024 * 8);
}

static void mbr_by_sfdisk_with_logical_partitions(void **state)
{
	made_by("sfdisk -q " IMAGE " <<E\nlabel: dos\nstart=2048,size=4096\nstart=8192,size=40000,"
		"type=5\nstart=50000,size=2048\nstart=10240,size=1000\nstart=20480,size=2000\n"
		"start=30720,size=3000\nE\n");
	assert_int_equal(partition_scan(disk), 5);
	expect_part(1, 2048, 4096);
	assert_null(part(2));
	expect_part(3, 50000, 2048);
	expect_part(5, 10240, 1000);
	expect_part(6, 20480, 2000);
	expect_part(7, 30720, 3000);
}

static void a_damaged_primary_gpt_gives_way_to_the_backup(void **state)
{
	static const size_t damage[] = {512, 512 + 24, 512 + 40, 512 + 84, 1024, 1024 + 128 * 127};
	for (unsigned n = 0; n < ARRAY_SIZE(damage); n++) {
		made_by(SGDISK_TWO);
		image[damage[n]] ^= 1;
		assert_int_equal(partition_scan(disk), 2);
		expect_part(3, 2048 + 20 * 2048, 10 * 2048);
	}
	made_by(SGDISK_TWO);
	unreadable = 1;
	assert_int_equal(partition_scan(disk), 2);
	made_by(SGDISK_TWO);
	unreadable = 20;
	assert_int_equal(partition_scan(disk), 2);
}

static void two_damaged_gpts_have_none(void **state)
{
	made_by(SGDISK_TWO);
	image[512 + 60] ^= 1;
	image[DISK_MB * MB - 512 + 60] ^= 1;
	assert_int_equal(partition_scan(disk), 0);
}

static void put(size_t at, uint64_t value, unsigned bytes)
{
	memcpy(image + at, &value, bytes);
}

static void seal_gpt(void)
{
	uint32_t count, size;
	memcpy(&count, image + 512 + 80, 4);
	memcpy(&size, image + 512 + 84, 4);
	uint64_t bytes = MIN((uint64_t)count * size, 1ull * MB);
	put(512 + 88, ~crc32(~0u, image + 1024, bytes), 4);
	put(512 + 16, 0, 4);
	put(512 + 16, ~crc32(~0u, image + 512, 92), 4);
	memset(image + DISK_MB * MB - 512, 0, 512); // no backup
}

static void gpt_entries_that_overlap_or_leave_the_disk_are_refused(void **state)
{
	made_by(SGDISK_TWO);
	memcpy(image + 1024 + 128 * 5, image + 1024, 128); // entry 6 = entry 1
	memcpy(image + 1024 + 128 * 6, image + 1024, 128); // entry 7: ends beyond the disk
	put(1024 + 128 * 6 + 32, 80000, 8);
	put(1024 + 128 * 6 + 40, SECTORS + 5, 8);
	memcpy(image + 1024 + 128 * 7, image + 1024, 128); // entry 8: backwards
	put(1024 + 128 * 7 + 32, 80000, 8);
	put(1024 + 128 * 7 + 40, 79999, 8);
	memcpy(image + 1024 + 128 * 8, image + 1024, 128); // entry 9: over the table itself
	put(1024 + 128 * 8 + 32, 0, 8);
	put(1024 + 128 * 8 + 40, 100, 8);
	memcpy(image + 1024 + 128 * 9, image + 1024, 128); // entry 10: 64-bit wrap
	put(1024 + 128 * 9 + 32, UINT64_MAX - 1, 8);
	put(1024 + 128 * 9 + 40, UINT64_MAX, 8);
	seal_gpt();
	assert_int_equal(partition_scan(disk), 2);
	expect_part(1, 2048, 20 * 2048);
}

static void hostile_gpt_headers_are_refused(void **state)
{
	static const struct {
		size_t at;
		uint64_t value;
		unsigned bytes;
	} lies[] = {
	    {12, 0, 4},	      {12, 91, 4},	    {12, 513, 4},	 {12, UINT32_MAX, 4},
	    {24, 2, 8},	      {40, UINT64_MAX, 8},  {48, SECTORS, 8},	 {48, UINT64_MAX, 8},
	    {72, SECTORS, 8}, {72, SECTORS - 1, 8}, {72, UINT64_MAX, 8}, {80, 0, 4},
	    {80, 1025, 4},    {80, UINT32_MAX, 4},  {84, 0, 4},		 {84, 64, 4},
	    {84, 129, 4},     {84, 8192, 4},	    {84, UINT32_MAX, 4}, {84, 0x80000000, 4},
	};
	for (unsigned n = 0; n < ARRAY_SIZE(lies); n++) {
		made_by(SGDISK_TWO);
		put(512 + lies[n].at, lies[n].value, lies[n].bytes);
		seal_gpt();
		assert_int_equal(partition_scan(disk), 0);
	}
}

static void put_mbr(size_t sector, unsigned entry, uint8_t type, uint32_t first, uint32_t count)
{
	size_t at = sector * 512 + 446 + 16 * entry;
	put(at + 4, type, 1);
	put(at + 8, first, 4);
	put(at + 12, count, 4);
	put(sector * 512 + 510, 0xaa55, 2);
}

static void mbr_entries_that_overlap_or_leave_the_disk_are_refused(void **state)
{
	new_disk(512);
	put_mbr(0, 0, 0x83, 100, 1000);
	put_mbr(0, 1, 0x83, 1099, 10);
	put_mbr(0, 2, 0x83, SECTORS - 10, 11);
	put_mbr(0, 3, 0x83, UINT32_MAX, UINT32_MAX);
	assert_int_equal(partition_scan(disk), 1);
	expect_part(1, 100, 1000);
	new_disk(512);
	put_mbr(0, 0, 0x83, 0, 1000); // over the table itself
	assert_int_equal(partition_scan(disk), 0);
}

static void a_looping_chain_of_logical_partitions_ends(void **state)
{
	new_disk(512);
	put_mbr(0, 0, 0x05, 1000, 50000);
	put_mbr(1000, 0, 0x83, 10, 100);
	put_mbr(1000, 1, 0x05, 1000, 500);
	put_mbr(2000, 0, 0x83, 10, 100);
	put_mbr(2000, 1, 0x05, 0, 500); // back to the first
	assert_int_equal(partition_scan(disk), 2);
	expect_part(5, 1010, 100);
	expect_part(6, 2010, 100);
}

static void a_chain_that_leaves_the_extended_partition_ends(void **state)
{
	new_disk(512);
	put_mbr(0, 0, 0x0f, 1000, 5000);
	put_mbr(1000, 0, 0x83, 10, 100);
	put_mbr(1000, 1, 0x05, 6000, 500);
	put_mbr(7000, 0, 0x83, 10, 100);
	assert_int_equal(partition_scan(disk), 1);
	new_disk(512);
	put_mbr(0, 0, 0x0f, SECTORS + 5, 5000);
	assert_int_equal(partition_scan(disk), 0);
}

static void a_very_long_chain_is_cut(void **state)
{
	new_disk(512);
	put_mbr(0, 0, 0x05, 1000, 100000);
	for (uint32_t n = 0; n < 200; n++) {
		put_mbr(1000 + n * 100, 0, 0x83, 10, 50);
		put_mbr(1000 + n * 100, 1, 0x05, (n + 1) * 100, 100);
	}
	assert_int_equal(partition_scan(disk), 128);
}

static void an_unreadable_first_sector_has_none(void **state)
{
	made_by(SGDISK_TWO);
	unreadable = 0;
	assert_int_equal(partition_scan(disk), 0);
}

static void random_damage_never_gives_a_partition_off_the_disk(void **state)
{
	made_by(SGDISK_TWO);
	for (unsigned round = 0; round < 200; round++) {
		uint8_t *good = image;
		image = NULL;
		new_disk(512);
		memcpy(image, good, 40 * 512);
		free(good);
		for (unsigned n = shim_random_below(8); n; n--)
			image[shim_random_below(3) ? 446 + shim_random_below(66)
						   : shim_random_below(20 * 512)] ^=
			    (uint8_t)shim_random();
		partition_scan(disk);
	}
	for (const struct block_device *dev = block_first(); dev; dev = dev->next)
		if (dev->parent) {
			assert_true(dev->start < dev->parent->sectors);
			assert_true(dev->sectors <= dev->parent->sectors - dev->start);
		}
}

static int set_up(void **state)
{
	shim_init(1024);
	wtd_init(&disk_work, run_disk, "disk");
	return 0;
}

static size_t frames;
static int count_before(void **state)
{
	frames = shim_frames_free();
	return 0;
}

// Partitions stay for good; all that a scan borrows comes back (the pool's own frames do not count).
static int count_after(void **state)
{
	assert_null(queue);
	return shim_frames_free() + 40 >= frames ? 0 : -1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, count_before, count_after)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_empty_disk_has_none),
	    TEST(a_file_system_with_a_boot_sector_has_none),
	    TEST(gpt_by_sgdisk),
	    TEST(gpt_by_fdisk_of_4096_byte_sectors),
	    TEST(mbr_by_sfdisk_with_logical_partitions),
	    TEST(a_damaged_primary_gpt_gives_way_to_the_backup),
	    TEST(two_damaged_gpts_have_none),
	    TEST(gpt_entries_that_overlap_or_leave_the_disk_are_refused),
	    TEST(hostile_gpt_headers_are_refused),
	    TEST(mbr_entries_that_overlap_or_leave_the_disk_are_refused),
	    TEST(a_looping_chain_of_logical_partitions_ends),
	    TEST(a_chain_that_leaves_the_extended_partition_ends),
	    TEST(a_very_long_chain_is_cut),
	    TEST(an_unreadable_first_sector_has_none),
	    TEST(random_damage_never_gives_a_partition_off_the_disk),
	};
	return cmocka_run_group_tests_name("partition", tests, set_up, NULL);
}
