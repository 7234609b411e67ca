// SPDX-License-Identifier: BSD-2-Clause
// locks DIRECTORY: a thread waits for a record lock while another closes its descriptor: the lock is nobody's then
// (Linux: EBADF, and the lock is free). Runs on Linux, too. "ok", or what went wrong.
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

static int held, got, why;

static struct flock all(short type)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET};
}

static void *wait_for_lock(void *arg)
{
	struct flock l = all(F_WRLCK);

	got = fcntl(held, F_SETLKW, &l);
	why = errno;
	return arg;
}

// Has the lock until it is told, or until who tells is gone.
static pid_t holder(int tell, int told)
{
	pid_t pid = fork();
	struct flock l = all(F_WRLCK);
	char c;

	MUST(pid >= 0);
	if (pid)
		return pid;
	int fd = open("lock", O_RDWR);
	MUST(fd >= 0 && !fcntl(fd, F_SETLK, &l));
	MUST(write(tell, "x", 1) == 1 && read(told, &c, 1) == 1);
	_exit(0);
}

static void wait_well(pid_t pid)
{
	int status;

	MUST(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status));
}

static void once(void)
{
	int there[2], back[2];
	pthread_t thread;
	char c;

	held = open("lock", O_RDWR | O_CREAT, 0644);
	MUST(held >= 0 && !pipe(there) && !pipe(back));
	pid_t pid = holder(there[1], back[0]);
	MUST(read(there[0], &c, 1) == 1);
	MUST(!pthread_create(&thread, NULL, wait_for_lock, NULL));
	usleep(20000); // it waits by now, or it finds the descriptor closed: the same in the end
	MUST(!close(held));
	MUST(write(back[1], "x", 1) == 1);
	wait_well(pid);
	MUST(!pthread_join(thread, NULL));
	MUST(got == -1 && why == EBADF);
	pid = holder(there[1], back[0]); // somebody else gets it at once
	MUST(read(there[0], &c, 1) == 1);
	MUST(write(back[1], "x", 1) == 1);
	wait_well(pid);
	close(there[0]);
	close(there[1]);
	close(back[0]);
	close(back[1]);
}

int main(int argc, char **argv)
{
	MUST(argc == 2 && !chdir(argv[1]));
	for (int n = 0; n < 5; n++)
		once();
	puts("ok");
	return 0;
}
