// SPDX-License-Identifier: BSD-2-Clause
// Files and directories in memory. An inode is found by name (fs/name.h), lives while somebody holds a
// reference, and stays cached afterwards until memory is wanted. Its file bytes are in the page cache.
#pragma once

#include "kernel/base.h"

struct volume;

enum inode_type { INODE_FILE, INODE_DIRECTORY, INODE_SYMLINK, INODE_OTHER };

// The part of an inode that servers may read. On a volume that is written, size, times, links and mode
// change: with fast WTDs kept out, by whoever changes the inode, who then calls inode_changed.
struct inode {
	struct volume *volume;
	uint64_t number;
	uint32_t generation;
	enum inode_type type;
	uint16_t mode; // permission bits
	uint32_t links;
	uint64_t size;	   // bytes
	int64_t mtime_sec; // Unix
	uint32_t mtime_nsec;
	int32_t
	    writers; // programs' streams and mappings that may write to it; below 0: programs that run it. WTDs off
	void *
	    server_data; // the server's per-file cache (prepared response heads); freed by the hook
};

// Fast WTD or thread context.
void inode_get(struct inode *inode);
void inode_put(struct inode *inode);
// Fast WTD or thread context. Size, time or mode changed, or it lost its last name: what the server prepared
// for it is dropped, and name_generation moves on.
void inode_changed(struct inode *inode);
// Called (fast WTD or thread context, must not sleep) when an inode with server_data leaves memory or
// was changed.
void inode_set_forget_hook(void (*forget)(struct inode *inode));

struct dir_entry {
	const char *name; // not terminated; any byte but '/' and NUL
	uint8_t name_len;
	enum inode_type type; // of the entry itself, not of a symlink's target
	uint64_t number;
};
// Thread or worker context: may sleep. Calls visit for each entry after *cursor (0: from the start)
// but "." and ".."; visit returns false to stop, and *cursor then continues after that entry.
// 0, -ENOTDIR, -EIO or -EUCLEAN. visit runs with the volume's lock held: it may not look anything up, and no
// change is made meanwhile (docs/locks.md).
int inode_read_dir(struct inode *dir, uint64_t *cursor,
		   bool (*visit)(void *ctx, const struct dir_entry *entry), void *ctx) MUST_CHECK;
// Thread or worker context. The target of a symbolic link, not terminated: its length, -EINVAL (no link),
// -ERANGE (not shorter than size), -EIO or -EUCLEAN.
int inode_read_link(struct inode *link, char *target, size_t size) MUST_CHECK;
// Thread or worker context. The inode with that number, with a reference.
int inode_open(struct volume *volume, uint64_t number, struct inode **out) MUST_CHECK;
