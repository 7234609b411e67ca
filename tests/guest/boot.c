// SPDX-License-Identifier: BSD-2-Clause
// What the page tables allow and what a fault says: each forbidden access is made, and must end in a
// panic with the right words. The tables themselves are walked for pages that are both writable and
// executable.
#include "kernel/acpi.h"
#include "kernel/boot.h"
#include "kernel/cpu_private.h"
#include "kernel/debug.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/vmm.h"

extern char text_start[], rodata_start[], image_phys_start[];

static void write_byte(void *arg)
{
	*(volatile uint8_t *)arg = 0x90;
}
static void read_byte(void *arg)
{
	(void)*(volatile uint8_t *)arg;
}
static void call(void *arg)
{
	((void (*)(void))arg)();
}

static void expect_fault(void (*fn)(void *), void *arg, const char *words)
{
	EXPECT(ktest_panics(fn, arg));
	if (!strstr(ktest_panic_text(), words))
		ktest_fail(__FILE__, __LINE__, "\"%s\" lacks \"%s\"", ktest_panic_text(), words);
}

KTEST("boot", write_text, "write-to-text-faults")
{
	expect_fault(write_byte, text_start, "write of 0xffffffff8");
	expect_fault(write_byte, text_start, "not allowed there");
}

KTEST("boot", write_rodata, "write-to-read-only-data-faults")
{
	expect_fault(write_byte, rodata_start, "not allowed there");
}

KTEST("boot", image_twice, "the-kernel-image-has-no-second-address")
{
	void *again = phys_to_virt((paddr_t)image_phys_start);

	expect_fault(read_byte, again, "no RAM of ours");
	expect_fault(write_byte, again, "no RAM of ours");
	expect_fault(read_byte, image_phys_start, "read of 0x100000");
}

KTEST("boot", execute_data, "execution-of-data-and-stack-faults")
{
	static uint8_t data[16] = {0xc3};
	uint8_t stack[16] = {0xc3};

	if (!cpu_has.nx) {
		ktest_skip("the processor has no NX");
		return;
	}
	expect_fault(call, data, "execution of 0xffffffff8");
	expect_fault(call, stack, "execution of 0xffffc");
	expect_fault(call, rodata_start, "execution of 0xffffffff8");
}

KTEST("boot", execute_direct, "execution-of-the-direct-map-faults")
{
	struct page *page = pmm_alloc(0);

	EXPECT(page);
	if (!page)
		return;
	if (cpu_has.nx) {
		memset(page_virt(page), 0xc3, PAGE_SIZE);
		expect_fault(call, page_virt(page), "execution of 0xffff8");
	}
	pmm_free(page, 0);
}

KTEST("boot", null, "access-through-null-names-a-null-pointer")
{
	expect_fault(read_byte, (void *)8, "read through a null pointer (0x8)");
	expect_fault(write_byte, NULL, "write through a null pointer");
	expect_fault(call, NULL, "execution through a null pointer");
	expect_fault(read_byte, (void *)0x800000000000, "general protection fault");
}

// Each level of the recursion takes a good part of a page, so that the guard page is not jumped over.
static __attribute__((noinline)) unsigned recurse(volatile unsigned *depth)
{
	volatile uint8_t frame[600];

	frame[0] = (uint8_t)*depth;
	if (++*depth > 1000000)
		return 0;
	return recurse(depth) + frame[0];
}
static void overflow(void *arg)
{
	recurse(arg);
}

KTEST("boot", stack_overflow, "a-stack-overflow-names-the-thread")
{
	volatile unsigned depth = 0;

	expect_fault(overflow, (void *)&depth, "stack overflow of thread ktest");
	EXPECT(depth > 10);
	depth = 0; // the double fault's stack is whole again
	expect_fault(overflow, (void *)&depth, "stack overflow of thread ktest");
}

static void push_nowhere(void *arg)
{
	__asm__ volatile("movq %0, %%rsp; pushq $0" ::"r"(arg) : "memory");
	__builtin_unreachable();
}

KTEST("boot", double_fault, "a-fault-without-a-stack-is-a-double-fault-on-its-own-stack")
{
	expect_fault(push_nowhere, (void *)0xffffe00000001000, "double fault");
}

// Overruns its array just as far as the guard that the compiler put behind it.
static __attribute__((noinline)) void overrun(void *arg)
{
	volatile uint8_t array[16];
	volatile uintptr_t *word = (volatile uintptr_t *)array;

	array[0] = *(uint8_t *)arg;
	while (*word != __stack_chk_guard)
		word++;
	*word ^= 0x4100;
}

KTEST("boot", overrun, "an-overrun-of-the-stack-frame-is-noticed")
{
	uint8_t byte = 1;

	expect_fault(overrun, &byte, "overwritten");
}

static void invalid_opcode(void *arg)
{
	__asm__ volatile("ud2");
}
static void divide(void *arg)
{
	__asm__ volatile("xorl %%edx, %%edx; divl %0" ::"r"(0) : "eax", "edx");
}

KTEST("boot", exceptions, "exceptions-have-names")
{
	expect_fault(invalid_opcode, NULL, "invalid opcode");
	expect_fault(divide, NULL, "divide error");
}

static void fail_an_assertion(void *arg)
{
	ASSERT(arg == NULL);
}

KTEST("boot", assertion, "a-failed-assertion-shows-its-condition")
{
	EXPECT(!ktest_panics(fail_an_assertion, NULL));
	expect_fault(fail_an_assertion, "", "assertion failed: arg == NULL");
}

KTEST("boot", symbols, "addresses-have-function-file-and-line")
{
	char place[160];

	debug_place((uintptr_t)pmm_alloc, place, sizeof(place));
	EXPECT(!strncmp(place, "pmm_alloc+0x0 (pmm.c:", 21));
	debug_place((uintptr_t)pmm_free + 1, place, sizeof(place));
	EXPECT(!strncmp(place, "pmm_free+0x1 (pmm.c:", 20));
	debug_place(0x1234, place, sizeof(place));
	EXPECT(!strcmp(place, "0x1234"));
}

// ---- the tables ----

#define PRESENT	 BIT(0)
#define WRITABLE BIT(1)
#define LARGE	 BIT(7)
#define NX	 BIT(63)
#define FRAME	 0x000ffffffffff000UL

static unsigned long pages_seen, wrong;

static void walk(paddr_t table, int level, bool writable, bool nx)
{
	const uint64_t *entries = phys_to_virt(table & FRAME);

	for (unsigned i = 0; i < 512; i++) {
		uint64_t e = entries[i];
		bool w = writable && e & WRITABLE, x = nx || e & NX;

		if (!(e & PRESENT))
			continue;
		if (level && !(e & LARGE)) {
			walk(e, level - 1, w, x);
			continue;
		}
		pages_seen++;
		wrong += w && !x;
	}
}

KTEST("boot", write_xor_execute, "no-page-is-writable-and-executable")
{
	pages_seen = wrong = 0;
	if (cpu_has.nx) {
		walk(read_cr3(), 3, true, false);
		EXPECT(pages_seen > 50);
		EXPECT_EQ(wrong, 0);
	} else {
		ktest_skip("the processor has no NX");
	}
}

KTEST("boot", lower_half, "the-boot-identity-map-is-gone")
{
	const uint64_t *root = phys_to_virt(read_cr3() & FRAME);

	for (unsigned i = 0; i < 256; i++)
		EXPECT_EQ(root[i], 0);
}

KTEST("boot", protections, "protections-of-the-processor-are-on")
{
	uint64_t cr0;

	__asm__ volatile("movq %%cr0, %0" : "=r"(cr0));
	EXPECT(cr0 & BIT(16));
	EXPECT(!cpu_has.smep || read_cr4() & BIT(20));
	EXPECT(!cpu_has.smap || read_cr4() & BIT(21));
	EXPECT(!cpu_has.umip || read_cr4() & BIT(11));
	EXPECT(!cpu_has.nx || rdmsr(0xc0000080) & BIT(11));
	EXPECT(__stack_chk_guard && !(__stack_chk_guard & 0xff));
}

KTEST("boot", unaddressable, "what-the-processor-cannot-address-is-not-mapped")
{
	paddr_t end = BIT(cpu_has.address_bits);

	EXPECT(cpu_has.address_bits >= 36);
	EXPECT(!vmm_map_phys(end, 1, false));
	EXPECT(!vmm_map_phys(end - 1, 2, false));
	EXPECT(!vmm_map_io(BIT(63), PAGE_SIZE));
	EXPECT(!vmm_map_io(UINT64_MAX - 0x7ff, 0x400));
}

KTEST("boot", acpi, "acpi-tables-are-found-and-whole")
{
	const struct acpi_header *madt = acpi_find("APIC");

	EXPECT(madt && !memcmp(madt->signature, "APIC", 4) && madt->length > 44);
	EXPECT(acpi_find("FACP"));
	EXPECT(!acpi_find("NONE"));
}
