// SPDX-License-Identifier: BSD-2-Clause
// edges WHAT: where calls, signals and the end of threads and processes meet. Says "ok" on Linux, too.
#define _GNU_SOURCE
#include <fcntl.h>
#include <fenv.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "must.h"

#define JUMPS 20000

static volatile uint64_t faults, back;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	ucontext_t *c = context;

	(void)signal;
	(void)info;
	c->uc_mcontext.gregs[REG_RIP] = (greg_t)back;
	faults++;
}

// What the interrupts are for: a sleeper.
static pid_t make_sleeper(void)
{
	pid_t child = fork();

	MUST(child >= 0);
	while (!child)
		usleep(200);
	return child;
}

// An interrupt may come between a jump to where no program may be and the fault that this makes. QEMU looks for
// interrupts behind a far return; the long steps before it make that the place where most of them are found.
static void jumps(void)
{
	static const uint64_t targets[] = {0xffffffff80100000, 0xffff800000100000};
	struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	pid_t sleeper = make_sleeper();

	MUST(!sigaction(SIGSEGV, &fault, NULL));
	for (uint64_t n = 0; n < JUMPS; n++) {
		uint64_t target = targets[n % 2];

		__asm__ volatile("lea 1f(%%rip), %%rcx\n"
				 "mov %%rcx, %0\n"
				 "mov %%rsp, %%rbx\n"
				 "sub $256, %%rsp\n"
				 "mov %%cs, %%ecx\n"
				 "push %%rcx\n"
				 "push %1\n"
				 "fldpi\n"
				 ".rept 100\n"
				 "fsin\n"
				 ".endr\n"
				 "fstp %%st(0)\n"
				 "lretq\n"
				 "1: mov %%rbx, %%rsp"
				 : "=m"(back)
				 : "r"(target)
				 : "rbx", "rcx", "memory");
	}
	MUST(faults == JUMPS && !kill(sleeper, SIGKILL) && wait(NULL) == sleeper);
}

// Who blocks a signal and waits for it gets it, although nobody handles it, and it is ignored by default.
static void waits(void)
{
	struct timespec patience = {60, 0};
	sigset_t set;
	siginfo_t info;
	pid_t child;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	MUST(!sigprocmask(SIG_BLOCK, &set, NULL));
	child = fork();
	if (!child) {
		usleep(200000); // most often the parent waits by then
		_exit(7);
	}
	MUST(sigtimedwait(&set, &info, &patience) == SIGCHLD);
	MUST(info.si_pid == child && info.si_status == 7 && waitpid(child, NULL, 0) == child);
}

static volatile int ending;

// Thread after thread, by the bare call, so that most of the time goes by inside it; each ends at once, or, when the
// process does, spins. They use no stack.
static void *make_threads(void *arg)
{
	static char stack[64];
	const long flags = 0x50f00; // CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM

	while (ending >= 0) {
		long result = SYS_clone;

		__asm__ volatile("syscall\n"
				 "test %%rax, %%rax\n"
				 "jnz 2f\n"
				 "1: cmpl $0, %1\n"
				 "jne 1b\n"
				 "mov %2, %%eax\n"
				 "xor %%edi, %%edi\n"
				 "syscall\n"
				 "2:"
				 : "+a"(result)
				 : "m"(ending), "i"(SYS_exit), "D"(flags),
				   "S"(stack + sizeof(stack)), "d"(0L)
				 : "rcx", "r11", "memory");
	}
	return arg;
}

// The end of a process takes threads along that are being made meanwhile, and that never make a call.
static void latecomers(void)
{
	for (unsigned n = 0; n < 50; n++) {
		pid_t child = fork();
		pthread_t thread;
		int status;

		if (!child) {
			MUST(!pthread_create(&thread, NULL, make_threads, NULL));
			usleep(1000 + n * 37 % 50 * 100);
			ending = 1;
			_exit(3);
		}
		MUST(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 3);
	}
}

// A mapping that mremap makes longer shows more of the same file or memory.
static void grows(void)
{
	const size_t page = 4096;
	int fd = memfd_create("grows", 0), file = open("/proc/self/exe", O_RDONLY);
	char *a, *b, *exe, direct;

	MUST(fd >= 0 && !ftruncate(fd, 8 * page));
	a = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	b = mmap(NULL, 8 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(a != MAP_FAILED && b != MAP_FAILED);
	b[5 * page] = 'b';
	a = mremap(a, page, 8 * page, MREMAP_MAYMOVE);
	MUST(a != MAP_FAILED && a[5 * page] == 'b');
	a[6 * page] = 'a';
	MUST(b[6 * page] == 'a');
	MUST(mremap(b, 8 * page, 2 * page, 0) == b &&
	     mremap(b, 2 * page, 8 * page, MREMAP_MAYMOVE) != MAP_FAILED);

	exe = mmap(NULL, page, PROT_READ, MAP_PRIVATE, file, 0);
	MUST(exe != MAP_FAILED && pread(file, &direct, 1, (off_t)(2 * page + 77)) == 1);
	exe = mremap(exe, page, 3 * page, MREMAP_MAYMOVE);
	MUST(exe != MAP_FAILED && exe[2 * page + 77] == direct);
	exe = mremap(exe, 3 * page, page, MREMAP_MAYMOVE); // cut, and made whole again
	exe = mremap(exe, page, 3 * page, MREMAP_MAYMOVE);
	MUST(exe != MAP_FAILED && exe[2 * page + 77] == direct);
	close(file);
	close(fd);
}

static void on_signal(int signal)
{
	(void)signal;
}

// Up to 256 bytes come whole, whatever signals do.
static void whole(void)
{
	struct sigaction a = {.sa_handler = on_signal};
	struct itimerval every = {{0, 200}, {0, 200}}, never = {0};
	char bytes[256];

	MUST(!sigaction(SIGALRM, &a, NULL) && !setitimer(ITIMER_REAL, &every, NULL));
	for (unsigned n = 0; n < 3000; n++)
		MUST(getrandom(bytes, sizeof(bytes), 0) == sizeof(bytes));
	MUST(!setitimer(ITIMER_REAL, &never, NULL));
}

// The end of a child is told to who asks for ends, and to nobody else.
static void news(void)
{
	siginfo_t info = {0};
	int status;
	pid_t child = fork();

	if (!child) {
		raise(SIGSTOP);
		_exit(9);
	}
	MUST(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status) &&
	     !kill(child, SIGCONT));
	MUST(!waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) && info.si_status == 9);
	MUST(waitid(P_PID, (id_t)child, &info, WCONTINUED | WSTOPPED) == -1 && errno == ECHILD);
	MUST(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 9);
}

// A poll that a stop broke off, and that had something to tell all the same, is over: the next sleep is its own.
static void polls(void)
{
	int ends[2], status;
	pid_t child;

	MUST(!pipe(ends));
	child = fork();
	if (!child) {
		struct pollfd p = {ends[0], POLLIN, 0};
		struct timespec before, after, t = {0, 400000000};

		MUST(poll(&p, 1, 300) == 1);
		MUST(!clock_gettime(CLOCK_MONOTONIC, &before) && !nanosleep(&t, NULL) &&
		     !clock_gettime(CLOCK_MONOTONIC, &after));
		_exit((after.tv_sec - before.tv_sec) * 1000 +
			  (after.tv_nsec - before.tv_nsec) / 1000000 <
		      400);
	}
	usleep(100000); // most often it waits by then
	MUST(write(ends[1], "", 1) == 1 && !kill(child, SIGSTOP) &&
	     waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
	usleep(300000);
	MUST(!kill(child, SIGCONT) && waitpid(child, &status, 0) == child && !status);
	close(ends[0]);
	close(ends[1]);
}

#define HOARDERS 8
#define SELECTS	 24
#define MAPPINGS 2000

static void *select_for_ever(void *arg)
{
	select(65536, NULL, NULL, NULL, NULL);
	return arg;
}

// Wants much of the kernel: a descriptor table of a megabyte for each child, sets of half a megabyte for each thread,
// the tables of shared memory. Until it is ended.
static void hoard(void)
{
	struct rlimit many = {65536, 65536};
	pthread_t thread;

	MUST(!setrlimit(RLIMIT_NOFILE, &many));
	for (unsigned n = 0; n < HOARDERS; n++)
		if (!fork()) {
			MUST(dup2(0, 65535) == 65535);
			for (;;)
				pause();
		}
	for (unsigned n = 0; n < SELECTS; n++)
		MUST(!pthread_create(&thread, NULL, select_for_ever, NULL));
	for (unsigned n = 0; n < MAPPINGS; n++)
		MUST(mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	for (;;)
		pause();
}

static volatile sig_atomic_t second;

static void on_first(int signal)
{
	(void)signal;
	while (!second)
		;
}

static void on_second(int signal)
{
	(void)signal;
	second = 1;
}

// Of two signals that come at once, neither waits for the other's handler to end.
static void nested(void)
{
	struct sigaction first = {.sa_handler = on_first}, other = {.sa_handler = on_second};
	sigset_t both;

	sigemptyset(&both);
	sigaddset(&both, SIGUSR1);
	sigaddset(&both, SIGUSR2);
	MUST(!sigaction(SIGUSR1, &first, NULL) && !sigaction(SIGUSR2, &other, NULL) &&
	     !sigprocmask(SIG_BLOCK, &both, NULL));
	MUST(!raise(SIGUSR1) && !raise(SIGUSR2) && !sigprocmask(SIG_UNBLOCK, &both, NULL) &&
	     second);
}

static volatile long double third;
static volatile int rounding;

static void on_float(int signal)
{
	volatile long double one = 1, three = 3;

	(void)signal;
	third = one / three;
	rounding = fegetround();
}

// A handler begins with registers for floating point as at a program's start, whatever was interrupted.
static void floats(void)
{
	struct sigaction a = {.sa_handler = on_float};
	long number = SYS_kill;

	MUST(!sigaction(SIGUSR1, &a, NULL) && !fesetround(FE_UPWARD));
	__asm__ volatile(".rept 8\n"
			 "fld1\n"
			 ".endr\n"
			 "syscall\n" // the handler runs here, the x87 stack full
			 ".rept 8\n"
			 "fstp %%st(0)\n"
			 ".endr"
			 : "+a"(number)
			 : "D"((long)getpid()), "S"((long)SIGUSR1)
			 : "rcx", "r11", "memory");
	MUST(number == 0 && third > 0.333L && third < 0.334L && rounding == FE_TONEAREST &&
	     fegetround() == FE_UPWARD);
}

// A signal that is ignored for a while, though it was blocked, is gone (POSIX sigaction).
static void ignored(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, handle = {.sa_handler = on_second};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	MUST(!sigprocmask(SIG_BLOCK, &set, NULL) && !raise(SIGUSR1) && !kill(getpid(), SIGUSR1));
	MUST(!sigaction(SIGUSR1, &ignore, NULL) && !sigaction(SIGUSR1, &handle, NULL));
	MUST(!sigpending(&set) && !sigismember(&set, SIGUSR1));
	sigaddset(&set, SIGUSR1);
	MUST(!sigprocmask(SIG_UNBLOCK, &set, NULL) && !second);
}

// A large process makes children, which sleep.
static void have_children(void)
{
	static char much[64 << 12];
	int ends[2];

	for (unsigned n = 0; n < sizeof(much); n += 4096)
		much[n] = 1;
	MUST(!pipe(ends));
	for (unsigned n = 0; n < 60; n++)
		if (!fork())
			_exit((int)read(ends[0], much, 1));
	for (;;)
		pause();
}

// A signal to a process group reaches its children, those too that are being made.
static void groups(void)
{
	for (unsigned n = 0; n < 20; n++) {
		pid_t child = fork();

		if (!child) {
			setpgid(0, 0);
			have_children();
		}
		setpgid(child, child);
		usleep(3000 + n * 100);
		MUST(!kill(-child, SIGKILL) && waitpid(child, NULL, 0) == child);
		for (unsigned tries = 0; !kill(-child, 0); tries++) { // orphans end now, or never
			MUST(tries < 200);
			usleep(10000);
		}
	}
}

// In a stream no bytes are nothing, and not its end; a datagram of none is one.
static void empty(void)
{
	int stream[2], packets[2];
	char byte;

	MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, stream) &&
	     !socketpair(AF_UNIX, SOCK_DGRAM, 0, packets));
	MUST(send(stream[0], "", 0, 0) == 0 && recv(stream[1], &byte, 1, MSG_DONTWAIT) == -1 &&
	     errno == EAGAIN);
	MUST(send(stream[0], "x", 1, 0) == 1 && recv(stream[1], &byte, 1, MSG_DONTWAIT) == 1 &&
	     byte == 'x');
	MUST(send(packets[0], "", 0, 0) == 0 && recv(packets[1], &byte, 1, MSG_DONTWAIT) == 0);
}

// Opening a directory again through /proc leaves the first one what it was.
static void reopened(void)
{
	int fd = open("/proc/self", O_RDONLY | O_DIRECTORY), again, file;
	char path[64];

	MUST(fd >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (unsigned n = 0; n < 100; n++) {
		again = open(path, O_RDONLY | O_DIRECTORY);
		MUST(again >= 0 && (file = openat(fd, "status", O_RDONLY)) >= 0 && !close(file));
		MUST((file = openat(again, "status", O_RDONLY)) >= 0 && !close(file) &&
		     !close(again));
	}
	close(fd);
}

static void spin(void)
{
	for (;;)
		;
}

static void *exec_again(void *arg)
{
	execl("/proc/self/exe", "edges", "led", NULL);
	return arg;
}

// Whichever thread execs, it is the process' first one afterwards.
static void leader(void)
{
	int status;
	pthread_t thread;
	pid_t child = fork();

	if (!child) {
		MUST(!pthread_create(&thread, NULL, exec_again, NULL));
		for (;;)
			pause();
	}
	MUST(waitpid(child, &status, 0) == child && status == 5 << 8);
}

static void led(void)
{
	MUST(getpid() == syscall(SYS_gettid) && !syscall(SYS_tgkill, getpid(), getpid(), 0));
	exit(5);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {{"jumps", jumps},
	     {"waits", waits},
	     {"latecomers", latecomers},
	     {"grows", grows},
	     {"random", whole},
	     {"news", news},
	     {"polls", polls},
	     {"hoard", hoard},
	     {"nested", nested},
	     {"floats", floats},
	     {"ignored", ignored},
	     {"groups", groups},
	     {"empty", empty},
	     {"reopened", reopened},
	     {"spin", spin},
	     {"leader", leader},
	     {"led", led}};

int main(int argc, char **argv)
{
	for (unsigned n = 0; n < sizeof(cases) / sizeof(cases[0]); n++)
		if (argc > 1 && !strcmp(argv[1], cases[n].name)) {
			cases[n].run();
			puts("ok");
			return 0;
		}
	return 64;
}
