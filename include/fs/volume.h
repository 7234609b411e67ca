// SPDX-License-Identifier: BSD-2-Clause
// Volumes: every ext4 file system found on a whole disk or a partition is one, named by its label.
#pragma once

#include "kernel/base.h"

struct inode;
struct block_device;

struct volume {
	char name[64]; // label, made unique ("SYS", "DATA", "DATA-2"; no label: the device's name)
	struct block_device *dev;
	uint32_t id; // 1, 2, ...
	uint32_t block_bytes;
	uint64_t blocks, blocks_free, inodes, inodes_free; // as of mount
	bool read_only;
	const char *state; // "clean", "journal replayed in memory, read-only", ...
	struct volume *next;
	void *private; // the file system's
};

// Boot, after pagecache_init and before volume_mount_all: the inode and name caches.
void volume_init(void);
// Thread context. Looks at every block device, mounts what it knows, says in the log why it refused the
// rest. Returns the number of volumes.
unsigned volume_mount_all(void);
// Boot. Whether volumes mounted from now on are made writable, those that can be. Off unless said.
void volume_set_write(bool on);
struct volume *volume_first(void);	      // any context; list through ->next
struct volume *volume_find(const char *name); // any context, case-insensitive; null: none
// Any context. Volumes that became read-only because of an error.
uint64_t volumes_failed(void);
struct volume *volume_root(void); // SYS, else the first; null: none. What "/" is for HTTP.
// The inode of the root directory, with a reference for the caller. Any context but interrupt.
struct inode *volume_root_inode(struct volume *volume);
