// SPDX-License-Identifier: BSD-2-Clause
// ext4, writing: what its files share. Thread or worker context, inside a transaction: the volume's lock is
// held by this change alone. Every function finds out what can fail (reads, memory, space, damage)
// before it changes what is not in a transaction's block; after an error the caller cancels the transaction and
// calls ext4_reload for the inodes that it touched, and all is as it was.
//
//	ext4_balloc.c	     block bitmaps: finding runs, preallocation, giving back
//	ext4_ialloc.c	     inode bitmaps: where a new file or directory goes (Orlov), giving back
//	ext4_group.c	     group descriptors, with their checksums
//	ext4_space.c	     how much is free, in the superblock and in memory; promises to the cache
//	ext4_bitmap.c	     bitmaps, with their checksums; making those that are not written yet
//	ext4_window.c	     room kept next to a stream
//	ext4_allocate.c	     places for blocks of files and directories, whatever the kind of map
//	ext4_extent_write.c  extent trees: insert, remove, split, grow
//	ext4_indirect_write.c  blocks of numbers: insert
//	ext4_truncate.c	     shrinking, whatever the inode's kind of map, in steps that fit a transaction
//	ext4_inode_write.c   the public part of an inode, and its map, to the inode table
//	ext4_orphan.c	     inodes to finish with after a crash: the orphan list and the orphan file
//	ext4_dir_write.c     entries of directories: linear, and through the index
//	ext4_htree_write.c   the index: splitting leaves and nodes, making it
//	ext4_prepare.c	     mounting for writing: the log home, the superblock marked; and the end
//	ext4_xattr.c	     extended attributes in the inode and in a block
#pragma once

#include "fs/ext4.h"
#include "fs/transaction.h"

// Sleeps. While mounting for writing, the log being home: counts what is free. close gives its memory back, at
// the end. ext4_ended is filesystem_writing.ended.
int ext4_open_counts(struct ext4 *fs) MUST_CHECK;
void ext4_close_counts(struct ext4 *fs);
void ext4_ended(struct volume *volume, bool cancelled);

// ---- credits: blocks that each may touch at most, to be added up for transaction_begin -----------------
uint32_t ext4_credits_inode(const struct ext4 *fs); // write one inode
uint32_t
ext4_credits_new_inode(const struct ext4 *fs); // allocate one (a directory's first block too)
uint32_t ext4_credits_allocate(const struct ext4 *fs);	    // one call of ext4_allocate
uint32_t ext4_credits_truncate_step(const struct ext4 *fs); // one step of ext4_truncate_step
uint32_t ext4_credits_add_name(const struct ext4 *fs);	    // with splits and a new index level
uint32_t ext4_credits_remove_name(const struct ext4 *fs);
uint32_t ext4_credits_xattr(const struct ext4 *fs);
uint32_t ext4_credits_orphan(const struct ext4 *fs);

// ---- inodes ------------------------------------------------------------------------------------------
// Reads the inode's public part and node again from its block: after a cancelled transaction. A file's size
// does not shrink by it: what the cache holds beyond the table's size is there.
int ext4_reload(struct inode *inode);
// Public part (mode, links, size, times) and node (block[], flags) to the inode table. ctime becomes now.
int ext4_write_inode(struct transaction *t, struct inode *inode) MUST_CHECK;
// The inode as it lies in its block, for changing what is not in struct inode and the node (attributes
// behind i_extra_isize, i_file_acl, i_blocks); ext4_write_inode afterwards computes the checksum. The
// caller ends with page_wire_put.
int ext4_raw_inode_get(struct transaction *t, struct inode *inode, struct ext4_raw_inode **raw,
		       struct page **page) MUST_CHECK;
// A fresh inode, links 0, in memory with a reference (inode_make; inode_unmake after a cancel): a
// file or symlink without blocks, or a directory with
// its first block ("." and "..", checksummed) and links 2 (the parent's count is the caller's).
int ext4_new_inode(struct transaction *t, struct inode *dir, enum inode_type type, uint16_t mode,
		   struct inode **out) MUST_CHECK;
// After its blocks and attributes are gone: clears it in the bitmap, and takes it off the orphans. Costs what
// ext4_credits_new_inode says. The inode in memory goes stale.
int ext4_free_inode(struct transaction *t, struct inode *inode) MUST_CHECK;
int ext4_orphan_add(struct transaction *t, struct inode *inode) MUST_CHECK;
int ext4_orphan_remove(struct transaction *t, struct inode *inode) MUST_CHECK;
// While mounting for writing, after ext4_open_counts: finishes what the orphan list and file say (truncations,
// deletions). end: before transaction_close, so that a volume without orphans says so.
int ext4_orphan_recover(struct volume *volume) MUST_CHECK;
int ext4_orphan_end(struct volume *volume) MUST_CHECK;

// ---- blocks ------------------------------------------------------------------------------------------
// Blocks of file data for what has none in [file_block, file_block + count): gives the first run of it, which
// may be shorter (call again, in another transaction if need be). The run is mapped and written-out as far as
// the tree says: the caller writes the data in ordered mode, and reserved the blocks before. The size in the table
// grows with the run, up to the inode's. -ENOSPC; -EAGAIN: there is room, but only such as transactions freed
// that are not committed: cancel, wait for that (transaction_wait_freed), try again. That goes for every
// function here that takes blocks. -EFBIG: the map has no such block.
int ext4_allocate(struct transaction *t, struct inode *inode, uint64_t file_block, uint64_t count,
		  struct fs_extent *out) MUST_CHECK;
// The same for blocks that are written later: of the run that begins at file_block, or that begins there now, as many
// as are asked for at most; nothing was reserved for them. -EOPNOTSUPP: the map has no place for such.
int ext4_preallocate(struct transaction *t, struct inode *inode, uint64_t file_block,
		     uint64_t *count) MUST_CHECK;
// Holes, as struct filesystem_writing has them: ext4_punch.c.
int ext4_unwrite(struct transaction *t, struct inode *inode, uint64_t file_block,
		 uint64_t *count) MUST_CHECK;
int ext4_unmap(struct transaction *t, struct inode *inode, uint64_t file_block,
	       uint64_t *count) MUST_CHECK;
// One block of metadata near `goal` (0: near the inode). It is not mapped into anything.
int ext4_allocate_meta(struct transaction *t, struct inode *inode, uint64_t goal,
		       uint64_t *block) MUST_CHECK;
int ext4_free_blocks(struct transaction *t, uint64_t block, uint64_t count, bool meta) MUST_CHECK;
// Frees from the end what lies beyond `size`, as much as one step's credits allow; *more: call again in
// another transaction (the inode is on the orphan list meanwhile). inode->size is set with the first step.
int ext4_truncate_step(struct transaction *t, struct inode *inode, uint64_t size,
		       bool *more) MUST_CHECK;
// A block for directory `dir` at its end: mapped, size grown, in the transaction, zeroed.
int ext4_append_dir_block(struct transaction *t, struct inode *dir, uint64_t *disk, void **data,
			  struct page **page) MUST_CHECK;
// Blocks that new dirty data may still be promised: any context, never sleeps. -ENOSPC.
int ext4_reserve(struct volume *volume, uint64_t blocks) MUST_CHECK;
void ext4_unreserve(struct volume *volume, uint64_t blocks);
void ext4_space(const struct volume *volume, struct volume_space *out);
// A preallocation that the file no longer needs: at the end of a stream. Never sleeps.
void ext4_release_preallocation(struct inode *inode);

// ---- names -------------------------------------------------------------------------------------------
// What is put into a directory block.
struct ext4_new_entry {
	const char *name;
	size_t len;
	uint32_t number;
	uint8_t file_type;
};
// Of a directory block, without the space behind the name. Pure.
static inline uint32_t ext4_entry_bytes(size_t name_len)
{
	return (uint32_t)(sizeof(struct ext4_dirent) + name_len + 3) & ~3U;
}
// A directory block for changing, taken from the transaction; ext4_dir_edit_end computes its checksum.
struct ext4_dir_edit {
	struct inode *dir;
	struct ext4_dir_block block;
	uint8_t *data;
	uint32_t index;
};
int ext4_dir_edit(struct transaction *t, struct inode *dir, uint32_t index,
		  struct ext4_dir_edit *edit) MUST_CHECK;
// The same for a fresh block at the directory's end, zeroed: a leaf with one unused entry, or for an index.
int ext4_dir_edit_append(struct transaction *t, struct inode *dir, enum ext4_dir_block_kind kind,
			 struct ext4_dir_edit *edit) MUST_CHECK;
void ext4_dir_edit_end(struct ext4_dir_edit *edit);
// Puts the entry into leaf block `index` of the directory: 1, or 0 when there is no room in one piece, or
// an error.
int ext4_leaf_add(struct transaction *t, struct inode *dir, uint32_t index,
		  const struct ext4_new_entry *entry) MUST_CHECK;
// Adds; the name is known not to be there. dir's times are set, its inode written.
int ext4_add_name(struct transaction *t, struct inode *dir, const char *name, size_t len,
		  uint64_t number, enum inode_type type) MUST_CHECK;
int ext4_remove_name(struct transaction *t, struct inode *dir, const char *name,
		     size_t len) MUST_CHECK;
// The entry now leads elsewhere: rename over an existing name. Also for ".." of a moved directory.
int ext4_change_name(struct transaction *t, struct inode *dir, const char *name, size_t len,
		     uint64_t number, enum inode_type type) MUST_CHECK;
int ext4_dir_is_empty(struct inode *dir); // 1, 0 or an error
int ext4_set_link_target(struct transaction *t, struct inode *link, const char *target,
			 size_t len) MUST_CHECK; // fast symlink or one block

// ---- extended attributes -----------------------------------------------------------------------------
int ext4_xattr_get(struct inode *inode, const char *name, void *value, size_t size);
int ext4_xattr_list(struct inode *inode, char *names, size_t size);
int ext4_xattr_set(struct transaction *t, struct inode *inode, const char *name, const void *value,
		   size_t size) MUST_CHECK;
int ext4_xattr_free(struct transaction *t,
		    struct inode *inode) MUST_CHECK; // before ext4_free_inode

// ---- mounting, ext4_prepare.c; filesystem_writing ------------------------------------------------------
// 0: the volume is writable; else it is as it was, and why was said.
int ext4_prepare_writing(struct volume *volume) MUST_CHECK;
void ext4_end_writing(struct volume *volume);
