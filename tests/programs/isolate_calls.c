// SPDX-License-Identifier: BSD-2-Clause
// isolate call NUMBER ADDRESS: a system call with each of its arguments in turn a bad pointer (of the kernel, of
// nothing, to what may only be read, across the end of what is there, no address at all), beside arguments that make
// sense for calls of many kinds. What waits is interrupted by a timer. Nothing may be written that the program may
// not write.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "isolate.h"
#include "must.h"

// No address has bit 13 set, nor has a word in them: read as a set of signals it lets SIGALRM come, which ends waits.
#define AREA	  0x20000000UL
#define READ_ONLY (AREA + 0x0000)
#define LAST_PAGE (AREA + 0x4000) // and nothing behind it
#define GOOD	  (AREA + 0x10000)
#define PATTERN	  0x5a5a5a5a5a5a5a5aUL
#define FDS	  8

static uint64_t bad[10];
#define BAD (sizeof(bad) / sizeof(bad[0]))
static long fds[FDS];
static const char path[] = "/bin/isolate";

static long raw(long call, const uint64_t a[6])
{
	register uint64_t r10 __asm__("r10") = a[3];
	register uint64_t r8 __asm__("r8") = a[4];
	register uint64_t r9 __asm__("r9") = a[5];
	long result;
	bool forks = call == SYS_fork || call == SYS_vfork || call == SYS_clone;

	if (!forks) {
		__asm__ volatile("syscall"
				 : "=a"(result)
				 : "a"(call), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8),
				   "r"(r9)
				 : "rcx", "r11", "memory");
		return result;
	}
	// A child ends before it touches whatever it has for a stack.
	__asm__ volatile("syscall\n test %%rax, %%rax\n jnz 1f\n mov $60, %%eax\n xor %%edi, "
			 "%%edi\n syscall\n 1:"
			 : "=a"(result)
			 : "a"(call), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory", "cc");
	return result;
}

static void on_alarm(int number) {}

static void *page(uintptr_t at, size_t bytes)
{
	void *p = mmap((void *)at, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	MUST(p == (void *)at);
	return p;
}

static void prepare(uintptr_t kernel)
{
	struct sigaction action = {.sa_handler = on_alarm}; // no SA_RESTART
	struct itimerval often = {{0, 1000}, {0, 1000}};
	int ends[2];

	for (unsigned n = 0; n < 512; n++)
		((uint64_t *)page(READ_ONLY, 4096))[0] = 0;
	for (unsigned n = 0; n < 512; n++)
		((uint64_t *)READ_ONLY)[n] = PATTERN;
	MUST(!mprotect((void *)READ_ONLY, 4096, PROT_READ));
	page(LAST_PAGE, 4096);
	page(GOOD, 0x2000);
	memcpy(bad,
	       (uint64_t[]){kernel, 0x28, READ_ONLY, LAST_PAGE + 4096 - 4, LAST_PAGE + 4096,
			    0x7fffffffd004, 0x800000000000, 0xffff800000100000, 0xffffffff80100000,
			    ~0x2007UL},
	       sizeof(bad));
	for (unsigned n = 0; n < BAD; n++)
		MUST(!(bad[n] & 1 << (SIGALRM - 1)));
	for (int n = 0; n < 3; n++)
		MUST(!close(n) &&
		     open("/dev/null", O_RDWR) == n); // what is written need not be seen
	for (int n = 1; n < 65; n++)
		signal(n, SIG_IGN); // a child of clone may end with any
	fds[0] = open("/dev/zero", O_RDWR);
	fds[1] = socket(AF_INET, SOCK_DGRAM, 0);
	fds[2] = socket(AF_INET, SOCK_STREAM, 0);
	MUST(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends));
	fds[3] = ends[0];
	MUST(!pipe(ends));
	fds[4] = ends[0];
	fds[5] = epoll_create1(0);
	fds[6] = timerfd_create(CLOCK_MONOTONIC, 0);
	fds[7] = open("/bin", O_RDONLY | O_DIRECTORY);
	for (unsigned n = 0; n < FDS; n++)
		MUST(fds[n] >= 0);
	MUST(!sigaction(SIGALRM, &action, NULL) && !setitimer(ITIMER_REAL, &often, NULL));
}

// Pairs of address and length, for those who take what lies there for pointers.
static void fill_good(uint64_t word)
{
	uint64_t *good = (uint64_t *)GOOD;

	for (unsigned n = 0; n < 1024; n += 2) {
		good[n] = word;
		good[n + 1] = 64;
	}
}

static bool changes_memory(long call)
{
	return call == SYS_mmap || call == SYS_mprotect || call == SYS_munmap || call == SYS_brk ||
	       call == SYS_mremap || call == SYS_madvise;
}

int bad_arguments(long call, uintptr_t kernel)
{
	prepare(kernel);
	for (unsigned b = 0; b < BAD; b++) {
		uint64_t all[6] = {bad[b], bad[b], bad[b], bad[b], bad[b], bad[b]};

		if (!changes_memory(call))
			fill_good(bad[b]);
		raw(call, all);
		for (unsigned i = 0; i < 6; i++) {
			for (unsigned f = 0; f < FDS; f++) { // a descriptor, buffers and lengths
				uint64_t a[6] = {(uint64_t)fds[f], GOOD, 64, GOOD + 512, 64, 0};

				a[i] = bad[b];
				raw(call, a);
			}
			for (unsigned n = 0; n < 2; n++) { // names
				uint64_t a[7] = {(uint64_t)-100, (uint64_t)path, GOOD, 64, 0, 0};

				a[i + n] = bad[b];
				raw(call, a + n);
			}
			for (unsigned j = 0; j < 6;
			     j++) { // structures, and the size of a set of signals
				uint64_t a[6] = {GOOD, GOOD, GOOD, GOOD, GOOD, GOOD};

				a[i] = bad[b];
				a[j] = 8;
				raw(call, a);
			}
		}
	}
	for (unsigned n = 0; n < 512 && !changes_memory(call); n++)
		if (((volatile uint64_t *)READ_ONLY)[n] != PATTERN)
			raw(SYS_exit_group, (uint64_t[6]){2});
	raw(SYS_exit_group, (uint64_t[6]){0});
	return 3;
}
