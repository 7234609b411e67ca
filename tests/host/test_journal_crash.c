// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/journal_model.c tests/host/crashdisk.c tests/host/crashbed.c fs/*.c
// SOURCES: kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// Power cuts and errors: random changes (journal_model.h), then the disk as a cut at each moment could have left it is
// mounted (and given to e2fsck).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "crashbed.h"
#include "fs/file.h"
#include "journal_model.h"
#include "kernel/kstat.h"
#include "kernel/panic.h"
#include "shim.h"

static void check_cut(uint32_t cut, enum crash_how how, bool e2fsck)
{
	uint32_t promised = model_promised(cut);
	crashdisk_power_cut(cut, how);
	uint8_t *left = malloc(crashdisk_size());
	memcpy(left, crashdisk_bytes(), crashdisk_size());
	if (!crashbed_mount(true))
		PANIC("cut %u, %d: not mounted", cut, how);
	model_check(crashdisk_bytes(), cut, promised, "our replay");
	crashbed_unmount();
	if (e2fsck) {
		crashdisk_swap(left);
		int status = crashbed_replay_by_e2fsck();
		if (status & ~1)
			PANIC("cut %u: e2fsck: %d: %s", cut, status, crashbed_said());
		model_check(crashdisk_bytes(), cut, promised, "e2fsck");
	}
	free(left);
}

static void cut_everywhere(const char *words, const char *size, uint32_t count, uint32_t one_in)
{
	model_start(words, size);
	assert_int_equal(model_work(count), 0);
	crashbed_unmount();
	uint32_t events = crashdisk_events(), cuts = 0;
	crashdisk_rules.delay_max_ns = 0;
	for (uint32_t cut = 0; cut <= events; cut++) {
		if (!crashdisk_worth_a_cut(cut) || shim_random_below(one_in))
			continue;
		for (enum crash_how how = 0; how < CRASH_HOWS; how++, cuts++)
			check_cut(cut, how, !shim_random_below(60));
	}
	print_message("%s: %u operations, %u events, %u cuts\n", words, model_ops, events, cuts);
	model_end();
}

static void every_cut_small_blocks_and_checksums(void **state)
{
	cut_everywhere("-b 1024 -N 64 -J size=1", "3m", 40, 1);
}

static void some_cuts_of_long_work_that_fills_the_log_several_times(void **state)
{
	cut_everywhere("-b 1024 -N 64 -J size=1", "3m", 1500, 200);
}

static void some_cuts_blocks_of_a_page(void **state)
{
	cut_everywhere("-b 4096 -N 64", "10m", 60, 6);
}

// The k-th write, or flush, fails: writing ends there, those who wait are told, and what was promised is kept.
static void fail_kth(enum block_op op, uint64_t k, bool *failed)
{
	model_start("-b 1024 -N 64 -J size=1", "3m");
	crashdisk_fail(op, k, 0);
	int error = model_work(30);
	shim_advance(20 * NS_PER_SEC); // everything gets home by itself
	*failed = kstat_get("pagewire_journal_aborts_total", NULL) > 0;
	if (!error)
		error = volume_writable(model_volume) ? 0 : -EROFS;
	assert_true(error == 0 || error == -EROFS);
	crashbed_unmount();
	uint32_t promised = model_promised(crashdisk_events());
	uint8_t *left = crashdisk_after(crashdisk_events(), CRASH_NOTHING);
	crashdisk_power_cut(crashdisk_events(), CRASH_NOTHING);
	if (error) { // it says that it was given up, so it stays read-only, and reads right
		assert_non_null(crashbed_mount(true));
		crashbed_unmount();
	}
	crashdisk_swap(left);
	free(left);
	int status = crashbed_replay_by_e2fsck();
	if (status & ~1)
		PANIC("%s %lu: e2fsck: %d: %s", op == BLOCK_WRITE ? "write" : "flush",
		      (unsigned long)k, status, crashbed_said());
	model_check(crashdisk_bytes(), 0, promised, "e2fsck");
	model_end();
}

static void a_write_or_flush_that_fails_ends_writing(void **state)
{
	bool failed;
	for (uint64_t k = 0; k < 60; k += 1 + shim_random_below(3))
		fail_kth(BLOCK_WRITE, k, &failed);
	for (uint64_t k = 0; k < 20; k++)
		fail_kth(BLOCK_FLUSH, k, &failed);
	assert_true(failed);
}

static void some_cuts_without_checksums_or_wide_numbers(void **state)
{
	cut_everywhere("-b 1024 -N 64 -J size=1 -O ^metadata_csum,^64bit,^extents", "3m", 60, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_cut_small_blocks_and_checksums),
	    cmocka_unit_test(some_cuts_of_long_work_that_fills_the_log_several_times),
	    cmocka_unit_test(some_cuts_blocks_of_a_page),
	    cmocka_unit_test(a_write_or_flush_that_fails_ends_writing),
	    cmocka_unit_test(some_cuts_without_checksums_or_wide_numbers),
	};
	return cmocka_run_group_tests_name("journal_crash", tests, NULL, NULL);
}
