// SPDX-License-Identifier: BSD-2-Clause
// Advisory locks on files: flock(2), and record locks of fcntl(2), which belong to a process (F_SETLK) or to an
// open file (F_OFD_SETLK). They bind nobody but who asks for locks.
#pragma once

#include "kernel/stream.h"

struct files;

enum { F_RDLCK, F_WRLCK, F_UNLCK };
struct linux_flock {
	int16_t type, whence;
	uint32_t pad;
	int64_t start, len;
	int32_t pid;
	uint32_t pad2;
};
_Static_assert(sizeof(struct linux_flock) == 32, "struct flock");

struct file_lock_owner {   // whoever is asking
	const void *owner; // struct files: a process' record locks; struct stream: an open file's
	bool whole;	   // flock: these and record locks do not see each other
	int pid;	   // as F_GETLK tells it; -1: an open file's
};

// Thread context of a program. Bytes [start, end] of the file that `s` is get a lock of that type. wait: sleeps until
// it can be had. 0, -EAGAIN, -EDEADLK, -ERESTART, -ENOLCK (no room), -EINVAL (not a file).
int file_lock_set(struct stream *s, const struct file_lock_owner *who, int type, uint64_t start,
		  uint64_t end, bool wait) MUST_CHECK;
// F_GETLK: the first lock in the way of one like *lock, whose fields become that lock's; type F_UNLCK: none.
int file_lock_test(struct stream *s, const struct file_lock_owner *who, struct linux_flock *lock,
		   uint64_t start, uint64_t end) MUST_CHECK;
// A descriptor of the table was closed: the process' record locks on that file go. files.c.
void file_locks_closed(const struct files *files, struct stream *s);
// The last reference to an open file goes, and its locks. stream.c.
void file_locks_stream_gone(struct stream *s);
