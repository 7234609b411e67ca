// SPDX-License-Identifier: BSD-2-Clause
// Programs that try what they may not: each ends itself only, as Linux would end it, and the kernel is what it was.
// They are /bin/isolate of the served volume (tests/e2e/test_isolation.py makes it); without it the suite is skipped.
#include "tests/guest/isolation.h"
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/page.h"
#include "kernel/pmm.h"
#include "kernel/process.h"
#include "kernel/signal.h"
#include "kernel/syscall.h"
#include "kernel/vmm.h"
#include "kernel/vmm_private.h"
#include "kernel/wtd.h"

#define APIC_PHYS    0xfee00000UL
#define CALLS_MOST   512 // numbers of the table are below
#define PATTERN	     0xa5
#define SWARM_LIVES  1500
#define SWARM_ROUNDS 2

// Its address, read as a set of signals, must not keep SIGALRM away (tests/programs/isolate_calls.c): bit 13 is clear.
static _Alignas(0x4000) uint64_t kernel_data = 0x123456789abcdef0;
static const uint64_t kernel_constant = 0x0fedcba987654321;

// Reads, writes, locked writes and calls; none may come back.
static bool try_address(const char *name, uintptr_t address)
{
	static const char *const how[] = {"read", "write", "atomic", "call"};
	char text[24];

	ksnprintf(text, sizeof(text), "0x%lx", (unsigned long)address);
	for (unsigned n = 0; n < 4; n++)
		if (!isolate_ends_by(SIGSEGV, "touch", how[n], text))
			return false;
	ktest_note("%s at %s: refused", name, text);
	return true;
}

KTEST("isolation", memory, "memory-of-the-kernel-is-not-read-written-or-run")
{
	uint8_t *direct = kpages_alloc(PAGE_SIZE);
	void *registers = vmm_map_io(APIC_PHYS, PAGE_SIZE);
	struct table {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr, gdtr;
	int on_stack = 7;

	EXPECT(direct && registers);
	if (!direct || !registers)
		return;
	__asm__ volatile("sidt %0" : "=m"(idtr));
	__asm__ volatile("sgdt %0" : "=m"(gdtr));
	memset(direct, PATTERN, PAGE_SIZE);
	kernel_data++;
	if (try_address("text", (uintptr_t)process_start)) {
		try_address("constants", (uintptr_t)&kernel_constant);
		try_address("data", (uintptr_t)&kernel_data);
		try_address("a kernel stack", (uintptr_t)&on_stack);
		try_address("the direct map", (uintptr_t)direct);
		try_address("the window of cache pages", AREA_BASE);
		try_address("the top page table", (uintptr_t)vmm_root());
		try_address("the IDT", (uintptr_t)idtr.base);
		try_address("the GDT", (uintptr_t)gdtr.base);
		try_address("the processor's block", (uintptr_t)this_cpu());
		try_address("registers of a device", (uintptr_t)registers);
		try_address("no canonical address", 0x800000000000);
		try_address("the last byte", ~0UL);
		try_address("null", 0);
		isolate_ends_by(SIGSEGV, "vdso", NULL, NULL);
	}
	for (unsigned n = 0; n < PAGE_SIZE; n++)
		if (direct[n] != PATTERN) {
			ktest_fail(__FILE__, __LINE__, "byte %u of the direct map was written", n);
			break;
		}
	EXPECT_EQ(on_stack, 7);
	kpages_free(direct, PAGE_SIZE);
	vmm_unmap(registers, PAGE_SIZE);
}

KTEST("isolation", instructions, "instructions-of-the-kernel-end-the-program")
{
	unsigned count = 0;

	for (;; count++) {
		int status = isolate_run_number("forbidden", count, 0);

		if (status < 0)
			return;
		if (status == 64 << 8)
			break;
		if (status != SIGSEGV && status != SIGILL)
			ktest_fail(__FILE__, __LINE__, "instruction %u: status 0x%x", count,
				   (unsigned)status);
	}
	EXPECT(count >= 38);
	ktest_note("%u instructions were refused", count);
}

KTEST("isolation", stacks, "a-stack-that-is-none-ends-the-program-or-is-not-needed")
{
	unsigned count = 0;

	if (!isolate_ends_by(SIGSEGV, "overflow", NULL, NULL))
		return;
	EXPECT_EQ(isolate_run("stacks", NULL, NULL), 0);
	for (;; count++) {
		int status = isolate_run_number("fault", count, 0);

		if (status == 64 << 8)
			break;
		EXPECT_EQ(status, SIGSEGV);
	}
	EXPECT_EQ(count, 36);
}

// ---- flags ----

static uint64_t flags_seen; // or-ed
static uint64_t looks;

static void look_at_flags(struct wtd *work)
{
	uint64_t flags;

	__asm__ volatile("pushfq\n popq %0" : "=r"(flags));
	flags_seen |= flags;
	looks++;
	wtd_post_after(work, WTD_FAST, 100000);
}

KTEST("isolation", flags, "flags-of-a-program-are-not-the-kernels")
{
	struct wtd work = WTD_INIT(look_at_flags, "test-flags");
	int status;

	flags_seen = looks = 0;
	wtd_post_fast(&work);
	do
		status = isolate_run("flags", NULL, NULL);
	while (!status && looks < 20);
	wtd_cancel(&work);
	if (status < 0)
		return;
	EXPECT_EQ(status, 0);
	EXPECT_EQ(flags_seen & (BIT(8) | BIT(10) | BIT(14)), 0); // TF DF NT
	if (cpu_has.smap)					 // AC means nothing else in ring 0
		EXPECT_EQ(flags_seen & BIT(18), 0);
	EXPECT_EQ(isolate_run("steps", NULL, NULL), 0);
}

// ---- calls ----

KTEST("isolation", calls, "every-call-of-the-table-with-every-argument-a-bad-pointer")
{
	static const uint32_t ends_anyhow[] = {15, 60, 231}; // rt_sigreturn, exit, exit_group
	unsigned count = 0;

	kernel_data = 0x5555;
	for (uint64_t number = 0; number < CALLS_MOST; number++) {
		bool any = false;
		int status;

		if (!syscall_find(number))
			continue;
		status = isolate_run_number("call", number, (uintptr_t)&kernel_data);
		if (status < 0)
			return;
		for (unsigned n = 0; n < sizeof(ends_anyhow) / sizeof(ends_anyhow[0]); n++)
			any |= number == ends_anyhow[n];
		if (status && !any)
			ktest_fail(__FILE__, __LINE__, "%s: status 0x%x",
				   syscall_find(number)->name, (unsigned)status);
		EXPECT_EQ(kernel_data, 0x5555);
		count++;
	}
	ktest_note("%u calls", count);
	EXPECT(count > 150);
}

// ---- what is shared ----

KTEST("isolation", memory_limit, "who-takes-all-memory-is-ended")
{
	int status = isolate_run("memory", NULL, NULL);

	if (status >= 0)
		EXPECT(status == SIGKILL || status == 0);
}

KTEST("isolation", descriptors, "descriptors-threads-and-processes-up-to-their-limits")
{
	if (isolate_run("descriptors", NULL, NULL) < 0)
		return;
	EXPECT_EQ(isolate_run("descriptors", NULL, NULL), 0);
	EXPECT_EQ(isolate_run("threads", NULL, NULL), 0);
}

// Whether the last fork is refused, or a page that it had promised cannot be had, is a matter of what goes first.
KTEST("isolation", processes, "who-makes-children-without-end-stops-at-the-limit")
{
	int status = isolate_run("processes", NULL, NULL);

	if (status >= 0)
		EXPECT(status == 0 || status == SIGKILL);
}

KTEST("isolation", signals, "a-storm-of-signals-passes")
{
	int status = isolate_run("signals", NULL, NULL);

	if (status >= 0)
		EXPECT_EQ(status, 0);
}

KTEST("isolation", swarm, "thousands-of-short-lives-leave-nothing")
{
	uint64_t seed = cpu_random() >> 1;

	ktest_note("seed %lu", (unsigned long)seed);
	for (unsigned n = 0; n < SWARM_ROUNDS; n++) {
		int status = isolate_run_number("swarm", seed + n, SWARM_LIVES);

		if (status < 0)
			return;
		EXPECT_EQ(status, 0);
	}
}
