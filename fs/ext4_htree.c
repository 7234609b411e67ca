// SPDX-License-Identifier: BSD-2-Clause
// Look-up through a directory's index: a tree of at most three levels of (hash, block) pairs in
// ascending order, the root in block 0, whose leaves are ordinary directory blocks. A name's hash
// leads to one leaf; names of one hash that did not fit go on in the next leaf, whose hash in the
// index then has its lowest bit set. Thread and worker context.
#include "fs/ext4_htree.h"

#include "kernel/crc32.h"

// Finds the tail behind the room for entries; false: head says what cannot be.
bool ext4_dx_csum(const struct ext4 *fs, const struct ext4_node *node, const void *data, bool root,
		  uint32_t *tail_at, uint32_t *sum)
{
	const uint8_t *bytes = data;
	const uint32_t start = root ? EXT4_DX_ROOT_ENTRIES : EXT4_DX_NODE_ENTRIES;
	const struct ext4_dx_countlimit *head = (const void *)(bytes + start);
	const uint32_t zero = 0;
	*tail_at = start + head->limit * (uint32_t)sizeof(struct ext4_dx_entry);
	if (head->count > head->limit || *tail_at + sizeof(struct ext4_dx_tail) > fs->block_bytes)
		return false;
	const struct ext4_dx_tail *tail = (const void *)(bytes + *tail_at);
	*sum = crc32c(node->csum_seed, data, start + head->count * sizeof(struct ext4_dx_entry));
	*sum = crc32c(*sum, &tail->dt_reserved, sizeof(tail->dt_reserved));
	*sum = crc32c(*sum, &zero, sizeof(zero));
	return true;
}

bool ext4_dx_csum_ok(const struct ext4 *fs, const struct ext4_node *node, const void *data,
		     bool root)
{
	uint32_t tail_at, sum;
	if (!ext4_dx_csum(fs, node, data, root, &tail_at, &sum))
		return false;
	const struct ext4_dx_tail *tail = (const void *)((const uint8_t *)data + tail_at);
	return sum == tail->dt_checksum;
}

void ext4_htree_put(struct ext4_htree_path *path)
{
	while (path->levels)
		ext4_block_put(&path->level[--path->levels].block.block);
}

static int bad_index(struct inode *dir, const struct ext4_dir_block *block, const char *what)
{
	return ext4_corrupt(ext4_of(dir), dir->number, block->disk, "%s of the directory index",
			    what);
}

// Puts one more level on the path: an index block, sound and in order.
static int push_level(struct inode *dir, struct ext4_htree_path *path, uint32_t index)
{
	struct ext4 *fs = ext4_of(dir);
	struct ext4_htree_level *level = &path->level[path->levels];
	int error = ext4_dir_block_get(dir, index, &level->block);
	if (error)
		return error;
	path->levels++;
	if (level->block.kind != EXT4_DIR_INDEX)
		return bad_index(dir, &level->block, "inner block");
	const void *head_at = (const uint8_t *)level->block.block.data + ext4_htree_start(index);
	const struct ext4_dx_countlimit *head = head_at;
	if (head->limit != ext4_htree_limit(fs, index))
		return bad_index(dir, &level->block, "limit");
	if (!head->count || head->count > head->limit)
		return bad_index(dir, &level->block, "count");
	level->entries = head_at;
	level->index = index;
	level->count = head->count;
	level->limit = head->limit;
	level->at = 0;
	for (uint32_t i = 2; i < level->count; i++)
		if (level->entries[i].hash < level->entries[i - 1].hash)
			return bad_index(dir, &level->block, "order");
	return 0;
}

int ext4_htree_child(struct inode *dir, const struct ext4_htree_level *level, uint32_t *child)
{
	*child = level->entries[level->at].block & 0x0fffffff;
	if (!*child || *child >= dir->size >> ext4_of(dir)->block_shift)
		return bad_index(dir, &level->block, "child");
	return 0;
}

static uint32_t search(const struct ext4_htree_level *level, uint32_t hash)
{
	uint32_t low = 1, high = level->count;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (level->entries[middle].hash <= hash)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

static int push_child(struct inode *dir, struct ext4_htree_path *path)
{
	uint32_t child;
	int error = ext4_htree_child(dir, &path->level[path->levels - 1], &child);
	return error ? error : push_level(dir, path, child);
}

int ext4_htree_descend(struct inode *dir, const char *name, size_t len,
		       struct ext4_htree_path *path)
{
	struct ext4 *fs = ext4_of(dir);
	path->levels = 0;
	int error = push_level(dir, path, 0);
	if (error)
		return error;
	const struct ext4_dx_root_info *info =
	    (const void *)((const uint8_t *)path->level[0].block.block.data + EXT4_DX_ROOT_INFO);
	unsigned depth = info->indirect_levels;
	path->version = info->hash_version;
	if (path->version <= EXT4_HASH_TEA && fs->hash_unsigned)
		path->version += EXT4_HASH_UNSIGNED;
	if (path->version >= EXT4_HASH_VERSIONS || info->info_length != sizeof(*info) ||
	    (info->unused_flags & 1))
		return -EOPNOTSUPP;
	if (depth >= ext4_htree_levels(fs))
		return bad_index(dir, &path->level[0].block, "depth");
	path->hash = ext4_hash(path->version, fs->hash_seed, name, len);
	path->level[0].at = search(&path->level[0], path->hash);
	while (!error && depth--) {
		error = push_child(dir, path);
		if (!error) {
			struct ext4_htree_level *level = &path->level[path->levels - 1];
			level->at = search(level, path->hash);
		}
	}
	return error;
}

// Moves to the next leaf if names of this hash may go on there: 1, 0, or an error.
static int next_leaf(struct inode *dir, struct ext4_htree_path *path)
{
	unsigned depth = path->levels, up = depth;
	while (up && path->level[up - 1].at + 1 >= path->level[up - 1].count)
		up--;
	if (!up)
		return 0;
	struct ext4_htree_level *level = &path->level[up - 1];
	if (level->entries[level->at + 1].hash != (path->hash | 1))
		return 0;
	level->at++;
	while (path->levels > up)
		ext4_block_put(&path->level[--path->levels].block.block);
	while (path->levels < depth) {
		int error = push_child(dir, path);
		if (error)
			return error;
	}
	return 1;
}

static int search_leaf(struct inode *dir, struct ext4_htree_path *path, const char *name,
		       size_t len, struct ext4_dir_place *place)
{
	struct ext4_dir_block leaf;
	uint32_t child;
	int found = ext4_htree_child(dir, &path->level[path->levels - 1], &child);
	if (found)
		return found;
	found = ext4_dir_block_get(dir, child, &leaf);
	if (found)
		return found;
	// Without checksums an empty leaf looks like an inner node, and has nothing to find either.
	if (leaf.kind == EXT4_DIR_INDEX && ext4_has_csum(ext4_of(dir)))
		found = bad_index(dir, &leaf, "leaf");
	else
		found = ext4_dir_block_find(dir, &leaf, name, len, place);
	place->index = child;
	ext4_block_put(&leaf.block);
	return found;
}

int ext4_htree_lookup(struct inode *dir, const char *name, size_t len, struct ext4_dir_place *place)
{
	struct ext4_htree_path path;
	int found = ext4_htree_descend(dir, name, len, &path), more = 1;
	if (found) {
		ext4_htree_put(&path);
		return found;
	}
	// Each turn takes a later entry of the index than the one before, so there is an end to it.
	do {
		found = search_leaf(dir, &path, name, len, place);
		if (!found)
			more = next_leaf(dir, &path);
	} while (!found && more > 0);
	ext4_htree_put(&path);
	if (found > 0)
		return 0;
	return found < 0 ? found : more < 0 ? more : -ENOENT;
}
