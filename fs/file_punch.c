// SPDX-License-Identifier: BSD-2-Clause
// Holes: bytes of a file become zeros without being written, and their blocks are given back. Thread context.
//
//	who writes waits ... the ends' pages: zeros; everything is written ............ (1)
//	                     written blocks become unwritten ones: what is read from now on is zeros
//	                     the cache's pages of them go; reads of the old bytes end ... (2)
//	                     the blocks go, unless only zeros were asked for ............ (3)
//
// Nothing reads or writes blocks when they are given back: after (1) no page is DIRTY, and none becomes so before the
// end; after (2) no read is under way that found them written. A page on the wire stays as it is for who has it.
#include "fs/file.h"
#include "fs/file_change.h"

#include "kernel/timer.h"

typedef int (*run_change)(struct transaction *t, struct inode *file, uint64_t block,
			  uint64_t *count);

// One transaction for each run of [block, end).
static int change_runs(struct inode *file, uint64_t block, uint64_t end, run_change change)
{
	uint64_t count;
	int error = 0;
	for (; block < end && !error; block += count) {
		unsigned tries = 0;
		do {
			struct change c;
			error = change_begin(&c, file->volume, CHANGE_ALLOCATE,
					     CHANGE_TRUNCATE_STEP, CHANGE_INODE, CHANGE_END);
			if (error)
				return error;
			change_inode(&c, file);
			count = end - block;
			error = change_end(&c, change(&c.t, file, block, &count));
		} while (change_again(file->volume, &error, &tries));
	}
	return error;
}

// Its time, for the bytes are about to change; and whether the format can do it at all.
static int begin(struct inode *file)
{
	uint64_t now = clock_realtime_ns(), none = 0;
	struct change c;
	int error = change_begin(&c, file->volume, CHANGE_INODE, CHANGE_END);
	if (error)
		return error;
	change_inode(&c, file);
	error = c.format->unwrite(&c.t, file, 0, &none);
	if (!error) {
		wtd_disable();
		file->mtime_sec = (int64_t)(now / NS_PER_SEC);
		file->mtime_nsec = (uint32_t)(now % NS_PER_SEC);
		wtd_enable();
		error = c.format->write_inode(&c.t, file);
	}
	if (!error)
		inode_changed(file);
	return change_end(&c, error);
}

// [first, last): whole pages. The parts of pages around them, or the part of one page.
static int zero_ends(struct inode *file, uint64_t from, uint64_t end, uint64_t first, uint64_t last)
{
	int error = from < first ? pagecache_zero(file, from, MIN(first, end)) : 0;
	return !error && last >= first && last < end ? pagecache_zero(file, last, end) : error;
}

static int punch(struct inode *file, uint64_t from, uint64_t end, bool keep_blocks)
{
	const struct filesystem_writing *format = volume_filesystem(file->volume)->writing;
	uint32_t bytes = file->volume->block_bytes;
	if (end >= file->size) // the last page as a whole
		end = ALIGN_UP(file->size, PAGE_SIZE);
	uint64_t first = ALIGN_UP(from, PAGE_SIZE), last = ALIGN_DOWN(end, PAGE_SIZE);
	int error = begin(file);
	if (!error)
		error = zero_ends(file, from, end, first, last);
	if (!error)
		error = file_sync_wait(file);
	if (error || first >= last)
		return error;
	error = change_runs(file, first / bytes, last / bytes, format->unwrite);
	pagecache_punch(file, first >> PAGE_SHIFT, last >> PAGE_SHIFT); // after an error, too
	if (!error && !keep_blocks)
		error = change_runs(file, first / bytes, last / bytes, format->unmap);
	return error;
}

int file_punch(struct inode *file, uint64_t from, uint64_t bytes, bool keep_blocks)
{
	int error = 0;
	if (file->type != INODE_FILE)
		return file->type == INODE_DIRECTORY ? -EISDIR : -ENODEV;
	if (!volume_filesystem(file->volume)->writing)
		return -EROFS;
	pagecache_truncate_begin(file);
	if (from < file->size)
		error = punch(file, from, from + MIN(bytes, UINT64_MAX - from), keep_blocks);
	pagecache_truncate_end(file);
	return error;
}
