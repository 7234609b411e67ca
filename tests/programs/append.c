// SPDX-License-Identifier: BSD-2-Clause
// append DIRECTORY: several processes append records to one file, each through a descriptor of its own, on the volume
// and in /dev/shm: every record is there, in one piece. Then some read a file that another shortens and writes again: a
// read gives bytes or the end, never an error. Runs on Linux, too. "ok", or what went wrong.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

enum { WRITERS = 4, RECORDS = 150, MOST = 20000, READERS = 3, ROUNDS = 300, LONG = 100000 };

static uint32_t below(uint32_t *state, uint32_t limit)
{
	*state = *state * 1664525 + 1013904223;
	return (*state >> 8) % limit;
}

// A record: its writer's letter, as often as its length says, and a line's end.
static void append(const char *path, int writer)
{
	static char record[MOST + 1];
	uint32_t state = 7 + (uint32_t)writer;
	int fd = open(path, O_WRONLY | O_APPEND);

	MUST(fd >= 0);
	for (int n = 0; n < RECORDS; n++) {
		size_t len = 1 + below(&state, MOST);

		memset(record, 'a' + writer, len);
		record[len] = '\n';
		MUST(write(fd, record, len + 1) == (ssize_t)len + 1);
	}
	_exit(0);
}

static void wait_for(int children)
{
	int status;

	while (children--) {
		MUST(wait(&status) > 0);
		MUST(WIFEXITED(status) && !WEXITSTATUS(status));
	}
}

static void check_records(const char *path)
{
	uint32_t state[WRITERS];
	struct stat st;
	int fd = open(path, O_RDONLY);
	const char *text, *at;

	MUST(fd >= 0 && !fstat(fd, &st));
	text = at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	MUST(text != MAP_FAILED);
	for (int w = 0; w < WRITERS; w++)
		state[w] = 7 + (uint32_t)w;
	for (int n = 0; n < WRITERS * RECORDS; n++) {
		int writer = *at - 'a';
		MUST(at < text + st.st_size && writer >= 0 && writer < WRITERS);
		size_t len = 1 + below(&state[writer], MOST);
		MUST(at + len < text + st.st_size && at[len] == '\n');
		for (size_t i = 0; i < len; i++)
			MUST(at[i] == 'a' + writer);
		at += len + 1;
	}
	MUST(at == text + st.st_size);
	munmap((void *)text, (size_t)st.st_size);
	close(fd);
}

static void many_append(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

	MUST(fd >= 0 && !close(fd));
	for (int w = 0; w < WRITERS; w++) {
		pid_t pid = fork();
		MUST(pid >= 0);
		if (!pid)
			append(path, w);
	}
	wait_for(WRITERS);
	check_records(path);
	MUST(!unlink(path));
}

static void read_on(int fd, int reader)
{
	static char bytes[LONG];
	uint32_t state = 99 + (uint32_t)reader;
	struct stat st;

	do {
		ssize_t n = pread(fd, bytes, sizeof(bytes), below(&state, LONG));
		MUST(n >= 0);
		MUST(!fstat(fd, &st));
	} while (st.st_nlink);
	_exit(0);
}

static void read_while_it_shrinks(const char *path)
{
	static char bytes[LONG];
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

	MUST(fd >= 0);
	memset(bytes, 'x', sizeof(bytes));
	for (int r = 0; r < READERS; r++) {
		pid_t pid = fork();
		MUST(pid >= 0);
		if (!pid)
			read_on(fd, r);
	}
	for (int n = 0; n < ROUNDS; n++) {
		MUST(pwrite(fd, bytes, LONG, 0) == LONG);
		MUST(!ftruncate(fd, n % 3 ? 0 : 5000));
	}
	MUST(!unlink(path));
	wait_for(READERS);
	close(fd);
}

int main(int argc, char **argv)
{
	MUST(argc == 2 && !chdir(argv[1]));
	many_append("log");
	many_append("/dev/shm/append-log");
	read_while_it_shrinks("shrinks");
	puts("ok");
	return 0;
}
