// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/fake_ahci.c drivers/ahci.c drivers/ahci_port.c drivers/ahci_queue.c
// SOURCES: drivers/ahci_error.c drivers/ata.c drivers/elevator.c kernel/block.c kernel/string.c
// The AHCI driver when commands fail, are not answered, or the disk goes away.
#include "ahci_bench.h"

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

// What the disk could not write has left its cache by then: a second flush would find nothing wrong.
static void a_flush_that_the_disk_fails_fails_at_once_for_all_who_wait(void **state)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		plug_in();
		fake.disk[0].queue_depth = kind & 1 ? 32 : 0;
		fake.disk[0].like_qemu = kind & 2;
		start();
		fake.disk[0].flush_fails = 1;
		struct io *a = submit(make_io(BLOCK_FLUSH, 0, 0, 0));
		wait_out(2);
		expect_status(a, -EIO);
		assert_int_equal(fake.disk[0].flushes, 1);
		a = submit(make_io(BLOCK_FLUSH, 0, 0, 0));
		wait_out(2);
		expect_status(a, 0);
		struct io *read = start_read(100); // until it is over the flushes gather
		struct io *b = submit(make_io(BLOCK_FLUSH, 0, 0, 0));
		a = submit(make_io(BLOCK_FLUSH, 0, 0, 0));
		fake.disk[0].flush_fails = 1;
		wait_out(2);
		expect_pattern(read);
		expect_status(a, -EIO);
		expect_status(b, -EIO);
		unplug();
	}
}

static void a_flush_that_is_not_answered_is_repeated(void **state)
{
	plug_in();
	start();
	fake.disk[0].silent_sector = 0;
	fake.disk[0].silent_times = 1;
	struct io *a = submit(make_io(BLOCK_FLUSH, 0, 0, 0));
	wait_out(70);
	expect_status(a, 0);
	assert_int_equal(fake.disk[0].resets, 1);
	assert_int_equal(fake.disk[0].flushes, 1);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_sector_that_fails_three_times_is_read),
	    cmocka_unit_test(a_sector_that_always_fails_is_reported_and_only_it),
	    cmocka_unit_test(errors_while_fast_work_interleaves),
	    cmocka_unit_test(a_flush_that_the_disk_fails_fails_at_once_for_all_who_wait),
	    cmocka_unit_test(a_flush_that_is_not_answered_is_repeated),
	    cmocka_unit_test(a_command_never_answered_is_repeated_after_a_reset),
	    cmocka_unit_test(a_command_never_answered_at_all_fails_and_others_go_on),
	    cmocka_unit_test(a_disk_that_is_gone_fails_everything),
	    cmocka_unit_test(random_trouble_loses_no_request),
	};
	return cmocka_run_group_tests_name("ahci errors", tests, set_up_ahci, NULL);
}
