// SPDX-License-Identifier: BSD-2-Clause
// Changing extent trees. Thread and worker context, inside a transaction, on a copy of the inode's node: what
// fails leaves the inode in memory as it was, and the blocks are the transaction's to put back.
//
// Where a leaf has no room, the lowest node above that has some gets one more child: the full node below it is
// split, and so on down to the leaf. When all of them are full the tree grows: the root moves into a block, and
// becomes an index with that one entry. A stream appends: its full node keeps all entries but the last one,
// so that the trees of large files are dense.
//
//	(leaf full) --> split the topmost full node below one with room --> walk again --> (leaf has room)
//	     ^------------------------------ grow, if there is none <----------+
#include "fs/ext4_alloc.h"
#include "fs/ext4_extent.h"

#include "kernel/crc32.h"
#include "kernel/kstring.h"
#include "kernel/page.h"
#include "kernel/panic.h"

static void set_disk(struct ext4_extent *extent, uint64_t disk)
{
	extent->ee_start_hi = (uint16_t)(disk >> 32);
	extent->ee_start_lo = (uint32_t)disk;
}

static struct ext4_extent index_entry(uint32_t block, uint64_t disk)
{
	struct ext4_extent_idx index = {
	    .ei_block = block, .ei_leaf_lo = (uint32_t)disk, .ei_leaf_hi = (uint16_t)(disk >> 32)};
	struct ext4_extent entry;
	memcpy(&entry, &index, sizeof(entry));
	return entry;
}

int ext4_extent_edit_begin(struct transaction *t, struct ext4_node *node,
			   const struct ext4_extent_level *level, struct ext4_extent_edit *edit)
{
	void *data = node->block;
	int error = 0;
	edit->page = NULL;
	if (level->at.disk)
		error = transaction_get(t, level->at.disk, &data, &edit->page);
	edit->header = data;
	edit->entry = (void *)(edit->header + 1);
	return error;
}

void ext4_extent_edit_end(const struct ext4 *fs, const struct ext4_node *node,
			  struct ext4_extent_edit *edit)
{
	if (!edit->page)
		return;
	if (ext4_has_csum(fs)) {
		uint8_t *bytes = (uint8_t *)edit->header;
		size_t tail =
		    sizeof(*edit->header) + edit->header->eh_max * sizeof(struct ext4_extent);
		*(uint32_t *)(bytes + tail) = crc32c(node->csum_seed, bytes, tail);
	}
	page_wire_put(edit->page);
}

static void insert_at(struct ext4_extent_edit *edit, uint32_t at, const struct ext4_extent *entry)
{
	ASSERT(edit->header->eh_entries < edit->header->eh_max);
	memmove(&edit->entry[at + 1], &edit->entry[at],
		(edit->header->eh_entries - at) * sizeof(*entry));
	edit->entry[at] = *entry;
	edit->header->eh_entries++;
}

void ext4_extent_remove_at(struct ext4_extent_edit *edit, uint32_t at)
{
	edit->header->eh_entries--;
	memmove(&edit->entry[at], &edit->entry[at + 1],
		(edit->header->eh_entries - at) * sizeof(*edit->entry));
}

int ext4_extent_fix_keys(struct transaction *t, struct ext4 *fs, struct ext4_node *node,
			 struct ext4_extent_path *path, uint32_t level, uint32_t block)
{
	for (uint32_t l = level; l-- > 0;) {
		struct ext4_extent_edit edit;
		int error = ext4_extent_edit_begin(t, node, &path->level[l], &edit);
		if (error)
			return error;
		edit.entry[path->level[l].i].ee_block = block;
		ext4_extent_edit_end(fs, node, &edit);
		if (path->level[l].i)
			break;
	}
	return 0;
}

// A fresh block for the tree, near `near`, holding a header of that depth and nothing else.
static int new_node(struct transaction *t, struct ext4 *fs, uint64_t near, uint16_t depth,
		    uint64_t *disk, struct ext4_extent_edit *edit)
{
	struct ext4_want want = {.goal = near, .count = 1, .roomy = true};
	uint32_t one;
	void *data;
	int error = ext4_take_blocks(t, fs, &want, disk, &one);
	if (error)
		return error;
	error = transaction_get_fresh(t, *disk, &data, &edit->page);
	if (error)
		return error;
	edit->header = data;
	edit->entry = (void *)(edit->header + 1);
	*edit->header = (struct ext4_extent_header){.eh_magic = EXT4_EXTENT_MAGIC,
						    .eh_max = (uint16_t)ext4_extent_room(fs),
						    .eh_depth = depth};
	return 0;
}

static void move_entries(struct ext4_extent_edit *from, uint32_t at, struct ext4_extent_edit *to)
{
	uint32_t count = from->header->eh_entries - at;
	memcpy(to->entry, &from->entry[at], count * sizeof(*to->entry));
	to->header->eh_entries = (uint16_t)count;
	from->header->eh_entries = (uint16_t)at;
}

// The root's entries into a block of their own, which is its only child from now on.
static int grow(struct transaction *t, struct ext4 *fs, struct ext4_node *node,
		struct ext4_extent_path *path)
{
	struct ext4_extent_edit root, child;
	uint64_t disk;
	if (path->depth == EXT4_EXTENT_MAX_DEPTH)
		return -EFBIG;
	int error = ext4_extent_edit_begin(t, node, &path->level[0], &root);
	uint64_t near = ext4_extent_disk(&root.entry[0]);
	if (!error)
		error = new_node(t, fs, near, root.header->eh_depth, &disk, &child);
	if (error)
		return error;
	uint32_t first = root.entry[0].ee_block;
	move_entries(&root, 0, &child);
	ext4_extent_edit_end(fs, node, &child);
	root.header->eh_depth++;
	struct ext4_extent entry = index_entry(first, disk);
	insert_at(&root, 0, &entry);
	return 0;
}

// Is this the last node of its level, and the entry its last one?
static bool appends(const struct ext4_extent_path *path, uint32_t level)
{
	for (uint32_t l = 0; l <= level; l++)
		if (path->level[l].i + 1 < path->level[l].at.header->eh_entries)
			return false;
	return true;
}

// The node at level l gives part of its entries to a new one beside it; its parent has room.
static int split(struct transaction *t, struct ext4 *fs, struct ext4_node *node,
		 struct ext4_extent_path *path, uint32_t l)
{
	struct ext4_extent_edit full, beside, parent;
	uint64_t disk;
	struct ext4_extent_level *level = &path->level[l];
	int error = new_node(t, fs, level->at.disk, level->at.header->eh_depth, &disk, &beside);
	if (error)
		return error;
	error = ext4_extent_edit_begin(t, node, level, &full);
	if (error) {
		page_wire_put(beside.page);
		return error;
	}
	uint32_t count = full.header->eh_entries;
	move_entries(&full, appends(path, l) ? count - 1 : count / 2, &beside);
	struct ext4_extent entry = index_entry(beside.entry[0].ee_block, disk);
	ext4_extent_edit_end(fs, node, &full);
	ext4_extent_edit_end(fs, node, &beside);
	error = ext4_extent_edit_begin(t, node, level - 1, &parent);
	if (error)
		return error;
	insert_at(&parent, (uint32_t)level[-1].i + 1, &entry);
	ext4_extent_edit_end(fs, node, &parent);
	return 0;
}

static bool has_room(const struct ext4_extent_level *level, uint32_t need)
{
	return level->at.header->eh_max - level->at.header->eh_entries >= (int)need;
}

// One step towards room in the leaf. The path is not valid afterwards.
static int make_room(struct transaction *t, struct ext4 *fs, struct ext4_node *node,
		     struct ext4_extent_path *path)
{
	uint32_t l = path->depth;
	while (l && !has_room(&path->level[l - 1], 1))
		l--;
	return l ? split(t, fs, node, path, l) : grow(t, fs, node, path);
}

static bool joins(const struct ext4_extent *left, const struct ext4_extent *right)
{
	uint32_t count = ext4_extent_count(left) + ext4_extent_count(right);
	return !ext4_extent_unwritten(left) && !ext4_extent_unwritten(right) &&
	       count <= EXT4_EXTENT_INIT_MAX &&
	       left->ee_block + ext4_extent_count(left) == right->ee_block &&
	       ext4_extent_disk(left) + ext4_extent_count(left) == ext4_extent_disk(right);
}

// Adds the entry behind entry i of the leaf, joined with its neighbours where it can be. False: no room.
static bool put_entry(struct ext4_extent_edit *leaf, int i, const struct ext4_extent *entry)
{
	struct ext4_extent *left = i >= 0 ? &leaf->entry[i] : NULL;
	struct ext4_extent *right = i + 1 < leaf->header->eh_entries ? &leaf->entry[i + 1] : NULL;
	if (left && joins(left, entry)) {
		left->ee_len = (uint16_t)(left->ee_len + entry->ee_len);
		if (right && joins(left, right)) {
			left->ee_len = (uint16_t)(left->ee_len + right->ee_len);
			ext4_extent_remove_at(leaf, (uint32_t)i + 1);
		}
		return true;
	}
	if (right && joins(entry, right)) {
		right->ee_block = entry->ee_block;
		right->ee_len = (uint16_t)(right->ee_len + entry->ee_len);
		set_disk(right, ext4_extent_disk(entry));
		return true;
	}
	if (leaf->header->eh_entries == leaf->header->eh_max)
		return false;
	insert_at(leaf, (uint32_t)(i + 1), entry);
	return true;
}

static struct ext4_extent leaf_entry(uint32_t block, uint32_t count, uint64_t disk, bool unwritten)
{
	struct ext4_extent entry = {.ee_block = block, .ee_len = (uint16_t)count};
	if (unwritten)
		entry.ee_len = (uint16_t)(count + EXT4_EXTENT_INIT_MAX);
	set_disk(&entry, disk);
	return entry;
}

// Pieces before, in and behind the run, of the extent of the other kind at leaf entry i. The leaf has room.
static void replace(struct ext4_extent_edit *leaf, uint32_t i, const struct ext4_new_run *run)
{
	struct ext4_extent old = leaf->entry[i];
	bool kind = ext4_extent_unwritten(&old);
	uint32_t before = run->first - old.ee_block;
	uint32_t behind = ext4_extent_count(&old) - before - run->count;
	uint64_t disk = ext4_extent_disk(&old);
	struct ext4_extent piece = leaf_entry(old.ee_block, before, disk, kind);
	ext4_extent_remove_at(leaf, i);
	if (before)
		insert_at(leaf, i++, &piece);
	piece = leaf_entry(run->first + run->count, behind, disk + before + run->count, kind);
	if (behind)
		insert_at(leaf, i, &piece);
	ASSERT(run->unwritten != kind);
	piece = leaf_entry(run->first, run->count, disk + before, !kind);
	bool there = put_entry(leaf, (int)i - 1, &piece);
	ASSERT(there);
}

// 1: done, 0: the leaf has no room, or an error.
static int try_change(struct transaction *t, struct ext4 *fs, struct ext4_node *node,
		      struct ext4_extent_path *path, const struct ext4_new_run *run, bool convert)
{
	struct ext4_extent_level *level = ext4_path_leaf(path);
	struct ext4_extent entry = leaf_entry(run->first, run->count, run->disk, run->unwritten);
	struct ext4_extent_edit leaf;
	bool done = true;
	if (convert && !has_room(level, 2))
		return 0;
	int error = ext4_extent_edit_begin(t, node, level, &leaf);
	if (error)
		return error;
	uint32_t key = leaf.header->eh_entries ? leaf.entry[0].ee_block : 0;
	if (convert)
		replace(&leaf, (uint32_t)level->i, run);
	else
		done = put_entry(&leaf, level->i, &entry);
	uint32_t new_key = leaf.entry[0].ee_block;
	ext4_extent_edit_end(fs, node, &leaf);
	if (!done)
		return 0;
	if (path->depth && key != new_key)
		error = ext4_extent_fix_keys(t, fs, node, path, path->depth, new_key);
	return error ? error : 1;
}

// 1: done, 0: the leaf has no room, or an error. What the leaf's entry i has of the run goes from the tree.
static int try_remove(struct transaction *t, struct ext4 *fs, struct ext4_node *node,
		      struct ext4_extent_path *path, const struct ext4_new_run *run)
{
	struct ext4_extent_level *level = ext4_path_leaf(path);
	const struct ext4_extent old = ext4_leaf_entries(&level->at)[level->i];
	bool unwritten = ext4_extent_unwritten(&old);
	uint32_t before = run->first - old.ee_block, i = (uint32_t)level->i;
	uint32_t behind = ext4_extent_count(&old) - before - run->count;
	struct ext4_extent_edit leaf;
	if (before && behind && !has_room(level, 1))
		return 0;
	int error = ext4_extent_edit_begin(t, node, level, &leaf);
	if (error)
		return error;
	struct ext4_extent piece =
	    leaf_entry(old.ee_block, before, ext4_extent_disk(&old), unwritten);
	ext4_extent_remove_at(&leaf, i);
	if (before)
		insert_at(&leaf, i++, &piece);
	piece = leaf_entry(run->first + run->count, behind,
			   ext4_extent_disk(&old) + before + run->count, unwritten);
	if (behind)
		insert_at(&leaf, i, &piece);
	uint32_t key = leaf.header->eh_entries ? leaf.entry[0].ee_block : old.ee_block;
	bool moved = !level->i && key != old.ee_block;
	ext4_extent_edit_end(fs, node, &leaf);
	if (path->depth && moved)
		error = ext4_extent_fix_keys(t, fs, node, path, path->depth, key);
	return error ? error : 1;
}

int ext4_extent_remove(struct transaction *t, struct ext4 *fs, struct ext4_node *node,
		       struct ext4_extent_path *path, const struct ext4_new_run *run)
{
	int done = try_remove(t, fs, node, path, run);
	return done ? done : make_room(t, fs, node, path);
}

static int change(struct transaction *t, struct inode *inode, struct ext4_node *node,
		  const struct ext4_new_run *run, bool convert, uint32_t *meta)
{
	struct ext4 *fs = ext4_of(inode);
	int done = 0;
	for (*meta = 0; !done; ++*meta) {
		struct ext4_extent_path path;
		int error = ext4_path_get(fs, node, run->first, &path);
		if (error)
			return error;
		done = try_change(t, fs, node, &path, run, convert);
		if (!done)
			error = make_room(t, fs, node, &path);
		ext4_path_put(&path);
		if (error || done < 0)
			return error ? error : done;
		if (done)
			break;
	}
	return 0;
}

int ext4_extent_insert(struct transaction *t, struct inode *inode, struct ext4_node *node,
		       const struct ext4_new_run *run, uint32_t *meta)
{
	return change(t, inode, node, run, false, meta);
}

int ext4_extent_convert(struct transaction *t, struct inode *inode, struct ext4_node *node,
			const struct ext4_new_run *run, uint32_t *meta)
{
	return change(t, inode, node, run, true, meta);
}
