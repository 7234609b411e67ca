// SPDX-License-Identifier: BSD-2-Clause
// calls DIRECTORY: the calls that no other program here makes, each at least once with what it must answer. It runs on
// Linux, too, as root: what it says there is what Pagewire has to say. "not ok" names what is different.
// What a C library makes another call of is asked for by its number.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#ifndef SYS_close_range // Linux 5.9
#define SYS_close_range 436
#endif
#ifndef SYS_fchmodat2 // Linux 6.6
#define SYS_fchmodat2 452
#endif

static int failed;

static void check(bool good, const char *what, int line)
{
	if (good)
		return;
	failed++;
	printf("not ok %d: %s (errno %d)\n", line, what, errno);
}
#define IS(condition)	   check(condition, #condition, __LINE__)
#define FAILS(call, error) (errno = 0, (call) == -1 && errno == (error))

static void files(int dir)
{
	char bytes[16], where[4096];
	struct iovec parts[2] = {{bytes, 2}, {bytes + 2, 3}};
	struct stat st;
	int fd = (int)syscall(SYS_creat, "made", 0640), none = -1;

	IS(fd >= 0 && write(fd, "abcdefgh", 8) == 8 && !close(fd));
	IS((fd = open("made", O_RDWR)) >= 0);
	IS(readv(fd, parts, 2) == 5 && !memcmp(bytes, "abcde", 5));
	IS(syscall(SYS_preadv2, fd, parts, 2, 3L, 0L, 0) == 5 && !memcmp(bytes, "defgh", 5));
	IS(syscall(SYS_pwritev2, fd, parts, 1, 0L, 0L, 0) == 2 && pread(fd, bytes, 2, 0) == 2 &&
	   !memcmp(bytes, "de", 2));
	IS(!readahead(fd, 0, 4096) && FAILS(readahead(none, 0, 1), EBADF));
	IS(!posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
	IS(!fchown(fd, 0, 0) && !chown("made", 0, 0) && !lchown("made", 0, 0) &&
	   FAILS(chown("none", 0, 0), ENOENT));
	IS(!fchownat(dir, "made", 0, 0, 0) && !fchmodat(dir, "made", 0600, 0) && !fstat(fd, &st) &&
	   (st.st_mode & 0777) == 0600);
	IS(!faccessat(dir, "made", R_OK, AT_EACCESS) &&
	   FAILS(faccessat(dir, "none", F_OK, 0), ENOENT));
	IS(syscall(SYS_faccessat2, dir, "made", R_OK, 0) == 0);
	IS(!syscall(SYS_fchmodat2, dir, "made", 0644, 0) && !stat("made", &st) &&
	   (st.st_mode & 0777) == 0644);
	IS(FAILS(truncate("made", 1L << 46), EFBIG) &&
	   FAILS(ftruncate(fd, 1L << 46), EFBIG)); // ext4's end is before
	IS(recv(dir, bytes, 0, 0) == -1 && errno == ENOTSOCK);
	IS(!mkdirat(dir, "sub", 0755) && FAILS(mkdirat(dir, "sub", 0755), EEXIST));
	IS(!symlinkat("made", dir, "link") && readlinkat(dir, "link", where, sizeof(where)) == 4 &&
	   !memcmp(where, "made", 4));
	IS(!renameat(dir, "made", dir, "sub/moved") &&
	   FAILS(renameat(dir, "made", dir, "x"), ENOENT));
	IS(syscall(SYS_renameat2, dir, "sub/moved", dir, "made", 1) == 0); // RENAME_NOREPLACE
	IS(FAILS(syscall(SYS_renameat2, dir, "made", dir, "sub", 1), EEXIST));
	IS(!syscall(SYS_utime, "made", &(struct utimbuf){5, 6}) && !stat("made", &st) &&
	   st.st_mtime == 6);
	IS(!syscall(SYS_utimes, "made", (struct timeval[2]){{7, 0}, {8, 0}}) &&
	   !stat("made", &st) && st.st_mtime == 8);
	IS(!syscall(SYS_futimesat, dir, "made", (struct timeval[2]){{7, 0}, {9, 0}}) &&
	   !stat("made", &st) && st.st_mtime == 9);
	IS(!chdir("sub") && getcwd(where, sizeof(where)) && !strcmp(strrchr(where, '/'), "/sub") &&
	   !fchdir(dir));
	IS(FAILS(syscall(SYS_getcwd, where, 1), ERANGE) && FAILS(fchdir(fd), ENOTDIR));
	IS(!unlinkat(dir, "link", 0) && !unlinkat(dir, "made", 0) &&
	   !unlinkat(dir, "sub", AT_REMOVEDIR));
	IS(FAILS(unlinkat(dir, "made", 0), ENOENT) && umask(027) == 022 && umask(022) == 027);
	close(fd);
}

static void descriptors(void)
{
	int ends[2], fd = eventfd(3, EFD_NONBLOCK), epoll = (int)syscall(SYS_epoll_create, 1);
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = 7};
	struct timespec soon = {0, 1000000};
	eventfd_t value;
	fd_set set;
	char *map;

	IS(epoll >= 0 && FAILS(syscall(SYS_epoll_create, 0), EINVAL));
	IS(fd >= 0 && !eventfd_read(fd, &value) && value == 3 &&
	   FAILS(eventfd_read(fd, &value), EAGAIN));
	IS(!pipe2(ends, O_CLOEXEC) && fcntl(ends[0], F_GETFD) == FD_CLOEXEC);
	IS(dup3(ends[0], 40, O_CLOEXEC) == 40 && FAILS(dup3(40, 40, 0), EINVAL) && !close(40));
	IS(ppoll(&(struct pollfd){ends[0], POLLIN, 0}, 1, &soon, NULL) == 0);
	FD_ZERO(&set);
	FD_SET(ends[1], &set);
	IS(pselect(ends[1] + 1, NULL, &set, NULL, &soon, NULL) == 1 && FD_ISSET(ends[1], &set));
	IS(!epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &e) &&
	   epoll_pwait(epoll, &e, 1, 1, NULL) == 0);
	IS(write(ends[1], "x", 1) == 1 && epoll_pwait(epoll, &e, 1, 1000, NULL) == 1 &&
	   e.data.u32 == 7);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	IS(!msync(map, 4096, MS_SYNC) && FAILS(msync(map + 1, 1, MS_SYNC), EINVAL));
	close(ends[0]), close(ends[1]), close(fd), close(epoll);
}

static void ranges(void)
{
	int fd = open("/dev/null", O_RDONLY);

	IS(dup2(fd, 50) == 50 && dup2(fd, 51) == 51 && dup2(fd, 60) == 60);
	IS(!syscall(SYS_close_range, 51, 55, 0) && FAILS(fcntl(51, F_GETFD), EBADF) &&
	   !fcntl(50, F_GETFD));
	IS(!syscall(SYS_close_range, 50, ~0U, 4) && fcntl(60, F_GETFD) == FD_CLOEXEC);
	IS(!syscall(SYS_close_range, 50, ~0U, 0) && FAILS(fcntl(60, F_GETFD), EBADF));
	IS(FAILS(syscall(SYS_close_range, 5, 4, 0), EINVAL) &&
	   FAILS(syscall(SYS_close_range, 50, 51, 64), EINVAL));
	close(fd);
}

static void children(void)
{
	siginfo_t info = {0};
	pid_t pid = fork();

	if (!pid) {
		raise(SIGSTOP);
		_exit(7);
	}
	IS(!waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT) && info.si_pid == pid &&
	   info.si_signo == SIGCHLD);
	IS(!waitid(P_ALL, 0, &info, WSTOPPED) && info.si_code == CLD_STOPPED &&
	   info.si_status == SIGSTOP);
	IS(!waitid(P_PGID, 0, &info, WEXITED | WNOHANG) && info.si_pid == 0 && info.si_signo == 0);
	kill(pid, SIGCONT);
	IS(!waitid(P_PID, (id_t)pid, &info, WCONTINUED) && info.si_code == CLD_CONTINUED &&
	   info.si_status == SIGCONT);
	IS(!waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) && info.si_code == CLD_EXITED &&
	   info.si_status == 7);
	IS(!waitid(P_PID, (id_t)pid, &info, WEXITED) && info.si_pid == pid && info.si_status == 7);
	IS(FAILS(waitid(P_PID, (id_t)pid, &info, WEXITED), ECHILD) &&
	   FAILS(waitid(P_ALL, 0, &info, 0), EINVAL));
	pid = fork();
	if (!pid)
		for (;;)
			pause();
	kill(pid, SIGKILL);
	IS(!waitid(P_PID, (id_t)pid, &info, WEXITED) && info.si_code == CLD_KILLED &&
	   info.si_status == SIGKILL);
}

static void rings(void)
{
	struct epoll_event e = {.events = EPOLLIN};
	int a = epoll_create1(0), b = epoll_create1(0), c = epoll_create1(0);

	IS(!epoll_ctl(a, EPOLL_CTL_ADD, b, &e) && !epoll_ctl(b, EPOLL_CTL_ADD, c, &e));
	IS(FAILS(epoll_ctl(b, EPOLL_CTL_ADD, a, &e), ELOOP) &&
	   FAILS(epoll_ctl(c, EPOLL_CTL_ADD, a, &e), ELOOP));
	IS(FAILS(epoll_ctl(a, EPOLL_CTL_ADD, a, &e), EINVAL));
	close(a), close(b), close(c);
}

static void nothing_wanted(void)
{
	struct sockaddr_in name = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM, 0), near = socket(AF_INET, SOCK_STREAM, 0),
	    far = -1;
	socklen_t len = sizeof(name);
	char byte;

	IS(!bind(listener, (struct sockaddr *)&name, len) && !listen(listener, 1) &&
	   !getsockname(listener, (struct sockaddr *)&name, &len));
	IS(!connect(near, (struct sockaddr *)&name, len) &&
	   (far = accept(listener, NULL, NULL)) >= 0);
	IS(FAILS(recv(far, &byte, 0, MSG_DONTWAIT), EAGAIN) && send(near, "x", 1, 0) == 1);
	IS(recv(far, &byte, 1, MSG_PEEK) == 1 && recv(far, &byte, 0, 0) == 0 &&
	   read(far, &byte, 0) == 0);
	IS(recv(far, &byte, 1, 0) == 1 && byte == 'x');
	close(listener), close(near), close(far);
}

// Linux may be built with urgent bytes of local sockets: then there is none to be had.
static void nothing_urgent(void)
{
	const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
	int ends[2] = {-1, -1};
	char byte;

	for (unsigned n = 0; n < 3; n++) {
		IS(!socketpair(AF_UNIX, types[n], 0, ends) && send(ends[0], "x", 1, 0) == 1);
		IS(recv(ends[1], &byte, 1, MSG_OOB) == -1 &&
		   (errno == EOPNOTSUPP || (errno == EINVAL && types[n] == SOCK_STREAM)));
		IS(recv(ends[1], &byte, 1, 0) == 1 && byte == 'x');
		close(ends[0]), close(ends[1]);
	}
}

static void identity(void)
{
	uid_t a, b, c;
	gid_t g[8];

	IS(!getgid() && !geteuid() && !getegid() && !setuid(0) && !setgid(0) && !setreuid(0, 0) &&
	   !setregid(0, 0));
	IS(!setresuid(0, 0, 0) && !setresgid(0, 0, 0) && !getresuid(&a, &b, &c) && !a && !b && !c &&
	   !getresgid(&a, &b, &c) && !c);
	IS(syscall(SYS_setfsuid, 0) == 0 && syscall(SYS_setfsgid, 0) == 0);
	IS(syscall(SYS_setgroups, 0, g) == 0 && getgroups(8, g) >= 0);
	IS(syscall(SYS_getpgrp) == getpgid(0) && getpriority(PRIO_PROCESS, 0) == 0 &&
	   !setpriority(PRIO_PROCESS, 0, 0));
}

static void scheduling(void)
{
	struct sched_param p = {0};
	struct timespec t;
	struct sysinfo info;
	unsigned char random[64] = {0};
	cpu_set_t cpus;
	unsigned sum = 0;

	IS(!sched_yield() && sched_get_priority_max(SCHED_OTHER) == 0 &&
	   sched_get_priority_min(SCHED_OTHER) == 0);
	IS(!syscall(SYS_sched_getparam, 0, &p) && !p.sched_priority &&
	   !syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &p));
	IS(!syscall(SYS_sched_setparam, 0, &p) && !sched_rr_get_interval(0, &t));
	IS(!sched_getaffinity(0, sizeof(cpus), &cpus) &&
	   !sched_setaffinity(0, sizeof(cpus), &cpus));
	IS(syscall(SYS_getcpu, &sum, NULL, NULL) == 0 && !sysinfo(&info) &&
	   info.totalram >= info.freeram);
	IS(!clock_getres(CLOCK_MONOTONIC, &t) && t.tv_nsec > 0 &&
	   FAILS(syscall(SYS_clock_getres, 99, &t), EINVAL));
	IS(!clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){0, 1000}, NULL));
	sum = 0;
	IS(getrandom(random, sizeof(random), 0) == sizeof(random));
	for (unsigned n = 0; n < sizeof(random); n++)
		sum += random[n];
	IS(sum > 0 && FAILS(getrandom(random, 1, 0x80), EINVAL));
}

static void signals(void)
{
	static long robust[3];
	struct timespec none = {0, 0};
	struct sigevent event = {.sigev_notify = SIGEV_NONE};
	sigset_t set, old;
	int timer;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	IS(FAILS(sigtimedwait(&set, NULL, &none), EAGAIN));
	raise(SIGUSR1);
	IS(!sigpending(&old) && sigismember(&old, SIGUSR1) &&
	   sigtimedwait(&set, NULL, &none) == SIGUSR1);
	IS(!sigpending(&old) && !sigismember(&old, SIGUSR1));
	IS(!syscall(SYS_set_robust_list, robust, 24) &&
	   FAILS(syscall(SYS_set_robust_list, robust, 1), EINVAL));
	IS(!syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) &&
	   syscall(SYS_timer_getoverrun, timer) == 0);
}

static void programs(const char *own)
{
	char *const words[] = {(char *)own, "exec", NULL}, *const none[] = {NULL};
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		execve(own, words, none);
		_exit(1);
	}
	IS(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 23);
	IS(FAILS(execve("/nothing", words, none), ENOENT));
}

// Descriptors by name, and what tells one from another.
static void names_of_descriptors(void)
{
	struct stat a, b;
	char name[32], target[32];
	int ends[2], other[2], fd;

	IS(!pipe(ends) && !pipe(other) && !fstat(ends[0], &a) && !fstat(ends[1], &b) &&
	   a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	IS(!fstat(other[0], &b) && b.st_dev == a.st_dev && b.st_ino != a.st_ino);
	snprintf(name, sizeof(name), "/dev/fd/%d", ends[0]);
	IS((fd = open(name, O_RDONLY)) >= 0 && write(ends[1], "through", 7) == 7 &&
	   read(fd, target, 9) == 7 && !memcmp(target, "through", 7) && !close(fd));
	IS(!stat(name, &b) && S_ISFIFO(b.st_mode) && b.st_ino == a.st_ino);
	IS(!lstat("/dev/stdin", &b) && S_ISLNK(b.st_mode));
	IS(readlink("/dev/fd", target, sizeof(target)) == 13 &&
	   !memcmp(target, "/proc/self/fd", 13));
	IS(!close(ends[0]) && !close(ends[1]) && !close(other[0]) && !close(other[1]));
	IS(FAILS(open(name, O_RDONLY), ENOENT) && FAILS(stat(name, &b), ENOENT) &&
	   FAILS(readlink("/dev/null", target, 9), EINVAL));
	IS(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends) && !fstat(ends[0], &a) &&
	   !fstat(ends[1], &b) && a.st_ino != b.st_ino && !close(ends[0]) && !close(ends[1]));
}

// The old call for directories: the type is the last byte of an entry. dietlibc's.
static void old_entries(void)
{
	struct old_entry {
		unsigned long number, next;
		unsigned short bytes;
		char name[];
	} * e;
	char room[4096] __attribute__((aligned(8)));
	unsigned dots = 0, found = 0;
	int dir = -1, fd = -1;
	long n = 0;

	IS(!mkdir("entries", 0755) && !mkdir("entries/d", 0755) &&
	   (fd = open("entries/a-longer-name", O_CREAT | O_WRONLY, 0644)) >= 0 && !close(fd) &&
	   (dir = open("entries", O_RDONLY)) >= 0);
	IS(FAILS(syscall(SYS_getdents, dir, room, 8), EINVAL) &&
	   FAILS(syscall(SYS_getdents, -1, room, 4096), EBADF));
	IS((n = syscall(SYS_getdents, dir, room, sizeof(room))) > 0);
	for (long at = 0; at < n; at += e->bytes) {
		char type;

		e = (struct old_entry *)(room + at);
		type = room[at + e->bytes - 1];
		dots += (!strcmp(e->name, ".") || !strcmp(e->name, "..")) && type == 4;
		found += !strcmp(e->name, "d") && type == 4;
		found += !strcmp(e->name, "a-longer-name") && type == 8;
	}
	IS(dots == 2 && found == 2 && !syscall(SYS_getdents, dir, room, sizeof(room)));
	IS(!close(dir) && !rmdir("entries/d") && !unlink("entries/a-longer-name") &&
	   !rmdir("entries"));
}

int main(int argc, char **argv)
{
	int dir;

	if (argc == 2 && !strcmp(argv[1], "exec"))
		return 23;
	setvbuf(stdout, NULL, _IONBF, 0);
	umask(022);
	if (argc != 2 || chdir(argv[1]) || (dir = open(".", O_RDONLY | O_DIRECTORY)) < 0)
		return 64;
	files(dir);
	descriptors();
	ranges();
	children();
	rings();
	nothing_wanted();
	nothing_urgent();
	identity();
	scheduling();
	signals();
	programs("/proc/self/exe");
	names_of_descriptors();
	old_entries();
	puts(failed ? "some calls answer otherwise" : "all calls answer as they should");
	return failed != 0;
}
