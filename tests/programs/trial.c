// SPDX-License-Identifier: BSD-2-Clause
// trial FOLDER BESIDE SECONDS: runs every program that FOLDER/list names, a line each, BESIDE of them at a time, each
// in a session and a working directory of its own (/tmp/NAME), and prints "NAME RESULT" as they end: the exit status,
// "signal N", or "late" for one that was ended after SECONDS. What they print is in FOLDER/NAME.out. The same program
// runs on Pagewire and on Linux (tests/e2e/posixsuite.py): nothing of it knows on which.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "must.h"

#define BESIDE_MAX 64
#define PATH_SIZE  256

static struct trial {
	pid_t pid; // 0: free
	time_t end;
	int late;
	char name[PATH_SIZE / 4];
} trials[BESIDE_MAX];
static const char *folder;

static time_t now(void)
{
	struct timespec t;

	MUST(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
	return t.tv_sec;
}

// In the child; never returns.
static void become(const char *name)
{
	char path[PATH_SIZE], *arguments[] = {path, NULL}, *environment[] = {"PATH=/bin", NULL};
	int out, null = open("/dev/null", O_RDONLY);

	setsid();
	snprintf(path, sizeof(path), "%s/%s.out", folder, name);
	out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	snprintf(path, sizeof(path), "/tmp/%s", name);
	MUST(mkdir(path, 0755) == 0 || errno == EEXIST);
	MUST(chdir(path) == 0 && null >= 0 && out >= 0);
	MUST(dup2(null, 0) == 0 && dup2(out, 1) == 1 && dup2(out, 2) == 2);
	close(null);
	close(out);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	execve(path, arguments, environment);
	_exit(127);
}

static void start(struct trial *t, const char *name, int seconds)
{
	snprintf(t->name, sizeof(t->name), "%s", name);
	t->late = 0;
	t->end = now() + seconds;
	t->pid = fork();
	MUST(t->pid >= 0);
	if (t->pid == 0)
		become(name);
}

static void ended(pid_t pid, int status)
{
	for (struct trial *t = trials; t < trials + BESIDE_MAX; t++) {
		if (t->pid != pid)
			continue;
		kill(-pid, SIGKILL); // what it left behind
		t->pid = 0;
		if (t->late)
			printf("%s late\n", t->name);
		else if (WIFSIGNALED(status))
			printf("%s signal %d\n", t->name, WTERMSIG(status));
		else
			printf("%s %d\n", t->name, WEXITSTATUS(status));
		fflush(stdout);
	}
}

// Waits until one of them may have ended.
static void turn(void)
{
	int status;
	pid_t pid = waitpid(-1, &status, WNOHANG);

	if (pid > 0) {
		ended(pid, status);
		return;
	}
	for (struct trial *t = trials; t < trials + BESIDE_MAX; t++) {
		if (t->pid != 0 && !t->late && now() > t->end) {
			t->late = 1;
			kill(-t->pid, SIGKILL);
			kill(t->pid, SIGKILL);
		}
	}
	usleep(2000);
}

int main(int argc, char **argv)
{
	char path[PATH_SIZE], name[PATH_SIZE / 4];
	int beside, seconds;
	FILE *list;

	MUST(argc == 4);
	folder = argv[1];
	beside = atoi(argv[2]);
	seconds = atoi(argv[3]);
	MUST(beside > 0 && beside <= BESIDE_MAX);
	snprintf(path, sizeof(path), "%s/list", folder);
	list = fopen(path, "re");
	MUST(list != NULL);
	while (fscanf(list, "%63s", name) == 1) {
		struct trial *free = NULL;

		while (free == NULL) {
			for (struct trial *t = trials; t < trials + beside && free == NULL; t++)
				free = t->pid == 0 ? t : NULL;
			if (free == NULL)
				turn();
		}
		start(free, name, seconds);
	}
	for (struct trial *t = trials; t < trials + beside; t++) {
		while (t->pid != 0)
			turn();
	}
	puts("trial done");
	return 0;
}
