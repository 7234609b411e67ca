// SPDX-License-Identifier: BSD-2-Clause
// What programs need, made ready at boot; and what DOWN does to them.
#include "kernel/console.h"
#include "kernel/process.h"
#include "kernel/procfs.h"
#include "kernel/syscall.h"
#include "kernel/tty.h"
#include "kernel/timer.h"

#define PATIENCE (2 * NS_PER_SEC) // between SIGTERM and SIGKILL at DOWN

void device_init(void);
void shm_init(void);

void process_init(void)
{
	fpu_init();
	uspace_init();
	vdso_init();
	syscall_init();
	tty_init();
	device_init();
	shm_init();
	procfs_init();
}

struct send {
	int signal;
	unsigned count;
};

static void send(const struct process *p, void *ctx)
{
	struct send *s = ctx;

	if (p->state == PROCESS_ZOMBIE)
		return;
	s->count++;
	signal_process_locked((struct process *)(uintptr_t)p, s->signal, NULL);
}

static unsigned send_all(int signal)
{
	struct send s = {.signal = signal};

	process_each(send, &s);
	return s.count;
}

static void end_programs(void)
{
	uint64_t end = clock_ns() + PATIENCE;

	if (!send_all(SIGTERM))
		return;
	while (clock_ns() < end && send_all(SIGCONT))
		thread_sleep_ns(10 * NS_PER_MS);
	end += PATIENCE;
	while (send_all(SIGKILL) && clock_ns() < end)
		thread_sleep_ns(10 * NS_PER_MS);
}
SHUTDOWN_STEP(programs, 5, "Ending programs", end_programs);
