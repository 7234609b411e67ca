// SPDX-License-Identifier: BSD-2-Clause
// Mappings and frames on the running machine: hidden pages, windows, stacks with their guards, device
// mappings, junk; and the interrupt controllers' guard against lines that nobody claims.
#include "tests/guest/sched_tools.h"
#include "kernel/cpu.h"
#include "kernel/io.h"
#include "kernel/irq.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/pmm.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"

static void touch(void *arg)
{
	*(volatile uint8_t *)arg = 1;
}
static void free_page(void *arg)
{
	pmm_free(arg, 0);
}

static void expect_words(const char *words)
{
	if (!strstr(ktest_panic_text(), words))
		ktest_fail(__FILE__, __LINE__, "\"%s\" lacks \"%s\"", ktest_panic_text(), words);
}

KTEST("memory", hidden, "a-hidden-page-faults-and-comes-back-with-its-bytes")
{
	struct page *page;
	uint8_t *p;

	if (!vmm_cache_unmapped()) {
		ktest_skip("without cache=unmapped nothing is hidden");
		return;
	}
	page = pmm_alloc(0);
	p = page_virt(page);
	memset(p, 0x5a, PAGE_SIZE);
	vmm_hide(page);
	EXPECT(ktest_panics(touch, p + 100));
	expect_words("a hidden page of the cache");
	EXPECT(ktest_panics(free_page, page));
	expect_words("hidden");
	p = vmm_window_open(page);
	EXPECT(p != page_virt(page) && p[100] == 0x5a);
	p[100] = 0xa5;
	vmm_window_close(page);
	EXPECT(ktest_panics(touch, p));
	vmm_show(page);
	p = page_virt(page);
	EXPECT(p[100] == 0xa5 && p[99] == 0x5a);
	pmm_free(page, 0);
}

KTEST("memory", stacks, "stacks-are-guarded-and-give-their-frames-back")
{
	enum { STACKS = 20, BYTES = 16384 };
	uint8_t *stacks[STACKS];
	uint64_t before;

	vmm_stack_free(vmm_stack_alloc(BYTES), BYTES); // the tables that are made now stay
	before = frames_but_used();
	for (unsigned i = 0; i < STACKS; i++) {
		stacks[i] = vmm_stack_alloc(BYTES);
		EXPECT(stacks[i]);
		memset(stacks[i], (int)i, BYTES);
	}
	EXPECT(frames_but_used() <= before - STACKS * BYTES / PAGE_SIZE);
	EXPECT(ktest_panics(touch, stacks[3] - 1));
	expect_words("stack overflow");
	EXPECT(vmm_is_guard((uintptr_t)stacks[3] - 1) && !vmm_is_guard((uintptr_t)stacks[3]));
	for (unsigned i = 0; i < STACKS; i++) {
		EXPECT(stacks[i][0] == i && stacks[i][BYTES - 1] == i);
		vmm_stack_free(stacks[i], BYTES);
	}
	EXPECT(frames_but_used() >= before - 1); // a table more may be in use
	EXPECT(ktest_panics(touch, stacks[3]));
}

KTEST("memory", mapping, "device-memory-is-mapped-where-asked-and-unmapped")
{
	// The I/O APIC's window: the register 0 of its index reads back what was written.
	volatile uint8_t *regs = vmm_map_io(0xfec00004, 4), *large;

	EXPECT(regs && ((uintptr_t)regs & (PAGE_SIZE - 1)) == 4);
	vmm_unmap((void *)regs, 4);
	EXPECT(ktest_panics(touch, (void *)regs));
	large = vmm_map_phys(0xfd123000, 5UL << 20, true);
	EXPECT(large && ((uintptr_t)large & 0x1fffff) == 0x123000);
	vmm_unmap((void *)large, 5UL << 20);
	EXPECT(!vmm_readable((uintptr_t)large) && !vmm_readable((uintptr_t)large + (4 << 20)));
	EXPECT(!vmm_map_io(0x1000, 0));
	EXPECT(!vmm_map_io(0x100000000, 8UL << 30)); // more than there are addresses for
}

KTEST("memory", junk, "frames-are-filled-with-junk-when-handed-out-and-freed")
{
	struct page *page = pmm_alloc(1);
	uint8_t *p = page_virt(page);

	EXPECT(p[0] == PAGE_JUNK && p[2 * PAGE_SIZE - 1] == PAGE_JUNK);
	memset(p, 0, 2 * PAGE_SIZE);
	pmm_free(page, 1);
	EXPECT(p[0] == PAGE_JUNK && p[2 * PAGE_SIZE - 1] == PAGE_JUNK);
}

static void physical_address(void *arg)
{
	(void)virt_to_phys(arg);
}

KTEST("memory", no_address, "memory-without-a-fixed-physical-address-is-refused-for-devices")
{
	uint8_t on_the_stack;

	EXPECT(ktest_panics(physical_address, &on_the_stack));
	expect_words("not to be given to a device");
}

// ---- interrupts ----

static volatile uint64_t calls[2]; // of the two handlers of the line
static volatile bool claims;	   // whether the second one does
static bool nobody(void *arg)
{
	calls[0]++;
	return false;
}
static bool somebody(void *arg)
{
	calls[1]++;
	return claims;
}

// Counter 0 of the PIT, square wave; 0: stopped (mode 0, never loaded).
static void pit(uint16_t divisor)
{
	outb(0x43, divisor ? 0x34 : 0x30);
	if (divisor) {
		outb(0x40, (uint8_t)divisor);
		outb(0x40, (uint8_t)(divisor >> 8));
	}
}

KTEST("irq", shared, "a-shared-line-asks-both-and-is-masked-when-nobody-claims")
{
	uint64_t storms = kstat_get("pagewire_irq_storms_total", NULL), end, seen;

	EXPECT_EQ(irq_attach_line(0, false, false, nobody, NULL, "nobody"), 0);
	EXPECT_EQ(irq_attach_line(0, false, false, somebody, NULL, "somebody"), 0);
	claims = true;
	pit(24); // 50 kHz
	end = clock_ns() + 300 * NS_PER_SEC;
	while (calls[1] < 12000 && clock_ns() < end)
		thread_sleep_ns(NS_PER_MS);
	EXPECT(calls[1] >= 12000);
	EXPECT(calls[0] >= calls[1]);
	EXPECT_EQ(kstat_get("pagewire_irq_storms_total", NULL), storms);
	claims = false;
	while (kstat_get("pagewire_irq_storms_total", NULL) == storms && clock_ns() < end)
		thread_sleep_ns(NS_PER_MS);
	EXPECT_EQ(kstat_get("pagewire_irq_storms_total", NULL), storms + 1);
	seen = calls[0];
	thread_sleep_ns(20 * NS_PER_MS);
	EXPECT_EQ(calls[0], seen);
	pit(0);
}

KTEST("irq", unexpected, "an-interrupt-without-a-handler-is-counted")
{
	uint64_t before = kstat_get("pagewire_irq_unexpected_total", NULL);

	irq_raise_self(0xd7);
	thread_sleep_ns(NS_PER_MS);
	EXPECT_EQ(kstat_get("pagewire_irq_unexpected_total", NULL), before + 1);
}
