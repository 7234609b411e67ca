// SPDX-License-Identifier: BSD-2-Clause
// files DIRECTORY: calls on files and names, in an empty directory of a volume that can be written. What is expected
// is what Linux does: on a Linux host the program must say "all ok" too.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;

static void check(int ok, const char *what)
{
	if (!ok)
		printf("not ok %s (errno %d)\n", what, errno);
	failures += !ok;
}

static int fails(long result, int why)
{
	return result == -1 && errno == why;
}

static int write_file(const char *name, const char *text)
{
	int fd = open(name, O_CREAT | O_TRUNC | O_RDWR, 0644);

	check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), name);
	return fd;
}

static void links(void)
{
	char target[64];
	struct stat st, there;
	struct stat buffer[2];

	close(write_file("plain", "hello"));
	check(!mkdir("dir", 0755), "mkdir");
	check(!symlink("plain", "soft") && !symlink("nowhere", "dangling") &&
		  !symlink("dir", "way"),
	      "symlink");
	check(!lstat("soft", &st) && S_ISLNK(st.st_mode) && st.st_size == 5, "lstat of a link");
	check(!stat("soft", &st) && S_ISREG(st.st_mode) && st.st_size == 5, "stat through a link");
	check(!fstatat(AT_FDCWD, "way", &st, AT_SYMLINK_NOFOLLOW) && S_ISLNK(st.st_mode),
	      "fstatat of a link");
	check(!lstat("way/", &st) && S_ISDIR(st.st_mode), "lstat of a link and a slash");
	check(fails(stat("plain/", &st), ENOTDIR) && fails(open("plain/", O_RDONLY), ENOTDIR),
	      "a file and a slash");
	check(readlink("soft", target, sizeof(target)) == 5 && !memcmp(target, "plain", 5),
	      "readlink");
	check(readlink("soft", target, 3) == 3, "readlink into little room");
	check(fails(readlink("plain", target, 9), EINVAL), "readlink of a file");
	check(fails(stat("dangling", &st), ENOENT) && !lstat("dangling", &st), "a link to nothing");
	check(fails(open("soft", O_RDONLY | O_NOFOLLOW), ELOOP), "O_NOFOLLOW");
	check(fails(open("dangling", O_CREAT | O_EXCL | O_RDWR, 0600), EEXIST),
	      "O_EXCL and a link");
	check(fails(rmdir("way"), ENOTDIR) && !unlink("way") && !stat("dir", &st),
	      "a link to a directory goes");
	check(!unlink("dangling") && !unlink("soft") && !stat("plain", &st),
	      "links go, files stay");
	check(!symlink("plain", "soft") && !link("soft", "soft2") && !lstat("soft2", &st) &&
		  S_ISLNK(st.st_mode),
	      "link does not follow");
	check(!linkat(AT_FDCWD, "soft", AT_FDCWD, "hard", AT_SYMLINK_FOLLOW) &&
		  !lstat("hard", buffer) && !stat("plain", &there) &&
		  buffer->st_ino == there.st_ino && there.st_nlink == 2,
	      "linkat follows when told");
	check(!rename("soft", "soft3") && !lstat("soft3", &st) && S_ISLNK(st.st_mode),
	      "a link is renamed");
	unlink("soft2");
	unlink("soft3");
	unlink("hard");
}

static void attributes(void)
{
	struct timespec times[2] = {{111, 0}, {1234567890, 123456789}};
	struct stat st;
	struct statfs fs, fs2;
	int fd = write_file("attr", "x");

	check(!futimens(fd, times) && !fstat(fd, &st) && st.st_mtim.tv_sec == 1234567890 &&
		  st.st_mtim.tv_nsec == 123456789,
	      "futimens");
	times[1].tv_sec = 99;
	check(!utimensat(AT_FDCWD, "attr", times, 0) && !stat("attr", &st) &&
		  st.st_mtim.tv_sec == 99,
	      "utimensat");
	times[1].tv_nsec = UTIME_OMIT;
	times[1].tv_sec = 5;
	check(!utimensat(AT_FDCWD, "attr", times, 0) && !stat("attr", &st) &&
		  st.st_mtim.tv_sec == 99,
	      "UTIME_OMIT");
	times[1].tv_nsec = 1000000000;
	check(fails(utimensat(AT_FDCWD, "attr", times, 0), EINVAL), "no such nanoseconds");
	check(!fchmod(fd, 0640) && !fstat(fd, &st) && (st.st_mode & 07777) == 0640, "fchmod");
	check(!chmod("attr", 0600) && !stat("attr", &st) && (st.st_mode & 07777) == 0600, "chmod");
	check(fails(access("attr", X_OK), EACCES) && !access("attr", R_OK | W_OK), "access");
	check(!chmod("attr", 0755) && !faccessat(AT_FDCWD, "attr", X_OK, AT_EACCESS), "faccessat");
	check(!statfs(".", &fs) && !fstatfs(fd, &fs2) && fs.f_blocks == fs2.f_blocks, "statfs");
	check(fails(fstatfs(99, &fs), EBADF), "fstatfs of nothing");
	close(fd);
}

struct statx_head { // the part of struct statx that is looked at
	unsigned mask, blksize;
	unsigned long attributes;
	unsigned nlink, uid, gid;
	unsigned short mode, pad;
	unsigned long ino, size;
	char rest[208];
};

static void extended_stat(void)
{
	struct statx_head x;
	struct stat st;
	int fd = write_file("extended", "twelve bytes");

	stat("extended", &st);
	check(!syscall(SYS_statx, AT_FDCWD, "extended", 0, 0x7ff, &x) && x.size == 12 &&
		  x.ino == st.st_ino && x.mode == st.st_mode && (x.mask & 0x7ff) == 0x7ff,
	      "statx");
	check(!syscall(SYS_statx, fd, "", AT_EMPTY_PATH, 0x7ff, &x) && x.size == 12,
	      "statx of a descriptor");
	check(fails(syscall(SYS_statx, fd, "", 0, 0x7ff, &x), ENOENT), "statx of an empty path");
	check(fails(syscall(SYS_statx, fd, "x", 0x40000, 0x7ff, &x), EINVAL),
	      "statx with unknown flags");
	close(fd);
}

static void positions(void)
{
	char buffer[32] = "";
	struct iovec parts[2] = {{"ab", 2}, {"cde", 3}}, in[2] = {{buffer, 3}, {buffer + 3, 5}};
	struct stat st;
	int fd = write_file("positions", "0123456789");

	check(pwrite(fd, "XY", 2, 4) == 2 && lseek(fd, 0, SEEK_CUR) == 10, "pwrite does not move");
	check(pread(fd, buffer, 4, 3) == 4 && !memcmp(buffer, "3XY6", 4), "pread");
	check(pwritev(fd, parts, 2, 1) == 5 && preadv(fd, in, 2, 0) == 8 &&
		  !memcmp(buffer, "0abcde67", 8),
	      "preadv");
	check(fails(pread(fd, buffer, 1, -1), EINVAL) && pread(fd, buffer, 4, 100) == 0,
	      "pread at odd places");
	check(!ftruncate(fd, 5000) && !fstat(fd, &st) && st.st_size == 5000 &&
		  pread(fd, buffer, 1, 4999) == 1 && !buffer[0],
	      "ftruncate makes a hole");
	check(!truncate("positions", 3) && !fstat(fd, &st) && st.st_size == 3, "truncate");
	check(fails(truncate("positions", -1), EINVAL) && fails(truncate("dir", 1), EISDIR),
	      "truncate refuses");
	close(fd);
	fd = open("positions", O_RDONLY);
	check(fails(ftruncate(fd, 1), EINVAL) && fails(write(fd, "x", 1), EBADF),
	      "read-only descriptors");
	check(!fsync(fd) && !fdatasync(fd), "fsync");
	close(fd);
	fd = open("positions", O_WRONLY | O_APPEND | O_DSYNC);
	check(write(fd, "tail", 4) == 4 && lseek(fd, 0, SEEK_CUR) == 7 &&
		  fails(read(fd, buffer, 1), EBADF),
	      "append");
	check((fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_DSYNC)) ==
		  (O_WRONLY | O_APPEND | O_DSYNC),
	      "F_GETFL");
	check(!syncfs(fd), "syncfs");
	close(fd);
	sync();
	fd = open(".", O_TMPFILE | O_RDWR, 0600);
	check(fd >= 0 && write(fd, "x", 1) == 1 && !fstat(fd, &st) && !st.st_nlink, "O_TMPFILE");
	close(fd);
}

static void directories(void)
{
	DIR *d;
	struct dirent *e;
	struct stat here, above;
	int seen = 0, dots = 0;
	char name[32];

	check(!mkdir("many", 0755) && !chdir("many"), "mkdir");
	for (int n = 0; n < 300; n++) {
		sprintf(name, "file%d", n);
		close(open(name, O_CREAT | O_WRONLY, 0644));
	}
	stat(".", &here);
	stat("..", &above);
	d = opendir(".");
	while ((e = readdir(d)) != NULL) {
		if (!strcmp(e->d_name, "."))
			dots += e->d_ino == here.st_ino && e->d_type == DT_DIR;
		else if (!strcmp(e->d_name, ".."))
			dots += e->d_ino == above.st_ino && e->d_type == DT_DIR;
		else
			seen += !strncmp(e->d_name, "file", 4) && e->d_type == DT_REG;
	}
	check(seen == 300 && dots == 2, "readdir");
	rewinddir(d);
	e = readdir(d);
	check(e && e->d_name[0] == '.', "rewinddir");
	check(fails(syscall(SYS_getdents64, dirfd(d), name, 8), EINVAL), "getdents64 into no room");
	closedir(d);
	check(fails(rmdir("../many"), ENOTEMPTY), "rmdir of a full directory");
	for (int n = 0; n < 300; n++) {
		sprintf(name, "file%d", n);
		unlink(name);
	}
	check(!chdir("..") && !rmdir("many"), "rmdir");
}

static int child_sets(const char *name, int type, off_t start, off_t len)
{
	int status;

	if (!fork()) {
		struct flock l = {.l_type = (short)type, .l_start = start, .l_len = len};

		_exit(fcntl(open(name, O_RDWR), F_SETLK, &l) ? errno : 0);
	}
	wait(&status);
	return WEXITSTATUS(status);
}

// Each holds a lock and waits for the other's: whoever asks last is refused, and the other one goes on.
static void deadlock(int fd)
{
	struct flock first = {.l_type = F_WRLCK, .l_start = 0, .l_len = 1};
	struct flock second = {.l_type = F_WRLCK, .l_start = 1, .l_len = 1},
		     all = {.l_type = F_UNLCK};
	int ends[2], status, refused;
	char byte;

	check(!pipe(ends) && !fcntl(fd, F_SETLK, &first), "lock one");
	if (!fork()) {
		int mine = open("locked", O_RDWR);

		if (fcntl(mine, F_SETLK, &second) || write(ends[1], "x", 1) != 1)
			_exit(1);
		_exit(!fcntl(mine, F_SETLKW, &first) ? 0 : errno == EDEADLK ? 2 : 1);
	}
	check(read(ends[0], &byte, 1) == 1, "child holds two");
	refused = fcntl(fd, F_SETLKW, &second) && errno == EDEADLK;
	check(!fcntl(fd, F_SETLK, &all) && wait(&status) > 0 &&
		  WEXITSTATUS(status) == (refused ? 0 : 2),
	      "one of two is told of the deadlock");
	close(ends[0]);
	close(ends[1]);
}

static void locks(void)
{
	struct flock l = {.l_type = F_WRLCK, .l_start = 10, .l_len = 10};
	int fd = write_file("locked", "0123456789"), other = open("locked", O_RDWR), status;

	check(!fcntl(fd, F_SETLK, &l), "F_SETLK");
	check(child_sets("locked", F_RDLCK, 15, 1) == EAGAIN &&
		  !child_sets("locked", F_WRLCK, 20, 0) && !child_sets("locked", F_WRLCK, 0, 10),
	      "others keep out of the range");
	l = (struct flock){.l_type = F_UNLCK, .l_start = 13, .l_len = 2};
	check(!fcntl(fd, F_SETLK, &l) && !child_sets("locked", F_WRLCK, 13, 2) &&
		  child_sets("locked", F_WRLCK, 12, 1) == EAGAIN &&
		  child_sets("locked", F_WRLCK, 15, 1) == EAGAIN,
	      "a range is cut in two");
	if (!fork()) {
		l = (struct flock){.l_type = F_RDLCK, .l_start = 0, .l_len = 0};
		_exit(fcntl(other, F_GETLK, &l) || l.l_type != F_WRLCK || l.l_pid != getppid() ||
		      l.l_start != 10 || l.l_len != 3);
	}
	check(wait(&status) > 0 && !status, "F_GETLK");
	close(other);
	check(!child_sets("locked", F_WRLCK, 0, 0), "closing any descriptor drops them");
	deadlock(fd);
	other = open("locked", O_RDWR);
	check(!flock(fd, LOCK_EX) && fails(flock(other, LOCK_SH | LOCK_NB), EWOULDBLOCK), "flock");
	check(!child_sets("locked", F_WRLCK, 0, 0), "flock is no record lock");
	close(fd);
	check(!flock(other, LOCK_EX | LOCK_NB), "the last close drops a flock");
	close(other);
}

static void mapping(void)
{
	int fd = write_file("mapped", "mapped bytes");
	char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	check(p != MAP_FAILED && !strcmp(p, "mapped bytes"), "a shared mapping is read");
	munmap(p, 4096);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	p[0] = 'M';
	close(fd);
	fd = open("mapped", O_RDONLY);
	char first = 0;
	check(read(fd, &first, 1) == 1 && first == 'm', "a private mapping keeps its changes");
	munmap(p, 4096);
	close(fd);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc < 2 || chdir(argv[1]))
		return 2;
	links();
	attributes();
	extended_stat();
	positions();
	directories();
	locks();
	mapping();
	puts(failures ? "failed" : "all ok");
	return failures != 0;
}
