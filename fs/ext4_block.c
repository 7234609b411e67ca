// SPDX-License-Identifier: BSD-2-Clause
// Blocks of metadata, group descriptors, and what is said about corruption. Thread and worker
// context; stage 6 of the read path when it misses. A block is held between ext4_block_get and
// ext4_block_put; nothing may point into it afterwards.
#include "fs/ext4.h"

#include "kernel/crc32.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/page.h"
#include "kernel/panic.h"
#include "kernel/timer.h"

static uint64_t corruptions;
KSTAT_COUNTER(corruptions, "pagewire_ext4_corruptions_total",
	      "Corrupt ext4 metadata met; each was answered with an error");

#define LOG_WINDOW_NS	 (5 * NS_PER_SEC)
#define LOG_WINDOW_LINES 16

// Lines of the present window that were left out are told of when the next one begins.
static bool log_line_allowed(struct ext4 *fs, uint32_t *left_out)
{
	uint64_t now = clock_ns();
	*left_out = 0;
	spin_lock_wtd(&fs->log_lock);
	if (now - fs->log_window_ns >= LOG_WINDOW_NS) {
		if (fs->log_lines > LOG_WINDOW_LINES)
			*left_out = fs->log_lines - LOG_WINDOW_LINES;
		fs->log_window_ns = now;
		fs->log_lines = 0;
	}
	bool allowed = fs->log_lines < LOG_WINDOW_LINES;
	fs->log_lines++;
	spin_unlock_wtd(&fs->log_lock);
	return allowed;
}

int ext4_corrupt(struct ext4 *fs, uint64_t inode, uint64_t block, const char *format, ...)
{
	char what[120];
	uint32_t left_out;
	va_list args;
	__atomic_fetch_add(&corruptions, 1, __ATOMIC_RELAXED);
	if (!log_line_allowed(fs, &left_out))
		return -EUCLEAN;
	va_start(args, format);
	kvsnprintf(what, sizeof(what), format, args);
	va_end(args);
	if (left_out)
		kprintf("%s: ext4: %u more lines about corruption were left out\n",
			fs->volume->dev->name, left_out);
	kprintf("%s: ext4: corrupt: inode %lu, block %lu: %s\n", fs->volume->dev->name,
		(unsigned long)inode, (unsigned long)block, what);
	return -EUCLEAN;
}

int ext4_block_get(struct ext4 *fs, uint64_t block, struct ext4_block *out)
{
	*out = (struct ext4_block){.fs = fs};
	if (block >= fs->blocks)
		return -ERANGE;
	if (!fs->raw)
		return meta_get(fs->volume, block, &out->data, &out->page);
	ASSERT(!fs->raw_in_use);
	int error =
	    block_rw_sync(fs->volume->dev, BLOCK_READ, block << (fs->block_shift - SECTOR_SHIFT),
			  fs->raw, fs->block_bytes);
	if (error)
		return error;
	fs->raw_in_use = true;
	out->data = fs->raw;
	return 0;
}

void ext4_block_put(struct ext4_block *block)
{
	if (block->page)
		page_wire_put(block->page);
	else
		block->fs->raw_in_use = false;
	*block = (struct ext4_block){.fs = block->fs};
}

bool ext4_block_verified(const struct ext4_block *block)
{
	return block->page && meta_verified(block->page, block->data);
}

void ext4_block_set_verified(const struct ext4_block *block)
{
	if (block->page)
		meta_set_verified(block->page, block->data);
}

static bool power_of(uint64_t n, uint32_t base)
{
	uint64_t power = base;
	while (power < n)
		power *= base;
	return power == n;
}

static bool group_has_super(const struct ext4 *fs, uint64_t group)
{
	if (!group)
		return true;
	if (fs->compat & COMPAT_SPARSE_SUPER2)
		return group == fs->backup_groups[0] || group == fs->backup_groups[1];
	if (group == 1 || !(fs->ro_compat & RO_COMPAT_SPARSE_SUPER))
		return true;
	return power_of(group, 3) || power_of(group, 5) || power_of(group, 7);
}

// Descriptor blocks follow the superblock, or with meta_bg lie in the first group each describes.
static uint64_t desc_block(const struct ext4 *fs, uint64_t index)
{
	uint64_t super_block = EXT4_SUPER_OFFSET >> fs->block_shift;
	if (!(fs->incompat & INCOMPAT_META_BG) || index < fs->first_meta_bg)
		return super_block + 1 + index;
	uint64_t group = index * (fs->block_bytes / fs->desc_bytes);
	uint64_t start = fs->first_data_block + group * fs->blocks_per_group;
	// 1 KB blocks numbered from 0 (bigalloc): block 0 is the boot block, and counts.
	bool boot_block = !group && super_block && !fs->first_data_block;
	return start + group_has_super(fs, group) + boot_block;
}

uint16_t ext4_crc16(uint16_t crc, const void *data, size_t len)
{
	const uint8_t *byte = data;
	for (; len; byte++, len--) {
		crc ^= *byte;
		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)((crc >> 1) ^ (crc & 1 ? 0xa001 : 0));
	}
	return crc;
}

static bool desc_csum_ok(const struct ext4 *fs, uint32_t group, const struct ext4_group_desc *desc)
{
	static const uint16_t zero;
	const size_t csum_at = offsetof(struct ext4_group_desc, bg_checksum);
	const uint8_t *bytes = (const uint8_t *)desc;
	const size_t rest = csum_at + sizeof(desc->bg_checksum);
	if (ext4_has_csum(fs)) {
		uint32_t sum = crc32c(fs->csum_seed, &group, sizeof(group));
		sum = crc32c(sum, bytes, csum_at);
		sum = crc32c(sum, &zero, sizeof(zero));
		sum = crc32c(sum, bytes + rest, fs->desc_bytes - rest);
		return (uint16_t)sum == desc->bg_checksum;
	}
	if (!(fs->ro_compat & RO_COMPAT_GDT_CSUM))
		return true;
	uint16_t sum = ext4_crc16(fs->gdt_crc16, &group, sizeof(group));
	sum = ext4_crc16(sum, bytes, csum_at);
	sum = ext4_crc16(sum, bytes + rest, fs->desc_bytes - rest);
	return sum == desc->bg_checksum;
}

static int desc_decode(struct ext4 *fs, uint64_t group, uint64_t block,
		       const struct ext4_group_desc *desc, uint64_t *table, uint32_t *used)
{
	uint64_t high = 0;
	uint32_t unused = desc->bg_itable_unused_lo;
	if (!desc_csum_ok(fs, (uint32_t)group, desc))
		return ext4_corrupt(fs, 0, block, "checksum of the descriptor of group %lu",
				    (unsigned long)group);
	if (fs->desc_bytes >= EXT4_MIN_DESC_64) {
		high = desc->bg_inode_table_hi;
		unused |= (uint32_t)desc->bg_itable_unused_hi << 16;
	}
	*table = high << 32 | desc->bg_inode_table_lo;
	uint64_t length =
	    ((uint64_t)fs->inodes_per_group * fs->inode_bytes + fs->block_bytes - 1) >>
	    fs->block_shift;
	if (!ext4_data_block_ok(fs, *table, length))
		return ext4_corrupt(fs, 0, block, "inode table of group %lu at %lu",
				    (unsigned long)group, (unsigned long)*table);
	*used = fs->inodes_per_group;
	// The two are kept up to date only where descriptors have checksums.
	if (ext4_has_csum(fs) || (fs->ro_compat & RO_COMPAT_GDT_CSUM)) {
		if (unused > fs->inodes_per_group)
			return ext4_corrupt(fs, 0, block, "%u unused inodes in group %lu", unused,
					    (unsigned long)group);
		*used = desc->bg_flags & EXT4_BG_INODE_UNINIT ? 0 : *used - unused;
	}
	return 0;
}

int ext4_group_inodes(struct ext4 *fs, uint64_t group, uint64_t *table, uint32_t *used)
{
	uint32_t per_block = fs->block_bytes / fs->desc_bytes;
	uint64_t number = desc_block(fs, group / per_block);
	struct ext4_block block;
	ASSERT(group < fs->groups);
	if (number >= fs->blocks)
		return ext4_corrupt(fs, 0, number, "descriptors of group %lu",
				    (unsigned long)group);
	int error = ext4_block_get(fs, number, &block);
	if (error)
		return error;
	const void *desc = (const uint8_t *)block.data + group % per_block * fs->desc_bytes;
	error = desc_decode(fs, group, number, desc, table, used);
	ext4_block_put(&block);
	return error;
}
