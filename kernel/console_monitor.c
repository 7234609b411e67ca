// SPDX-License-Identifier: BSD-2-Clause
// MONITOR: one screen, drawn anew each second until a key is typed. The processor's and scheduler's part
// is here; each layer adds its own lines (CONSOLE_SECTION "MONITOR"). The processor is idle between two
// drawings: the console's thread sleeps.
#include "kernel/block.h"
#include "kernel/boot.h"
#include "kernel/console_private.h"
#include "kernel/cpu.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/version.h"
#include "kernel/wtd.h"

#define REFRESH_NS NS_PER_SEC
#define KEY_PAUSE  (20 * NS_PER_MS) // the bytes of one key come closer together than this

struct sample {
	uint64_t at, idle, work[WTD_CLASSES];
};

static void take_sample(struct sample *s)
{
	s->at = clock_ns();
	s->idle = 0;
	for (unsigned cpu = 0; cpu < CPU_MAX; cpu++)
		s->idle += cpu_idle_ns(cpu);
	for (unsigned class = 0; class < WTD_CLASSES; class ++) {
		struct wtd_stats stats;
		s->work[class] = 0;
		for (unsigned cpu = 0; cpu < CPU_MAX; cpu++) {
			wtd_stats(cpu, (enum wtd_class) class, &stats);
			s->work[class] += stats.run;
		}
	}
}

// Per second between two samples.
static unsigned long rate(uint64_t now, uint64_t before, uint64_t ns)
{
	return (unsigned long)((now - before) * NS_PER_SEC / MAX(ns, 1UL));
}

static void print_head(const struct sample *now, const struct sample *before)
{
	uint64_t ns = now->at - before->at, room = MAX(ns * CPU_MAX, 1UL);
	uint64_t idle = MIN(now->idle - before->idle, room), s = now->at / NS_PER_SEC;
	struct wtd_stats stats;
	wtd_stats(0, WTD_SLEEP, &stats);
	console_printf("\x1b[7m Pagewire %-8s %60s \x1b[0m\n\n", PAGEWIRE_VERSION, "any key ends");
	console_printf("Utilization:            %3lu %%      Server Up Time:      %lu days "
		       "%02lu:%02lu:%02lu\n",
		       (unsigned long)((room - idle) * 100 / room), (unsigned long)(s / 86400),
		       (unsigned long)(s / 3600 % 24), (unsigned long)(s / 60 % 60),
		       (unsigned long)(s % 60));
	console_printf("Online Processors:      %-10u Service Processes:   %u of %u, %u idle\n",
		       CPU_MAX, stats.workers, stats.workers_max, stats.workers_idle);
	console_printf("Fast Work per second:   %-10lu Work per second:     %lu\n",
		       rate(now->work[WTD_FAST], before->work[WTD_FAST], ns),
		       rate(now->work[WTD_SLEEP], before->work[WTD_SLEEP], ns));
}

static void print_disks(void)
{
	for (const struct block_device *d = block_first(); d; d = d->next)
		if (!d->parent)
			console_printf("Disk %-9s requests %4u (most %4u) reads %-8lu writes "
				       "%-8lu errors %lu\n",
				       d->name, d->in_flight, d->in_flight_high,
				       (unsigned long)d->ops[BLOCK_READ],
				       (unsigned long)d->ops[BLOCK_WRITE],
				       (unsigned long)d->errors);
}
CONSOLE_SECTION(monitor_disks, "MONITOR", 30, print_disks);

struct figure {
	const char *name;
	uint64_t value;
	bool found;
};

static void match(const struct kstat *row, void *ctx)
{
	struct figure *figure = ctx;
	if (strcmp(row->name, figure->name) == 0 && !row->labels) {
		figure->value = kstat_value(row);
		figure->found = true;
	}
}

// The network's figures, by name: kernel/ does not know that layer.
static void print_connections(void)
{
	struct figure now = {.name = "pagewire_tcp_connections_established"};
	struct figure half = {.name = "pagewire_tcp_connections_half_open"};
	kstat_each(match, &now);
	kstat_each(match, &half);
	if (now.found)
		console_printf("Current Connections:    %-10lu Half Open:           %lu\n",
			       (unsigned long)now.value, (unsigned long)half.value);
}
CONSOLE_SECTION(monitor_connections, "MONITOR", 50, print_connections);

void console_monitor(int argc, char **argv)
{
	struct sample now, before = {0};
	console_printf("\x1b[?25l\x1b[2J");
	console_live(true);
	do {
		take_sample(&now);
		console_printf("\x1b[H");
		print_head(&now, &before);
		console_print_sections("MONITOR");
		console_printf("\x1b[J");
		before = now;
	} while (console_key(REFRESH_NS) < 0);
	console_live(false);
	while (console_key(KEY_PAUSE) >= 0) // the rest of an arrow key
		;
	console_printf("\x1b[?25h\x1b[H\x1b[2J");
}
