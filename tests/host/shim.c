// SPDX-License-Identifier: BSD-2-Clause
// The odds and ends of tests/host/shim.h: panic, log, the seed, statistics. Fake RAM is shim_ram.c,
// the scheduler's half shim_sched.c.
#include "shim.h"
#include "shim_private.h"

#include <sanitizer/common_interface_defs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernel/console.h"
#include "kernel/cpu.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/trace.h"

#define WEAK __attribute__((weak))

static jmp_buf *panic_jump;
static char panic_text[512];
static uint64_t seed, random_state;

void shim_fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("shim: ", stderr);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, " (SHIM_SEED=%llu)\n", (unsigned long long)seed);
	__sanitizer_print_stack_trace();
	abort();
}

WEAK void panic_at(const char *file, int line, const char *function, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(panic_text, sizeof(panic_text), format, args);
	va_end(args);
	if (panic_jump)
		longjmp(*panic_jump, 1);
	shim_fail("panic at %s:%d in %s: %s", file, line, function, panic_text);
	abort();
}

bool shim_panics(void (*fn)(void *arg), void *arg)
{
	jmp_buf here, *outer = panic_jump;
	struct cpu before = host_cpu;
	if (setjmp(here)) {
		while (host_cpu.locks && host_cpu.locks != before.locks) {
			host_cpu.locks->held = 0;
			host_cpu.locks = host_cpu.locks->outer;
		}
		host_cpu = before;
		panic_jump = outer;
		return true;
	}
	panic_jump = &here;
	fn(arg);
	panic_jump = outer;
	return false;
}

const char *shim_panic_text(void)
{
	return panic_text;
}

WEAK void kvprintf(const char *format, va_list args)
{
	if (getenv("SHIM_VERBOSE"))
		vfprintf(stderr, format, args);
}

WEAK void kprintf(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	kvprintf(format, args);
	va_end(args);
}

WEAK void console_printf(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	kvprintf(format, args);
	va_end(args);
}

WEAK void trace(enum trace_event event, uint64_t a, uint64_t b, uint64_t c) {}

uint64_t shim_seed(void)
{
	if (!seed) {
		const char *text = getenv("SHIM_SEED");
		seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
		seed = seed ? seed : 1;
		random_state = seed;
		fprintf(stderr, "SHIM_SEED=%llu\n", (unsigned long long)seed);
	}
	return seed;
}

uint64_t shim_random(void)
{
	shim_seed();
	uint64_t z = (random_state += 0x9e3779b97f4a7c15); // splitmix64
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint64_t shim_random_below(uint64_t limit)
{
	return shim_random() % limit;
}

WEAK uint64_t cpu_random(void)
{
	return shim_random();
}

extern const struct kstat shim_kstats_start[] __asm__("__start_kstats") WEAK;
extern const struct kstat shim_kstats_stop[] __asm__("__stop_kstats") WEAK;
WEAK uint64_t kstat_get(const char *name, const char *labels)
{
	for (const struct kstat *row = shim_kstats_start; row < shim_kstats_stop; row++)
		if (!strcmp(row->name, name) && !strcmp(row->labels ?: "", labels ?: ""))
			return kstat_value(row);
	PANIC("no statistic %s{%s}", name, labels ?: "");
}

WEAK void *kpages_alloc_bare(size_t bytes)
{
	return kpages_alloc_raw(bytes);
}

WEAK void kpages_free_bare(void *p, size_t bytes)
{
	kpages_free(p, bytes);
}

// The shim's pools give no pages back, and nobody asks for theirs but who prints them.
WEAK uint64_t pool_frames(void)
{
	return 0;
}

WEAK uint64_t pool_frames_given(void)
{
	return 0;
}
