// SPDX-License-Identifier: BSD-2-Clause
// System calls: Linux's numbers, arguments and errors for x86-64. A call is a row of a table, in the file that its
// noun belongs to; docs/linux-abi.md lists them. Structures as programs see them stand here.
//
//	SYSCALL(3, close)
//	{
//		return files_close((int)a[0]);
//	}
#pragma once

#include "kernel/process.h"
#include "kernel/timer.h"

struct syscall {
	uint32_t number;
	const char *name;
	int64_t (*call)(const uint64_t a[6]); // thread context of the program; -errno or the result
};
#define SYSCALL(call_number, call_name)                                                            \
	static int64_t sys_##call_name(const uint64_t a[6]);                                       \
	static const struct syscall syscall_##call_name TABLE_ROW(syscalls) = {                    \
	    .number = call_number, .name = #call_name, .call = sys_##call_name};                   \
	static int64_t sys_##call_name(const uint64_t a[6])

// The row of a number; null: not served. Any context.
const struct syscall *syscall_find(uint64_t number);
void syscall_init(void); // boot

#define IO_MAX 0x7ffff000UL // bytes: Linux moves no more in one call

#define AT_FDCWD	    (-100)
#define AT_SYMLINK_NOFOLLOW 0x100
#define AT_REMOVEDIR	    0x200
#define AT_SYMLINK_FOLLOW   0x400
#define AT_EACCESS	    0x200
#define AT_EMPTY_PATH	    0x1000

struct linux_timespec {
	int64_t sec, nsec;
};
struct linux_timeval {
	int64_t sec, usec;
};
struct linux_rusage {
	struct linux_timeval user, system;
	int64_t max_rss_kb, unused[3], minor_faults, unused2[9];
};
_Static_assert(sizeof(struct linux_rusage) == 144, "struct rusage");
struct linux_stat {
	uint64_t dev, ino, nlink;
	uint32_t mode, uid, gid, pad;
	uint64_t rdev;
	int64_t size, blksize, blocks;
	struct linux_timespec atime, mtime, ctime;
	int64_t unused[3];
};
_Static_assert(sizeof(struct linux_stat) == 144, "struct stat");

static inline struct linux_timespec timespec_of(uint64_t ns)
{
	return (struct linux_timespec){(int64_t)(ns / NS_PER_SEC), (int64_t)(ns % NS_PER_SEC)};
}
static inline struct linux_timeval timeval_of(uint64_t ns)
{
	return (struct linux_timeval){(int64_t)(ns / NS_PER_SEC),
				      (int64_t)(ns % NS_PER_SEC / 1000)};
}
struct linux_itimerspec {
	struct linux_timespec interval, value;
};
// A struct itimerspec of the program in ns; due 0: not to be set. 0, -EFAULT, -EINVAL.
int syscall_get_itimer(uintptr_t at, uint64_t *due, uint64_t *interval) MUST_CHECK;
// When that is on clock_ns: from `now` on, or (absolute) by either clock. Never 0.
uint64_t syscall_due(uint64_t due, bool absolute, bool by_realtime, uint64_t now);
// When a call that began now ends `ns` later, on clock_ns; one that a signal without a handler broke off, and that
// starts again, keeps the end that it had. What syscall_again returns is what the broken-off call returns.
uint64_t syscall_end(uint64_t ns) MUST_CHECK;
int64_t syscall_again(uint64_t end) MUST_CHECK;
void syscall_fill_usage(struct linux_rusage *usage, const struct cpu_time *time);
// 0 or -EFAULT, -EINVAL (not a time). *ns: the time as nanoseconds.
int syscall_get_time(uintptr_t at, uint64_t *ns) MUST_CHECK;
int files_directory_path(int fd, char *out); // PATH_BYTES; -EBADF, -ENOTDIR
// An iovec array of the program, in kernel memory; ended with put. 0 or an error.
struct stream_io;
struct stream_stat;
struct stream;
int syscall_get_parts(uintptr_t at, uint64_t count, struct stream_io *io) MUST_CHECK;
void syscall_put_parts(struct stream_io *io, uint64_t count);
struct socket_address;
// The socket of a descriptor, with a reference; null and why.
struct stream *syscall_get_socket(uint64_t fd, int *error);
int syscall_get_address(uintptr_t at, uint64_t len, struct socket_address *out) MUST_CHECK;
// As much of an address as the program has room for, and how long it really is.
int syscall_put_address(uintptr_t at, uintptr_t len_at,
			const struct socket_address *name) MUST_CHECK;
int syscall_put_stat(uintptr_t at, const struct stream_stat *st) MUST_CHECK;
int64_t stream_set_size(struct stream *s, uint64_t size) MUST_CHECK; // truncate, ftruncate
int stream_stat_of(struct stream *s,
		   struct stream_stat *st) MUST_CHECK; // with an answer for every kind
enum record_lock { RECORD_TEST, RECORD_SET, RECORD_SET_WAIT };
// fcntl's: a struct flock at `at`; open_file: F_OFD_*.
int64_t syscall_record_lock(struct stream *s, int fd, enum record_lock what, bool open_file,
			    uintptr_t at);
int syscall_take_mask(uintptr_t at,
		      uint64_t bytes) MUST_CHECK; // ppoll and its kin: another mask until ring 3
