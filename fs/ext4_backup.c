// SPDX-License-Identifier: BSD-2-Clause
// The superblock's backups, for a volume whose first copy is damaged. They lie in the first block
// of group 1 and of some more. Mounting thread.
//
// A device that merely was an ext4 volume once still has its old backups. So a backup counts only
// if the first copy still shows that it is the same volume: by its magic or by its UUID.
#include "fs/ext4.h"

#include "kernel/kstring.h"

static bool same_volume(const struct ext4_super_block *primary,
			const struct ext4_super_block *backup)
{
	static const uint8_t none[sizeof(primary->s_uuid)];
	bool same_uuid = !memcmp(primary->s_uuid, backup->s_uuid, sizeof(none)) &&
			 memcmp(primary->s_uuid, none, sizeof(none));
	return same_uuid || primary->s_magic == EXT4_SUPER_MAGIC;
}

static bool sound_backup(const struct ext4_super_block *backup, uint32_t log_block_size,
			 uint32_t group, uint64_t device_bytes)
{
	return backup->s_magic == EXT4_SUPER_MAGIC && backup->s_log_block_size == log_block_size &&
	       backup->s_block_group_nr == (uint16_t)group && ext4_super_csum_ok(backup) &&
	       !ext4_super_complaint(backup, device_bytes);
}

uint32_t ext4_find_backup(struct block_device *dev, struct ext4_super_block *sb, void *buffer)
{
	static const uint8_t groups[] = {1, 3, 5, 7, 9};
	uint64_t device_bytes = dev->sectors << SECTOR_SHIFT;
	for (uint32_t log = 0; log <= 2; log++)
		for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
			// mke2fs makes groups of as many blocks as one block of bitmap has bits.
			uint64_t block_bytes = EXT4_SUPER_OFFSET << log;
			uint64_t block = groups[i] * block_bytes * 8 + (log ? 0 : 1);
			uint64_t at = block * block_bytes;
			if (at + PAGE_SIZE > device_bytes)
				continue;
			if (block_rw_sync(dev, BLOCK_READ, at >> SECTOR_SHIFT, buffer, PAGE_SIZE))
				continue;
			const struct ext4_super_block *backup = buffer;
			if (!sound_backup(backup, log, groups[i], device_bytes) ||
			    !same_volume(sb, backup))
				continue;
			memcpy(sb, backup, sizeof(*sb));
			return groups[i];
		}
	return 0;
}
