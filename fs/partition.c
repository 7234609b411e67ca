// SPDX-License-Identifier: BSD-2-Clause
// Finds the partitions of a disk and registers each as a block device. This file: which kind of table
// there is, the MBR with its chain of logical partitions, and the checks that every partition passes.
// The GPT is in partition_gpt.c. Boot, thread context. Tables may be hostile: everything is bounded.
#include "fs/partition.h"
#include "fs/partition_table.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"

#define MBR_ENTRIES	  4
#define MBR_MAX_LOGICAL	  128 // a longer chain is not read further
#define MBR_TYPE_EMPTY	  0x00
#define MBR_TYPE_GPT	  0xee
#define MBR_FIRST_LOGICAL 5 // Linux's number of the first logical partition

struct mbr_entry {
	uint8_t status; // 0x80: active
	uint8_t first_chs[3];
	uint8_t type;
	uint8_t last_chs[3];
	uint8_t first[4]; // little endian: sectors, from the disk's start
	uint8_t count[4];
};
struct mbr {
	uint8_t code[446];
	struct mbr_entry entry[MBR_ENTRIES];
	uint8_t signature[2];
};
_Static_assert(sizeof(struct mbr) == 512, "UEFI 2.10 table 5-1");

// 26 disks with all that a GPT may hold.
static struct pool partition_pool = POOL_INIT("partitions", struct partition, 26 * 1024);

static uint64_t refused;
KSTAT_COUNTER(refused, "pagewire_partition_refused_total",
	      "Partition table entries that overlap another or leave the disk.");

int partition_read(const struct partition_table *t, uint64_t sector, void *buffer, uint32_t bytes)
{
	return block_rw_sync(t->disk, BLOCK_READ, sector * (t->disk->sector_bytes >> SECTOR_SHIFT),
			     buffer, bytes);
}

void partition_add(struct partition_table *t, unsigned number, uint64_t first, uint64_t last,
		   uint64_t low, uint64_t high)
{
	if (first > last || first < low || last > high || last >= t->sectors) {
		refused++;
		kprintf("%s: partition %u (sectors %lu to %lu) is not inside %lu to %lu, refused\n",
			t->disk->name, number, (unsigned long)first, (unsigned long)last,
			(unsigned long)low, (unsigned long)MIN(high, t->sectors - 1));
		return;
	}
	for (const struct partition *p = t->partitions; p; p = p->next)
		if (first <= p->last && p->first <= last) {
			refused++;
			kprintf("%s: partition %u overlaps partition %u, refused\n", t->disk->name,
				number, p->number);
			return;
		}
	struct partition *p = pool_alloc(&partition_pool);
	if (!p) {
		kprintf("%s: no memory for partition %u\n", t->disk->name, number);
		return;
	}
	p->number = number;
	p->first = first;
	p->last = last;
	struct partition **at = &t->partitions;
	while (*at)
		at = &(*at)->next;
	*at = p;
	t->count++;
}

static void register_all(struct partition_table *t)
{
	struct block_device *disk = t->disk;
	uint64_t units = disk->sector_bytes >> SECTOR_SHIFT;
	for (struct partition *p = t->partitions; p; p = p->next) {
		ksnprintf(p->name, sizeof p->name, "%sp%u", disk->name, p->number);
		p->dev = (struct block_device){
		    .name = p->name,
		    .sectors = (p->last - p->first + 1) * units,
		    .sector_bytes = disk->sector_bytes,
		    .max_segs = disk->max_segs,
		    .max_sectors = disk->max_sectors,
		    .queue_depth = disk->queue_depth,
		    .read_only = disk->read_only,
		    .parent = disk,
		    .start = p->first * units,
		};
		block_register(&p->dev);
	}
}

static uint32_t little32(const uint8_t b[4])
{
	return (uint32_t)b[3] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0];
}

static bool is_extended(const struct mbr_entry *e)
{
	return e->type == 0x05 || e->type == 0x0f || e->type == 0x85;
}

static bool has_signature(const struct mbr *mbr)
{
	return mbr->signature[0] == 0x55 && mbr->signature[1] == 0xaa;
}

// A boot sector of a file system ends like an MBR too, but has code where the entries are.
static bool is_table(const struct mbr *mbr)
{
	bool used = false;
	if (!has_signature(mbr))
		return false;
	for (int n = 0; n < MBR_ENTRIES; n++) {
		if (mbr->entry[n].status & 0x7f)
			return false;
		used = used || mbr->entry[n].type != MBR_TYPE_EMPTY;
	}
	return used;
}

static void add_entry(struct partition_table *t, unsigned number, const struct mbr_entry *e,
		      uint64_t base, uint64_t low, uint64_t high)
{
	uint64_t first = base + little32(e->first), count = little32(e->count);
	if (count)
		partition_add(t, number, first, first + count - 1, low, high);
}

// Logical partitions: a chain of sectors, each like an MBR, whose first entry is a partition (relative
// to that sector) and whose second leads to the next sector (relative to the extended partition).
static void read_logical(struct partition_table *t, uint64_t start, uint64_t count, struct mbr *mbr)
{
	uint64_t seen[MBR_MAX_LOGICAL], end = MIN(start + count, t->sectors);
	uint64_t at = start;
	unsigned number = MBR_FIRST_LOGICAL;
	for (unsigned n = 0; n < MBR_MAX_LOGICAL; n++) {
		for (unsigned i = 0; i < n; i++)
			if (seen[i] == at) {
				kprintf("%s: the chain of logical partitions loops after %u\n",
					t->disk->name, n);
				return;
			}
		seen[n] = at;
		if (at < start || at >= end) {
			kprintf("%s: the chain of logical partitions leaves the extended one\n",
				t->disk->name);
			return;
		}
		if (partition_read(t, at, mbr, t->disk->sector_bytes) || !has_signature(mbr)) {
			kprintf("%s: the chain of logical partitions is broken at sector %lu\n",
				t->disk->name, (unsigned long)at);
			return;
		}
		if (mbr->entry[0].type != MBR_TYPE_EMPTY)
			add_entry(t, number++, &mbr->entry[0], at, start + 1, end - 1);
		if (!is_extended(&mbr->entry[1]))
			return;
		at = start + little32(mbr->entry[1].first);
	}
	kprintf("%s: more than %u logical partitions, the rest is ignored\n", t->disk->name,
		MBR_MAX_LOGICAL);
}

static void read_mbr(struct partition_table *t, struct mbr *sector)
{
	struct mbr mbr = *sector; // the buffer is read over for the logical ones
	for (unsigned n = 0; n < MBR_ENTRIES; n++)
		if (mbr.entry[n].type != MBR_TYPE_EMPTY && !is_extended(&mbr.entry[n]))
			add_entry(t, n + 1, &mbr.entry[n], 0, 1, t->sectors - 1);
	for (unsigned n = 0; n < MBR_ENTRIES; n++)
		if (is_extended(&mbr.entry[n])) {
			read_logical(t, little32(mbr.entry[n].first), little32(mbr.entry[n].count),
				     sector);
			return; // one extended partition a disk
		}
}

static bool is_protective(const struct mbr *mbr)
{
	for (int n = 0; n < MBR_ENTRIES; n++)
		if (mbr->entry[n].type == MBR_TYPE_GPT)
			return true;
	return false;
}

unsigned partition_scan(struct block_device *disk)
{
	struct partition_table t = {
	    .disk = disk, .sectors = disk->sectors / (disk->sector_bytes >> SECTOR_SHIFT)};
	if (disk->parent || t.sectors < 4)
		return 0;
	struct mbr *sector = kpages_alloc(disk->sector_bytes);
	if (!sector) {
		kprintf("%s: no memory to read its partition table\n", disk->name);
		return 0;
	}
	if (partition_read(&t, 0, sector, disk->sector_bytes))
		kprintf("%s: sector 0 cannot be read\n", disk->name);
	else if (is_table(sector) && is_protective(sector))
		partition_read_gpt(&t, sector);
	else if (is_table(sector))
		read_mbr(&t, sector);
	kpages_free(sector, disk->sector_bytes);
	register_all(&t);
	return t.count;
}
