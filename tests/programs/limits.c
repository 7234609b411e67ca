// SPDX-License-Identifier: BSD-2-Clause
// limits [DIRECTORY]: limits of processes, processor time, timers. In the directory a file is written. What is
// expected is what Linux does: on a Linux host the program must say "all ok" too. Nothing here
// depends on how fast the machine is.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000LL

static int failures;
static volatile sig_atomic_t signals, last_value;

static void check(int ok, const char *what)
{
	if (!ok)
		printf("not ok %s (errno %d)\n", what, errno);
	failures += !ok;
}

static int64_t ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000 * MS + t.tv_nsec;
}

static int64_t ns_of(struct timeval t)
{
	return t.tv_sec * 1000 * MS + t.tv_usec * 1000;
}

static void spin(int64_t cpu)
{
	int64_t end = ns(CLOCK_THREAD_CPUTIME_ID) + cpu;

	while (ns(CLOCK_THREAD_CPUTIME_ID) < end)
		;
}

static void count_signal(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	signals++;
	last_value = info->si_value.sival_int;
}

static void handle(int signal)
{
	struct sigaction a = {.sa_sigaction = count_signal, .sa_flags = SA_SIGINFO};

	signals = 0;
	sigaction(signal, &a, NULL);
}

static int limit(int which, rlim_t soft)
{
	struct rlimit l;

	getrlimit(which, &l);
	l.rlim_cur = soft;
	return setrlimit(which, &l);
}

static int deep(int n)
{
	volatile char frame[4096];

	frame[0] = (char)n;
	return n ? deep(n - 1) + frame[0] : 0;
}

// What a child does, and how it ended.
static int in_child(void (*what)(void))
{
	int status;

	fflush(stdout);
	if (!fork()) {
		what();
		_exit(0);
	}
	wait(&status);
	return status;
}

static void few_files(void)
{
	struct rlimit l = {16, 16}, back;

	if (setrlimit(RLIMIT_NOFILE, &l) || getrlimit(RLIMIT_NOFILE, &back) ||
	    back.rlim_cur != 16 || back.rlim_max != 16)
		_exit(1);
	while (dup(0) >= 0)
		;
	_exit(errno != EMFILE || dup2(0, 16) != -1 || dup2(0, 15) != 15);
}

static void few_addresses(void)
{
	void *p;

	limit(RLIMIT_AS, 64 << 20);
	p = mmap(NULL, 128 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p != MAP_FAILED || errno != ENOMEM)
		_exit(1);
	p = mmap(NULL, 16 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	_exit(p == MAP_FAILED);
}

static void little_data(void)
{
	char *was = sbrk(0);
	void *p;

	limit(RLIMIT_DATA, 16 << 20);
	p = mmap(NULL, 32 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p != MAP_FAILED || errno != ENOMEM)
		_exit(1);
	p = mmap(NULL, 32 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		_exit(2);
	_exit(brk(was + (32 << 20)) == 0);
}

static void little_stack(void)
{
	limit(RLIMIT_STACK, 512 << 10);
	deep(256); // a megabyte
}

static void enough_stack(void)
{
	deep(256);
}

static void few_processes(void)
{
	struct utsname u;

	uname(&u);
	if (strcmp(u.nodename, "pagewire"))
		return; // root on Linux may have as many as it likes
	limit(RLIMIT_NPROC, 2);
	_exit(fork() != -1 || errno != EAGAIN);
}

static void little_time(void)
{
	limit(RLIMIT_CPU, 1);
	for (;;)
		;
}

static void small_files(void)
{
	char block[2000] = "";
	int fd = open("limited", O_CREAT | O_TRUNC | O_RDWR, 0600);

	handle(SIGXFSZ);
	limit(RLIMIT_FSIZE, 1000);
	if (write(fd, block, 2000) != 1000 || signals)
		_exit(1);
	if (write(fd, block, 1) != -1 || errno != EFBIG || signals != 1)
		_exit(2);
	_exit(ftruncate(fd, 1001) != -1 || errno != EFBIG || signals != 2 || ftruncate(fd, 999));
}

static void limits(int can_write)
{
	check(!in_child(few_files), "RLIMIT_NOFILE");
	check(!in_child(few_addresses), "RLIMIT_AS");
	check(!in_child(little_data), "RLIMIT_DATA");
	int status = in_child(little_stack);
	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "RLIMIT_STACK");
	check(!in_child(enough_stack), "the stack grows");
	check(!in_child(few_processes), "RLIMIT_NPROC");
	status = in_child(little_time);
	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU, "RLIMIT_CPU");
	if (can_write)
		check(!in_child(small_files), "RLIMIT_FSIZE");
	check(setrlimit(RLIMIT_NOFILE, &(struct rlimit){20, 10}) == -1 && errno == EINVAL,
	      "soft above hard");
}

static void *spinner(void *arg)
{
	spin(20 * MS);
	return arg;
}

static void processor_time(void)
{
	int64_t wall = ns(CLOCK_MONOTONIC), cpu = ns(CLOCK_PROCESS_CPUTIME_ID), user;
	struct timespec t = {0, 100 * MS};
	struct rusage self, child, children;
	struct tms ticks;
	pthread_t thread;
	clockid_t clock;
	int status;

	nanosleep(&t, NULL);
	cpu = ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	wall = ns(CLOCK_MONOTONIC) - wall;
	check(cpu >= 0 && wall - cpu >= 90 * MS, "sleeping takes no processor time");
	getrusage(RUSAGE_SELF, &self);
	user = ns_of(self.ru_utime) + ns_of(self.ru_stime);
	spin(50 * MS);
	getrusage(RUSAGE_SELF, &self);
	check(ns_of(self.ru_utime) + ns_of(self.ru_stime) - user >= 40 * MS && self.ru_maxrss > 0,
	      "getrusage");
	cpu = ns(CLOCK_THREAD_CPUTIME_ID);
	pthread_create(&thread, NULL, spinner, NULL);
	pthread_join(thread, NULL);
	wall = ns(CLOCK_PROCESS_CPUTIME_ID);
	check(wall >= ns(CLOCK_THREAD_CPUTIME_ID) + 10 * MS,
	      "threads that ended count for the process");
	if (!fork()) {
		spin(50 * MS);
		_exit(0);
	}
	check(wait4(-1, &status, 0, &child) > 0 && !getrusage(RUSAGE_CHILDREN, &children) &&
		  ns_of(child.ru_utime) + ns_of(child.ru_stime) >= 40 * MS &&
		  ns_of(children.ru_utime) + ns_of(children.ru_stime) >= ns_of(child.ru_utime),
	      "children's time");
	check(times(&ticks) != -1 && ticks.tms_utime + ticks.tms_stime >= 4 &&
		  ticks.tms_cutime + ticks.tms_cstime >= 4,
	      "times");
	check(!clock_getcpuclockid(getpid(), &clock) && ns(clock) >= 50 * MS,
	      "clock_getcpuclockid");
}

static void interval_timers(void)
{
	static const struct {
		int which, signal;
	} kinds[] = {{ITIMER_REAL, SIGALRM}, {ITIMER_VIRTUAL, SIGVTALRM}, {ITIMER_PROF, SIGPROF}};
	struct itimerval timer = {{0, 5000}, {0, 20000}}, now, off = {{0, 0}, {0, 0}};
	struct timespec rest, t = {1000, 0};

	for (unsigned n = 0; n < 3; n++) {
		int64_t cpu = ns(CLOCK_PROCESS_CPUTIME_ID), wall = ns(CLOCK_MONOTONIC);

		handle(kinds[n].signal);
		check(!setitimer(kinds[n].which, &timer, NULL), "setitimer");
		while (signals < 3)
			;
		check(!getitimer(kinds[n].which, &now) && now.it_interval.tv_usec == 5000,
		      "getitimer");
		check(!setitimer(kinds[n].which, &off, &now), "setitimer");
		wall = n ? ns(CLOCK_PROCESS_CPUTIME_ID) - cpu : ns(CLOCK_MONOTONIC) - wall;
		check(wall >= 25 * MS, "an interval timer waits");
	}
	handle(SIGALRM);
	timer.it_interval.tv_usec = 1000; // should the first one come before the sleep
	setitimer(ITIMER_REAL, &timer, NULL);
	check(nanosleep(&t, &rest) == -1 && errno == EINTR && rest.tv_sec >= 0 &&
		  rest.tv_sec < 1000,
	      "what was left of a sleep");
	setitimer(ITIMER_REAL, &off, NULL);
}

static void signal_timers(void)
{
	struct sigevent e = {
	    .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 77};
	struct itimerspec often = {{0, MS}, {0, MS}}, once = {{0, 0}, {1000, 0}}, now;
	sigset_t set;
	timer_t timer;

	handle(SIGRTMIN);
	check(!timer_create(CLOCK_MONOTONIC, &e, &timer) && !timer_settime(timer, 0, &often, NULL),
	      "timer_create");
	while (signals < 3)
		;
	check(last_value == 77, "a timer's value");
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = 0;
	struct timespec t = {0, 50 * MS};
	nanosleep(&t, NULL);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	check(signals >= 1 && signals < 20, "expiries that nobody took are one signal");
	check(!timer_settime(timer, 0, &once, NULL) && !timer_gettime(timer, &now) &&
		  now.it_value.tv_sec > 0 && !timer_delete(timer) &&
		  timer_gettime(timer, &now) == -1 && errno == EINVAL,
	      "timer_delete");
}

static void timer_descriptors(void)
{
	struct itimerspec t = {{0, 10 * MS}, {0, 10 * MS}}, now;
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	struct pollfd p = {fd, POLLIN, 0};
	uint64_t count = 0, sum = 0;
	int64_t began = ns(CLOCK_MONOTONIC);

	check(fd >= 0 && read(fd, &count, 8) == -1 && errno == EAGAIN, "a timer that is not set");
	check(!timerfd_settime(fd, 0, &t, NULL), "timerfd_settime");
	while (sum < 3 && poll(&p, 1, -1) == 1 && read(fd, &count, 8) == 8)
		sum += count;
	check(sum >= 3 && ns(CLOCK_MONOTONIC) - began >= 30 * MS &&
		  (int64_t)sum <= (ns(CLOCK_MONOTONIC) - began) / (10 * MS),
	      "a timer's expiries");
	check(!timerfd_gettime(fd, &now) && now.it_interval.tv_nsec == 10 * MS &&
		  now.it_value.tv_nsec <= 10 * MS,
	      "timerfd_gettime");
	t = (struct itimerspec){{0, 0}, {1, 0}}; // long ago
	check(!timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL) && poll(&p, 1, -1) == 1 &&
		  read(fd, &count, 8) == 8 && count == 1,
	      "an absolute time that is over");
	close(fd);
}

static void identities(void)
{
	char name[16] = "";
	cpu_set_t set;
	int status;

	check(!prctl(PR_SET_NAME, "a name that is too long") && !prctl(PR_GET_NAME, name) &&
		  !strcmp(name, "a name that is "),
	      "PR_SET_NAME");
	check(!sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) >= 1 &&
		  syscall(SYS_sched_getscheduler, 0) >= 0,
	      "sched calls");
	if (!fork())
		_exit(setsid() != getpid() || getsid(0) != getpid() || getpgid(0) != getpid() ||
		      setsid() != -1 || errno != EPERM || setpgid(0, 0) != -1);
	check(wait(&status) > 0 && !status, "setsid");
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 1 && chdir(argv[1]))
		return 2;
	limits(argc > 1);
	processor_time();
	interval_timers();
	signal_timers();
	timer_descriptors();
	identities();
	puts(failures ? "failed" : "all ok");
	return failures != 0;
}
