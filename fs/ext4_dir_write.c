// SPDX-License-Identifier: BSD-2-Clause
// Directory entries: added, removed, led elsewhere. In a leaf block the space behind an entry's name
// belongs to that entry (rec_len); adding cuts it off where there is enough, removing gives it to the entry
// before. Which leaf it must be is the index's business where there is one (ext4_htree_write.c); without
// one, the first with room. A directory never shrinks.
//
// Thread or worker context, inside a transaction: the caller holds the volume alone.
#include "fs/ext4_htree.h"

#include "kernel/crc32.h"
#include "kernel/kstring.h"
#include "kernel/page.h"
#include "kernel/panic.h"
#include "kernel/timer.h"

// ---- blocks ----

int ext4_dir_edit(struct transaction *t, struct inode *dir, uint32_t index,
		  struct ext4_dir_edit *edit)
{
	struct ext4_dir_block found;
	void *data;
	int error = ext4_dir_block_get(dir, index, &found);
	if (error)
		return error;
	ext4_block_put(&found.block);
	*edit = (struct ext4_dir_edit){.dir = dir, .block = found, .index = index};
	error = transaction_get(t, found.disk, &data, &edit->block.block.page);
	edit->block.block.data = edit->data = data;
	return error;
}

int ext4_dir_edit_append(struct transaction *t, struct inode *dir, enum ext4_dir_block_kind kind,
			 struct ext4_dir_edit *edit)
{
	struct ext4 *fs = ext4_of(dir);
	void *data;
	*edit = (struct ext4_dir_edit){.dir = dir};
	if (dir->size >= fs->dir_bytes_max)
		return -ENOSPC;
	edit->index = (uint32_t)(dir->size >> fs->block_shift);
	edit->block.block.fs = fs;
	int error =
	    ext4_append_dir_block(t, dir, &edit->block.disk, &data, &edit->block.block.page);
	if (error)
		return error;
	edit->block.block.data = edit->data = data;
	edit->block.kind = kind;
	edit->block.bytes = fs->block_bytes;
	struct ext4_dirent *entry = data;
	if (kind == EXT4_DIR_LEAF && ext4_has_csum(fs)) {
		edit->block.bytes -= sizeof(struct ext4_dirent_tail);
		struct ext4_dirent_tail *tail = (void *)(edit->data + edit->block.bytes);
		tail->det_rec_len = sizeof(*tail);
		tail->det_reserved_ft = EXT4_FT_DIR_CSUM;
	}
	entry->rec_len = (uint16_t)edit->block.bytes;
	return 0;
}

void ext4_dir_edit_end(struct ext4_dir_edit *edit)
{
	struct ext4 *fs = ext4_of(edit->dir);
	const struct ext4_node *node = inode_format_data(edit->dir);
	if (ext4_has_csum(fs) && edit->block.kind == EXT4_DIR_LEAF) {
		struct ext4_dirent_tail *tail = (void *)(edit->data + edit->block.bytes);
		tail->det_checksum = crc32c(node->csum_seed, edit->data, edit->block.bytes);
	} else if (ext4_has_csum(fs)) {
		uint32_t tail_at, sum;
		bool fits = ext4_dx_csum(fs, node, edit->data, !edit->index, &tail_at, &sum);
		ASSERT(fits);
		((struct ext4_dx_tail *)(edit->data + tail_at))->dt_checksum = sum;
	}
	page_wire_put(edit->block.block.page);
}

// ---- entries of one block ----

// An entry with room for `need` bytes behind its own name, or an unused one of that size: 1, 0 or an error.
static int find_room(struct inode *dir, const struct ext4_dir_block *block, uint32_t need,
		     uint32_t *where)
{
	const struct ext4_dirent *entry;
	for (uint32_t offset = 0; offset < block->bytes; offset += entry->rec_len) {
		int error = ext4_dir_entry(dir, block, offset, &entry);
		if (error)
			return error;
		*where = offset;
		if (entry->rec_len >= need + (entry->inode ? ext4_entry_bytes(entry->name_len) : 0))
			return 1;
	}
	return 0;
}

static void put_entry(struct ext4_dir_edit *edit, uint32_t offset, const struct ext4_new_entry *new)
{
	struct ext4_dirent *entry = (void *)(edit->data + offset);
	uint16_t room = entry->rec_len;
	if (entry->inode) {
		uint16_t used = (uint16_t)ext4_entry_bytes(entry->name_len);
		entry->rec_len = used;
		room = (uint16_t)(room - used);
		entry = (void *)((uint8_t *)entry + used);
	}
	memset(entry, 0, ext4_entry_bytes(new->len));
	entry->inode = new->number;
	entry->rec_len = room;
	entry->name_len = (uint8_t) new->len;
	entry->file_type = new->file_type;
	memcpy(entry->name, new->name, new->len);
}

int ext4_leaf_add(struct transaction *t, struct inode *dir, uint32_t index,
		  const struct ext4_new_entry *new)
{
	struct ext4_dir_block block;
	struct ext4_dir_edit edit;
	uint32_t offset = 0;
	int found = ext4_dir_block_get(dir, index, &block);
	if (found)
		return found;
	// Without checksums an empty leaf looks like an inner node of an index.
	if (block.kind == EXT4_DIR_INDEX && ext4_has_csum(ext4_of(dir)))
		found = ext4_corrupt(ext4_of(dir), dir->number, block.disk,
				     "index block as a leaf of the directory");
	else
		found = find_room(dir, &block, ext4_entry_bytes(new->len), &offset);
	ext4_block_put(&block.block);
	if (found <= 0)
		return found;
	int error = ext4_dir_edit(t, dir, index, &edit);
	if (error)
		return error;
	put_entry(&edit, offset, new);
	ext4_dir_edit_end(&edit);
	return 1;
}

// ---- the directory ----

static void set_mtime(struct inode *dir)
{
	uint64_t now = clock_realtime_ns();
	wtd_disable();
	dir->mtime_sec = (int64_t)(now / NS_PER_SEC);
	dir->mtime_nsec = (uint32_t)(now % NS_PER_SEC);
	wtd_enable();
}

static bool is_indexed(const struct inode *dir)
{
	const struct ext4_node *node = inode_format_data((struct inode *)dir);
	return node->flags & EXT4_INDEX_FL;
}

// The directory goes on without its index: inner nodes look like unused entries, the root's second entry
// spans what else is in its block. With checksums the blocks would need other tails: one that is
// all the index there is gets it.
static int drop_index(struct transaction *t, struct inode *dir)
{
	struct ext4_node *node = inode_format_data(dir);
	struct ext4_dir_edit edit;
	node->flags &= ~(uint32_t)EXT4_INDEX_FL;
	if (!ext4_has_csum(ext4_of(dir)))
		return 0;
	node->flags |= EXT4_INDEX_FL;
	int error = ext4_dir_edit(t, dir, 0, &edit);
	if (error)
		return error;
	const struct ext4_dx_root_info *info = (const void *)(edit.data + EXT4_DX_ROOT_INFO);
	struct ext4_dirent *dotdot = (void *)(edit.data + EXT4_DIRENT_MIN);
	if (info->indirect_levels || dotdot->rec_len != edit.block.bytes - EXT4_DIRENT_MIN) {
		ext4_dir_edit_end(&edit);
		return -EOPNOTSUPP;
	}
	edit.block.bytes -= sizeof(struct ext4_dirent_tail);
	edit.block.kind = EXT4_DIR_LEAF;
	dotdot->rec_len = (uint16_t)(edit.block.bytes - EXT4_DIRENT_MIN);
	struct ext4_dirent_tail *tail = (void *)(edit.data + edit.block.bytes);
	*tail = (struct ext4_dirent_tail){.det_rec_len = sizeof(*tail),
					  .det_reserved_ft = EXT4_FT_DIR_CSUM};
	ext4_dir_edit_end(&edit);
	node->flags &= ~(uint32_t)EXT4_INDEX_FL;
	return 0;
}

static int add_linear(struct transaction *t, struct inode *dir, const struct ext4_new_entry *new)
{
	uint32_t blocks = (uint32_t)(dir->size >> ext4_of(dir)->block_shift);
	struct ext4_dir_edit edit;
	for (uint32_t index = 0; index < blocks; index++) {
		int added = ext4_leaf_add(t, dir, index, new);
		if (added)
			return added < 0 ? added : 0;
	}
	int error = ext4_dir_edit_append(t, dir, EXT4_DIR_LEAF, &edit);
	if (error)
		return error;
	put_entry(&edit, 0, new);
	ext4_dir_edit_end(&edit);
	return 0;
}

// Before the second block comes is when a directory gets its index.
static int add_entry(struct transaction *t, struct inode *dir, const struct ext4_new_entry *new)
{
	struct ext4 *fs = ext4_of(dir);
	bool may_index = fs->compat & COMPAT_DIR_INDEX;
	int error = -EOPNOTSUPP;
	if (is_indexed(dir)) {
		if (may_index)
			error = ext4_htree_add(t, dir, new);
		if (error == -EOPNOTSUPP)
			error = drop_index(t, dir);
		else
			return error;
		if (error)
			return error;
		may_index = false;
	}
	if (!may_index || dir->size > fs->block_bytes)
		return add_linear(t, dir, new);
	error = ext4_leaf_add(t, dir, 0, new);
	if (error)
		return error < 0 ? error : 0;
	error = ext4_htree_make(t, dir);
	if (error == -EOPNOTSUPP)
		return add_linear(t, dir, new);
	return error ? error : ext4_htree_add(t, dir, new);
}

// What an entry says of the inode it names; 0 where entries do not say.
static int file_type_of(struct ext4 *fs, uint64_t number, enum inode_type type, uint8_t *out)
{
	static const uint8_t types[] = {[INODE_FILE] = EXT4_FT_REG,
					[INODE_DIRECTORY] = EXT4_FT_DIR,
					[INODE_SYMLINK] = EXT4_FT_LNK};
	*out = 0;
	if (!(fs->incompat & INCOMPAT_FILETYPE))
		return 0;
	if (type == INODE_OTHER)
		return ext4_inode_file_type(fs, (uint32_t)number, out);
	*out = types[type];
	return 0;
}

int ext4_add_name(struct transaction *t, struct inode *dir, const char *name, size_t len,
		  uint64_t number, enum inode_type type)
{
	struct ext4_new_entry new = {.name = name, .len = len, .number = (uint32_t)number};
	if (!len || len > EXT4_NAME_MAX)
		return len ? -ENAMETOOLONG : -EINVAL;
	int error = file_type_of(ext4_of(dir), number, type, &new.file_type);
	if (!error)
		error = add_entry(t, dir, &new);
	if (error)
		return error;
	set_mtime(dir);
	return ext4_write_inode(t, dir);
}

int ext4_remove_name(struct transaction *t, struct inode *dir, const char *name, size_t len)
{
	struct ext4_dir_place place;
	struct ext4_dir_edit edit;
	int error = ext4_dir_find(dir, name, len, &place);
	if (!error)
		error = ext4_dir_edit(t, dir, place.index, &edit);
	if (error)
		return error;
	if (edit.block.kind == EXT4_DIR_INDEX) {
		ext4_dir_edit_end(&edit);
		return ext4_corrupt(ext4_of(dir), dir->number, edit.block.disk,
				    "entry in the directory index");
	}
	struct ext4_dirent *entry = (void *)(edit.data + place.offset);
	uint16_t rec_len = entry->rec_len;
	memset(entry, 0,
	       ext4_entry_bytes(entry->name_len)); // the name is nobody's business any more
	entry->rec_len = rec_len;
	if (place.before != UINT32_MAX) {
		struct ext4_dirent *before = (void *)(edit.data + place.before);
		before->rec_len = (uint16_t)(before->rec_len + rec_len);
		entry->rec_len = 0;
	}
	ext4_dir_edit_end(&edit);
	set_mtime(dir);
	return ext4_write_inode(t, dir);
}

int ext4_change_name(struct transaction *t, struct inode *dir, const char *name, size_t len,
		     uint64_t number, enum inode_type type)
{
	struct ext4_dir_place place;
	struct ext4_dir_edit edit;
	uint8_t file_type;
	int error = file_type_of(ext4_of(dir), number, type, &file_type);
	if (!error)
		error = ext4_dir_find(dir, name, len, &place);
	if (!error)
		error = ext4_dir_edit(t, dir, place.index, &edit);
	if (error)
		return error;
	if (edit.block.kind == EXT4_DIR_INDEX && place.offset > EXT4_DIRENT_MIN) {
		ext4_dir_edit_end(&edit);
		return ext4_corrupt(ext4_of(dir), dir->number, edit.block.disk,
				    "entry in the directory index");
	}
	struct ext4_dirent *entry = (void *)(edit.data + place.offset);
	entry->inode = (uint32_t)number;
	entry->file_type = file_type;
	ext4_dir_edit_end(&edit);
	if (len != 2 || name[0] != '.' || name[1] != '.') // that one is no entry for POSIX
		set_mtime(dir);
	return ext4_write_inode(t, dir);
}

static bool stop_at_first(void *ctx, const struct dir_entry *entry)
{
	*(bool *)ctx = true;
	return false;
}

int ext4_dir_is_empty(struct inode *dir)
{
	uint64_t cursor = 0;
	bool found = false;
	int error = ext4_read_dir(dir, &cursor, stop_at_first, &found);
	return error ? error : !found;
}

// ---- credits: see ext4_htree_write.c for the most that adding one name may do ----

uint32_t ext4_credits_add_name(const struct ext4 *fs)
{
	const uint32_t fresh =
	    EXT4_HTREE_LEVELS + 1; // a split at each level, one more level or leaf
	return fresh * (1 + ext4_credits_allocate(fs)) + EXT4_HTREE_LEVELS + 1 +
	       ext4_credits_inode(fs);
}

uint32_t ext4_credits_remove_name(const struct ext4 *fs)
{
	return 1 + ext4_credits_inode(fs);
}
