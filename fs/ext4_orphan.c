// SPDX-License-Identifier: BSD-2-Clause
// Inodes to finish with after a crash: those whose last name is gone while somebody has them open (or that have
// none yet), and those that are being truncated. Thread and worker context, inside a transaction.
//
// With orphan_file they are noted in slots of a file of its own, any free slot will do. Without it, or when the
// file is full, they form a list through the inode table: the superblock names the first, i_dtime of each the
// next. node->orphan says which: 0, ON_LIST, or the slot and one.
#include "fs/ext4_alloc.h"

#include "kernel/crc32.h"
#include "kernel/page.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"

#define ON_LIST	   UINT32_MAX
#define BLOCKS_MAX 4096U // of the orphan file; mke2fs makes 32 to 512

static uint32_t slots(const struct ext4 *fs)
{
	return (fs->block_bytes - sizeof(struct ext4_orphan_tail)) / sizeof(uint32_t);
}

static struct ext4_orphan_tail *tail_of(const struct ext4 *fs, const void *data)
{
	return (struct ext4_orphan_tail *)((uintptr_t)data + fs->block_bytes) - 1;
}

static uint32_t sum(const struct ext4 *fs, uint64_t disk, const void *data)
{
	uint32_t crc = crc32c(fs->orphan_seed, &disk, sizeof(disk));
	return crc32c(crc, data, slots(fs) * sizeof(uint32_t));
}

static int check(struct ext4 *fs, uint64_t disk, const void *data)
{
	const struct ext4_orphan_tail *tail = tail_of(fs, data);
	if (tail->ob_magic != EXT4_ORPHAN_MAGIC)
		return ext4_corrupt(fs, fs->hidden_inodes[0], disk, "magic of an orphan block");
	if (ext4_has_csum(fs) && tail->ob_checksum != sum(fs, disk, data))
		return ext4_corrupt(fs, fs->hidden_inodes[0], disk, "checksum of an orphan block");
	return 0;
}

int ext4_orphan_open(struct ext4 *fs)
{
	struct inode inode = {.volume = fs->volume};
	struct ext4_node node = {0};
	struct ext4_run run;
	uint32_t number = fs->hidden_inodes[0];
	if (!(fs->compat & COMPAT_ORPHAN_FILE))
		return 0;
	int error = ext4_load_inode(fs, number, &inode, &node);
	uint64_t blocks = inode.size >> fs->block_shift;
	if (!error && (inode.type != INODE_FILE || !blocks || blocks > BLOCKS_MAX))
		error = ext4_corrupt(fs, number, 0, "size of the orphan file");
	if (error)
		return error == -ENOENT ? ext4_corrupt(fs, number, 0, "no orphan file") : error;
	fs->orphan_disk = kpages_alloc(blocks * sizeof(uint64_t));
	if (!fs->orphan_disk)
		return -ENOMEM;
	fs->orphan_blocks = (uint32_t)blocks;
	fs->orphan_seed = node.csum_seed;
	for (uint32_t i = 0; i < blocks; i++) {
		error = ext4_map_node(fs, &node, i, &run);
		if (!error && ext4_run_is_hole(&run))
			error = ext4_corrupt(fs, number, 0, "hole in the orphan file");
		if (error)
			return error;
		fs->orphan_disk[i] = run.disk + (i - run.first);
	}
	return 0;
}

void ext4_orphan_close(struct ext4 *fs)
{
	if (fs->orphan_disk)
		kpages_free(fs->orphan_disk, fs->orphan_blocks * sizeof(uint64_t));
	fs->orphan_disk = NULL;
	fs->orphan_blocks = 0;
}

// The slot with that number in it (0: a free one), from block `from` on and round. -ENOENT.
static int find_slot(struct ext4 *fs, uint32_t number, uint32_t from, uint32_t *slot)
{
	for (uint32_t n = 0; n < fs->orphan_blocks; n++) {
		uint32_t index = (from + n) % fs->orphan_blocks, per_block = slots(fs), i = 0;
		struct ext4_block block;
		int error = ext4_block_get(fs, fs->orphan_disk[index], &block);
		if (error)
			return error;
		const uint32_t *entries = block.data;
		if (!ext4_block_verified(&block))
			error = check(fs, fs->orphan_disk[index], block.data);
		if (!error)
			ext4_block_set_verified(&block);
		while (i < per_block && entries[i] != number)
			i++;
		ext4_block_put(&block);
		if (error)
			return error;
		*slot = index * per_block + i;
		if (i < per_block)
			return 0;
	}
	return -ENOENT;
}

static int set_slot(struct transaction *t, struct ext4 *fs, uint32_t slot, uint32_t number)
{
	uint64_t disk = fs->orphan_disk[slot / slots(fs)];
	struct page *page;
	void *data;
	int error = transaction_get(t, disk, &data, &page);
	if (error)
		return error;
	((uint32_t *)data)[slot % slots(fs)] = number;
	if (ext4_has_csum(fs))
		tail_of(fs, data)->ob_checksum = sum(fs, disk, data);
	page_wire_put(page);
	return 0;
}

int ext4_orphan_slot(struct ext4 *fs, uint32_t from, uint32_t *slot, uint32_t *number)
{
	for (; *slot = from, from < fs->orphan_blocks * slots(fs); from++) {
		struct ext4_block block;
		int error = ext4_block_get(fs, fs->orphan_disk[from / slots(fs)], &block);
		if (error)
			return error;
		error = check(fs, fs->orphan_disk[from / slots(fs)], block.data);
		*number = ((const uint32_t *)block.data)[from % slots(fs)];
		ext4_block_put(&block);
		if (error || *number)
			return error;
	}
	*number = 0;
	return 0;
}

// ---- the list ----------------------------------------------------------------------------------------

int ext4_orphan_first(struct ext4 *fs, uint32_t *number)
{
	struct ext4_block block;
	int error = ext4_block_get(fs, EXT4_SUPER_OFFSET >> fs->block_shift, &block);
	if (error)
		return error;
	const struct ext4_super_block *sb =
	    (const void *)((const uint8_t *)block.data +
			   (EXT4_SUPER_OFFSET & (fs->block_bytes - 1)));
	*number = sb->s_last_orphan;
	ext4_block_put(&block);
	return 0;
}

static int next_of(struct ext4 *fs, uint32_t number, uint32_t *next)
{
	struct ext4_block block;
	uint64_t disk;
	uint32_t offset;
	int error =
	    ext4_is_ordinary(fs, number) ? ext4_inode_place(fs, number, &disk, &offset) : -ENOENT;
	if (error == -ENOENT)
		return ext4_corrupt(fs, number, 0, "no such inode, on the list of orphans");
	if (!error)
		error = ext4_block_get(fs, disk, &block);
	if (error)
		return error;
	const struct ext4_raw_inode *raw = (const void *)((const uint8_t *)block.data + offset);
	*next = raw->i_dtime;
	ext4_block_put(&block);
	return 0;
}

// Whether it is on the list, and what stands before it (0: the superblock).
static int find_listed(struct ext4 *fs, uint32_t number, bool *listed, uint32_t *before)
{
	uint32_t at, steps = 0;
	*before = 0;
	*listed = false;
	int error = ext4_orphan_first(fs, &at);
	while (!error && at && at != number && steps++ < fs->inodes) {
		*before = at;
		error = next_of(fs, at, &at);
	}
	if (!error && at && at != number)
		error = ext4_corrupt(fs, at, 0, "the list of orphans has no end");
	*listed = !error && at == number;
	return error;
}

static int set_first(struct transaction *t, struct ext4 *fs, uint32_t number)
{
	struct ext4_super_block *sb;
	struct page *page;
	int error = ext4_super_get(t, fs, &sb, &page);
	if (error)
		return error;
	sb->s_last_orphan = number;
	ext4_super_put(fs, sb, page);
	return 0;
}

static int set_next(struct transaction *t, struct ext4 *fs, uint32_t number, uint32_t next)
{
	struct ext4_inode_block block;
	int error = ext4_inode_block_get(t, fs, number, false, &block);
	if (error)
		return error;
	block.raw->i_dtime = next;
	ext4_inode_block_put(fs, number, &block);
	return 0;
}

static int list_add(struct transaction *t, struct ext4 *fs, uint32_t number)
{
	uint32_t first;
	int error = ext4_orphan_first(fs, &first);
	if (!error)
		error = set_next(t, fs, number, first);
	return error ? error : set_first(t, fs, number);
}

static int list_remove(struct transaction *t, struct ext4 *fs, uint32_t number)
{
	uint32_t before, next;
	bool listed;
	int error = find_listed(fs, number, &listed, &before);
	if (!error && !listed)
		error = ext4_corrupt(fs, number, 0, "is missing from the list of orphans");
	if (!error)
		error = next_of(fs, number, &next);
	if (!error)
		error = before ? set_next(t, fs, before, next) : set_first(t, fs, next);
	return error ? error : set_next(t, fs, number, 0);
}

// ---- both --------------------------------------------------------------------------------------------

int ext4_orphan_find(struct ext4 *fs, uint32_t number, uint32_t *orphan)
{
	uint32_t slot, before;
	bool listed;
	int error = find_slot(fs, number, 0, &slot);
	*orphan = error ? 0 : slot + 1;
	if (error != -ENOENT)
		return error;
	error = find_listed(fs, number, &listed, &before);
	if (listed)
		*orphan = ON_LIST;
	return error;
}

int ext4_orphan_add(struct transaction *t, struct inode *inode)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_node *node = inode_format_data(inode);
	uint32_t slot, number = (uint32_t)inode->number;
	if (node->orphan)
		return 0;
	int error = find_slot(fs, 0, fs->orphan_hint, &slot);
	if (!error) {
		error = set_slot(t, fs, slot, number);
		fs->orphan_hint = slot / slots(fs);
		slot++;
	} else if (error == -ENOENT) {
		error = list_add(t, fs, number);
		slot = ON_LIST;
	}
	if (!error)
		node->orphan = slot;
	return error;
}

int ext4_orphan_remove(struct transaction *t, struct inode *inode)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_node *node = inode_format_data(inode);
	int error = 0;
	if (node->orphan == ON_LIST)
		error = list_remove(t, fs, (uint32_t)inode->number);
	else if (node->orphan)
		error = set_slot(t, fs, node->orphan - 1, 0);
	if (!error)
		node->orphan = 0;
	return error;
}

uint32_t ext4_credits_orphan(const struct ext4 *fs)
{
	return 3; // superblock and inode; or the two neighbours on the list; or a block of the file
}
