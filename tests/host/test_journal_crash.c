// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/crashdisk.c tests/host/crashbed.c fs/*.c
// SOURCES: kernel/block.c kernel/rwlock.c kernel/crc32.c kernel/string.c
// Power cuts. Random changes of blocks that ext4 does not use: changed, cancelled, freed, written as file data and
// taken back as metadata, some of them waited for. Then the disk as a cut at each moment could have left it is
// mounted (and given to e2fsck): what is found must be what was there after some change, whole, and that not before
// the last one that was promised; and file data that was flushed must not be written over by a replay.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "crashbed.h"
#include "fs/transaction_private.h"
#include "kernel/kstat.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/vmm.h"
#include "shim.h"

#define BLOCKS	24
#define OPS_MAX 4000

// What a block is after an operation.
enum use { META, FREE, DATA };
struct state {
	enum use use;
	uint32_t
	    version; // META: the operation that wrote it; DATA: the write's number; 0: untouched
};
struct op {
	struct state after[BLOCKS];
	bool tried; // a block was freed by it and later given to data
	struct durable durable;
};
struct data_write {
	unsigned block;
	uint32_t after_op, number;
};

static struct volume *volume;
static uint64_t spare;
static uint32_t block_bytes;
static struct op *ops;
static uint32_t op_count;
static struct data_write writes[OPS_MAX];
static uint32_t write_count;

static uint32_t word(uint64_t block, enum use use, uint32_t version, uint32_t at)
{
	uint32_t w = (uint32_t)(block * 2654435761U) ^ version << 2 ^ (uint32_t)use ^ at * 97;
	// Some blocks begin with jbd2's magic, which has to be escaped in the log.
	return at == 0 && version % 5 == 1 ? 0x98393bc0 : w;
}

static void fill(void *data, uint64_t block, enum use use, uint32_t version)
{
	uint32_t *words = data;
	for (uint32_t i = 0; i < block_bytes / 4; i++)
		words[i] = word(block, use, version, i);
}

static bool holds(const void *data, uint64_t block, struct state s)
{
	const uint32_t *words = data;
	for (uint32_t i = 0; i < block_bytes / 4; i++)
		if (words[i] != (s.version ? word(block, s.use, s.version, i) : 0))
			return false;
	return true;
}

// ---- the work ----

static void kept(struct durable *durable)
{
	struct op *op = CONTAINER_OF(durable, struct op, durable);
	ASSERT(!durable->status);
	crashdisk_mark((uint64_t)(op - ops));
}

static void change(struct transaction *t, struct op *op, unsigned b)
{
	struct state *s = &op->after[b];
	struct page *page;
	void *data;
	int error = s->use == META ? transaction_get(t, spare + b, &data, &page)
				   : transaction_get_fresh(t, spare + b, &data, &page);
	ASSERT(!error);
	*s = (struct state){META, op_count};
	fill(data, spare + b, META, op_count);
	page_wire_put(page);
}

static void one_op(bool cancel)
{
	struct transaction t;
	struct op *op = &ops[++op_count];
	uint64_t until;
	memcpy(op->after, ops[op_count - 1].after, sizeof(op->after));
	int error = transaction_begin(&t, volume, BLOCKS);
	ASSERT(!error);
	for (unsigned n = 1 + (unsigned)shim_random_below(6); n; n--) {
		unsigned b = (unsigned)shim_random_below(BLOCKS);
		struct state *s = &op->after[b];
		if (transaction_freed_recently(volume, spare + b, &until))
			continue;
		if (s->use == META && s->version && !shim_random_below(4)) {
			error = transaction_forget(&t, spare + b, 1, true);
			*s = (struct state){FREE, 0};
		} else if (s->use == DATA && !shim_random_below(3)) {
			error = transaction_forget(&t, spare + b, 1, false);
			*s = (struct state){FREE, 0};
		} else if (s->use != DATA) {
			change(&t, op, b);
		}
		ASSERT(!error);
	}
	if (cancel) {
		transaction_cancel(&t);
		op_count--;
	} else {
		transaction_end(&t);
	}
}

struct raw_write {
	struct block_request request;
	struct block_seg seg;
	uint64_t ticket;
	bool over;
};

static void raw_done(struct block_request *r)
{
	struct raw_write *raw = CONTAINER_OF(r, struct raw_write, request);
	transaction_data_done(volume, raw->ticket);
	raw->over = true;
}

// A block that was freed, in a commit that is over, becomes file data: in ordered mode, as the write-back does it.
static void write_data(unsigned b)
{
	static struct raw_write raw;
	struct op *op = &ops[++op_count];
	struct transaction t;
	void *buffer = kpages_alloc(PAGE_SIZE);
	uint32_t number = ++write_count;
	memcpy(op->after, ops[op_count - 1].after, sizeof(op->after));
	op->after[b] = (struct state){DATA, number};
	fill(buffer, spare + b, DATA, number);
	int error = transaction_begin(&t, volume, 1);
	ASSERT(!error);
	struct page *page; // the map, so to say: another block of metadata
	void *data;
	error = transaction_get(&t, spare + BLOCKS, &data, &page);
	ASSERT(!error);
	*(uint32_t *)data = op_count;
	page_wire_put(page);
	raw = (struct raw_write){.ticket = transaction_data_begin(&t)};
	transaction_end(&t);
	raw.seg = (struct block_seg){virt_to_phys(buffer), block_bytes};
	raw.request = (struct block_request){.op = BLOCK_WRITE,
					     .lba = (spare + b) * (block_bytes >> 9),
					     .segs = &raw.seg,
					     .nsegs = 1,
					     .done = raw_done};
	writes[number] = (struct data_write){b, op_count, number};
	block_submit(volume->dev, &raw.request);
	while (!raw.over)
		thread_sleep_ns(1000);
	kpages_free(buffer, PAGE_SIZE);
}

static void try_data(void)
{
	uint64_t until;
	unsigned b = (unsigned)shim_random_below(BLOCKS);
	if (ops[op_count].after[b].use == FREE &&
	    !transaction_freed_recently(volume, spare + b, &until))
		write_data(b);
}

static void work(uint32_t count)
{
	while (op_count < count) {
		if (shim_random_below(8))
			one_op(!shim_random_below(10));
		else
			try_data();
		if (op_count && !shim_random_below(3) && !ops[op_count].durable.volume) {
			struct durable *d = &ops[op_count].durable;
			*d = (struct durable){
			    .volume = volume, .ticket = volume_ticket(volume), .done = kept};
			durable_wait(d);
		}
		if (!shim_random_below(3))
			shim_advance(shim_random_below(300000));
		if (!shim_random_below(40))
			home_request(log_of(volume));
	}
}

// ---- the check ----

// Whether all blocks hold what they held after operation k.
static bool is_state(const uint8_t *disk, uint32_t k)
{
	for (unsigned b = 0; b < BLOCKS; b++) {
		struct state s = ops[k].after[b];
		if (s.use == META && !holds(disk + (spare + b) * block_bytes, spare + b, s))
			return false;
	}
	return true;
}

// File data is ordered: what is data after k was written before k was committed, and stays.
static void check_data(const uint8_t *disk, uint32_t k)
{
	for (unsigned b = 0; b < BLOCKS; b++) {
		struct state s = ops[k].after[b];
		if (s.use == DATA && !holds(disk + (spare + b) * block_bytes, spare + b, s))
			PANIC("data %u in block %u is gone after operation %u", s.version, b, k);
	}
}

static void check_disk(const uint8_t *disk, uint32_t cut, uint32_t promised, const char *who)
{
	uint32_t k = op_count;
	while (k > promised && !is_state(disk, k))
		k--;
	if (!is_state(disk, k))
		PANIC("%s, cut %u: not what any operation from %u to %u left", who, cut, promised,
		      op_count);
	check_data(disk, k);
}

static uint32_t promised_before(uint32_t cut)
{
	uint32_t last = 0;
	for (uint32_t k = 1; k <= op_count; k++)
		if (crashdisk_marked(cut, k))
			last = k;
	return last;
}

static void check_cut(uint32_t cut, enum crash_how how, bool e2fsck)
{
	uint32_t promised = promised_before(cut);
	crashdisk_power_cut(cut, how);
	uint8_t *left = malloc(crashdisk_size());
	memcpy(left, crashdisk_bytes(), crashdisk_size());
	volume = crashbed_mount(true);
	if (!volume)
		PANIC("cut %u, %d: not mounted", cut, how);
	check_disk(crashdisk_bytes(), cut, promised, "our replay");
	crashbed_unmount();
	if (e2fsck) {
		crashdisk_swap(left);
		int status = crashbed_replay_by_e2fsck();
		if (status & ~1)
			PANIC("cut %u: e2fsck: %d: %s", cut, status, crashbed_said());
		check_disk(crashdisk_bytes(), cut, promised, "e2fsck");
	}
	free(left);
}

static void cut_everywhere(const char *words, const char *size, uint32_t count, uint32_t one_in)
{
	ops = calloc(OPS_MAX, sizeof(*ops));
	op_count = write_count = 0;
	crashbed_make(words, size, NULL);
	crashdisk_rules.delay_max_ns = 100000;
	volume = crashbed_mount(true);
	assert_non_null(volume);
	spare = volume->blocks - 200;
	block_bytes = volume->block_bytes;
	crashdisk_record();
	work(count);
	crashbed_unmount();
	uint32_t events = crashdisk_events(), cuts = 0;
	crashdisk_rules.delay_max_ns = 0;
	for (uint32_t cut = 0; cut <= events; cut++) {
		if (!crashdisk_worth_a_cut(cut) || shim_random_below(one_in))
			continue;
		for (enum crash_how how = 0; how < CRASH_HOWS; how++, cuts++)
			check_cut(cut, how, !shim_random_below(60));
	}
	print_message("%s: %u operations, %u events, %u cuts\n", words, op_count, events, cuts);
	free(ops);
	crashdisk_free();
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
	    cmocka_unit_test(some_cuts_without_checksums_or_wide_numbers),
	};
	return cmocka_run_group_tests_name("journal_crash", tests, NULL, NULL);
}
