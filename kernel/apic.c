// SPDX-License-Identifier: BSD-2-Clause
// Local APIC and I/O APICs as the MADT describes them (ACPI 5.2.12). Intel SDM volume 3A chapter 11,
// 82093AA data sheet. The 8259s are moved out of the exceptions' way and masked.
#include "kernel/acpi.h"
#include "kernel/boot.h"
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/io.h"
#include "kernel/irq_private.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/lapic.h"
#include "kernel/panic.h"
#include "kernel/vmm.h"

// Local APIC registers: offset in the memory-mapped page; MSR 0x800 + offset / 16 in x2APIC mode.
enum {
	LAPIC_ID = 0x20,
	LAPIC_TPR = 0x80,
	LAPIC_SVR = 0xf0,
	LAPIC_ESR = 0x280,
	LAPIC_ICR = 0x300,
	LAPIC_ICR_HIGH = 0x310,
	LAPIC_LVT_TIMER = 0x320,
	LAPIC_LVT_LINT0 = 0x350,
	LAPIC_LVT_LINT1 = 0x360,
	LAPIC_LVT_ERROR = 0x370,
	LAPIC_INITIAL_COUNT = 0x380,
	LAPIC_CURRENT_COUNT = 0x390,
	LAPIC_DIVIDE = 0x3e0,
};
enum {
	LVT_MASKED = BIT(16),
	LVT_TSC_DEADLINE = BIT(18),
	LVT_NMI = 0x400,
	SVR_ENABLE = BIT(8),
	ICR_PENDING = BIT(12),
	ICR_SELF = BIT(18),
	DIVIDE_BY_1 = 0xb,
};
#define MSR_APIC_BASE	 0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define APIC_BASE_X2	 BIT(10)
#define APIC_BASE_ENABLE BIT(11)

struct madt {
	struct acpi_header header;
	uint32_t lapic, flags;
} __attribute__((packed));
struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} __attribute__((packed));
struct madt_override {
	uint8_t type, length, bus, source;
	uint32_t gsi;
	uint16_t flags;
} __attribute__((packed));
struct madt_lapic_address {
	uint8_t type, length;
	uint16_t reserved;
	uint64_t address;
} __attribute__((packed));
_Static_assert(sizeof(struct madt_ioapic) == 12, "ACPI 5.2.12.3");
_Static_assert(sizeof(struct madt_override) == 10, "ACPI 5.2.12.5");
enum { MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LAPIC_ADDRESS = 5 };

// I/O APIC: an index register and a data window.
enum { IOREGSEL = 0x00, IOWIN = 0x10, IOAPIC_VERSION = 1, IOAPIC_REDIRECTION = 0x10 };
enum { REDIRECTION_LOW = BIT(13), REDIRECTION_LEVEL = BIT(15), REDIRECTION_MASKED = BIT(16) };
struct ioapic {
	volatile char *regs;
	uint32_t base, count; // its lines are base .. base + count - 1
};
struct override {
	uint32_t gsi;
	uint16_t flags;
	bool set;
};
#define IOAPICS_MAX 16 // one a socket or two; the rest is named and left masked
static struct ioapic ioapics[IOAPICS_MAX];
static unsigned ioapic_count;
static struct override overrides[16]; // by ISA line
volatile char *lapic_registers;

static uint32_t lapic_read(unsigned reg)
{
	return lapic_registers ? mmio_read32(lapic_registers + reg)
			       : (uint32_t)rdmsr(0x800 + reg / 16);
}

static void lapic_write(unsigned reg, uint32_t value)
{
	if (LIKELY(lapic_registers != NULL))
		mmio_write32(lapic_registers + reg, value);
	else
		wrmsr(0x800 + reg / 16, value);
}

void lapic_clear_error(void)
{
	lapic_write(LAPIC_ESR, 0);
}

uint32_t lapic_id(void)
{
	return lapic_registers ? lapic_read(LAPIC_ID) >> 24 : lapic_read(LAPIC_ID);
}

void lapic_self_ipi(unsigned vector)
{
	if (!lapic_registers) {
		wrmsr(0x83f, vector); // SELF IPI register
		return;
	}
	while (lapic_read(LAPIC_ICR) & ICR_PENDING)
		cpu_relax();
	lapic_write(LAPIC_ICR, ICR_SELF | vector);
}

bool lapic_timer_has_deadline(void)
{
	return cpu_has.tsc_deadline;
}

// SDM 11.5.4.1: the write to the LVT must be seen before the deadline's.
void lapic_timer_deadline(uint64_t tsc)
{
	wrmsr(MSR_TSC_DEADLINE, tsc);
}

void lapic_timer_oneshot(uint32_t ticks)
{
	lapic_write(LAPIC_INITIAL_COUNT, ticks);
}

uint32_t lapic_timer_left(void)
{
	return lapic_read(LAPIC_CURRENT_COUNT);
}

void lapic_timer_stop(void)
{
	if (cpu_has.tsc_deadline)
		wrmsr(MSR_TSC_DEADLINE, 0);
	else
		lapic_write(LAPIC_INITIAL_COUNT, 0);
}

static uint32_t ioapic_read(const struct ioapic *io, unsigned reg)
{
	mmio_write32(io->regs + IOREGSEL, reg);
	return mmio_read32(io->regs + IOWIN);
}

static void ioapic_write(const struct ioapic *io, unsigned reg, uint32_t value)
{
	mmio_write32(io->regs + IOREGSEL, reg);
	mmio_write32(io->regs + IOWIN, value);
}

static const struct ioapic *ioapic_of(unsigned gsi)
{
	for (unsigned i = 0; i < ioapic_count; i++)
		if (gsi - ioapics[i].base < ioapics[i].count)
			return &ioapics[i];
	return NULL;
}

bool ioapic_has(unsigned gsi)
{
	return ioapic_of(gsi) != NULL;
}

unsigned ioapic_gsi_of_line(unsigned line, bool *level, bool *active_low)
{
	const struct override *o = line < ARRAY_SIZE(overrides) ? &overrides[line] : NULL;

	if (!o || !o->set)
		return line;
	if (o->flags & 3) // 0: as the bus has it
		*active_low = (o->flags & 3) == 3;
	if (o->flags >> 2 & 3)
		*level = (o->flags >> 2 & 3) == 3;
	return o->gsi;
}

void ioapic_route(unsigned gsi, unsigned vector, bool level, bool active_low)
{
	const struct ioapic *io = ioapic_of(gsi);
	unsigned reg = IOAPIC_REDIRECTION + 2 * (gsi - io->base);
	bool on = irq_save();

	ioapic_write(io, reg, REDIRECTION_MASKED);
	ioapic_write(io, reg + 1, lapic_id() << 24);
	ioapic_write(io, reg,
		     vector | (active_low ? REDIRECTION_LOW : 0) | (level ? REDIRECTION_LEVEL : 0));
	irq_restore(on);
}

void ioapic_mask(unsigned gsi)
{
	const struct ioapic *io = ioapic_of(gsi);
	unsigned reg = IOAPIC_REDIRECTION + 2 * (gsi - io->base);

	ioapic_write(io, reg, ioapic_read(io, reg) | REDIRECTION_MASKED);
}

static void add_ioapic(paddr_t address, uint32_t base)
{
	struct ioapic *io = &ioapics[ioapic_count];
	uint32_t version;

	if (ioapic_count == IOAPICS_MAX || !(io->regs = vmm_map_io(address, 32))) {
		kprintf("irq: the I/O APIC of lines from %u on is left out\n", base);
		return;
	}
	version = ioapic_read(io, IOAPIC_VERSION);
	if (version == UINT32_MAX) {
		kprintf("irq: nothing answers where the I/O APIC of lines from %u on should be\n",
			base);
		vmm_unmap((void *)io->regs, 32);
		return;
	}
	io->base = base;
	io->count = (version >> 16 & 0xff) + 1;
	for (unsigned i = 0; i < io->count; i++)
		ioapic_write(io, IOAPIC_REDIRECTION + 2 * i, REDIRECTION_MASKED);
	ioapic_count++;
}

static void add_override(const struct madt_override *o)
{
	if (o->bus == 0 && o->source < ARRAY_SIZE(overrides))
		overrides[o->source] = (struct override){o->gsi, o->flags, true};
}

// Returns the local APIC's address.
static paddr_t parse_madt(const struct madt *madt)
{
	const uint8_t *p = (const uint8_t *)(madt + 1);
	const uint8_t *end = (const uint8_t *)madt + madt->header.length;
	paddr_t address = madt->lapic;

	for (; end - p >= 2 && p[1] >= 2 && p[1] <= end - p; p += p[1]) {
		const struct madt_ioapic *io = (const void *)p;

		if (p[0] == MADT_IOAPIC && p[1] >= sizeof(*io))
			add_ioapic(io->address, io->gsi_base);
		if (p[0] == MADT_OVERRIDE && p[1] >= sizeof(struct madt_override))
			add_override((const void *)p);
		if (p[0] == MADT_LAPIC_ADDRESS && p[1] >= sizeof(struct madt_lapic_address))
			address = ((const struct madt_lapic_address *)p)->address;
	}
	return address;
}

// ICW1 to ICW4 to vectors 0x20 and 0x28, then everything masked.
static void mask_8259s(void)
{
	static const uint8_t words[2][4] = {{0x11, 0x20, 4, 1}, {0x11, 0x28, 2, 1}};

	for (unsigned chip = 0; chip < 2; chip++) {
		uint16_t port = chip ? 0xa0 : 0x20;

		outb(port, words[chip][0]);
		for (unsigned i = 1; i < 4; i++)
			outb(port + 1, words[chip][i]);
		outb(port + 1, 0xff);
	}
}

static void lapic_init(paddr_t address, unsigned timer_vector, unsigned error_vector,
		       unsigned spurious_vector)
{
	uint64_t base = rdmsr(MSR_APIC_BASE);

	wrmsr(MSR_APIC_BASE, base | APIC_BASE_ENABLE);
	if (!(base & APIC_BASE_X2)) { // firmware that chose x2APIC mode may have locked it
		lapic_registers = vmm_map_io(address, PAGE_SIZE);
		if (!lapic_registers)
			PANIC("no room to map the local APIC");
	}
	lapic_write(LAPIC_SVR, SVR_ENABLE | spurious_vector);
	lapic_write(LAPIC_TPR, 0);
	lapic_write(LAPIC_LVT_LINT0, LVT_MASKED);
	lapic_write(LAPIC_LVT_LINT1, LVT_NMI);
	lapic_write(LAPIC_LVT_ERROR, error_vector);
	lapic_write(LAPIC_DIVIDE, DIVIDE_BY_1);
	lapic_write(LAPIC_LVT_TIMER, timer_vector | (cpu_has.tsc_deadline ? LVT_TSC_DEADLINE : 0));
	if (cpu_has.tsc_deadline)
		__asm__ volatile("mfence" ::: "memory");
	lapic_eoi();
}

void apic_init(unsigned timer_vector, unsigned error_vector, unsigned spurious_vector)
{
	const struct madt *madt = acpi_find("APIC");
	paddr_t address = 0xfee00000;

	mask_8259s();
	if (madt && madt->header.length >= sizeof(*madt))
		address = parse_madt(madt);
	if (!ioapic_count)
		add_ioapic(0xfec00000, 0);
	lapic_init(address, timer_vector, error_vector, spurious_vector);
}
