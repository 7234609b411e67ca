// SPDX-License-Identifier: BSD-2-Clause
// Extended attributes as they lie on the disk, and as the two files that know them share them.
#pragma once

#include "fs/ext4_write.h"

#define EXT4_XATTR_MAGIC	0xea020000
#define EXT4_XATTR_REFCOUNT_MAX 1024
#define EXT4_XATTR_USER		1 // e_name_index: "user."

// Begins an attribute block.
struct ext4_xattr_header {
	uint32_t h_magic;
	uint32_t h_refcount; // inodes whose i_file_acl leads here
	uint32_t h_blocks;   // 1
	uint32_t h_hash;     // of all entries, 0: one of them has none
	uint32_t h_checksum;
	uint32_t h_reserved[3];
};
_Static_assert(sizeof(struct ext4_xattr_header) == 32, "xattr block header");

// Entries follow each other, four zero bytes end them; values lie from the end of the area downwards. Offsets
// count from the block's first byte, or in an inode from the first entry.
struct ext4_xattr_entry {
	uint8_t e_name_len;
	uint8_t e_name_index;
	uint16_t e_value_offs;
	uint32_t e_value_inum; // ea_inode: the inode with the value
	uint32_t e_value_size;
	uint32_t e_hash; // of name and value; 0 in an inode
	char e_name[];
};
_Static_assert(sizeof(struct ext4_xattr_entry) == 16, "xattr entry");

static inline uint32_t ext4_xattr_entry_bytes(size_t name_len)
{
	return (uint32_t)(sizeof(struct ext4_xattr_entry) + name_len + 3) & ~3U;
}
static inline uint32_t ext4_xattr_value_bytes(uint32_t size)
{
	return (size + 3) & ~3U;
}

// An inode's space behind i_extra_isize, or a block; bytes 0: there is none, or nothing is in it.
struct ext4_xattr_area {
	uint8_t *base;	// what offsets count from
	uint32_t first; // offset of the first entry
	uint32_t bytes; // offset of the end
	bool in_block;
};
struct ext4_xattr_name {
	const char *name; // without the prefix that the index stands for
	uint8_t len, index;
};

// ---- ext4_xattr_area.c; pure ----
// Every entry and value keeps within the area, and there is an end to them.
bool ext4_xattr_check(const struct ext4_xattr_area *area);
// Null: no such name. The area was checked.
struct ext4_xattr_entry *ext4_xattr_find(const struct ext4_xattr_area *area,
					 const struct ext4_xattr_name *name);
// The entry at `offset` or null at the end; begin with area->first.
struct ext4_xattr_entry *ext4_xattr_at(const struct ext4_xattr_area *area, uint32_t offset);
// Writes to `out` what `area` holds without `name`, and with it, if `value` is not null: packed, in order,
// hashed. `out` has room for area->bytes and is laid out as `area`. False: it does not fit.
bool ext4_xattr_rebuild(const struct ext4_xattr_area *area, struct ext4_xattr_area *out,
			const struct ext4_xattr_name *name, const void *value, uint32_t size);
// Nothing but the end.
bool ext4_xattr_empty(const struct ext4_xattr_area *area);
