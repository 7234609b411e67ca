// SPDX-License-Identifier: BSD-2-Clause
// The clock (include/kernel/timer.h) and the one-shot timer interrupt. Time is the TSC, scaled by a
// multiplication. Its rate comes from the processor or the hypervisor if they tell, else from a
// millisecond beside the ACPI timer (or the PIT); in that case it is measured again over the first
// second of running, and the clock goes on from where it is at the better rate.
#include "kernel/timer.h"
#include "kernel/boot.h"
#include "kernel/calibrate.h"
#include "kernel/clock_page.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/lapic.h"
#include "kernel/sched.h"

#define REFINE_AFTER NS_PER_SEC

// One way of turning cycles into nanoseconds: ns = base_ns + (cycles - base_cycles) * mult / 2^32.
// Never changed while it is in use: a new rate is written to the other one of two, then published.
struct scale {
	uint64_t base_cycles, base_ns;
	uint64_t mult;	  // ns a cycle, 32 fraction bits
	uint64_t inverse; // cycles a ns, 32 fraction bits
};
static struct scale scales[2] = {
    {.mult = 1ULL << 32, .inverse = 1ULL << 32}, // until timer_init: 1 GHz
};
static const struct scale *scale = &scales[0]; // published with one store
static uint64_t last_ns;		       // the latest time told: the clock never goes back
static uint64_t realtime_offset;	       // unix ns at clock_ns() == 0
static uint64_t armed = UINT64_MAX;	       // (S) clock_ns the interrupt is set for
static uint64_t lapic_mult;		       // constant: timer ticks a ns, 32 fraction bits
static bool ready;			       // the timer interrupt works
static uint64_t interrupts;		       // (S)
KSTAT_COUNTER(interrupts, "pagewire_timer_interrupts_total", "Interrupts of the one-shot timer.");
static struct reference_mark first_mark; // when calibration began
static uint64_t first_hz;		 // what it found
static struct wtd refine_work;
static struct clock_page *published; // null until clock_publish

static inline uint64_t scaled(uint64_t value, uint64_t mult)
{
	return (uint64_t)(((unsigned __int128)value * mult) >> 32);
}

// numerator / denominator with 32 fraction bits; less than 2^32.
static uint64_t ratio(uint64_t numerator, uint64_t denominator)
{
	uint64_t quotient, rest;

	__asm__("divq %4"
		: "=a"(quotient), "=d"(rest)
		: "a"(numerator << 32), "d"(numerator >> 32), "r"(denominator)
		: "cc");
	return quotient;
}

uint64_t clock_cycles_to_ns(uint64_t cycles)
{
	return scaled(cycles, scale->mult);
}

uint64_t clock_ns_to_cycles(uint64_t ns)
{
	return scaled(ns, scale->inverse);
}

uint64_t clock_ns(void)
{
	const struct scale *now = scale;
	uint64_t cycles = clock_cycles();
	uint64_t base = now->base_cycles ? now->base_cycles : boot_info.entry_cycles;
	uint64_t ns = now->base_ns + (cycles > base ? scaled(cycles - base, now->mult) : 0);

	if (UNLIKELY(ns < last_ns))
		return last_ns;
	last_ns = ns;
	return ns;
}

uint64_t clock_recent_ns(void)
{
	return last_ns;
}

// Programs read meanwhile, on this processor after an interrupt at the most: the sequence tells them.
static void publish(void)
{
	struct clock_page *page = published;
	const struct scale *now = scale;
	bool on;

	if (!page)
		return;
	on = irq_save();
	__atomic_store_n(&page->sequence, page->sequence + 1, __ATOMIC_SEQ_CST);
	page->base_cycles = now->base_cycles ? now->base_cycles : boot_info.entry_cycles;
	page->base_ns = now->base_ns;
	page->mult = now->mult;
	page->realtime_offset = realtime_offset;
	__atomic_store_n(&page->sequence, page->sequence + 1, __ATOMIC_SEQ_CST);
	irq_restore(on);
}

void clock_publish(struct clock_page *page)
{
	published = page;
	publish();
}

uint64_t clock_realtime_ns(void)
{
	return realtime_offset + clock_ns();
}

void clock_set_realtime_ns(uint64_t unix_ns)
{
	realtime_offset = unix_ns - clock_ns();
	publish();
}

void clock_delay_ns(uint64_t ns)
{
	uint64_t start = clock_ns();

	while (clock_ns() - start < ns)
		cpu_relax();
}

// The clock goes on from the present time at `hz`.
static void set_rate(uint64_t hz)
{
	struct scale *next = scale == &scales[0] ? &scales[1] : &scales[0];
	bool on = irq_save();

	next->base_ns = clock_ns();
	next->base_cycles = clock_cycles();
	next->mult = ratio(NS_PER_SEC, hz);
	next->inverse = ratio(hz, NS_PER_SEC);
	__atomic_store_n(&scale, next, __ATOMIC_RELEASE);
	publish();
	irq_restore(on);
	sched_set_rates();
}

// The first rate is also that of the time before.
static void set_first_rate(uint64_t hz)
{
	scales[0].mult = ratio(NS_PER_SEC, hz);
	last_ns = 0;
	set_rate(hz);
}

static void refine(struct wtd *work)
{
	uint64_t hz = calibrate_again(&first_mark, first_hz);

	if (hz)
		set_rate(hz);
}

// ---- the interrupt ----

static void program(uint64_t due)
{
	uint64_t now = clock_ns();
	uint64_t ahead = due > now ? due - now : 0;

	if (lapic_timer_has_deadline())
		lapic_timer_deadline(clock_cycles() + scaled(ahead, scale->inverse));
	else
		lapic_timer_oneshot(
		    (uint32_t)MIN(scaled(MIN(ahead, NS_PER_SEC), lapic_mult) + 1, UINT32_MAX));
}

// The counter's range is a few seconds on a fast bus: a far time is approached in steps of at most
// one, each an interrupt that finds nothing due and asks again.
void timer_want(uint64_t due)
{
	if (due >= armed)
		return;
	armed = due;
	if (ready)
		program(due);
}

static void timer_interrupt(void)
{
	struct sched *s = sched_self();
	uint64_t now = clock_ns(), next;

	sched_lock(s);
	armed = UINT64_MAX;
	interrupts++;
	wtd_due(s, now);
	next = MIN(sched_tick(s, now), wheel_next(&s->wheel));
	if (next != UINT64_MAX)
		timer_want(next);
	sched_unlock(s);
}

void timer_init(void)
{
	struct calibration c;
	bool on;

	calibrate(&c, &first_mark);
	first_hz = c.tsc_hz;
	set_first_rate(c.tsc_hz);
	lapic_mult = ratio(c.lapic_hz, NS_PER_SEC);
	lapic_timer_set_handler(timer_interrupt);
	on = irq_save();
	ready = true;
	if (armed != UINT64_MAX)
		program(armed);
	irq_restore(on);
	kprintf("clock: TSC at %lu kHz (%s), timer %s\n", (unsigned long)(c.tsc_hz / 1000),
		c.source, lapic_timer_has_deadline() ? "by TSC deadline" : "one-shot");
	if (!c.exact) {
		wtd_init(&refine_work, refine, "clock");
		wtd_post_after(&refine_work, WTD_FAST, REFINE_AFTER);
	}
}
