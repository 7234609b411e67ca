// SPDX-License-Identifier: BSD-2-Clause
// The first disk, really: by interrupt and DMA, one request and many, and what must be refused. Reads
// only; what is on the disk does not matter.
#include "kernel/block.h"
#include "kernel/crc32.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/lock.h"
#include "kernel/pmm.h"
#include "kernel/thread.h"
#include "kernel/vmm.h"

#define SPAN	   (1 << 20) // bytes looked at
#define PIECE	   4096
#define PIECES	   (SPAN / PIECE)
#define SPAN_UNITS (SPAN >> SECTOR_SHIFT)

struct piece {
	struct block_request request;
	struct block_seg seg;
};
static struct piece pieces[PIECES];
static struct spinlock lock = SPINLOCK_INIT("disk test", RANK_BLOCK);
static struct waitq all_done;
static unsigned pending, failed; // (lock)

static struct block_device *a_disk(void)
{
	for (struct block_device *dev = block_first(); dev; dev = dev->next)
		if (!dev->parent && dev->sectors >= SPAN_UNITS)
			return dev;
	ktest_skip("no disk of 1 MB or more");
	return NULL;
}

static void piece_done(struct block_request *r)
{
	spin_lock_wtd(&lock);
	failed += r->status != 0;
	if (!--pending)
		waitq_wake_all(&all_done);
	spin_unlock_wtd(&lock);
}

static void wait_all(void)
{
	spin_lock_wtd(&lock);
	while (pending)
		waitq_sleep(&all_done, &lock);
	spin_unlock_wtd(&lock);
}

static uint32_t read_at_once(struct block_device *disk, uint8_t *buffer)
{
	memset(buffer, 0xaa, SPAN);
	EXPECT_EQ(block_rw_sync(disk, BLOCK_READ, 0, buffer, SPAN), 0);
	return crc32c(~0u, buffer, SPAN);
}

static void submit_pieces(struct block_device *disk, uint8_t *buffer)
{
	memset(buffer, 0x55, SPAN);
	pending = PIECES;
	failed = 0;
	for (unsigned n = 0; n < PIECES; n++) {
		unsigned at = n * 37 % PIECES; // not in order: 37 and 256 have no common factor
		pieces[at].seg = (struct block_seg){virt_to_phys(buffer + at * PIECE), PIECE};
		pieces[at].request = (struct block_request){
		    .op = BLOCK_READ,
		    .lba = (uint64_t)at * (PIECE >> SECTOR_SHIFT),
		    .segs = &pieces[at].seg,
		    .nsegs = 1,
		    .done = piece_done,
		};
		block_submit(disk, &pieces[at].request);
	}
}

KTEST("disk", many_reads, "256-reads-in-flight-bring-what-one-read-brings")
{
	struct block_device *disk = a_disk();
	uint8_t *buffer = kpages_alloc(SPAN);
	if (disk && buffer) {
		uint32_t sum = read_at_once(disk, buffer);
		for (int round = 0; round < 4; round++) {
			submit_pieces(disk, buffer);
			wait_all();
			EXPECT_EQ(failed, 0);
			EXPECT_EQ(crc32c(~0u, buffer, SPAN), sum);
		}
		// A host that answers faster than we ask never lets the queue fill.
		ktest_note("at most %u commands in flight", disk->in_flight_high);
		EXPECT(disk->in_flight_high >= MIN(disk->queue_depth, 2U));
		EXPECT_EQ(disk->in_flight, 0);
		EXPECT_EQ(disk->errors, 0);
	}
	if (buffer)
		kpages_free(buffer, SPAN);
}

KTEST("disk", scattered, "one-read-into-scattered-pages-brings-the-same-bytes")
{
	enum { SEGS = 32 };
	struct block_device *disk = a_disk();
	uint8_t *buffer = kpages_alloc(SPAN);
	if (disk && buffer) {
		static struct block_seg segs[SEGS];
		read_at_once(disk, buffer);
		uint32_t sum = crc32c(~0u, buffer, SEGS * PIECE), scattered = ~0u;
		for (unsigned n = 0; n < SEGS; n++) // every other page, backwards
			segs[n] = (struct block_seg){
			    virt_to_phys(buffer + (2 * (SEGS - n) + 64) * PIECE), PIECE};
		pending = 1;
		failed = 0;
		pieces[0].request = (struct block_request){
		    .op = BLOCK_READ, .segs = segs, .nsegs = SEGS, .done = piece_done};
		block_submit(disk, &pieces[0].request);
		wait_all();
		EXPECT_EQ(failed, 0);
		for (unsigned n = 0; n < SEGS; n++)
			scattered = crc32c(scattered, phys_to_virt(segs[n].addr), PIECE);
		EXPECT_EQ(scattered, sum);
	}
	if (buffer)
		kpages_free(buffer, SPAN);
}

KTEST("disk", out_of_range, "a-read-beyond-the-end-is-refused")
{
	struct block_device *disk = a_disk();
	uint8_t *buffer = kpages_alloc(PAGE_SIZE);
	if (disk && buffer) {
		uint32_t unit = disk->sector_bytes, units = unit >> SECTOR_SHIFT;
		EXPECT_EQ(block_rw_sync(disk, BLOCK_READ, disk->sectors - units, buffer, unit), 0);
		EXPECT_EQ(block_rw_sync(disk, BLOCK_READ, disk->sectors, buffer, unit), -EINVAL);
		EXPECT_EQ(block_rw_sync(disk, BLOCK_READ, UINT64_MAX - 7, buffer, unit), -EINVAL);
		EXPECT_EQ(block_rw_sync(disk, BLOCK_READ, 0, buffer, 100), -EINVAL);
	}
	if (buffer)
		kpages_free(buffer, PAGE_SIZE);
}

KTEST("disk", flush, "a-flush-among-reads-is-answered")
{
	struct block_device *disk = a_disk();
	uint8_t *buffer = kpages_alloc(SPAN);
	if (disk && buffer) {
		uint32_t sum = read_at_once(disk, buffer);
		submit_pieces(disk, buffer);
		EXPECT_EQ(block_rw_sync(disk, BLOCK_FLUSH, 0, NULL, 0), 0);
		wait_all();
		EXPECT_EQ(failed, 0);
		EXPECT_EQ(crc32c(~0u, buffer, SPAN), sum);
	}
	if (buffer)
		kpages_free(buffer, SPAN);
}
