// SPDX-License-Identifier: BSD-2-Clause
// One change of a volume, from the outside (include/fs/file.h) to the format (struct filesystem_writing): a
// transaction, and what the inodes in memory looked like before, so that an error leaves no trace.
//
//	struct change c;
//	int error = change_begin(&c, dir->volume, CHANGE_ADD_NAME, CHANGE_INODE, CHANGE_END);
//	if (error)
//		return error;                            // the volume's lock is not held
//	error = change_dir(&c, dir);                     // each inode, before it is changed
//	if (!error)
//		error = c.format->add_name(&c.t, dir, ...);
//	if (!error)
//		name_forget(dir->volume, dir->number, ...); // before the lock goes
//	return change_end(&c, error);
//
// Thread or worker context. Private to the files file_*.c.
#pragma once

#include "fs/transaction.h"
#include "fs/volume_private.h"

#define CHANGE_INODES 4 // rename: two directories, what moves, what goes
#define CHANGE_END    (-1)

struct change_saved {
	struct inode *inode;
	uint16_t mode;
	uint32_t links;
	uint64_t size;
	int64_t mtime_sec;
	uint32_t mtime_nsec;
	uint64_t format[INODE_FORMAT_BYTES / 8];
};
struct change {
	struct transaction t;
	struct volume *volume;
	const struct filesystem_writing *format;
	struct inode *made; // with new_inode: forgotten again after an error
	unsigned count;
	struct change_saved saved[CHANGE_INODES];
};

// Credits for each of the enum filesystem_change that follow, to CHANGE_END. -EROFS and what
// transaction_begin gives.
int change_begin(struct change *c, struct volume *volume, ...) MUST_CHECK;
// Puts aside what the inode says; the second time nothing. The caller holds a reference until change_end.
void change_inode(struct change *c, struct inode *inode);
// The same for a directory that gets or loses a name: -ENOTDIR; -ENOENT: it was removed.
int change_dir(struct change *c, struct inode *dir) MUST_CHECK;
// The inode of a new file, links 0, with a reference.
int change_make(struct change *c, struct inode *dir, enum inode_type type,
		uint16_t mode) MUST_CHECK;
// Ends the transaction, or takes everything back. Returns error.
int change_end(struct change *c, int error);

// After a change that was taken back, the lock not held: true when there was room, but only such as waits for a
// commit; that is there now, and the whole change is to be made again. False: *error is what it was, -ENOSPC
// after too many tries. *tries begins with 0.
bool change_again(struct volume *volume, int *error, unsigned *tries) MUST_CHECK;

// One name more or less leads to the inode, which is written. Without one it is noted for deletion.
// -EMLINK.
int change_link(struct change *c, struct inode *inode) MUST_CHECK;
int change_unlink(struct change *c, struct inode *inode) MUST_CHECK;
// The links of a directory that gets or loses a subdirectory; not written. -EMLINK.
int change_subdirectories(struct change *c, struct inode *dir, int by) MUST_CHECK;

// The inode that `name` leads to, with a reference; null: to none.
int change_look(struct inode *dir, const char *name, size_t len, struct inode **out) MUST_CHECK;
// The file's end moves up; between pagecache_truncate_begin and _end.
int file_extend_held(struct inode *file, uint64_t size) MUST_CHECK;
// Can it be a name? -EINVAL, -ENAMETOOLONG.
int change_check_name(const char *name, size_t len) MUST_CHECK;
