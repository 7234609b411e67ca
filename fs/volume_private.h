// SPDX-License-Identifier: BSD-2-Clause
// A volume in memory, and what volume.c, inode.c and name.c share.
#pragma once

#include "fs/filesystem.h"
#include "fs/journal.h"
#include "fs/name.h"
#include "fs/pagecache_private.h"
#include "kernel/rwlock.h"

struct volume_private {
	struct volume volume;
	const struct filesystem *fs; // constant once mounted
	struct page_owner meta;	     // owner of the metadata pages
	struct journal_map replaced; // meta_replace's; constant once mounted
	struct inode *root;	     // with a reference; constant once mounted
	struct rwlock lock; // structures: shared to look, exclusive to change (fs/transaction.h)
	bool failed;	    // by transaction_abort
	struct volume_log *log; // null: not written; changes while mounting and unmounting only
	struct writeback writeback;
};
static inline struct volume_private *volume_private(const struct volume *volume)
{
	return CONTAINER_OF(volume, struct volume_private, volume);
}
static inline const struct filesystem *volume_filesystem(const struct volume *volume)
{
	return volume_private(volume)->fs;
}
// Thread context. Mounts what `fs` finds on the device; 0, -ENODEV or why not.
int volume_mount(struct block_device *dev, const struct filesystem *fs) MUST_CHECK;
// Thread context, for tests on the host: forgets every volume. Nothing may be in use.
void volume_unmount_all(void);

// ---- inode.c ----
// Fast WTD or thread context. The inode if it is in memory, with a reference; else null.
struct inode *inode_find_cached(struct volume *volume, uint64_t number);
// As inode_open, for who holds the volume's lock already, shared or not. Thread or worker context.
int inode_open_locked(struct volume *volume, uint64_t number, struct inode **out) MUST_CHECK;
// Inside a transaction: an inode that was just allocated, with a reference; everything but volume and
// number is zero and the format's to fill. -EUCLEAN: there is one of that number, -ENOMEM.
int inode_make(struct volume *volume, uint64_t number, struct inode **out) MUST_CHECK;
// That transaction was cancelled: forgets the inode, whose only reference the caller has.
void inode_unmake(struct inode *inode);
// In the transaction that frees the number of an inode without names (filesystem_writing.finish_inode),
// before it ends: nobody finds the inode any more, and the number may be given out again.
void inode_leave(struct inode *inode);
// Thread or worker context: until every deleted inode that nobody holds is gone.
void inode_wait_deleted(void);
// Forgets inodes that nobody holds and that have no pages, up to `count`. Returns how many.
size_t inode_drop_unused(size_t count);
void inode_init(void); // boot, before the first volume is mounted
void inode_stop(void); // tests on the host, after inode_drop_unused: gives everything back

// ---- file_truncate.c ----
void file_finish(struct inode *inode); // filesystem_writing.finish_inode

// ---- name_cache.c: what one look-up remembers. Fast WTD or thread context ----
enum name_kind {
	NAME_ENTRY, // a name in directory `dir`
	NAME_PATH,  // a path from the root, symbolic links followed; dir is 0
};
struct name_answer {
	int error; // 0, or what the name or path leads to: -ENOENT, -ENOTDIR, -ELOOP
	enum inode_type type;
	uint64_t number;
};
// Lock held (name_lock). False: not known.
bool name_recall(enum name_kind kind, const struct volume *volume, uint64_t dir, const char *name,
		 size_t len, struct name_answer *out);
// What is remembered must have been looked up since name_generation() gave `generation`; otherwise it is
// not remembered.
void name_remember(enum name_kind kind, const struct volume *volume, uint64_t dir, const char *name,
		   size_t len, const struct name_answer *answer, uint64_t generation);
extern struct spinlock name_lock;
void name_generation_advance(void); // paths, and what others keep of them, are unknown again
void name_cache_drop(void);	    // forgets all of it
void name_cache_init(void);
void name_cache_stop(void); // tests on the host
