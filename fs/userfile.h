// SPDX-License-Identifier: BSD-2-Clause
// What the files of "volumes as programs see them" share: userfile.c (names, reading), userfile_write.c (bytes
// that programs write), userfile_name.c (names that programs change).
#pragma once

#include "fs/inode.h"
#include "kernel/stream.h"

struct userfile {
	struct stream stream;
	struct inode *inode; // a reference
	int32_t
	    writes; // constant: what it is of inode->writers: 1: opened for writing; -1: run; 0: neither
};
// To keep others from running the file (1) or from opening it for writing (-1); given back with the same. -ETXTBSY.
int userfile_claim(struct inode *inode, int32_t writes) MUST_CHECK;
void userfile_unclaim(struct inode *inode, int32_t writes);
static inline struct userfile *userfile_of(struct stream *s)
{
	return CONTAINER_OF(s, struct userfile, stream);
}

// Thread context, sleeps. What an absolute path leads to, with a reference; symbolic links are followed, the last
// name's only if `follow`.
int userfile_find(const char *path, size_t len, bool follow, struct inode **out) MUST_CHECK;
// The directory that a path's last name is in, and that name. -EINVAL: the path is a root.
int userfile_parent(const char *path, size_t len, struct inode **dir, const char **name,
		    size_t *name_len) MUST_CHECK;

// ---- userfile_write.c: stream_ops ----
int64_t userfile_write(struct stream *s, struct stream_io *io, uint64_t offset);
int userfile_truncate(struct stream *s, uint64_t size);
struct mutex *userfile_append_lock(struct stream *s);
int userfile_punch(struct stream *s, uint64_t offset, uint64_t bytes, bool keep_blocks);
int userfile_allocate(struct stream *s, uint64_t offset, uint64_t bytes, bool keep_size);
int userfile_sync(struct stream *s);
int userfile_sync_all(void); // name_provider
// A page is DIRTY, as if its own bytes had been written to it; sleeps. -ENOSPC, -EIO, -ERANGE.
int userfile_touch(struct inode *inode, uint64_t index) MUST_CHECK;

// ---- userfile_map.c: stream_ops ----
struct uspace_backing *userfile_backing(struct stream *s);

// ---- userfile_name.c: name_provider ----
int userfile_create(const char *path, size_t len, uint32_t mode, struct inode **out) MUST_CHECK;
int userfile_make_dir(const char *path, size_t len, uint32_t mode);
int userfile_remove(const char *path, size_t len, bool directory);
int userfile_rename(const char *from, size_t from_len, const char *to, size_t to_len,
		    bool no_replace);
int userfile_link(const char *from, size_t from_len, bool follow, const char *to, size_t to_len);
int userfile_symlink(const char *target, size_t target_len, const char *path, size_t len);
int64_t userfile_read_link(const char *path, size_t len, char *target, size_t size);
int userfile_set(const char *path, size_t len, bool follow, const struct stream_attributes *set);
int userfile_space(const char *path, size_t len, uint64_t out[7]);
int userfile_set_open(struct stream *s, const struct stream_attributes *set); // stream_ops
int userfile_space_open(struct stream *s, uint64_t out[7]);		      // stream_ops
