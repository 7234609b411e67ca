// SPDX-License-Identifier: BSD-2-Clause
// Where a file has bytes and where it has holes (SEEK_DATA, SEEK_HOLE), and what it takes of the volume. Blocks that
// were allocated and not written (fallocate) are holes, pages that are DIRTY are data, blocks or not. Thread context.
#include "fs/file.h"
#include "fs/pagecache_private.h"
#include "fs/transaction.h"
#include "fs/volume_private.h"

#define LOOK 512 // pages looked at before others may have the lock

// The first page from that one on which is not on the disk as it is; UINT64_MAX: none.
static uint64_t first_dirty(struct page_owner *owner, uint64_t index)
{
	spin_lock_wtd(&cache.lock);
	for (uint64_t n = 1; index < owner->top && owner->changes.dirty; index++, n++) {
		const struct page *page = cache_find(owner, index);
		if (page && (page->state == PAGE_DIRTY || page->state == PAGE_WRITING)) {
			spin_unlock_wtd(&cache.lock);
			return index;
		}
		if (n % LOOK == 0) {
			spin_unlock_wtd(&cache.lock);
			spin_lock_wtd(&cache.lock);
		}
	}
	spin_unlock_wtd(&cache.lock);
	return UINT64_MAX;
}

static int map(struct inode *file, uint64_t block, struct fs_extent *ext)
{
	volume_lock_shared(file->volume);
	int error = volume_filesystem(file->volume)->map(file, block, ext);
	volume_unlock_shared(file->volume);
	return error;
}

// What of the file there is from byte `at` on, of one kind: *end is the first byte behind it.
static int look(struct inode *file, uint64_t at, uint64_t *dirty, bool *hole, uint64_t *end)
{
	uint64_t page = at >> PAGE_SHIFT, bytes = file->volume->block_bytes;
	struct fs_extent ext;
	if (*dirty < page) // before the map: a page that is written meanwhile has blocks there
		*dirty = first_dirty(inode_page_owner(file), page);
	if (*dirty == page) {
		*hole = false;
		*end = (page + 1) << PAGE_SHIFT;
		return 0;
	}
	int error = map(file, at / bytes, &ext);
	if (error)
		return error;
	*hole = ext.hole;
	*end = (ext.file_block + ext.count) * bytes;
	if (*dirty != UINT64_MAX)
		*end = MIN(*end, *dirty << PAGE_SHIFT);
	return 0;
}

int64_t file_seek(struct inode *file, uint64_t from, bool for_hole)
{
	uint64_t dirty = 0, end;
	bool hole;
	if (from >= file->size)
		return -ENXIO;
	dirty = first_dirty(inode_page_owner(file), from >> PAGE_SHIFT);
	for (; from < file->size; from = end) {
		int error = look(file, from, &dirty, &hole, &end);
		if (error)
			return error;
		if (hole == for_hole)
			return (int64_t)from;
	}
	return for_hole ? (int64_t)file->size : -ENXIO;
}

uint64_t file_sectors(struct inode *inode)
{
	uint64_t have, all = ALIGN_UP(inode->size, PAGE_SIZE) >> SECTOR_SHIFT;
	uint64_t dirty = inode_page_owner(inode)->changes.dirty; // as of now
	volume_lock_shared(inode->volume);
	int error = volume_filesystem(inode->volume)->sectors(inode, &have);
	volume_unlock_shared(inode->volume);
	if (error)
		return all;
	return have < all ? MIN(all, have + dirty * (PAGE_SIZE >> SECTOR_SHIFT)) : have;
}
