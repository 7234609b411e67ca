// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/fake_ahci.c drivers/ahci.c drivers/ahci_port.c drivers/ahci_queue.c drivers/ahci_error.c drivers/ata.c drivers/elevator.c kernel/block.c kernel/string.c
// The AHCI driver and the block layer against a make-believe adapter.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "fake_ahci.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/thread.h"
#include "kernel/vmm.h"
#include "shim.h"

#define SECTORS	  4096
#define MAX_SEGS  8
#define SEG_BYTES 4096
#define NEVER	  -1

struct io {
	struct block_request r;
	struct block_seg segs[MAX_SEGS];
	struct page *page[MAX_SEGS];
	unsigned calls;
};
static bool submitting, preempting;
static size_t frames_before;

static void io_done(struct block_request *r)
{
	struct io *io = CONTAINER_OF(r, struct io, r);
	assert_true(!submitting || preempting); // never from inside block_submit
	io->calls++;
}

static struct block_device *the_disk(void)
{
	return &fake.hba.port[0]->dev;
}

static void plug_in(void)
{
	fake_ahci_reset(1);
	fake.disk[0] = (struct fake_disk){
	    .present = true, .sector_bytes = 512, .sectors = SECTORS, .queue_depth = 32};
}

static void start(void)
{
	fake.hba.number++;
	assert_int_equal(fake_ahci_start(), 1);
	frames_before = shim_frames_free();
}

static void unplug(void)
{
	fake_ahci_settle(0);
	shim_advance(5 * NS_PER_SEC); // the watch goes to sleep
	assert_int_equal(the_disk()->in_flight, 0);
	assert_int_equal(fake.disk[0].mixed, 0);
	assert_int_equal(shim_frames_free(), frames_before);
}

static struct io *make_io(enum block_op op, uint64_t lba, unsigned segs, uint32_t seg_bytes)
{
	struct io *io = calloc(1, sizeof *io);
	for (unsigned n = 0; n < segs; n++) {
		io->page[n] = pmm_alloc(0);
		io->segs[n] = (struct block_seg){page_phys(io->page[n]), seg_bytes};
		if (op == BLOCK_WRITE)
			shim_dma_fill(io->segs[n].addr, (int)(lba + n), seg_bytes);
	}
	io->r = (struct block_request){
	    .op = op, .lba = lba, .segs = io->segs, .nsegs = segs, .done = io_done};
	return io;
}

static struct io *submit(struct io *io)
{
	submitting = true;
	block_submit(the_disk(), &io->r);
	submitting = false;
	return io;
}

static struct io *start_read(uint64_t lba)
{
	return submit(make_io(BLOCK_READ, lba, 1, 512));
}

static void free_io(struct io *io)
{
	assert_int_equal(io->calls, 1);
	for (unsigned n = 0; n < io->r.nsegs; n++)
		pmm_free(io->page[n], 0);
	free(io);
}

// Checks what a read brought, then frees it.
static void expect_pattern(struct io *io)
{
	uint64_t byte = io->r.lba * 512;
	assert_int_equal(io->calls, 1);
	assert_int_equal(io->r.status, 0);
	for (unsigned n = 0; n < io->r.nsegs; n++) {
		const uint8_t *p = phys_to_virt(io->segs[n].addr);
		for (unsigned i = 0; i < io->segs[n].bytes; i++, byte++)
			assert_int_equal(p[i], fake_ahci_pattern(byte));
	}
	free_io(io);
}

static void expect_status(struct io *io, int status)
{
	assert_int_equal(io->calls, 1);
	assert_int_equal(io->r.status, status);
	free_io(io);
}

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
	} disks[] = {{32, false, false, 1, 0},
		     {0, true, false, 1, 0},
		     {0, false, false, 0, 1},
		     {0, false, true, 0, 0},
		     {32, false, true, 0, 0}};
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

static void wait_out(unsigned seconds)
{
	for (unsigned n = 0; n < seconds; n++) {
		fake_ahci_settle(0);
		shim_advance(NS_PER_SEC);
	}
	fake_ahci_settle(0);
}

// Every kind of disk and adapter: 40 reads, of which sector 700 fails `times` times.
static void errors_on_every_kind(int times, int status)
{
	for (unsigned kind = 0; kind < 8; kind++) {
		struct io *io[40];
		plug_in();
		fake.disk[0].queue_depth = kind & 1 ? 32 : 0;
		fake.disk[0].like_qemu = kind & 2;
		fake.disk[0].no_error_log = kind & 4;
		start();
		fake.disk[0].bad_sector = 700;
		fake.disk[0].bad_times = times;
		for (unsigned n = 0; n < ARRAY_SIZE(io); n++)
			io[n] = start_read(n * 100);
		wait_out(10);
		for (unsigned n = 0; n < ARRAY_SIZE(io); n++)
			if (n == 7 && status)
				expect_status(io[n], status);
			else
				expect_pattern(io[n]);
		assert_int_equal(the_disk()->errors, status ? 1 : 0);
		assert_in_range(the_disk()->retries, status ? 3 : 0, 3);
		struct io *after = start_read(1);
		fake_ahci_settle(0);
		expect_pattern(after);
		unplug();
	}
}

static void a_sector_that_fails_three_times_is_read(void **state)
{
	errors_on_every_kind(3, 0);
}

static void a_sector_that_always_fails_is_reported_and_only_it(void **state)
{
	errors_on_every_kind(NEVER, -EIO);
}

static void errors_while_fast_work_interleaves(void **state)
{
	shim_preempt(shim_seed());
	preempting = true;
	errors_on_every_kind(2, 0);
	errors_on_every_kind(NEVER, -EIO);
	shim_preempt(0);
	preempting = false;
}

static void a_flush_that_fails_is_repeated(void **state)
{
	plug_in();
	start();
	fake.disk[0].flush_fails = 2;
	struct io *a = submit(make_io(BLOCK_FLUSH, 0, 0, 0));
	struct io *b = submit(make_io(BLOCK_FLUSH, 0, 0, 0));
	fake_ahci_settle(0);
	expect_status(a, 0);
	expect_status(b, 0);
	fake.disk[0].flush_fails = 4;
	a = submit(make_io(BLOCK_FLUSH, 0, 0, 0));
	fake_ahci_settle(0);
	expect_status(a, -EIO);
	unplug();
}

static void a_command_never_answered_is_repeated_after_a_reset(void **state)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		plug_in();
		fake.disk[0].queue_depth = kind & 1 ? 32 : 0;
		fake.disk[0].like_qemu = kind & 2;
		start();
		fake.disk[0].silent_sector = 200;
		fake.disk[0].silent_times = 1;
		struct io *a = start_read(100), *b = start_read(200), *c = start_read(300);
		fake_ahci_settle(0);
		wait_out(20);
		expect_pattern(a);
		expect_pattern(b);
		expect_pattern(c);
		assert_int_equal(fake.disk[0].resets, 1);
		assert_int_equal(fake.hba.port[0]->timeouts, 1);
		unplug();
	}
}

static void a_command_never_answered_at_all_fails_and_others_go_on(void **state)
{
	plug_in();
	start();
	fake.disk[0].silent_sector = 200;
	fake.disk[0].silent_times = NEVER;
	struct io *b = start_read(200), *c = start_read(300);
	wait_out(100);
	expect_status(b, -EIO);
	expect_pattern(c);
	unplug();
}

static void a_disk_that_is_gone_fails_everything(void **state)
{
	struct io *io[60];
	plug_in();
	start();
	for (unsigned n = 0; n < 58; n++)
		io[n] = start_read(n);
	io[58] = submit(make_io(BLOCK_FLUSH, 0, 0, 0));
	fake.disk[0].gone = true;
	fake.port[0].reg[AHCI_PXSSTS / 4] = 0;
	fake.port[0].reg[AHCI_PXIS / 4] |= PXIS_PCS | PXIS_PRCS;
	mmio_write32(fake.hba.regs + AHCI_IS, 0);
	assert_true(fake_ahci_step(0));
	wait_out(3);
	io[59] = start_read(1);
	fake_ahci_settle(0);
	unsigned failed = 0;
	for (unsigned n = 0; n < ARRAY_SIZE(io); n++) {
		assert_true(io[n]->r.status == 0 || io[n]->r.status == -ENODEV);
		failed += io[n]->r.status == -ENODEV;
		free_io(io[n]);
	}
	assert_in_range(failed, 28, 60);
	unplug();
}

static void random_trouble_loses_no_request(void **state)
{
	shim_preempt(shim_seed());
	preempting = true;
	for (unsigned round = 0; round < 30; round++) {
		struct io *io[150];
		plug_in();
		fake.disk[0].queue_depth = (uint32_t)shim_random_below(33);
		fake.disk[0].like_qemu = shim_random_below(2);
		fake.disk[0].no_error_log = shim_random_below(2);
		start();
		for (unsigned n = 0; n < ARRAY_SIZE(io); n++) {
			fake.disk[0].bad_sector = shim_random_below(SECTORS);
			fake.disk[0].bad_times = (int)shim_random_below(3);
			fake.disk[0].silent_sector = shim_random_below(SECTORS);
			fake.disk[0].silent_times = !shim_random_below(8);
			io[n] = shim_random_below(10)
				    ? submit(make_io(BLOCK_READ, shim_random_below(SECTORS - 8), 1,
						     4096))
				    : submit(make_io(BLOCK_FLUSH, 0, 0, 0));
			while (shim_random_below(3))
				if (!fake_ahci_step(0))
					break;
		}
		wait_out(200);
		for (unsigned n = 0; n < ARRAY_SIZE(io); n++)
			if (io[n]->r.op == BLOCK_FLUSH)
				expect_status(io[n], 0);
			else
				expect_pattern(io[n]);
		unplug();
	}
	shim_preempt(0);
	preempting = false;
}

static int set_up(void **state)
{
	shim_init(16384);
	shim_seed();
	return 0;
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
	    cmocka_unit_test(a_sector_that_fails_three_times_is_read),
	    cmocka_unit_test(a_sector_that_always_fails_is_reported_and_only_it),
	    cmocka_unit_test(errors_while_fast_work_interleaves),
	    cmocka_unit_test(a_flush_that_fails_is_repeated),
	    cmocka_unit_test(a_command_never_answered_is_repeated_after_a_reset),
	    cmocka_unit_test(a_command_never_answered_at_all_fails_and_others_go_on),
	    cmocka_unit_test(a_disk_that_is_gone_fails_everything),
	    cmocka_unit_test(random_trouble_loses_no_request),
	};
	return cmocka_run_group_tests_name("ahci", tests, set_up, NULL);
}
