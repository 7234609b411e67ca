// SPDX-License-Identifier: BSD-2-Clause
// shm: memory under a name (/dev/shm: shm_open, sem_open) and without one (memfd_create), shared by processes that
// were not forked for it, read and written as files, gone with the last name, descriptor and mapping. "ok" on Linux,
// too.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

#define PAGE		   4096
#define BYTES		   (5 * PAGE)
#define TURNS		   200
#define FAILS(call, error) (errno = 0, (call) == -1 && errno == (error))

static char name[64], other[64];

static int listed(const char *what)
{
	DIR *d = opendir("/dev/shm");
	struct dirent *e;
	int count = 0;

	MUST(d != NULL);
	while ((e = readdir(d)) != NULL)
		count += !strcmp(e->d_name, what);
	closedir(d);
	return count;
}

static void wait_for(pid_t child)
{
	int status;

	MUST(waitpid(child, &status, 0) == child && status == 0);
}

static void names(void)
{
	char path[128], second[128];
	struct stat st;
	int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0640);

	snprintf(path, sizeof(path), "/dev/shm%s", name);
	snprintf(second, sizeof(second), "/dev/shm%s", other);
	MUST(fd >= 0 && FAILS(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0640), EEXIST));
	MUST(!fstat(fd, &st) && S_ISREG(st.st_mode) && (st.st_mode & 0777) == 0640 &&
	     st.st_size == 0);
	MUST(write(fd, "abcdefgh", 8) == 8 && pread(fd, path + 100, 8, 4) == 4 &&
	     !memcmp(path + 100, "efgh", 4));
	MUST(lseek(fd, 0, SEEK_END) == 8 && pwrite(fd, "z", 1, BYTES) == 1 && !stat(path, &st) &&
	     st.st_size == BYTES + 1);
	MUST(!ftruncate(fd, 3) && !ftruncate(fd, 8) && pread(fd, path + 100, 8, 0) == 8);
	MUST(!memcmp(path + 100, "abc\0\0\0\0\0", 8) && listed(name + 1) == 1);
	MUST(!link(path, second) && !stat(second, &st) && st.st_nlink == 2 &&
	     FAILS(link(path, second), EEXIST));
	MUST(!unlink(path) && FAILS(unlink(path), ENOENT) && !fstat(fd, &st) && st.st_nlink == 1);
	MUST(FAILS(shm_open(name, O_RDWR, 0), ENOENT) && listed(name + 1) == 0 &&
	     listed(other + 1) == 1);
	MUST(!close(fd) && !shm_unlink(other) &&
	     FAILS(open("/dev/shm/a/b", O_RDWR | O_CREAT, 0600), ENOENT));
}

// Two that opened it by its name see what each other writes; a private mapping's writes are its own.
static void mappings(void)
{
	int fd = shm_open(name, O_RDWR | O_CREAT, 0600);
	char *at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *own;
	pid_t child;

	MUST(fd >= 0 && at != MAP_FAILED && !ftruncate(fd, BYTES)); // mapped before it was so long
	at[PAGE] = 1;
	own = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	MUST(own != MAP_FAILED && own[PAGE] == 1 && (own[2 * PAGE] = 9) && at[2 * PAGE] == 0);
	child = fork();
	if (child == 0) {
		int again = shm_open(name, O_RDWR, 0);
		char *there = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0);

		MUST(again >= 0 && there != MAP_FAILED && there[PAGE] == 1);
		there[3 * PAGE] = 7;
		MUST(pwrite(again, "x", 1, 4 * PAGE) == 1);
		_exit(0);
	}
	wait_for(child);
	MUST(at[3 * PAGE] == 7 && at[4 * PAGE] == 'x' && own[PAGE] == 1);
	MUST(!shm_unlink(name) && !close(fd) && at[3 * PAGE] == 7);
	child = fork(); // beyond the end there is nothing
	if (child == 0) {
		fd = (int)syscall(SYS_memfd_create, "short", 0);
		own = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		MUST(fd >= 0 && own != MAP_FAILED && !ftruncate(fd, PAGE));
		own[0] = 1;
		signal(SIGBUS, _exit);
		own[PAGE] = 1;
		_exit(1);
	}
	MUST(waitpid(child, &fd, 0) == child && WIFEXITED(fd) && WEXITSTATUS(fd) == SIGBUS);
	MUST(!munmap(at, BYTES) && !munmap(own, BYTES));
}

static void rights(void)
{
	int reader, fd = (int)syscall(SYS_memfd_create, "words", 1);

	MUST(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) && write(fd, "bytes", 5) == 5);
	MUST(FAILS(syscall(SYS_memfd_create, "words", 1 << 20), EINVAL) && !close(fd));
	fd = shm_open(name, O_RDWR | O_CREAT, 0600);
	reader = shm_open(name, O_RDONLY, 0);
	MUST(fd >= 0 && reader >= 0 && !ftruncate(fd, PAGE) && FAILS(write(reader, "x", 1), EBADF));
	MUST(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0) == MAP_FAILED &&
	     errno == EACCES);
	MUST(!close(reader) && !close(fd) && (fd = shm_open(name, O_RDWR | O_TRUNC, 0)) >= 0);
	MUST(lseek(fd, 0, SEEK_END) == 0 && !close(fd) && !shm_unlink(name));
}

static void semaphores(void)
{
	sem_t *mine = sem_open(name, O_CREAT | O_EXCL, 0600, 0),
	      *theirs = sem_open(other, O_CREAT, 0600, 0);
	pid_t child;
	int value;

	MUST(mine != SEM_FAILED && theirs != SEM_FAILED && sem_open(name, 0) == mine);
	child = fork();
	if (child == 0) {
		for (int n = 0; n < TURNS; n++)
			MUST(!sem_wait(mine) && !sem_post(theirs));
		_exit(0);
	}
	for (int n = 0; n < TURNS; n++)
		MUST(!sem_post(mine) && !sem_wait(theirs));
	wait_for(child);
	MUST(!sem_getvalue(mine, &value) && value == 0 && !sem_close(mine) && !sem_close(mine) &&
	     !sem_close(theirs));
	MUST(!sem_unlink(name) && !sem_unlink(other) && sem_open(name, 0) == SEM_FAILED &&
	     errno == ENOENT);
}

int main(void)
{
	snprintf(name, sizeof(name), "/pagewire-test-%d", getpid());
	snprintf(other, sizeof(other), "/pagewire-other-%d", getpid());
	names();
	mappings();
	rights();
	semaphores();
	puts("ok");
	return 0;
}
