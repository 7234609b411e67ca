// SPDX-License-Identifier: BSD-2-Clause
// From an inode's number to the inode: where it lies, whether its checksum holds, what it says.
// Thread and worker context. What is found is checked here once, so that the public part of struct
// inode and the node can be trusted by everything that follows.
#include "fs/ext4.h"

#include "kernel/crc32.h"
#include "kernel/kstring.h"

static const char *const refused_flags = "encrypted, inline-data or casefolded inode on a volume "
					 "without that feature";

int ext4_inode_place(struct ext4 *fs, uint32_t number, uint64_t *disk, uint32_t *offset)
{
	uint64_t table;
	uint32_t used;
	if (!number || number > fs->inodes)
		return -ENOENT;
	uint32_t index = (number - 1) % fs->inodes_per_group;
	int error = ext4_group_inodes(fs, (number - 1) / fs->inodes_per_group, &table, &used);
	if (error)
		return error;
	if (index >= used)
		return -ENOENT;
	uint64_t at = (uint64_t)index * fs->inode_bytes;
	*disk = table + (at >> fs->block_shift);
	*offset = (uint32_t)(at & (fs->block_bytes - 1));
	return 0;
}

// Gives the inode as it lies in its block, which is held until ext4_block_put(block).
static int raw_inode_get(struct ext4 *fs, uint32_t number, struct ext4_block *block,
			 const struct ext4_raw_inode **raw, uint64_t *disk)
{
	uint32_t offset;
	int error = ext4_inode_place(fs, number, disk, &offset);
	if (error)
		return error;
	error = ext4_block_get(fs, *disk, block);
	if (error)
		return error;
	*raw = (const void *)((const uint8_t *)block->data + offset);
	return 0;
}

uint32_t ext4_inode_seed(const struct ext4 *fs, uint32_t number, const struct ext4_raw_inode *raw)
{
	uint32_t seed = crc32c(fs->csum_seed, &number, sizeof(number));
	return crc32c(seed, &raw->i_generation, sizeof(raw->i_generation));
}

// The sum over the inode with both halves of the checksum taken as zero; only its low half where there is
// no room for the other one.
static uint32_t inode_sum(const struct ext4 *fs, uint32_t seed, const struct ext4_raw_inode *raw)
{
	static const uint16_t zero;
	const uint8_t *bytes = (const uint8_t *)raw;
	const size_t low_at = offsetof(struct ext4_raw_inode, i_checksum_lo);
	const size_t high_at = offsetof(struct ext4_raw_inode, i_checksum_hi);
	uint32_t sum = crc32c(seed, bytes, low_at);
	sum = crc32c(sum, &zero, sizeof(zero));
	sum = crc32c(sum, bytes + low_at + 2, EXT4_GOOD_OLD_INODE - low_at - 2);
	if (fs->inode_bytes == EXT4_GOOD_OLD_INODE)
		return (uint16_t)sum;
	if (!EXT4_HAS_EXTRA(fs, raw, i_checksum_hi)) {
		sum =
		    crc32c(sum, bytes + EXT4_GOOD_OLD_INODE, fs->inode_bytes - EXT4_GOOD_OLD_INODE);
		return (uint16_t)sum;
	}
	sum = crc32c(sum, bytes + EXT4_GOOD_OLD_INODE, high_at - EXT4_GOOD_OLD_INODE);
	sum = crc32c(sum, &zero, sizeof(zero));
	return crc32c(sum, bytes + high_at + 2, fs->inode_bytes - high_at - 2);
}

static bool inode_csum_ok(const struct ext4 *fs, uint32_t seed, const struct ext4_raw_inode *raw)
{
	if (!ext4_has_csum(fs))
		return true;
	uint32_t high = EXT4_HAS_EXTRA(fs, raw, i_checksum_hi) ? raw->i_checksum_hi : 0;
	return inode_sum(fs, seed, raw) == (high << 16 | raw->i_checksum_lo);
}

void ext4_inode_set_csum(const struct ext4 *fs, uint32_t number, struct ext4_raw_inode *raw)
{
	if (!ext4_has_csum(fs))
		return;
	uint32_t sum = inode_sum(fs, ext4_inode_seed(fs, number, raw), raw);
	raw->i_checksum_lo = (uint16_t)sum;
	if (EXT4_HAS_EXTRA(fs, raw, i_checksum_hi))
		raw->i_checksum_hi = (uint16_t)(sum >> 16);
}

// In use, with a name or (nameless) without one, and its checksum holds.
static int raw_inode_check(struct ext4 *fs, uint32_t number, uint64_t disk,
			   const struct ext4_raw_inode *raw, bool nameless)
{
	uint16_t extra = ext4_extra_isize(fs, raw);
	if (!raw->i_mode && !raw->i_links_count)
		return -ENOENT;
	if (extra % 4 || extra + EXT4_GOOD_OLD_INODE > (int)fs->inode_bytes)
		return ext4_corrupt(fs, number, disk, "extra size %u", extra);
	if (!inode_csum_ok(fs, ext4_inode_seed(fs, number, raw), raw))
		return ext4_corrupt(fs, number, disk, "checksum of the inode");
	return raw->i_links_count || nameless ? 0 : -ENOENT;
}

static bool type_of(uint16_t mode, enum inode_type *type)
{
	switch (mode & EXT4_S_IFMT) {
	case EXT4_S_IFREG:
		*type = INODE_FILE;
		return true;
	case EXT4_S_IFDIR:
		*type = INODE_DIRECTORY;
		return true;
	case EXT4_S_IFLNK:
		*type = INODE_SYMLINK;
		return true;
	case EXT4_S_IFIFO:
	case EXT4_S_IFCHR:
	case EXT4_S_IFBLK:
	case EXT4_S_IFSOCK:
		*type = INODE_OTHER;
		return true;
	default:
		return false;
	}
}

// Seconds have 34 bits: the classic signed 32, and two more above them in the extra field, whose
// other 30 bits are nanoseconds.
static void decode_mtime(const struct ext4 *fs, const struct ext4_raw_inode *raw,
			 struct inode *inode)
{
	inode->mtime_sec = (int32_t)raw->i_mtime;
	inode->mtime_nsec = 0;
	if (!EXT4_HAS_EXTRA(fs, raw, i_mtime_extra))
		return;
	inode->mtime_sec += (int64_t)(raw->i_mtime_extra & 3) << 32;
	uint32_t nsec = raw->i_mtime_extra >> 2;
	inode->mtime_nsec = nsec < NS_PER_SEC ? nsec : 0;
}

static int check_size(struct ext4 *fs, const struct inode *inode, uint64_t disk)
{
	uint64_t limit = EXT4_LOGICAL_LIMIT << fs->block_shift;
	if (inode->type == INODE_DIRECTORY) {
		limit = fs->dir_bytes_max;
		if (!inode->size || inode->size & (fs->block_bytes - 1))
			limit = 0;
	} else if (inode->type == INODE_SYMLINK) {
		limit = inode->size ? fs->block_bytes - 1 : 0;
		if (!limit)
			return ext4_corrupt(fs, inode->number, disk, "empty symbolic link");
	}
	if (inode->size > limit)
		return ext4_corrupt(fs, inode->number, disk, "size %lu",
				    (unsigned long)inode->size);
	return 0;
}

static int decode_inode(struct ext4 *fs, uint64_t disk, const struct ext4_raw_inode *raw,
			struct inode *inode, struct ext4_node *node)
{
	uint32_t number = node->number;
	inode->number = number;
	inode->generation = raw->i_generation;
	inode->mode = raw->i_mode & 07777;
	inode->links = raw->i_links_count;
	if (!type_of(raw->i_mode, &inode->type))
		return ext4_corrupt(fs, number, disk, "mode %#o", raw->i_mode);
	inode->size = raw->i_size_lo;
	if (inode->type == INODE_FILE || (fs->incompat & INCOMPAT_LARGEDIR))
		inode->size |= (uint64_t)raw->i_size_high << 32;
	decode_mtime(fs, raw, inode);
	node->flags = raw->i_flags;
	node->csum_seed = ext4_inode_seed(fs, number, raw);
	memcpy(node->block, raw->i_block, sizeof(node->block));
	if (inode->type == INODE_OTHER) {
		inode->size = 0;
		return 0;
	}
	if (raw->i_flags & (EXT4_ENCRYPT_FL | EXT4_INLINE_DATA_FL | EXT4_CASEFOLD_FL))
		return ext4_corrupt(fs, number, disk, "%s", refused_flags);
	int error = check_size(fs, inode, disk);
	if (error || ext4_is_fast_symlink(inode))
		return error;
	return raw->i_flags & EXT4_EXTENTS_FL ? ext4_extent_check_root(fs, node)
					      : ext4_indirect_check_root(fs, node);
}

int ext4_load_any_inode(struct ext4 *fs, uint32_t number, bool nameless, struct inode *inode,
			struct ext4_node *node)
{
	const struct ext4_raw_inode *raw;
	struct ext4_block block;
	uint64_t disk;
	int error = raw_inode_get(fs, number, &block, &raw, &disk);
	if (error)
		return error;
	node->number = number;
	error = raw_inode_check(fs, number, disk, raw, nameless);
	if (!error)
		error = decode_inode(fs, disk, raw, inode, node);
	ext4_block_put(&block);
	return error;
}

int ext4_load_inode(struct ext4 *fs, uint32_t number, struct inode *inode, struct ext4_node *node)
{
	return ext4_load_any_inode(fs, number, false, inode, node);
}

bool ext4_is_ordinary(const struct ext4 *fs, uint64_t number)
{
	if (number == EXT4_ROOT_INODE)
		return true;
	return number >= fs->first_inode && number <= fs->inodes &&
	       number != fs->hidden_inodes[0] && number != fs->hidden_inodes[1];
}

int ext4_read_inode(struct inode *inode)
{
	struct ext4 *fs = ext4_of(inode);
	if (!ext4_is_ordinary(fs, inode->number))
		return -ENOENT;
	uint32_t number = (uint32_t)inode->number;
	return ext4_load_any_inode(fs, number, number == fs->nameless, inode,
				   inode_format_data(inode));
}

static int raw_mode(struct ext4 *fs, uint32_t number, uint16_t *mode)
{
	const struct ext4_raw_inode *raw;
	struct ext4_block block;
	uint64_t disk;
	int error = raw_inode_get(fs, number, &block, &raw, &disk);
	if (error)
		return error;
	error = raw_inode_check(fs, number, disk, raw, false);
	*mode = raw->i_mode;
	if (!error && !type_of(*mode, &(enum inode_type){0}))
		error = ext4_corrupt(fs, number, disk, "mode %#o", *mode);
	ext4_block_put(&block);
	return error;
}

int ext4_inode_type(struct ext4 *fs, uint32_t number, enum inode_type *type)
{
	uint16_t mode;
	int error = raw_mode(fs, number, &mode);
	if (!error)
		type_of(mode, type);
	return error;
}

int ext4_inode_file_type(struct ext4 *fs, uint32_t number, uint8_t *file_type)
{
	static const uint8_t types[] = {
	    [EXT4_S_IFREG >> 12] = EXT4_FT_REG,	 [EXT4_S_IFDIR >> 12] = EXT4_FT_DIR,
	    [EXT4_S_IFCHR >> 12] = EXT4_FT_CHR,	 [EXT4_S_IFBLK >> 12] = EXT4_FT_BLK,
	    [EXT4_S_IFIFO >> 12] = EXT4_FT_FIFO, [EXT4_S_IFSOCK >> 12] = EXT4_FT_SOCK,
	    [EXT4_S_IFLNK >> 12] = EXT4_FT_LNK,
	};
	uint16_t mode;
	int error = raw_mode(fs, number, &mode);
	if (!error)
		*file_type = types[mode >> 12];
	return error;
}

int ext4_read_link(struct inode *link, char *target, size_t size)
{
	struct ext4 *fs = ext4_of(link);
	struct ext4_node *node = inode_format_data(link);
	struct ext4_block block = {.fs = fs, .data = node->block};
	struct ext4_run run = {0};
	if (link->type != INODE_SYMLINK)
		return -EINVAL;
	if (link->size >= size)
		return -ENAMETOOLONG;
	if (!ext4_is_fast_symlink(link)) {
		int error = ext4_map_node(fs, node, 0, &run);
		if (error)
			return error;
		if (ext4_run_is_hole(&run))
			return ext4_corrupt(fs, link->number, 0, "symbolic link without a block");
		error = ext4_block_get(fs, run.disk, &block);
		if (error)
			return error;
	}
	bool has_nul = memchr(block.data, 0, link->size);
	if (!has_nul) {
		memcpy(target, block.data, link->size);
		target[link->size] = 0;
	}
	if (block.page)
		ext4_block_put(&block);
	if (has_nul)
		return ext4_corrupt(fs, link->number, run.disk, "NUL in a symbolic link");
	return (int)link->size;
}

int ext4_sectors(struct inode *inode, uint64_t *out)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_block block;
	uint64_t disk;
	uint32_t offset;
	int error = ext4_inode_place(fs, (uint32_t)inode->number, &disk, &offset);
	if (!error)
		error = ext4_block_get(fs, disk, &block);
	if (error)
		return error;
	const struct ext4_raw_inode *raw = (const void *)((const uint8_t *)block.data + offset);
	bool huge = fs->ro_compat & RO_COMPAT_HUGE_FILE;
	*out = raw->i_blocks_lo | (huge ? (uint64_t)raw->i_blocks_high << 32 : 0);
	if (huge && raw->i_flags & EXT4_HUGE_FILE_FL)
		*out <<= fs->block_shift - SECTOR_SHIFT;
	ext4_block_put(&block);
	return 0;
}
