// SPDX-License-Identifier: BSD-2-Clause
// The clock: forward only, at the right rate, with the right date.
#include "tests/guest/sched_tools.h"
#include "kernel/cpu_private.h"
#include "kernel/io.h"
#include "kernel/ktest.h"

KTEST("clock", forward, "the-clock-never-goes-back")
{
	uint64_t last = clock_ns();

	for (int n = 0; n < 200000; n++) {
		uint64_t now = clock_ns();

		if (now < last) {
			ktest_fail(__FILE__, __LINE__, "%lu after %lu", now, last);
			return;
		}
		last = now;
	}
}

// Channel 2 of the PIT as a reference of its own: 1.193182 MHz, at most 55 ms.
static uint32_t pit_left(void)
{
	uint32_t low;

	outb(0x43, 0x80);
	low = inb(0x42);
	return low | (uint32_t)inb(0x42) << 8;
}

KTEST("clock", rate, "the-clock-agrees-with-the-pit")
{
	uint64_t start, ns, pit_ns, best = UINT64_MAX;

	for (int try = 0; try < 100 && best >= 100;
	     try++) { // the host may hold us up between two reads
		uint32_t from, to;

		outb(0x61, (inb(0x61) & 0xfc) | 1);
		outb(0x43, 0xb4);
		outb(0x42, 0xff);
		outb(0x42, 0xff);
		while ((from = pit_left()) > 0xff00 || from < 0xe000)
			;
		start = clock_ns();
		burn(20 * NS_PER_MS);
		to = pit_left();
		ns = clock_ns() - start;
		pit_ns = (uint64_t)(from - to) * NS_PER_SEC / 1193182;
		best = MIN(best, (ns > pit_ns ? ns - pit_ns : pit_ns - ns) * 10000 / ns);
	}
	ktest_note("clock and PIT differ by %lu in 10000", best);
	EXPECT(best < 100);
}

KTEST("clock", delay, "a-busy-delay-lasts-as-long-as-asked")
{
	uint64_t start = clock_ns();

	clock_delay_ns(300 * NS_PER_US);
	EXPECT(clock_ns() - start >= 300 * NS_PER_US);
}

KTEST("clock", cycles, "cycles-and-nanoseconds-convert-both-ways")
{
	for (uint64_t ns = 1000; ns < 1000 * NS_PER_SEC; ns *= 10) {
		uint64_t back = clock_cycles_to_ns(clock_ns_to_cycles(ns));

		EXPECT(back <= ns && ns - back <= 2 + ns / 1000000);
	}
}

KTEST("clock", realtime, "real-time-goes-on-from-what-was-set")
{
	uint64_t before = clock_realtime_ns(), start = clock_ns(), now;

	clock_set_realtime_ns(1782172800 * NS_PER_SEC);
	now = clock_realtime_ns();
	EXPECT(now >= 1782172800 * NS_PER_SEC);
	EXPECT(now - 1782172800 * NS_PER_SEC <= clock_ns() - start + 1000);
	clock_set_realtime_ns(before + (clock_realtime_ns() - 1782172800 * NS_PER_SEC));
}
