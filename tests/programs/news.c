// SPDX-License-Identifier: BSD-2-Clause
// news DIRECTORY: signals and the ends of processes as what can be read and polled (signalfd, pidfd). Says "ok" on
// Linux, too.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "must.h"

#define FAILS(call, number) ((call) == -1 && errno == (number))
#define KERNELS_SET_BYTES   8

#define IDTYPE_PIDFD ((idtype_t)3)

enum { PIDFD_OPEN = 434, PIDFD_SEND_SIGNAL = 424, NEW_PIDFD = 0x1000 };

static int pidfd_open(pid_t pid, unsigned flags)
{
	return (int)syscall(PIDFD_OPEN, pid, flags);
}
static int pidfd_send_signal(int fd, int number, siginfo_t *info)
{
	return (int)syscall(PIDFD_SEND_SIGNAL, fd, number, info, 0);
}

static int readable(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, ms) == 1 && p.revents & POLLIN;
}

// ---- signalfd ----

static void expect(int fd, int number, int code, pid_t from, int value)
{
	struct signalfd_siginfo info;

	MUST(read(fd, &info, sizeof(info)) == sizeof(info));
	MUST(info.ssi_signo == (uint32_t)number && info.ssi_code == code &&
	     (code == SI_TIMER || info.ssi_pid == (uint32_t)from) &&
	     (code >= 0 || info.ssi_int == value));
}

static void *send_soon(void *arg)
{
	usleep(20000); // most often it is waited for by then
	kill(getpid(), SIGUSR1);
	return arg;
}

static void signals_read(int fd)
{
	union sigval value = {.sival_int = 42};
	struct signalfd_siginfo both[2];
	pthread_t thread;

	MUST(FAILS(read(fd, both, sizeof(both[0]) - 1), EINVAL) && !readable(fd, 0));
	MUST(!kill(getpid(), SIGUSR1) && readable(fd, 0));
	expect(fd, SIGUSR1, SI_USER, getpid(), 0);
	MUST(!sigqueue(getpid(), SIGRTMIN, value));
	value.sival_int = 43;
	MUST(!sigqueue(getpid(), SIGRTMIN, value) && readable(fd, -1) && readable(fd, 0));
	MUST(read(fd, both, sizeof(both)) == sizeof(both) && both[0].ssi_int == 42 &&
	     both[1].ssi_int == 43 && both[1].ssi_code == SI_QUEUE && !readable(fd, 0));
	MUST(!pthread_create(&thread, NULL, send_soon, NULL));
	expect(fd, SIGUSR1, SI_USER, getpid(), 0);
	MUST(!pthread_join(thread, NULL) && !pthread_create(&thread, NULL, send_soon, NULL));
	MUST(readable(fd, -1) && !pthread_join(thread, NULL));
	expect(fd, SIGUSR1, SI_USER, getpid(), 0);
	MUST(!raise(SIGUSR1)); // to this thread
	expect(fd, SIGUSR1, SI_TKILL, getpid(), 0);
}

static void timers_and_children(int fd)
{
	struct sigevent how = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	struct itimerspec soon = {.it_value.tv_nsec = 1000000};
	struct signalfd_siginfo info;
	timer_t timer;
	pid_t child;

	how.sigev_value.sival_int = 7;
	MUST(!timer_create(CLOCK_MONOTONIC, &how, &timer) &&
	     !timer_settime(timer, 0, &soon, NULL) && readable(fd, -1));
	expect(fd, SIGRTMIN, SI_TIMER, 0, 7);
	MUST(!timer_delete(timer) && (child = fork()) >= 0);
	if (!child)
		_exit(9);
	MUST(read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGCHLD &&
	     info.ssi_code == CLD_EXITED && info.ssi_pid == (uint32_t)child &&
	     info.ssi_status == 9 && waitpid(child, NULL, 0) == child);
	child = fork(); // what it reads is its own
	if (!child) {
		raise(SIGUSR1);
		_exit(readable(fd, 0) && read(fd, &info, sizeof(info)) == sizeof(info) &&
		      info.ssi_pid == (uint32_t)getpid());
	}
	MUST(readable(fd, -1) && read(fd, &info, sizeof(info)) == sizeof(info) &&
	     info.ssi_signo == SIGCHLD && info.ssi_status == 1 &&
	     waitpid(child, NULL, 0) == child && !readable(fd, 0));
}

static void signal_descriptors(void)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 5}, got;
	int epoll = epoll_create1(0), fd;
	sigset_t set, other;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGRTMIN);
	other = set;
	sigaddset(&other, SIGUSR2);
	sigaddset(&other, SIGKILL); // is left out, without a word
	MUST(!sigprocmask(SIG_BLOCK, &other, NULL));
	MUST((fd = signalfd(-1, &set, SFD_CLOEXEC)) >= 0);
	signals_read(fd);
	timers_and_children(fd);
	MUST(!epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) && !epoll_wait(epoll, &got, 1, 0));
	MUST(!kill(getpid(), SIGUSR2) && !epoll_wait(epoll, &got, 1, 0) &&
	     signalfd(fd, &other, 0) == fd && epoll_wait(epoll, &got, 1, -1) == 1 &&
	     got.data.u64 == 5);
	expect(fd, SIGUSR2, SI_USER, getpid(), 0);
	MUST(!kill(getpid(), SIGUSR1) && epoll_wait(epoll, &got, 1, -1) == 1);
	expect(fd, SIGUSR1, SI_USER, getpid(), 0);
	MUST(!epoll_wait(epoll, &got, 1, 0) && !close(fd));
	MUST((fd = signalfd(-1, &set, SFD_NONBLOCK)) >= 0 &&
	     FAILS(read(fd, &got, sizeof(got)), EINVAL));
	MUST(FAILS(read(fd, &(struct signalfd_siginfo){0}, 128), EAGAIN) &&
	     FAILS(write(fd, &set, 8), EINVAL) && FAILS(signalfd(0x7fff, &set, 0), EBADF) &&
	     FAILS(signalfd(epoll, &set, 0), EINVAL));
	MUST(FAILS(syscall(SYS_signalfd4, -1, &set, 7, 0), EINVAL) &&
	     FAILS(syscall(SYS_signalfd4, -1, NULL, KERNELS_SET_BYTES, 0), EFAULT) &&
	     FAILS(syscall(SYS_signalfd4, -1, &set, KERNELS_SET_BYTES, 1), EINVAL));
	MUST((epoll = (int)syscall(SYS_signalfd, -1, &set, KERNELS_SET_BYTES)) >= 0 &&
	     !close(epoll) && !close(fd) && !sigprocmask(SIG_UNBLOCK, &other, NULL));
}

// ---- pidfd ----

static pid_t sleeper(void)
{
	pid_t child = fork();

	MUST(child >= 0);
	while (!child)
		pause();
	return child;
}

static void process_descriptors(void)
{
	siginfo_t info = {0};
	pid_t child = sleeper();
	int fd = pidfd_open(child, 0), second = pidfd_open(child, O_NONBLOCK), status;

	MUST(fd >= 0 && second >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && !readable(fd, 0));
	MUST(FAILS(waitid(IDTYPE_PIDFD, (id_t)second, &info, WEXITED), EAGAIN) &&
	     !waitid(IDTYPE_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) && !info.si_pid);
	MUST(!pidfd_send_signal(fd, 0, NULL) && FAILS(pidfd_send_signal(fd, 65, NULL), EINVAL));
	info.si_signo = SIGTERM;
	info.si_code = SI_USER;
	MUST(FAILS(pidfd_send_signal(fd, SIGTERM, &info), EPERM) &&
	     FAILS(pidfd_send_signal(fd, SIGINT, &info), EINVAL) &&
	     !pidfd_send_signal(fd, SIGTERM, NULL));
	MUST(readable(fd, -1) && readable(second, 0) && FAILS(read(fd, &info, 8), EINVAL));
	MUST(!pidfd_send_signal(fd, SIGTERM, NULL)); // still somebody's child
	MUST(!waitid(IDTYPE_PIDFD, (id_t)fd, &info, WEXITED | WNOWAIT) && info.si_pid == child &&
	     !waitid(IDTYPE_PIDFD, (id_t)second, &info, WEXITED) && info.si_status == SIGTERM);
	MUST(FAILS(pidfd_send_signal(fd, 0, NULL), ESRCH) && readable(fd, 0) &&
	     FAILS(waitid(IDTYPE_PIDFD, (id_t)fd, &info, WEXITED), ECHILD) &&
	     FAILS(waitid(IDTYPE_PIDFD, 0x7fff, &info, WEXITED), EBADF) &&
	     FAILS(waitid(IDTYPE_PIDFD, 0, &info, WEXITED), EBADF));
	MUST(FAILS(pidfd_open(child, 0), ESRCH) && FAILS(pidfd_open(0, 0), EINVAL) &&
	     FAILS(pidfd_open(getpid(), 1), EINVAL) && !close(fd) && !close(second));
	fd = pidfd_open(getpid(), 0);
	info.si_code = SI_QUEUE;
	info.si_signo = SIGURG;
	MUST(fd >= 0 && !pidfd_send_signal(fd, SIGURG, &info) && !readable(fd, 0) && !close(fd));
	child = sleeper();
	fd = pidfd_open(child, 0);
	MUST(!kill(child, SIGKILL) && waitpid(child, &status, 0) == child && readable(fd, -1) &&
	     !close(fd));
}

static void cloned(void)
{
	int fd = -1, status;
	pid_t child = (pid_t)syscall(SYS_clone, NEW_PIDFD | SIGCHLD, NULL, &fd, NULL, 0);
	siginfo_t info;

	MUST(child >= 0);
	if (!child)
		_exit(fcntl(fd, F_GETFD) < 0 ? 3 : 4); // the parent's only
	MUST(fd >= 0 && readable(fd, -1) && !waitid(IDTYPE_PIDFD, (id_t)fd, &info, WEXITED) &&
	     info.si_pid == child && info.si_status == 3 && !close(fd));
	MUST(
	    FAILS(syscall(SYS_clone, NEW_PIDFD | SIGCHLD, NULL, NULL, NULL, 0), EFAULT) &&
	    FAILS(syscall(SYS_clone, NEW_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, NULL, &fd, NULL, 0),
		  EINVAL) &&
	    FAILS(waitpid(-1, &status, 0), ECHILD));
}

int main(int argc, char **argv)
{
	MUST(argc == 2 && !chdir(argv[1]));
	alarm(300); // what waits for ever fails
	signal_descriptors();
	process_descriptors();
	cloned();
	puts("ok");
	return 0;
}
