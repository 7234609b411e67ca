// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/fake_ahci.c drivers/ahci.c drivers/ahci_port.c drivers/ahci_queue.c
// SOURCES: drivers/ahci_error.c drivers/ata.c drivers/elevator.c kernel/block.c kernel/string.c
// The AHCI driver and the block layer against a make-believe adapter, with nothing going wrong.
#include "ahci_bench.h"

static void a_disk_says_what_it_is(void **state)
{
	plug_in();
	start();
	assert_string_equal(the_disk()->model, "FAKE DISK");
	assert_string_equal(the_disk()->serial, "SN-42");
	assert_int_equal(the_disk()->sectors, SECTORS);
	assert_int_equal(the_disk()->queue_depth, 32);
	unplug();
}

static void the_bios_hands_over(void **state)
{
	plug_in();
	fake.cap2 = CAP2_BOH;
	fake.bohc = BOHC_BOS;
	start();
	assert_int_equal(fake.bohc, BOHC_OOS);
	unplug();
}

static void an_optical_drive_is_skipped(void **state)
{
	size_t before = shim_frames_free();
	plug_in();
	fake.disk[0].atapi = true;
	assert_int_equal(fake_ahci_start(), 0);
	assert_int_equal(before - shim_frames_free(), 1); // struct ahci_port
}

static void an_empty_port_and_an_old_disk_are_skipped(void **state)
{
	plug_in();
	fake.disk[0].present = false;
	assert_int_equal(fake_ahci_start(), 0);
	plug_in();
	fake.disk[0].no_lba48 = true;
	assert_int_equal(fake_ahci_start(), 0);
}

static void a_disk_busy_at_first_is_reset(void **state)
{
	plug_in();
	fake.disk[0].slow_start = true;
	start();
	assert_int_equal(fake.disk[0].resets, 1);
	struct io *io = start_read(3);
	fake_ahci_settle(0);
	expect_pattern(io);
	unplug();
}

static void many_reads_in_flight_bring_the_right_bytes(void **state)
{
	struct io *io[100];
	plug_in();
	start();
	for (unsigned n = 0; n < ARRAY_SIZE(io); n++)
		io[n] = submit(make_io(BLOCK_READ, shim_random_below(SECTORS - 64),
				       1 + (unsigned)shim_random_below(MAX_SEGS),
				       512 * (1 + (uint32_t)shim_random_below(8))));
	fake_ahci_settle(0);
	for (unsigned n = 0; n < ARRAY_SIZE(io); n++)
		expect_pattern(io[n]);
	assert_int_equal(fake.disk[0].most_at_once, 32);
	assert_int_equal(the_disk()->in_flight_high, 100);
	assert_int_equal(the_disk()->ops[BLOCK_READ], 100);
	unplug();
}

static void without_queuing_slots_still_fill(void **state)
{
	struct io *io[50];
	plug_in();
	fake.disk[0].queue_depth = 0;
	start();
	for (unsigned n = 0; n < ARRAY_SIZE(io); n++)
		io[n] = start_read(n * 50);
	fake_ahci_settle(0);
	for (unsigned n = 0; n < ARRAY_SIZE(io); n++)
		expect_pattern(io[n]);
	assert_int_equal(fake.disk[0].most_at_once, 32);
	unplug();
}

static void a_write_is_read_back(void **state)
{
	plug_in();
	start();
	struct io *w = submit(make_io(BLOCK_WRITE, 77, 3, SEG_BYTES));
	fake_ahci_settle(0);
	expect_status(w, 0);
	for (unsigned n = 0; n < 3 * SEG_BYTES; n++)
		assert_int_equal(fake.disk[0].data[77 * 512 + n], 77 + n / SEG_BYTES);
	assert_int_equal(fake.disk[0].data[77 * 512 + 3 * SEG_BYTES],
			 fake_ahci_pattern(77 * 512 + 3 * SEG_BYTES));
	unplug();
}

// The test's thread sleeps in block_rw_sync, so a second one plays the disk.
static bool playing;
static void play_disk(void *arg)
{
	while (playing) {
		fake_ahci_step(0);
		thread_sleep_ns(NS_PER_MS);
	}
}

static void sync_reads_longer_than_one_request(void **state)
{
	plug_in();
	start();
	the_disk()->max_sectors = 8;
	struct page *pages = pmm_alloc(2);
	uint8_t *buffer = page_virt(pages);
	playing = true;
	assert_non_null(thread_create("disk", THREAD_NORMAL, play_disk, NULL));
	assert_int_equal(block_rw_sync(the_disk(), BLOCK_READ, 30, buffer, 3 * PAGE_SIZE + 512), 0);
	for (unsigned n = 0; n < 3 * PAGE_SIZE + 512; n++)
		assert_int_equal(buffer[n], fake_ahci_pattern(30 * 512 + n));
	assert_int_equal(the_disk()->ops[BLOCK_READ], 4);
	assert_int_equal(block_rw_sync(the_disk(), BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(block_rw_sync(the_disk(), BLOCK_READ, SECTORS, buffer, 512), -EINVAL);
	playing = false;
	shim_advance(NS_PER_SEC);
	pmm_free(pages, 2);
	unplug();
}

static void the_elevator_goes_one_way(void **state)
{
	struct io *io[200];
	plug_in();
	fake.disk[0].queue_depth = 1;
	start();
	assert_int_equal(the_disk()->queue_depth, 1);
	for (unsigned n = 0; n < ARRAY_SIZE(io); n++)
		io[n] = start_read(shim_random_below(SECTORS));
	fake_ahci_settle(0);
	for (unsigned n = 0; n < ARRAY_SIZE(io); n++)
		expect_pattern(io[n]);
	assert_in_range(fake.disk[0].backwards, 1, 1); // the first went at once; then one sweep
	unplug();
}

// The request at the place the head has left is served although others keep coming ahead of it.
static void a_request_behind_the_head_does_not_starve(void **state)
{
	plug_in();
	fake.disk[0].queue_depth = 1;
	start();
	struct io *head = start_read(1000), *behind = start_read(10);
	struct io *ahead = start_read(1001);
	unsigned served = 0;
	for (uint64_t lba = 1001; !behind->calls; served++) {
		assert_in_range(served, 0, SECTORS);
		fake_ahci_step(0);
		shim_run();
		if (ahead->calls) {
			expect_pattern(ahead);
			ahead = start_read(MIN(++lba, SECTORS - 1));
		}
	}
	fake_ahci_settle(0);
	expect_pattern(head);
	expect_pattern(behind);
	expect_pattern(ahead);
	unplug();
}

static void bad_requests_are_refused(void **state)
{
	plug_in();
	start();
	struct io *out = submit(make_io(BLOCK_READ, SECTORS - 1, 1, 1024));
	struct io *far = submit(make_io(BLOCK_READ, UINT64_MAX, 1, 512));
	struct io *odd = make_io(BLOCK_READ, 0, 1, 512);
	odd->segs[0].bytes = 100;
	submit(odd);
	struct io *none = submit(make_io(BLOCK_READ, 0, 0, 512));
	the_disk()->read_only = true;
	struct io *write = submit(make_io(BLOCK_WRITE, 0, 1, 512));
	the_disk()->read_only = false;
	fake_ahci_settle(0);
	expect_status(out, -EINVAL);
	expect_status(far, -EINVAL);
	expect_status(odd, -EINVAL);
	expect_status(none, -EINVAL);
	expect_status(write, -EROFS);
	assert_int_equal(fake.disk[0].commands, 1); // IDENTIFY
	unplug();
}

static void sectors_of_4096_bytes(void **state)
{
	plug_in();
	fake.disk[0].sector_bytes = 4096;
	fake.disk[0].sectors = SECTORS / 8;
	start();
	assert_int_equal(the_disk()->sectors, SECTORS);
	struct io *good = submit(make_io(BLOCK_READ, 24, 2, 4096));
	struct io *part = submit(make_io(BLOCK_READ, 24, 1, 512));
	struct io *between = submit(make_io(BLOCK_READ, 25, 1, 4096));
	fake_ahci_settle(0);
	expect_pattern(good);
	expect_status(part, -EINVAL);
	expect_status(between, -EINVAL);
	unplug();
}

static void partitions_are_windows(void **state)
{
	plug_in();
	start();
	struct block_device part = *the_disk();
	part.parent = the_disk();
	part.start = 100;
	part.sectors = 50;
	part.submit = NULL;
	struct io *in = make_io(BLOCK_READ, 7, 1, 512), *out = make_io(BLOCK_READ, 50, 1, 512);
	block_submit(&part, &in->r);
	block_submit(&part, &out->r);
	fake_ahci_settle(0);
	assert_int_equal(in->r.lba, 7);
	assert_int_equal(part.ops[BLOCK_READ], 1);
	assert_int_equal(part.in_flight, 0);
	in->r.lba += 100;
	expect_pattern(in);
	expect_status(out, -EINVAL);
	unplug();
}

static void flushes_share_one_command_and_run_alone(void **state)
{
	struct io *read[10], *flush[5];
	plug_in();
	start();
	for (unsigned n = 0; n < 10; n++)
		read[n] = start_read(n);
	for (unsigned n = 0; n < 5; n++)
		flush[n] = submit(make_io(BLOCK_FLUSH, 0, 0, 0));
	struct io *later = start_read(50);
	fake_ahci_settle(0);
	for (unsigned n = 0; n < 10; n++)
		expect_pattern(read[n]);
	for (unsigned n = 0; n < 5; n++)
		expect_status(flush[n], 0);
	expect_pattern(later);
	assert_int_equal(fake.disk[0].flushes, 1);
	unplug();
}

static void durable_writes(void **state)
{
	static const struct {
		unsigned depth;
		bool fua, no_cache;
		unsigned fua_writes, flushes;
	} disks[] = {{32, true, false, 1, 0}, {32, false, false, 0, 1}, {0, true, false, 1, 0},
		     {0, false, false, 0, 1}, {0, false, true, 0, 0},	{32, false, true, 0, 0}};
	for (unsigned n = 0; n < ARRAY_SIZE(disks); n++) {
		plug_in();
		fake.disk[0].queue_depth = disks[n].depth;
		fake.disk[0].fua = disks[n].fua;
		fake.disk[0].no_write_cache = disks[n].no_cache;
		start();
		struct io *w = make_io(BLOCK_WRITE, 5, 1, 512);
		w->r.fua = true;
		submit(w);
		fake_ahci_settle(0);
		expect_status(w, 0);
		assert_int_equal(fake.disk[0].fua_writes, disks[n].fua_writes);
		assert_int_equal(fake.disk[0].flushes, disks[n].flushes);
		unplug();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_disk_says_what_it_is),
	    cmocka_unit_test(the_bios_hands_over),
	    cmocka_unit_test(an_optical_drive_is_skipped),
	    cmocka_unit_test(an_empty_port_and_an_old_disk_are_skipped),
	    cmocka_unit_test(a_disk_busy_at_first_is_reset),
	    cmocka_unit_test(many_reads_in_flight_bring_the_right_bytes),
	    cmocka_unit_test(without_queuing_slots_still_fill),
	    cmocka_unit_test(a_write_is_read_back),
	    cmocka_unit_test(sync_reads_longer_than_one_request),
	    cmocka_unit_test(the_elevator_goes_one_way),
	    cmocka_unit_test(a_request_behind_the_head_does_not_starve),
	    cmocka_unit_test(bad_requests_are_refused),
	    cmocka_unit_test(sectors_of_4096_bytes),
	    cmocka_unit_test(partitions_are_windows),
	    cmocka_unit_test(flushes_share_one_command_and_run_alone),
	    cmocka_unit_test(durable_writes),
	};
	return cmocka_run_group_tests_name("ahci", tests, set_up_ahci, NULL);
}
