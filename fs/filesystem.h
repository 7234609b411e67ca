// SPDX-License-Identifier: BSD-2-Clause
// Inside fs/: what a file-system format (ext4*.c, journal.c) gives to the layer above it (volume.c,
// inode.c, name.c, pagecache.c), and what it gets. Everything here runs in thread or worker context
// and may sleep, but map_cached.
#pragma once

#include "fs/inode.h"
#include "fs/pagecache.h"
#include "fs/volume.h"
#include "kernel/block.h"

// A run of file blocks. `disk` is meaningless when hole is set (a hole or an unwritten extent: zeros).
struct fs_extent {
	uint64_t file_block; // first block of the run that contains the block asked for
	uint64_t disk_block;
	uint64_t count; // blocks, at least 1
	bool hole;
	bool unwritten; // with hole: the blocks are there already (fallocate)
	// Journalled file data whose first four bytes the journal keeps elsewhere: each block of the run
	// gets jbd2's magic there once it is read.
	bool escaped;
};

struct transaction;
struct volume_space;
struct filesystem_writing;
enum filesystem_change {
	CHANGE_INODE,
	CHANGE_NEW_INODE,
	CHANGE_ALLOCATE,
	CHANGE_TRUNCATE_STEP,
	CHANGE_ADD_NAME,
	CHANGE_REMOVE_NAME,
	CHANGE_XATTR,
	CHANGE_ORPHAN,
};

struct filesystem {
	const char *name; // "ext4"
	// Looks at volume->dev. 0: mounted, every field of volume but name uniqueness filled;
	// -ENODEV: not this format (silent); other: this format but refused, the reason printed with the
	// device's name (feature by name, inode and block of what is corrupt).
	int (*mount)(struct volume *volume);
	void (*unmount)(struct volume *volume);
	uint64_t root_inode;
	// Fills the public part of inode and inode_format_data(inode). -ENOENT: no such inode in use.
	int (*read_inode)(struct inode *inode);
	void (*forget_inode)(struct inode *inode); // may be null; must not sleep
	int (*lookup)(struct inode *dir, const char *name, size_t len, uint64_t *number);
	int (*read_dir)(struct inode *dir, uint64_t *cursor,
			bool (*visit)(void *ctx, const struct dir_entry *entry), void *ctx);
	int (*read_link)(struct inode *link, char *target, size_t size); // length or error
	int (*map)(struct inode *inode, uint64_t file_block, struct fs_extent *out);
	// The same from memory only, fast WTD or thread context: -EAGAIN when it would have to read.
	int (*map_cached)(struct inode *inode, uint64_t file_block, struct fs_extent *out);

	int (*sectors)(struct inode *inode, uint64_t *out); // that its blocks take; sleeps

	// Writing; null in a format that is only read. Those that take a transaction: fs/ext4_write.h says what
	// holds for them; file.c and the write-back call them.
	const struct filesystem_writing *writing;
};

struct filesystem_writing {
	// Worker context: the inode has no name, and nobody holds it any more. Gives its blocks and number
	// back, in steps, or leaves that to the next mount: file_finish.
	void (*finish_inode)(struct inode *inode);
	int (*reload)(struct inode *inode);
	uint32_t (*links_max)(
	    const struct inode *inode);		   // names it may have; subdirectories, and 2
	uint64_t (*size_max)(struct inode *inode); // bytes: a file ends where its map does
	int (*write_inode)(struct transaction *t, struct inode *inode);
	int (*new_inode)(struct transaction *t, struct inode *dir, enum inode_type type,
			 uint16_t mode, struct inode **out);
	int (*free_inode)(struct transaction *t, struct inode *inode);
	int (*orphan_add)(struct transaction *t, struct inode *inode);
	int (*orphan_remove)(struct transaction *t, struct inode *inode);
	int (*allocate)(struct transaction *t, struct inode *inode, uint64_t file_block,
			uint64_t count, struct fs_extent *out);
	int (*preallocate)(struct transaction *t, struct inode *inode, uint64_t file_block,
			   uint64_t *count);
	// The run at that block of the file, of at most *count blocks (0: only whether it can be done), and *count:
	// how many of them it had, holes too. Written ones become unwritten; or all of them go. As preallocate.
	int (*unwrite)(struct transaction *t, struct inode *inode, uint64_t file_block,
		       uint64_t *count);
	int (*unmap)(struct transaction *t, struct inode *inode, uint64_t file_block,
		     uint64_t *count);
	int (*truncate_step)(struct transaction *t, struct inode *inode, uint64_t size, bool *more);
	int (*reserve)(struct volume *volume, uint64_t blocks);
	void (*unreserve)(struct volume *volume, uint64_t blocks);
	void (*space)(const struct volume *volume, struct volume_space *out);
	void (*release_preallocation)(struct inode *inode);
	int (*add_name)(struct transaction *t, struct inode *dir, const char *name, size_t len,
			uint64_t number, enum inode_type type);
	int (*remove_name)(struct transaction *t, struct inode *dir, const char *name, size_t len);
	int (*change_name)(struct transaction *t, struct inode *dir, const char *name, size_t len,
			   uint64_t number, enum inode_type type);
	int (*dir_is_empty)(struct inode *dir);
	int (*set_link_target)(struct transaction *t, struct inode *link, const char *target,
			       size_t len);
	int (*xattr_get)(struct inode *inode, const char *name, void *value, size_t size);
	int (*xattr_list)(struct inode *inode, char *names, size_t size);
	int (*xattr_set)(struct transaction *t, struct inode *inode, const char *name,
			 const void *value, size_t size);
	int (*xattr_free)(struct transaction *t, struct inode *inode);
	// Credits for transaction_begin.
	uint32_t (*credits)(const struct volume *volume, enum filesystem_change change);
	// Sleep. mount made the volume readable; prepare_writing makes it writable (log replayed home, feature
	// bits checked, orphans finished, superblock marked), or says why not and leaves it readable.
	int (*prepare_writing)(struct volume *volume);
	// By transaction_end and transaction_cancel, the volume's lock still held, the blocks put back already:
	// what is kept in memory about them follows. Must not sleep.
	void (*ended)(struct volume *volume, bool cancelled);
	void (*end_writing)(struct volume *volume); // everything home, the superblock says clean
};
extern const struct filesystem ext4_filesystem;

// The size to put into the inode on the volume (fs/pagecache_dirty.c). It is less than inode->size while bytes at
// the end are only in the cache: a crash must not show what lies in blocks that were not written, or zeros
// where there was data. Any context but interrupt.
uint64_t inode_disk_size(struct inode *inode);

// The format's own part of an inode in memory: INODE_FORMAT_BYTES, zeroed before read_inode.
#define INODE_FORMAT_BYTES 256
void *inode_format_data(struct inode *inode);

// Metadata blocks come through the page cache, in pages that stay mapped. Sleeps. Gives a pointer to
// the whole block (volume->block_bytes, at most one page; larger blocks are refused at mount) and the
// page it lies in, wired: the caller ends with page_wire_put(*page). 0, -EIO, -ENOMEM, -ERANGE.
int meta_get(struct volume *volume, uint64_t block, const void **data,
	     struct page **page) MUST_CHECK;
// Whether somebody called meta_set_verified for the block that meta_get gave since it was read from the
// disk: its checksum needs no second look. Any context; the page is wired.
bool meta_verified(const struct page *page, const void *data);
void meta_set_verified(struct page *page, const void *data);
// A journal replayed in memory: from now on meta_get of `block` gives `replacement`'s content (a block of
// the same volume), with the first four bytes set to jbd2's magic when `escaped`. Before any meta_get
// of that block. 0 or -ENOMEM.
int meta_replace(struct volume *volume, uint64_t block, uint64_t replacement,
		 bool escaped) MUST_CHECK;
// True and the replacement if meta_replace was called for the block (for file data that was journalled).
bool meta_replaced(struct volume *volume, uint64_t block, uint64_t *replacement, bool *escaped);
// Sleep; while mounting for writing. Writes what was replaced to where it belongs, durably; the volume reads as
// before. forget: from now on it is read from there (the log may be written over).
int meta_replaced_home(struct volume *volume) MUST_CHECK;
void meta_forget_replaced(struct volume *volume);
