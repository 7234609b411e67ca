// SPDX-License-Identifier: BSD-2-Clause
// Extended attributes of an inode: in what its own record leaves free, and in one block, which several inodes
// with the same attributes may share. An attribute goes into the inode if it fits there, else into the
// block. A shared block is never changed: the inode gets one of its own, the old one a reference less.
// Values in inodes of their own (ea_inode) are neither read nor made; they are carried along.
//
// Thread or worker context; set and free inside a transaction.
#include "fs/ext4_alloc.h"
#include "fs/ext4_xattr.h"

#include "kernel/crc32.h"
#include "kernel/kstring.h"
#include "kernel/page.h"
#include "kernel/pool.h"

#define MAGIC_BYTES sizeof(uint32_t) // before the entries in an inode

// What both areas shall hold. One for each volume at work; it lives as long as one change.
struct work {
	uint8_t inode[PAGE_SIZE], block[PAGE_SIZE];
};
static struct pool work_pool = POOL_INIT_RAW("ext4-xattr", struct work, 64);

// An inode's attributes, held for reading.
struct attributes {
	struct ext4_block inode, block;
	const struct ext4_raw_inode *raw;
	uint64_t disk; // the attribute block, 0: none
	uint32_t shared;
	uint32_t offset, bytes; // of the room for an area in the inode's record; bytes 0: none
	struct ext4_xattr_area in_inode, in_block;
};

// ---- reading ----

static uint32_t block_csum(const struct ext4 *fs, uint64_t disk, const void *data)
{
	const size_t at = offsetof(struct ext4_xattr_header, h_checksum);
	const uint32_t zero = 0;
	uint32_t sum = crc32c(fs->csum_seed, &disk, sizeof(disk));
	sum = crc32c(sum, data, at);
	sum = crc32c(sum, &zero, sizeof(zero));
	return crc32c(sum, (const uint8_t *)data + at + 4, fs->block_bytes - at - 4);
}

static int open_block(struct ext4 *fs, struct inode *inode, struct attributes *a)
{
	a->disk = a->raw->i_file_acl_lo;
	if (fs->incompat & INCOMPAT_64BIT)
		a->disk |= (uint64_t)a->raw->i_file_acl_high << 32;
	if (!a->disk)
		return 0;
	if (!ext4_data_block_ok(fs, a->disk, 1))
		return ext4_corrupt(fs, inode->number, a->disk, "attribute block");
	int error = ext4_block_get(fs, a->disk, &a->block);
	if (error)
		return error;
	const struct ext4_xattr_header *header = a->block.data;
	a->shared = header->h_refcount;
	a->in_block = (struct ext4_xattr_area){.base = (uint8_t *)(uintptr_t)a->block.data,
					       .first = sizeof(*header),
					       .bytes = fs->block_bytes,
					       .in_block = true};
	bool ok = header->h_magic == EXT4_XATTR_MAGIC && header->h_blocks == 1 &&
		  header->h_refcount && header->h_refcount <= EXT4_XATTR_REFCOUNT_MAX &&
		  ext4_xattr_check(&a->in_block);
	if (ok && ext4_has_csum(fs))
		ok = header->h_checksum == block_csum(fs, a->disk, header);
	return ok ? 0 : ext4_corrupt(fs, inode->number, a->disk, "contents of an attribute block");
}

static int open_inode(struct ext4 *fs, struct inode *inode, struct attributes *a)
{
	uint64_t disk;
	uint32_t offset, magic;
	int error = ext4_inode_place(fs, (uint32_t)inode->number, &disk, &offset);
	if (!error)
		error = ext4_block_get(fs, disk, &a->inode);
	if (error)
		return error;
	uint8_t *raw = (uint8_t *)(uintptr_t)a->inode.data + offset;
	a->raw = (const void *)raw;
	a->offset = EXT4_GOOD_OLD_INODE + ext4_extra_isize(fs, a->raw) + MAGIC_BYTES;
	// Where i_extra_isize is 0 it is not known what else lies there.
	if (!ext4_extra_isize(fs, a->raw) || a->offset + sizeof(uint32_t) > fs->inode_bytes)
		return 0;
	a->bytes = fs->inode_bytes - a->offset;
	memcpy(&magic, raw + a->offset - MAGIC_BYTES, sizeof(magic));
	if (magic != EXT4_XATTR_MAGIC)
		return 0;
	a->in_inode = (struct ext4_xattr_area){.base = raw + a->offset, .bytes = a->bytes};
	if (ext4_xattr_check(&a->in_inode))
		return 0;
	return ext4_corrupt(fs, inode->number, disk, "attributes in an inode");
}

static void close_attributes(struct attributes *a)
{
	if (a->block.data)
		ext4_block_put(&a->block);
	if (a->inode.data)
		ext4_block_put(&a->inode);
}

// After an error nothing is held.
static int open_attributes(struct inode *inode, struct attributes *a)
{
	struct ext4 *fs = ext4_of(inode);
	*a = (struct attributes){.disk = 0};
	int error = open_inode(fs, inode, a);
	if (!error)
		error = open_block(fs, inode, a);
	if (error)
		close_attributes(a);
	return error;
}

static int make_name(const char *name, struct ext4_xattr_name *out)
{
	size_t len = strlen(name);
	*out =
	    (struct ext4_xattr_name){.name = name, .len = (uint8_t)len, .index = EXT4_XATTR_USER};
	return len && len <= UINT8_MAX ? 0 : -EINVAL;
}

int ext4_xattr_get(struct inode *inode, const char *name, void *value, size_t size)
{
	struct ext4_xattr_name wanted;
	struct attributes a;
	int result = make_name(name, &wanted);
	if (!result)
		result = open_attributes(inode, &a);
	if (result)
		return result;
	const struct ext4_xattr_area *area = &a.in_inode;
	const struct ext4_xattr_entry *entry = ext4_xattr_find(area, &wanted);
	if (!entry) {
		area = &a.in_block;
		entry = ext4_xattr_find(area, &wanted);
	}
	if (!entry) {
		result = -ENODATA;
	} else if (entry->e_value_inum) {
		result = -EOPNOTSUPP;
	} else {
		result = (int)entry->e_value_size;
		if (size && entry->e_value_size > size)
			result = -ERANGE;
		else if (size)
			memcpy(value, area->base + entry->e_value_offs, entry->e_value_size);
	}
	close_attributes(&a);
	return result;
}

static size_t list_area(const struct ext4_xattr_area *area, char *names, size_t size, size_t at)
{
	const struct ext4_xattr_entry *entry;
	for (uint32_t offset = area->first; (entry = ext4_xattr_at(area, offset));
	     offset += ext4_xattr_entry_bytes(entry->e_name_len)) {
		if (entry->e_name_index != EXT4_XATTR_USER)
			continue;
		if (at + entry->e_name_len + 1U <= size) {
			memcpy(names + at, entry->e_name, entry->e_name_len);
			names[at + entry->e_name_len] = 0;
		}
		at += entry->e_name_len + 1U;
	}
	return at;
}

int ext4_xattr_list(struct inode *inode, char *names, size_t size)
{
	struct attributes a;
	int error = open_attributes(inode, &a);
	if (error)
		return error;
	size_t total = list_area(&a.in_inode, names, size, 0);
	total = list_area(&a.in_block, names, size, total);
	close_attributes(&a);
	return size && total > size ? -ERANGE : (int)total;
}

// ---- writing ----

static void set_refcount(struct ext4 *fs, uint64_t disk, void *data, uint32_t count)
{
	struct ext4_xattr_header *header = data;
	header->h_refcount = count;
	if (ext4_has_csum(fs))
		header->h_checksum = block_csum(fs, disk, data);
}

// The inode does not use block `disk` any more.
static int release_block(struct transaction *t, struct ext4 *fs, uint64_t disk, uint32_t shared)
{
	struct page *page;
	void *data;
	if (shared <= 1)
		return ext4_free_blocks(t, disk, 1, true);
	int error = transaction_get(t, disk, &data, &page);
	if (error)
		return error;
	set_refcount(fs, disk, data, shared - 1);
	page_wire_put(page);
	return 0;
}

// Writes what `area` holds as the inode's own attribute block: *disk, in place or another one.
static int write_block(struct transaction *t, struct inode *inode, struct ext4_xattr_area *area,
		       uint32_t shared, uint64_t *disk)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_xattr_header *header = (void *)area->base;
	struct page *page;
	void *data;
	int error = 0;
	if (*disk && shared == 1) {
		error = transaction_get(t, *disk, &data, &page);
	} else {
		if (*disk)
			error = release_block(t, fs, *disk, shared);
		if (!error)
			error = ext4_allocate_meta(t, inode, 0, disk);
		if (!error)
			error = transaction_get_fresh(t, *disk, &data, &page);
	}
	if (error)
		return error;
	header->h_magic = EXT4_XATTR_MAGIC;
	header->h_blocks = 1;
	memcpy(data, area->base, fs->block_bytes);
	set_refcount(fs, *disk, data, 1);
	page_wire_put(page);
	return 0;
}

// i_file_acl, i_blocks, and what lies in the inode (area null: as it is); then the inode's checksum and ctime.
static int write_inode(struct transaction *t, struct inode *inode, const struct attributes *old,
		       const struct ext4_xattr_area *area, uint64_t disk)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_node node = *(struct ext4_node *)inode_format_data(inode);
	struct ext4_map_change change = {.blocks =
					     (int64_t)(disk != 0) - (int64_t)(old->disk != 0)};
	struct ext4_raw_inode *raw;
	struct page *page;
	int error = ext4_raw_inode_get(t, inode, &raw, &page);
	if (error)
		return error;
	raw->i_file_acl_lo = (uint32_t)disk;
	if (fs->incompat & INCOMPAT_64BIT)
		raw->i_file_acl_high = (uint16_t)(disk >> 32);
	if (area) {
		uint32_t magic = ext4_xattr_empty(area) ? 0 : EXT4_XATTR_MAGIC;
		uint8_t *to = (uint8_t *)raw + old->offset;
		memcpy(to - MAGIC_BYTES, &magic, sizeof(magic));
		memcpy(to, area->base, area->bytes);
	}
	page_wire_put(page);
	if (change.blocks)
		error = ext4_write_map(t, inode, &node, &change);
	return error ? error : ext4_write_inode(t, inode);
}

// What the two areas shall be.
struct plan {
	struct ext4_xattr_area in_inode, in_block;
	bool block_changes;
};

// 0, or -ENOSPC. The value goes into the inode or else into the block. Without the name each area fits where
// it was, unless values overlap there.
static int make_plan(const struct attributes *a, const struct ext4_xattr_name *name,
		     const void *value, uint32_t size, struct plan *plan)
{
	bool room = plan->in_inode.bytes;
	bool here =
	    room && value && ext4_xattr_rebuild(&a->in_inode, &plan->in_inode, name, value, size);
	if (room && !here && !ext4_xattr_rebuild(&a->in_inode, &plan->in_inode, name, NULL, 0))
		return -EUCLEAN;
	if (!ext4_xattr_rebuild(&a->in_block, &plan->in_block, name, here ? NULL : value, size))
		return here || !value ? -EUCLEAN : -ENOSPC;
	plan->block_changes = ext4_xattr_find(&a->in_block, name) || (value && !here);
	return 0;
}

// The old attributes are not held any more.
static int apply(struct transaction *t, struct inode *inode, const struct attributes *old,
		 struct plan *plan)
{
	uint64_t disk = old->disk;
	bool wanted = !ext4_xattr_empty(&plan->in_block);
	int error = 0;
	if (plan->block_changes && wanted)
		error = write_block(t, inode, &plan->in_block, old->shared, &disk);
	if (plan->block_changes && !wanted) {
		error = release_block(t, ext4_of(inode), disk, old->shared);
		disk = 0;
	}
	const struct ext4_xattr_area *area = plan->in_inode.bytes ? &plan->in_inode : NULL;
	return error ? error : write_inode(t, inode, old, area, disk);
}

static int may_set(const struct attributes *a, const struct ext4_xattr_name *name, bool remove)
{
	const struct ext4_xattr_entry *old = ext4_xattr_find(&a->in_inode, name);
	if (!old)
		old = ext4_xattr_find(&a->in_block, name);
	if (!old)
		return remove ? -ENODATA : 0;
	return old->e_value_inum ? -EOPNOTSUPP : 0;
}

int ext4_xattr_set(struct transaction *t, struct inode *inode, const char *name, const void *value,
		   size_t size)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_xattr_name wanted;
	struct attributes a;
	int error = make_name(name, &wanted);
	if (!error && value && size > fs->block_bytes)
		error = -ENOSPC;
	if (!error)
		error = open_attributes(inode, &a);
	if (error)
		return error;
	error = may_set(&a, &wanted, !value);
	struct work *work = error ? NULL : pool_alloc(&work_pool);
	if (!work) {
		close_attributes(&a);
		return error ? error : -ENOMEM;
	}
	struct plan plan = {
	    .in_inode = {.base = work->inode, .bytes = a.bytes},
	    .in_block = {.base = work->block,
			 .first = sizeof(struct ext4_xattr_header),
			 .bytes = fs->block_bytes,
			 .in_block = true},
	};
	memset(work->block, 0, sizeof(struct ext4_xattr_header));
	error = make_plan(&a, &wanted, value, (uint32_t)size, &plan);
	close_attributes(&a);
	if (!error)
		error = apply(t, inode, &a, &plan);
	pool_free(&work_pool, work);
	return error;
}

int ext4_xattr_free(struct transaction *t, struct inode *inode)
{
	struct attributes a;
	int error = open_attributes(inode, &a);
	if (error)
		return error;
	close_attributes(&a);
	if (!a.disk)
		return 0;
	error = release_block(t, ext4_of(inode), a.disk, a.shared);
	return error ? error : write_inode(t, inode, &a, NULL, 0);
}

// The block, one that is shared, one that is allocated or freed, the inode.
uint32_t ext4_credits_xattr(const struct ext4 *fs)
{
	return 2 + ext4_credits_allocate(fs) + ext4_credits_inode(fs);
}
