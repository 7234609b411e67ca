// SPDX-License-Identifier: BSD-2-Clause
// What the boot loader left us, into struct boot_info: Multiboot2 (specification 2.0, section 3.6) and
// PVH (Xen's public/arch-x86/hvm/start_info.h). The loader's structures are read through a reader that
// checks bounds, copied, and never looked at again.
#include "kernel/bootinfo.h"
#include "kernel/kstring.h"
#include "kernel/page.h"

struct mb2_tag {
	uint32_t type, size; // size includes this head
};
enum {
	MB2_END = 0,
	MB2_CMDLINE = 1,
	MB2_MODULE = 3,
	MB2_MMAP = 6,
	MB2_FRAMEBUFFER = 8,
	MB2_ACPI_OLD = 14,
	MB2_ACPI_NEW = 15,
};
struct mb2_mmap {
	struct mb2_tag tag;
	uint32_t entry_size, entry_version;
};
struct mb2_mmap_entry {
	uint64_t base, length;
	uint32_t type, reserved;
};
struct mb2_module {
	struct mb2_tag tag;
	uint32_t start, end;
};
struct mb2_framebuffer {
	struct mb2_tag tag;
	uint64_t addr;
	uint32_t pitch, width, height;
	uint8_t bpp, type; // 0 indexed, 1 RGB, 2 EGA text
	uint16_t reserved;
	uint8_t red_shift, red_bits, green_shift, green_bits, blue_shift, blue_bits;
};
_Static_assert(sizeof(struct mb2_mmap_entry) == 24, "Multiboot2 3.6.8");
_Static_assert(offsetof(struct mb2_framebuffer, red_shift) == 32, "Multiboot2 3.6.12");

struct pvh_start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, cmdline, rsdp, memmap; // memmap and its count: version 1 and later
	uint32_t memmap_count, reserved;
};
struct pvh_memmap_entry {
	uint64_t addr, size;
	uint32_t type, reserved;
};
struct pvh_module {
	uint64_t addr, size, cmdline, reserved;
};
#define PVH_MAGIC 0x336ec578
_Static_assert(sizeof(struct pvh_start_info) == 56, "hvm_start_info version 1");
_Static_assert(sizeof(struct pvh_memmap_entry) == 24, "hvm_memmap_table_entry");

#define E820_USABLE 1	    // the same number in both protocols
#define ADDRESS_END BIT(46) // of the direct map (DIRECT_BYTES): 64 TB
#define TABLE_LIMIT 4096    // entries of one table: a longer one is garbage

static void remove_range(struct boot_info *info, unsigned i)
{
	info->range_count--;
	memmove(&info->ranges[i], &info->ranges[i + 1],
		(info->range_count - i) * sizeof(info->ranges[0]));
}

static bool insert_range(struct boot_info *info, unsigned i, struct boot_range range)
{
	if (info->range_count == BOOT_MAX_RANGES) {
		info->ranges_lost = true;
		return false;
	}
	memmove(&info->ranges[i + 1], &info->ranges[i],
		(info->range_count - i) * sizeof(info->ranges[0]));
	info->ranges[i] = range;
	info->range_count++;
	return true;
}

// Takes [start, end) out of the ranges of the given kind. When the table is full the upper part of a
// range that would be split is given up: memory is lost, never invented.
static void carve(struct boot_info *info, paddr_t start, paddr_t end, bool usable)
{
	for (unsigned i = 0; i < info->range_count; i++) {
		struct boot_range *r = &info->ranges[i], upper = *r;

		if (r->usable != usable || r->end <= start || r->start >= end)
			continue;
		if (r->start >= start && r->end <= end) {
			remove_range(info, i--);
		} else if (r->start < start) {
			upper.start = end;
			r->end = start;
			if (upper.end > end)
				insert_range(info, i + 1, upper);
		} else {
			r->start = end;
		}
	}
}

// Adds the parts of [start, end) that no range covers yet.
static void fill(struct boot_info *info, paddr_t start, paddr_t end, bool usable)
{
	unsigned i = 0;

	while (start < end) {
		struct boot_range part = {start, end, usable};

		while (i < info->range_count && info->ranges[i].end <= start)
			i++;
		if (i < info->range_count && info->ranges[i].start <= start) {
			start = info->ranges[i].end;
			continue;
		}
		if (i < info->range_count)
			part.end = MIN(end, info->ranges[i].start);
		start = part.end;
		// Neighbours of one kind become one range: the table stays short.
		if (i > 0 && info->ranges[i - 1].end == part.start &&
		    info->ranges[i - 1].usable == usable)
			info->ranges[i - 1].end = part.end;
		else if (!insert_range(info, i, part))
			return;
	}
}

void bootinfo_add_range(struct boot_info *info, paddr_t start, paddr_t end, bool usable)
{
	start = MIN(start, ADDRESS_END);
	end = MIN(end, ADDRESS_END);
	if (usable) { // whole frames only
		start = ALIGN_UP(start, PAGE_SIZE);
		end = ALIGN_DOWN(end, PAGE_SIZE);
	} else {
		start = ALIGN_DOWN(start, PAGE_SIZE);
		end = ALIGN_UP(end, PAGE_SIZE);
	}
	// Once something did not fit, what is usable may overlap a reservation that is forgotten.
	if (start >= end || (usable && info->ranges_lost))
		return;
	if (!usable)
		carve(info, start, end, true);
	fill(info, start, end, usable);
}

void bootinfo_reserve(struct boot_info *info, paddr_t start, paddr_t end)
{
	bootinfo_add_range(info, start, end, false);
}

uint64_t bootinfo_drop_far(struct boot_info *info)
{
	int64_t sum = 0, best = INT64_MIN;
	uint64_t dropped = 0;
	unsigned last = 0;

	for (unsigned i = 0; i < info->range_count; i++) {
		const struct boot_range *r = &info->ranges[i];

		if (!r->usable)
			continue;
		sum += (int64_t)(r->end - r->start);
		if (sum - (int64_t)((r->end >> PAGE_SHIFT) * sizeof(struct page)) > best) {
			best = sum - (int64_t)((r->end >> PAGE_SHIFT) * sizeof(struct page));
			last = i;
		}
	}
	for (unsigned i = last + 1; i < info->range_count; i++)
		if (info->ranges[i].usable) {
			dropped += info->ranges[i].end - info->ranges[i].start;
			remove_range(info, i--);
		}
	return dropped;
}

static void add_entry(struct boot_info *info, uint64_t base, uint64_t length, uint32_t type)
{
	uint64_t end;

	if (__builtin_add_overflow(base, length, &end))
		end = ADDRESS_END;
	bootinfo_add_range(info, base, end, type == E820_USABLE);
}

static void copy_cmdline(struct boot_info *info, const char *text, size_t max)
{
	size_t len = MIN(strnlen(text, max), sizeof(info->cmdline) - 1);

	memcpy(info->cmdline, text, len);
	info->cmdline[len] = 0;
}

static void mb2_mmap(struct boot_info *info, const struct mb2_mmap *mmap)
{
	uint32_t size, offset = sizeof(*mmap);

	if (mmap->tag.size < sizeof(*mmap))
		return;
	size = mmap->entry_size;
	if (size < sizeof(struct mb2_mmap_entry) || size % 8)
		return;
	for (; offset + (uint64_t)size <= mmap->tag.size; offset += size) {
		const struct mb2_mmap_entry *e = (const void *)((const char *)mmap + offset);

		add_entry(info, e->base, e->length, e->type);
	}
}

static void mb2_framebuffer(struct boot_info *info, const struct mb2_framebuffer *fb)
{
	if (fb->tag.size < offsetof(struct mb2_framebuffer, red_shift))
		return;
	if (fb->type == 2)
		info->text_mode = true;
	if (fb->type != 1 || fb->tag.size < sizeof(*fb) - 2)
		return;
	if (!fb->addr || fb->width > 16384 || fb->height > 16384 ||
	    (fb->bpp != 32 && fb->bpp != 24 && fb->bpp != 16) ||
	    fb->pitch < fb->width * (fb->bpp / 8) || fb->pitch > 16384 * 4 ||
	    fb->red_shift + fb->red_bits > fb->bpp || fb->green_shift + fb->green_bits > fb->bpp ||
	    fb->blue_shift + fb->blue_bits > fb->bpp)
		return;
	add_entry(info, fb->addr, (uint64_t)fb->pitch * fb->height, 0);
	info->framebuffer = fb->addr;
	info->fb_width = fb->width;
	info->fb_height = fb->height;
	info->fb_pitch = fb->pitch;
	info->fb_bpp = fb->bpp;
	info->fb_red_shift = fb->red_shift;
	info->fb_green_shift = fb->green_shift;
	info->fb_blue_shift = fb->blue_shift;
}

static void mb2_tag(struct boot_info *info, const struct mb2_tag *tag)
{
	const char *body = (const char *)(tag + 1);
	uint32_t len = tag->size - sizeof(*tag);
	const struct mb2_module *module = (const void *)tag;

	switch (tag->type) {
	case MB2_CMDLINE:
		copy_cmdline(info, body, len);
		break;
	case MB2_MODULE:
		if (tag->size >= sizeof(*module))
			bootinfo_reserve(info, module->start, module->end);
		break;
	case MB2_MMAP:
		mb2_mmap(info, (const void *)tag);
		break;
	case MB2_FRAMEBUFFER:
		mb2_framebuffer(info, (const void *)tag);
		break;
	case MB2_ACPI_OLD:
	case MB2_ACPI_NEW: // the newer one is kept, whatever their order
		if (tag->type == MB2_ACPI_NEW || !info->rsdp_copied) {
			memset(info->rsdp_copy, 0, sizeof(info->rsdp_copy));
			memcpy(info->rsdp_copy, body, MIN(len, sizeof(info->rsdp_copy)));
			info->rsdp_copied = true;
		}
		break;
	}
}

static bool parse_multiboot2(paddr_t addr, const struct boot_reader *reader, struct boot_info *info)
{
	const uint32_t *head = reader->at(reader->ctx, addr, 8);
	const char *base;
	uint32_t total;
	uint64_t offset = 8;

	info->loader = "multiboot2";
	if (!head || addr % 8)
		return false;
	total = head[0];
	base = reader->at(reader->ctx, addr, total);
	if (!base || total < 16)
		return false;
	while (offset + sizeof(struct mb2_tag) <= total) {
		const struct mb2_tag *tag = (const void *)(base + offset);

		if (tag->type == MB2_END)
			break;
		if (tag->size < sizeof(*tag) || tag->size > total - offset)
			return false;
		mb2_tag(info, tag);
		offset += ALIGN_UP(tag->size, 8);
	}
	return info->range_count != 0;
}

// Copies an object out of the loader's memory, whatever its alignment there.
static bool fetch(const struct boot_reader *reader, paddr_t addr, void *to, size_t len)
{
	const void *from = reader->at(reader->ctx, addr, len);

	if (from)
		memcpy(to, from, len);
	return from != NULL;
}

static void pvh_cmdline(struct boot_info *info, const struct boot_reader *reader, paddr_t addr)
{
	size_t n = 0;

	while (n < sizeof(info->cmdline) - 1 && fetch(reader, addr + n, &info->cmdline[n], 1) &&
	       info->cmdline[n])
		n++;
	info->cmdline[n] = 0;
}

static bool parse_pvh(paddr_t addr, const struct boot_reader *reader, struct boot_info *info)
{
	struct pvh_start_info start;
	struct pvh_memmap_entry entry;
	struct pvh_module module;

	info->loader = "pvh";
	info->text_mode = true; // the firmware's mode 3, if there is a screen at all
	if (!fetch(reader, addr, &start, sizeof(start)) || start.magic != PVH_MAGIC ||
	    start.version < 1 || start.memmap_count > TABLE_LIMIT ||
	    start.module_count > TABLE_LIMIT)
		return false;
	for (uint32_t i = 0; i < start.memmap_count; i++) {
		if (!fetch(reader, start.memmap + i * sizeof(entry), &entry, sizeof(entry)))
			return false;
		add_entry(info, entry.addr, entry.size, entry.type);
	}
	for (uint32_t i = 0; i < start.module_count; i++)
		if (fetch(reader, start.modules + i * sizeof(module), &module, sizeof(module)))
			add_entry(info, module.addr, module.size, 0);
	if (start.cmdline)
		pvh_cmdline(info, reader, start.cmdline);
	info->rsdp = start.rsdp;
	return info->range_count != 0;
}

bool bootinfo_parse(enum boot_door door, paddr_t addr, const struct boot_reader *reader,
		    struct boot_info *info)
{
	return door == DOOR_PVH ? parse_pvh(addr, reader, info)
				: parse_multiboot2(addr, reader, info);
}
