// SPDX-License-Identifier: BSD-2-Clause
// See image_meta.h.
#include "image_meta.h"
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/transaction.h"
#include "fs/volume_private.h"
#include "kernel/page.h"
#include "kernel/panic.h"

// A block given out. The page comes first, so that page_wire_put finds the rest.
struct held {
	struct page page;
	uint8_t data[];
};
struct full_inode {
	struct inode inode;
	_Alignas(16) uint8_t format[INODE_FORMAT_BYTES];
};
struct replaced {
	uint64_t block, replacement;
	bool escaped;
	struct replaced *next;
};

static const uint8_t magic[] = {0xc0, 0x3b, 0x39, 0x98};
static unsigned held_count, open_count;
static struct replaced *replaced_list[1024]; // of the one volume mounted

// Blocks come and go by the million: a small quarantine is enough to catch a late use.
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=4";
}

bool image_left_open(void)
{
	return open_count;
}

int images_setup(void **state)
{
	shim_init(2048);
	return 0;
}

int images_teardown(void **state)
{
	if (image_left_open())
		return -1;
	shim_finish();
	return 0;
}

void image_pread(struct image *image, uint64_t offset, void *out, size_t len)
{
	ASSERT(offset + len <= image->dev.sectors << SECTOR_SHIFT);
	if (image->fd < 0) {
		memcpy(out, image->bytes + offset, len);
		return;
	}
	ASSERT(pread(image->fd, out, len, (off_t)offset) == (ssize_t)len);
}

static void read_metadata(struct image *image, uint64_t offset, void *out, size_t len)
{
	for (uint64_t at = offset; image->touched && at < offset + len; at += 1024)
		image->touched[at / 1024] = 1;
	image_pread(image, offset, out, len);
}

int block_rw_sync(struct block_device *dev, enum block_op op, uint64_t lba, void *buffer,
		  uint32_t bytes)
{
	struct image *image = dev->driver;
	ASSERT(op == BLOCK_READ && bytes % 512 == 0);
	ASSERT(!dev->max_sectors || bytes >> SECTOR_SHIFT <= dev->max_sectors);
	image->reads++;
	if (lba > dev->sectors || bytes >> SECTOR_SHIFT > dev->sectors - lba)
		return -EINVAL;
	read_metadata(image, lba << SECTOR_SHIFT, buffer, bytes);
	return 0;
}

int meta_replace(struct volume *volume, uint64_t block, uint64_t replacement, bool escaped)
{
	struct replaced *r = malloc(sizeof(*r));
	struct replaced **list = &replaced_list[block % ARRAY_SIZE(replaced_list)];
	*r = (struct replaced){block, replacement, escaped, *list};
	*list = r;
	return 0;
}

bool meta_verified(const struct page *page, const void *data)
{
	return false;
}

void meta_set_verified(struct page *page, const void *data) {}

bool meta_replaced(struct volume *volume, uint64_t block, uint64_t *replacement, bool *escaped)
{
	struct replaced *r = replaced_list[block % ARRAY_SIZE(replaced_list)];
	while (r && r->block != block)
		r = r->next;
	if (!r)
		return false;
	*replacement = r->replacement;
	*escaped = r->escaped;
	return true;
}

int meta_get(struct volume *volume, uint64_t block, const void **data, struct page **page)
{
	struct image *image = CONTAINER_OF(volume, struct image, volume);
	bool escaped = false;
	if (block >= volume->blocks)
		return -ERANGE;
	meta_replaced(volume, block, &block, &escaped);
	struct held *held = malloc(sizeof(*held) + volume->block_bytes);
	memset(&held->page, 0, sizeof(held->page));
	held->page.wire = 1;
	held_count++;
	image->meta_gets++;
	read_metadata(image, block * volume->block_bytes, held->data, volume->block_bytes);
	if (escaped)
		memcpy(held->data, magic, sizeof(magic));
	*data = held->data;
	*page = &held->page;
	return 0;
}

void page_wire_put(struct page *page)
{
	ASSERT(page->wire == 1);
	held_count--;
	free(CONTAINER_OF(page, struct held, page));
}

void transaction_free(struct volume *volume) {} // unmount's: there is never anything

uint64_t inode_disk_size(struct inode *inode)
{
	return inode->size;
}

void *inode_format_data(struct inode *inode)
{
	return CONTAINER_OF(inode, struct full_inode, inode)->format;
}

static int open_device(struct image *image, uint64_t size)
{
	open_count++;
	image->dev.name = "image";
	image->dev.sectors = size >> SECTOR_SHIFT;
	image->dev.sector_bytes = 512;
	image->dev.max_sectors = 32; // small, so that readers have to mind it
	image->dev.driver = image;
	image->volume.dev = &image->dev;
	return ext4_filesystem.mount(&image->volume);
}

int image_open(struct image *image, const char *path)
{
	struct stat st;
	*image = (struct image){.fd = open(path, O_RDONLY | O_CLOEXEC)};
	if (image->fd < 0 || fstat(image->fd, &st)) {
		perror(path);
		abort();
	}
	return open_device(image, (uint64_t)st.st_size);
}

int image_open_memory(struct image *image, uint8_t *bytes, uint64_t size, uint8_t *touched)
{
	*image = (struct image){.fd = -1, .bytes = bytes, .touched = touched};
	return open_device(image, size);
}

void image_close(struct image *image)
{
	if (image->volume.private)
		ext4_filesystem.unmount(&image->volume);
	if (image->fd >= 0)
		close(image->fd);
	for (size_t i = 0; i < ARRAY_SIZE(replaced_list); i++)
		while (replaced_list[i]) {
			struct replaced *r = replaced_list[i];
			replaced_list[i] = r->next;
			free(r);
		}
	ASSERT(!held_count);
	open_count--;
}

struct inode *image_inode(struct image *image, uint64_t number, int *error)
{
	struct full_inode *full = calloc(1, sizeof(*full));
	full->inode.volume = &image->volume;
	full->inode.number = number;
	*error = ext4_filesystem.read_inode(&full->inode);
	if (!*error)
		return &full->inode;
	free(full);
	return NULL;
}

void image_inode_free(struct inode *inode)
{
	if (inode)
		free(CONTAINER_OF(inode, struct full_inode, inode));
}

struct inode *image_find(struct image *image, const char *path, int *error)
{
	struct inode *at = image_inode(image, ext4_filesystem.root_inode, error);
	while (at && *path) {
		size_t len = strcspn(path, "/");
		uint64_t number;
		*error = ext4_filesystem.lookup(at, path, len, &number);
		image_inode_free(at);
		at = *error ? NULL : image_inode(image, number, error);
		path += len + (path[len] == '/');
	}
	return at;
}

int image_read(struct image *image, struct inode *inode, uint64_t offset, void *out, size_t len)
{
	uint32_t block_bytes = image->volume.block_bytes;
	for (size_t done = 0; done < len;) {
		struct fs_extent extent, cached;
		uint64_t block = (offset + done) / block_bytes;
		int error = ext4_filesystem.map(inode, block, &extent);
		if (error)
			return error;
		ASSERT(extent.count && block >= extent.file_block &&
		       block - extent.file_block < extent.count);
		error = ext4_filesystem.map_cached(inode, block, &cached);
		ASSERT(error == -EAGAIN || !error);
		ASSERT(error || cached.hole == extent.hole);
		ASSERT(error || cached.hole ||
		       cached.disk_block + (block - cached.file_block) ==
			   extent.disk_block + (block - extent.file_block));
		uint64_t skip = offset + done - extent.file_block * block_bytes;
		size_t piece = (size_t)MIN(len - done, extent.count * block_bytes - skip);
		if (extent.escaped)
			piece = (size_t)MIN(piece, block_bytes - skip % block_bytes);
		if (extent.hole)
			memset((uint8_t *)out + done, 0, piece);
		else
			image_pread(image, extent.disk_block * block_bytes + skip,
				    (uint8_t *)out + done, piece);
		if (extent.escaped && skip % block_bytes == 0)
			memcpy((uint8_t *)out + done, magic, MIN(piece, sizeof(magic)));
		done += piece;
	}
	return 0;
}

// ---- the writing side is linked and not called ----

#define NOT_HERE(result, name, ...)                                                                \
	result name(__VA_ARGS__)                                                                   \
	{                                                                                          \
		PANIC("%s: these volumes are only read", __func__);                                \
	}
NOT_HERE(int, transaction_open, struct volume *volume, const struct transaction_log *log)
NOT_HERE(int, transaction_close, struct volume *volume)
NOT_HERE(int, transaction_begin, struct transaction *t, struct volume *volume, uint32_t blocks)
NOT_HERE(void, transaction_end, struct transaction *t)
NOT_HERE(void, transaction_cancel, struct transaction *t)
NOT_HERE(bool, volume_writable, const struct volume *volume)
NOT_HERE(int, inode_open, struct volume *volume, uint64_t number, struct inode **out)
NOT_HERE(void, inode_put, struct inode *inode)
NOT_HERE(void, inode_wait_deleted, void)
NOT_HERE(int, meta_replaced_home, struct volume *volume)
NOT_HERE(void, meta_forget_replaced, struct volume *volume)
NOT_HERE(int, transaction_get, struct transaction *t, uint64_t block, void **data,
	 struct page **page)
NOT_HERE(int, transaction_get_fresh, struct transaction *t, uint64_t block, void **data,
	 struct page **page)
NOT_HERE(int, transaction_forget, struct transaction *t, uint64_t block, uint64_t count, bool meta)
NOT_HERE(bool, transaction_freed_recently, struct volume *volume, uint64_t block, uint64_t *until)
NOT_HERE(int, inode_make, struct volume *volume, uint64_t number, struct inode **out)
NOT_HERE(void, inode_unmake, struct inode *inode)
NOT_HERE(void, file_finish, struct inode *inode)
