// SPDX-License-Identifier: BSD-2-Clause
// Feature bits. An incompat bit changes how the volume must be read: each one is either understood
// here or the volume is refused, by the feature's name. A ro_compat bit matters to writers only,
// with the exceptions below. compat bits never stand in the way.
#include "fs/ext4.h"

#include "kernel/kprintf.h"
#include "kernel/kstring.h"

// MMP guards against a second writer, and EA_INODE only moves attribute values: reading is the
// same.
#define INCOMPAT_READ                                                                              \
	(INCOMPAT_FILETYPE | INCOMPAT_RECOVER | INCOMPAT_META_BG | INCOMPAT_EXTENTS |              \
	 INCOMPAT_64BIT | INCOMPAT_MMP | INCOMPAT_FLEX_BG | INCOMPAT_EA_INODE |                    \
	 INCOMPAT_CSUM_SEED | INCOMPAT_LARGEDIR)
// A replica's blocks are shared with another device.
#define RO_COMPAT_REFUSED RO_COMPAT_REPLICA

static const struct {
	uint32_t bit;
	const char *name; // as debugfs and mke2fs call it
} incompat_names[] = {
    {INCOMPAT_COMPRESSION, "compression"}, {INCOMPAT_JOURNAL_DEV, "journal_dev"},
    {INCOMPAT_DIRDATA, "dirdata"},	   {INCOMPAT_INLINE_DATA, "inline_data"},
    {INCOMPAT_ENCRYPT, "encrypt"},	   {INCOMPAT_CASEFOLD, "casefold"},
};

// What is written. Values of attributes in inodes of their own (ea_inode) are only read, and how a second writer is
// kept out (mmp) is not known here. Of the rest: clusters (bigalloc), files that may not change (verity), and
// counts that every change would have to keep (quota, project).
#define INCOMPAT_WRITE                                                                             \
	(INCOMPAT_FILETYPE | INCOMPAT_RECOVER | INCOMPAT_EXTENTS | INCOMPAT_64BIT |                \
	 INCOMPAT_FLEX_BG | INCOMPAT_CSUM_SEED | INCOMPAT_META_BG | INCOMPAT_LARGEDIR)
#define RO_COMPAT_WRITE                                                                            \
	(RO_COMPAT_SPARSE_SUPER | RO_COMPAT_LARGE_FILE | RO_COMPAT_HUGE_FILE |                     \
	 RO_COMPAT_GDT_CSUM | RO_COMPAT_DIR_NLINK | RO_COMPAT_EXTRA_ISIZE |                        \
	 RO_COMPAT_METADATA_CSUM | RO_COMPAT_ORPHAN_PRESENT)

static const struct {
	uint32_t bit;
	const char *name;
} write_names[] =
    {
	{INCOMPAT_MMP, "mmp"},
	{INCOMPAT_EA_INODE, "ea_inode"},
},
  ro_compat_names[] = {
      {RO_COMPAT_SNAPSHOT, "snapshot"}, {RO_COMPAT_QUOTA, "quota"},
      {RO_COMPAT_BIGALLOC, "bigalloc"}, {RO_COMPAT_READONLY, "read-only"},
      {RO_COMPAT_PROJECT, "project"},	{RO_COMPAT_SHARED_BLOCKS, "shared_blocks"},
      {RO_COMPAT_VERITY, "verity"},
};

static void add(char *text, size_t size, const char *name)
{
	size_t used = strlen(text);
	ksnprintf(text + used, size - used, " %s", name);
}

int ext4_check_features(const char *device, const struct ext4_super_block *sb)
{
	char names[160] = "", number[24];
	if (sb->s_rev_level == 0)
		return 0; // such superblocks have no feature words
	uint32_t incompat = sb->s_feature_incompat & ~(uint32_t)INCOMPAT_READ;
	for (size_t i = 0; i < ARRAY_SIZE(incompat_names); i++)
		if (incompat & incompat_names[i].bit) {
			add(names, sizeof(names), incompat_names[i].name);
			incompat &= ~incompat_names[i].bit;
		}
	if (incompat) {
		ksnprintf(number, sizeof(number), "incompat:%#x", incompat);
		add(names, sizeof(names), number);
	}
	if (sb->s_feature_ro_compat & RO_COMPAT_REFUSED)
		add(names, sizeof(names), "replica");
	if ((sb->s_feature_compat & COMPAT_HAS_JOURNAL) && !sb->s_journal_inum &&
	    (sb->s_feature_incompat & INCOMPAT_RECOVER))
		add(names, sizeof(names), "external journal that needs recovery");
	if (!names[0])
		return 0;
	kprintf("%s: ext4: not mounted, it needs what is not supported:%s\n", device, names);
	return -EOPNOTSUPP;
}

int ext4_check_write_features(const char *device, const struct ext4_super_block *sb)
{
	char names[160] = "", number[24];
	uint32_t incompat = sb->s_feature_incompat & ~(uint32_t)INCOMPAT_WRITE;
	uint32_t ro_compat = sb->s_feature_ro_compat & ~(uint32_t)RO_COMPAT_WRITE;
	for (size_t i = 0; i < ARRAY_SIZE(write_names); i++)
		if (incompat & write_names[i].bit)
			add(names, sizeof(names), write_names[i].name);
	for (size_t i = 0; i < ARRAY_SIZE(ro_compat_names); i++)
		if (ro_compat & ro_compat_names[i].bit) {
			add(names, sizeof(names), ro_compat_names[i].name);
			ro_compat &= ~ro_compat_names[i].bit;
		}
	if (ro_compat) {
		ksnprintf(number, sizeof(number), "ro_compat:%#x", ro_compat);
		add(names, sizeof(names), number);
	}
	if (!names[0])
		return 0;
	kprintf("%s: ext4: stays read-only, it has what is not written:%s\n", device, names);
	return -EOPNOTSUPP;
}
