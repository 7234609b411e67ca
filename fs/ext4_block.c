// SPDX-License-Identifier: BSD-2-Clause
// Blocks of metadata, and what is said about corruption. Thread and worker
// context; stage 6 of the read path when it misses. A block is held between ext4_block_get and
// ext4_block_put; nothing may point into it afterwards.
#include "fs/ext4.h"

#include "kernel/crc32.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/page.h"
#include "kernel/panic.h"
#include "kernel/timer.h"

static uint64_t corruptions;
KSTAT_COUNTER(corruptions, "pagewire_ext4_corruptions_total",
	      "Corrupt ext4 metadata met; each was answered with an error");

#define LOG_WINDOW_NS	 (5 * NS_PER_SEC)
#define LOG_WINDOW_LINES 16

// Lines of the present window that were left out are told of when the next one begins.
static bool log_line_allowed(struct ext4 *fs, uint32_t *left_out)
{
	uint64_t now = clock_ns();
	*left_out = 0;
	spin_lock_wtd(&fs->log_lock);
	if (now - fs->log_window_ns >= LOG_WINDOW_NS) {
		if (fs->log_lines > LOG_WINDOW_LINES)
			*left_out = fs->log_lines - LOG_WINDOW_LINES;
		fs->log_window_ns = now;
		fs->log_lines = 0;
	}
	bool allowed = fs->log_lines < LOG_WINDOW_LINES;
	fs->log_lines++;
	spin_unlock_wtd(&fs->log_lock);
	return allowed;
}

int ext4_corrupt(struct ext4 *fs, uint64_t inode, uint64_t block, const char *format, ...)
{
	char what[120];
	uint32_t left_out;
	va_list args;
	__atomic_fetch_add(&corruptions, 1, __ATOMIC_RELAXED);
	if (!log_line_allowed(fs, &left_out))
		return -EUCLEAN;
	va_start(args, format);
	kvsnprintf(what, sizeof(what), format, args);
	va_end(args);
	if (left_out)
		kprintf("%s: ext4: %u more lines about corruption were left out\n",
			fs->volume->dev->name, left_out);
	kprintf("%s: ext4: corrupt: inode %lu, block %lu: %s\n", fs->volume->dev->name,
		(unsigned long)inode, (unsigned long)block, what);
	return -EUCLEAN;
}

int ext4_block_get(struct ext4 *fs, uint64_t block, struct ext4_block *out)
{
	*out = (struct ext4_block){.fs = fs};
	if (block >= fs->blocks)
		return -ERANGE;
	if (!fs->raw)
		return meta_get(fs->volume, block, &out->data, &out->page);
	ASSERT(!fs->raw_in_use);
	int error =
	    block_rw_sync(fs->volume->dev, BLOCK_READ, block << (fs->block_shift - SECTOR_SHIFT),
			  fs->raw, fs->block_bytes);
	if (error)
		return error;
	fs->raw_in_use = true;
	out->data = fs->raw;
	return 0;
}

void ext4_block_put(struct ext4_block *block)
{
	if (block->page)
		page_wire_put(block->page);
	else
		block->fs->raw_in_use = false;
	*block = (struct ext4_block){.fs = block->fs};
}

bool ext4_block_verified(const struct ext4_block *block)
{
	return block->page && meta_verified(block->page, block->data);
}

void ext4_block_set_verified(const struct ext4_block *block)
{
	if (block->page)
		meta_set_verified(block->page, block->data);
}
