// SPDX-License-Identifier: BSD-2-Clause
// For LD_PRELOAD: directories are read in pieces of 8 KB. The C library asks for 32 KB, recent Linux hands that on to
// FUSE servers, and davfs2 1.6.1, which has room for 16 KB, answers EINVAL. So programs can be run on a davfs2 mount.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct __dirstream {
	int fd;
	long at, len;
	char bytes[8192] __attribute__((aligned(8)));
};

DIR *fdopendir(int fd)
{
	DIR *dir = calloc(1, sizeof(*dir));

	if (dir)
		dir->fd = fd;
	return dir;
}

DIR *opendir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && !dir)
		close(fd);
	return dir;
}

// The kernel's entries are the C library's on this machine (64-bit inode numbers and offsets).
struct dirent64 *readdir64(DIR *dir)
{
	struct dirent64 *entry;

	if (dir->at == dir->len) {
		dir->at = 0;
		dir->len = syscall(SYS_getdents64, dir->fd, dir->bytes, sizeof(dir->bytes));
		if (dir->len <= 0) {
			dir->len = 0;
			return NULL;
		}
	}
	entry = (struct dirent64 *)(dir->bytes + dir->at);
	dir->at += entry->d_reclen;
	return entry;
}

struct dirent *readdir(DIR *dir)
{
	return (struct dirent *)readdir64(dir);
}

int dirfd(DIR *dir)
{
	return dir->fd;
}

void rewinddir(DIR *dir)
{
	lseek(dir->fd, 0, SEEK_SET);
	dir->at = dir->len = 0;
}

int closedir(DIR *dir)
{
	int fd = dir->fd;

	free(dir);
	return close(fd);
}
