// SPDX-License-Identifier: BSD-2-Clause
// Inodes: which number a new file or directory gets, and giving it back. Worker context, inside a transaction.
//
// Where: a file goes to its directory's group, or the next one with room. Directories follow Orlov's idea: one
// in the root begins a tree of its own and goes where there is most room for it, so that trees spread over
// the disk; one further down stays near its parent, unless that part is fuller than most. What is weighed is
// not a group but all whose metadata lies together (flex_bg): a unit.
//
// Inode tables may never have been written (lazily made volumes): numbers are given out in ascending order, so
// that what lies behind the last one ever used is never looked at, and is written before it is used.
#include "fs/ext4_alloc.h"

#include "fs/volume_private.h"
#include "kernel/cpu.h"
#include "kernel/crc32.h"
#include "kernel/kstring.h"
#include "kernel/page.h"
#include "kernel/panic.h"
#include "kernel/timer.h"

struct unit {
	uint64_t first; // group
	uint64_t inodes, blocks, directories;
};
struct choice {
	const struct ext4 *fs;
	struct unit unit; // being added up
	uint64_t min_inodes, min_blocks, max_directories;
	bool fewest; // of all good ones that with the fewest directories; else the first good one
	bool found;
	struct unit best;
	uint64_t directories; // all of them
	uint64_t any;	      // first group with a free inode; fs->groups: none
};

static bool unit_done(struct choice *c)
{
	const struct unit *u = &c->unit;
	bool good = u->inodes >= c->min_inodes && u->blocks >= c->min_blocks &&
		    u->directories <= c->max_directories;
	if (good && (!c->found || u->directories < c->best.directories)) {
		c->best = *u;
		c->found = true;
	}
	return c->fewest || !c->found;
}

static bool weigh(const struct ext4_group *group, void *ctx)
{
	struct choice *c = ctx;
	uint64_t in_unit = group->number % c->fs->flex_groups;
	if (!in_unit)
		c->unit = (struct unit){.first = group->number};
	c->unit.inodes += group->free_inodes;
	c->unit.blocks += group->free_blocks;
	c->unit.directories += group->directories;
	c->directories += group->directories;
	bool last = in_unit + 1 == c->fs->flex_groups || group->number + 1 == c->fs->groups;
	return last ? unit_done(c) : true;
}

// From the unit of group `from` on and round.
static int weigh_from(struct ext4 *fs, uint64_t from, struct choice *c)
{
	from = ALIGN_DOWN(from, fs->flex_groups);
	int error = ext4_group_walk(fs, from, fs->groups - from, weigh, c);
	if (!error && from && (c->fewest || !c->found))
		error = ext4_group_walk(fs, 0, from, weigh, c);
	return error;
}

static int directory_unit(struct ext4 *fs, const struct inode *dir, bool top, uint64_t *group)
{
	uint64_t units = (fs->groups + fs->flex_groups - 1) / fs->flex_groups;
	uint64_t inodes = (uint64_t)fs->inodes_per_group * fs->flex_groups;
	uint64_t blocks = (uint64_t)fs->blocks_per_group * fs->flex_groups;
	uint64_t average_inodes = fs->free_inodes / units, average_blocks = fs->free_blocks / units;
	uint64_t from = (dir->number - 1) / fs->inodes_per_group;
	struct choice c = {.fs = fs, .max_directories = UINT64_MAX, .fewest = top};
	*group = from;
	if (top) {
		from = cpu_random() % fs->groups;
		c.min_inodes = MAX(average_inodes - average_inodes / 4, 1U);
		c.min_blocks = average_blocks - average_blocks / 4;
	} else {
		struct choice count = {.fs = fs, .min_inodes = UINT64_MAX};
		int error = weigh_from(fs, 0, &count);
		if (error)
			return error;
		c.min_inodes = average_inodes > inodes / 4 ? average_inodes - inodes / 4 : 1;
		c.min_blocks = average_blocks > blocks / 4 ? average_blocks - blocks / 4 : 1;
		c.max_directories = count.directories / units + inodes / 16;
	}
	int error = weigh_from(fs, from, &c);
	if (c.found && (top || c.best.first != ALIGN_DOWN(*group, fs->flex_groups)))
		*group = c.best.first;
	return error;
}

static bool has_inode(const struct ext4_group *group, void *ctx)
{
	struct choice *c = ctx;
	if (!group->free_inodes || group->free_blocks < c->min_blocks)
		return true;
	c->any = group->number;
	return false;
}

// The first group from `from` on and round that has a free inode, and better some blocks too. -ENOSPC.
static int group_with_inode(struct ext4 *fs, uint64_t from, uint64_t *group)
{
	struct choice c = {.fs = fs, .any = fs->groups, .min_blocks = 1};
	for (int round = 0; round < 2; round++, c.min_blocks = 0) {
		int error = ext4_group_walk(fs, from, fs->groups - from, has_inode, &c);
		if (!error && c.any == fs->groups)
			error = ext4_group_walk(fs, 0, from, has_inode, &c);
		*group = c.any;
		if (error || c.any != fs->groups)
			return error;
	}
	return -ENOSPC;
}

// Whether the group's descriptor and bitmap can be read and believed.
static int check_group(struct ext4 *fs, uint64_t number)
{
	struct ext4_group group;
	struct ext4_block bitmap;
	int error = ext4_group_read(fs, number, &group);
	if (!error)
		error = ext4_bitmap_read(fs, &group, EXT4_INODE_BITMAP, &bitmap);
	if (!error)
		ext4_bitmap_done(fs, &bitmap);
	return error;
}

// The same, past groups that are damaged or cannot be read: when all that are left are, why the first was not taken.
static int sound_group_with_inode(struct ext4 *fs, uint64_t from, uint64_t *group)
{
	int damaged = 0;
	for (uint64_t tried = 0; tried < fs->groups; tried++) {
		uint64_t first = (from + tried) % fs->groups;
		int error = group_with_inode(fs, first, group);
		if (error)
			return damaged ? damaged : error;
		error = check_group(fs, *group);
		if (error != -EUCLEAN && error != -EIO)
			return error;
		damaged = damaged ? damaged : error;
		tried += (*group + fs->groups - first) % fs->groups;
	}
	return damaged;
}

// Takes the group's first free number. *fresh: no inode of its block was ever used.
static int take(struct transaction *t, struct ext4 *fs, uint64_t number, bool directory,
		uint32_t *inode, bool *fresh)
{
	struct ext4_group group;
	struct page *page;
	uint8_t *bits;
	int error = ext4_group_get(t, fs, number, &group);
	if (error)
		return error;
	bool none = ext4_group_flag(fs, &group, EXT4_BG_INODE_UNINIT);
	uint32_t used = none ? 0 : fs->inodes_per_group;
	if (!none && ext4_group_sums(fs))
		used -= group.unused_inodes;
	error = ext4_bitmap_get(t, fs, &group, EXT4_INODE_BITMAP, &bits, &page);
	if (error) {
		ext4_group_put(fs, &group);
		return error;
	}
	uint32_t index = ext4_bits_clear_at(bits, 0, fs->inodes_per_group);
	uint32_t in_block = fs->block_bytes / fs->inode_bytes;
	*inode = (uint32_t)(number * fs->inodes_per_group) + index + 1;
	*fresh = ALIGN_DOWN(index, in_block) >= used;
	if (index < fs->inodes_per_group && group.free_inodes && *inode >= fs->first_inode) {
		ext4_bits_fill(bits, index, 1, true);
		group.free_inodes--;
		group.directories += directory;
		if (ext4_group_sums(fs))
			group.unused_inodes = fs->inodes_per_group - MAX(used, index + 1);
	} else {
		error = ext4_corrupt(fs, *inode, group.inode_bitmap, "free inodes of group %lu",
				     (unsigned long)number);
	}
	ext4_bitmap_put(fs, &group, EXT4_INODE_BITMAP, bits, page);
	ext4_group_put(fs, &group);
	return error ? error : ext4_count_free(t, fs, 0, -1);
}

static uint16_t type_bits(enum inode_type type)
{
	return type == INODE_DIRECTORY ? EXT4_S_IFDIR
				       : (type == INODE_SYMLINK ? EXT4_S_IFLNK : EXT4_S_IFREG);
}

static void empty_map(const struct ext4 *fs, struct ext4_node *node)
{
	if (!(fs->incompat & INCOMPAT_EXTENTS))
		return;
	struct ext4_extent_header root = {.eh_magic = EXT4_EXTENT_MAGIC,
					  .eh_max = (sizeof(node->block) - sizeof(root)) /
						    sizeof(struct ext4_extent)};
	memcpy(node->block, &root, sizeof(root));
	node->flags |= EXT4_EXTENTS_FL;
}

// Its place in the table, zeroed but for what follows from `inode` and `node`. It belongs to whom its directory
// belongs to.
static int write_new(struct transaction *t, struct ext4 *fs, const struct inode *dir, bool fresh,
		     const struct inode *inode, struct ext4_node *node)
{
	const struct ext4_raw_inode *parent;
	struct ext4_inode_block block;
	struct ext4_block held;
	uint64_t disk;
	uint32_t offset, number = (uint32_t)inode->number;
	uint16_t owner[4];
	int error = ext4_inode_place(fs, (uint32_t)dir->number, &disk, &offset);
	if (!error)
		error = ext4_block_get(fs, disk, &held);
	if (error)
		return error;
	parent = (const void *)((const uint8_t *)held.data + offset);
	owner[0] = parent->i_uid;
	owner[1] = parent->i_uid_high;
	owner[2] = parent->i_gid;
	owner[3] = parent->i_gid_high;
	ext4_block_put(&held);
	error = ext4_inode_block_get(t, fs, number, fresh, &block);
	if (error)
		return error;
	struct ext4_raw_inode *raw = block.raw;
	memset(raw, 0, fs->inode_bytes);
	raw->i_mode = (uint16_t)(type_bits(inode->type) | inode->mode);
	raw->i_links_count = (uint16_t)inode->links;
	raw->i_generation = inode->generation;
	raw->i_uid = owner[0];
	raw->i_uid_high = owner[1];
	raw->i_gid = owner[2];
	raw->i_gid_high = owner[3];
	raw->i_flags = node->flags;
	memcpy(raw->i_block, node->block, sizeof(raw->i_block));
	if (fs->extra_isize)
		raw->i_extra_isize = fs->extra_isize;
	ext4_set_times(fs, raw, inode, true);
	node->csum_seed = ext4_inode_seed(fs, number, raw);
	ext4_inode_block_put(fs, number, &block);
	return 0;
}

// "." and "..", the latter as long as the block, and the checksum's place behind it.
static int first_dir_block(struct transaction *t, struct inode *dir, uint64_t parent)
{
	struct ext4 *fs = ext4_of(dir);
	const struct ext4_node *node = inode_format_data(dir);
	uint32_t bytes = fs->block_bytes;
	uint8_t type = fs->incompat & INCOMPAT_FILETYPE ? EXT4_FT_DIR : 0;
	struct page *page;
	uint64_t disk;
	void *data;
	int error = ext4_append_dir_block(t, dir, &disk, &data, &page);
	if (error)
		return error;
	if (ext4_has_csum(fs))
		bytes -= (uint32_t)sizeof(struct ext4_dirent_tail);
	struct ext4_dirent *dot = data, *dotdot = (void *)((uint8_t *)data + EXT4_DIRENT_MIN);
	*dot = (struct ext4_dirent){.inode = (uint32_t)dir->number,
				    .rec_len = EXT4_DIRENT_MIN,
				    .name_len = 1,
				    .file_type = type};
	dot->name[0] = '.';
	*dotdot = (struct ext4_dirent){.inode = (uint32_t)parent,
				       .rec_len = (uint16_t)(bytes - EXT4_DIRENT_MIN),
				       .name_len = 2,
				       .file_type = type};
	dotdot->name[0] = dotdot->name[1] = '.';
	if (ext4_has_csum(fs)) {
		struct ext4_dirent_tail *tail = (void *)((uint8_t *)data + bytes);
		tail->det_rec_len = sizeof(*tail);
		tail->det_reserved_ft = EXT4_FT_DIR_CSUM;
		tail->det_checksum = crc32c(node->csum_seed, data, bytes);
	}
	page_wire_put(page);
	return 0;
}

static int make(struct transaction *t, struct inode *dir, const struct inode *like,
		struct ext4_node *node, bool fresh, struct inode **out)
{
	struct ext4 *fs = ext4_of(dir);
	struct inode *inode;
	int error = write_new(t, fs, dir, fresh, like, node);
	if (!error)
		error = inode_make(dir->volume, like->number, &inode);
	if (error)
		return error;
	inode->generation = like->generation;
	inode->type = like->type;
	inode->mode = like->mode;
	inode->links = like->links;
	inode->mtime_sec = like->mtime_sec;
	inode->mtime_nsec = like->mtime_nsec;
	memcpy(inode_format_data(inode), node, sizeof(*node));
	if (like->type == INODE_DIRECTORY)
		error = first_dir_block(t, inode, dir->number);
	if (error)
		inode_unmake(inode);
	else
		*out = inode;
	return error;
}

int ext4_new_inode(struct transaction *t, struct inode *dir, enum inode_type type, uint16_t mode,
		   struct inode **out)
{
	struct ext4 *fs = ext4_of(dir);
	const struct ext4_node *parent = inode_format_data(dir);
	uint64_t now = clock_realtime_ns(), group = (dir->number - 1) / fs->inodes_per_group;
	struct inode like = {.volume = dir->volume,
			     .type = type,
			     .mode = mode & 07777,
			     .links = type == INODE_DIRECTORY ? 2 : 0,
			     .generation = (uint32_t)cpu_random(),
			     .mtime_sec = (int64_t)(now / NS_PER_SEC),
			     .mtime_nsec = (uint32_t)(now % NS_PER_SEC)};
	struct ext4_node node = {0};
	uint32_t number;
	bool fresh;
	int error = 0;
	if (type == INODE_OTHER)
		return -EINVAL;
	if (!fs->free_inodes)
		return -ENOSPC;
	if (type == INODE_DIRECTORY)
		error = directory_unit(
		    fs, dir, dir->number == EXT4_ROOT_INODE || (parent->flags & EXT4_TOPDIR_FL),
		    &group);
	if (!error)
		error = sound_group_with_inode(fs, group, &group);
	if (!error)
		error = take(t, fs, group, type == INODE_DIRECTORY, &number, &fresh);
	if (error)
		return error;
	like.number = node.number = number;
	empty_map(fs, &node);
	return make(t, dir, &like, &node, fresh, out);
}

static int give_back(struct transaction *t, struct ext4 *fs, uint32_t number, bool directory)
{
	uint32_t index = (number - 1) % fs->inodes_per_group;
	struct ext4_group group;
	struct page *page;
	uint8_t *bits;
	int error = ext4_group_get(t, fs, (number - 1) / fs->inodes_per_group, &group);
	if (error)
		return error;
	error = ext4_bitmap_get(t, fs, &group, EXT4_INODE_BITMAP, &bits, &page);
	if (error) {
		ext4_group_put(fs, &group);
		return error;
	}
	bool taken = ext4_bits_set_at(bits, index, index + 1) == index;
	if (taken && group.directories >= directory && group.free_inodes < fs->inodes_per_group) {
		ext4_bits_fill(bits, index, 1, false);
		group.free_inodes++;
		group.directories -= directory;
	} else {
		error = ext4_corrupt(fs, number, group.inode_bitmap, "freed, and %s",
				     taken ? "the group's counts say no" : "it is free");
	}
	ext4_bitmap_put(fs, &group, EXT4_INODE_BITMAP, bits, page);
	ext4_group_put(fs, &group);
	return error ? error : ext4_count_free(t, fs, 0, 1);
}

int ext4_free_inode(struct transaction *t, struct inode *inode)
{
	struct ext4 *fs = ext4_of(inode);
	struct ext4_inode_block block;
	uint32_t number = (uint32_t)inode->number;
	int error = ext4_orphan_remove(t, inode);
	if (!error)
		error = give_back(t, fs, number, inode->type == INODE_DIRECTORY);
	if (!error)
		error = ext4_inode_block_get(t, fs, number, false, &block);
	if (error)
		return error;
	block.raw->i_links_count = 0;
	block.raw->i_dtime = (uint32_t)(clock_realtime_ns() / NS_PER_SEC);
	ext4_inode_block_put(fs, number, &block);
	ext4_release_preallocation(inode);
	return 0;
}

uint32_t ext4_credits_new_inode(const struct ext4 *fs)
{
	// Superblock, inode, and bitmap with descriptor; of a directory those of its block, and that. Freeing:
	// the first four, and what an orphan takes.
	return MAX(4 + 3, 4 + ext4_credits_orphan(fs));
}
