// SPDX-License-Identifier: BSD-2-Clause
// The processor: segments, task state with the interrupt stack table, feature bits, the per-processor
// block behind GS, randomness, and the ways to leave. Contract in include/kernel/cpu.h.
#include "kernel/cpu.h"
#include "kernel/acpi.h"
#include "kernel/boot.h"
#include "kernel/cpu_private.h"
#include "kernel/io.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/serial.h"

struct tss { // Intel SDM volume 3, 8.7
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, io_map;
} __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "SDM 3A figure 8-11");

struct table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

#define EFER_SCE   BIT(0)
#define EFER_NX	   BIT(11)
#define CR4_MCE	   BIT(6) // without it a machine check resets the machine
#define CR4_PGE	   BIT(7)
#define CR4_FXSR   BIT(9) // OSFXSR and, above it, OSXMMEXCPT
#define CR4_XMMEXC BIT(10)
#define CR4_UMIP   BIT(11)
#define CR4_XSAVE  BIT(18)
#define CR4_SMEP   BIT(20)
#define CR4_SMAP   BIT(21)

void syscall_entry(void); // user.asm

struct cpu cpus[CPU_MAX];
static struct tss tss[CPU_MAX];
static uint64_t gdt[7];
static char features[160];
static char model[64];
static bool has_rdrand;
struct cpu_features cpu_has;
static uint64_t meltdown; // constant after boot
KSTAT_GAUGE(meltdown, "pagewire_cpu_meltdown",
	    "1 when programs may read the kernel's memory by speculation (CVE-2017-5754).");
uint8_t cpu_smap; // constant after boot: for registers.inc

// Interrupt stacks; the page below each is taken out of the page tables (vmm.c).
#define IST_BYTES 8192
struct guarded_stack {
	uint8_t guard[PAGE_SIZE];
	uint8_t stack[IST_BYTES];
};
static struct guarded_stack ist_stacks[IST_COUNT]
    __attribute__((section(".stacks,\"aw\",@nobits#"), aligned(PAGE_SIZE)));

void *cpu_ist_guard(unsigned n)
{
	return ist_stacks[n].guard;
}

static void add_feature(const char *name)
{
	size_t len = strlen(features);

	ksnprintf(features + len, sizeof(features) - len, "%s%s", len ? " " : "", name);
}

static void read_model(void)
{
	uint32_t brand[12] = {0};

	if (cpuid(0x80000000, 0).eax >= 0x80000004)
		for (unsigned i = 0; i < 3; i++) {
			struct cpuid r = cpuid(0x80000002 + i, 0);

			memcpy(&brand[i * 4], &r, sizeof(r));
		}
	kstrlcpy(model, (const char *)brand, 49);
}

// Whether a program may read the kernel's memory by speculation (Meltdown, CVE-2017-5754): Intel's processors that do
// not say no, but for the first Atoms, which do not speculate. Both halves are always mapped here.
static bool may_leak(uint32_t signature, uint32_t leaf7_edx)
{
	static const uint8_t in_order[] = {0x1c, 0x26, 0x27, 0x35, 0x36};
	const uint32_t family = signature >> 8 & 15, arch_capabilities = BIT(29), rdcl_no = BIT(0);
	const uint32_t number = (signature >> 12 & 0xf0) | (signature >> 4 & 15);
	struct cpuid vendor = cpuid(0, 0);

	if (vendor.ebx != 0x756e6547 || family < 6) // "Genu"
		return false;
	for (unsigned n = 0; family == 6 && n < sizeof(in_order); n++)
		if (number == in_order[n])
			return false;
	return !(leaf7_edx & arch_capabilities) || !(rdmsr(MSR_ARCH_CAPABILITIES) & rdcl_no);
}

static void detect(void)
{
	struct cpuid basic = cpuid(1, 0), ext = cpuid(0x80000001, 0), leaf7 = {0}, power = {0};

	if (cpuid(0, 0).eax >= 7)
		leaf7 = cpuid(7, 0);
	if (cpuid(0x80000000, 0).eax >= 0x80000007)
		power = cpuid(0x80000007, 0);
	cpu_has.nx = ext.edx & BIT(20);
	cpu_has.pages_1g = ext.edx & BIT(26);
	cpu_has.pge = basic.edx & BIT(13);
	cpu_has.machine_check = (basic.edx & (BIT(7) | BIT(14))) == (BIT(7) | BIT(14));
	cpu_has.pat = basic.edx & BIT(16);
	cpu_has.smep = leaf7.ebx & BIT(7);
	cpu_has.smap = leaf7.ebx & BIT(20);
	cpu_has.umip = leaf7.ecx & BIT(2);
	cpu_has.tsc_deadline = basic.ecx & BIT(24);
	cpu_has.x2apic = basic.ecx & BIT(21);
	cpu_has.invariant_tsc = power.edx & BIT(8);
	cpu_has.xsave = basic.ecx & BIT(26);
	cpu_has.avx = cpu_has.xsave && basic.ecx & BIT(28);
	cpu_has.address_bits =
	    cpuid(0x80000000, 0).eax >= 0x80000008 ? (uint8_t)cpuid(0x80000008, 0).eax : 36;
	has_rdrand = basic.ecx & BIT(30);
	cpu_has.meltdown = may_leak(basic.eax, leaf7.edx);
}

static void enable(void)
{
	uint64_t cr4 = read_cr4();

	if (cpu_has.nx) {
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NX);
		add_feature("nx");
	}
	if (cpu_has.pge)
		cr4 |= CR4_PGE;
	if (cpu_has.machine_check)
		cr4 |= CR4_MCE;
	if (cpu_has.smep) {
		cr4 |= CR4_SMEP;
		add_feature("smep");
	}
	if (cpu_has.smap) {
		cpu_smap = 1;
		cr4 |= CR4_SMAP;
		add_feature("smap");
	}
	if (cpu_has.umip) {
		cr4 |= CR4_UMIP;
		add_feature("umip");
	}
	cr4 |= CR4_FXSR | CR4_XMMEXC; // for programs: every 64-bit processor has SSE2
	if (cpu_has.xsave)
		cr4 |= CR4_XSAVE;
	write_cr4(cr4);
	if (cpu_has.pages_1g)
		add_feature("1g-pages");
	if (cpu_has.tsc_deadline)
		add_feature("tsc-deadline");
	if (cpu_has.invariant_tsc)
		add_feature("invariant-tsc");
	if (has_rdrand)
		add_feature("rdrand");
}

static void load_segments(void)
{
	struct table_register gdtr = {sizeof(gdt) - 1, (uintptr_t)gdt};
	uintptr_t base = (uintptr_t)&tss[0];

	for (unsigned i = 0; i < IST_COUNT; i++)
		tss[0].ist[i] = (uintptr_t)ist_stacks[i].stack + IST_BYTES;
	tss[0].io_map = sizeof(tss[0]);
	gdt[SELECTOR_CODE / 8] = 0x00af9b000000ffff;
	gdt[SELECTOR_DATA / 8] = 0x00cf93000000ffff;
	gdt[SELECTOR_USER_DATA / 8] = 0x00cff3000000ffff;
	gdt[SELECTOR_USER_CODE / 8] = 0x00affb000000ffff;
	gdt[SELECTOR_TSS / 8] = (sizeof(tss[0]) - 1) | (base & 0xffffff) << 16 | 0x89UL << 40 |
				(base >> 24 & 0xff) << 56;
	gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
	__asm__ volatile("lgdt %0\n"
			 "pushq %1\n"
			 "leaq 1f(%%rip), %%rax\n"
			 "pushq %%rax\n"
			 "lretq\n"
			 "1:\n"
			 "movl %2, %%eax\n"
			 "movl %%eax, %%ss\n"
			 "movl %%eax, %%ds\n"
			 "movl %%eax, %%es\n"
			 "ltr %w3\n" ::"m"(gdtr),
			 "i"(SELECTOR_CODE), "i"(SELECTOR_DATA), "r"(SELECTOR_TSS)
			 : "rax", "memory");
}

void cpu_set_kernel_stack(uintptr_t top)
{
	tss[0].rsp[0] = top;
	this_cpu()->kernel_stack = top;
}

// SYSCALL (SDM volume 3, 5.8.8): where it goes, and what RFLAGS lose on the way: interrupts, the
// direction, single steps, nested tasks and the alignment check (which is SMAP's override).
static void enable_syscall(void)
{
	const uint64_t lost = BIT(8) | BIT(9) | BIT(10) | BIT(14) | BIT(18);

	wrmsr(MSR_STAR, (uint64_t)(SELECTOR_USER_DATA - 8) << 48 | (uint64_t)SELECTOR_CODE << 32);
	wrmsr(MSR_LSTAR, (uintptr_t)syscall_entry);
	wrmsr(MSR_FMASK, lost);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
}

void cpu_init(void)
{
	load_segments();
	cpus[0].self = &cpus[0];
	wrmsr(MSR_GS_BASE, (uintptr_t)&cpus[0]);
	detect();
	enable();
	enable_syscall();
	read_model();
	trap_init();
}

void cpu_say_weakness(void)
{
	meltdown = cpu_has.meltdown;
	if (cpu_has.meltdown)
		kprintf(
		    "cpu: this processor may let a program read the kernel's memory (Meltdown): "
		    "run programs that you trust only\n");
}

const char *cpu_features_text(void)
{
	return features;
}

const char *cpu_model_text(void)
{
	return model;
}

// SplitMix64's finalizer: every input bit moves about half of the output bits.
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

uint64_t cpu_random(void)
{
	static uint64_t state;
	uint64_t value;
	bool ok;

	// Some processors' RDRAND says that all went well and gives all ones, each time: it is never the only source.
	for (unsigned tries = 0; has_rdrand && tries < 10; tries++) {
		__asm__ volatile("rdrand %0" : "=r"(value), "=@ccc"(ok));
		if (ok && value != UINT64_MAX) {
			state = mix(state ^ value);
			return mix(state ^ rdtsc());
		}
	}
	// Jitter between the TSC and the path here, the entry time, the stack guard (drawn from the
	// TSC at entry) and the PIT's counter, through a hash; the state carries over, and is begun with more.
	for (unsigned i = state ? 3 : 0; i < 4; i++) {
		outb(0x43, 0);
		state = mix(state ^ rdtsc() ^ (uint64_t)inb(0x40) << 56 ^
			    (uint64_t)inb(0x40) << 48 ^ boot_info.entry_cycles ^ __stack_chk_guard);
	}
	return mix(state + 0x9e3779b97f4a7c15);
}

void cpu_debug_exit(uint8_t value)
{
	serial_flush();
	outb(0xf4, value);
}

void cpu_stop(void)
{
	__asm__ volatile("cli");
	kprintf_flush();
	serial_flush();
	for (;;)
		__asm__ volatile("cli; hlt");
}

void cpu_reset(void)
{
	struct table_register empty = {0, 0};

	serial_flush();
	acpi_reset();
	outb(0xcf9, 0x02); // chipset: system reset, then full
	outb(0xcf9, 0x06);
	clock_wait_us(1000);
	outb(0x64, 0xfe); // keyboard controller: pulse the reset line
	clock_wait_us(1000);
	__asm__ volatile("lidt %0; int3" ::"m"(empty)); // no handler for the failure to find one
	cpu_stop();
}

void cpu_power_off(void)
{
	serial_flush();
	acpi_power_off();
	kprintf("power off: ACPI did not, switch the machine off by hand\n");
	cpu_stop();
}

// A read of port 0x80 takes about a microsecond on real hardware; it is never short.
void clock_wait_us(unsigned us)
{
	while (us--)
		inb(0x80);
}
