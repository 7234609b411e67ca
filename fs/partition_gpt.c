// SPDX-License-Identifier: BSD-2-Clause
// The GUID partition table, UEFI 2.10 chapter 5. Both of its checksums must hold before a single entry
// is believed; if the primary's do not, the backup at the end of the disk is used. What is on the disk
// may be hostile: sizes and counts are bounded before they are used.
#include "fs/partition_table.h"
#include "kernel/crc32.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"

#define GPT_PRIMARY	1
#define GPT_MIN_HEADER	92
#define GPT_MIN_ENTRY	128
#define GPT_MAX_ENTRY	4096
#define GPT_MAX_ENTRIES 1024 // the tools make 128

// Table 5-5.
struct gpt_header {
	char signature[8];
	uint32_t revision, header_bytes, header_crc, reserved;
	uint64_t my_lba, alternate_lba, first_usable, last_usable;
	uint8_t disk_guid[16];
	uint64_t entries_lba;
	uint32_t entry_count, entry_bytes, entries_crc;
} __attribute__((packed));
_Static_assert(sizeof(struct gpt_header) == GPT_MIN_HEADER, "UEFI 2.10 table 5-5");

// Table 5-6; the name that follows is not used.
struct gpt_entry {
	uint8_t type_guid[16]; // zeros: not in use
	uint8_t guid[16];
	uint64_t first, last;
	uint64_t attributes;
} __attribute__((packed));
_Static_assert(sizeof(struct gpt_entry) == 56, "UEFI 2.10 table 5-6");

// Null, or what is wrong with the header at sector `at`, which `sector` holds.
static const char *check_header(const struct partition_table *t, uint64_t at, void *sector,
				struct gpt_header *out)
{
	struct gpt_header h;
	memcpy(&h, sector, sizeof h);
	if (memcmp(h.signature, "EFI PART", 8) != 0)
		return "no signature";
	if (h.header_bytes < GPT_MIN_HEADER || h.header_bytes > t->disk->sector_bytes)
		return "a header of impossible size";
	memset((uint8_t *)sector + offsetof(struct gpt_header, header_crc), 0, 4);
	if (~crc32(~0u, sector, h.header_bytes) != h.header_crc)
		return "a damaged header (checksum)";
	if (h.my_lba != at)
		return "a header meant for another place";
	if (h.entry_bytes < GPT_MIN_ENTRY || h.entry_bytes > GPT_MAX_ENTRY ||
	    h.entry_bytes & (h.entry_bytes - 1))
		return "entries of impossible size";
	if (!h.entry_count || h.entry_count > GPT_MAX_ENTRIES)
		return "an impossible number of entries";
	if (h.first_usable > h.last_usable || h.last_usable >= t->sectors)
		return "a usable range that is not on the disk";
	*out = h;
	return NULL;
}

static uint64_t array_bytes(const struct partition_table *t, const struct gpt_header *h)
{
	return ALIGN_UP((uint64_t)h->entry_count * h->entry_bytes, (uint64_t)t->disk->sector_bytes);
}

static bool all_zero(const uint8_t *p, size_t len)
{
	while (len && !*p)
		p++, len--;
	return !len;
}

static void take_entries(struct partition_table *t, const struct gpt_header *h,
			 const uint8_t *entries)
{
	for (uint32_t n = 0; n < h->entry_count; n++) {
		struct gpt_entry e;
		memcpy(&e, entries + (size_t)n * h->entry_bytes, sizeof e);
		if (!all_zero(e.type_guid, sizeof e.type_guid))
			partition_add(t, n + 1, e.first, e.last, h->first_usable, h->last_usable);
	}
}

// Null, or what is wrong with the table whose header is at sector `at`.
static const char *read_table(struct partition_table *t, uint64_t at, void *sector)
{
	struct gpt_header h;
	if (partition_read(t, at, sector, t->disk->sector_bytes))
		return "an unreadable header";
	const char *wrong = check_header(t, at, sector, &h);
	if (wrong)
		return wrong;
	uint64_t bytes = array_bytes(t, &h);
	if (h.entries_lba >= t->sectors ||
	    bytes / t->disk->sector_bytes > t->sectors - h.entries_lba)
		return "entries that are not on the disk";
	uint8_t *entries = kpages_alloc(bytes);
	if (!entries)
		return "no memory for its entries";
	if (partition_read(t, h.entries_lba, entries, (uint32_t)bytes))
		wrong = "unreadable entries";
	else if (~crc32(~0u, entries, (size_t)h.entry_count * h.entry_bytes) != h.entries_crc)
		wrong = "damaged entries (checksum)";
	else
		take_entries(t, &h, entries);
	kpages_free(entries, bytes);
	return wrong;
}

bool partition_read_gpt(struct partition_table *t, void *sector)
{
	const char *primary = read_table(t, GPT_PRIMARY, sector);
	if (!primary)
		return true;
	const char *backup = read_table(t, t->sectors - 1, sector);
	if (!backup) {
		kprintf("%s: the primary GPT has %s; its backup is used\n", t->disk->name, primary);
		return true;
	}
	kprintf("%s: the primary GPT has %s, its backup has %s\n", t->disk->name, primary, backup);
	return false;
}
