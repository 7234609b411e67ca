// SPDX-License-Identifier: BSD-2-Clause
// space DIRECTORY [SEED]: room for files before there are bytes (fallocate), and advice about them. Runs on Linux,
// too. "ok", or what went wrong; leaves the files "kept" and "model".
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "must.h"

#define ZERO_RANGE	   0x10 // FALLOC_FL_ZERO_RANGE, which musl has not
#define MEGABYTE	   (1 << 20)
#define MODEL_MAX	   (MEGABYTE + 12345)
#define FAILS(call, error) (errno = 0, (call) == -1 && errno == (error))

static unsigned char bytes[MODEL_MAX], model[MODEL_MAX];

static off_t size_of(int fd)
{
	struct stat st;

	MUST(!fstat(fd, &st));
	return st.st_size;
}

static int zeros(int fd, off_t from, size_t count)
{
	MUST(pread(fd, bytes, count, from) == (ssize_t)count);
	for (size_t n = 0; n < count; n++)
		if (bytes[n])
			return 0;
	return 1;
}

static int punch(int fd, off_t from, off_t count)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, count);
}

// As if zeros were written there, which is what happens where the file system cannot (tmpfs of Linux).
static void zero_range(int fd, off_t from, off_t count)
{
	if (!fallocate(fd, ZERO_RANGE, from, count))
		return;
	MUST(errno == EOPNOTSUPP);
	memset(bytes, 0, (size_t)count);
	MUST(pwrite(fd, bytes, (size_t)count, from) == count);
}

static void errors(int fd)
{
	int ends[2], null = open("/dev/null", O_RDWR), reader = open("kept", O_RDONLY);

	MUST(!pipe(ends) && null >= 0 && reader >= 0);
	MUST(FAILS(fallocate(fd, 0, 0, 0), EINVAL) && FAILS(fallocate(fd, 0, -1, 5), EINVAL));
	MUST(FAILS(fallocate(fd, 0, 5, -1), EINVAL) && FAILS(fallocate(-1, 0, 0, 1), EBADF));
	MUST(FAILS(fallocate(reader, 0, 0, 1), EBADF) &&
	     FAILS(fallocate(ends[1], 0, 0, 1), ESPIPE));
	MUST(FAILS(fallocate(null, 0, 0, 1), ENODEV) &&
	     FAILS(fallocate(fd, 1 << 30, 0, 1), EOPNOTSUPP));
	MUST(FAILS(fallocate(fd, 0, 1L << 62, 1L << 62), EFBIG));
	MUST(FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 1), EOPNOTSUPP) &&
	     FAILS(punch(fd, 0, 0), EINVAL));
	MUST(FAILS(punch(fd, -1, 5), EINVAL) && FAILS(punch(reader, 0, 1), EBADF));
	MUST(FAILS(punch(ends[1], 0, 1), ESPIPE));
	MUST(FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE | ZERO_RANGE, 0, 1),
		   EOPNOTSUPP));
	MUST(posix_fallocate(reader, 0, 1) == EBADF && !posix_fallocate(fd, 0, 1));
	MUST(!posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED) &&
	     posix_fadvise(fd, 0, 0, 99) == EINVAL);
	MUST(posix_fadvise(ends[0], 0, 0, POSIX_FADV_NORMAL) == ESPIPE);
	MUST(!readahead(fd, 0, MEGABYTE) && FAILS(readahead(ends[0], 0, 1), EINVAL));
	MUST(!sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE) && !sync_file_range(fd, 0, 0, 7));
	MUST(FAILS(sync_file_range(fd, 0, 0, 8), EINVAL) &&
	     FAILS(sync_file_range(fd, -1, 0, 1), EINVAL));
	MUST(FAILS(sync_file_range(ends[0], 0, 0, 1), ESPIPE) &&
	     FAILS(sync_file_range(-1, 0, 0, 1), EBADF));
	close(null), close(reader), close(ends[0]), close(ends[1]);
}

static void room(void)
{
	int fd = open("kept", O_RDWR | O_CREAT | O_TRUNC, 0644);

	MUST(fd >= 0 && !fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, MEGABYTE) && size_of(fd) == 0);
	errors(fd);
	MUST(!ftruncate(fd, 0) && !fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, MEGABYTE));
	MUST(write(fd, "hello", 5) == 5 && size_of(fd) == 5);
	MUST(!fallocate(fd, 0, 0, 10000) && size_of(fd) == 10000);
	MUST(pread(fd, bytes, 10000, 0) == 10000 && !memcmp(bytes, "hello", 5) &&
	     zeros(fd, 5, 9995));
	MUST(pwrite(fd, "x", 1, 9000) == 1 && !fsync(fd) && zeros(fd, 5, 8995) &&
	     zeros(fd, 9001, 999));
	MUST(!ftruncate(fd, 3) && !ftruncate(fd, 20000) && zeros(fd, 3, 19997));
	MUST(!fallocate(fd, 0, 3 * MEGABYTE, 1) && size_of(fd) == 3 * MEGABYTE + 1);
	MUST(!fallocate(fd, 0, 0, 4 * MEGABYTE) && size_of(fd) == 4 * MEGABYTE &&
	     zeros(fd, MEGABYTE, MEGABYTE));
	MUST(pwrite(fd, "y", 1, 2 * MEGABYTE + 17) == 1 && !fdatasync(fd) && !close(fd));
}

// What is around a hole stays as it was, and so does the size. At the end there is one page.
static void holes(void)
{
	int fd = open("holes", O_RDWR | O_CREAT | O_TRUNC, 0644), reader = open("holes", O_RDONLY);

	MUST(fd >= 0 && reader >= 0);
	memset(bytes, 'h', sizeof(bytes));
	MUST(pwrite(fd, bytes, MEGABYTE, 0) == MEGABYTE);
	MUST(!punch(fd, 100, 10) && !punch(fd, 4096 + 5, 3 * 4096) && size_of(fd) == MEGABYTE);
	MUST(zeros(reader, 4096 + 5, 3 * 4096) && zeros(fd, 100, 10));
	MUST(pread(fd, bytes, 5, 4096 - 1) == 5 && !memcmp(bytes, "hhhhh", 5));
	MUST(pread(fd, bytes, 5, 110) == 5 && bytes[0] == 'h' && bytes[4] == 'h');
	MUST(pread(fd, bytes, 2, 4 * 4096 + 4) == 2 && !bytes[0] && bytes[1] == 'h');
	MUST(!punch(fd, MEGABYTE / 2, 8L * MEGABYTE) &&
	     size_of(fd) == MEGABYTE); // beyond the end, too
	MUST(zeros(reader, MEGABYTE / 2, MEGABYTE / 2));
	MUST(!punch(fd, 64L * MEGABYTE, 4096) && size_of(fd) == MEGABYTE);
	MUST(pwrite(fd, "back", 4, MEGABYTE / 2 + 9000) == 4 && zeros(reader, MEGABYTE / 2, 9000));
	zero_range(fd, 8192, 100000);
	MUST(zeros(reader, 8192, 100000) && !punch(fd, 0, MEGABYTE) && zeros(fd, 0, MEGABYTE));
	MUST(pwrite(fd, "again", 5, 70000) == 5 && !fsync(fd));
	MUST(zeros(fd, 0, 70000) && pread(fd, bytes, 5, 70000) == 5 && !memcmp(bytes, "again", 5));
	MUST(!close(fd) && !close(reader));
}

static blkcnt_t blocks_of(int fd)
{
	struct stat st;

	MUST(!fsync(fd) && !fstat(fd, &st));
	return st.st_blocks;
}

// Where the holes are, and that they take nothing.
static void seen_holes(void)
{
	int fd = open("seen", O_RDWR | O_CREAT | O_TRUNC, 0644);
	blkcnt_t whole;

	MUST(fd >= 0 && FAILS(lseek(fd, 0, SEEK_DATA), ENXIO) &&
	     FAILS(lseek(fd, 0, SEEK_HOLE), ENXIO));
	memset(bytes, 's', sizeof(bytes));
	MUST(pwrite(fd, bytes, MEGABYTE, 0) == MEGABYTE && lseek(fd, 5, SEEK_DATA) == 5);
	MUST(lseek(fd, 5, SEEK_HOLE) == MEGABYTE && lseek(fd, 0, SEEK_CUR) == MEGABYTE);
	whole = blocks_of(fd);
	MUST(whole >= MEGABYTE / 512 && !punch(fd, MEGABYTE / 2, MEGABYTE / 4));
	MUST(blocks_of(fd) <= whole - MEGABYTE / 4 / 512 + 16);
	for (int synced = 0; synced < 2; synced++) {
		MUST(lseek(fd, 0, SEEK_HOLE) == MEGABYTE / 2);
		MUST(lseek(fd, MEGABYTE / 2 + 5, SEEK_HOLE) == MEGABYTE / 2 + 5);
		MUST(lseek(fd, MEGABYTE / 2 + 5, SEEK_DATA) == 3 * MEGABYTE / 4);
		MUST(lseek(fd, 3 * MEGABYTE / 4, SEEK_HOLE) == MEGABYTE && !fsync(fd));
	}
	MUST(pwrite(fd, "x", 1, MEGABYTE / 2 + 65536 + 5) == 1);
	for (int synced = 0; synced < 2; synced++) {
		MUST(lseek(fd, MEGABYTE / 2, SEEK_DATA) == MEGABYTE / 2 + 65536);
		MUST(lseek(fd, MEGABYTE / 2 + 65536, SEEK_HOLE) == MEGABYTE / 2 + 65536 + 4096);
		MUST(!fsync(fd));
	}
	MUST(FAILS(lseek(fd, MEGABYTE, SEEK_DATA), ENXIO) &&
	     FAILS(lseek(fd, MEGABYTE, SEEK_HOLE), ENXIO));
	MUST(!ftruncate(fd, 2 * MEGABYTE) && FAILS(lseek(fd, MEGABYTE, SEEK_DATA), ENXIO));
	MUST(!fallocate(fd, 0, 0, 3 * MEGABYTE) && blocks_of(fd) >= 3 * MEGABYTE / 512);
	MUST(lseek(fd, MEGABYTE, SEEK_HOLE) == MEGABYTE && FAILS(lseek(fd, -1, SEEK_DATA), ENXIO));
	MUST(FAILS(lseek(fd, 0, 5), EINVAL) && !close(fd) && !unlink("seen"));
}

static ssize_t copied(int from, off_t *from_at, int to, off_t *to_at, size_t count)
{
	return syscall(SYS_copy_file_range, from, from_at, to, to_at, count, 0);
}

// From file to file: by positions and by offsets, over pages' ends, up to the source's end.
static void copies(void)
{
	int from = open("from", O_RDWR | O_CREAT | O_TRUNC, 0644), ends[2];
	int to = open("to", O_RDWR | O_CREAT | O_TRUNC, 0644);
	int add = open("to", O_WRONLY | O_APPEND);
	off_t from_at = 5, to_at = 70001;
	ssize_t done = 0, n;

	MUST(from >= 0 && to >= 0 && add >= 0 && !pipe(ends));
	for (size_t at = 0; at < sizeof(model); at++)
		model[at] = (unsigned char)(at * 7 + at / 251);
	MUST(write(from, model, sizeof(model)) == sizeof(model) &&
	     lseek(from, 100, SEEK_SET) == 100);
	while ((n = copied(from, NULL, to, NULL, 300001)) > 0)
		done += n;
	MUST(n == 0 && done == (ssize_t)sizeof(model) - 100 && size_of(to) == done);
	MUST(lseek(from, 0, SEEK_CUR) == sizeof(model) && lseek(to, 0, SEEK_CUR) == done);
	MUST(pread(to, bytes, sizeof(bytes), 0) == done &&
	     !memcmp(bytes, model + 100, (size_t)done));
	while (from_at < 5 + 50000)
		MUST(copied(from, &from_at, to, &to_at, (size_t)(5 + 50000 - from_at)) > 0);
	MUST(from_at == 50005 && to_at == 70001 + 50000 && lseek(to, 0, SEEK_CUR) == done);
	memcpy(bytes + 70001, model + 5, 50000);
	MUST(pread(to, model, (size_t)done, 0) == done && !memcmp(bytes, model, (size_t)done));
	from_at = to_at = 0;
	MUST(FAILS(copied(from, &from_at, from, &to_at, 1), EINVAL) &&
	     copied(from, &from_at, to, &to_at, 0) == 0);
	from_at = MEGABYTE / 2;
	MUST(copied(from, &from_at, from, &to_at, 4096) == 4096 && from_at == MEGABYTE / 2 + 4096);
	MUST(FAILS(copied(from, NULL, ends[1], NULL, 1), EINVAL) &&
	     FAILS(copied(-1, NULL, to, NULL, 1), EBADF));
	MUST(FAILS(copied(from, NULL, add, NULL, 1), EBADF) &&
	     FAILS(copied(add, NULL, to, NULL, 1), EBADF));
	MUST(FAILS(syscall(SYS_copy_file_range, from, NULL, to, NULL, 1, 1), EINVAL));
	MUST(FAILS(copied(from, (void *)8, to, NULL, 1), EFAULT));
	from_at = -1;
	MUST(copied(from, &from_at, to, NULL, 1) == -1);
	from_at = 100 * MEGABYTE;
	MUST(copied(from, &from_at, to, NULL, 1) == 0);
	MUST(!close(from) && !close(to) && !close(add) && !close(ends[0]) && !close(ends[1]));
	memset(model, 0, sizeof(model));
}

// A program that has the file mapped sees the hole, and may write into it.
static void mapped_holes(void)
{
	int fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0644);
	char *map;

	MUST(fd >= 0 && !ftruncate(fd, MEGABYTE));
	map = mmap(NULL, MEGABYTE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(map != MAP_FAILED);
	for (int round = 0; round < 3; round++) {
		memset(map, 'm', MEGABYTE);
		MUST(!punch(fd, 5000, 500000) && map[4999] == 'm' && map[505000] == 'm');
		for (int n = 5000; n < 505000; n++)
			MUST(!map[n]);
		map[300000] = 'x';
		MUST(pread(fd, bytes, 3, 299999) == 3 && !memcmp(bytes, "\0x", 3));
	}
	MUST(!munmap(map, MEGABYTE) && !close(fd));
}

// More than there is: the error, and what was taken comes back with the file.
static void too_much(void)
{
	int fd = open("much", O_RDWR | O_CREAT | O_TRUNC, 0644);
	struct statvfs before, after;
	off_t whole;

	MUST(fd >= 0 && !fstatvfs(fd, &before));
	whole = (off_t)(before.f_bfree * before.f_frsize) + MEGABYTE;
	if (whole < 1L << 27) // of a disk that others write to, too, it takes nothing away
		MUST(FAILS(fallocate(fd, 0, 0, whole), ENOSPC) && size_of(fd) == 0);
	MUST(!close(fd) && !unlink("much"));
	sync();
	MUST(!statvfs(".", &after));
}

// A file, and what it must hold.
static void random_steps(unsigned seed)
{
	int fd = open("model", O_RDWR | O_CREAT | O_TRUNC, 0644);
	off_t size = 0;

	MUST(fd >= 0);
	srandom(seed);
	for (int n = 0; n < 300; n++) {
		off_t from = random() % MEGABYTE, end = from + 1 + random() % 12345;

		switch (random() % 8) {
		case 0:
			MUST(!fallocate(fd, 0, from, end - from));
			size = end > size ? end : size;
			break;
		case 1:
			MUST(!fallocate(fd, FALLOC_FL_KEEP_SIZE, from, end - from));
			break;
		case 2:
			if (random() % 4)
				break;
			MUST(!ftruncate(fd, from));
			if (from < size)
				memset(model + from, 0, (size_t)(size - from));
			size = from;
			break;
		case 3:
			MUST(random() % 8 || !fsync(fd));
			break;
		case 4:
			MUST(!punch(fd, from, end - from));
			memset(model + from, 0, (size_t)(end - from));
			break;
		case 5:
			zero_range(fd, from, end - from);
			memset(model + from, 0, (size_t)(end - from));
			size = end > size ? end : size;
			break;
		default:
			memset(model + from, n + 1, (size_t)(end - from));
			MUST(pwrite(fd, model + from, (size_t)(end - from), from) == end - from);
			size = end > size ? end : size;
		}
		MUST(size_of(fd) == size);
		if (n % 16 == 15)
			MUST(pread(fd, bytes, sizeof(bytes), 0) == size &&
			     !memcmp(bytes, model, (size_t)size));
	}
	MUST(!fsync(fd) && !close(fd));
}

int main(int argc, char **argv)
{
	MUST(argc > 1 && !chdir(argv[1]));
	room();
	holes();
	copies();
	seen_holes();
	mapped_holes();
	too_much();
	random_steps(argc > 2 ? (unsigned)atoi(argv[2]) : 1);
	puts("ok");
	return 0;
}
