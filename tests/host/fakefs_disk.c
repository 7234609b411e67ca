// SPDX-License-Identifier: BSD-2-Clause
// The make-believe disk (fakefs.h): slow, out of order, failing. A sector says its own number until it is written.
#include "fakefs_private.h"

#include <string.h>

#include "fs/partition.h"
#include "kernel/panic.h"
#include "kernel/wtd.h"
#include "shim.h"

#define QUEUE_MAX 4096

static struct block_request *queue[QUEUE_MAX];
static uint64_t sums[QUEUE_MAX]; // of what a write is to write, when it came
static unsigned queued;
static struct wtd disk_work;
static struct block_device disk = {.name = "fake0"};

static bool happens(unsigned percent)
{
	return shim_random_below(100) < percent;
}

uint64_t fake_sector_word(uint64_t lba, unsigned i)
{
	return lba * 0x9e3779b97f4a7c15 + i;
}

static void fill_sector(paddr_t addr, uint64_t lba)
{
	uint64_t words[64];
	for (unsigned i = 0; i < 64; i++)
		words[i] = fake_sector_word(lba, i);
	fake_sector_get(lba, words);
	shim_dma_write(addr, words, sizeof(words));
}

static void take_sector(paddr_t addr, uint64_t lba)
{
	uint64_t words[64];
	shim_dma_read(addr, words, sizeof(words));
	fake_sector_put(lba, words);
}

static uint64_t sectors_of(const struct block_request *r)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < r->nsegs; i++)
		bytes += r->segs[i].bytes;
	return bytes / 512;
}

bool fake_sector_busy(uint64_t lba)
{
	for (unsigned i = 0; i < queued; i++)
		if (queue[i]->op == BLOCK_WRITE && lba >= queue[i]->lba &&
		    lba < queue[i]->lba + sectors_of(queue[i]))
			return true;
	return false;
}

// What is on the disk's wire must not change.
static uint64_t sum_of(const struct block_request *r)
{
	uint64_t sum = 0, words[64];
	for (uint32_t i = 0; r->op == BLOCK_WRITE && i < r->nsegs; i++)
		for (uint32_t at = 0; at < r->segs[i].bytes; at += 512) {
			shim_dma_read(r->segs[i].addr + at, words, sizeof(words));
			for (unsigned w = 0; w < 64; w++)
				sum = (sum ^ words[w]) * 0x100000001b3UL;
		}
	return sum;
}

static int transfer(struct block_request *r)
{
	uint64_t lba = r->lba, total = 0;
	int status = 0;
	for (uint32_t i = 0; i < r->nsegs; i++) {
		ASSERT(r->segs[i].bytes && r->segs[i].bytes % 512 == 0);
		for (uint32_t at = 0; at < r->segs[i].bytes; at += 512, lba++, total++) {
			if (fake_sector_bad(lba))
				status = -EIO;
			else if (r->op == BLOCK_WRITE)
				take_sector(r->segs[i].addr + at, lba);
			else
				fill_sector(r->segs[i].addr + at, lba);
		}
	}
	ASSERT(lba <= disk.sectors && total <= disk.max_sectors && r->nsegs <= disk.max_segs);
	fake_counts.sectors += total;
	return status;
}

static void kick_disk(void)
{
	if (fake_rules.delay_max_ns)
		wtd_post_after(&disk_work, WTD_FAST, shim_random_below(fake_rules.delay_max_ns));
	else
		wtd_post_fast(&disk_work);
}

static void disk_runs(struct wtd *work)
{
	if (!queued)
		return;
	unsigned which = fake_rules.delay_max_ns ? (unsigned)shim_random_below(queued) : 0;
	struct block_request *r = queue[which];
	ASSERT(sums[which] == sum_of(r));
	memmove(&queue[which], &queue[which + 1], (--queued - which) * sizeof(queue[0]));
	memmove(&sums[which], &sums[which + 1], (queued - which) * sizeof(sums[0]));
	if (queued)
		kick_disk();
	fake_counts.in_flight--;
	bool fails =
	    happens(r->op == BLOCK_WRITE ? fake_rules.write_fails_pct : fake_rules.disk_fails_pct);
	r->status = fake_rules.dead ? -ENODEV : fails ? -EIO : transfer(r);
	r->done(r);
}

void block_submit(struct block_device *dev, struct block_request *r)
{
	ASSERT(dev == &disk && r->nsegs);
	if (r->op == BLOCK_WRITE) {
		ASSERT(r->lba % (fake_rules.block_bytes / 512) == 0);
		for (uint64_t i = 0; i < sectors_of(r); i++)
			ASSERT(!fake_sector_busy(r->lba + i));
		fake_writes.requests++;
		fake_writes.sectors += sectors_of(r);
	} else {
		fake_counts.requests++;
	}
	if (happens(fake_rules.submit_fails_pct)) {
		r->status = -EIO;
		r->done(r);
		return;
	}
	ASSERT(queued < QUEUE_MAX);
	sums[queued] = sum_of(r);
	queue[queued++] = r;
	fake_counts.in_flight++;
	fake_counts.in_flight_high = MAX(fake_counts.in_flight_high, fake_counts.in_flight);
	if (disk_work.state == WTD_IDLE)
		kick_disk();
}

struct block_device *block_first(void)
{
	return &disk;
}

unsigned partition_scan(struct block_device *dev)
{
	return 0;
}

void fake_disk_start(void)
{
	wtd_init(&disk_work, disk_runs, "fake disk");
	disk.sectors = fake_rules.sectors ? fake_rules.sectors : 1UL << 40;
	disk.sector_bytes = 512;
	disk.max_segs = fake_rules.max_segs ? fake_rules.max_segs : 168;
	disk.max_sectors = fake_rules.max_sectors ? fake_rules.max_sectors : 65535;
}

void fake_disk_stop(void)
{
	ASSERT(!queued);
}
