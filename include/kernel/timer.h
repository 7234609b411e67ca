// SPDX-License-Identifier: BSD-2-Clause
// The clock. Monotonic since kernel entry, from the invariant TSC where there is one (calibrated
// against the PIT), never backwards. Tickless: the local APIC's one-shot is armed for the earliest
// due timer and for nothing else. Delays are asked for with wtd_post_after and thread_sleep_ns.
#pragma once

#include "kernel/base.h"

uint64_t clock_ns(void); // nanoseconds since kernel entry; any context
// What clock_ns last told anybody, which costs a load: for what may be a batch of work late.
uint64_t clock_recent_ns(void);
// TSC; any context; the cheapest time stamp
#ifdef PAGEWIRE_HOST
uint64_t clock_cycles(void);
#else
static inline uint64_t clock_cycles(void)
{
	uint64_t low, high; // 32 bits each, the rest is zeros

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return high << 32 | low;
}
#endif
uint64_t clock_cycles_to_ns(uint64_t cycles); // a difference of two stamps; any context
uint64_t clock_ns_to_cycles(uint64_t ns);     // any context
// Unix time in nanoseconds (UTC, from the CMOS clock at boot plus clock_ns). Any context.
uint64_t clock_realtime_ns(void);
void clock_set_realtime_ns(uint64_t unix_ns); // boot, by the CMOS clock's driver
// Boot, once. From now on the page says what programs need to tell the same time (kernel/clock_page.h).
struct clock_page;
void clock_publish(struct clock_page *page);
void clock_delay_ns(uint64_t ns); // busy wait, for hardware settling times at boot; any context

// Broken-down UTC, proleptic Gregorian. Pure; any context.
struct civil_time {
	int year;				   // e.g. 2026
	unsigned month, day, hour, minute, second; // 1..12, 1..31, 0..23, ...
	unsigned weekday;			   // 0 = Sunday
};
void civil_from_unix(int64_t unix_seconds, struct civil_time *out);
int64_t civil_to_unix(const struct civil_time *t);

// Boot, once, after irq_init: calibrates the clock and makes the local APIC's timer ready. Before
// it clock_ns takes the TSC for 1 GHz.
void timer_init(void);
// For the scheduler's own files, interrupts off: an interrupt no later than clock_ns() == due.
void timer_want(uint64_t due);
