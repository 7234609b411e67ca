// SPDX-License-Identifier: BSD-2-Clause
// See sched_tools.h.
#include "tests/guest/sched_tools.h"
#include "kernel/cpu.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/sched.h"

char run_log[LOG_BYTES];
static volatile uint32_t log_len;

void log_clear(void)
{
	log_len = 0;
	run_log[0] = 0;
}

void log_mark(char what)
{
	bool on = irq_save();

	if (log_len + 1 < LOG_BYTES) {
		run_log[log_len++] = what;
		run_log[log_len] = 0;
	}
	irq_restore(on);
}

bool wait_for(volatile uint32_t *flag, uint32_t value)
{
	uint64_t until = clock_ns() + PATIENCE_NS;

	while (*flag != value && clock_ns() < until)
		thread_sleep_ns(NS_PER_MS / 4);
	return *flag == value;
}

bool disturbed_since(uint64_t start)
{
	return clock_ns() - start >= THREAD_QUANTUM / 2;
}

void burn(uint64_t ns)
{
	uint64_t until = clock_ns() + ns;

	while (clock_ns() < until)
		cpu_relax();
}

uint64_t frames_but_used(void)
{
	struct pmm_stats stats;
	uint64_t in_pools;

	wtd_disable();
	pmm_stats(&stats);
	in_pools = pool_frames();
	wtd_enable();
	return stats.frames_free + in_pools;
}

struct wtd_stats stats_of(enum wtd_class class)
{
	struct wtd_stats stats;

	wtd_stats(0, class, &stats);
	return stats;
}
