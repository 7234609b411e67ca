// SPDX-License-Identifier: BSD-2-Clause
// Extent trees. A tree is walked from the root in the inode, one block a level, and every node is
// checked on the way: header, checksum, ascending entries, physical blocks inside the volume, the
// range of logical blocks that the parent promised. At most EXT4_EXTENT_MAX_DEPTH levels, whatever
// the volume says. Unwritten extents read as holes.
#include "fs/ext4.h"

#include "kernel/crc32.h"

#define ROOT_ENTRIES                                                                               \
	((EXT4_N_BLOCKS * sizeof(uint32_t) - sizeof(struct ext4_extent_header)) /                  \
	 sizeof(struct ext4_extent))

// A node of the tree in the hand: in the inode (disk 0) or in a block.
struct extent_node {
	const struct ext4_extent_header *header;
	uint64_t disk;
	uint64_t lower, upper; // the logical blocks it may speak of: [lower, upper)
};

static const struct ext4_extent *leaf_entries(const struct extent_node *at)
{
	return (const struct ext4_extent *)(at->header + 1);
}

static const struct ext4_extent_idx *index_entries(const struct extent_node *at)
{
	return (const struct ext4_extent_idx *)(at->header + 1);
}

static uint32_t extent_count(const struct ext4_extent *extent)
{
	uint32_t len = extent->ee_len;
	return len > EXT4_EXTENT_INIT_MAX ? len - EXT4_EXTENT_INIT_MAX : len;
}

static uint64_t extent_disk(const struct ext4_extent *extent)
{
	return (uint64_t)extent->ee_start_hi << 32 | extent->ee_start_lo;
}

static uint64_t index_disk(const struct ext4_extent_idx *index)
{
	return (uint64_t)index->ei_leaf_hi << 32 | index->ei_leaf_lo;
}

// What is wrong with the entries, or null.
static const char *leaf_complaint(const struct ext4 *fs, const struct extent_node *at)
{
	const struct ext4_extent *extent = leaf_entries(at);
	uint64_t next = at->lower;
	for (uint32_t i = 0; i < at->header->eh_entries; i++, extent++) {
		uint32_t count = extent_count(extent);
		if (!count)
			return "empty extent";
		if (extent->ee_block < next || extent->ee_block + (uint64_t)count > at->upper)
			return "extents out of order";
		if (!ext4_data_block_ok(fs, extent_disk(extent), count))
			return "extent outside the volume";
		next = extent->ee_block + (uint64_t)count;
	}
	return NULL;
}

static const char *index_complaint(const struct ext4 *fs, const struct extent_node *at)
{
	const struct ext4_extent_idx *index = index_entries(at);
	uint64_t next = at->lower;
	if (!at->header->eh_entries)
		return "empty index of extents";
	for (uint32_t i = 0; i < at->header->eh_entries; i++, index++) {
		if (index->ei_block < next || index->ei_block >= at->upper)
			return "index of extents out of order";
		if (!ext4_data_block_ok(fs, index_disk(index), 1))
			return "index of extents points outside the volume";
		next = index->ei_block + 1UL;
	}
	return NULL;
}

static const char *header_complaint(const struct extent_node *at, uint32_t room)
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

static const char *node_complaint(const struct ext4 *fs, const struct extent_node *at,
				  uint32_t room)
{
	const char *complaint = header_complaint(at, room);
	if (complaint)
		return complaint;
	return at->header->eh_depth ? index_complaint(fs, at) : leaf_complaint(fs, at);
}

int ext4_extent_check_root(struct ext4 *fs, const struct ext4_node *node)
{
	struct extent_node root = {.header = (const void *)node->block,
				   .upper = EXT4_LOGICAL_LIMIT};
	const char *complaint = node_complaint(fs, &root, ROOT_ENTRIES);
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
		       const struct ext4_block *block, const struct extent_node *at, uint32_t depth)
{
	const uint32_t room =
	    (fs->block_bytes - sizeof(struct ext4_extent_header)) / sizeof(struct ext4_extent);
	const char *complaint = header_complaint(at, room);
	if (!complaint && at->header->eh_depth != depth)
		complaint = "eh_depth of an extent block";
	if (!complaint && ext4_has_csum(fs))
		complaint = block_csum_complaint(fs, node, block);
	if (!complaint)
		complaint = node_complaint(fs, at, room);
	return complaint ? ext4_corrupt(fs, node->number, at->disk, "%s", complaint) : 0;
}

// The last entry that begins at or before `block`, or -1. Entries of both kinds begin with their
// logical block and are 12 bytes long.
static int find_entry(const struct extent_node *at, uint32_t block)
{
	const struct ext4_extent *entries = leaf_entries(at);
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
				 .count = extent_count(extent),
				 .disk = unwritten ? EXT4_HOLE : extent_disk(extent)};
}

static struct ext4_run hole(uint64_t first, uint64_t end)
{
	return (struct ext4_run){
	    .first = (uint32_t)first, .count = (uint32_t)(end - first), .disk = EXT4_HOLE};
}

// From a checked leaf: runs without gaps, beginning with the one that contains `block`.
static int leaf_runs(const struct extent_node *at, uint32_t block, struct ext4_run *runs, int max)
{
	const struct ext4_extent *entries = leaf_entries(at);
	int i = find_entry(at, block), n = 0;
	uint64_t next = at->lower;
	if (i >= 0) {
		next = entries[i].ee_block + (uint64_t)extent_count(&entries[i]);
		if (block < next)
			runs[n++] = run_of(&entries[i]);
	}
	for (i++; n < max && i < at->header->eh_entries; i++) {
		if (entries[i].ee_block > next)
			runs[n++] = hole(next, entries[i].ee_block);
		if (n < max)
			runs[n++] = run_of(&entries[i]);
		next = entries[i].ee_block + (uint64_t)extent_count(&entries[i]);
	}
	if (n < max && i == at->header->eh_entries && next < at->upper)
		runs[n++] = hole(next, at->upper);
	return n;
}

int ext4_extent_root_runs(const struct ext4_node *node, uint32_t block, struct ext4_run *runs)
{
	struct extent_node root = {.header = (const void *)node->block,
				   .upper = EXT4_LOGICAL_LIMIT};
	return root.header->eh_depth ? 0 : leaf_runs(&root, block, runs, EXT4_RUNS);
}

int ext4_extent_runs(struct ext4 *fs, const struct ext4_node *node, uint32_t block,
		     struct ext4_run *runs)
{
	struct extent_node at = {.header = (const void *)node->block, .upper = EXT4_LOGICAL_LIMIT};
	struct ext4_block held = {.fs = fs};
	uint32_t depth = at.header->eh_depth;
	int result = 0;
	while (depth) {
		const struct ext4_extent_idx *index = index_entries(&at);
		int i = find_entry(&at, block);
		if (i < 0) { // before the first entry: nothing there
			result = 1;
			runs[0] = hole(at.lower, index[0].ei_block);
			break;
		}
		at.lower = index[i].ei_block;
		if (i + 1 < at.header->eh_entries)
			at.upper = index[i + 1].ei_block;
		at.disk = index_disk(&index[i]);
		if (held.data)
			ext4_block_put(&held);
		result = ext4_block_get(fs, at.disk, &held);
		if (result)
			return result;
		at.header = held.data;
		result = check_block(fs, node, &held, &at, --depth);
		if (result)
			break;
	}
	if (!result)
		result = leaf_runs(&at, block, runs, EXT4_RUNS);
	if (held.data)
		ext4_block_put(&held);
	return result;
}
