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

struct gate { // SDM 3A figure 6-8
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_mid;
	uint32_t offset_high, reserved;
};
_Static_assert(sizeof(struct gate) == 16, "SDM 3A figure 6-8");
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

static void set_gate(unsigned vector, const char *stub, unsigned ist)
{
	uintptr_t address = (uintptr_t)stub;

	idt[vector] = (struct gate){
	    .offset_low = (uint16_t)address,
	    .selector = SELECTOR_CODE,
	    .ist = (uint8_t)ist,
	    .type = 0x8e, // present, ring 0, interrupt gate: interrupts off
	    .offset_mid = (uint16_t)(address >> 16),
	    .offset_high = (uint32_t)(address >> 32),
	};
}

void trap_init(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = {sizeof(idt) - 1, (uintptr_t)idt};

	for (unsigned vector = 0; vector < 32; vector++)
		set_gate(vector, trap_stubs + vector * 16, 0);
	for (unsigned vector = 32; vector < 256; vector++)
		set_gate(vector, irq_stubs + (vector - 32) * 16, 0);
	idt[VECTOR_BREAKPOINT].type = 0xee; // a program may ask for it
	idt[VECTOR_DOUBLE_FAULT].ist = IST_DOUBLE_FAULT + 1;
	idt[VECTOR_NMI].ist = IST_NMI + 1;
	idt[VECTOR_MACHINE_CHECK].ist = IST_MACHINE_CHECK + 1;
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
	panic_trap(frame, "%s (error code 0x%lx)",
		   frame->vector < 32 && names[frame->vector] ? names[frame->vector] : "exception",
		   frame->error);
}
