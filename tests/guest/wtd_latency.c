// SPDX-License-Identifier: BSD-2-Clause
// How long the way is from an interrupt to the first instruction of the WTD that it posts: stages 1
// and 2 of the read path. With -icount shift=0 and the word `icount` the answer is in instructions,
// exact, and held to a budget; else it is in TSC cycles and only shown.
#include "tests/guest/sched_tools.h"
#include "kernel/cpu.h"
#include "kernel/irq.h"
#include "kernel/ktest.h"
#include "kernel/sched.h"

#define ROUNDS	      64
#define BUDGET	      200 // instructions, interrupted code to WTD
#define WORKER_BUDGET 600

static volatile uint64_t raised, first_instruction, handler_began, handler_ended;
static volatile uint32_t ran;

static void stamp(struct wtd *work)
{
	first_instruction = sched_cycles();
	ran = 1;
}

static struct wtd fast = WTD_INIT(stamp, "test-latency");
static struct wtd sleeping = WTD_INIT(stamp, "test-latency");
static bool post_sleeping;

static bool post_stamp(void *arg)
{
	handler_began = sched_cycles();
	if (post_sleeping)
		wtd_post(&sleeping);
	else
		wtd_post_fast(&fast);
	handler_ended = sched_cycles();
	return true;
}

// The interrupt is raised while interrupts are off and taken at once when they come on, so that the
// time counted is ours alone and not the APIC's.
static uint64_t one_round(unsigned vector, uint64_t *to_handler, uint64_t *in_handler)
{
	bool on = irq_save();

	ran = 0;
	irq_raise_self(vector);
	burn(20 * NS_PER_US);
	raised = sched_cycles();
	irq_restore(on);
	while (!ran)
		cpu_relax();
	*to_handler = handler_began - raised;
	*in_handler = handler_ended - handler_began;
	return first_instruction - raised;
}

static uint64_t measure(bool sleeping_class, uint64_t *to_handler, uint64_t *in_handler)
{
	static unsigned vector;
	uint64_t least = UINT64_MAX, total, entry, handler;

	if (!vector && irq_attach_self(post_stamp, NULL, "latency", &vector)) {
		ktest_skip("no vector");
		return 0;
	}
	post_sleeping = sleeping_class;
	for (int n = 0; n < ROUNDS; n++) {
		total = one_round(vector, &entry, &handler);
		if (total < least) {
			least = total;
			*to_handler = entry;
			*in_handler = handler;
		}
		thread_sleep_ns(NS_PER_MS / 10);
	}
	return least;
}

KTEST("wtd-latency", fast, "interrupt-to-first-instruction-of-a-fast-wtd")
{
	uint64_t to_handler, in_handler, least = measure(false, &to_handler, &in_handler);
	const char *unit = ktest_counts_instructions() ? "instructions" : "TSC cycles";

	ktest_note("interrupt to first instruction of its fast WTD: %lu %s", least, unit);
	ktest_note("  of these %lu to the handler, %lu in the handler", to_handler, in_handler);
	EXPECT(least > 0);
	if (ktest_counts_instructions())
		EXPECT(least <= BUDGET);
}

KTEST("wtd-latency", sleeping, "interrupt-to-first-instruction-of-a-wtd-on-a-worker")
{
	uint64_t to_handler, in_handler, least = measure(true, &to_handler, &in_handler);
	const char *unit = ktest_counts_instructions() ? "instructions" : "TSC cycles";

	ktest_note("interrupt to first instruction of its WTD on a worker: %lu %s", least, unit);
	if (ktest_counts_instructions())
		EXPECT(least <= WORKER_BUDGET);
}
