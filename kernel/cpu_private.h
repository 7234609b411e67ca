// SPDX-License-Identifier: BSD-2-Clause
// Processor instructions and what cpu.c, trap.c, irq.c and vmm.c share.
#pragma once

#include "kernel/base.h"

#define MSR_ARCH_CAPABILITIES 0x10a
#define MSR_MCG_CAP	      0x179
#define MSR_MC0_STATUS	      0x401 // bank n: 4 n further; the address is behind it
#define MSR_EFER	      0xc0000080
#define MSR_STAR	      0xc0000081
#define MSR_LSTAR	      0xc0000082
#define MSR_FMASK	      0xc0000084
#define MSR_GS_BASE	      0xc0000101

#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_TSS  0x28
// Ring 3's, in the order that SYSRET wants (SDM volume 2, SYSRET), with its privilege level.
#define SELECTOR_USER_DATA 0x1b
#define SELECTOR_USER_CODE 0x23

// Interrupt stack table: these three never run on the stack that was interrupted.
enum { IST_DOUBLE_FAULT, IST_NMI, IST_MACHINE_CHECK, IST_COUNT };

struct cpu_features {
	bool nx, pages_1g, pge, pat, smep, smap, umip, tsc_deadline, x2apic, invariant_tsc;
	bool meltdown; // a program may read what ring 0 has mapped
	bool xsave, avx;
	bool machine_check;   // exception and banks of registers that say why (MCE, MCA)
	uint8_t address_bits; // of physical addresses
};
extern struct cpu_features cpu_has; // constant after cpu_init
extern uint8_t cpu_smap;	    // constant after cpu_init: SMAP is on (registers.inc)
extern uintptr_t __stack_chk_guard; // boot/entry.asm

void *cpu_ist_guard(unsigned n); // the page below an interrupt stack
// Interrupts off. Where the processor goes on from ring 3: interrupts, exceptions and SYSCALL.
void cpu_set_kernel_stack(uintptr_t top);
void trap_init(void);		 // the IDT
void clock_wait_us(unsigned us); // by reads of a port of about a microsecond each; any context

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};
static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid r;

	__asm__ volatile("cpuid"
			 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(subleaf));
	return r;
}
static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}
static inline void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}
static inline uint64_t rdtsc(void)
{
	uint64_t low, high; // 32 bits each, the rest is zeros

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return high << 32 | low;
}
static inline uint64_t read_cr2(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr2, %0" : "=r"(value));
	return value;
}
static inline uint64_t read_cr3(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr3, %0" : "=r"(value));
	return value;
}
static inline void write_cr3(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr3" ::"r"(value) : "memory");
}
static inline uint64_t read_cr4(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr4, %0" : "=r"(value));
	return value;
}
static inline void write_cr4(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr4" ::"r"(value) : "memory");
}
static inline void invlpg(uintptr_t address)
{
	__asm__ volatile("invlpg (%0)" ::"r"(address) : "memory");
}
