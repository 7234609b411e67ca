// SPDX-License-Identifier: BSD-2-Clause
// ext4: what its files share; writing adds fs/ext4_write.h. The layer above knows ext4_filesystem (fs/filesystem.h)
// and nothing of this.
//
//	ext4_super.c     mount, unmount, the checks of the superblock's geometry
//	ext4_backup.c    the superblock's backups
//	ext4_feature.c   which feature bits are read, which are refused, by name
//	ext4_block.c     blocks of metadata, what is said about corruption
//	ext4_group.c     group descriptors
//	ext4_inode.c     inode numbers to inodes, symbolic links
//	ext4_map.c       file blocks to disk blocks: per-inode cache, replayed journal's view
//	ext4_extent.c    ... through extent trees
//	ext4_indirect.c  ... through indirect blocks
//	ext4_dir.c       directory blocks, listing, linear look-up
//	ext4_htree.c     look-up by hash; ext4_hash.c computes the hashes
//	ext4_replay.c    the journal, found and replayed while mounting
//	journal.c        jbd2's log, turned into a map of replaced blocks (journal_map.c)
//
// Everything the volume says is checked before it is used: numbers against the volume's bounds,
// structures against their checksums where the volume has them. What fails is reported with
// ext4_corrupt and -EUCLEAN; loops are bounded by counts that were checked first.
#pragma once

#include "fs/ext4_disk.h"
#include "fs/filesystem.h"
#include "fs/journal.h"
#include "kernel/lock.h"

// One past the last logical block number the format can express.
#define EXT4_LOGICAL_LIMIT 0xffffffffUL

// Blocks next to a file that is being streamed, free on the disk, that others leave alone while there is
// room elsewhere. In memory only.
struct ext4_window {
	uint64_t first, count; // count 0: not in use
	uint64_t used;	       // ext4.window_clock when it last gave blocks
	uint32_t inode;
};
#define EXT4_WINDOWS                                                                               \
	64 // streams at once that keep their windows; beyond that the idlest loses its own

// Lock key. No letter: constant once mounted. M: mounting thread only. L: lock. T: who has a transaction
// open (one at a time).
struct ext4 {
	struct volume *volume;
	uint32_t block_bytes, block_shift;
	uint64_t blocks;
	uint32_t first_data_block;
	uint32_t blocks_per_group, inodes_per_group;
	uint64_t groups;
	uint32_t inodes, first_inode;
	uint32_t inode_bytes, desc_bytes;
	uint32_t compat, incompat, ro_compat;
	uint32_t first_meta_bg, backup_groups[2];
	uint32_t hidden_inodes[2]; // orphan file, project quota: ordinary numbers that are no files
	uint32_t csum_seed;
	uint16_t gdt_crc16; // gdt_csum's remainder after the UUID
	uint32_t hash_seed[4];
	bool hash_unsigned;
	uint8_t hash_version; // of new indexes
	uint64_t dir_bytes_max;

	uint32_t log_next; // (M) sequence number behind what was replayed in memory; 0: nothing was
	bool from_backup;  // (M) the superblock is a backup
	bool has_replaced; // blocks have their content in the journal: meta_replaced
	void *raw;	 // (M) while the journal is not replayed: the one block read past the cache
	bool raw_in_use; // (M)
	struct spinlock lock;	  // guards every node's runs
	struct spinlock log_lock; // guards the two below
	uint64_t log_window_ns;	  // log_lock: when the present window of log lines began
	uint32_t log_lines;	  // log_lock: lines in it, printed or not
	char state[160];

	// Writing; filled by ext4_open_counts and ext4_orphan_open.
	uint64_t free_blocks, promised; // (L) not in a bitmap; of them: promised by ext4_reserve
	uint32_t free_inodes;		// (L)
	int64_t pending_blocks;		// (T) what the open transaction added to the two
	int32_t pending_inodes;		// (T)
	uint32_t reserved_descs; // blocks kept for descriptors to come, behind those there are
	uint64_t root_blocks;	 // kept for the administrator of other systems, and for trees
	uint32_t flex_groups;	 // groups whose metadata lies together; 1: no flex_bg
	uint16_t extra_isize;	 // of new inodes
	uint32_t nameless;	 // (T) an inode that may be read without a link
	uint64_t *orphan_disk;	 // where the blocks of the orphan file lie
	uint32_t orphan_blocks;	 // of it; 0: there is none
	uint32_t orphan_seed;	 // for their checksums
	uint32_t orphan_hint;	 // (T) block in which a slot was free last
	void *scratch;		 // (T) one block: the bitmap of a group that has none on the disk
	struct ext4_window windows[EXT4_WINDOWS]; // (L)
	uint64_t window_clock;			  // (L)
};

// A run of logical blocks that are contiguous on the disk, or a hole.
struct ext4_run {
	uint32_t first, count;
	uint64_t disk; // EXT4_HOLE: zeros
};
#define EXT4_HOLE      UINT64_MAX
#define EXT4_UNWRITTEN (UINT64_MAX - 1) // the blocks are there, and read as zeros (fallocate)
static inline bool ext4_run_is_hole(const struct ext4_run *run)
{
	return run->disk >= EXT4_UNWRITTEN;
}
#define EXT4_RUNS 10

// What ext4 keeps of an inode in memory: inode_format_data. Lock key: as above.
struct ext4_node {
	uint32_t number, flags;
	uint32_t csum_seed;   // for the checksums of its extent and directory blocks
	uint32_t run_count;   // (L)
	uint32_t map_version; // (L) moves on when the map changes: runs seen before count no more
	uint32_t orphan;      // (T) where it is noted for recovery; 0: nowhere (ext4_orphan.c)
	uint32_t block[EXT4_N_BLOCKS];	 // (L) to change; to read: L or the volume's lock
	struct ext4_run runs[EXT4_RUNS]; // (L) what the last look-up saw, ascending, without gaps
};
_Static_assert(sizeof(struct ext4_node) <= INODE_FORMAT_BYTES, "inode_format_data");

static inline struct ext4 *ext4_of(const struct inode *inode)
{
	return inode->volume->private;
}
static inline bool ext4_has_csum(const struct ext4 *fs)
{
	return fs->ro_compat & RO_COMPAT_METADATA_CSUM;
}
// May file data or metadata lie there? Superblock and what comes before it may not.
static inline bool ext4_data_block_ok(const struct ext4 *fs, uint64_t block, uint64_t count)
{
	return block > fs->first_data_block && count <= fs->blocks && block <= fs->blocks - count;
}

// ---- ext4_feature.c ----
// 0, or -EOPNOTSUPP after a line that names each feature that stands in the way.
int ext4_check_features(const char *device, const struct ext4_super_block *sb) MUST_CHECK;
// 0, or -EOPNOTSUPP after a line that names what stands in the way of writing.
int ext4_check_write_features(const char *device, const struct ext4_super_block *sb) MUST_CHECK;

// ---- ext4_writing.c ----
extern const struct filesystem_writing ext4_writing;

// ---- ext4_super.c ----
// Pure. Null when every number in the superblock is one that can be worked with on a device of so
// many bytes; else what is wrong with it, in words.
const char *ext4_super_complaint(const struct ext4_super_block *sb, uint64_t device_bytes);
bool ext4_super_csum_ok(const struct ext4_super_block *sb);

// ---- ext4_replay.c ----
// Thread context, mounting. Replays the journal if the volume needs it, tells the metadata cache,
// and ends reading past it. 1: replayed, 0: nothing to do, or an error that was explained in the
// log.
int ext4_replay(struct ext4 *fs, const struct ext4_super_block *sb, bool from_backup,
		struct journal_result *result) MUST_CHECK;

struct ext4_log { // source.ctx points into it: it stays where it is
	struct ext4 *fs;
	struct ext4_node node;
	struct journal_source source;
};
// Sleeps. The journal's inode, and where its blocks lie.
int ext4_log_find(struct ext4 *fs, uint32_t number, struct ext4_log *log) MUST_CHECK;

// ---- ext4_backup.c ----
// Thread context. Looks for a sound backup of the superblock whose first copy is *sb; puts it into
// *sb and gives its group number, or 0.
uint32_t ext4_find_backup(struct block_device *dev, struct ext4_super_block *sb, void *buffer);

// ---- ext4_block.c ----
struct ext4_block {
	struct ext4 *fs;
	const void *data;
	struct page *page;
};
// Sleeps. One whole block of metadata, held until ext4_block_put. While mounting, before the
// journal is replayed, it comes from the disk past the cache, and only one can be held at a time.
int ext4_block_get(struct ext4 *fs, uint64_t block, struct ext4_block *out) MUST_CHECK;
void ext4_block_put(struct ext4_block *block);
// Did its checksum hold before? What it says has to be checked all the same, by each who uses it.
bool ext4_block_verified(const struct ext4_block *block);
void ext4_block_set_verified(const struct ext4_block *block);
// Pure. CRC-16 as gdt_csum uses it: polynomial 0x8005, reflected.
uint16_t ext4_crc16(uint16_t crc, const void *data, size_t len);
// ---- ext4_group.c ----
// Sleeps. Where the group's inode table begins and how many of its inodes have ever been used.
int ext4_group_inodes(struct ext4 *fs, uint64_t group, uint64_t *table, uint32_t *used) MUST_CHECK;
// Counts the corruption, says so in the log (a few lines a second), gives -EUCLEAN. inode 0: none.
int ext4_corrupt(struct ext4 *fs, uint64_t inode, uint64_t block, const char *format, ...)
    PRINTF_LIKE(4, 5);

// ---- ext4_inode.c ----
// Sleeps. Reads, checks and opens inode `number`, special ones too: fills node (zeroed before) and
// the public part. -ENOENT: not in use.
int ext4_load_inode(struct ext4 *fs, uint32_t number, struct inode *inode,
		    struct ext4_node *node) MUST_CHECK;
// The same; with `nameless` an inode whose last name is gone is there, too.
int ext4_load_any_inode(struct ext4 *fs, uint32_t number, bool nameless, struct inode *inode,
			struct ext4_node *node) MUST_CHECK;
int ext4_read_inode(struct inode *inode);
int ext4_sectors(struct inode *inode, uint64_t *out);
// May it be found by number: the root, or one that is not the format's own?
bool ext4_is_ordinary(const struct ext4 *fs, uint64_t number);
// Sleeps. Where the inode lies: the block and the offset in it. -ENOENT: beyond what was ever used.
int ext4_inode_place(struct ext4 *fs, uint32_t number, uint64_t *disk, uint32_t *offset) MUST_CHECK;
// Pure. Seed of an inode's checksum and of those of its blocks; the checksum itself, put in.
uint32_t ext4_inode_seed(const struct ext4 *fs, uint32_t number, const struct ext4_raw_inode *raw);
void ext4_inode_set_csum(const struct ext4 *fs, uint32_t number, struct ext4_raw_inode *raw);
static inline uint16_t ext4_extra_isize(const struct ext4 *fs, const struct ext4_raw_inode *raw)
{
	return fs->inode_bytes > EXT4_GOOD_OLD_INODE ? raw->i_extra_isize : 0;
}
// Does the inode reach as far as this field's end?
#define EXT4_HAS_EXTRA(fs, raw, field)                                                             \
	(ext4_extra_isize(fs, raw) + (size_t)EXT4_GOOD_OLD_INODE >=                                \
	 offsetof(struct ext4_raw_inode, field) + sizeof((raw)->field))
static inline bool ext4_is_fast_symlink(const struct inode *inode)
{
	return inode->type == INODE_SYMLINK && inode->size < EXT4_FAST_SYMLINK_MAX;
}
int ext4_read_link(struct inode *link, char *target, size_t size);
// What kind of file `number` is, for directories that do not say. Sleeps.
int ext4_inode_type(struct ext4 *fs, uint32_t number, enum inode_type *type) MUST_CHECK;
// What entries of directories call the kind of file that `number` is (enum ext4_file_type). Sleeps.
int ext4_inode_file_type(struct ext4 *fs, uint32_t number, uint8_t *file_type) MUST_CHECK;

// ---- ext4_map.c ----
int ext4_map(struct inode *inode, uint64_t file_block, struct fs_extent *out);
int ext4_map_cached(struct inode *inode, uint64_t file_block, struct fs_extent *out);
// The same without the replayed journal's view, for metadata (which meta_get translates) and for
// the journal itself.
int ext4_map_node(struct ext4 *fs, struct ext4_node *node, uint64_t file_block,
		  struct ext4_run *run) MUST_CHECK;

// Another map and flags for the inode, at once for everybody.
void ext4_set_map(struct ext4 *fs, struct ext4_node *node, const struct ext4_node *from);

// ---- ext4_extent.c, ext4_indirect.c ----
// Sleep. Fill up to EXT4_RUNS runs without gaps, the first of which contains `block`; give their
// number or an error.
int ext4_extent_runs(struct ext4 *fs, const struct ext4_node *node, uint32_t block,
		     struct ext4_run *runs);
int ext4_indirect_runs(struct ext4 *fs, const struct ext4_node *node, uint32_t block,
		       struct ext4_run *runs);
// The same from the inode alone, any context: 0 runs when a block would have to be read.
int ext4_extent_root_runs(const struct ext4_node *node, uint32_t block, struct ext4_run *runs);
int ext4_indirect_root_runs(const struct ext4 *fs, const struct ext4_node *node, uint32_t block,
			    struct ext4_run *runs);
// Checks what lies in the inode: the root of the extent tree, the direct blocks.
int ext4_extent_check_root(struct ext4 *fs, const struct ext4_node *node) MUST_CHECK;
int ext4_indirect_check_root(struct ext4 *fs, const struct ext4_node *node) MUST_CHECK;
// How many blocks a file mapped by block numbers may have, holes included.
uint64_t ext4_indirect_blocks_max(const struct ext4 *fs);

// ---- ext4_dir.c ----
enum ext4_dir_block_kind { EXT4_DIR_LEAF, EXT4_DIR_INDEX };
struct ext4_dir_block {
	struct ext4_block block;
	uint64_t disk;	// for messages
	uint32_t bytes; // up to where entries go: the block without its checksum
	enum ext4_dir_block_kind kind;
};
// Sleeps. Directory block `index`, its checksum verified.
int ext4_dir_block_get(struct inode *dir, uint32_t index, struct ext4_dir_block *out) MUST_CHECK;
// The entry at `offset` of the block, which keeps within its bounds; else -EUCLEAN, and it was told.
int ext4_dir_entry(struct inode *dir, const struct ext4_dir_block *block, uint32_t offset,
		   const struct ext4_dirent **entry) MUST_CHECK;
// Where an entry lies, and which inode it names.
struct ext4_dir_place {
	uint32_t index; // block of the directory
	uint32_t offset,
	    before; // in it: of the entry, of the one before it (UINT32_MAX: it is the first)
	uint64_t number;
};
// Looks for the name in one leaf block: 1 and the place without its index, 0, or an error.
int ext4_dir_block_find(struct inode *dir, const struct ext4_dir_block *block, const char *name,
			size_t len, struct ext4_dir_place *place) MUST_CHECK;
// In the whole directory, "." and ".." too: 0, -ENOENT or another error.
int ext4_dir_find(struct inode *dir, const char *name, size_t len,
		  struct ext4_dir_place *place) MUST_CHECK;
int ext4_read_dir(struct inode *dir, uint64_t *cursor,
		  bool (*visit)(void *ctx, const struct dir_entry *entry), void *ctx);
int ext4_lookup(struct inode *dir, const char *name, size_t len, uint64_t *number);

// ---- ext4_htree.c, ext4_hash.c ----
// -EOPNOTSUPP: this index cannot be used, search all blocks instead.
int ext4_htree_lookup(struct inode *dir, const char *name, size_t len,
		      struct ext4_dir_place *place) MUST_CHECK;
// Checksum of an index block, and where it belongs; false: there is no place for one. Pure.
bool ext4_dx_csum(const struct ext4 *fs, const struct ext4_node *node, const void *data, bool root,
		  uint32_t *tail_at, uint32_t *sum) MUST_CHECK;
bool ext4_dx_csum_ok(const struct ext4 *fs, const struct ext4_node *node, const void *data,
		     bool root);
enum ext4_hash_version {
	EXT4_HASH_LEGACY,
	EXT4_HASH_HALF_MD4,
	EXT4_HASH_TEA,
	EXT4_HASH_UNSIGNED, // added to the three above
	EXT4_HASH_VERSIONS = 2 * EXT4_HASH_UNSIGNED,
};
// Pure. The major hash, its lowest bit clear. version < EXT4_HASH_VERSIONS.
uint32_t ext4_hash(unsigned version, const uint32_t seed[4], const char *name, size_t len);
