// SPDX-License-Identifier: BSD-2-Clause
// The processor: its features, and the per-processor block that GS points at.
#pragma once

#include "kernel/base.h"

#define CPU_MAX 1 // processors that are started; per-CPU structures are arrays of this size

struct thread;
struct spinlock;

// Everything here is this processor's own: touched with interrupts off or only from itself.
struct cpu {
	struct cpu *self;	// gs:0
	uintptr_t kernel_stack; // gs:8, where SYSCALL finds a stack: the running user thread's
	uintptr_t user_sp;	// gs:16, the program's stack pointer for a moment at SYSCALL
	struct thread *current;
	uint32_t index;
	union {
		struct {
			uint32_t wtd_disabled; // > 0: fast WTDs wait (wtd_disable, spin_lock_wtd)
			uint16_t irq_depth;    // > 0: in an interrupt handler
			bool in_fast_wtd;
		};
		uint64_t busy; // any of them: what comes due waits
	};
	union {
		struct {
			bool need_switch;  // a better thread or worker is ready
			bool fast_pending; // fast WTDs are queued that may run (what
					   // wtd_pending says); not kept while one runs
		};
		uint16_t kick; // either: sched_kick has something to do
	};
	const char *fast_owner; // owner of the fast WTD that runs, for panics
	struct spinlock *locks; // innermost held
};
_Static_assert(offsetof(struct cpu, kernel_stack) == 8 && offsetof(struct cpu, user_sp) == 16,
	       "user.asm counts on it");
#ifdef PAGEWIRE_HOST
extern struct cpu host_cpu;
static inline struct cpu *this_cpu(void)
{
	return &host_cpu;
}
static inline bool irq_save(void)
{
	return false;
}
static inline void irq_off(void) {}
static inline void irq_restore(bool on)
{
	(void)on;
}
static inline void cpu_relax(void) {}
#else
extern struct cpu cpus[CPU_MAX];
static inline struct cpu *this_cpu(void)
{
	struct cpu *cpu;
	if (CPU_MAX == 1)
		return cpus; // an address that the compiler knows
	__asm__("movq %%gs:0, %0" : "=r"(cpu));
	return cpu;
}
// Interrupts off; returns whether they were on.
static inline bool irq_save(void)
{
	uint64_t flags;
	__asm__ volatile("pushfq; popq %0; cli" : "=r"(flags)::"memory");
	return flags & BIT(9);
}
static inline void irq_off(void)
{
	__asm__ volatile("cli" ::: "memory");
}
static inline void irq_restore(bool on)
{
	if (on)
		__asm__ volatile("sti" ::: "memory");
}
static inline void cpu_relax(void)
{
	__asm__ volatile("pause" ::: "memory");
}
#endif

// Names of the features found and used, for CONFIG: "nx smep smap umip tsc-deadline ...".
const char *cpu_features_text(void);
void cpu_say_weakness(void); // boot: what the processor does not keep from programs
const char *cpu_model_text(void);
// 64 random bits: RDRAND where there is one, else a mix of TSC jitter, boot time and device state
// through a hash; good enough for hash seeds and ISN secrets. Any context.
uint64_t cpu_random(void);
void cpu_init(void); // boot: GDT, TSS with IST stacks, per-CPU block, CR0/CR4/EFER bits

// Leaves QEMU through isa-debug-exit (port 0xf4): exit status is value * 2 + 1. Returns if there is
// no such device.
void cpu_debug_exit(uint8_t value);
NORETURN void cpu_stop(void);	   // interrupts off, HLT for ever
NORETURN void cpu_reset(void);	   // restart the machine
NORETURN void cpu_power_off(void); // ACPI S5 where possible, else stop
