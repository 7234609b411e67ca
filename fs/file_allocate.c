// SPDX-License-Identifier: BSD-2-Clause
// Blocks for a file before there are bytes for them (fallocate): unwritten extents, which read as zeros and are marked
// written when the pages over them go to the disk. One transaction for each run. Thread context.
#include "fs/file.h"
#include "fs/file_change.h"

// Blocks for the run that begins at `block`; *count: what it has of the blocks asked for, new or not.
static int allocate_run(struct inode *file, uint64_t block, uint64_t *count)
{
	uint64_t wanted = *count;
	unsigned tries = 0;
	struct change c;
	int error;
	do {
		error = change_begin(&c, file->volume, CHANGE_ALLOCATE, CHANGE_INODE, CHANGE_END);
		if (error)
			return error;
		change_inode(&c, file);
		*count = wanted;
		error = change_end(&c, c.format->preallocate(&c.t, file, block, count));
	} while (change_again(file->volume, &error, &tries));
	return error;
}

int file_allocate(struct inode *file, uint64_t from, uint64_t bytes, bool keep_size)
{
	uint64_t per_block = file->volume->block_bytes, end = from + bytes;
	uint64_t block = from / per_block, last = (end + per_block - 1) / per_block, count;
	int error = 0;
	if (file->type != INODE_FILE)
		return file->type == INODE_DIRECTORY ? -EISDIR : -ENODEV;
	if (!volume_filesystem(file->volume)->writing)
		return -EROFS;
	if (end < from || end > volume_filesystem(file->volume)->writing->size_max(file))
		return -EFBIG;
	pagecache_truncate_begin(file);
	for (; block < last && !error; block += count) {
		count = last - block;
		error = allocate_run(file, block, &count);
	}
	if (!error && !keep_size && end > file->size)
		error = file_extend_held(file, end);
	pagecache_truncate_end(file);
	return error;
}
