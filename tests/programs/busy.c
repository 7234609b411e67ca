// SPDX-License-Identifier: BSD-2-Clause
// busy DIRECTORY: who runs a file and who writes to it keep each other out, and nobody any longer than that. Says "ok"
// on Linux, too, but for 6.11 and 6.12, which let them.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

#define PAGE 4096

#define FAILS(call, number) ((call) == -1 && errno == (number))

static char bytes[65536];

static void copy_self(const char *to)
{
	int from = open("/proc/self/exe", O_RDONLY), fd = open(to, O_CREAT | O_WRONLY, 0755);
	ssize_t n;

	while ((n = read(from, bytes, sizeof(bytes))) > 0)
		MUST(write(fd, bytes, (size_t)n) == n);
	MUST(!n && !close(from) && !close(fd));
}

// Runs it; its standard input is the pipe's end, if there is one.
static pid_t start(const char *path, const char *what, const int *ends)
{
	pid_t child = vfork();

	if (!child) {
		if (ends) {
			dup2(ends[0], 0);
			close(ends[1]);
		}
		execl(path, path, what, NULL);
		_exit(errno);
	}
	MUST(child > 0);
	return child;
}

static int result_of(pid_t child)
{
	int status;

	MUST(waitpid(child, &status, 0) == child && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int run(const char *path)
{
	return result_of(start(path, "nothing", NULL));
}

static void is_busy(const char *path)
{
	int fd;

	MUST(FAILS(open(path, O_WRONLY), ETXTBSY) && FAILS(open(path, O_RDWR), ETXTBSY) &&
	     FAILS(open(path, O_RDONLY | O_TRUNC), ETXTBSY) && FAILS(truncate(path, 0), ETXTBSY));
	MUST((fd = open(path, O_RDONLY)) >= 0 && !close(fd));
}

static void by_name(void)
{
	int ends[2], fd, script;
	pid_t child;
	void *at;

	copy_self("program");
	MUST(!run("program") && !pipe(ends));
	child = start("program", "waits", ends);
	is_busy("program");
	MUST(!run("program") && !rename("program", "renamed"));
	is_busy("renamed");
	MUST(!close(ends[0]) && !close(ends[1]) && !result_of(child));
	MUST((fd = open("renamed", O_RDWR)) >= 0 && run("renamed") == ETXTBSY);
	MUST((at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0)) != MAP_FAILED && !close(fd) &&
	     run("renamed") == ETXTBSY && !munmap(at, PAGE) && !run("renamed"));
	MUST((script = open("script", O_CREAT | O_WRONLY, 0755)) >= 0 &&
	     dprintf(script, "#!./renamed nothing\n") > 0 && run("script") == ETXTBSY &&
	     !close(script));
	MUST(!unlink("script"));
}

// A program may be made of a file that is open, again and again: the descriptor keeps nobody out, only what runs does.
static void by_descriptor(const char *directory)
{
	int ends[2], fd = open("renamed", O_RDONLY), writer;
	char path[64];
	pid_t one, other;

	MUST(fd >= 0 && snprintf(path, sizeof(path), "%s/%d", directory, fd) > 0);
	MUST(!run(path) && !run(path));
	MUST((writer = open("renamed", O_WRONLY)) >= 0 && run(path) == ETXTBSY && !close(writer));
	MUST(!pipe(ends));
	one = start(path, "waits", ends);
	other = start(path, "waits", ends);
	is_busy("renamed");
	MUST(!close(fd));
	is_busy("renamed");
	MUST(!close(ends[0]) && !close(ends[1]) && !result_of(one) && !result_of(other));
	MUST((writer = open("renamed", O_RDWR)) >= 0 && !close(writer) && !run("renamed"));
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "nothing"))
		return 0;
	if (argc > 1 && !strcmp(argv[1], "waits"))
		return (int)read(0, bytes, 1);
	MUST(argc > 1 && !chdir(argv[1]));
	alarm(300); // what waits for ever fails
	by_name();
	by_descriptor("/proc/self/fd");
	by_descriptor("/dev/fd");
	MUST(!unlink("renamed"));
	puts("ok");
	return 0;
}
