// SPDX-License-Identifier: BSD-2-Clause
// Calibration (kernel/calibrate.h). References, best first: CPUID leaves 0x15 and 0x16 (SDM 2A,
// CPUID), the hypervisor's leaf 0x40000010 (kHz; VMware's convention, KVM and QEMU follow it), the
// ACPI timer (ACPI 4.8.3.3, 3.579545 MHz, 24 or 32 bits), channel 2 of the PIT (1.193182 MHz, 16
// bits).
//
// A moment is the reference read between two reads of the TSC; of several tries the one with the
// narrowest window counts, so that a processor (or a whole guest) that was held up in between does
// no harm.
#include "kernel/calibrate.h"
#include "kernel/boot.h"
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/io.h"
#include "kernel/kstring.h"
#include "kernel/lapic.h"

#define PM_HZ		  3579545
#define PM_MASK		  0xffffff // bits above may be missing
#define PIT_HZ		  1193182
#define SANE_MIN_HZ	  100000000ULL
#define SANE_MAX_HZ	  10000000000ULL
#define MARK_TRIES	  5
#define SPIN_LIMIT	  (1U << 20)	// looks at a reference that does not move
#define PAUSES		  16		// between two looks: much less than what is measured
#define MEASURE_TICKS(hz) ((hz) / 4000) // refined over the first second where it is not exact

struct fadt { // ACPI 5.2.9, as far as needed
	char signature[4];
	uint32_t length;
	uint8_t rest[68];
	uint32_t pm_timer_port;
} __attribute__((packed));
_Static_assert(offsetof(struct fadt, pm_timer_port) == 76, "ACPI 5.2.9");

static uint16_t pm_port; // 0: no ACPI timer, use the PIT

static bool sane(uint64_t hz)
{
	return hz >= SANE_MIN_HZ && hz <= SANE_MAX_HZ;
}

// *exact: the crystal is told. Its multiple beside the nominal frequency is off by some tenths of a percent.
static uint64_t hz_from_processor(bool *exact)
{
	struct cpuid leaf;
	uint64_t hz = 0;

	if (cpuid(0, 0).eax < 0x15)
		return 0;
	leaf = cpuid(0x15, 0);
	if (!leaf.eax || !leaf.ebx)
		return 0;
	*exact = leaf.ecx != 0;
	if (leaf.ecx)
		hz = (uint64_t)leaf.ecx * leaf.ebx / leaf.eax;
	else if (cpuid(0, 0).eax >= 0x16) // the crystal is not told, but its multiple is
		hz = (uint64_t)(cpuid(0x16, 0).eax & 0xffff) * 1000000;
	return sane(hz) ? hz : 0;
}

static uint64_t hz_from_hypervisor(void)
{
	uint64_t hz;

	if (!(cpuid(1, 0).ecx & BIT(31)) || cpuid(0x40000000, 0).eax < 0x40000010)
		return 0;
	hz = (uint64_t)cpuid(0x40000010, 0).eax * 1000;
	return sane(hz) ? hz : 0;
}

static uint32_t reference_ticks(void)
{
	uint32_t low;

	if (pm_port)
		return inl(pm_port);
	outb(0x43, 0x80); // latch channel 2
	low = inb(0x42);
	return 0xffff - (low | (uint32_t)inb(0x42) << 8); // it counts down
}

static uint32_t ticks_between(uint32_t from, uint32_t to)
{
	return (to - from) & (pm_port ? PM_MASK : 0xffff);
}

static uint32_t reference_hz(void)
{
	return pm_port ? PM_HZ : PIT_HZ;
}

static void find_reference(void)
{
	const struct fadt *fadt = acpi_find("FACP");
	uint32_t start;

	if (fadt && fadt->length >= sizeof(*fadt) && fadt->pm_timer_port <= 0xffff)
		pm_port = (uint16_t)fadt->pm_timer_port;
	if (pm_port) { // firmware may name a port where nothing counts
		start = reference_ticks();
		for (unsigned spins = 0; spins < 10000; spins++)
			if (ticks_between(start, reference_ticks()))
				return;
		pm_port = 0;
	}
	outb(0x61, (inb(0x61) & 0xfc) | 1); // gate of channel 2 on, speaker off
	outb(0x43, 0xb4); // channel 2, low and high byte, mode 2: counts round and round
	outb(0x42, 0xff);
	outb(0x42, 0xff);
}

static struct reference_mark take_mark(void)
{
	struct reference_mark best = {0};
	uint64_t narrowest = UINT64_MAX;

	for (int try = 0; try < MARK_TRIES; try++) {
		uint64_t before = rdtsc();
		uint32_t ticks = reference_ticks();
		uint64_t after = rdtsc();

		if (after - before >= narrowest)
			continue;
		narrowest = after - before;
		best = (struct reference_mark){
		    .cycles = before + (after - before) / 2, .ticks = ticks, .valid = true};
	}
	return best;
}

static void pause_a_little(void)
{
#pragma GCC unroll 16
	for (unsigned n = 0; n < PAUSES; n++)
		cpu_relax();
}

static void measure(struct calibration *out, const struct reference_mark *from)
{
	uint32_t left, spins = 0, ticks;
	struct reference_mark to;
	uint64_t begin, end;

	lapic_timer_oneshot(UINT32_MAX);
	begin = rdtsc();
	while (ticks_between(from->ticks, reference_ticks()) < MEASURE_TICKS(reference_hz()) &&
	       ++spins < SPIN_LIMIT)
		pause_a_little();
	end = rdtsc();
	left = lapic_timer_left();
	to = take_mark();
	lapic_timer_stop();
	ticks = ticks_between(from->ticks, to.ticks);
	if (!ticks)
		return;
	out->tsc_hz = (to.cycles - from->cycles) * reference_hz() / ticks;
	// By way of the TSC: reading the reference takes too long to tell when the timer was read.
	out->lapic_hz = (uint64_t)(UINT32_MAX - left) * out->tsc_hz / MAX(end - begin, 1UL);
}

void calibrate(struct calibration *out, struct reference_mark *mark)
{
	uint64_t told;

	*out = (struct calibration){.source = "CPUID", .exact = true};
	told = hz_from_processor(&out->exact);
	if (!told) {
		told = hz_from_hypervisor();
		*out = (struct calibration){.source = "hypervisor", .exact = true};
	}
	out->tsc_hz = told;
	if (told && out->exact && lapic_timer_has_deadline())
		return;
	find_reference();
	*mark = take_mark();
	measure(out, mark);
	if (told) {
		out->tsc_hz = told;
	} else {
		out->source = pm_port ? "ACPI timer" : "PIT";
		out->exact = false;
	}
	if (!sane(out->tsc_hz)) {
		out->tsc_hz = NS_PER_SEC;
		out->source = "no reference counts; a guess";
	}
	if (!out->lapic_hz)
		out->lapic_hz = NS_PER_SEC;
}

static bool about(uint64_t hz, uint64_t other)
{
	return hz > other - other / 16 && hz < other + other / 16;
}

// The ACPI timer goes round every 4.7 s; how often it did since the mark (a host may let the machine wait) is told
// by the rate so far, unless that does not agree: then it was wrong, and this is taken for the usual second.
uint64_t calibrate_again(const struct reference_mark *mark, uint64_t hz)
{
	struct reference_mark now;
	uint64_t cycles, expected, ticks, rounds = 0;

	if (!mark->valid || !pm_port) // the PIT goes round every 55 ms
		return 0;
	now = take_mark();
	cycles = now.cycles - mark->cycles;
	if (cycles > UINT64_MAX / PM_HZ)
		return 0;
	expected = cycles * PM_HZ / hz;
	ticks = MAX(1U, ticks_between(mark->ticks, now.ticks));
	if (expected > ticks)
		rounds = (expected - ticks + PM_MASK / 2) & ~(uint64_t)PM_MASK;
	if (about(cycles * PM_HZ / (ticks + rounds), hz))
		return cycles * PM_HZ / (ticks + rounds);
	return sane(cycles * PM_HZ / ticks) ? cycles * PM_HZ / ticks : 0;
}
