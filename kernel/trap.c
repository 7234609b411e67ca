// SPDX-License-Identifier: BSD-2-Clause
// The interrupt descriptor table and the processor's exceptions. Those of programs become signals
// (kernel/syscall.c). The kernel makes none on purpose but for copies from and to programs, so each one is a
// panic that says what happened in words: which access, to what kind of address.
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/process.h"
#include "kernel/thread.h"
#include "kernel/trap.h"
#include "kernel/usercopy.h"
#include "kernel/vmm.h"

extern char trap_stubs[], irq_stubs[]; // trap.asm, 16 bytes each

// SDM 3A figure 6-8: present, ring 0, interrupt gate (interrupts off). A program may ask for what GATE_USER says.
#define GATE_LOW(address)                                                                          \
	(((address)&0xffff) | (uint64_t)SELECTOR_CODE << 16 | 0x8eUL << 40 |                       \
	 ((address)&0xffff0000) << 32)
#define GATE_IST(n) ((uint64_t)(n) << 32)
#define GATE_USER   (3UL << 45)
struct gate {
	uint64_t low, high; // high: the upper half of the address
};
static struct gate idt[256];

enum {
	VECTOR_BREAKPOINT = 3,
	VECTOR_NMI = 2,
	VECTOR_DOUBLE_FAULT = 8,
	VECTOR_PAGE_FAULT = 14,
	VECTOR_MACHINE_CHECK = 18
};
enum {
	FAULT_PRESENT = BIT(0),
	FAULT_WRITE = BIT(1),
	FAULT_FETCH = BIT(4),
	FAULT_RESERVED = BIT(3)
};

static const char *const names[32] = {
    "divide error",
    "debug exception",
    "non-maskable interrupt",
    "breakpoint",
    "overflow",
    "bound range exceeded",
    "invalid opcode",
    "device not available",
    "double fault",
    "coprocessor segment overrun",
    "invalid TSS",
    "segment not present",
    "stack-segment fault",
    "general protection fault",
    "page fault",
    "vector 15",
    "x87 error",
    "alignment check",
    "machine check",
    "SIMD exception",
    "virtualization exception",
    "control protection exception",
};

// Of the vectors from `first` up to `end`, whose stubs lie behind each other.
static void set_gates(unsigned first, unsigned end, const char *stub)
{
	for (unsigned vector = first; vector < end; vector++, stub += 16) {
		uintptr_t address = (uintptr_t)stub;

		idt[vector] = (struct gate){GATE_LOW(address), address >> 32};
	}
}

void trap_init(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = {sizeof(idt) - 1, (uintptr_t)idt};

	set_gates(0, 32, trap_stubs);
	set_gates(32, 256, irq_stubs);
	idt[VECTOR_BREAKPOINT].low |= GATE_USER;
	idt[VECTOR_DOUBLE_FAULT].low |= GATE_IST(IST_DOUBLE_FAULT + 1);
	idt[VECTOR_NMI].low |= GATE_IST(IST_NMI + 1);
	idt[VECTOR_MACHINE_CHECK].low |= GATE_IST(IST_MACHINE_CHECK + 1);
	__asm__ volatile("lidt %0" ::"m"(idtr));
}

static const char *thread_text(void)
{
	return this_cpu()->current ? thread_name() : "boot";
}

// A frame that does not fit above the guard page faults, and the fault cannot be pushed either: the
// processor makes it a double fault, with the address still in CR2.
static void double_fault(const struct trap_frame *frame)
{
	uintptr_t address = read_cr2();

	if (vmm_is_guard(address) || vmm_is_guard(frame->rsp))
		panic_trap(frame, "stack overflow of thread %s (address 0x%lx)", thread_text(),
			   address);
	panic_trap(frame, "double fault");
}

// SDM 3B 16.3.2: the first bank that has something valid to say; firmware has switched the banks on.
static void machine_check(const struct trap_frame *frame)
{
	unsigned banks = cpu_has.machine_check ? rdmsr(MSR_MCG_CAP) & 0xff : 0;
	const uint64_t valid = BIT(63), has_address = BIT(58);

	for (unsigned bank = 0; bank < banks; bank++) {
		uint64_t status = rdmsr(MSR_MC0_STATUS + 4 * bank);

		if (status & valid)
			panic_trap(frame, "machine check: bank %u, status 0x%lx, address 0x%lx",
				   bank, status,
				   status & has_address ? rdmsr(MSR_MC0_STATUS + 4 * bank + 1) : 0);
	}
	panic_trap(frame, "machine check");
}

static void page_fault(struct trap_frame *frame)
{
	uintptr_t address = read_cr2();
	const char *access = frame->error & FAULT_FETCH	  ? "execution"
			     : frame->error & FAULT_WRITE ? "write"
							  : "read";

	if (user_copy_fault(frame, address))
		return;
	if (vmm_is_guard(address))
		panic_trap(frame, "stack overflow of thread %s (%s of 0x%lx)", thread_text(),
			   access, address);
	if (address < PAGE_SIZE)
		panic_trap(frame, "page fault: %s through a null pointer (0x%lx)", access, address);
	panic_trap(frame, "page fault: %s of 0x%lx: %s", access, address,
		   frame->error & FAULT_RESERVED  ? "page tables are corrupt"
		   : frame->error & FAULT_PRESENT ? "not allowed there"
						  : vmm_describe(address));
}

void trap_handle(struct trap_frame *frame);
void trap_handle(struct trap_frame *frame)
{
	bool of_machine = frame->vector == VECTOR_NMI || frame->vector == VECTOR_DOUBLE_FAULT ||
			  frame->vector == VECTOR_MACHINE_CHECK;

	// What is the machine's is no program's signal, and its stack (IST) none to go back to ring 3 from.
	if (frame->cs & 3 && !of_machine) {
		process_trap(frame);
		return;
	}
	if (frame->vector == VECTOR_PAGE_FAULT) {
		page_fault(frame);
		return;
	}
	if (frame->vector == VECTOR_DOUBLE_FAULT)
		double_fault(frame);
	if (frame->vector == VECTOR_MACHINE_CHECK)
		machine_check(frame);
	panic_trap(frame, "%s (error code 0x%lx)",
		   frame->vector < 32 && names[frame->vector] ? names[frame->vector] : "exception",
		   frame->error);
}
