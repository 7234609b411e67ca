// SPDX-License-Identifier: BSD-2-Clause
// Extended attributes in one area of an inode or in a block: checked, found, and written anew. An area is
// never changed in place: what it shall hold is put together elsewhere, packed, and copied over it whole; so
// one that does not fit leaves no trace. Pure.
//
//	| header | entry | entry | ... | 0000 |   free   | value | value | value |
//	         entries in order of (index, length, name)           ^ area->bytes
#include "fs/ext4_xattr.h"

#include "kernel/kstring.h"

#define NAME_SHIFT  5
#define VALUE_SHIFT 16

static uint32_t rotate(uint32_t hash, unsigned bits)
{
	return hash << bits | hash >> (32 - bits);
}

// Over the name's characters, then over the value's words.
static uint32_t entry_hash(const struct ext4_xattr_entry *entry, const uint8_t *value)
{
	uint32_t hash = 0, word;
	for (uint32_t i = 0; i < entry->e_name_len; i++)
		hash = rotate(hash, NAME_SHIFT) ^ (uint8_t)entry->e_name[i];
	for (uint32_t at = 0; at < entry->e_value_size; at += sizeof(word)) {
		memcpy(&word, value + at, sizeof(word));
		hash = rotate(hash, VALUE_SHIFT) ^ word;
	}
	return hash;
}

static bool is_end(const struct ext4_xattr_area *area, uint32_t offset)
{
	uint32_t word;
	memcpy(&word, area->base + offset, sizeof(word));
	return !word;
}

struct ext4_xattr_entry *ext4_xattr_at(const struct ext4_xattr_area *area, uint32_t offset)
{
	if (!area->bytes || is_end(area, offset))
		return NULL;
	return (void *)(area->base + offset);
}

static bool entry_ok(const struct ext4_xattr_area *area, const struct ext4_xattr_entry *entry,
		     uint32_t entries_end)
{
	if (entry->e_value_inum || !entry->e_value_size)
		return true;
	uint32_t offset = entry->e_value_offs, size = entry->e_value_size;
	return offset % 4 == 0 && offset >= entries_end && offset <= area->bytes &&
	       size <= area->bytes - offset;
}

bool ext4_xattr_check(const struct ext4_xattr_area *area)
{
	uint32_t end = area->first;
	if (!area->bytes)
		return true;
	if (area->first + sizeof(uint32_t) > area->bytes || area->bytes % 4)
		return false;
	while (!is_end(area, end)) {
		const struct ext4_xattr_entry *entry = (void *)(area->base + end);
		if (end + sizeof(*entry) > area->bytes)
			return false;
		end += ext4_xattr_entry_bytes(entry->e_name_len);
		if (end + sizeof(uint32_t) > area->bytes)
			return false;
	}
	end += sizeof(uint32_t);
	const struct ext4_xattr_entry *entry;
	for (uint32_t at = area->first; (entry = ext4_xattr_at(area, at));
	     at += ext4_xattr_entry_bytes(entry->e_name_len))
		if (!entry_ok(area, entry, end))
			return false;
	return true;
}

bool ext4_xattr_empty(const struct ext4_xattr_area *area)
{
	return !ext4_xattr_at(area, area->first);
}

// The order of entries in a block: index, length, name.
static int compare(const struct ext4_xattr_entry *entry, const struct ext4_xattr_name *name)
{
	if (entry->e_name_index != name->index)
		return entry->e_name_index < name->index ? -1 : 1;
	if (entry->e_name_len != name->len)
		return entry->e_name_len < name->len ? -1 : 1;
	return memcmp(entry->e_name, name->name, name->len);
}

struct ext4_xattr_entry *ext4_xattr_find(const struct ext4_xattr_area *area,
					 const struct ext4_xattr_name *name)
{
	struct ext4_xattr_entry *entry;
	for (uint32_t at = area->first; (entry = ext4_xattr_at(area, at));
	     at += ext4_xattr_entry_bytes(entry->e_name_len))
		if (!compare(entry, name))
			return entry;
	return NULL;
}

// ---- writing anew ----

struct build {
	struct ext4_xattr_area *area;
	uint32_t next, values; // where the next entry goes; where the values begin
};

static bool put(struct build *b, const struct ext4_xattr_entry *like, const char *name,
		const void *value)
{
	uint32_t bytes = ext4_xattr_entry_bytes(like->e_name_len);
	uint32_t room = like->e_value_inum ? 0 : ext4_xattr_value_bytes(like->e_value_size);
	// The end mark stays between the entries and the values.
	if (b->next + sizeof(uint32_t) > b->values ||
	    (uint64_t)bytes + room > b->values - b->next - sizeof(uint32_t))
		return false;
	struct ext4_xattr_entry *entry = (void *)(b->area->base + b->next);
	*entry = *like;
	memcpy(entry->e_name, name, like->e_name_len);
	b->next += bytes;
	b->values -= room;
	if (like->e_value_inum)
		return true;
	entry->e_value_offs = room ? (uint16_t)b->values : 0;
	if (room)
		memcpy(b->area->base + b->values, value, like->e_value_size);
	entry->e_hash = b->area->in_block ? entry_hash(entry, b->area->base + b->values) : 0;
	return true;
}

static void hash_block(struct ext4_xattr_area *area)
{
	struct ext4_xattr_header *header = (void *)area->base;
	const struct ext4_xattr_entry *entry;
	bool whole = true;
	header->h_hash = 0;
	for (uint32_t at = area->first; (entry = ext4_xattr_at(area, at));
	     at += ext4_xattr_entry_bytes(entry->e_name_len)) {
		whole &= entry->e_hash != 0;
		header->h_hash = rotate(header->h_hash, VALUE_SHIFT) ^ entry->e_hash;
	}
	if (!whole)
		header->h_hash = 0;
}

bool ext4_xattr_rebuild(const struct ext4_xattr_area *area, struct ext4_xattr_area *out,
			const struct ext4_xattr_name *name, const void *value, uint32_t size)
{
	const struct ext4_xattr_entry new = {
	    .e_name_len = name->len, .e_name_index = name->index, .e_value_size = size};
	struct build b = {.area = out, .next = out->first, .values = out->bytes};
	const struct ext4_xattr_entry *entry;
	bool fits = true, placed = !value;
	memset(out->base + out->first, 0, out->bytes - out->first);
	for (uint32_t at = area->first; fits && (entry = ext4_xattr_at(area, at));
	     at += ext4_xattr_entry_bytes(entry->e_name_len)) {
		int order = compare(entry, name);
		if (!placed && order >= 0) {
			fits = put(&b, &new, name->name, value);
			placed = true;
		}
		if (fits && order)
			fits = put(&b, entry, entry->e_name, area->base + entry->e_value_offs);
	}
	if (fits && !placed)
		fits = put(&b, &new, name->name, value);
	if (fits && out->in_block)
		hash_block(out);
	return fits;
}
