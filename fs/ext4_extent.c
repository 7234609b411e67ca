// SPDX-License-Identifier: BSD-2-Clause
// Extent trees. A tree is walked from the root in the inode, one block a level, and every node is
// checked on the way: header, checksum, ascending entries, physical blocks inside the volume, the
// range of logical blocks that the parent promised. At most EXT4_EXTENT_MAX_DEPTH levels, whatever
// the volume says. Unwritten extents read as holes.
#include "fs/ext4_extent.h"

#include "kernel/crc32.h"

// What is wrong with the entries, or null.
static const char *leaf_complaint(const struct ext4 *fs, const struct ext4_extent_node *at)
{
	const struct ext4_extent *extent = ext4_leaf_entries(at);
	uint64_t next = at->lower;
	for (uint32_t i = 0; i < at->header->eh_entries; i++, extent++) {
		uint32_t count = ext4_extent_count(extent);
		if (!count)
			return "empty extent";
		if (extent->ee_block < next || extent->ee_block + (uint64_t)count > at->upper)
			return "extents out of order";
		if (!ext4_data_block_ok(fs, ext4_extent_disk(extent), count))
			return "extent outside the volume";
		next = extent->ee_block + (uint64_t)count;
	}
	return NULL;
}

static const char *index_complaint(const struct ext4 *fs, const struct ext4_extent_node *at)
{
	const struct ext4_extent_idx *index = ext4_index_entries(at);
	uint64_t next = at->lower;
	if (!at->header->eh_entries)
		return "empty index of extents";
	for (uint32_t i = 0; i < at->header->eh_entries; i++, index++) {
		if (index->ei_block < next || index->ei_block >= at->upper)
			return "index of extents out of order";
		if (!ext4_data_block_ok(fs, ext4_index_disk(index), 1))
			return "index of extents points outside the volume";
		next = index->ei_block + 1UL;
	}
	return NULL;
}

static const char *header_complaint(const struct ext4_extent_node *at, uint32_t room)
{
	const struct ext4_extent_header *header = at->header;
	if (header->eh_magic != EXT4_EXTENT_MAGIC)
		return "magic of the extent header";
	if (!header->eh_max || header->eh_max > room)
		return "eh_max of the extent header";
	if (header->eh_entries > header->eh_max)
		return "eh_entries of the extent header";
	if (header->eh_depth > EXT4_EXTENT_MAX_DEPTH)
		return "eh_depth of the extent header";
	return NULL;
}

static const char *node_complaint(const struct ext4 *fs, const struct ext4_extent_node *at,
				  uint32_t room)
{
	const char *complaint = header_complaint(at, room);
	if (complaint)
		return complaint;
	return at->header->eh_depth ? index_complaint(fs, at) : leaf_complaint(fs, at);
}

int ext4_extent_check_root(struct ext4 *fs, const struct ext4_node *node)
{
	struct ext4_extent_node root = ext4_extent_root(node);
	const char *complaint = node_complaint(fs, &root, EXT4_EXTENT_ROOT_ENTRIES);
	return complaint ? ext4_corrupt(fs, node->number, 0, "%s in the inode", complaint) : 0;
}

static const char *block_csum_complaint(const struct ext4 *fs, const struct ext4_node *node,
					const struct ext4_block *block)
{
	const struct ext4_extent_header *header = block->data;
	const uint8_t *bytes = block->data;
	size_t tail = sizeof(*header) + header->eh_max * sizeof(struct ext4_extent);
	if (tail + sizeof(uint32_t) > fs->block_bytes)
		return "eh_max leaves no room for a checksum";
	if (ext4_block_verified(block))
		return NULL;
	if (crc32c(node->csum_seed, bytes, tail) != *(const uint32_t *)(bytes + tail))
		return "checksum of an extent block";
	ext4_block_set_verified(block);
	return NULL;
}

static int check_block(struct ext4 *fs, const struct ext4_node *node,
		       const struct ext4_block *block, const struct ext4_extent_node *at,
		       uint32_t depth)
{
	const uint32_t room = ext4_extent_room(fs);
	const char *complaint = header_complaint(at, room);
	if (!complaint && at->header->eh_depth != depth)
		complaint = "eh_depth of an extent block";
	if (!complaint && ext4_has_csum(fs))
		complaint = block_csum_complaint(fs, node, block);
	if (!complaint)
		complaint = node_complaint(fs, at, room);
	return complaint ? ext4_corrupt(fs, node->number, at->disk, "%s", complaint) : 0;
}

int ext4_extent_entry(const struct ext4_extent_node *at, uint32_t block)
{
	const struct ext4_extent *entries = ext4_leaf_entries(at);
	int low = 0, high = at->header->eh_entries;
	while (low < high) {
		int middle = (low + high) / 2;
		if (entries[middle].ee_block <= block)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

static struct ext4_run run_of(const struct ext4_extent *extent)
{
	bool unwritten = extent->ee_len > EXT4_EXTENT_INIT_MAX;
	return (struct ext4_run){.first = extent->ee_block,
				 .count = ext4_extent_count(extent),
				 .disk = unwritten ? EXT4_UNWRITTEN : ext4_extent_disk(extent)};
}

static struct ext4_run hole(uint64_t first, uint64_t end)
{
	return (struct ext4_run){
	    .first = (uint32_t)first, .count = (uint32_t)(end - first), .disk = EXT4_HOLE};
}

// From a checked leaf: runs without gaps, beginning with the one that contains `block`.
static int leaf_runs(const struct ext4_extent_node *at, uint32_t block, struct ext4_run *runs,
		     int max)
{
	const struct ext4_extent *entries = ext4_leaf_entries(at);
	int i = ext4_extent_entry(at, block), n = 0;
	uint64_t next = at->lower;
	if (i >= 0) {
		next = entries[i].ee_block + (uint64_t)ext4_extent_count(&entries[i]);
		if (block < next)
			runs[n++] = run_of(&entries[i]);
	}
	for (i++; n < max && i < at->header->eh_entries; i++) {
		if (entries[i].ee_block > next)
			runs[n++] = hole(next, entries[i].ee_block);
		if (n < max)
			runs[n++] = run_of(&entries[i]);
		next = entries[i].ee_block + (uint64_t)ext4_extent_count(&entries[i]);
	}
	if (n < max && i == at->header->eh_entries && next < at->upper)
		runs[n++] = hole(next, at->upper);
	return n;
}

int ext4_extent_root_runs(const struct ext4_node *node, uint32_t block, struct ext4_run *runs)
{
	struct ext4_extent_node root = ext4_extent_root(node);
	return root.header->eh_depth ? 0 : leaf_runs(&root, block, runs, EXT4_RUNS);
}

struct ext4_extent_node ext4_extent_child(const struct ext4_extent_node *parent, int i)
{
	const struct ext4_extent_idx *index = ext4_index_entries(parent);
	struct ext4_extent_node child = {
	    .disk = ext4_index_disk(&index[i]), .lower = index[i].ei_block, .upper = parent->upper};
	if (i + 1 < parent->header->eh_entries)
		child.upper = index[i + 1].ei_block;
	return child;
}

int ext4_extent_load(struct ext4 *fs, const struct ext4_node *node, uint32_t depth,
		     struct ext4_extent_node *at, struct ext4_block *held)
{
	int error = ext4_block_get(fs, at->disk, held);
	if (error)
		return error;
	at->header = held->data;
	error = check_block(fs, node, held, at, depth);
	if (error)
		ext4_block_put(held);
	return error;
}

int ext4_extent_runs(struct ext4 *fs, const struct ext4_node *node, uint32_t block,
		     struct ext4_run *runs)
{
	struct ext4_extent_node at = ext4_extent_root(node);
	struct ext4_block held = {.fs = fs};
	for (uint32_t depth = at.header->eh_depth; depth; depth--) {
		int i = ext4_extent_entry(&at, block);
		if (i < 0) { // before the first entry: nothing there
			runs[0] = hole(at.lower, ext4_index_entries(&at)[0].ei_block);
			if (held.data)
				ext4_block_put(&held);
			return 1;
		}
		at = ext4_extent_child(&at, i);
		if (held.data) // while mounting only one can be held
			ext4_block_put(&held);
		int error = ext4_extent_load(fs, node, depth - 1, &at, &held);
		if (error)
			return error;
	}
	int n = leaf_runs(&at, block, runs, EXT4_RUNS);
	if (held.data)
		ext4_block_put(&held);
	return n;
}
