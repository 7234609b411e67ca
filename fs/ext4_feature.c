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
