// SPDX-License-Identifier: BSD-2-Clause
// Threads, locks, signals, floating point across switches. Says "ok" at the end of each part.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static long counter;
static int turn;

static void *count(void *arg)
{
	for (int n = 0; n < 20000; n++) {
		pthread_mutex_lock(&lock);
		counter++;
		pthread_mutex_unlock(&lock);
	}
	return arg;
}

static void *take_turns(void *arg)
{
	int me = (int)(long)arg;

	for (int n = 0; n < 200; n++) {
		pthread_mutex_lock(&lock);
		while (turn != me)
			pthread_cond_wait(&turned, &lock);
		turn = !me;
		pthread_cond_broadcast(&turned);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void *sum_up(void *arg)
{
	double x = (double)(long)arg, sum = 0;

	for (int n = 1; n < 3000000; n++)
		sum += x / (n * (double)n);
	double *out = malloc(sizeof(*out));
	*out = sum;
	return out;
}

static void check(int good, const char *what)
{
	printf("%s %s\n", good ? "ok" : "not ok", what);
	if (!good)
		exit(1);
}

static void part_threads(void)
{
	pthread_t t[8];
	void *result;

	for (long n = 0; n < 8; n++)
		pthread_create(&t[n], NULL, count, NULL);
	for (int n = 0; n < 8; n++)
		pthread_join(t[n], NULL);
	check(counter == 160000, "mutex");
	for (long n = 0; n < 2; n++)
		pthread_create(&t[n], NULL, take_turns, (void *)n);
	for (int n = 0; n < 2; n++)
		pthread_join(t[n], NULL);
	check(turn == 0, "condition");
	for (long n = 0; n < 4; n++)
		pthread_create(&t[n], NULL, sum_up, (void *)(n + 1));
	for (int n = 0; n < 4; n++) {
		pthread_join(t[n], &result);
		double ratio = *(double *)result / ((n + 1) * 1.6449337);
		check(ratio > 0.99999 && ratio < 1.00001, "floating point");
	}
}

static volatile sig_atomic_t got, depth;
static void handler(int signal, siginfo_t *info, void *context)
{
	got = signal == SIGUSR1 && info->si_pid == getpid();
	depth++;
}
static void on_alarm(int signal)
{
	depth++;
}

static void part_signals(void)
{
	struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	sigset_t set, old;
	stack_t stack = {.ss_sp = malloc(SIGSTKSZ * 4), .ss_size = SIGSTKSZ * 4};
	volatile double keep = 1.25;

	sigaltstack(&stack, NULL);
	a.sa_flags |= SA_ONSTACK;
	sigaction(SIGUSR1, &a, NULL);
	kill(getpid(), SIGUSR1);
	check(got && depth == 1 && keep == 1.25, "handler");
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	kill(getpid(), SIGUSR1);
	check(depth == 1, "blocked");
	sigsuspend(&old);
	check(depth == 2, "sigsuspend");
	sigprocmask(SIG_SETMASK, &old, NULL);
	signal(SIGALRM, on_alarm);
	alarm(1);
	pause();
	check(depth == 3, "alarm");
}

static void part_fork(void)
{
	int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int *private = malloc(sizeof(int)), status;

	*private = 1;
	if (!fork()) {
		*private = 2;
		*shared = 3;
		_exit(42);
	}
	wait(&status);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 42, "exit status");
	check(*private == 1 && *shared == 3, "copy on write and shared memory");
	if (!fork())
		raise(SIGKILL);
	wait(&status);
	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "killed");
	for (int n = 0; n < 1000; n++) {
		if (!fork())
			_exit(n & 0x7f);
		wait(&status);
		if (WEXITSTATUS(status) != (n & 0x7f))
			check(0, "many children");
	}
	check(1, "many children");
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	part_threads();
	part_signals();
	part_fork();
	puts("all ok");
	return 0;
}
