// SPDX-License-Identifier: BSD-2-Clause
// ext4 as it lies on the disk: layouts and bits, nothing else. Field names are those of the
// format's documentation (kernel.org, "ext4 Data Structures and Algorithms"). All fields are
// little-endian, which is what x86 reads and writes.
#pragma once

#include "kernel/base.h"

#define EXT4_SUPER_OFFSET 1024 // bytes from the start of the volume, whatever the block size
#define EXT4_SUPER_BYTES  1024
#define EXT4_SUPER_MAGIC  0xef53

#define EXT4_ROOT_INODE	      2
#define EXT4_JOURNAL_INODE    8
#define EXT4_GOOD_OLD_FIRST   11 // first ordinary inode of revision 0
#define EXT4_GOOD_OLD_INODE   128
#define EXT4_MIN_DESC	      32
#define EXT4_MIN_DESC_64      64
#define EXT4_MAX_DESC	      1024
#define EXT4_NAME_MAX	      255
#define EXT4_LINK_MAX	      65000
#define EXT4_FAST_SYMLINK_MAX 60 // a target shorter than this lies in the inode

struct ext4_super_block {
	uint32_t s_inodes_count;
	uint32_t s_blocks_count_lo;
	uint32_t s_r_blocks_count_lo;
	uint32_t s_free_blocks_count_lo;
	uint32_t s_free_inodes_count;
	uint32_t s_first_data_block;
	uint32_t s_log_block_size;
	uint32_t s_log_cluster_size;
	uint32_t s_blocks_per_group;
	uint32_t s_clusters_per_group;
	uint32_t s_inodes_per_group;
	uint32_t s_mtime;
	uint32_t s_wtime;
	uint16_t s_mnt_count;
	uint16_t s_max_mnt_count;
	uint16_t s_magic;
	uint16_t s_state;
	uint16_t s_errors;
	uint16_t s_minor_rev_level;
	uint32_t s_lastcheck;
	uint32_t s_checkinterval;
	uint32_t s_creator_os;
	uint32_t s_rev_level;
	uint16_t s_def_resuid;
	uint16_t s_def_resgid;
	uint32_t s_first_ino;
	uint16_t s_inode_size;
	uint16_t s_block_group_nr;
	uint32_t s_feature_compat;
	uint32_t s_feature_incompat;
	uint32_t s_feature_ro_compat;
	uint8_t s_uuid[16];
	char s_volume_name[16];
	char s_last_mounted[64];
	uint32_t s_algorithm_usage_bitmap;
	uint8_t s_prealloc_blocks;
	uint8_t s_prealloc_dir_blocks;
	uint16_t s_reserved_gdt_blocks;
	uint8_t s_journal_uuid[16];
	uint32_t s_journal_inum;
	uint32_t s_journal_dev;
	uint32_t s_last_orphan;
	uint32_t s_hash_seed[4];
	uint8_t s_def_hash_version;
	uint8_t s_jnl_backup_type;
	uint16_t s_desc_size;
	uint32_t s_default_mount_opts;
	uint32_t s_first_meta_bg;
	uint32_t s_mkfs_time;
	uint32_t s_jnl_blocks[17];
	uint32_t s_blocks_count_hi;
	uint32_t s_r_blocks_count_hi;
	uint32_t s_free_blocks_count_hi;
	uint16_t s_min_extra_isize;
	uint16_t s_want_extra_isize;
	uint32_t s_flags;
	uint16_t s_raid_stride;
	uint16_t s_mmp_interval;
	uint64_t s_mmp_block;
	uint32_t s_raid_stripe_width;
	uint8_t s_log_groups_per_flex;
	uint8_t s_checksum_type;
	uint16_t s_reserved_pad;
	uint64_t s_kbytes_written;
	uint32_t s_snapshot_inum;
	uint32_t s_snapshot_id;
	uint64_t s_snapshot_r_blocks_count;
	uint32_t s_snapshot_list;
	uint32_t s_error_count;
	uint8_t s_error_details[104]; // first and last error: time, inode, block, function, line
	uint8_t s_mount_opts[64];
	uint32_t s_usr_quota_inum;
	uint32_t s_grp_quota_inum;
	uint32_t s_overhead_blocks;
	uint32_t s_backup_bgs[2];
	uint8_t s_encrypt_algos[4];
	uint8_t s_encrypt_pw_salt[16];
	uint32_t s_lpf_ino;
	uint32_t s_prj_quota_inum;
	uint32_t s_checksum_seed;
	uint8_t s_time_hi[10];
	uint16_t s_encoding;
	uint32_t s_orphan_file_inum;
	uint32_t s_reserved[94];
	uint32_t s_checksum;
};
_Static_assert(sizeof(struct ext4_super_block) == EXT4_SUPER_BYTES, "superblock");
_Static_assert(offsetof(struct ext4_super_block, s_feature_compat) == 0x5c, "superblock");
_Static_assert(offsetof(struct ext4_super_block, s_hash_seed) == 0xec, "superblock");
_Static_assert(offsetof(struct ext4_super_block, s_blocks_count_hi) == 0x150, "superblock");
_Static_assert(offsetof(struct ext4_super_block, s_error_count) == 0x194, "superblock");
_Static_assert(offsetof(struct ext4_super_block, s_backup_bgs) == 0x24c, "superblock");
_Static_assert(offsetof(struct ext4_super_block, s_checksum_seed) == 0x270, "superblock");
_Static_assert(offsetof(struct ext4_super_block, s_orphan_file_inum) == 0x280, "superblock");

// s_state
#define EXT4_STATE_VALID  0x1 // unmounted cleanly
#define EXT4_STATE_ERRORS 0x2
// s_flags: how the directory hash extends characters above 127
#define EXT4_FLAG_UNSIGNED_HASH 0x2
#define EXT4_CHECKSUM_CRC32C	1

enum ext4_compat {
	COMPAT_HAS_JOURNAL = 0x4,
	COMPAT_DIR_INDEX = 0x20,
	COMPAT_SPARSE_SUPER2 = 0x200,
	COMPAT_FAST_COMMIT = 0x400,
	COMPAT_ORPHAN_FILE = 0x1000,
};
enum ext4_incompat {
	INCOMPAT_COMPRESSION = 0x1,
	INCOMPAT_FILETYPE = 0x2,
	INCOMPAT_RECOVER = 0x4,
	INCOMPAT_JOURNAL_DEV = 0x8,
	INCOMPAT_META_BG = 0x10,
	INCOMPAT_EXTENTS = 0x40,
	INCOMPAT_64BIT = 0x80,
	INCOMPAT_MMP = 0x100,
	INCOMPAT_FLEX_BG = 0x200,
	INCOMPAT_EA_INODE = 0x400,
	INCOMPAT_DIRDATA = 0x1000,
	INCOMPAT_CSUM_SEED = 0x2000,
	INCOMPAT_LARGEDIR = 0x4000,
	INCOMPAT_INLINE_DATA = 0x8000,
	INCOMPAT_ENCRYPT = 0x10000,
	INCOMPAT_CASEFOLD = 0x20000,
};
enum ext4_ro_compat {
	RO_COMPAT_SPARSE_SUPER = 0x1,
	RO_COMPAT_LARGE_FILE = 0x2,
	RO_COMPAT_HUGE_FILE = 0x8,
	RO_COMPAT_GDT_CSUM = 0x10,
	RO_COMPAT_DIR_NLINK = 0x20,
	RO_COMPAT_EXTRA_ISIZE = 0x40,
	RO_COMPAT_SNAPSHOT = 0x80,
	RO_COMPAT_QUOTA = 0x100,
	RO_COMPAT_BIGALLOC = 0x200,
	RO_COMPAT_METADATA_CSUM = 0x400,
	RO_COMPAT_REPLICA = 0x800,
	RO_COMPAT_READONLY = 0x1000,
	RO_COMPAT_PROJECT = 0x2000,
	RO_COMPAT_SHARED_BLOCKS = 0x4000,
	RO_COMPAT_VERITY = 0x8000,
	RO_COMPAT_ORPHAN_PRESENT = 0x10000,
};

// A group descriptor; the second half is there with 64bit (s_desc_size of 64 or more).
struct ext4_group_desc {
	uint32_t bg_block_bitmap_lo;
	uint32_t bg_inode_bitmap_lo;
	uint32_t bg_inode_table_lo;
	uint16_t bg_free_blocks_count_lo;
	uint16_t bg_free_inodes_count_lo;
	uint16_t bg_used_dirs_count_lo;
	uint16_t bg_flags;
	uint32_t bg_exclude_bitmap_lo;
	uint16_t bg_block_bitmap_csum_lo;
	uint16_t bg_inode_bitmap_csum_lo;
	uint16_t bg_itable_unused_lo;
	uint16_t bg_checksum;
	uint32_t bg_block_bitmap_hi;
	uint32_t bg_inode_bitmap_hi;
	uint32_t bg_inode_table_hi;
	uint16_t bg_free_blocks_count_hi;
	uint16_t bg_free_inodes_count_hi;
	uint16_t bg_used_dirs_count_hi;
	uint16_t bg_itable_unused_hi;
	uint32_t bg_exclude_bitmap_hi;
	uint16_t bg_block_bitmap_csum_hi;
	uint16_t bg_inode_bitmap_csum_hi;
	uint32_t bg_reserved;
};
_Static_assert(sizeof(struct ext4_group_desc) == 64, "group descriptor");
_Static_assert(offsetof(struct ext4_group_desc, bg_checksum) == 0x1e, "group descriptor");
// bg_flags; they mean something only where descriptors have checksums.
#define EXT4_BG_INODE_UNINIT 0x1 // no inode was ever used: the bitmap is not written yet
#define EXT4_BG_BLOCK_UNINIT 0x2 // no block but metadata: the bitmap is not written yet
#define EXT4_BG_INODE_ZEROED 0x4 // what itable_unused leaves out is zeroed on the disk

#define EXT4_N_BLOCKS 15 // 12 direct, then indirect, double and triple indirect; or an extent root

struct ext4_raw_inode {
	uint16_t i_mode;
	uint16_t i_uid;
	uint32_t i_size_lo;
	uint32_t i_atime;
	uint32_t i_ctime;
	uint32_t i_mtime;
	uint32_t i_dtime;
	uint16_t i_gid;
	uint16_t i_links_count;
	uint32_t i_blocks_lo;
	uint32_t i_flags;
	uint32_t i_version;
	uint32_t i_block[EXT4_N_BLOCKS];
	uint32_t i_generation;
	uint32_t i_file_acl_lo;
	uint32_t i_size_high;
	uint32_t i_obso_faddr;
	uint16_t i_blocks_high;
	uint16_t i_file_acl_high;
	uint16_t i_uid_high;
	uint16_t i_gid_high;
	uint16_t i_checksum_lo;
	uint16_t i_reserved;
	// From here only in inodes of more than 128 bytes, and as far as i_extra_isize says.
	uint16_t i_extra_isize;
	uint16_t i_checksum_hi;
	uint32_t i_ctime_extra;
	uint32_t i_mtime_extra;
	uint32_t i_atime_extra;
	uint32_t i_crtime;
	uint32_t i_crtime_extra;
	uint32_t i_version_hi;
	uint32_t i_projid;
};
#define EXT4_EXTRA_ISIZE 32 // bytes beyond the classic 128 that the structure above describes
_Static_assert(offsetof(struct ext4_raw_inode, i_block) == 0x28, "inode");
_Static_assert(offsetof(struct ext4_raw_inode, i_checksum_lo) == 0x7c, "inode");
_Static_assert(offsetof(struct ext4_raw_inode, i_extra_isize) == EXT4_GOOD_OLD_INODE, "inode");
_Static_assert(offsetof(struct ext4_raw_inode, i_mtime_extra) == 0x88, "inode");

enum ext4_inode_flag {
	EXT4_ENCRYPT_FL = 0x800,
	EXT4_INDEX_FL = 0x1000,
	EXT4_TOPDIR_FL = 0x20000,
	EXT4_HUGE_FILE_FL = 0x40000, // i_blocks counts blocks, not sectors
	EXT4_EXTENTS_FL = 0x80000,
	EXT4_VERITY_FL = 0x100000,
	EXT4_EA_INODE_FL = 0x200000,
	EXT4_INLINE_DATA_FL = 0x10000000,
	EXT4_CASEFOLD_FL = 0x40000000,
};
enum ext4_mode {
	EXT4_S_IFMT = 0xf000,
	EXT4_S_IFIFO = 0x1000,
	EXT4_S_IFCHR = 0x2000,
	EXT4_S_IFDIR = 0x4000,
	EXT4_S_IFBLK = 0x6000,
	EXT4_S_IFREG = 0x8000,
	EXT4_S_IFLNK = 0xa000,
	EXT4_S_IFSOCK = 0xc000,
};

#define EXT4_EXTENT_MAGIC     0xf30a
#define EXT4_EXTENT_MAX_DEPTH 5
#define EXT4_EXTENT_INIT_MAX  32768 // an ee_len above this is an unwritten extent of ee_len - this
struct ext4_extent_header {
	uint16_t eh_magic;
	uint16_t eh_entries;
	uint16_t eh_max;
	uint16_t eh_depth; // 0: the entries are extents
	uint32_t eh_generation;
};
struct ext4_extent {
	uint32_t ee_block;
	uint16_t ee_len;
	uint16_t ee_start_hi;
	uint32_t ee_start_lo;
};
struct ext4_extent_idx {
	uint32_t ei_block;
	uint32_t ei_leaf_lo;
	uint16_t ei_leaf_hi;
	uint16_t ei_unused;
};
_Static_assert(sizeof(struct ext4_extent_header) == 12, "extent header");
_Static_assert(sizeof(struct ext4_extent) == 12, "extent");
_Static_assert(sizeof(struct ext4_extent_idx) == 12, "extent index");

struct ext4_dirent {
	uint32_t inode; // 0: unused
	uint16_t rec_len;
	uint8_t name_len;
	uint8_t file_type; // with filetype; else the high byte of name_len
	char name[];
};
_Static_assert(sizeof(struct ext4_dirent) == 8, "directory entry");
#define EXT4_DIRENT_MIN 12
enum ext4_file_type { // file_type
	EXT4_FT_REG = 1,
	EXT4_FT_DIR,
	EXT4_FT_CHR,
	EXT4_FT_BLK,
	EXT4_FT_FIFO,
	EXT4_FT_SOCK,
	EXT4_FT_LNK,
};

// The last 12 bytes of a leaf block with metadata_csum, dressed up as an unused entry.
struct ext4_dirent_tail {
	uint32_t det_reserved_zero1;
	uint16_t det_rec_len; // 12
	uint8_t det_reserved_zero2;
	uint8_t det_reserved_ft; // 0xde
	uint32_t det_checksum;
};
_Static_assert(sizeof(struct ext4_dirent_tail) == 12, "directory tail");
#define EXT4_FT_DIR_CSUM 0xde

// The hash tree: in block 0 behind the entries "." and ".."; in inner nodes behind one unused entry
// that spans the block. The first 8 bytes of the array are limit, count and the first child.
struct ext4_dx_entry {
	uint32_t hash;
	uint32_t block;
};
struct ext4_dx_countlimit {
	uint16_t limit;
	uint16_t count;
	uint32_t block;
};
struct ext4_dx_root_info {
	uint32_t reserved_zero;
	uint8_t hash_version;
	uint8_t info_length; // 8
	uint8_t indirect_levels;
	uint8_t unused_flags;
};
struct ext4_dx_tail {
	uint32_t dt_reserved;
	uint32_t dt_checksum;
};
_Static_assert(sizeof(struct ext4_dx_entry) == 8, "hash tree entry");
_Static_assert(sizeof(struct ext4_dx_countlimit) == 8, "hash tree head");
_Static_assert(sizeof(struct ext4_dx_root_info) == 8, "hash tree root");
#define EXT4_DX_ROOT_INFO    24
#define EXT4_DX_ROOT_ENTRIES 32
#define EXT4_DX_NODE_ENTRIES 8

// The orphan file: blocks full of inode numbers, 0 where a slot is free, and this at their ends.
struct ext4_orphan_tail {
	uint32_t ob_magic;
	uint32_t ob_checksum;
};
_Static_assert(sizeof(struct ext4_orphan_tail) == 8, "orphan block");
#define EXT4_ORPHAN_MAGIC 0x0b10ca04
