// SPDX-License-Identifier: BSD-2-Clause
// What the fuzzer gives the calls of fuzz_table.c: an argument for each letter.
#define _GNU_SOURCE
#include "fuzz.h"
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const uint64_t edges[] = {0,
				 1,
				 7,
				 0xfff,
				 0x1000,
				 0x10000,
				 0x7fffffff,
				 0x80000000,
				 0xffffffff,
				 0x7ffffffff000,
				 0x7fffffffefff,
				 0x7fffffffffff,
				 0x800000000000,
				 0xffff7fffffffffff,
				 0xffff800000000000,
				 0xffff800000100000,
				 0xffffffff80100000,
				 0x7fffffffffffffff,
				 0x8000000000000000,
				 ~0xfffUL,
				 ~0UL - 7,
				 ~0UL};

static uint64_t edge(struct fuzz *f)
{
	uint64_t value = edges[fuzz_below(f, sizeof(edges) / sizeof(edges[0]))];

	return fuzz_below(f, 3) ? value : value + fuzz_below(f, 17) - 8;
}

// Into the shared arena, mostly near the end of a page; sometimes text, stack, or nothing at all.
static uint64_t room(struct fuzz *f)
{
	uint64_t at = (uint64_t)(uintptr_t)arena->room + fuzz_below(f, ARENA_PAGES) * 4096;

	switch (fuzz_below(f, 12)) {
	case 0:
		return edge(f);
	case 1:
		return (uint64_t)(uintptr_t)room + fuzz_below(f, 4096);
	case 2:
		return (uint64_t)(uintptr_t)&at - fuzz_below(f, 65536);
	case 3:
		return at + 4096 - fuzz_below(f, 128);
	default:
		return at + fuzz_below(f, 4096 - 256);
	}
}

static void *filled(struct fuzz *f, const void *what, size_t bytes)
{
	char *at = arena->room + fuzz_below(f, sizeof(arena->room) - bytes - 64) / 8 * 8;

	return memcpy(at, what, bytes);
}

static uint64_t path(struct fuzz *f)
{
	static const char *const names[] = {"/",
					    "/f",
					    "/f/data",
					    "/f/more",
					    "/f/x",
					    "/f/d",
					    "/f/d/y",
					    "/f/link",
					    "",
					    ".",
					    "..",
					    "/f/../f/x",
					    "/f/data/x",
					    "/bin/leaf",
					    "/bin/busybox",
					    "/dev",
					    "/dev/null",
					    "/dev/zero",
					    "/dev/full",
					    "/proc",
					    "/proc/self/maps",
					    "/proc/self/fd/3",
					    "/proc/1",
					    "/volumes/SYS",
					    "/volumes/nothing",
					    "/nothing",
					    "/proc/self/stat"};
	static const char *const long_name =
	    "/f/0123456789012345678901234567890123456789012345678901234567890123456789";
	const char *name = names[fuzz_below(f, sizeof(names) / sizeof(names[0]))];

	if (fuzz_below(f, 20) == 0)
		name = long_name + fuzz_below(f, 4);
	return (uint64_t)(uintptr_t)filled(f, name, strlen(name) + 1);
}

static uint64_t parts(struct fuzz *f)
{
	struct iovec v[4];

	for (unsigned n = 0; n < 4; n++) {
		v[n].iov_base = (void *)(uintptr_t)room(f);
		v[n].iov_len = fuzz_argument(f, 'n');
	}
	return (uint64_t)(uintptr_t)filled(f, v, sizeof(v));
}

static uint64_t address(struct fuzz *f)
{
	struct sockaddr_in6 a = {
	    .sin6_family = (uint16_t)(fuzz_below(f, 3) ? fuzz_below(f, 12) : fuzz_random(f)),
	    .sin6_port = (uint16_t)fuzz_random(f)};

	if (fuzz_below(f, 2))
		((struct sockaddr_in *)&a)->sin_addr.s_addr =
		    htonl(fuzz_below(f, 2) ? 0x7f000001 : 0x0a000202);
	return (uint64_t)(uintptr_t)filled(f, &a, sizeof(a));
}

static uint64_t message(struct fuzz *f)
{
	struct msghdr m = {.msg_name = (void *)(uintptr_t)(fuzz_below(f, 2) ? address(f) : 0),
			   .msg_namelen = (socklen_t)fuzz_below(f, 40),
			   .msg_iov = (void *)(uintptr_t)parts(f),
			   .msg_control = (void *)(uintptr_t)(fuzz_below(f, 2) ? room(f) : 0),
			   .msg_flags = (int)fuzz_random(f)};

	m.msg_iovlen = fuzz_below(f, 5);
	m.msg_controllen = (socklen_t)fuzz_below(f, 100);
	return (uint64_t)(uintptr_t)filled(f, &m, sizeof(m));
}

static uint64_t short_time(struct fuzz *f, uint64_t unit)
{
	uint64_t t[4] = {0, fuzz_below(f, 3 * unit), 0, fuzz_below(f, 3 * unit)};

	if (fuzz_below(f, 8) == 0)
		t[fuzz_below(f, 4)] = edge(f);
	return (uint64_t)(uintptr_t)filled(f, t, sizeof(t));
}

// Without the one that keeps the fuzzer going.
static uint64_t signal_set(struct fuzz *f)
{
	uint64_t set = fuzz_random(f) & fuzz_random(f);

	if (fuzz_below(f, 50))
		set &= ~(1UL << (SIGALRM - 1));
	return (uint64_t)(uintptr_t)filled(f, &set, sizeof(set));
}

static uint64_t action(struct fuzz *f)
{
	uint64_t a[4] = {fuzz_below(f, 4) ? fuzz_below(f, 2) : edge(f), fuzz_random(f), edge(f),
			 fuzz_random(f)};

	return (uint64_t)(uintptr_t)filled(f, a, sizeof(a));
}

static uint64_t event(struct fuzz *f)
{
	struct epoll_event e = {.events = (uint32_t)(fuzz_random(f) & fuzz_random(f)) | EPOLLIN,
				.data.u64 = fuzz_random(f)};

	return (uint64_t)(uintptr_t)filled(f, &e, sizeof(e));
}

static uint64_t size(struct fuzz *f)
{
	switch (fuzz_below(f, 8)) {
	case 0:
		return edge(f);
	case 1:
		return fuzz_below(f, 1 << 20);
	case 2:
		return 4096 * fuzz_below(f, 8);
	default:
		return fuzz_below(f, 300);
	}
}

static uint64_t offset(struct fuzz *f)
{
	return fuzz_below(f, 6) == 0 ? edge(f)
	       : fuzz_below(f, 2)    ? fuzz_below(f, 70000)
				     : fuzz_below(f, 20) * 4096;
}

static uint64_t mapping(struct fuzz *f)
{
	static uint64_t some[16];
	unsigned n = (unsigned)fuzz_below(f, 16);

	if (fuzz_below(f, 6) == 0)
		return edge(f);
	if (fuzz_below(f, 12) == 0)
		return (uint64_t)(uintptr_t)arena->room + fuzz_below(f, ARENA_PAGES) * 4096 - 8;
	if (!some[n] && n % 4 == 3) // every child has it, and calls write into it and cut it off
		some[n] = (uint64_t)(uintptr_t)mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE,
						    MAP_SHARED, open("/f/data", O_RDWR), 0);
	else if (!some[n])
		some[n] = (uint64_t)(uintptr_t)mmap(
		    NULL, 8 * 4096, PROT_READ | PROT_WRITE,
		    (n & 1 ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
	return some[n] + fuzz_below(f, 8) * 4096;
}

static uint64_t mapping_flags(struct fuzz *f)
{
	uint64_t flags = 1 + fuzz_below(f, 3);

	if (fuzz_below(f, 2))
		flags |= MAP_ANONYMOUS;
	if (fuzz_below(f, 6) == 0)
		flags |= fuzz_random(f) & 0x1fffff & ~(uint64_t)MAP_FIXED;
	return flags;
}

static uint64_t process(struct fuzz *f)
{
	switch (fuzz_below(f, 5)) {
	case 0:
		return 0;
	case 1:
		return (uint64_t)getpid();
	case 2:
		return (uint64_t)syscall(SYS_gettid);
	case 3:
		return 0x7ffffffe + fuzz_below(f, 5);
	default:
		return (uint64_t)-fuzz_below(f, 1) - 0x7ffffff0;
	}
}

static uint64_t flags(struct fuzz *f)
{
	switch (fuzz_below(f, 4)) {
	case 0:
		return 0;
	case 1:
		return 1UL << fuzz_below(f, 32);
	case 2:
		return fuzz_below(f, 2) ? O_RDWR | O_CREAT : O_RDONLY | O_DIRECTORY;
	default:
		return fuzz_random(f) & fuzz_random(f) & fuzz_random(f) & 0xffffffff;
	}
}

static uint64_t request(struct fuzz *f)
{
	return fuzz_below(f, 8) ? 0x5400 + fuzz_below(f, 0x70) : fuzz_random(f);
}

static uint64_t by_letter(struct fuzz *f, char letter)
{
	switch (letter) {
	case 'f':
		return fuzz_below(f, 28);
	case 'd':
		return fuzz_below(f, 2) ? (uint64_t)AT_FDCWD : fuzz_below(f, 28);
	case 'p':
		return fuzz_below(f, 10) ? room(f) : fuzz_below(f, 2) ? mapping(f) : 0;
	case 's':
		return path(f);
	case 'n':
		return size(f);
	case 'o':
		return offset(f);
	case 'x':
		return flags(f);
	case 'c':
		return fuzz_below(f, fuzz_below(f, 3) ? 4 : 40);
	case 'k':
		return fuzz_below(f, 3) == 0 ? 6 : fuzz_below(f, 2);
	case 'i':
		return request(f);
	case 'v':
		return parts(f);
	case 'a':
		return address(f);
	case 'm':
		return message(f);
	case 'l':
		return fuzz_below(f, 3) ? 16 + 12 * fuzz_below(f, 2) : fuzz_below(f, 130);
	case 't':
		return short_time(f, 1000000);
	case 'T':
		return short_time(f, 1000);
	case 'w':
		return (uint64_t)(uintptr_t)arena->room + 4 * fuzz_below(f, 3);
	case 'u':
		return fuzz_below(f, 13) | (fuzz_below(f, 2) ? 128 : 0);
	case 'S':
		return signal_set(f);
	case 'A':
		return action(f);
	case 'e':
		return event(f);
	case 'g':
		return fuzz_below(f, 12) ? 0 : fuzz_below(f, 66);
	case 'P':
		return process(f);
	case 'M':
		return mapping(f);
	case 'L':
		return fuzz_below(f, 8) ? 4096 * (1 + fuzz_below(f, 9)) : size(f);
	case 'r':
		return fuzz_below(f, 4) ? 3 : fuzz_below(f, 8);
	case 'F':
		return mapping_flags(f);
	case 'h':
		return 0x1001 + fuzz_below(f, 4);
	case 'q':
		return 24;
	case '8':
		return 8;
	case 'z':
		return 0;
	default:
		return fuzz_below(f, 2) ? edge(f) : room(f);
	}
}

uint64_t fuzz_argument(struct fuzz *f, char letter)
{
	return by_letter(f, letter != 'P' && fuzz_below(f, 12) == 0 ? '*' : letter);
}

void fuzz_fill(struct fuzz *f)
{
	for (size_t n = 0; n + 8 <= sizeof(arena->room); n += 8) {
		uint64_t value = fuzz_below(f, 4) ? fuzz_below(f, 64) : room(f);

		memcpy(arena->room + n, &value, sizeof(value));
	}
}
