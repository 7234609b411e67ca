// SPDX-License-Identifier: BSD-2-Clause
// What /proc says of the machine (kernel/procfs.h; proc(5) has the formats). What is not kept here is told as 0.
#include "kernel/cpu.h"
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/procfs.h"
#include "kernel/sched.h"
#include "kernel/timer.h"
#include "kernel/version.h"

#define TICK (NS_PER_SEC / 100)

void proc_meminfo(struct proc_text *out)
{
	const char *rest;
	size_t rest_len;
	const struct name_provider *p = path_provider("/", 1, &rest, &rest_len);
	struct pmm_stats s;
	unsigned long kb = PAGE_SIZE / 1024, free, cached;

	pmm_stats(&s);
	free = s.frames_free * kb;
	cached = p && p->cached ? p->cached() * kb : 0;
	proc_printf(out, "MemTotal:       %8lu kB\nMemFree:        %8lu kB\n", s.frames_total * kb,
		    free);
	// What the file cache has it gives back when it is asked.
	proc_printf(out,
		    "MemAvailable:   %8lu kB\nBuffers:        %8u kB\nCached:         %8lu kB\n",
		    free + cached, 0, cached);
	proc_printf(out, "SwapCached:     %8u kB\nSwapTotal:      %8u kB\nSwapFree:       %8u kB\n",
		    0, 0, 0);
	proc_printf(out, "Shmem:          %8u kB\nSReclaimable:   %8u kB\n", 0, 0);
}

static void hundredths(struct proc_text *out, uint64_t ns, const char *end)
{
	proc_printf(out, "%lu.%02lu%s", (unsigned long)(ns / NS_PER_SEC),
		    (unsigned long)(ns % NS_PER_SEC / TICK), end);
}

void proc_uptime(struct proc_text *out)
{
	hundredths(out, clock_ns(), " ");
	hundredths(out, cpu_idle_ns(0), "\n");
}

struct census {
	unsigned tasks, runnable;
};

static void count(const struct process *p, void *ctx)
{
	struct census *c = ctx;

	for (const struct task *t = p->tasks; t; t = t->process_next) {
		c->tasks++;
		c->runnable += t->thread->state != THREAD_BLOCKED;
	}
}

// Averages over 1, 5 and 15 minutes of how many tasks could run. Nobody looks every five seconds, as Linux does, for a
// processor without work is left alone: who reads brings the averages up to now with what is runnable now.
void proc_loadavg(struct proc_text *out)
{
	static const uint64_t keep[3] = {1884, 2014, 2037}; // of 2048: e^(-5 s / 60 s), 300, 900
	static uint64_t average[3], sampled;		    // (T) 21 fraction bits; ns
	const uint64_t period = 5 * NS_PER_SEC;
	struct census c = {0};
	unsigned long told[3];

	process_each(count, &c);
	spin_lock_wtd(&process_lock);
	for (unsigned n = 0; n < 720 && clock_ns() - sampled >= period; n++, sampled += period)
		for (unsigned i = 0; i < 3; i++)
			average[i] = (average[i] * keep[i] +
				      ((uint64_t)c.runnable << 21) * (2048 - keep[i])) /
				     2048;
	if (clock_ns() - sampled >= period)
		sampled = clock_ns();
	for (unsigned i = 0; i < 3; i++)
		told[i] = (average[i] * 100) >> 21;
	spin_unlock_wtd(&process_lock);
	for (unsigned i = 0; i < 3; i++)
		proc_printf(out, "%lu.%02lu ", told[i] / 100, told[i] % 100);
	proc_printf(out, "%u/%u %d\n", c.runnable, c.tasks, process_current()->pid);
}

static void mount_line(void *ctx, const char *device, const char *where, const char *type,
		       bool read_only)
{
	proc_printf(ctx, "%s %s %s %s 0 0\n", device, where, type, read_only ? "ro" : "rw");
}

void proc_mounts(struct proc_text *out)
{
	const char *rest;
	size_t rest_len;
	const struct name_provider *p = path_provider("/", 1, &rest, &rest_len);

	if (p && p->mounts)
		p->mounts(mount_line, out);
	mount_line(out, "proc", "/proc", "proc", true);
	mount_line(out, "dev", "/dev", "devtmpfs", false);
}

void proc_filesystems(struct proc_text *out)
{
	proc_printf(out, "nodev\tproc\nnodev\tdevtmpfs\n\text4\n");
}

void proc_cpuinfo(struct proc_text *out)
{
	unsigned long khz = (unsigned long)clock_ns_to_cycles(NS_PER_SEC) / 1000;

	proc_printf(out, "processor\t: 0\nmodel name\t: %s\ncpu MHz\t\t: %lu.%03lu\n",
		    cpu_model_text(), khz / 1000, khz % 1000);
	proc_printf(out, "cpu cores\t: 1\nfpu\t\t: yes\nflags\t\t: %s\n\n", cpu_features_text());
}

void proc_machine_stat(struct proc_text *out)
{
	uint64_t now = clock_ns(), idle = MIN(cpu_idle_ns(0), now), user, system, threads;
	struct census c = {0};

	process_each(count, &c);
	cputime_of_all(&user, &system);
	threads = now - idle - MIN(now - idle, user + system); // the kernel's own
	for (unsigned row = 0; row < 2; row++)
		proc_printf(out, "cpu%s %lu 0 %lu %lu 0 0 0 0 0 0\n", row ? "0" : " ",
			    (unsigned long)(user / TICK),
			    (unsigned long)((system + threads) / TICK),
			    (unsigned long)(idle / TICK));
	proc_printf(out, "intr 0\nctxt %lu\nbtime %lu\n", (unsigned long)scheds[0].switches,
		    (unsigned long)((clock_realtime_ns() - now) / NS_PER_SEC));
	proc_printf(out, "processes %lu\nprocs_running %u\nprocs_blocked 0\n",
		    (unsigned long)processes_started(), c.runnable);
}

void proc_version(struct proc_text *out)
{
	proc_printf(out, "Linux version 5.10.0 (Pagewire %s)\n", PAGEWIRE_VERSION);
}
