// SPDX-License-Identifier: BSD-2-Clause
// Mounting: the superblock is read, checked and believed, the journal replayed into a map, the root
// looked at. Mounting thread; nothing of a volume that is refused stays behind.
#include "fs/ext4_write.h"

#include "kernel/crc32.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"

static uint64_t wide(uint32_t high, uint32_t low, const struct ext4_super_block *sb)
{
	bool is_wide = sb->s_rev_level && (sb->s_feature_incompat & INCOMPAT_64BIT);
	return (is_wide ? (uint64_t)high << 32 : 0) | low;
}

static bool power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

bool ext4_super_csum_ok(const struct ext4_super_block *sb)
{
	if (!sb->s_rev_level || !(sb->s_feature_ro_compat & RO_COMPAT_METADATA_CSUM))
		return true;
	return sb->s_checksum_type == EXT4_CHECKSUM_CRC32C &&
	       crc32c(~0U, sb, offsetof(struct ext4_super_block, s_checksum)) == sb->s_checksum;
}

static const char *size_complaint(const struct ext4_super_block *sb, uint32_t block_bytes)
{
	if (!sb->s_rev_level)
		return NULL;
	bool is_wide = sb->s_feature_incompat & INCOMPAT_64BIT;
	if (!power_of_two(sb->s_inode_size) || sb->s_inode_size < EXT4_GOOD_OLD_INODE ||
	    sb->s_inode_size > block_bytes)
		return "inode size";
	if (sb->s_first_ino < EXT4_GOOD_OLD_FIRST || sb->s_first_ino > sb->s_inodes_count)
		return "first inode";
	if (is_wide && (!power_of_two(sb->s_desc_size) || sb->s_desc_size < EXT4_MIN_DESC_64 ||
			sb->s_desc_size > EXT4_MAX_DESC))
		return "group descriptor size";
	return NULL;
}

const char *ext4_super_complaint(const struct ext4_super_block *sb, uint64_t device_bytes)
{
	if (sb->s_rev_level > 1)
		return "revision";
	if (sb->s_log_block_size > 6)
		return "block size";
	uint32_t block_bytes = EXT4_SUPER_OFFSET << sb->s_log_block_size;
	bool clusters = sb->s_rev_level && (sb->s_feature_ro_compat & RO_COMPAT_BIGALLOC);
	uint64_t blocks = wide(sb->s_blocks_count_hi, sb->s_blocks_count_lo, sb);
	if (sb->s_log_cluster_size > 20 || sb->s_log_cluster_size < sb->s_log_block_size ||
	    (!clusters && sb->s_log_cluster_size != sb->s_log_block_size))
		return "cluster size";
	uint64_t ratio = 1UL << (sb->s_log_cluster_size - sb->s_log_block_size);
	if (sb->s_first_data_block > 1 || (sb->s_first_data_block && sb->s_log_block_size) ||
	    (!sb->s_first_data_block && !sb->s_log_block_size && !clusters))
		return "first data block";
	if (blocks > device_bytes / block_bytes)
		return "block count beyond the device's end";
	if (blocks <= sb->s_first_data_block + 2UL)
		return "block count";
	// A group's bitmap is one block, with a bit for each cluster.
	if (sb->s_blocks_per_group < 8 || sb->s_blocks_per_group > block_bytes * 8 * ratio ||
	    sb->s_blocks_per_group % 8)
		return "blocks per group";
	const char *complaint = size_complaint(sb, block_bytes);
	if (complaint)
		return complaint;
	uint64_t groups =
	    (blocks - sb->s_first_data_block + sb->s_blocks_per_group - 1) / sb->s_blocks_per_group;
	if (!sb->s_inodes_per_group || sb->s_inodes_per_group > block_bytes * 8)
		return "inodes per group";
	if (groups * sb->s_inodes_per_group != sb->s_inodes_count)
		return "inode count";
	return NULL;
}

// From a superblock that passed ext4_super_complaint.
static void set_geometry(struct ext4 *fs, const struct ext4_super_block *sb)
{
	bool old = !sb->s_rev_level;
	fs->block_shift = 10 + sb->s_log_block_size;
	fs->block_bytes = 1U << fs->block_shift;
	fs->blocks = wide(sb->s_blocks_count_hi, sb->s_blocks_count_lo, sb);
	fs->first_data_block = sb->s_first_data_block;
	fs->blocks_per_group = sb->s_blocks_per_group;
	fs->inodes_per_group = sb->s_inodes_per_group;
	fs->groups =
	    (fs->blocks - fs->first_data_block + fs->blocks_per_group - 1) / fs->blocks_per_group;
	fs->inodes = sb->s_inodes_count;
	fs->compat = old ? 0 : sb->s_feature_compat;
	fs->incompat = old ? 0 : sb->s_feature_incompat;
	fs->ro_compat = old ? 0 : sb->s_feature_ro_compat;
	fs->first_inode = old ? EXT4_GOOD_OLD_FIRST : sb->s_first_ino;
	fs->inode_bytes = old ? EXT4_GOOD_OLD_INODE : sb->s_inode_size;
	fs->desc_bytes = fs->incompat & INCOMPAT_64BIT ? sb->s_desc_size : EXT4_MIN_DESC;
	fs->first_meta_bg = sb->s_first_meta_bg;
	memcpy(fs->backup_groups, sb->s_backup_bgs, sizeof(fs->backup_groups));
	fs->hidden_inodes[0] = fs->compat & COMPAT_ORPHAN_FILE ? sb->s_orphan_file_inum : 0;
	fs->hidden_inodes[1] = sb->s_prj_quota_inum;
	fs->csum_seed = fs->incompat & INCOMPAT_CSUM_SEED
			    ? sb->s_checksum_seed
			    : crc32c(~0U, sb->s_uuid, sizeof(sb->s_uuid));
	fs->gdt_crc16 = ext4_crc16(0xffff, sb->s_uuid, sizeof(sb->s_uuid));
	memcpy(fs->hash_seed, sb->s_hash_seed, sizeof(fs->hash_seed));
	fs->hash_unsigned = sb->s_flags & EXT4_FLAG_UNSIGNED_HASH;
	fs->hash_version =
	    sb->s_def_hash_version <= EXT4_HASH_TEA ? sb->s_def_hash_version : EXT4_HASH_HALF_MD4;
	// Without largedir i_size_high is not part of a directory's size; the index has 28 bits.
	fs->dir_bytes_max =
	    fs->incompat & INCOMPAT_LARGEDIR ? 1UL << (28 + fs->block_shift) : 1UL << 32;
}

static void fill_volume(struct ext4 *fs, const struct ext4_super_block *sb)
{
	struct volume *volume = fs->volume;
	size_t len = strnlen(sb->s_volume_name, sizeof(sb->s_volume_name));
	memcpy(volume->name, sb->s_volume_name, len);
	volume->name[len] = 0;
	volume->block_bytes = fs->block_bytes;
	volume->blocks = fs->blocks;
	volume->blocks_free = wide(sb->s_free_blocks_count_hi, sb->s_free_blocks_count_lo, sb);
	volume->inodes = fs->inodes;
	volume->inodes_free = sb->s_free_inodes_count;
	volume->read_only = true;
	volume->private = fs;
}

// The superblock in *sb and which group's copy it is; buffer: one page. -ENODEV: this is no ext4.
static int read_super(struct block_device *dev, void *buffer, struct ext4_super_block *sb,
		      uint32_t *group)
{
	*group = 0;
	if (dev->sectors << SECTOR_SHIFT < PAGE_SIZE)
		return -ENODEV;
	int error = block_rw_sync(dev, BLOCK_READ, 0, buffer, PAGE_SIZE);
	if (error)
		return error;
	memcpy(sb, (const uint8_t *)buffer + EXT4_SUPER_OFFSET, sizeof(*sb));
	bool known = sb->s_magic == EXT4_SUPER_MAGIC;
	const char *complaint = known ? NULL : "magic";
	if (known && !ext4_super_csum_ok(sb))
		complaint = "checksum";
	// What cannot be read is refused by name before its numbers are looked at.
	if (known && !complaint && (error = ext4_check_features(dev->name, sb)))
		return error;
	if (known && !complaint)
		complaint = ext4_super_complaint(sb, dev->sectors << SECTOR_SHIFT);
	if (!complaint)
		return 0;
	*group = ext4_find_backup(dev, sb, buffer);
	if (*group) {
		kprintf("%s: ext4: superblock is damaged (%s), going on with the backup in group "
			"%u\n",
			dev->name, complaint, *group);
		return ext4_check_features(dev->name, sb);
	}
	if (!known)
		return -ENODEV;
	kprintf("%s: ext4: not mounted, the superblock is damaged (%s) and no backup was found\n",
		dev->name, complaint);
	return -EUCLEAN;
}

// After replay the superblock of the replayed view counts, if the journal has one.
static int reread_super(struct ext4 *fs, struct ext4_super_block *sb)
{
	struct ext4_block block;
	uint64_t number = EXT4_SUPER_OFFSET >> fs->block_shift, replacement;
	bool escaped;
	if (!meta_replaced(fs->volume, number, &replacement, &escaped))
		return 0;
	int error = ext4_block_get(fs, number, &block);
	if (error)
		return error;
	uint32_t offset = EXT4_SUPER_OFFSET & (fs->block_bytes - 1);
	memcpy(sb, (const uint8_t *)block.data + offset, sizeof(*sb));
	ext4_block_put(&block);
	if (sb->s_magic != EXT4_SUPER_MAGIC || !ext4_super_csum_ok(sb) ||
	    sb->s_log_block_size + 10 != fs->block_shift ||
	    ext4_super_complaint(sb, fs->volume->dev->sectors << SECTOR_SHIFT))
		return ext4_corrupt(fs, 0, number, "superblock in the journal");
	error = ext4_check_features(fs->volume->dev->name, sb);
	if (!error)
		set_geometry(fs, sb);
	return error;
}

// Adds to the sentence that volume->state is.
static void state_add(struct ext4 *fs, const char *format, ...) PRINTF_LIKE(2, 3);
static void state_add(struct ext4 *fs, const char *format, ...)
{
	size_t used = strlen(fs->state);
	va_list args;
	va_start(args, format);
	kvsnprintf(fs->state + used, sizeof(fs->state) - used, format, args);
	va_end(args);
}

static void say_state(struct ext4 *fs, const struct ext4_super_block *sb, uint32_t backup,
		      int replayed, const struct journal_result *result)
{
	// With a journal a volume is clean even if nobody unmounted it, once the journal is empty.
	bool clean = (fs->compat & COMPAT_HAS_JOURNAL) || (sb->s_state & EXT4_STATE_VALID);
	if (replayed)
		state_add(fs, "journal replayed in memory (%u transactions, %u blocks)",
			  result->transactions, result->blocks);
	else
		state_add(fs, "%s", clean ? "clean" : "not cleanly unmounted");
	if ((sb->s_state & EXT4_STATE_ERRORS) || sb->s_error_count || result->error)
		state_add(fs, ", has recorded errors");
	if (sb->s_last_orphan || (fs->ro_compat & RO_COMPAT_ORPHAN_PRESENT))
		state_add(fs, ", has orphans");
	if (backup)
		state_add(fs, ", superblock from the backup in group %u", backup);
	state_add(fs, ", read-only");
	fs->volume->state = fs->state;
}

static int start(struct ext4 *fs, struct ext4_super_block *sb, uint32_t backup)
{
	struct journal_result result = {0};
	struct inode root = {.volume = fs->volume};
	struct ext4_node node = {0};
	set_geometry(fs, sb);
	if (fs->block_bytes > PAGE_SIZE) {
		kprintf("%s: ext4: not mounted, blocks of %u bytes are larger than a page\n",
			fs->volume->dev->name, fs->block_bytes);
		return -EOPNOTSUPP;
	}
	fill_volume(fs, sb);
	int replayed = ext4_replay(fs, sb, backup, &result);
	if (replayed < 0)
		return replayed;
	int error = reread_super(fs, sb);
	if (error)
		return error;
	fill_volume(fs, sb);
	error = ext4_load_inode(fs, EXT4_ROOT_INODE, &root, &node);
	if (!error && root.type != INODE_DIRECTORY)
		error = ext4_corrupt(fs, EXT4_ROOT_INODE, 0, "the root is not a directory");
	if (error) {
		kprintf("%s: ext4: not mounted, the root directory cannot be read\n",
			fs->volume->dev->name);
		return error;
	}
	say_state(fs, sb, backup, replayed, &result);
	return 0;
}

static void ext4_unmount(struct volume *volume)
{
	struct ext4 *fs = volume->private;
	transaction_free(volume);
	kpages_free(fs, sizeof(*fs));
	volume->private = NULL;
	volume->state = NULL;
}

static int ext4_mount(struct volume *volume)
{
	struct ext4_super_block sb;
	uint32_t backup;
	struct ext4 *fs = kpages_alloc(sizeof(*fs));
	void *raw = kpages_alloc(PAGE_SIZE);
	int error = fs && raw ? read_super(volume->dev, raw, &sb, &backup) : -ENOMEM;
	if (!error) {
		fs->volume = volume;
		fs->raw = raw;
		fs->lock = (struct spinlock)SPINLOCK_INIT("ext4", RANK_VOLUME);
		fs->log_lock = (struct spinlock)SPINLOCK_INIT("ext4 log", RANK_VOLUME);
		error = start(fs, &sb, backup);
	}
	if (raw)
		kpages_free(raw, PAGE_SIZE);
	if (!error)
		return 0;
	if (fs)
		kpages_free(fs, sizeof(*fs));
	volume->private = NULL;
	return error;
}

const struct filesystem ext4_filesystem = {
    .name = "ext4",
    .mount = ext4_mount,
    .unmount = ext4_unmount,
    .root_inode = EXT4_ROOT_INODE,
    .read_inode = ext4_read_inode,
    .forget_inode = ext4_release_preallocation,
    .lookup = ext4_lookup,
    .read_dir = ext4_read_dir,
    .read_link = ext4_read_link,
    .map = ext4_map,
    .map_cached = ext4_map_cached,
    .sectors = ext4_sectors,
    .writing = &ext4_writing,
};
