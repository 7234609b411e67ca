// SPDX-License-Identifier: BSD-2-Clause
// The border from the kernel's side: with a program's page before it, the kernel can neither read nor write nor run
// it by accident where the processor has SMAP and SMEP, and what is data is never run.
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/ktest.h"
#include "kernel/pmm.h"
#include "kernel/process.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/uspace.h"
#include "kernel/vmm.h"
#include "kernel/vmm_private.h"
#include "tests/guest/isolation.h"

#define HELD 0x30000000UL

static void read_it(void *at)
{
	(void)*(volatile uint8_t *)at;
}
static void write_it(void *at)
{
	*(volatile uint8_t *)at = 0xc3;
}
static void run_it(void *at)
{
	((void (*)(void))(uintptr_t)at)();
}

// With the program's tables, interrupts off.
static bool panics_there(const struct uspace *space, void (*fn)(void *))
{
	bool on = irq_save(), panicked;
	uint64_t own = read_cr3();

	write_cr3(virt_to_phys(space->root));
	panicked = ktest_panics(fn, (void *)HELD);
	write_cr3(own);
	irq_restore(on);
	return panicked;
}

static bool is_there(struct uspace *space)
{
	uint64_t *entry;
	bool present;

	mutex_lock(&space->lock);
	entry = uspace_entry(space, HELD, false);
	present = entry && *entry & PTE_PRESENT;
	mutex_unlock(&space->lock);
	return present;
}

KTEST("isolation", border, "the-kernel-cannot-touch-a-program-by-accident")
{
	int pid = isolate_start("hold", HELD);
	struct process *p = pid < 0 ? NULL : process_find(pid);

	if (!p)
		return;
	while (!is_there(p->space))
		thread_sleep_ns(NS_PER_MS);
	EXPECT_EQ(!!(read_cr4() & BIT(21)), cpu_has.smap);
	EXPECT_EQ(!!(read_cr4() & BIT(20)), cpu_has.smep);
	EXPECT_EQ(panics_there(p->space, read_it), cpu_has.smap);
	EXPECT_EQ(panics_there(p->space, write_it), cpu_has.smap);
	EXPECT_EQ(panics_there(p->space, run_it), cpu_has.smep);
	ktest_note("SMAP %s, SMEP %s", cpu_has.smap ? "on" : "not there",
		   cpu_has.smep ? "on" : "not there");
	process_put(p);
	isolate_stop(pid);
}

KTEST("isolation", data, "the-kernel-runs-no-data")
{
	static uint8_t ret = 0xc3;
	uint8_t *direct = kpages_alloc(PAGE_SIZE), on_stack = 0xc3;

	EXPECT(cpu_has.nx && direct);
	if (!cpu_has.nx || !direct)
		return;
	EXPECT(rdmsr(MSR_EFER) & BIT(11));
	direct[0] = 0xc3;
	EXPECT(ktest_panics(run_it, &ret));
	EXPECT(ktest_panics(run_it, direct));
	EXPECT(ktest_panics(run_it, &on_stack));
	EXPECT(ktest_panics(write_it, (void *)(uintptr_t)run_it));
	kpages_free(direct, PAGE_SIZE);
}
