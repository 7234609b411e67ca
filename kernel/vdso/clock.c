// SPDX-License-Identifier: BSD-2-Clause
// The vDSO: a shared object that the kernel maps into every program (AT_SYSINFO_EHDR), so that C libraries tell the
// time without a system call. Runs in ring 3, position-independent, without data of its own; the page of the clock
// lies before it (vdso.ld). Names and version are Linux's (vdso(7)).
#include "kernel/clock_page.h"

#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))
#define SECOND 1000000000UL

enum {
	CLOCK_REALTIME,
	CLOCK_MONOTONIC,
	CLOCK_MONOTONIC_RAW = 4,
	CLOCK_REALTIME_COARSE,
	CLOCK_MONOTONIC_COARSE,
	CLOCK_BOOTTIME
};
enum { SYS_GETTIMEOFDAY = 96, SYS_CLOCK_GETTIME = 228, SYS_CLOCK_GETRES = 229 };

struct timespec {
	int64_t sec, nsec;
};
struct timeval {
	int64_t sec, usec;
};

extern const volatile struct clock_page clock_page __attribute__((visibility("hidden")));

EXPORT int __vdso_clock_gettime(int clock, struct timespec *out);
EXPORT int __vdso_clock_getres(int clock, struct timespec *out);
EXPORT int __vdso_gettimeofday(struct timeval *out, void *zone);
EXPORT int64_t __vdso_time(int64_t *out);
EXPORT long __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused);

static long system_call(long number, long a, long b)
{
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b)
			 : "rcx", "r11", "memory");
	return result;
}

// LFENCE: the counter is read after whatever the program did before (SDM volume 2, RDTSC).
static uint64_t cycles(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high)::"memory");
	return (uint64_t)high << 32 | low;
}

static uint64_t now(int is_real)
{
	uint32_t sequence;
	uint64_t ns, past;

	do {
		while ((sequence = __atomic_load_n(&clock_page.sequence, __ATOMIC_ACQUIRE)) & 1)
			__asm__ volatile("pause");
		past = cycles() - clock_page.base_cycles;
		if ((int64_t)past < 0)
			past = 0;
		ns = clock_page.base_ns +
		     (uint64_t)(((unsigned __int128)past * clock_page.mult) >> 32);
		if (is_real)
			ns += clock_page.realtime_offset;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (clock_page.sequence != sequence);
	return ns;
}

int __vdso_clock_gettime(int clock, struct timespec *out)
{
	uint64_t ns;

	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
		ns = now(1);
		break;
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
		ns = now(0);
		break;
	default:
		return (int)system_call(SYS_CLOCK_GETTIME, clock, (long)out);
	}
	out->sec = (int64_t)(ns / SECOND);
	out->nsec = (int64_t)(ns % SECOND);
	return 0;
}

int __vdso_clock_getres(int clock, struct timespec *out)
{
	return (int)system_call(SYS_CLOCK_GETRES, clock, (long)out);
}

int __vdso_gettimeofday(struct timeval *out, void *zone)
{
	uint64_t ns;

	if (zone)
		return (int)system_call(SYS_GETTIMEOFDAY, (long)out, (long)zone);
	if (!out)
		return 0;
	ns = now(1);
	out->sec = (int64_t)(ns / SECOND);
	out->usec = (int64_t)(ns % SECOND / 1000);
	return 0;
}

int64_t __vdso_time(int64_t *out)
{
	int64_t seconds = (int64_t)(now(1) / SECOND);

	if (out)
		*out = seconds;
	return seconds;
}

long __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused)
{
	if (cpu)
		*cpu = 0;
	if (node)
		*node = 0;
	return 0;
}
