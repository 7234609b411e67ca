// SPDX-License-Identifier: BSD-2-Clause
// Stand-ins for the scheduler until it lands; deleted then.
#include "kernel/cpu.h"
#include "kernel/lock.h"
#include "kernel/thread.h"
#include "kernel/trace.h"
#include "kernel/wtd.h"

#define WEAK __attribute__((weak))
WEAK void spin_lock_wtd_at(struct spinlock *lock, const char *holder) {}
WEAK void spin_unlock_wtd(struct spinlock *lock) {}
WEAK void wtd_disable(void) {}
WEAK void wtd_enable(void) {}
WEAK bool wtd_pending(void)
{
	return false;
}
WEAK void wtd_run_fast(void) {}
WEAK void thread_reschedule_at_irq_exit(void) {}
WEAK void thread_idle_loop(void)
{
	for (;;)
		__asm__ volatile("sti; hlt");
}
WEAK const char *thread_name(void)
{
	return "boot";
}
WEAK void trace(enum trace_event event, uint64_t a, uint64_t b, uint64_t c) {}
WEAK void trace_dump(unsigned count, void (*line)(void *ctx, const char *text), void *ctx) {}
