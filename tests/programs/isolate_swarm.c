// SPDX-License-Identifier: BSD-2-Clause
// isolate swarm SEED COUNT: short lives, eight at a time, begun by fork, vfork and exec, with and without threads, and
// ended by themselves, by a fault, or by SIGKILL wherever they happen to wait.
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "isolate.h"
#include "must.h"

#define ALIVE_MOST 8
#define KILLED	   (-SIGKILL)
#define FAULTED	   (-SIGSEGV)

static uint64_t state;
static uint32_t below(uint32_t limit)
{
	state = state * 6364136223846793005UL + 1442695040888963407UL;
	return (uint32_t)((state >> 33) % limit);
}

struct life {
	pid_t pid;
	int end; // exit status, or the signal, negative
	unsigned kind, how;
	unsigned yields; // before it is killed
};
static struct life alive[ALIVE_MOST];
static unsigned alive_count;

static void *thread_ends(void *arg)
{
	return arg;
}
static void *thread_ends_all(void *arg)
{
	_exit((int)(intptr_t)arg);
}
static void *thread_waits(void *arg)
{
	for (;;)
		pause();
	return arg;
}
static void *thread_faults(void *arg)
{
	*(volatile int *)0x10 = 1;
	return NULL;
}

// Threads, and an end by the first, by another, or by a fault of one.
static void with_threads(unsigned kind, int code)
{
	pthread_t threads[4];
	unsigned count = 1 + code % 4;

	for (unsigned n = 0; n < count; n++)
		MUST(!pthread_create(&threads[n], NULL, kind == 0 ? thread_ends : thread_waits,
				     NULL));
	for (unsigned n = 0; n < count && kind == 0; n++)
		MUST(!pthread_join(threads[n], NULL));
	if (kind == 2)
		MUST(!pthread_create(&threads[0], NULL, thread_ends_all, (void *)(intptr_t)code));
	if (kind == 3)
		MUST(!pthread_create(&threads[0], NULL, thread_faults, NULL));
	if (kind >= 2)
		thread_waits(NULL);
	_exit(code);
}

// A child of who is to be killed: it must not stay when its parent is gone.
static void outlive(pid_t parent)
{
	while (syscall(SYS_getppid) == parent)
		poll(NULL, 0, 1);
	_exit(0);
}

// Somewhere in the kernel (or not), for ever: who is killed there leaves nothing behind.
static void wait_somewhere(unsigned where)
{
	static uint32_t word;
	pid_t self_pid = getpid();
	int ends[2];
	char byte, *memory;
	struct pollfd poll_for = {.events = POLLIN};

	MUST(!pipe(ends));
	poll_for.fd = ends[0];
	switch (where) {
	case 0:
		(void)read(ends[0], &byte, 1);
	case 1:
		while (write(ends[1], &byte, 1) == 1)
			;
	case 2:
		poll(&poll_for, 1, -1);
	case 3:
		syscall(SYS_futex, &word, 0, 0, NULL, NULL, 0);
	case 4:
		MUST(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends));
		recv(ends[0], &byte, 1, 0);
	case 5: // a parent that waits for its vforked child
		if (!vfork())
			outlive(self_pid);
	case 6: // or for its child
		if (!fork())
			outlive(self_pid);
		wait(NULL);
	case 7:
		raise(SIGSTOP);
	case 8: // in the middle of getting memory
		for (;;) {
			memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			for (unsigned n = 0; memory != MAP_FAILED && n < 1 << 20; n += 4096)
				memory[n] = 1;
			munmap(memory, 1 << 20);
		}
	case 9: // in the middle of making others
		for (;;) {
			pid_t pid = fork();

			if (!pid)
				_exit(0);
			waitpid(pid, NULL, 0);
		}
	case 10: // with threads that do as much
		with_threads(1 + 3, 3);
	default:
		for (;;)
			;
	}
}

static char *self[] = {"/bin/isolate", "exit", "00", NULL};

static struct life begin(void)
{
	unsigned kind = below(8), how = below(32);
	struct life life = {
	    .end = 10 + (int)below(90), .yields = below(3), .kind = kind, .how = how};

	self[2][0] = (char)('0' + life.end / 10);
	self[2][1] = (char)('0' + life.end % 10);
	fflush(stdout);
	life.pid = kind == 1 ? vfork() : fork();
	MUST(life.pid >= 0);
	if (!life.pid && kind == 1) {
		if (how % 2)
			execv(self[0], self);
		_exit(life.end);
	}
	if (!life.pid) {
		if (kind == 0)
			execv(self[0], self);
		if (kind == 2)
			with_threads(how % 4, life.end);
		if (kind == 3)
			*(volatile int *)0x10 = 1;
		if (kind == 4 && !fork()) // somebody who is nobody's child soon
			_exit(1);
		if (kind >= 5)
			wait_somewhere(how < 12 ? how : how % 8); // few that spin: they take turns
		_exit(life.end);
	}
	if (kind == 3 || (kind == 2 && how % 4 == 3))
		life.end = FAULTED;
	else if (kind >= 5)
		life.end = KILLED;
	return life;
}

static void finish(unsigned n)
{
	struct life *life = &alive[n];
	int status;

	if (life->end == KILLED) {
		while (life->yields--)
			sched_yield();
		MUST(!kill(life->pid, SIGKILL));
	}
	MUST(waitpid(life->pid, &status, 0) == life->pid);
	if (life->end < 0 ? !WIFSIGNALED(status) || WTERMSIG(status) != -life->end
			  : !WIFEXITED(status) || WEXITSTATUS(status) != life->end) {
		printf("kind %u, how %u: status 0x%x, not %d\n", life->kind, life->how, status,
		       life->end);
		exit(1);
	}
	*life = alive[--alive_count];
}

int swarm(uint64_t seed, unsigned count)
{
	static char code[] = "00";

	state = seed;
	self[2] = code;
	while (count--) {
		if (alive_count == ALIVE_MOST)
			finish(below(ALIVE_MOST));
		alive[alive_count] = begin();
		alive_count++;
	}
	while (alive_count)
		finish(0);
	return 0;
}
