// SPDX-License-Identifier: BSD-2-Clause
// The writing half of the make-believe file system (fakefs.h): sectors that keep what is written to them, an
// allocator that gives short and scattered runs, transactions that can fail and be taken back, and checks
// that the write-back keeps its promises: what is on the disk's wire does not change, no sector is in two
// writes at once, a promise is given back as often as it is made, data begun is data done.
#include "fakefs_private.h"

#include <stdlib.h>
#include <string.h>

#include "fs/transaction.h"
#include "fs/volume_private.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "shim.h"

#define TABLE	 (1U << 17) // slots of each hash table
#define UNDO_MAX 4096

struct slot {
	uint64_t key, value;
	bool used;
};
static struct slot *sectors,
    *blocks; // lba -> uint64_t words[64]; inode and block -> disk block + 1
static struct {
	struct slot *slot;
	uint64_t before;
	struct inode *inode;
} undo[UNDO_MAX];
static unsigned undo_count;
static uint64_t next_block, promised, used_blocks, pending, tickets;
static bool open_transaction, aborted;
static uint32_t credits_left;
static uint64_t disk_sizes[FAKE_NODES], undo_sizes[FAKE_NODES];
struct fake_write_counts fake_writes;

static struct slot *slot_of(struct slot *table, uint64_t key)
{
	uint64_t at = key * 0x9e3779b97f4a7c15UL >> 47;
	for (unsigned tries = 0; tries < TABLE; tries++, at = (at + 1) % TABLE) {
		struct slot *slot = &table[at];
		if (!slot->used || slot->key == key)
			return slot;
	}
	PANIC("a table of the fake file system is full");
}

// ---- sectors ----

bool fake_sector_get(uint64_t lba, void *out)
{
	struct slot *slot = slot_of(sectors, lba);
	if (slot->used)
		memcpy(out, (void *)slot->value, 512);
	return slot->used;
}

void fake_sector_put(uint64_t lba, const void *bytes)
{
	struct slot *slot = slot_of(sectors, lba);
	if (!slot->used)
		*slot = (struct slot){lba, (uint64_t)malloc(512), true};
	memcpy((void *)slot->value, bytes, 512);
}

// ---- where blocks lie ----

static uint64_t block_key(uint64_t number, uint64_t block)
{
	return number << 40 | block;
}

bool fake_block_of(uint64_t number, uint64_t block, uint64_t *disk)
{
	struct slot *slot = slot_of(blocks, block_key(number, block));
	if (!slot->used || !slot->value)
		return false;
	*disk = slot->value - 1;
	return true;
}

static void set_block(struct inode *inode, uint64_t block, uint64_t value)
{
	struct slot *slot = slot_of(blocks, block_key(inode->number, block));
	ASSERT(undo_count < UNDO_MAX);
	undo[undo_count].slot = slot;
	undo[undo_count].before = slot->used ? slot->value : 0;
	undo[undo_count++].inode = inode;
	slot->key = block_key(inode->number, block);
	slot->used = true;
	slot->value = value;
}

static bool happens(unsigned percent)
{
	return shim_random_below(100) < percent;
}

static void use_credits(uint32_t blocks_touched)
{
	ASSERT(open_transaction && credits_left >= blocks_touched);
	credits_left -= blocks_touched;
}

static int fake_allocate(struct transaction *t, struct inode *inode, uint64_t block, uint64_t count,
			 struct fs_extent *out)
{
	uint64_t got = 0, disk;
	use_credits(3);
	fake_writes.allocations++;
	if (fake_rules.format_sleeps)
		thread_sleep_ns(1 + shim_random_below(1000));
	if (happens(fake_rules.allocate_fails_pct))
		return shim_random_below(2) ? -EIO : -ENOMEM;
	if (happens(fake_rules.scatter_pct))
		next_block += 1 + shim_random_below(50);
	uint64_t most = happens(fake_rules.scatter_pct) ? 1 + shim_random_below(count) : count;
	while (got < most && used_blocks < fake_rules.free_blocks &&
	       !(got && fake_block_of(inode->number, block + got, &disk))) {
		set_block(inode, block + got++, next_block + 1);
		next_block++;
		used_blocks++;
	}
	if (!got)
		return -ENOSPC;
	*out =
	    (struct fs_extent){.file_block = block, .disk_block = next_block - got, .count = got};
	return 0;
}

static int fake_write_inode(struct transaction *t, struct inode *inode)
{
	use_credits(1);
	fake_writes.inodes++;
	if (happens(fake_rules.inode_fails_pct))
		return -EIO;
	ASSERT(inode_disk_size(inode) <= inode->size);
	disk_sizes[inode->number] = inode_disk_size(inode);
	return 0;
}

static int fake_reserve(struct volume *volume, uint64_t count)
{
	if (promised + used_blocks + count > fake_rules.free_blocks)
		return -ENOSPC;
	promised += count;
	return 0;
}

static void fake_unreserve(struct volume *volume, uint64_t count)
{
	ASSERT(promised >= count);
	promised -= count;
}

static void fake_release_preallocation(struct inode *inode) {}

static uint32_t fake_credits(const struct volume *volume, enum filesystem_change change)
{
	return change == CHANGE_ALLOCATE ? 3 : 1;
}

static uint64_t fake_size_max(struct inode *inode)
{
	return (uint64_t)UINT32_MAX * inode->volume->block_bytes;
}

const struct filesystem_writing fake_writing = {
    .size_max = fake_size_max,
    .write_inode = fake_write_inode,
    .allocate = fake_allocate,
    .reserve = fake_reserve,
    .unreserve = fake_unreserve,
    .release_preallocation = fake_release_preallocation,
    .credits = fake_credits,
};

void fake_truncate_blocks(struct inode *inode, uint64_t size)
{
	uint64_t bytes = inode->volume->block_bytes;
	for (uint32_t i = 0; i < TABLE; i++) {
		struct slot *slot = &blocks[i];
		if (!slot->used || slot->key >> 40 != inode->number || !slot->value)
			continue;
		if ((slot->key & (BIT(40) - 1)) * bytes < size)
			continue;
		// Somebody else's from now on: with something in it that nobody may see.
		uint64_t junk[64];
		memset(junk, 0xee, sizeof(junk));
		for (uint64_t s = 0; s < bytes / 512; s++) {
			uint64_t lba = (slot->value - 1) * (bytes / 512) + s;
			ASSERT(!fake_sector_busy(lba));
			fake_sector_put(lba, junk);
		}
		slot->value = 0;
		used_blocks--;
	}
	disk_sizes[inode->number] = MIN(disk_sizes[inode->number], size);
}

uint64_t fake_disk_size(uint64_t number)
{
	return disk_sizes[number];
}

void fake_set_disk_size(uint64_t number, uint64_t size)
{
	disk_sizes[number] = size;
}

uint64_t fake_promised(void)
{
	return promised;
}

bool fake_committed(void)
{
	return !pending && !open_transaction;
}

// ---- transactions ----

int transaction_begin(struct transaction *t, struct volume *volume, uint32_t credits)
{
	assert_may_sleep("transaction_begin");
	fake_writes.transactions++;
	if (fake_rules.format_sleeps)
		thread_sleep_ns(1 + shim_random_below(2000));
	if (aborted)
		return -EIO;
	if (happens(fake_rules.begin_fails_pct))
		return -ENOMEM;
	if (fake_rules.log_blocks && credits > fake_rules.log_blocks)
		return -E2BIG;
	rw_lock_exclusive(&volume_private(volume)->lock);
	ASSERT(!open_transaction);
	*t = (struct transaction){.volume = volume};
	open_transaction = true;
	credits_left = credits;
	undo_count = 0;
	memcpy(undo_sizes, disk_sizes, sizeof(undo_sizes));
	return 0;
}

void transaction_end(struct transaction *t)
{
	ASSERT(open_transaction);
	open_transaction = false;
	rw_unlock_exclusive(&volume_private(t->volume)->lock);
}

void transaction_cancel(struct transaction *t)
{
	ASSERT(open_transaction);
	while (undo_count) {
		undo_count--;
		used_blocks -= undo[undo_count].slot->value && !undo[undo_count].before;
		undo[undo_count].slot->value = undo[undo_count].before;
	}
	memcpy(disk_sizes, undo_sizes, sizeof(undo_sizes));
	open_transaction = false;
	rw_unlock_exclusive(&volume_private(t->volume)->lock);
	fake_writes.cancelled++;
}

// What is freed here may be given out at once.
int transaction_wait_freed(struct volume *volume)
{
	assert_may_sleep("transaction_wait_freed");
	return aborted ? -EIO : 0;
}

uint64_t transaction_data_begin(struct transaction *t)
{
	ASSERT(open_transaction);
	pending++;
	return ++tickets;
}

void transaction_data_done(struct volume *volume, uint64_t ticket)
{
	ASSERT(pending && ticket <= tickets);
	pending--;
}

void transaction_abort(struct volume *volume, int error, const char *why)
{
	aborted = true;
}

uint64_t volume_ticket(const struct volume *volume)
{
	return tickets;
}

int durable_wait_sync(struct volume *volume, uint64_t ticket)
{
	return aborted ? -EIO : 0;
}

int transaction_settle(struct volume *volume)
{
	return 0;
}

bool volume_writable(const struct volume *volume)
{
	return fake_rules.writable && !aborted;
}

void fake_write_start(void)
{
	sectors = calloc(TABLE, sizeof(*sectors));
	blocks = calloc(TABLE, sizeof(*blocks));
	next_block = 1UL << 36;
	promised = used_blocks = pending = tickets = 0;
	open_transaction = aborted = false;
	fake_writes = (struct fake_write_counts){0};
	memset(disk_sizes, 0, sizeof(disk_sizes));
	if (!fake_rules.free_blocks)
		fake_rules.free_blocks = 1UL << 40;
}

void fake_write_stop(void)
{
	ASSERT(!promised && !pending && !open_transaction);
	for (uint32_t i = 0; i < TABLE; i++)
		if (sectors[i].used)
			free((void *)sectors[i].value);
	free(sectors);
	free(blocks);
}
