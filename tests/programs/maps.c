// SPDX-License-Identifier: BSD-2-Clause
// maps DIRECTORY [SEED]: files that processes share in memory (MAP_SHARED): what one writes there, all others see, by
// mapping, by read, and in the file; churn FILE changes its pages until it is ended. Runs on Linux, too. "ok", or what
// went wrong; leaves the file "model".
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

#define PAGE		   4096
#define PAGES		   64
#define BYTES		   (PAGES * PAGE)
#define LARGE		   (20 << 20)
#define FAILS(call, error) (errno = 0, (call) && errno == (error))

static char copy[BYTES], model[BYTES];
static sigjmp_buf back;

static void on_bus(int signal)
{
	siglongjmp(back, signal);
}

// The signal that a look at the address ends in; 0: none.
static int touch(volatile char *at, int write)
{
	int signal = sigsetjmp(back, 1);

	if (signal)
		return signal;
	if (write)
		*at = 1;
	else
		(void)*at;
	return 0;
}

static int file(const char *name, off_t size)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);

	MUST(fd >= 0 && !ftruncate(fd, size));
	return fd;
}

static char *map(int fd, size_t bytes, int prot)
{
	char *at = mmap(NULL, bytes, prot, MAP_SHARED, fd, 0);

	MUST(at != MAP_FAILED);
	return at;
}

static void rights(void)
{
	int fd = file("rights", PAGE), reader = open("rights", O_RDONLY),
	    writer = open("rights", O_WRONLY), ends[2];
	char *at;

	MUST(!pipe(ends));
	MUST(FAILS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0) == MAP_FAILED,
		   EACCES));
	MUST(FAILS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, writer, 0) == MAP_FAILED, EACCES));
	MUST(FAILS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ends[0], 0) == MAP_FAILED, ENODEV));
	at = map(reader, PAGE, PROT_READ);
	MUST(FAILS(mprotect(at, PAGE, PROT_READ | PROT_WRITE) == -1, EACCES));
	MUST(touch(at, 0) == 0 && touch(at, 1) == SIGSEGV);
	MUST(!munmap(at, PAGE));
	at = map(fd, PAGE, PROT_READ);
	MUST(touch(at, 1) == SIGSEGV && !mprotect(at, PAGE, PROT_READ | PROT_WRITE) &&
	     !touch(at, 1));
	MUST(!mprotect(at, PAGE, PROT_NONE) && touch(at, 0) == SIGSEGV &&
	     !mprotect(at, PAGE, PROT_READ) && at[0] == 1);
	MUST(!munmap(at, PAGE));
	close(fd), close(reader), close(writer), close(ends[0]), close(ends[1]);
}

// By every way from one to the other, holes and bytes that were there.
static void coherent(void)
{
	int fd = file("same", BYTES);
	char *a, *b, byte;

	MUST(pwrite(fd, "there", 5, 10 * PAGE) == 5 && !fsync(fd));
	a = map(fd, BYTES, PROT_READ | PROT_WRITE);
	b = map(fd, BYTES, PROT_READ);
	MUST(!memcmp(b + 10 * PAGE, "there", 5) && !b[0] && !b[5 * PAGE]);
	a[5 * PAGE] = 'x';
	a[10 * PAGE + 5] = '!';
	MUST(b[5 * PAGE] == 'x' && !memcmp(b + 10 * PAGE, "there!", 7));
	MUST(pread(fd, &byte, 1, 5 * PAGE) == 1 && byte == 'x');
	a[5 * PAGE] = 'y'; // after it was read
	MUST(b[5 * PAGE] == 'y' && pread(fd, &byte, 1, 5 * PAGE) == 1 && byte == 'y');
	MUST(pwrite(fd, "z", 1, 5 * PAGE) == 1 && a[5 * PAGE] == 'z' && b[5 * PAGE] == 'z');
	MUST(pwrite(fd, "hole", 4, 20 * PAGE) == 4 && !memcmp(a + 20 * PAGE, "hole", 4));
	MUST(!b[30 * PAGE] && pwrite(fd, "w", 1, 30 * PAGE) == 1 && b[30 * PAGE] == 'w');
	// From the mapping into the file that it is of, and back.
	memset(a, 'm', PAGE);
	MUST(pwrite(fd, a, 2 * PAGE, PAGE + 100) == 2 * PAGE && a[PAGE + 100] == 'm' &&
	     b[2 * PAGE + 99] == 'm');
	MUST(pread(fd, a + 40 * PAGE, PAGE, 0) == PAGE && b[41 * PAGE - 1] == 'm');
	MUST(pread(fd, a, PAGE, 0) == PAGE && b[0] == 'm');
	// Written to the disk, changed again, written again.
	for (int n = 0; n < 5; n++) {
		a[3 * PAGE] = (char)('0' + n);
		MUST(!msync(a, BYTES, n % 2 ? MS_SYNC : MS_ASYNC) && !(n % 2 && fsync(fd)));
		MUST(b[3 * PAGE] == '0' + n && pread(fd, &byte, 1, 3 * PAGE) == 1 &&
		     byte == '0' + n);
	}
	MUST(FAILS(msync(a + 1, 1, MS_SYNC) == -1, EINVAL) &&
	     FAILS(msync(a, PAGE, MS_SYNC | MS_ASYNC) == -1, EINVAL));
	MUST(FAILS(msync(a, PAGE, 64) == -1, EINVAL) && !munmap(a + PAGE, PAGE));
	MUST(FAILS(msync(a, 3 * PAGE, MS_SYNC) == -1, ENOMEM) &&
	     !msync(a, PAGE, MS_SYNC | MS_INVALIDATE));
	MUST(!madvise(a + 3 * PAGE, PAGE, MADV_DONTNEED) && a[3 * PAGE] == '4');
	MUST(!munmap(a, BYTES) && b[3 * PAGE] == '4' && !munmap(b, BYTES) && !close(fd));
}

static void ends_of_files(void)
{
	int fd = file("end", PAGE + 10);
	char *a = map(fd, BYTES, PROT_READ | PROT_WRITE);
	struct stat st;

	MUST(touch(a + PAGE, 1) == 0 && touch(a + 2 * PAGE, 0) == SIGBUS &&
	     touch(a + 2 * PAGE, 1) == SIGBUS);
	a[PAGE + 100] = 'x'; // beyond the end, in its page: nobody sees it
	MUST(!fstat(fd, &st) && st.st_size == PAGE + 10);
	MUST(!ftruncate(fd, 3 * PAGE) && !a[PAGE + 100] && touch(a + 2 * PAGE, 1) == 0);
	MUST(!ftruncate(fd, 5) && touch(a + PAGE, 0) == SIGBUS &&
	     touch(a + 2 * PAGE, 1) == SIGBUS && a[0] == 0);
	MUST(!ftruncate(fd, BYTES) && !a[PAGE] && touch(a + PAGE, 1) == 0 &&
	     touch(a + BYTES - 1, 1) == 0);
	MUST(!a[8 * PAGE] && !ftruncate(fd, 8 * PAGE) && touch(a + 8 * PAGE, 0) == SIGBUS);
	MUST(!munmap(a, BYTES) && !close(fd));
}

// The child and the parent write by turns; what the child has of the mapping is what the parent has.
static void processes(void)
{
	int fd = file("turns", BYTES), status;
	volatile int *at = (void *)map(fd, BYTES, PROT_READ | PROT_WRITE), *moved;
	pid_t pid;

	at[0] = 0;
	pid = fork();
	MUST(pid >= 0);
	if (!pid) {
		for (int n = 0; n < 100; n++) {
			while (__atomic_load_n(&at[0], __ATOMIC_ACQUIRE) != 2 * n + 1)
				sched_yield();
			at[PAGE] = n;
			__atomic_store_n(&at[0], 2 * n + 2, __ATOMIC_RELEASE);
		}
		_exit(0);
	}
	for (int n = 0; n < 100; n++) {
		MUST(n % 25 || !fdatasync(fd));
		__atomic_store_n(&at[0], 2 * n + 1, __ATOMIC_RELEASE);
		while (__atomic_load_n(&at[0], __ATOMIC_ACQUIRE) != 2 * n + 2)
			sched_yield();
		MUST(at[PAGE] == n);
	}
	MUST(waitpid(pid, &status, 0) == pid && !status);
	moved = mremap((void *)(uintptr_t)at, BYTES, 2 * BYTES, MREMAP_MAYMOVE);
	MUST(moved != MAP_FAILED && moved[0] == 200);
	moved[1] = 7;
	MUST(pread(fd, copy, 8, 0) == 8 && ((int *)copy)[1] == 7 &&
	     !munmap((void *)(uintptr_t)moved, 2 * BYTES));
	close(fd);
}

// A file by every way, and what it must hold.
static void random_steps(unsigned seed)
{
	int fd = file("model", 0), size = 0;
	char *a = map(fd, BYTES, PROT_READ | PROT_WRITE), *b = map(fd, BYTES, PROT_READ);

	srandom(seed);
	for (int n = 0; n < 500; n++) {
		int from = (int)(random() % BYTES), bytes = 1 + (int)(random() % 9000);

		bytes = from + bytes > BYTES ? BYTES - from : bytes;
		switch (random() % 8) {
		case 0:
			MUST(!ftruncate(fd, from));
			if (from < size)
				memset(model + from, 0, (size_t)(size - from));
			size = from;
			break;
		case 1:
			MUST(pwrite(fd, memset(model + from, n, (size_t)bytes), (size_t)bytes,
				    from) == bytes);
			size = from + bytes > size ? from + bytes : size;
			break;
		case 2:
			MUST(!msync(a, BYTES, random() % 4 ? MS_ASYNC : MS_SYNC));
			break;
		case 3:
			MUST(pread(fd, copy, BYTES, 0) == size &&
			     !memcmp(copy, model, (size_t)size));
			break;
		case 4:
			MUST(!memcmp(b, model, (size_t)size));
			break;
		default:
			if (from + bytes > size)
				break;
			memset(a + from, n, (size_t)bytes);
			memset(model + from, n, (size_t)bytes);
		}
	}
	MUST(!memcmp(a, model, (size_t)size) && !memcmp(b, model, (size_t)size) && !close(fd));
	MUST(!munmap(a, BYTES) && !munmap(b, BYTES)); // what was written there is written behind
	fd = open("model", O_RDONLY);
	MUST(pread(fd, copy, BYTES, 0) == size && !memcmp(copy, model, (size_t)size) && !close(fd));
}

// More pages than may be mapped so at once: those that went come back with what was written to them.
static void large(void)
{
	int fd = file("large", LARGE);
	char *a = map(fd, LARGE, PROT_READ | PROT_WRITE);

	for (int n = 0; n < LARGE; n += PAGE)
		*(int *)(void *)(a + n) = n;
	for (int n = 0; n < LARGE; n += PAGE)
		MUST(*(int *)(void *)(a + n) == n);
	MUST(!munmap(a, LARGE) && !close(fd) && !unlink("large"));
}

// Changes pages of the file for ever.
static void churn(const char *name)
{
	int fd = open(name, O_RDWR);
	struct stat st;
	char *a;

	MUST(fd >= 0 && !fstat(fd, &st));
	a = map(fd, (size_t)st.st_size, PROT_READ | PROT_WRITE);
	for (unsigned n = 0;; n++)
		memset(a + random() % (st.st_size / PAGE) * PAGE, 'a' + n % 26, PAGE);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "churn"))
		churn(argv[2]);
	MUST(argc > 1 && !chdir(argv[1]));
	signal(SIGBUS, on_bus);
	signal(SIGSEGV, on_bus);
	rights();
	coherent();
	ends_of_files();
	processes();
	large();
	random_steps(argc > 2 ? (unsigned)atoi(argv[2]) : 1);
	puts("ok");
	return 0;
}
