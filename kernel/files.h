// SPDX-License-Identifier: BSD-2-Clause
// Descriptors of a process, and paths. Thread context; the table has a lock of its own (F), for tasks share it.
#pragma once

#include "kernel/stream.h"

struct process;

struct file_slot {
	struct stream *stream; // a reference; null: free, or promised
	bool close_on_exec, promised;
};
struct files {
	struct mutex lock;
	uint32_t references;
	struct file_slot *slots; // (F) kpages
	uint32_t size, lowest;	 // (F) slots; none below `lowest` is free
};

struct files *files_new(void); // empty; null: no memory
struct files *files_copy(struct files *f);
static inline void files_get(struct files *f)
{
	__atomic_fetch_add(&f->references, 1, __ATOMIC_RELAXED);
}
void files_put(struct files *f); // the last one closes everything
void files_close_on_exec(struct process *p);
// The running process's. take: the lowest free descriptor from `from` on gets the caller's reference; -EMFILE.
int files_take(struct stream *s, int from, bool close_on_exec);
// For calls that can take nothing back (accept, open with O_CREAT): the lowest free descriptor, which nobody finds and
// nobody else gets until it is kept, with the caller's reference, or given up. -EMFILE.
int files_promise(bool close_on_exec) MUST_CHECK;
void files_keep(int fd, struct stream *s);
void files_give_up(int fd);
int files_set(struct files *f, int fd, struct stream *s,
	      bool close_on_exec); // replaces (dup2); -EBADF, -EBUSY
struct stream *files_find(int fd); // with a reference; null: -EBADF
int files_close(int fd);
int files_get_cloexec(int fd);
int files_set_cloexec(int fd, bool on);

// ---- paths ----
// A program's path, relative to `directory` (an absolute path; null: the working directory), normalised into
// `out` (PATH_BYTES): "." and ".." are resolved as text. The length, -ENAMETOOLONG, -EFAULT, -ENOENT (empty).
// *must_dir (may be null): it ended so that it can only mean a directory.
int64_t path_from_user(char *out, int at_fd, uintptr_t user, bool *must_dir);
int64_t path_normalise(char *out, const char *directory, const char *path, size_t len);
// By absolute normalised path, through the provider that has it.
int path_open(const char *path, size_t len, unsigned flags, uint32_t mode, struct stream **out);
const struct name_provider *path_provider(const char *path, size_t len, const char **rest,
					  size_t *rest_len);
