// SPDX-License-Identifier: BSD-2-Clause
// See journal_model.h.
#include "journal_model.h"

#include <stdlib.h>
#include <string.h>

#include "crashbed.h"
#include "fs/transaction_private.h"
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
	uint32_t map; // what the map's block says: the last operation that gave a block to data
	struct durable durable;
	bool told;
};

struct volume *model_volume;
uint32_t model_ops;
static uint64_t spare;
static uint32_t block_bytes;
static struct op *ops;
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
	op->told = true;
	if (!durable->status)
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
	*s = (struct state){META, model_ops};
	fill(data, spare + b, META, model_ops);
	page_wire_put(page);
}

static int one_op(bool cancel)
{
	struct transaction t;
	struct op *op = &ops[++model_ops];
	uint64_t until;
	memcpy(op->after, ops[model_ops - 1].after, sizeof(op->after));
	op->map = ops[model_ops - 1].map;
	int error = transaction_begin(&t, model_volume, BLOCKS);
	if (error) {
		model_ops--;
		return error;
	}
	for (unsigned n = 1 + (unsigned)shim_random_below(6); n; n--) {
		unsigned b = (unsigned)shim_random_below(BLOCKS);
		struct state *s = &op->after[b];
		if (transaction_freed_recently(model_volume, spare + b, &until))
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
		model_ops--;
	} else {
		transaction_end(&t);
	}
	return 0;
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
	transaction_data_done(model_volume, raw->ticket);
	raw->over = true;
}

// A block that was freed, in a commit that is over, becomes file data: in ordered mode, as the write-back does it.
static int write_data(unsigned b)
{
	static struct raw_write raw;
	struct op *op = &ops[++model_ops];
	struct transaction t;
	void *buffer = kpages_alloc(PAGE_SIZE);
	uint32_t number = ++write_count;
	memcpy(op->after, ops[model_ops - 1].after, sizeof(op->after));
	op->map = ops[model_ops - 1].map;
	op->after[b] = (struct state){DATA, number};
	fill(buffer, spare + b, DATA, number);
	int error = transaction_begin(&t, model_volume, 1);
	if (error) {
		kpages_free(buffer, PAGE_SIZE);
		model_ops--;
		return error;
	}
	struct page *page; // the map, so to say: another block of metadata
	void *data;
	error = transaction_get(&t, spare + BLOCKS, &data, &page);
	ASSERT(!error);
	*(uint32_t *)data = op->map = model_ops;
	page_wire_put(page);
	raw = (struct raw_write){.ticket = transaction_data_begin(&t)};
	transaction_end(&t);
	raw.seg = (struct block_seg){virt_to_phys(buffer), block_bytes};
	raw.request = (struct block_request){.op = BLOCK_WRITE,
					     .lba = (spare + b) * (block_bytes >> 9),
					     .segs = &raw.seg,
					     .nsegs = 1,
					     .done = raw_done};
	block_submit(model_volume->dev, &raw.request);
	while (!raw.over)
		thread_sleep_ns(1000);
	kpages_free(buffer, PAGE_SIZE);
	if (raw.request.status) // nobody knows what is there
		op->after[b] = (struct state){FREE, 0};
	return 0;
}

static int try_data(void)
{
	uint64_t until;
	unsigned b = (unsigned)shim_random_below(BLOCKS);
	if (ops[model_ops].after[b].use == FREE &&
	    !transaction_freed_recently(model_volume, spare + b, &until))
		return write_data(b);
	return 0;
}

int model_work(uint32_t count)
{
	while (model_ops < count) {
		int error = shim_random_below(8) ? one_op(!shim_random_below(10)) : try_data();
		if (error)
			return error;
		if (model_ops && !shim_random_below(3) && !ops[model_ops].durable.volume) {
			struct durable *d = &ops[model_ops].durable;
			*d = (struct durable){.volume = model_volume,
					      .ticket = volume_ticket(model_volume),
					      .done = kept};
			durable_wait(d);
		}
		if (!shim_random_below(3))
			shim_advance(shim_random_below(300000));
		if (!shim_random_below(40))
			home_request(log_of(model_volume));
	}
	return 0;
}

// ---- the check ----

// Whether all blocks hold what they held after operation k.
static bool is_state(const uint8_t *disk, uint32_t k)
{
	const uint32_t *map = (const void *)(disk + (spare + BLOCKS) * block_bytes);
	if (*map != ops[k].map)
		return false;
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

void model_check(const uint8_t *disk, uint32_t cut, uint32_t promised, const char *who)
{
	uint32_t k = model_ops;
	while (k > promised && !is_state(disk, k))
		k--;
	if (!is_state(disk, k))
		PANIC("%s, cut %u: not what any operation from %u to %u left", who, cut, promised,
		      model_ops);
	check_data(disk, k);
}

uint32_t model_promised(uint32_t cut)
{
	uint32_t last = 0;
	for (uint32_t k = 1; k <= model_ops; k++)
		if (crashdisk_marked(cut, k))
			last = k;
	return last;
}

void model_start(const char *words, const char *size)
{
	ops = calloc(OPS_MAX, sizeof(*ops));
	model_ops = write_count = 0;
	crashbed_make(words, size, NULL);
	crashdisk_rules.delay_max_ns = 100000;
	model_volume = crashbed_mount(true);
	if (!model_volume || !volume_writable(model_volume))
		PANIC("%s: not writable", words);
	spare = model_volume->blocks - 200;
	block_bytes = model_volume->block_bytes;
	crashdisk_record();
}

void model_end(void)
{
	for (uint32_t k = 1; k <= model_ops; k++)
		ASSERT(!ops[k].durable.volume || ops[k].told);
	free(ops);
	crashdisk_free();
}
