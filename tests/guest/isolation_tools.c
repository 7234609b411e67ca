// SPDX-License-Identifier: BSD-2-Clause
// Runs programs and judges what they left of the kernel (tests/guest/isolation.h): sums of code, constants and
// descriptor tables, control registers, a page of the direct map, and counts of what programs have.
#include "tests/guest/isolation.h"
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/crc32.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/process.h"
#include "kernel/thread.h"
#include "kernel/timer.h"

#define STEP NS_PER_MS // between two looks; nothing is decided by how many

extern char text_start[], text_end[], rodata_start[], rodata_end[];

// What no program may change.
struct kernel_sums {
	uint32_t text, rodata, idt, gdt;
	uint64_t cr0, cr3, cr4, efer, lstar, star, fmask, gs;
	uint64_t frames, processes;
};

struct table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static uint32_t sum(const void *from, uint64_t bytes)
{
	return crc32(0, from, (size_t)bytes);
}

static struct kernel_sums look(void)
{
	struct table_register idtr, gdtr;
	struct kernel_sums k;

	__asm__ volatile("sidt %0" : "=m"(idtr));
	__asm__ volatile("sgdt %0" : "=m"(gdtr));
	memset(&k, 0, sizeof(k));
	k.text = sum(text_start, (uint64_t)(text_end - text_start));
	k.rodata = sum(rodata_start, (uint64_t)(rodata_end - rodata_start));
	k.idt = sum((const void *)idtr.base, idtr.limit + 1UL);
	k.gdt = sum((const void *)gdtr.base, gdtr.limit + 1UL);
	__asm__ volatile("movq %%cr0, %0" : "=r"(k.cr0));
	k.cr0 &= ~BIT(3); // TS
	k.cr3 = read_cr3();
	k.cr4 = read_cr4();
	k.efer = rdmsr(MSR_EFER);
	k.lstar = rdmsr(MSR_LSTAR);
	k.star = rdmsr(MSR_STAR);
	k.fmask = rdmsr(MSR_FMASK);
	k.gs = rdmsr(MSR_GS_BASE);
	k.frames = kstat_get("pagewire_user_frames", NULL);
	k.processes = process_count();
	return k;
}

struct running {
	volatile bool ended;
	volatile int status;
};

static void ended(struct process *p, void *ctx)
{
	struct running *r = ctx;

	r->status = p->exit_status;
	r->ended = true;
}

static int start(struct running *r, const char *what, const char *first, const char *second)
{
	const char *argv[] = {"isolate", what, first, first ? second : NULL, NULL};
	const char *envp[] = {"PATH=/bin", NULL};
	struct process_start how = {.path = "/bin/isolate",
				    .argv = argv,
				    .envp = envp,
				    .directory = "/",
				    .ended = r ? ended : NULL,
				    .ctx = r};
	int pid = process_start(&how);

	if (pid == -ENOENT)
		ktest_skip("no program /bin/isolate");
	else if (pid < 0)
		ktest_fail(__FILE__, __LINE__, "isolate %s: error %d", what, -pid);
	return pid < 0 ? -1 : pid;
}

static void kill_it(const struct process *p, void *ctx)
{
	if (p->state != PROCESS_ZOMBIE)
		signal_process_locked((struct process *)(uintptr_t)p, SIGKILL, NULL);
}

int isolate_run(const char *what, const char *first, const char *second)
{
	struct kernel_sums before = look(), after;
	struct running r = {0};

	if (start(&r, what, first, second) < 0)
		return -1;
	while (!r.ended)
		thread_sleep_ns(STEP);
	if (r.status) // what it started and did not end
		process_each(kill_it, NULL);
	while (process_count() != before.processes ||
	       kstat_get("pagewire_user_frames", NULL) != before.frames)
		thread_sleep_ns(STEP);
	after = look();
	if (memcmp(&before, &after, sizeof(before)))
		ktest_fail(__FILE__, __LINE__, "isolate %s %s %s changed the kernel", what,
			   first ? first : "", second ? second : "");
	return r.status;
}

int isolate_run_number(const char *what, uint64_t number, uint64_t second)
{
	char text[2][24];

	ksnprintf(text[0], sizeof(text[0]), "%lu", (unsigned long)number);
	ksnprintf(text[1], sizeof(text[1]), "0x%lx", (unsigned long)second);
	return isolate_run(what, text[0], text[1]);
}

bool isolate_ends_by(int signal, const char *what, const char *first, const char *second)
{
	int status = isolate_run(what, first, second);

	if (status < 0)
		return false;
	if ((status & 0x7f) != signal)
		ktest_fail(__FILE__, __LINE__, "isolate %s %s %s: status 0x%x, not signal %d", what,
			   first ? first : "", second ? second : "", status, signal);
	return true;
}

int isolate_start(const char *what, uint64_t number)
{
	char text[24];

	ksnprintf(text, sizeof(text), "%lu", (unsigned long)number);
	return start(NULL, what, text, NULL);
}

void isolate_stop(int pid)
{
	struct process *p = process_find(pid);

	if (p) {
		signal_process(p, SIGKILL, NULL);
		process_put(p);
	}
	while (process_count())
		thread_sleep_ns(STEP);
}
