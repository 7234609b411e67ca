// SPDX-License-Identifier: BSD-2-Clause
// again: calls that a signal broke off. Stopping and continuing a program must not end its sleeps; a handler does.
// Then signals that carry a value, children that nobody waits for, memory that is locked. It says "ok" on Linux, too.
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "must.h"

#define SLEEP_MS 300
#define SLEEP                                                                                      \
	(struct timespec)                                                                          \
	{                                                                                          \
		0, SLEEP_MS * 1000000L                                                             \
	}
#define CHUNK		   (8 * 4096)
#define FAILS(call, error) (errno = 0, (call) == -1 && errno == (error))

static volatile sig_atomic_t handled, value, code, sender;

static void handler(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	handled++;
	value = info->si_value.sival_int;
	code = info->si_code;
	sender = info->si_pid;
}

static void handle(int signal, int flags)
{
	struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	MUST(!sigaction(signal, &a, NULL));
}

static int by_nanosleep(void)
{
	struct timespec left;

	return nanosleep(&SLEEP, &left);
}
static int by_clock(void)
{
	return clock_nanosleep(CLOCK_REALTIME, 0, &SLEEP, NULL);
}
static int by_poll(void)
{
	return poll(NULL, 0, SLEEP_MS);
}
static int by_ppoll(void)
{
	return ppoll(NULL, 0, &SLEEP, NULL);
}
static int by_select(void)
{
	struct timeval t = {0, SLEEP_MS * 1000};

	return select(0, NULL, NULL, NULL, &t);
}
static int by_pselect(void)
{
	sigset_t none;

	sigemptyset(&none);
	return pselect(0, NULL, NULL, NULL, &SLEEP, &none);
}
static int by_futex(void)
{
	static int word;

	return FAILS(syscall(SYS_futex, &word, 0 /* FUTEX_WAIT */, 0, &SLEEP, NULL, 0), ETIMEDOUT)
		   ? 0
		   : -1;
}

static long ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// Whether it had not ended before; if it had, it has been waited for, and well it ended.
static int stop_and_go_on(pid_t child)
{
	int status;

	usleep(30000);
	MUST(!kill(child, SIGSTOP) && waitpid(child, &status, WUNTRACED) == child);
	if (!WIFSTOPPED(status)) {
		MUST(status == 0);
		return 0;
	}
	MUST(!kill(child, SIGCONT));
	return 1;
}

// Tried again where the machine stood still for so long that the sleep was over before the stops.
static void sleeps_outlast_a_stop(int (*sleeper)(void))
{
	for (int stops = 0; stops < 2;) {
		long start = ms();
		pid_t child = fork();
		int status;

		MUST(child >= 0);
		if (child == 0)
			_exit(sleeper() == 0 && ms() - start >= SLEEP_MS ? 0 : 1);
		for (stops = 0; stops < 2 && stop_and_go_on(child); stops++)
			;
		MUST(stops < 2 || (waitpid(child, &status, 0) == child && status == 0));
	}
}

static void pause_outlasts_a_stop(int by_sigsuspend)
{
	pid_t child;
	sigset_t none;
	int status;

	sigemptyset(&none);
	handle(SIGUSR1, SA_RESTART);
	child = fork();
	MUST(child >= 0);
	if (child == 0) {
		handled = 0;
		_exit((by_sigsuspend ? sigsuspend(&none) : pause()) == -1 && errno == EINTR &&
			      handled > 0
			  ? 0
			  : 1);
	}
	if (!by_sigsuspend)
		usleep(
		    200000); // most likely it is there by now; a signal before pause would be lost
	MUST(stop_and_go_on(child));
	for (status = -1; waitpid(child, &status, WNOHANG) == 0; usleep(50000))
		kill(child, SIGUSR1);
	MUST(status == 0);
}

static void a_handler_ends_sleeps(void)
{
	// Over and over: one alone may come before the sleep has begun.
	struct itimerval soon = {{0, 20000}, {0, 20000}}, never = {{0, 0}, {0, 0}};
	struct timespec left = {0, 0}, hour = {3600, 0};

	handle(SIGALRM, SA_RESTART);
	MUST(!setitimer(ITIMER_REAL, &soon, NULL) && FAILS(nanosleep(&hour, &left), EINTR));
	MUST(left.tv_sec > 0 && left.tv_sec <= 3600);
	MUST(!setitimer(ITIMER_REAL, &soon, NULL) && FAILS(poll(NULL, 0, 3600000), EINTR));
	MUST(!setitimer(ITIMER_REAL, &soon, NULL) && FAILS(pause(), EINTR));
	MUST(!setitimer(ITIMER_REAL, &never, NULL));
}

static void signals_carry_values(void)
{
	siginfo_t info = {.si_code = SI_QUEUE, .si_signo = SIGRTMIN};
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t set;
	pid_t child;

	handle(SIGUSR2, 0);
	MUST(!sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 77}));
	MUST(value == 77 && code == SI_QUEUE && sender == getpid());
	MUST(!sigqueue(getpid(), 0, (union sigval){0}) &&
	     FAILS(sigqueue(getpid(), 65, (union sigval){0}), EINVAL));
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	MUST(!sigprocmask(SIG_BLOCK, &set, NULL));
	for (int n = 1; n <= 3; n++)
		MUST(!sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = n}));
	for (int n = 1; n <= 3; n++)
		MUST(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_value.sival_int == n);
	info.si_value.sival_int = 9;
	MUST(!syscall(SYS_rt_tgsigqueueinfo, getpid(), (int)syscall(SYS_gettid), SIGRTMIN, &info));
	MUST(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_value.sival_int == 9);
	child = fork();
	if (child == 0) {
		MUST(!sigaction(SIGRTMIN, &ignore, NULL));
		pause();
	}
	info.si_code = SI_USER; // only kill may say so
	MUST(FAILS(syscall(SYS_rt_sigqueueinfo, child, SIGRTMIN, &info), EPERM));
	MUST(!kill(child, SIGKILL) && waitpid(child, NULL, 0) == child &&
	     FAILS(sigqueue(child, 0, (union sigval){0}), ESRCH));
}

static void children_that_nobody_waits_for(void)
{
	int status;

	handle(SIGCHLD, SA_NOCLDWAIT);
	if (fork() == 0)
		_exit(3);
	MUST(FAILS(wait(&status), ECHILD));
	signal(SIGCHLD, SIG_DFL);
}

static void memory_is_locked(void)
{
	stack_t off = {.ss_flags = SS_DISABLE, .ss_sp = &off, .ss_size = 100}, now;
	char *at = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	MUST(at != MAP_FAILED && !mlock(at + 1, CHUNK - 1) && !munlock(at, CHUNK));
	MUST(!syscall(SYS_mlock2, at, CHUNK, 1) &&
	     FAILS(syscall(SYS_mlock2, at, CHUNK, 2), EINVAL));
	MUST(!munmap(at + CHUNK / 2, 4096) && FAILS(mlock(at, CHUNK), ENOMEM) &&
	     FAILS(munlock(at, CHUNK), ENOMEM));
	MUST(!munmap(at, CHUNK) && FAILS(mlockall(0), EINVAL) && FAILS(mlockall(64), EINVAL));
	MUST(!mlockall(MCL_CURRENT) && !munlockall());
	MUST(!sigaltstack(&off, NULL) && !sigaltstack(NULL, &now) && now.ss_sp == NULL &&
	     now.ss_size == 0);
}

int main(void)
{
	static int (*const sleepers[])(void) = {by_nanosleep, by_clock,	  by_poll, by_ppoll,
						by_select,    by_pselect, by_futex};

	setvbuf(stdout, NULL, _IONBF, 0);
	for (unsigned n = 0; n < sizeof(sleepers) / sizeof(sleepers[0]); n++)
		sleeps_outlast_a_stop(sleepers[n]);
	pause_outlasts_a_stop(0);
	pause_outlasts_a_stop(1);
	a_handler_ends_sleeps();
	signals_carry_values();
	children_that_nobody_waits_for();
	memory_is_locked();
	puts("ok");
	return 0;
}
