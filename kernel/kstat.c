// SPDX-License-Identifier: BSD-2-Clause
// Statistics rows and families (include/kernel/kstat.h), sorted and written as Prometheus text
// 0.0.4: one HELP and one TYPE line a family, then its rows.
#include "kernel/kstat.h"
#include "kernel/cpu.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"

extern const struct kstat __start_kstats[], __stop_kstats[];
extern const struct kstat_family __start_kstat_families[], __stop_kstat_families[];

// Rows are made by the linker, so their number is known when the kernel is built; the first walk
// checks that they fit.
#define KSTAT_MAX 1024

static uint16_t order[KSTAT_MAX]; // rows by name, then labels
static uint32_t sorted;		  // atomic: how many of `order` are valid, 0 before the first walk

static int compare(const struct kstat *a, const struct kstat *b)
{
	int by_name = strcmp(a->name, b->name);

	if (by_name)
		return by_name;
	return strcmp(a->labels ? a->labels : "", b->labels ? b->labels : "");
}

// Insertion by halving, once, with interrupts off so that nobody sees it half done.
static void sort_rows(void)
{
	uint32_t count = (uint32_t)(__stop_kstats - __start_kstats);
	bool on;

	if (__atomic_load_n(&sorted, __ATOMIC_ACQUIRE))
		return;
	ASSERT(count <= KSTAT_MAX);
	on = irq_save();
	for (uint32_t row = 0; row < count; row++) {
		uint32_t low = 0, high = row;

		while (low < high) {
			uint32_t middle = (low + high) / 2;

			if (compare(&__start_kstats[order[middle]], &__start_kstats[row]) <= 0)
				low = middle + 1;
			else
				high = middle;
		}
		memmove(&order[low + 1], &order[low], (row - low) * sizeof(order[0]));
		order[low] = (uint16_t)row;
	}
	__atomic_store_n(&sorted, count, __ATOMIC_RELEASE);
	irq_restore(on);
}

void kstat_each(void (*visit)(const struct kstat *row, void *ctx), void *ctx)
{
	sort_rows();
	for (uint32_t n = 0; n < sorted; n++)
		visit(&__start_kstats[order[n]], ctx);
}

uint64_t kstat_get(const char *name, const char *labels)
{
	const struct kstat wanted = {.name = name, .labels = labels};

	for (const struct kstat *row = __start_kstats; row < __stop_kstats; row++)
		if (compare(row, &wanted) == 0)
			return kstat_value(row);
	PANIC("no statistic %s{%s}", name, labels ? labels : "");
}

struct writer {
	void (*emit)(void *ctx, const char *format, ...);
	void *ctx;
	const char *family; // name of the rows before
};

static void write_row(const struct kstat *row, void *ctx)
{
	struct writer *w = ctx;

	if (!w->family || strcmp(w->family, row->name)) {
		w->emit(w->ctx, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name,
			row->type == KSTAT_COUNTER_T ? "counter" : "gauge");
		w->family = row->name;
	}
	if (row->labels)
		w->emit(w->ctx, "%s{%s} %lu\n", row->name, row->labels,
			(unsigned long)kstat_value(row));
	else
		w->emit(w->ctx, "%s %lu\n", row->name, (unsigned long)kstat_value(row));
}

void kstat_write(void (*emit)(void *ctx, const char *format, ...), void *ctx)
{
	struct writer w = {.emit = emit, .ctx = ctx};

	kstat_each(write_row, &w);
	for (const struct kstat_family *f = __start_kstat_families; f < __stop_kstat_families; f++)
		f->write(emit, ctx);
}
