// SPDX-License-Identifier: BSD-2-Clause
// Statistics: a counter is a plain variable, declared where it is counted, that shows up by itself
// in
// /.pagewire/metrics and in the console's STATS. Names follow Prometheus's rules and start with
// "pagewire_"; counters end in _total. Rows of one family (same name, different labels) must stand
// in one file, next to each other.
#pragma once

#include "kernel/base.h"

enum kstat_type { KSTAT_COUNTER_T, KSTAT_GAUGE_T };

struct kstat {
	const char *name;
	const char *labels; // "site=\"other\"" or null
	const char *help;
	enum kstat_type type;
	const uint64_t *value; // one of these two
	// Any context, must not sleep. Who reads may be a worker: what fast WTDs change is looked at with them
	// off, or is a number.
	uint64_t (*read)(void);
};

// static uint64_t frames_dropped; KSTAT_COUNTER(frames_dropped, "pagewire_rx_dropped_total",
// "...");
#define KSTAT_ROW(id, ...) static const struct kstat kstat_##id TABLE_ROW(kstats) = {__VA_ARGS__}
#define KSTAT_COUNTER(var, metric, text)                                                           \
	KSTAT_ROW(var, .name = metric, .help = text, .type = KSTAT_COUNTER_T, .value = &var)
#define KSTAT_COUNTER_L(id, metric, label, text, variable)                                         \
	KSTAT_ROW(id, .name = metric, .labels = label, .help = text, .type = KSTAT_COUNTER_T,      \
		  .value = &(variable))
#define KSTAT_GAUGE(var, metric, text)                                                             \
	KSTAT_ROW(var, .name = metric, .help = text, .type = KSTAT_GAUGE_T, .value = &var)
#define KSTAT_GAUGE_FN(id, metric, label, text, function)                                          \
	KSTAT_ROW(id, .name = metric, .labels = label, .help = text, .type = KSTAT_GAUGE_T,        \
		  .read = function)
#define KSTAT_COUNTER_FN(id, metric, label, text, function)                                        \
	KSTAT_ROW(id, .name = metric, .labels = label, .help = text, .type = KSTAT_COUNTER_T,      \
		  .read = function)

// A family whose rows are made at run time (pools, disks, histograms): writes its own exposition
// text, HELP and TYPE lines included, through emit. Must not sleep.
struct kstat_family {
	void (*write)(void (*emit)(void *ctx, const char *format, ...), void *ctx);
};
#define KSTAT_FAMILY(id, function)                                                                 \
	static const struct kstat_family kstat_family_##id TABLE_ROW(kstat_families) = {           \
	    .write = function}

static inline uint64_t kstat_value(const struct kstat *row)
{
	return row->read ? row->read() : *row->value;
}
// Walks all rows sorted by family. Any context.
void kstat_each(void (*visit)(const struct kstat *row, void *ctx), void *ctx);
// Value of the row with that name and labels (null: none), for tests; panics if there is no such
// row.
uint64_t kstat_get(const char *name, const char *labels);
// The whole exposition (Prometheus text format 0.0.4): rows, then families. Not of one moment: packets come in
// between. Any context.
void kstat_write(void (*emit)(void *ctx, const char *format, ...), void *ctx);
