// SPDX-License-Identifier: BSD-2-Clause
// Changing what is on a volume: bytes of files (asynchronously, from fast WTDs), and everything else
// (from workers and threads, where it may sleep).
//
// Three steps, because they end at different times:
//
//	file_write     the bytes are in the cache: one copy, pages DIRTY
//	file_sync      the file's pages, and its size, are with the disk
//	durable_wait   the journal has committed what was changed: it survives a power cut
//
// A change made by one of the functions below is in the running transaction when the function returns,
// seen by everybody at once, and durable after durable_wait(volume_ticket(volume)). What belongs to one
// call is in one transaction: after a crash it is there whole or not at all.
//
// Errors, for all of them: -EROFS (mounted read-only, or turned so by an error), -ENOSPC (blocks, inodes),
// -ENOMEM, -EIO, -EUCLEAN (the volume is damaged), -ENAMETOOLONG, -EINVAL ("", ".", "..", '/' or NUL in
// a name), -ENOTDIR, -EOPNOTSUPP (an inode whose format is read and not written). After an error nothing
// has changed.
#pragma once

#include "fs/inode.h"
#include "fs/pagecache.h"
#include "fs/volume.h"
#include "kernel/wtd.h"

// ---- bytes -------------------------------------------------------------------------------------------

// Bytes from kernel memory (a receive buffer) into the cache, counted as cache_write. Fast WTD or thread
// context. The caller holds a reference on the inode until it is over, and leaves offset, bytes and len alone
// while it waits for done: what can go on goes on by itself (unless there is a copy function).
struct file_write {
	struct inode *inode;
	uint64_t offset;   // moves on with what was taken
	const char *bytes; // ditto; the buffer is the caller's again up to here
	size_t len;	   // what is left
	// Null: plain kernel memory. Else how bytes get into the page (the stream head: from user memory),
	// called with the page's window open, in the context of file_write. Returns 0 or why not (-EFAULT).
	int (*copy)(void *to, const void *from, size_t len);
	// Called once, in fast WTD context and never from inside file_write, after -EAGAIN.
	void (*done)(struct file_write *write);
	int status; // valid in done: 0: call file_write again for the rest; else the error
	// pagecache_write.c's; zero before the first file_write.
	struct file_write *next;
	struct wtd work;
	struct page_get get; // for a page that is being read, or for old bytes
	struct file_write *refill_next;
	struct page *refill; // old bytes of page `index`, ours alone; or the page of zeros: a hole
	uint64_t index;
	uint32_t granted; // pages it may make dirty whatever the ceiling says
	uint8_t stage;
	bool map_asked; // the map of page `index` was read: what it says now is final
	bool stale;	// page `index` was changed meanwhile: refill is not it any more
	bool
	    touch; // no bytes: the page with `offset` becomes DIRTY as it is. False when that is done
	bool
	    zero_tail; // pagecache_truncate's: no bytes, but zeros from offset to the end of the page
	uint32_t
	    zero_to; // pagecache_zero's: no bytes, but zeros from offset to that byte of its page. 0 when done
};
// 0: everything was taken. -EAGAIN: len says what is left; done will be called: with status 0 when the rest was
// taken (len is 0) or can be (call again): when the cache has room (dirty ceiling; a slow disk holds back
// who writes to it, first come, first served), or when a page that is written in part has been read. Else an
// error; what was taken before it stays. The file grows to what was written. -EFBIG: past what the format
// can express.
int file_write(struct file_write *write) MUST_CHECK;
// As name_cancel: true: done will not be called; false: it will, soon. Fast WTD context. Who has a copy
// function and does not go on after done calls it, too.
bool file_write_cancel(struct file_write *write) MUST_CHECK;

// Everything written to the file so far goes to the disk now. done: fast WTD context, never from inside
// file_sync; status 0 or the first error that a page of this file met since the last file_sync (it is told
// once). What it took to allocate is in the transaction that volume_ticket names when done is called.
struct file_sync {
	struct inode *inode; // the caller's reference until done
	void (*done)(struct file_sync *sync);
	int status;
	struct file_sync *next; // pagecache_writeback.c's
	uint64_t generation;
	struct wtd work;
};
void file_sync(struct file_sync *sync);		    // fast WTD or thread context
int file_sync_wait(struct inode *inode) MUST_CHECK; // thread or worker context

// ---- durability --------------------------------------------------------------------------------------

// The transaction that holds, or will hold, everything changed on the volume up to now. Any context.
uint64_t volume_ticket(const struct volume *volume);
// Calls done when that transaction is on the disk for good (status 0), or the journal was aborted (-EIO).
// Asking hurries the commit; many who ask share one. With sync=relaxed (docs/durability.md) done
// comes at once. done: fast WTD context, never from inside durable_wait.
struct durable {
	struct volume *volume;
	uint64_t ticket;
	void (*done)(struct durable *durable);
	int status;
	struct durable *next; // transaction.c's
	struct wtd work;
};
void durable_wait(struct durable *durable); // fast WTD or thread context
int durable_wait_sync(struct volume *volume,
		      uint64_t ticket) MUST_CHECK; // thread or worker context
// What fsync promises: bytes, size and names. 0 also on a volume that nobody writes; -EIO once writing was given up,
// however often it is asked, or what file_sync says. The other one: of all files. Thread or worker context.
int inode_durable_wait(struct inode *inode) MUST_CHECK;
int volume_durable_wait(struct volume *volume) MUST_CHECK;

// ---- names and inodes; thread or worker context, all of them may sleep --------------------------------

// A regular file without a name, near `dir`, with one reference for the caller. It is on the volume's list
// of orphans: unless file_link gives it a name it is gone with the last reference, or at the next mount.
int file_create(struct inode *dir, uint16_t mode, struct inode **out) MUST_CHECK;

enum name_mode {
	NAME_NEW = 0, // -EEXIST when the name is there
	NAME_REPLACE =
	    BIT(0), // a file of that name goes; atomically, a reader sees the old or the new one.
		    // -EISDIR: a directory is there (rename: -ENOTEMPTY unless it is empty and
		    // what comes is one too; -ENOTDIR when it is not)
};
// Gives a file a(nother) name. -EPERM for a directory, -EMLINK, -EXDEV (another volume).
int file_link(struct inode *dir, const char *name, size_t len, struct inode *file,
	      unsigned mode) MUST_CHECK;
// file_link, if the name now leads to inode number `expected` (0: to nothing) with that generation; else
// -ESTALE: for conditional requests, which were decided before.
int file_link_if(struct inode *dir, const char *name, size_t len, struct inode *file,
		 uint64_t expected, uint32_t generation) MUST_CHECK;
int dir_create(struct inode *dir, const char *name, size_t len, uint16_t mode,
	       struct inode **out) MUST_CHECK; // -EEXIST; a reference in *out
int symlink_create(struct inode *dir, const char *name, size_t len, const char *target,
		   size_t target_len, struct inode **out) MUST_CHECK;
// -ENOENT; -ENOTEMPTY for a directory with entries. Who has the file open keeps reading it.
int name_remove(struct inode *dir, const char *name, size_t len) MUST_CHECK;
// name_remove, name_rename, if the (old) name leads to that inode now, of which the caller has a reference (null:
// whatever it leads to); else -ESTALE.
int name_remove_if(struct inode *dir, const char *name, size_t len,
		   const struct inode *expected) MUST_CHECK;
int name_rename_if(struct inode *from_dir, const char *from, size_t from_len, struct inode *to_dir,
		   const char *to, size_t to_len, unsigned mode,
		   const struct inode *expected) MUST_CHECK;
// -EINVAL when a directory would come under itself; the same inode on both sides: nothing happens.
int name_rename(struct inode *from_dir, const char *from, size_t from_len, struct inode *to_dir,
		const char *to, size_t to_len, unsigned mode) MUST_CHECK;
// Shorter: what is beyond goes, pages on the wire stay as they are for who has them. Longer: a hole.
int file_truncate(struct inode *file, uint64_t size) MUST_CHECK;
// Blocks for those bytes, where there are none yet: they read as zeros, and writing there will not meet -ENOSPC as long
// as the file keeps them. The file grows to their end, unless keep_size. -EOPNOTSUPP: a block-mapped file.
int file_allocate(struct inode *file, uint64_t from, uint64_t bytes, bool keep_size) MUST_CHECK;
// Those bytes of the file, as far as it has them, become zeros, and the blocks under whole pages of them go; or they
// stay (keep_blocks) and read as zeros. The size stays. What was written before is on the disk when it returns, as
// after file_sync. An error may leave part of it done. -EOPNOTSUPP: a block-mapped file.
int file_punch(struct inode *file, uint64_t from, uint64_t bytes, bool keep_blocks) MUST_CHECK;

// The first byte from that one on which is in a hole (the end of the file is one), or which is not. -ENXIO: there is
// none before the end. Blocks that were allocated and never written are a hole.
int64_t file_seek(struct inode *file, uint64_t from, bool for_hole) MUST_CHECK;
// What it takes of the volume, in sectors, with what DIRTY pages may take when they are written.
uint64_t file_sectors(struct inode *inode);

// Sets the permission bits, the time of change, or both, as `which` says, in a transaction of its own; the file's type
// stays. Thread or worker context.
enum inode_attribute { INODE_SET_MODE = BIT(0), INODE_SET_MTIME = BIT(1) };
int inode_set_attributes(struct inode *inode, unsigned which, uint16_t mode, int64_t mtime_sec,
			 uint32_t mtime_nsec) MUST_CHECK;

// Extended attributes, user namespace ("user." is not part of `name`). get: the length, or -ENODATA,
// -ERANGE (larger than `size`; size 0: only the length). list: names, each with its NUL, the total length.
// set with value null: removes (-ENODATA). -ENOSPC: more than the inode and one block hold.
int xattr_get(struct inode *inode, const char *name, void *value, size_t size) MUST_CHECK;
int xattr_list(struct inode *inode, char *names, size_t size) MUST_CHECK;
int xattr_set(struct inode *inode, const char *name, const void *value, size_t size) MUST_CHECK;

// ---- state -------------------------------------------------------------------------------------------

bool volume_writable(
    const struct volume *volume); // any context; false: everything above gives -EROFS
struct volume_space {
	uint64_t blocks;
	uint64_t blocks_free;	  // that may be asked for now
	uint64_t blocks_reserved; // promised to dirty pages, not allocated yet: not among them
	uint64_t inodes, inodes_free;
};
void volume_space(const struct volume *volume, struct volume_space *out); // any context
