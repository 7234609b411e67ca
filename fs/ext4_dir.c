// SPDX-License-Identifier: BSD-2-Clause
// Directories as a row of blocks full of entries: listing them, and looking for a name in them one
// after the other where no index helps (ext4_htree.c). Thread and worker context.
//
// An entry never crosses a block. rec_len leads to the next one; a walk over a block therefore ends
// after block_bytes / 12 steps at most, and a walk over a directory after its size.
#include "fs/ext4.h"

#include "kernel/crc32.h"
#include "kernel/kstring.h"

static bool leaf_csum_ok(const struct ext4 *fs, const struct ext4_node *node, const void *data)
{
	size_t bytes = fs->block_bytes - sizeof(struct ext4_dirent_tail);
	const struct ext4_dirent_tail *tail = (const void *)((const uint8_t *)data + bytes);
	return tail->det_rec_len == sizeof(*tail) && !tail->det_reserved_zero1 &&
	       tail->det_reserved_ft == EXT4_FT_DIR_CSUM &&
	       crc32c(node->csum_seed, data, bytes) == tail->det_checksum;
}

// Block 0 of an indexed directory holds the root of the tree; an inner node looks like one unused
// entry as long as the block.
static bool is_index_block(const struct ext4 *fs, const struct ext4_node *node, uint32_t index,
			   const struct ext4_dirent *first)
{
	if (!(node->flags & EXT4_INDEX_FL) || !(fs->compat & COMPAT_DIR_INDEX))
		return false;
	return !index || (!first->inode && first->rec_len == fs->block_bytes);
}

int ext4_dir_block_get(struct inode *dir, uint32_t index, struct ext4_dir_block *out)
{
	struct ext4 *fs = ext4_of(dir);
	struct ext4_node *node = inode_format_data(dir);
	struct ext4_run run;
	int error = ext4_map_node(fs, node, index, &run);
	if (error)
		return error;
	if (ext4_run_is_hole(&run))
		return ext4_corrupt(fs, dir->number, 0, "hole in a directory at block %u", index);
	out->disk = run.disk + (index - run.first);
	error = ext4_block_get(fs, out->disk, &out->block);
	if (error)
		return error;
	bool is_index = is_index_block(fs, node, index, out->block.data);
	out->kind = is_index ? EXT4_DIR_INDEX : EXT4_DIR_LEAF;
	out->bytes = fs->block_bytes;
	if (!ext4_has_csum(fs))
		return 0;
	if (!is_index)
		out->bytes -= sizeof(struct ext4_dirent_tail);
	if (ext4_block_verified(&out->block))
		return 0;
	bool ok = is_index ? ext4_dx_csum_ok(fs, node, out->block.data, !index)
			   : leaf_csum_ok(fs, node, out->block.data);
	if (ok) {
		ext4_block_set_verified(&out->block);
		return 0;
	}
	ext4_block_put(&out->block);
	return ext4_corrupt(fs, dir->number, out->disk, "checksum of directory block %u", index);
}

// The entry at `offset` of the block, if it keeps within its bounds; else what is wrong with it.
static const char *entry_complaint(const struct ext4 *fs, const struct ext4_dir_block *block,
				   uint32_t offset, const struct ext4_dirent *entry)
{
	uint32_t left = block->bytes - offset;
	if (left < EXT4_DIRENT_MIN || entry->rec_len < EXT4_DIRENT_MIN || entry->rec_len % 4 ||
	    entry->rec_len > left)
		return "rec_len of a directory entry";
	if (!entry->inode)
		return NULL;
	if (entry->inode > fs->inodes)
		return "inode number of a directory entry";
	if (!(fs->incompat & INCOMPAT_FILETYPE) && entry->file_type)
		return "name length of a directory entry";
	if (!entry->name_len || sizeof(*entry) + entry->name_len > entry->rec_len)
		return "name length of a directory entry";
	if (memchr(entry->name, '/', entry->name_len) || memchr(entry->name, 0, entry->name_len))
		return "name of a directory entry";
	return NULL;
}

int ext4_dir_entry(struct inode *dir, const struct ext4_dir_block *block, uint32_t offset,
		   const struct ext4_dirent **entry)
{
	struct ext4 *fs = ext4_of(dir);
	*entry = (const void *)((const uint8_t *)block->block.data + offset);
	const char *complaint = entry_complaint(fs, block, offset, *entry);
	if (!complaint)
		return 0;
	return ext4_corrupt(fs, dir->number, block->disk, "%s at offset %u", complaint, offset);
}

int ext4_dir_block_find(struct inode *dir, const struct ext4_dir_block *block, const char *name,
			size_t len, struct ext4_dir_place *place)
{
	const struct ext4_dirent *entry;
	place->before = UINT32_MAX;
	for (uint32_t offset = 0; offset < block->bytes; offset += entry->rec_len) {
		int error = ext4_dir_entry(dir, block, offset, &entry);
		if (error)
			return error;
		if (entry->inode && entry->name_len == len && !memcmp(entry->name, name, len)) {
			place->number = entry->inode;
			place->offset = offset;
			return 1;
		}
		place->before = offset;
	}
	return 0;
}

static int linear_lookup(struct inode *dir, const char *name, size_t len, uint32_t blocks,
			 struct ext4_dir_place *place)
{
	for (uint32_t index = 0; index < blocks; index++) {
		struct ext4_dir_block block;
		int found = ext4_dir_block_get(dir, index, &block);
		if (found)
			return found;
		found = ext4_dir_block_find(dir, &block, name, len, place);
		place->index = index;
		ext4_block_put(&block.block);
		if (found)
			return found < 0 ? found : 0;
	}
	return -ENOENT;
}

static bool is_dot_name(const char *name, size_t len)
{
	return name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
}

int ext4_dir_find(struct inode *dir, const char *name, size_t len, struct ext4_dir_place *place)
{
	struct ext4 *fs = ext4_of(dir);
	struct ext4_node *node = inode_format_data(dir);
	if (dir->type != INODE_DIRECTORY)
		return -ENOTDIR;
	if (len > EXT4_NAME_MAX)
		return -ENAMETOOLONG;
	if (!len)
		return -ENOENT;
	if (is_dot_name(name, len)) // the index does not lead to them
		return linear_lookup(dir, name, len, 1, place);
	if ((node->flags & EXT4_INDEX_FL) && (fs->compat & COMPAT_DIR_INDEX)) {
		int error = ext4_htree_lookup(dir, name, len, place);
		if (error != -EOPNOTSUPP)
			return error;
	}
	return linear_lookup(dir, name, len, (uint32_t)(dir->size >> fs->block_shift), place);
}

int ext4_lookup(struct inode *dir, const char *name, size_t len, uint64_t *number)
{
	struct ext4_dir_place place;
	int error = ext4_dir_find(dir, name, len, &place);
	if (!error)
		*number = place.number;
	return error;
}

// Without the feature filetype, and for an entry that does not say, the inode itself is asked.
static enum inode_type entry_type(struct ext4 *fs, const struct ext4_dirent *entry)
{
	static const enum inode_type types[] = {
	    [1] = INODE_FILE,  [2] = INODE_DIRECTORY, [3] = INODE_OTHER,   [4] = INODE_OTHER,
	    [5] = INODE_OTHER, [6] = INODE_OTHER,     [7] = INODE_SYMLINK,
	};
	bool known = (fs->incompat & INCOMPAT_FILETYPE) && entry->file_type &&
		     entry->file_type < ARRAY_SIZE(types);
	enum inode_type type;
	if (known)
		return types[entry->file_type];
	// An inode that cannot be read is not the listing's failure: opening it will tell.
	return ext4_inode_type(fs, entry->inode, &type) ? INODE_OTHER : type;
}

struct listing {
	bool (*visit)(void *ctx, const struct dir_entry *entry);
	void *ctx;
	uint64_t *cursor; // byte offset in the directory
	bool stopped;
};

static int list_block(struct inode *dir, const struct ext4_dir_block *block, uint64_t start,
		      struct listing *listing)
{
	struct ext4 *fs = ext4_of(dir);
	const struct ext4_dirent *entry;
	for (uint32_t offset = 0; offset < block->bytes; offset += entry->rec_len) {
		int error = ext4_dir_entry(dir, block, offset, &entry);
		if (error)
			return error;
		if (start + offset < *listing->cursor)
			continue; // a cursor between two entries means the next one
		*listing->cursor = start + offset + entry->rec_len;
		if (!entry->inode || is_dot_name(entry->name, entry->name_len))
			continue;
		struct dir_entry out = {.name = entry->name,
					.name_len = entry->name_len,
					.type = entry_type(fs, entry),
					.number = entry->inode};
		if (!listing->visit(listing->ctx, &out)) {
			listing->stopped = true;
			return 0;
		}
	}
	return 0;
}

int ext4_read_dir(struct inode *dir, uint64_t *cursor,
		  bool (*visit)(void *ctx, const struct dir_entry *entry), void *ctx)
{
	struct ext4 *fs = ext4_of(dir);
	struct listing listing = {.visit = visit, .ctx = ctx, .cursor = cursor};
	if (dir->type != INODE_DIRECTORY)
		return -ENOTDIR;
	while (!listing.stopped && *cursor < dir->size) {
		struct ext4_dir_block block;
		uint32_t index = (uint32_t)(*cursor >> fs->block_shift);
		uint64_t start = (uint64_t)index << fs->block_shift;
		int error = ext4_dir_block_get(dir, index, &block);
		if (error)
			return error;
		// Block 0 of an index begins with "." and ".."; its second rec_len spans the rest.
		bool inner = block.kind == EXT4_DIR_INDEX && index;
		error = inner ? 0 : list_block(dir, &block, start, &listing);
		ext4_block_put(&block.block);
		if (error)
			return error;
		if (!listing.stopped)
			*cursor = start + fs->block_bytes;
	}
	return 0;
}
