// SPDX-License-Identifier: BSD-2-Clause
// Bitmaps of blocks and of inodes: one block each a group, a set bit is taken. Bits beyond the group's end
// are set. A group whose descriptor says UNINIT has none on the disk yet: what it would be is computed,
// and it is written with the first change. Thread and worker context.
//
// Bits are looked at eight bytes at a time: bitmaps lie in blocks, which are aligned.
#include "fs/ext4_alloc.h"

#include "kernel/crc32.h"
#include "kernel/kstring.h"
#include "kernel/page.h"
#include "kernel/panic.h"

// The first bit in [from, limit) that is set in `word ^ flip` for its word.
static uint32_t find(const uint8_t *bits, uint32_t from, uint32_t limit, uint64_t flip)
{
	const uint64_t *words = (const void *)bits;
	for (uint32_t at = from; at < limit; at = ALIGN_DOWN(at, 64U) + 64) {
		uint64_t word = (words[at / 64] ^ flip) >> at % 64;
		if (word)
			return MIN(at + (uint32_t)__builtin_ctzl(word), limit);
	}
	return limit;
}

uint32_t ext4_bits_clear_at(const uint8_t *bits, uint32_t from, uint32_t limit)
{
	return find(bits, from, limit, ~0UL);
}

uint32_t ext4_bits_set_at(const uint8_t *bits, uint32_t from, uint32_t limit)
{
	return find(bits, from, limit, 0);
}

void ext4_bits_fill(uint8_t *bits, uint32_t from, uint32_t count, bool set)
{
	uint32_t end = from + count;
	for (uint32_t at = from; at < end;) {
		if (at % 8 == 0 && end - at >= 8) {
			bits[at / 8] = set ? 0xff : 0;
			at += 8;
			continue;
		}
		uint8_t bit = (uint8_t)(1U << at % 8);
		bits[at / 8] = (uint8_t)(set ? bits[at / 8] | bit : bits[at / 8] & ~bit);
		at++;
	}
}

static uint32_t free_bits(const uint8_t *bits, uint32_t limit)
{
	uint32_t count = 0;
	for (uint32_t at = 0; at < limit;) {
		at = ext4_bits_clear_at(bits, at, limit);
		uint32_t end = ext4_bits_set_at(bits, at, limit);
		count += end - at;
		at = end;
	}
	return count;
}

static uint32_t sum(const struct ext4 *fs, enum ext4_bitmap_kind kind, const uint8_t *bits)
{
	uint32_t count = kind == EXT4_BLOCK_BITMAP ? fs->blocks_per_group : fs->inodes_per_group;
	uint32_t crc = crc32c(fs->csum_seed, bits, count / 8);
	return fs->desc_bytes >= EXT4_MIN_DESC_64 ? crc : (uint16_t)crc;
}

static uint16_t uninit_flag(enum ext4_bitmap_kind kind)
{
	return kind == EXT4_BLOCK_BITMAP ? EXT4_BG_BLOCK_UNINIT : EXT4_BG_INODE_UNINIT;
}

static void fill_if_inside(const struct ext4_group *group, uint8_t *bits, uint64_t block,
			   uint64_t count)
{
	for (; count; block++, count--)
		if (block >= group->first && block - group->first < group->blocks)
			ext4_bits_fill(bits, (uint32_t)(block - group->first), 1, true);
}

static uint64_t table_blocks(const struct ext4 *fs)
{
	uint64_t bytes = (uint64_t)fs->inodes_per_group * fs->inode_bytes;
	return (bytes + fs->block_bytes - 1) >> fs->block_shift;
}

// A bitmap of a group in which nothing was ever taken but its own metadata.
static int make(struct ext4 *fs, const struct ext4_group *group, enum ext4_bitmap_kind kind,
		uint8_t *bits)
{
	uint32_t used = kind == EXT4_BLOCK_BITMAP ? group->blocks : fs->inodes_per_group;
	uint32_t want = kind == EXT4_BLOCK_BITMAP ? group->free_blocks : group->free_inodes;
	memset(bits, 0, fs->block_bytes);
	ext4_bits_fill(bits, used, fs->block_bytes * 8 - used, true);
	if (kind == EXT4_BLOCK_BITMAP) {
		ext4_bits_fill(bits, 0, ext4_group_meta_blocks(fs, group->number), true);
		fill_if_inside(group, bits, group->block_bitmap, 1);
		fill_if_inside(group, bits, group->inode_bitmap, 1);
		fill_if_inside(group, bits, group->inode_table, table_blocks(fs));
	}
	if (free_bits(bits, used) == want)
		return 0;
	return ext4_corrupt(fs, 0, group->block_bitmap,
			    "free count of group %lu, which has no bitmap yet",
			    (unsigned long)group->number);
}

static bool taken(const struct ext4_group *group, const uint8_t *bits, uint64_t block)
{
	uint64_t bit = block - group->first;
	return block < group->first || bit >= group->blocks || (bits[bit / 8] >> bit % 8 & 1);
}

static int check(struct ext4 *fs, const struct ext4_group *group, enum ext4_bitmap_kind kind,
		 const uint8_t *bits)
{
	bool blocks = kind == EXT4_BLOCK_BITMAP;
	uint32_t want = blocks ? group->block_bitmap_csum : group->inode_bitmap_csum;
	uint64_t at = blocks ? group->block_bitmap : group->inode_bitmap;
	const char *name = blocks ? "block" : "inode";
	if (ext4_has_csum(fs) && sum(fs, kind, bits) != want)
		return ext4_corrupt(fs, 0, at, "checksum of the %s bitmap of group %lu", name,
				    (unsigned long)group->number);
	if (blocks &&
	    (!taken(group, bits, group->block_bitmap) || !taken(group, bits, group->inode_bitmap) ||
	     !taken(group, bits, group->inode_table)))
		return ext4_corrupt(fs, 0, at, "metadata of group %lu is free in its bitmap",
				    (unsigned long)group->number);
	return 0;
}

int ext4_bitmap_read(struct ext4 *fs, const struct ext4_group *group, enum ext4_bitmap_kind kind,
		     struct ext4_block *out)
{
	*out = (struct ext4_block){.fs = fs, .data = fs->scratch};
	if (ext4_group_flag(fs, group, uninit_flag(kind)))
		return make(fs, group, kind, fs->scratch);
	int error = ext4_block_get(
	    fs, kind == EXT4_BLOCK_BITMAP ? group->block_bitmap : group->inode_bitmap, out);
	if (error || ext4_block_verified(out))
		return error;
	error = check(fs, group, kind, out->data);
	if (error)
		ext4_block_put(out);
	else
		ext4_block_set_verified(out);
	return error;
}

void ext4_bitmap_done(struct ext4 *fs, struct ext4_block *block)
{
	if (block->data != fs->scratch)
		ext4_block_put(block);
}

int ext4_bitmap_get(struct transaction *t, struct ext4 *fs, struct ext4_group *group,
		    enum ext4_bitmap_kind kind, uint8_t **bits, struct page **page)
{
	uint64_t at = kind == EXT4_BLOCK_BITMAP ? group->block_bitmap : group->inode_bitmap;
	void *data;
	int error;
	if (ext4_group_flag(fs, group, uninit_flag(kind))) {
		error = transaction_get_fresh(t, at, &data, page);
		if (error)
			return error;
		error = make(fs, group, kind, data);
		group->flags &= (uint16_t)~uninit_flag(kind);
	} else {
		error = transaction_get(t, at, &data, page);
		if (error)
			return error;
		if (!meta_verified(*page, data))
			error = check(fs, group, kind, data);
	}
	if (error) {
		page_wire_put(*page);
		return error;
	}
	meta_set_verified(*page, data);
	*bits = data;
	return 0;
}

void ext4_bitmap_put(struct ext4 *fs, struct ext4_group *group, enum ext4_bitmap_kind kind,
		     const uint8_t *bits, struct page *page)
{
	uint32_t crc = ext4_has_csum(fs) ? sum(fs, kind, bits) : 0;
	if (kind == EXT4_BLOCK_BITMAP)
		group->block_bitmap_csum = crc;
	else
		group->inode_bitmap_csum = crc;
	page_wire_put(page);
}
