// SPDX-License-Identifier: BSD-2-Clause
// Group descriptors with their checksums: where they lie, reading (stage 6 of the read path when it misses)
// and changing. Thread and worker context; changes inside a transaction.
//
// A descriptor of 32 bytes has no high halves; what does not fit there is zero. With metadata_csum a
// descriptor is summed with CRC-32C, with gdt_csum with CRC-16, else not at all, and then the flags about
// bitmaps that were never written and the count of unused inodes mean nothing.
#include "fs/ext4_alloc.h"

#include "kernel/crc32.h"
#include "kernel/page.h"
#include "kernel/panic.h"

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

// Superblock, descriptors and what is reserved for more of them, at the group's beginning.
uint32_t ext4_group_meta_blocks(const struct ext4 *fs, uint64_t group)
{
	uint32_t per_block = fs->block_bytes / fs->desc_bytes;
	bool super = group_has_super(fs, group), meta_bg = fs->incompat & INCOMPAT_META_BG;
	if (meta_bg && group >= (uint64_t)fs->first_meta_bg * per_block) {
		uint64_t in = group % per_block;
		return super + (in == 0 || in == 1 || in == per_block - 1);
	}
	uint64_t all = (fs->groups + per_block - 1) / per_block;
	uint32_t descs = meta_bg ? fs->first_meta_bg : (uint32_t)all;
	return super ? 1 + descs + fs->reserved_descs : 0;
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

// What bg_checksum has to be.
static uint16_t desc_sum(const struct ext4 *fs, uint32_t group, const struct ext4_group_desc *desc)
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
		return (uint16_t)sum;
	}
	uint16_t sum = ext4_crc16(fs->gdt_crc16, &group, sizeof(group));
	sum = ext4_crc16(sum, bytes, csum_at);
	return ext4_crc16(sum, bytes + rest, fs->desc_bytes - rest);
}

static bool desc_csum_ok(const struct ext4 *fs, uint32_t group, const struct ext4_group_desc *desc)
{
	return !ext4_group_sums(fs) || desc_sum(fs, group, desc) == desc->bg_checksum;
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
	if (ext4_group_sums(fs)) {
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

bool ext4_group_flag(const struct ext4 *fs, const struct ext4_group *group, uint16_t flag)
{
	return ext4_group_sums(fs) && (group->flags & flag);
}

static uint64_t join(const struct ext4 *fs, uint32_t high, uint32_t low, unsigned shift)
{
	return (fs->desc_bytes >= EXT4_MIN_DESC_64 ? (uint64_t)high << shift : 0) | low;
}

static void decode(const struct ext4 *fs, uint64_t number, const struct ext4_group_desc *d,
		   struct ext4_group *out)
{
	uint64_t first = fs->first_data_block + number * fs->blocks_per_group;
	*out = (struct ext4_group){
	    .number = number,
	    .first = first,
	    .blocks = (uint32_t)MIN(fs->blocks - first, fs->blocks_per_group),
	    .block_bitmap = join(fs, d->bg_block_bitmap_hi, d->bg_block_bitmap_lo, 32),
	    .inode_bitmap = join(fs, d->bg_inode_bitmap_hi, d->bg_inode_bitmap_lo, 32),
	    .inode_table = join(fs, d->bg_inode_table_hi, d->bg_inode_table_lo, 32),
	    .flags = d->bg_flags,
	};
	out->free_blocks =
	    (uint32_t)join(fs, d->bg_free_blocks_count_hi, d->bg_free_blocks_count_lo, 16);
	out->free_inodes =
	    (uint32_t)join(fs, d->bg_free_inodes_count_hi, d->bg_free_inodes_count_lo, 16);
	out->directories =
	    (uint32_t)join(fs, d->bg_used_dirs_count_hi, d->bg_used_dirs_count_lo, 16);
	out->unused_inodes = (uint32_t)join(fs, d->bg_itable_unused_hi, d->bg_itable_unused_lo, 16);
	out->block_bitmap_csum =
	    (uint32_t)join(fs, d->bg_block_bitmap_csum_hi, d->bg_block_bitmap_csum_lo, 16);
	out->inode_bitmap_csum =
	    (uint32_t)join(fs, d->bg_inode_bitmap_csum_hi, d->bg_inode_bitmap_csum_lo, 16);
}

static void encode(const struct ext4 *fs, const struct ext4_group *group)
{
	struct ext4_group_desc *d = group->desc;
	d->bg_flags = group->flags;
	d->bg_free_blocks_count_lo = (uint16_t)group->free_blocks;
	d->bg_free_inodes_count_lo = (uint16_t)group->free_inodes;
	d->bg_used_dirs_count_lo = (uint16_t)group->directories;
	d->bg_itable_unused_lo = (uint16_t)group->unused_inodes;
	if (ext4_has_csum(fs)) {
		d->bg_block_bitmap_csum_lo = (uint16_t)group->block_bitmap_csum;
		d->bg_inode_bitmap_csum_lo = (uint16_t)group->inode_bitmap_csum;
	}
	if (fs->desc_bytes >= EXT4_MIN_DESC_64) {
		d->bg_free_blocks_count_hi = (uint16_t)(group->free_blocks >> 16);
		d->bg_free_inodes_count_hi = (uint16_t)(group->free_inodes >> 16);
		d->bg_used_dirs_count_hi = (uint16_t)(group->directories >> 16);
		d->bg_itable_unused_hi = (uint16_t)(group->unused_inodes >> 16);
		if (ext4_has_csum(fs)) {
			d->bg_block_bitmap_csum_hi = (uint16_t)(group->block_bitmap_csum >> 16);
			d->bg_inode_bitmap_csum_hi = (uint16_t)(group->inode_bitmap_csum >> 16);
		}
	}
	if (ext4_group_sums(fs))
		d->bg_checksum = desc_sum(fs, (uint32_t)group->number, d);
}

// What would lead a writer astray.
static const char *group_complaint(const struct ext4 *fs, const struct ext4_group *group)
{
	uint64_t table = ((uint64_t)fs->inodes_per_group * fs->inode_bytes + fs->block_bytes - 1) >>
			 fs->block_shift;
	if (!ext4_data_block_ok(fs, group->block_bitmap, 1))
		return "place of the block bitmap";
	if (!ext4_data_block_ok(fs, group->inode_bitmap, 1))
		return "place of the inode bitmap";
	if (!ext4_data_block_ok(fs, group->inode_table, table))
		return "place of the inode table";
	if (group->free_blocks > group->blocks)
		return "count of free blocks";
	if (group->free_inodes > fs->inodes_per_group ||
	    group->directories > fs->inodes_per_group - group->free_inodes)
		return "count of free inodes or of directories";
	if (ext4_group_sums(fs) && group->unused_inodes > fs->inodes_per_group)
		return "count of unused inodes";
	return NULL;
}

static int decode_checked(struct ext4 *fs, uint64_t number, uint64_t block,
			  const struct ext4_group_desc *desc, struct ext4_group *out)
{
	decode(fs, number, desc, out);
	const char *complaint = desc_csum_ok(fs, (uint32_t)number, desc)
				    ? group_complaint(fs, out)
				    : "checksum of the descriptor";
	if (!complaint)
		return 0;
	return ext4_corrupt(fs, 0, block, "group %lu: %s", (unsigned long)number, complaint);
}

// Where the descriptor lies: the block, and how far into it.
static uint64_t desc_place(const struct ext4 *fs, uint64_t number, uint32_t *offset)
{
	uint32_t per_block = fs->block_bytes / fs->desc_bytes;
	*offset = (uint32_t)(number % per_block) * fs->desc_bytes;
	return desc_block(fs, number / per_block);
}

int ext4_group_read(struct ext4 *fs, uint64_t number, struct ext4_group *out)
{
	uint32_t offset;
	uint64_t at = desc_place(fs, number, &offset);
	struct ext4_block block;
	ASSERT(number < fs->groups);
	int error = ext4_block_get(fs, at, &block);
	if (error)
		return error;
	const void *desc = (const uint8_t *)block.data + offset;
	error = decode_checked(fs, number, at, desc, out);
	ext4_block_put(&block);
	return error;
}

int ext4_group_get(struct transaction *t, struct ext4 *fs, uint64_t number, struct ext4_group *out)
{
	uint32_t offset;
	uint64_t at = desc_place(fs, number, &offset);
	struct page *page;
	void *data;
	ASSERT(number < fs->groups);
	int error = transaction_get(t, at, &data, &page);
	if (error)
		return error;
	struct ext4_group_desc *desc = (void *)((uint8_t *)data + offset);
	error = decode_checked(fs, number, at, desc, out);
	if (error) {
		page_wire_put(page);
		return error;
	}
	out->desc = desc;
	out->page = page;
	return 0;
}

void ext4_group_put(struct ext4 *fs, struct ext4_group *group)
{
	encode(fs, group);
	page_wire_put(group->page);
	group->page = NULL;
	group->desc = NULL;
}

int ext4_group_walk(struct ext4 *fs, uint64_t first, uint64_t count,
		    bool (*visit)(const struct ext4_group *group, void *ctx), void *ctx)
{
	uint64_t held = 0;
	struct ext4_block block = {0};
	int error = 0;
	for (bool more = true; more && count; first++, count--) {
		struct ext4_group group;
		uint32_t offset;
		uint64_t at = desc_place(fs, first, &offset);
		if (at != held || !block.data) {
			if (block.data)
				ext4_block_put(&block);
			error = ext4_block_get(fs, at, &block);
			if (error)
				return error;
			held = at;
		}
		decode(fs, first, (const void *)((const uint8_t *)block.data + offset), &group);
		if (!group_complaint(fs, &group))
			more = visit(&group, ctx);
	}
	if (block.data)
		ext4_block_put(&block);
	return error;
}
