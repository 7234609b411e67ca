// SPDX-License-Identifier: BSD-2-Clause
// A volume in a file, for testing a file-system format on the host without the layers above and
// below: block_rw_sync reads the file (or memory), meta_get gives each block in an allocation of
// its own (so that ASan sees a read beyond it), inodes are plain structures. See
// tests/host/test_ext4.c for use.
#pragma once

#include "fs/filesystem.h"

struct image {
	struct block_device dev;
	struct volume volume;
	int fd;		    // -1: memory
	uint8_t *bytes;	    // memory, owned by the caller
	uint64_t meta_gets; // calls of meta_get so far
	uint64_t reads;	    // and of block_rw_sync
	uint8_t *touched;   // if set: 1 for each KB that either of them read
};

// 0, or what ext4_filesystem.mount said (nothing to undo then, but image_close).
int image_open(struct image *image, const char *path);
int image_open_memory(struct image *image, uint8_t *bytes, uint64_t size, uint8_t *touched);
void image_close(struct image *image); // fails the test if a block is still held

// What inode.c does for real. Null and *error on failure.
struct inode *image_inode(struct image *image, uint64_t number, int *error);
void image_inode_free(struct inode *inode);
// From a path without symbolic links, "" for the root.
struct inode *image_find(struct image *image, const char *path, int *error);
// File bytes by way of map (and map_cached, which must agree): 0 or an error.
int image_read(struct image *image, struct inode *inode, uint64_t offset, void *out, size_t len);
// Reads device bytes whatever the file system thinks.
void image_pread(struct image *image, uint64_t offset, void *out, size_t len);
// Is one still open, because a test failed half-way? shim_finish would only hide why.
bool image_left_open(void);
int images_setup(void **state), images_teardown(void **state); // cmocka's, round each test
