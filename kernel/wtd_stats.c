// SPDX-License-Identifier: BSD-2-Clause
// The scheduler's figures: wtd_stats for MONITOR, and the families pagewire_wtd_* and
// pagewire_cpu_*. Counting is done where things happen, in cycles; here they are turned into
// seconds.
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/sched.h"
#include "kernel/timer.h"

typedef void (*emit_fn)(void *ctx, const char *format, ...);

static const char *const class_names[WTD_CLASSES] = {"fast", "sleeping"};

void wtd_stats(unsigned cpu, enum wtd_class class, struct wtd_stats *out)
{
	const struct sched *s = &scheds[cpu];
	const struct wtd_figures *f = &s->queue[class].figures;

	ASSERT(cpu < CPU_MAX && class < WTD_CLASSES);
	*out = (struct wtd_stats){
	    .posted = f->posted,
	    .run = f->run,
	    .hogs = f->hogs,
	    .slices_given = s->slices_given,
	    .depth = wtd_depth(f),
	    .depth_high = f->depth_high,
	    .longest_ns = clock_cycles_to_ns(f->longest),
	    .longest_owner = f->longest_owner,
	    .latency_sum_ns = clock_cycles_to_ns(f->latency_sum),
	};
	memcpy(out->latency, f->latency, sizeof(out->latency));
	if (class == WTD_SLEEP) {
		out->workers = s->workers;
		out->workers_idle = s->workers_idle;
		out->workers_max = WORKERS_MAX;
		out->workers_max_hits = s->workers_max_hits;
	}
}

uint64_t cpu_idle_ns(unsigned cpu)
{
	const struct sched *s = &scheds[cpu];
	uint64_t since = s->idle_since, now = clock_cycles();

	return clock_cycles_to_ns(s->idle_cycles + (since && now > since ? now - since : 0));
}

static void head(emit_fn emit, void *ctx, const char *name, const char *type, const char *help)
{
	emit(ctx, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void seconds(emit_fn emit, void *ctx, uint64_t ns)
{
	emit(ctx, "%lu.%09lu", (unsigned long)(ns / NS_PER_SEC), (unsigned long)(ns % NS_PER_SEC));
}

static void row_of(emit_fn emit, void *ctx, const char *name, unsigned class, unsigned cpu)
{
	emit(ctx, "%s{class=\"%s\",cpu=\"%u\"} ", name, class_names[class], cpu);
}

enum shown { SHOWN_POSTED, SHOWN_RUN, SHOWN_HOGS, SHOWN_DEPTH, SHOWN_DEPTH_HIGH };

static uint64_t shown(const struct wtd_figures *f, enum shown which)
{
	switch (which) {
	case SHOWN_POSTED:
		return f->posted;
	case SHOWN_RUN:
		return f->run;
	case SHOWN_HOGS:
		return f->hogs;
	case SHOWN_DEPTH:
		return wtd_depth(f);
	default:
		return f->depth_high;
	}
}

static void write_counts(emit_fn emit, void *ctx, const char *name, const char *type,
			 const char *help, enum shown which)
{
	head(emit, ctx, name, type, help);
	for (unsigned cpu = 0; cpu < CPU_MAX; cpu++) {
		for (unsigned class = 0; class < WTD_CLASSES; class ++) {
			const struct wtd_figures *f = &scheds[cpu].queue[class].figures;

			row_of(emit, ctx, name, class, cpu);
			emit(ctx, "%lu\n", (unsigned long)shown(f, which));
		}
	}
}

static void write_longest(emit_fn emit, void *ctx)
{
	const char *name = "pagewire_wtd_longest_seconds";

	head(emit, ctx, name, "gauge", "The longest that one WTD ran without sleeping.");
	for (unsigned cpu = 0; cpu < CPU_MAX; cpu++) {
		for (unsigned class = 0; class < WTD_CLASSES; class ++) {
			const struct wtd_figures *f = &scheds[cpu].queue[class].figures;

			row_of(emit, ctx, name, class, cpu);
			seconds(emit, ctx, clock_cycles_to_ns(f->longest));
			emit(ctx, "\n");
		}
	}
}

static void write_histogram(emit_fn emit, void *ctx, unsigned cpu, unsigned class)
{
	const struct wtd_figures *f = &scheds[cpu].queue[class].figures;
	uint64_t below = 0;

	for (unsigned n = 0; n < WTD_LATENCY_BUCKETS; n++) {
		below += f->latency[n];
		emit(ctx, "pagewire_wtd_latency_seconds_bucket{class=\"%s\",cpu=\"%u\",le=\"",
		     class_names[class], cpu);
		if (n + 1 < WTD_LATENCY_BUCKETS)
			seconds(emit, ctx, 1ULL << (n + 6));
		else
			emit(ctx, "+Inf");
		emit(ctx, "\"} %lu\n", (unsigned long)below);
	}
	row_of(emit, ctx, "pagewire_wtd_latency_seconds_sum", class, cpu);
	seconds(emit, ctx, clock_cycles_to_ns(f->latency_sum));
	emit(ctx, "\n");
	row_of(emit, ctx, "pagewire_wtd_latency_seconds_count", class, cpu);
	emit(ctx, "%lu\n", (unsigned long)below);
}

static void write_wtd(emit_fn emit, void *ctx)
{
	write_counts(emit, ctx, "pagewire_wtd_posted_total", "counter", "WTDs queued.",
		     SHOWN_POSTED);
	write_counts(emit, ctx, "pagewire_wtd_run_total", "counter", "WTDs begun.", SHOWN_RUN);
	write_counts(emit, ctx, "pagewire_wtd_hogs_total", "counter",
		     "Times a WTD ran for longer than the hog limit without sleeping.", SHOWN_HOGS);
	write_counts(emit, ctx, "pagewire_wtd_depth", "gauge", "WTDs queued now.", SHOWN_DEPTH);
	write_counts(emit, ctx, "pagewire_wtd_depth_high", "gauge", "The most WTDs ever queued.",
		     SHOWN_DEPTH_HIGH);
	write_longest(emit, ctx);
	head(emit, ctx, "pagewire_wtd_latency_seconds", "histogram",
	     "From the posting of a WTD to its start.");
	for (unsigned cpu = 0; cpu < CPU_MAX; cpu++)
		for (unsigned class = 0; class < WTD_CLASSES; class ++)
			write_histogram(emit, ctx, cpu, class);
}
KSTAT_FAMILY(wtd, write_wtd);

static void write_cpu(emit_fn emit, void *ctx)
{
	uint64_t now = clock_ns();

	head(emit, ctx, "pagewire_cpu_idle_seconds_total", "counter",
	     "Time the processor was halted for lack of work.");
	for (unsigned cpu = 0; cpu < CPU_MAX; cpu++) {
		emit(ctx, "pagewire_cpu_idle_seconds_total{cpu=\"%u\"} ", cpu);
		seconds(emit, ctx, MIN(cpu_idle_ns(cpu), now));
		emit(ctx, "\n");
	}
	head(emit, ctx, "pagewire_cpu_busy_seconds_total", "counter",
	     "Time since kernel entry that the processor was not halted.");
	for (unsigned cpu = 0; cpu < CPU_MAX; cpu++) {
		emit(ctx, "pagewire_cpu_busy_seconds_total{cpu=\"%u\"} ", cpu);
		seconds(emit, ctx, now - MIN(cpu_idle_ns(cpu), now));
		emit(ctx, "\n");
	}
}
KSTAT_FAMILY(cpu, write_cpu);

#define SCHED_FIGURE(id, type, metric, help, expression)                                           \
	static uint64_t read_##id(void)                                                            \
	{                                                                                          \
		uint64_t sum = 0;                                                                  \
		for (const struct sched *s = scheds; s < scheds + CPU_MAX; s++)                    \
			sum += (expression);                                                       \
		return sum;                                                                        \
	}                                                                                          \
	KSTAT_##type##_FN(id, metric, NULL, help, read_##id)

SCHED_FIGURE(slices, COUNTER, "pagewire_wtd_slices_total",
	     "Slices given to a ready thread after a long row of WTDs.", s->slices_given);
SCHED_FIGURE(switches, COUNTER, "pagewire_thread_switches_total", "Switches between stacks.",
	     s->switches);
SCHED_FIGURE(workers, GAUGE, "pagewire_workers", "Workers that exist.", s->workers);
SCHED_FIGURE(workers_idle, GAUGE, "pagewire_workers_idle", "Workers that wait for a WTD.",
	     s->workers_idle);
SCHED_FIGURE(workers_high, GAUGE, "pagewire_workers_high", "The most workers there ever were.",
	     s->workers_high);
SCHED_FIGURE(workers_max_hits, COUNTER, "pagewire_workers_max_hits_total",
	     "Times WTDs waited because all workers that may exist slept.", s->workers_max_hits);
SCHED_FIGURE(workers_failed, COUNTER, "pagewire_workers_failed_total",
	     "Workers that could not be made for lack of memory; tried again.", s->workers_failed);
SCHED_FIGURE(timers, GAUGE, "pagewire_timers_armed", "Delayed WTDs and sleeps on the timer wheel.",
	     s->wheel.count);
