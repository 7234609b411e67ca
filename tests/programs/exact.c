// SPDX-License-Identifier: BSD-2-Clause
// exact DIRECTORY: what calls leave as it was when they fail, and what they keep others from while they wait. Says "ok"
// on Linux, too.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "must.h"

#define PAGE	   4096
#define LARGE	   (32 << 20)
#define FUTEX_WAIT 0

#define FAILS(call, number) ((call) == -1 && errno == (number))

static char bytes[65536];

static void set_limit(int which, rlim_t soft)
{
	struct rlimit limit;

	MUST(!getrlimit(which, &limit));
	limit.rlim_cur = soft;
	MUST(!setrlimit(which, &limit));
}

// ---- a connection that there is no descriptor for stays where it waits ----

static int lowest(void)
{
	int fd = open("/dev/null", O_RDONLY);

	MUST(fd >= 0 && !close(fd));
	return fd;
}

static void *accept_one(void *listener)
{
	return (void *)(intptr_t)accept(*(int *)listener, NULL, NULL);
}

// Which of two descriptors a call that waits has got; it may be about to. (musl's dup2 tries again for ever.)
static int promised_at(int fd)
{
	for (int n = 0;; n ^= 1) {
		if (syscall(SYS_dup3, 0, fd + n, 0) < 0) {
			MUST(errno == EBUSY);
			return fd + n;
		}
		MUST(!close(fd + n));
		usleep(1000);
	}
}

static void full_table(int listener, const struct sockaddr *at, socklen_t len)
{
	int client = socket(at->sa_family, SOCK_STREAM, 0), spare = lowest(), fd, promised;
	pthread_t waiting;
	void *got;

	set_limit(RLIMIT_NOFILE, (rlim_t)spare);
	MUST(FAILS(accept(listener, NULL, NULL), EMFILE)); // also where nobody waits
	MUST(!connect(client, at, len) && write(client, "hello", 5) == 5);
	MUST(FAILS(accept(listener, NULL, NULL), EMFILE) &&
	     FAILS(accept4(listener, NULL, NULL, SOCK_CLOEXEC), EMFILE));
	set_limit(RLIMIT_NOFILE, (rlim_t)spare + 1);
	MUST((fd = accept(listener, NULL, NULL)) == spare && read(fd, bytes, 9) == 5 &&
	     !memcmp(bytes, "hello", 5) && write(fd, "you", 3) == 3 && read(client, bytes, 9) == 3);
	set_limit(RLIMIT_NOFILE, 100);
	MUST(!close(fd) && !close(client) && --spare == lowest());
	// Who waits in accept has its descriptor already: nobody else gets it, or finds it.
	MUST(!pthread_create(&waiting, NULL, accept_one, &listener));
	promised = promised_at(spare);
	MUST(FAILS(close(promised), EBADF) && FAILS(fcntl(promised, F_GETFD), EBADF));
	client = socket(at->sa_family, SOCK_STREAM, 0);
	MUST(client == 2 * spare + 1 - promised && !connect(client, at, len) &&
	     !pthread_join(waiting, &got));
	MUST((intptr_t)got == promised && !close(promised) && !close(client) && !close(listener));
}

static void connections(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un named = {.sun_family = AF_UNIX, .sun_path = "\0exact"};
	socklen_t len = sizeof(any);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	MUST(!bind(fd, (void *)&any, len) && !listen(fd, 4) &&
	     !getsockname(fd, (void *)&any, &len));
	full_table(fd, (void *)&any, len);
	len = offsetof(struct sockaddr_un, sun_path) + 6;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	MUST(!bind(fd, (void *)&named, len) && !listen(fd, 4));
	full_table(fd, (void *)&named, len);
}

static void nothing_is_made(void)
{
	struct stat st;
	int fd = open("kept", O_CREAT | O_WRONLY, 0600), spare = lowest();

	MUST(fd >= 0 && write(fd, "kept", 4) == 4);
	set_limit(RLIMIT_NOFILE, (rlim_t)spare);
	MUST(FAILS(open("never", O_CREAT | O_RDWR, 0600), EMFILE) &&
	     FAILS(open("kept", O_TRUNC | O_RDWR), EMFILE));
	set_limit(RLIMIT_NOFILE, 100);
	MUST(FAILS(stat("never", &st), ENOENT) && !fstat(fd, &st) && st.st_size == 4 && !close(fd));
}

// ---- who waits for the other end keeps nobody from a file's position ----

struct move {
	int from, to;
	ssize_t done;
};

static void *send_all(void *arg)
{
	struct move *m = arg;

	m->done = sendfile(m->to, m->from, NULL, LARGE);
	return NULL;
}

static void *splice_some(void *arg)
{
	struct move *m = arg;

	m->done = splice(m->from, NULL, m->to, NULL, 3 * PAGE, 0);
	return NULL;
}

static void positions(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(any);
	int file = open("large", O_CREAT | O_RDWR, 0600), ends[2];
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
	struct move m = {.from = file};
	pthread_t thread;
	ssize_t n, all = 0;

	MUST(!ftruncate(file, LARGE) && !bind(listener, (void *)&any, len) &&
	     !listen(listener, 4) && !getsockname(listener, (void *)&any, &len) &&
	     !connect(client, (void *)&any, len) && (m.to = accept(listener, NULL, NULL)) >= 0);
	MUST(!pthread_create(&thread, NULL, send_all, &m));
	MUST(recv(client, bytes, 1, MSG_PEEK) == 1 && !usleep(50000)); // it most likely waits now
	MUST(!lseek(file, 0, SEEK_CUR) && read(file, bytes, 100) == 100 &&
	     lseek(file, 5, SEEK_CUR) == 105);
	while (all < LARGE && (n = read(client, bytes, sizeof(bytes))) > 0)
		all += n;
	MUST(all == LARGE && !pthread_join(thread, NULL) && m.done == LARGE &&
	     lseek(file, 0, SEEK_CUR) == LARGE); // as if nobody had moved it meanwhile
	MUST(!close(client) && !close(m.to) && !close(listener));

	MUST(!pipe2(ends, O_NONBLOCK) && lseek(file, 10, SEEK_SET) == 10);
	for (all = 0; (n = write(ends[1], bytes, PAGE)) > 0;)
		all += n;
	m.to = ends[1];
	MUST(!fcntl(ends[1], F_SETFL, 0) && !pthread_create(&thread, NULL, splice_some, &m) &&
	     !usleep(50000));
	MUST(lseek(file, 0, SEEK_CUR) == 10 && read(file, bytes, 7) == 7);
	while (all > 0 && (n = read(ends[0], bytes, PAGE)) > 0)
		all -= n;
	MUST(!pthread_join(thread, NULL) && m.done > 0 && lseek(file, 0, SEEK_CUR) == 10 + m.done &&
	     !close(ends[0]) && !close(ends[1]));

	MUST(!pipe(ends) && write(ends[1], "bytes", 5) == 5 && !fcntl(file, F_SETFL, O_APPEND) &&
	     FAILS(splice(ends[0], NULL, file, NULL, 5, 0), EINVAL) &&
	     read(ends[0], bytes, 9) == 5);
	MUST(!close(ends[0]) && !close(ends[1]) && !close(file) && !unlink("large"));
}

// ---- what a task held is marked when it ends, however it ends ----

struct shared {
	pthread_mutex_t mutex;
	volatile uint32_t word;
	volatile int has;
};

static struct shared *new_shared(void)
{
	struct shared *s =
	    mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t how;

	MUST(s != MAP_FAILED && !pthread_mutexattr_init(&how) &&
	     !pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED) &&
	     !pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST) &&
	     !pthread_mutex_init(&s->mutex, &how));
	return s;
}

static void end_in(struct shared *s, const char *way)
{
	char *again[] = {"exact", "nothing", NULL};

	MUST(!pthread_mutex_lock(&s->mutex));
	s->has = 1;
	if (!strcmp(way, "exec"))
		execv("/proc/self/exe", again);
	else if (!strcmp(way, "exit"))
		_exit(0);
	for (;;)
		pause();
}

static void ended_as(const char *way)
{
	struct shared *s = new_shared();
	pid_t child = fork();

	MUST(child >= 0);
	if (!child)
		end_in(s, way);
	while (!s->has)
		usleep(1000);
	if (!strcmp(way, "kill"))
		MUST(!kill(child, SIGKILL));
	MUST(pthread_mutex_lock(&s->mutex) == EOWNERDEAD && !pthread_mutex_consistent(&s->mutex) &&
	     !pthread_mutex_unlock(&s->mutex) && !pthread_mutex_lock(&s->mutex) &&
	     !pthread_mutex_unlock(&s->mutex));
	MUST(waitpid(child, NULL, 0) == child && !munmap(s, PAGE));
}

// Killed somewhere in the middle of taking it and letting go of it.
static void ended_anywhere(unsigned n)
{
	struct shared *s = new_shared();
	pid_t child = fork();
	int error;

	MUST(child >= 0);
	while (!child) {
		pthread_mutex_lock(&s->mutex);
		s->has++;
		pthread_mutex_unlock(&s->mutex);
	}
	while (!s->has)
		usleep(100);
	usleep(n * 37 % 500);
	for (unsigned turns = 0; turns < 20; turns++)
		MUST(!pthread_mutex_lock(&s->mutex) && !pthread_mutex_unlock(&s->mutex));
	MUST(!kill(child, SIGKILL));
	while ((error = pthread_mutex_lock(&s->mutex)) == 0 && !waitpid(child, NULL, WNOHANG))
		MUST(!pthread_mutex_unlock(&s->mutex));
	MUST(!error || error == EOWNERDEAD);
	munmap(s, PAGE);
	waitpid(child, NULL, 0);
}

// It has let go of a lock (the word is 0) and ends before it wakes who waits: the kernel does that.
static void ended_before_it_woke(void)
{
	struct {
		void *next;
		long offset;
		void *pending;
	} head = {&head, (long)offsetof(struct shared, word), NULL};
	struct shared *s = new_shared();
	pid_t child;
	struct robust_list_head *list;
	size_t len;

	MUST(!syscall(SYS_get_robust_list, 0, &list, &len) && len == sizeof(head));
	s->word = 1;
	child = fork();
	MUST(child >= 0);
	if (!child) {
		head.pending = s;
		MUST(!syscall(SYS_set_robust_list, &head, sizeof(head)));
		usleep(50000); // most often the parent waits by then
		s->word = 0;
		_exit(0);
	}
	while (s->word)
		MUST(!syscall(SYS_futex, &s->word, FUTEX_WAIT, 1, NULL, NULL, 0) ||
		     errno == EAGAIN);
	MUST(waitpid(child, NULL, 0) == child && !munmap(s, PAGE));
}

// ---- signals that wait ----

static int queue(int number, int value)
{
	return sigqueue(getpid(), number, (union sigval){.sival_int = value});
}

static void signals(void)
{
	struct timespec none = {0};
	int first = SIGRTMIN, last = SIGRTMIN + 1, sent = 0;
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, first);
	sigaddset(&set, last);
	sigaddset(&set, SIGUSR1);
	MUST(!sigprocmask(SIG_BLOCK, &set, NULL));
	set_limit(RLIMIT_SIGPENDING, 2000); // of all processes of the user
	while (!queue(first, sent))
		MUST(++sent <= 2000);
	MUST(errno == EAGAIN && sent > 500 && FAILS(queue(last, 1), EAGAIN) &&
	     FAILS(syscall(SYS_tkill, getpid(), last), EAGAIN));
	MUST(!kill(getpid(), last) && !kill(getpid(), last) && !queue(SIGUSR1, 1));
	MUST(!signal(SIGUSR2, SIG_IGN) && !queue(SIGUSR2, 1)); // nobody has to keep it
	MUST(sigtimedwait(&set, &info, &none) == SIGUSR1);
	for (int n = 0; n < sent; n++)
		MUST(sigtimedwait(&set, &info, &none) == first && info.si_value.sival_int == n &&
		     info.si_code == SI_QUEUE && info.si_pid == getpid());
	MUST(sigtimedwait(&set, &info, &none) == last && info.si_code == SI_USER);
	MUST(FAILS(sigtimedwait(&set, &info, &none), EAGAIN));
	MUST(!queue(last, 3) && sigtimedwait(&set, &info, &none) == last &&
	     info.si_value.sival_int == 3);
	set_limit(RLIMIT_SIGPENDING, 0);
	MUST(FAILS(queue(first, 1), EAGAIN) && !kill(getpid(), SIGUSR1) &&
	     sigtimedwait(&set, &info, &none) == SIGUSR1 && info.si_pid == getpid());
}

// ---- memory out of reach ----

static volatile int code;

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	code = info->si_code;
	_exit(code);
}

static int code_of(volatile char *at)
{
	struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	pid_t child = fork();
	int status;

	MUST(child >= 0);
	if (!child) {
		sigaction(SIGSEGV, &fault, NULL);
		_exit(*at ? 100 : 101);
	}
	MUST(waitpid(child, &status, 0) == child && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void out_of_reach(char *at, char *other)
{
	struct timespec none = {0};
	int ends[2];

	MUST(!pipe(ends) && write(ends[1], at, 3) == 3 && read(ends[0], bytes, 9) == 3);
	MUST(!mprotect(at, PAGE, PROT_NONE));
	MUST(FAILS(write(ends[1], at, 3), EFAULT) && FAILS(open(at, O_RDONLY), EFAULT) &&
	     FAILS(syscall(SYS_futex, at, FUTEX_WAIT, 0, &none, NULL, 0), EFAULT) &&
	     FAILS(nanosleep((void *)at, NULL), EFAULT));
	MUST(write(ends[1], "new", 3) == 3 && FAILS(read(ends[0], at, 3), EFAULT));
	MUST(code_of(at) == SEGV_ACCERR && code_of(at + PAGE) == SEGV_ACCERR &&
	     code_of(at + 3 * PAGE) == SEGV_MAPERR);
	MUST(mremap(at, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, other) == other);
	MUST(FAILS(write(ends[1], other, 3), EFAULT) && !mprotect(other, PAGE, PROT_READ) &&
	     !memcmp(other, "old", 3) && FAILS(read(ends[0], other, 3), EFAULT));
	MUST(!mprotect(other, PAGE, PROT_READ | PROT_WRITE));
	other[0] = 'b';
	MUST(code_of(other) == 100 && !munmap(other, PAGE) && !close(ends[0]) && !close(ends[1]));
}

// Before a hole: a page to begin in, one that holds something, one that was never touched, and one more.
static void unreachable(int flags, int fd)
{
	char *at = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
	char *other = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	MUST(at != MAP_FAILED && other != MAP_FAILED && !munmap(at + 4 * PAGE, PAGE));
	memcpy(at + PAGE - 3, "oldold", 6);
	MUST(!mprotect(at + 2 * PAGE, PAGE, PROT_NONE));
	out_of_reach(at + PAGE, other);
	MUST(!munmap(at, 4 * PAGE));
}

int main(int argc, char **argv)
{
	int fd;

	if (argc > 1 && !strcmp(argv[1], "nothing"))
		return 0;
	MUST(argc > 1 && !chdir(argv[1]));
	alarm(300); // what waits for ever fails
	connections();
	nothing_is_made();
	positions();
	ended_as("kill");
	ended_as("exit");
	ended_as("exec");
	for (unsigned n = 0; n < 20; n++)
		ended_anywhere(n);
	ended_before_it_woke();
	unreachable(MAP_PRIVATE | MAP_ANONYMOUS, -1);
	unreachable(MAP_SHARED | MAP_ANONYMOUS, -1);
	fd = open("kept", O_RDWR);
	MUST(fd >= 0 && !ftruncate(fd, 5 * PAGE));
	unreachable(MAP_PRIVATE, fd);
	unreachable(MAP_SHARED, fd);
	MUST(!close(fd) && !unlink("kept"));
	signals();
	puts("ok");
	return 0;
}
