// SPDX-License-Identifier: BSD-2-Clause
// fuzz SEED CHILDREN ADDRESS PORT [FIRST]: random system calls with random and half-valid arguments, in child processes
// and in two threads of one. Child n has its own seed, made of SEED and n: `fuzz SEED 1 ADDRESS PORT n` repeats it.
// PORT is an echo server's, of TCP and UDP. What a child leaves running is killed; that the kernel lives and has
// everything back is for the caller to see. The arguments of a call: a letter each, in fuzz_table.c.
#define _GNU_SOURCE
#include "fuzz.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALLS_EACH   250
#define CHILD_MS     1000 // then it is killed, whatever it waits for
#define UNKNOWN_LAST 470

struct fuzz_arena *arena;
static const char *server_address;
static int server_port;

uint64_t fuzz_random(struct fuzz *f)
{
	f->state += 0x9e3779b97f4a7c15;
	uint64_t z = f->state;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint64_t fuzz_below(struct fuzz *f, uint64_t n)
{
	return fuzz_random(f) % n;
}

static void nothing(int signal) {}

// Breaks off whatever waits, again and again.
static void keep_kicking(void)
{
	struct itimerval often = {{0, 4000}, {0, 4000}};
	struct sigaction a = {.sa_handler = nothing};

	sigaction(SIGALRM, &a, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
}

static void open_everything(void)
{
	int ends[2], epoll = epoll_create1(0), other = epoll_create1(0);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server_port)};
	struct epoll_event e = {.events = EPOLLIN};
	const char *const files[] = {"/bin/fuzz", "/bin",	  "/dev/null", "/dev/zero",
				     "/dev/full", "/dev/urandom", "/dev/tty"};
	int fd;

	for (unsigned n = 0; n < sizeof(files) / sizeof(files[0]); n++)
		open(files[n], O_RDONLY);
	open("/f/data", O_RDWR | O_CREAT, 0644);
	open("/f/more", O_RDWR | O_CREAT | O_APPEND, 0644);
	if (!pipe(ends))
		epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &e);
	pipe2(ends, O_NONBLOCK);
	socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
	epoll_ctl(other, EPOLL_CTL_ADD, epoll, &e);
	eventfd(1, 0);
	inet_pton(AF_INET, server_address, &to.sin_addr);
	for (int n = 0; n < 2; n++) {
		fd = socket(AF_INET, n ? SOCK_DGRAM : SOCK_STREAM, 0);
		connect(fd, (struct sockaddr *)&to, sizeof(to));
	}
	fd = socket(AF_INET6, SOCK_STREAM, 0);
	listen(fd, 4);
	socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
}

static void say(const char *text)
{
	(void)!write(1, text, strlen(text));
}

static long call_one(struct fuzz *f)
{
	const struct fuzz_call *c = &fuzz_calls[fuzz_below(f, fuzz_call_count)];
	uint64_t a[6];
	long number = c->number;
	const char *letter = c->arguments;

	if (fuzz_below(f, 40) == 0) { // anything, on anything
		number = (long)fuzz_below(f, UNKNOWN_LAST);
		letter = "******";
	}
	if (number == SYS_exit_group || number == SYS_exit || number == SYS_kill ||
	    number == SYS_tkill || number == SYS_tgkill || number == SYS_rt_sigreturn ||
	    number == SYS_fork || number == SYS_vfork || number == SYS_clone || number == 435)
		if (letter[0] == '*')
			number = SYS_getpid;
	for (int n = 0; n < 6; n++) {
		a[n] = *letter ? fuzz_argument(f, *letter) : fuzz_random(f);
		letter += *letter != 0;
	}
	if (number == SYS_rt_sigaction && a[0] == SIGALRM)
		a[0] = SIGUSR1;
	if (number == SYS_execve && fuzz_below(f, 20))
		number = SYS_access;
	arena->last[f->thread] = (uint32_t)number;
	return syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void calls(struct fuzz *f, unsigned count)
{
	for (unsigned n = 0; n < count; n++) {
		if (n % 16 == 0)
			keep_kicking();
		if (fuzz_below(f, 30) == 0)
			fuzz_odd(f);
		else
			call_one(f);
	}
}

// What a child of a child does: little, then it ends.
void fuzz_leaf(struct fuzz *f)
{
	keep_kicking();
	for (unsigned n = fuzz_below(f, 12); n > 0; n--)
		call_one(f);
	_exit(0);
}

static void *second(void *arg)
{
	struct fuzz *f = arg;

	calls(f, CALLS_EACH);
	return NULL;
}

static void child(uint64_t seed)
{
	struct fuzz f = {.state = seed}, g = {.state = seed ^ 0x5555, .thread = 1};
	pthread_t thread;

	setsid();
	for (int fd = 0; fd < 3; fd++) {
		close(fd);
		open("/dev/null", O_RDWR);
	}
	open_everything();
	fuzz_fill(&f);
	if (seed & 1)
		pthread_create(&thread, NULL, second, &g);
	calls(&f, CALLS_EACH);
	_exit(0);
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void nap(long ms)
{
	struct timespec t = {0, ms * 1000000};

	nanosleep(&t, NULL);
}

// Until it ended or its time is over. What it left goes, too; nobody but us is there.
static void wait_for(pid_t pid)
{
	long end = now_ms() + CHILD_MS;
	bool anybody;

	while (now_ms() < end && !waitpid(pid, NULL, WNOHANG))
		nap(2);
	do {
		anybody = !kill(-1, SIGKILL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (anybody)
			nap(1);
	} while (anybody);
}

int main(int argc, char **argv)
{
	char line[96];

	if (argc == 2 && !strcmp(argv[1], "leaf"))
		return 0;
	if (argc < 5)
		return 64;
	server_address = argv[3];
	server_port = atoi(argv[4]);
	arena =
	    mmap(NULL, sizeof(*arena), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (arena == MAP_FAILED)
		return 1;
	memset(arena, 0, sizeof(*arena));
	mkdir("/f", 0755);
	uint64_t seed = strtoull(argv[1], NULL, 0),
		 first = argc > 5 ? strtoull(argv[5], NULL, 0) : 0,
		 count = strtoull(argv[2], NULL, 0);

	for (uint64_t n = first; n < first + count; n++) {
		struct fuzz f = {.state = seed + n * 0x1000003};
		uint64_t own = fuzz_random(&f);
		pid_t pid;

		if (n % 32 == 0 || count == 1) {
			snprintf(line, sizeof(line), "fuzz: seed %llu child %llu\n",
				 (unsigned long long)seed, (unsigned long long)n);
			say(line);
		}
		while ((pid = fork()) < 0)
			nap(10);
		if (!pid)
			child(own);
		wait_for(pid);
	}
	say("fuzz: all children done\n");
	return 0;
}
