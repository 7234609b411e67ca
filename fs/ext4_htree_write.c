// SPDX-License-Identifier: BSD-2-Clause
// A directory's index, changed. An entry goes into the leaf that its hash leads to. A leaf without room is
// packed, if that is enough, or else sorted by hash and split in half, which takes one more index entry;
// an index block without room for it is split as well, and where even the root has none, what is in
// the root moves to a block of its own and the tree is one level deeper. Each of these steps leaves a
// sound index; the look for the place begins anew after each, so that none has to know of the others.
//
//	full leaf ----------> split -------> (again)          in index blocks from the root down:
//	    | parent is full                                  entries[0] covers hashes from 0, entries[i]
//	    +-> full node --> split -------> (again)          those from its own; the lowest bit of a hash
//	    | root is full                                    says that names of the hash before it may lie
//	    +-> a level more --------------> (again)          on both sides (ext4_htree.c)
//
// Thread or worker context, inside a transaction: the caller holds the volume alone.
#include "fs/ext4_htree.h"

#include "kernel/kstring.h"
#include "kernel/pool.h"

// A leaf being taken apart. One for each volume at work; it lives as long as one split.
#define LEAF_ENTRIES (4096 / EXT4_DIRENT_MIN)
struct leaf {
	uint8_t copy[4096]; // blocks are no larger than pages
	struct leaf_entry {
		uint32_t hash;
		uint16_t offset, bytes; // in the copy; without the space behind the name
	} entries[LEAF_ENTRIES];
	uint32_t count, bytes;
};
_Static_assert(PAGE_SIZE == 4096, "a leaf fits struct leaf");
static struct pool leaf_pool = POOL_INIT_RAW("ext4-leaf", struct leaf, 64);

// ---- leaves ----

static int collect(const struct ext4_dir_edit *edit, unsigned version, struct leaf *leaf)
{
	const struct ext4 *fs = ext4_of(edit->dir);
	const struct ext4_dirent *entry;
	leaf->count = leaf->bytes = 0;
	memcpy(leaf->copy, edit->data, fs->block_bytes);
	for (uint32_t offset = 0; offset < edit->block.bytes; offset += entry->rec_len) {
		int error = ext4_dir_entry(edit->dir, &edit->block, offset, &entry);
		if (error)
			return error;
		if (!entry->inode)
			continue;
		uint32_t bytes = ext4_entry_bytes(entry->name_len);
		leaf->entries[leaf->count++] = (struct leaf_entry){
		    .hash = ext4_hash(version, fs->hash_seed, entry->name, entry->name_len),
		    .offset = (uint16_t)offset,
		    .bytes = (uint16_t)bytes,
		};
		leaf->bytes += bytes;
	}
	return 0;
}

// By hash; those of one hash stay in their order. A few hundred at most.
static void sort(struct leaf *leaf)
{
	for (uint32_t i = 1; i < leaf->count; i++) {
		struct leaf_entry moving = leaf->entries[i];
		uint32_t at = i;
		for (; at && leaf->entries[at - 1].hash > moving.hash; at--)
			leaf->entries[at] = leaf->entries[at - 1];
		leaf->entries[at] = moving;
	}
}

// Entries [first, end) are all there is in the block, without gaps; the last one owns the rest.
static void fill(struct ext4_dir_edit *edit, const struct leaf *leaf, uint32_t first, uint32_t end)
{
	struct ext4_dirent *last = (void *)edit->data;
	uint32_t offset = 0;
	memset(edit->data, 0, edit->block.bytes);
	for (uint32_t i = first; i < end; i++) {
		last = (void *)(edit->data + offset);
		memcpy(last, leaf->copy + leaf->entries[i].offset, leaf->entries[i].bytes);
		last->rec_len = leaf->entries[i].bytes;
		offset += last->rec_len;
	}
	last->rec_len = (uint16_t)(edit->block.bytes - ((uint8_t *)last - edit->data));
}

// Where the upper half begins: at least one entry stays on each side.
static uint32_t middle(const struct leaf *leaf)
{
	uint32_t at = leaf->count, bytes = 0;
	while (at > 1 && bytes + leaf->entries[at - 1].bytes / 2 <= leaf->bytes / 2)
		bytes += leaf->entries[--at].bytes;
	return MIN(MAX(at, 1U), leaf->count - 1);
}

// ---- index blocks ----

static struct ext4_dx_entry *entries_of(struct ext4_dir_edit *edit)
{
	return (void *)(edit->data + ext4_htree_start(edit->index));
}

static struct ext4_dx_countlimit *head_of(struct ext4_dir_edit *edit)
{
	return (void *)entries_of(edit);
}

// A pointer to `block`, which covers hashes from `hash`, behind the entry `at`. There is room.
static int insert(struct transaction *t, struct inode *dir, uint32_t index, uint32_t at,
		  uint32_t hash, uint32_t block)
{
	struct ext4_dir_edit edit;
	int error = ext4_dir_edit(t, dir, index, &edit);
	if (error)
		return error;
	struct ext4_dx_entry *entries = entries_of(&edit);
	struct ext4_dx_countlimit *head = head_of(&edit);
	memmove(&entries[at + 2], &entries[at + 1], (head->count - at - 1U) * sizeof(*entries));
	entries[at + 1] = (struct ext4_dx_entry){.hash = hash, .block = block};
	head->count++;
	ext4_dir_edit_end(&edit);
	return 0;
}

// A block at the directory's end, made an inner node with the entries given; entries[0]'s hash is not used.
static int append_node(struct transaction *t, struct inode *dir,
		       const struct ext4_dx_entry *entries, uint32_t count, uint32_t *index)
{
	struct ext4_dir_edit edit;
	int error = ext4_dir_edit_append(t, dir, EXT4_DIR_INDEX, &edit);
	if (error)
		return error;
	struct ext4_dx_countlimit *head = head_of(&edit);
	memcpy(entries_of(&edit), entries, count * sizeof(*entries));
	head->limit = (uint16_t)ext4_htree_limit(ext4_of(dir), edit.index);
	head->count = (uint16_t)count;
	head->block = entries[0].block;
	*index = edit.index;
	ext4_dir_edit_end(&edit);
	return 0;
}

// Node `index`, to which entry `at` of block `parent` leads, gives the upper half of its entries to a new one.
static int split_node(struct transaction *t, struct inode *dir, uint32_t index, uint32_t parent,
		      uint32_t at)
{
	struct ext4_dir_edit edit;
	uint32_t fresh = 0;
	int error = ext4_dir_edit(t, dir, index, &edit);
	if (error)
		return error;
	const struct ext4_dx_entry *entries = entries_of(&edit);
	uint32_t count = head_of(&edit)->count, keep = count / 2, hash = entries[keep].hash;
	error = append_node(t, dir, entries + keep, count - keep, &fresh);
	if (!error)
		head_of(&edit)->count = (uint16_t)keep;
	ext4_dir_edit_end(&edit);
	return error ? error : insert(t, dir, parent, at, hash, fresh);
}

// What the root holds moves into a node of its own.
static int deepen(struct transaction *t, struct inode *dir)
{
	struct ext4_dir_edit root;
	uint32_t fresh = 0;
	int error = ext4_dir_edit(t, dir, 0, &root);
	if (error)
		return error;
	struct ext4_dx_root_info *info = (void *)(root.data + EXT4_DX_ROOT_INFO);
	struct ext4_dx_countlimit *head = head_of(&root);
	error = append_node(t, dir, entries_of(&root), head->count, &fresh);
	if (!error) {
		head->count = 1;
		head->block = fresh;
		info->indirect_levels++;
	}
	ext4_dir_edit_end(&root);
	return error;
}

// ---- one step of making room ----

struct spot { // of a path that is not held any more
	uint32_t index[EXT4_HTREE_LEVELS], at[EXT4_HTREE_LEVELS];
	unsigned levels, version;
	unsigned roomy; // the lowest level with room for an entry; as `levels`: none has
	uint32_t leaf;
};

static int find_spot(struct inode *dir, const struct ext4_new_entry *entry, struct spot *spot)
{
	struct ext4_htree_path path;
	int error = ext4_htree_descend(dir, entry->name, entry->len, &path);
	if (!error)
		error = ext4_htree_child(dir, &path.level[path.levels - 1], &spot->leaf);
	spot->levels = spot->roomy = path.levels;
	spot->version = path.version;
	for (unsigned i = 0; !error && i < path.levels; i++) {
		spot->index[i] = path.level[i].index;
		spot->at[i] = path.level[i].at;
		if (path.level[i].count < path.level[i].limit)
			spot->roomy = i;
	}
	ext4_htree_put(&path);
	return error;
}

static int split_leaf(struct transaction *t, struct inode *dir, const struct spot *spot,
		      struct ext4_dir_edit *edit, struct leaf *leaf)
{
	struct ext4_dir_edit upper;
	if (leaf->count < 2) // two entries that do not fit one block: it is not as long as it says
		return ext4_corrupt(ext4_of(dir), dir->number, edit->block.disk,
				    "leaf of the directory index");
	sort(leaf);
	int error = ext4_dir_edit_append(t, dir, EXT4_DIR_LEAF, &upper);
	if (error)
		return error;
	uint32_t from = middle(leaf), hash = leaf->entries[from].hash, index = upper.index;
	hash |= hash == leaf->entries[from - 1].hash;
	fill(&upper, leaf, from, leaf->count);
	ext4_dir_edit_end(&upper);
	fill(edit, leaf, 0, from);
	return insert(t, dir, spot->index[spot->levels - 1], spot->at[spot->levels - 1], hash,
		      index);
}

// The leaf has no room in one piece: packed, or split when its parent has room for that.
static int relieve_leaf(struct transaction *t, struct inode *dir, const struct spot *spot,
			uint32_t need)
{
	struct ext4_dir_edit edit;
	struct leaf *leaf = pool_alloc(&leaf_pool);
	if (!leaf)
		return -ENOMEM;
	int error = ext4_dir_edit(t, dir, spot->leaf, &edit);
	if (!error) {
		edit.block.kind = EXT4_DIR_LEAF;
		error = collect(&edit, spot->version, leaf);
		if (!error && leaf->bytes + need <= edit.block.bytes)
			fill(&edit, leaf, 0, leaf->count);
		else if (!error && spot->roomy == spot->levels - 1)
			error = split_leaf(t, dir, spot, &edit, leaf);
		else if (!error)
			error = -EAGAIN;
		ext4_dir_edit_end(&edit);
	}
	pool_free(&leaf_pool, leaf);
	return error;
}

static int make_room(struct transaction *t, struct inode *dir, const struct spot *spot,
		     uint32_t need)
{
	int error = relieve_leaf(t, dir, spot, need);
	if (error != -EAGAIN)
		return error;
	unsigned level = spot->roomy;
	if (level < spot->levels)
		return split_node(t, dir, spot->index[level + 1], spot->index[level],
				  spot->at[level]);
	return spot->levels < ext4_htree_levels(ext4_of(dir)) ? deepen(t, dir) : -ENOSPC;
}

int ext4_htree_add(struct transaction *t, struct inode *dir, const struct ext4_new_entry *entry)
{
	struct spot spot;
	// At most: a level more, a split at each, and the leaf's.
	for (unsigned step = 0; step < EXT4_HTREE_LEVELS + 3; step++) {
		int error = find_spot(dir, entry, &spot);
		if (error)
			return error;
		int added = ext4_leaf_add(t, dir, spot.leaf, entry);
		if (added)
			return added < 0 ? added : 0;
		error = make_room(t, dir, &spot, ext4_entry_bytes(entry->len));
		if (error)
			return error;
	}
	return ext4_corrupt(ext4_of(dir), dir->number, 0, "directory index without an end");
}

// ---- making it ----

// "." and ".." stay in block 0; what follows them moves to a block of its own, the only leaf.
static int move_entries(struct transaction *t, struct inode *dir, struct ext4_dir_edit *root,
			uint32_t from)
{
	struct ext4 *fs = ext4_of(dir);
	struct ext4_dir_edit edit;
	const struct ext4_dirent *entry;
	struct leaf *leaf = pool_alloc(&leaf_pool);
	if (!leaf)
		return -ENOMEM;
	leaf->count = 0;
	memcpy(leaf->copy, root->data, fs->block_bytes);
	int error = 0;
	for (uint32_t at = from; !error && at < root->block.bytes; at += entry->rec_len) {
		error = ext4_dir_entry(dir, &root->block, at, &entry);
		if (!error && entry->inode)
			leaf->entries[leaf->count++] = (struct leaf_entry){
			    .offset = (uint16_t)at,
			    .bytes = (uint16_t)ext4_entry_bytes(entry->name_len)};
	}
	if (!error)
		error = ext4_dir_edit_append(t, dir, EXT4_DIR_LEAF, &edit);
	if (!error) {
		fill(&edit, leaf, 0, leaf->count);
		ext4_dir_edit_end(&edit);
	}
	pool_free(&leaf_pool, leaf);
	return error;
}

static void make_root(struct ext4_dir_edit *root)
{
	struct ext4 *fs = ext4_of(root->dir);
	struct ext4_dirent *dotdot = (void *)(root->data + EXT4_DIRENT_MIN);
	struct ext4_dx_root_info *info = (void *)(root->data + EXT4_DX_ROOT_INFO);
	memset(info, 0, fs->block_bytes - EXT4_DX_ROOT_INFO);
	dotdot->rec_len = (uint16_t)(fs->block_bytes - EXT4_DIRENT_MIN);
	info->hash_version = fs->hash_version;
	info->info_length = sizeof(*info);
	*head_of(root) = (struct ext4_dx_countlimit){
	    .limit = (uint16_t)ext4_htree_limit(fs, 0), .count = 1, .block = 1};
	root->block.kind = EXT4_DIR_INDEX;
}

int ext4_htree_make(struct transaction *t, struct inode *dir)
{
	struct ext4_node *node = inode_format_data(dir);
	const struct ext4_dirent *dot, *dotdot = NULL;
	struct ext4_dir_edit root;
	int error = ext4_dir_edit(t, dir, 0, &root);
	if (error)
		return error;
	error = ext4_dir_entry(dir, &root.block, 0, &dot);
	if (!error && dot->rec_len == EXT4_DIRENT_MIN)
		error = ext4_dir_entry(dir, &root.block, EXT4_DIRENT_MIN, &dotdot);
	if (!error && (!dotdot || dot->name_len != 1 || dot->name[0] != '.' ||
		       dotdot->name_len != 2 || memcmp(dotdot->name, "..", 2)))
		error = -EOPNOTSUPP;
	if (!error)
		error = move_entries(t, dir, &root, EXT4_DIRENT_MIN + dotdot->rec_len);
	if (!error) {
		make_root(&root);
		node->flags |= EXT4_INDEX_FL;
	}
	ext4_dir_edit_end(&root);
	return error;
}
