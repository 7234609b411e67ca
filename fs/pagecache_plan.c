// SPDX-License-Identifier: BSD-2-Clause
// From pages to block requests: asks the file system where the blocks lie, joins what is contiguous on
// the disk into one request and what is contiguous in memory into one segment. A page of 4 KB may be up
// to four runs on the disk (1 KB blocks). Nothing here holds the cache's lock.
//
// Zeros (holes inside a page, the rest of the last page) are written through a window: file pages may
// not be mapped. No file byte is read.
#include "fs/pagecache_private.h"
#include "fs/transaction.h"
#include "fs/volume_private.h"

#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/vmm.h"

#define JBD2_MAGIC_BYTES "\xc0\x3b\x39\x98"
#define PAGE_SECTORS	 (PAGE_SIZE >> SECTOR_SHIFT)

uint64_t owner_end(const struct page_owner *owner)
{
	if (owner->inode)
		return (owner->inode->size + PAGE_SIZE - 1) >> PAGE_SHIFT;
	return (owner->volume->dev->sectors + PAGE_SECTORS - 1) / PAGE_SECTORS;
}

static void zero(struct page *page, uint32_t from, uint32_t bytes)
{
	uint8_t *window = vmm_window_open(page);
	memset(window + from, 0, bytes);
	vmm_window_close(page);
}

// Bytes [offset, offset + bytes) of the page come from `lba`. There is room for one more of each.
static void add_piece(struct page_read *read, uint32_t n, uint32_t offset, uint32_t bytes,
		      uint64_t lba)
{
	const struct block_device *dev = read->owner->volume->dev;
	paddr_t addr = page_phys(read->page[n]) + offset;
	uint32_t sectors = bytes >> SECTOR_SHIFT;
	struct block_request *req = read->nreq ? &read->req[read->nreq - 1] : NULL;
	struct block_seg *seg = read->nseg ? &read->seg[read->nseg - 1] : NULL;
	uint32_t *length = read->nreq ? &read->sectors[read->nreq - 1] : NULL;
	bool next = req && req->lba + *length == lba && *length + sectors <= dev->max_sectors;
	bool joins = next && seg->addr + seg->bytes == addr;

	if (joins) {
		seg->bytes += bytes;
		*length += sectors;
		return;
	}
	seg = &read->seg[read->nseg++];
	*seg = (struct block_seg){.addr = addr, .bytes = bytes};
	if (next && req->nsegs < dev->max_segs) {
		req->nsegs++;
		*length += sectors;
		return;
	}
	read->sectors[read->nreq] = sectors;
	read->req[read->nreq++] = (struct block_request){.segs = seg, .nsegs = 1, .lba = lba};
}

static bool in_extent(const struct fs_extent *ext, uint64_t block)
{
	return block >= ext->file_block && block - ext->file_block < ext->count;
}

static int map_block(struct inode *inode, uint64_t block, bool may_sleep, struct fs_extent *ext)
{
	const struct filesystem *fs = volume_filesystem(inode->volume);
	if (in_extent(ext, block))
		return 0;
	*ext = (struct fs_extent){0};
	int error = fs->map_cached(inode, block, ext);
	if (error == -EAGAIN && may_sleep) {
		volume_lock_shared(inode->volume);
		error = fs->map(inode, block, ext);
		volume_unlock_shared(inode->volume);
	}
	if (!error && !in_extent(ext, block))
		PANIC("%s: map of inode %lu gave no extent with block %lu", fs->name,
		      (unsigned long)inode->number, (unsigned long)block);
	if (error)
		*ext = (struct fs_extent){0};
	return error;
}

int plan_look(const struct page_owner *owner, uint64_t index, bool may_sleep)
{
	struct fs_extent ext = {0};
	return map_block(owner->inode, index * (PAGE_SIZE / owner->volume->block_bytes), may_sleep,
			 &ext);
}

// Page `index` is all hole; ext is the last extent of it. How far does the hole go?
static void note_hole(struct page_read *read, uint64_t index, const struct fs_extent *ext,
		      uint32_t per_page)
{
	uint64_t first = (ext->file_block + per_page - 1) / per_page;
	uint64_t last = (ext->file_block + ext->count) / per_page, end = owner_end(read->owner);
	uint64_t size = read->owner->inode->size, bytes = read->owner->volume->block_bytes;
	if (ext->file_block + ext->count >= (size + bytes - 1) / bytes)
		last = end;
	if (index < first || index >= last) {
		first = index;
		last = index + 1;
	}
	read->hole_first = first;
	read->hole_end = MIN(last, end);
}

// Where a page's blocks lie. Nothing is added before all of them are known.
struct page_map {
	uint64_t lba[PAGE_SIZE / 1024];
	bool hole[PAGE_SIZE / 1024], escaped[PAGE_SIZE / 1024];
	uint32_t holes;
};

static int map_page(struct page_read *read, uint64_t index, bool may_sleep, struct fs_extent *ext,
		    struct page_map *map)
{
	struct inode *inode = read->owner->inode;
	uint32_t bytes = inode->volume->block_bytes, per_page = PAGE_SIZE / bytes;
	uint64_t blocks = (inode->size + bytes - 1) / bytes;

	map->holes = 0;
	for (uint32_t b = 0; b < per_page; b++) {
		uint64_t block = index * per_page + b;
		map->hole[b] = block >= blocks;
		if (!map->hole[b]) {
			int error = map_block(inode, block, may_sleep, ext);
			if (error)
				return error;
			map->hole[b] = ext->hole;
		}
		map->holes += map->hole[b];
		if (map->hole[b])
			continue;
		uint64_t disk = ext->disk_block + (block - ext->file_block);
		map->lba[b] = disk * (bytes >> SECTOR_SHIFT);
		map->escaped[b] = ext->escaped;
	}
	return 0;
}

// Adds page n of a file. 0, -EAGAIN or the format's error.
static int plan_file_page(struct page_read *read, uint32_t n, bool may_sleep, struct fs_extent *ext)
{
	uint32_t bytes = read->owner->volume->block_bytes, per_page = PAGE_SIZE / bytes;
	struct page_map map;
	int error = map_page(read, read->first + n, may_sleep, ext, &map);

	if (error)
		return error;
	read->escaped[n] = 0;
	if (map.holes == per_page) {
		read->hole |= 1U << n;
		note_hole(read, read->first + n, ext, per_page);
		return 0;
	}
	for (uint32_t b = 0; b < per_page; b++) {
		if (map.hole[b]) {
			zero(read->page[n], b * bytes, bytes);
			continue;
		}
		add_piece(read, n, b * bytes, bytes, map.lba[b]);
		read->escaped[n] |= (uint8_t)(map.escaped[b] << b);
	}
	return 0;
}

// Adds page n of the volume's metadata: sectors as they lie.
static void plan_meta_page(struct page_read *read, uint32_t n)
{
	uint64_t lba = (read->first + n) * PAGE_SECTORS;
	uint64_t left = read->owner->volume->dev->sectors - lba;
	uint32_t bytes = (uint32_t)MIN(left, PAGE_SECTORS) << SECTOR_SHIFT;
	add_piece(read, n, 0, bytes, lba);
	if (bytes < PAGE_SIZE)
		zero(read->page[n], bytes, PAGE_SIZE - bytes);
}

int plan_stretch(struct page_read *read, bool may_sleep)
{
	struct fs_extent ext = {0};
	uint32_t limit = read->single ? read->start + 1 : read->count;
	uint32_t per_page = 1;
	int error = 0;

	if (read->owner->inode)
		per_page = (uint32_t)PAGE_SIZE / read->owner->volume->block_bytes;
	read->nreq = read->nseg = 0;
	read->hole = 0;
	read->version = __atomic_load_n(&read->owner->changes.version, __ATOMIC_ACQUIRE);
	for (read->built = read->start; read->built < limit; read->built++) {
		if (read->nreq + per_page > READ_REQUESTS || read->nseg + per_page > READ_SEGS)
			break;
		if (!read->owner->inode)
			plan_meta_page(read, read->built);
		else if ((error = plan_file_page(read, read->built, may_sleep, &ext)))
			break;
	}
	if (!error || read->built > read->start) // what failed will be the next stretch
		return 0;
	if (error != -EAGAIN)
		read->built++;
	return error;
}

void plan_finish(struct page_read *read)
{
	struct inode *inode = read->owner->inode;
	for (uint32_t n = read->start; inode && n < read->built; n++) {
		uint64_t at = (read->first + n) << PAGE_SHIFT;
		if (read->hole & (1U << n))
			continue;
		if (inode->size - at < PAGE_SIZE) {
			uint32_t used = (uint32_t)(inode->size - at);
			zero(read->page[n], used, (uint32_t)PAGE_SIZE - used);
		}
		for (uint32_t b = 0; read->escaped[n] >> b; b++) {
			if (!(read->escaped[n] >> b & 1))
				continue;
			uint8_t *window = vmm_window_open(read->page[n]);
			memcpy(window + b * inode->volume->block_bytes, JBD2_MAGIC_BYTES, 4);
			vmm_window_close(read->page[n]);
		}
	}
}
