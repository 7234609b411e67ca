// SPDX-License-Identifier: BSD-2-Clause
// The flight recorder (include/kernel/trace.h): a ring of 32-byte events. A writer takes the next
// place with one atomic add and fills it; nobody waits, and a writer interrupted in the middle of
// its four stores can at worst leave one odd line in the ring.
#include "kernel/trace.h"
#include "kernel/boot.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/timer.h"

#define TRACE_RING 1024 // power of two; 32 KB, some tenths of a second of a busy server
#define TRACE_TEXT 160	// longest line

struct trace_entry {
	uint64_t
	    stamp; // cycles since entry, shifted left by 8; the low byte: the event's number + 1
	uint64_t a, b, c;
};
_Static_assert(sizeof(struct trace_entry) == 32, "an event is half a cache line");
_Static_assert(TRACE_EVENTS < 255, "an event's number, plus one, fits the low byte");

static struct trace_entry ring[TRACE_RING];
static uint64_t written; // atomic: events ever

static const char *const texts[TRACE_EVENTS] = {
#define TRACE_EVENT(id, text) [TRACE_##id] = text,
#include "kernel/trace_events.h"
#undef TRACE_EVENT
};

void trace(enum trace_event event, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t place = __atomic_fetch_add(&written, 1, __ATOMIC_RELAXED) % TRACE_RING;

	ring[place] = (struct trace_entry){
	    .stamp = (clock_cycles() - boot_info.entry_cycles) << 8 | ((unsigned)event + 1),
	    .a = a,
	    .b = b,
	    .c = c,
	};
}

// One %-directive of an event's sentence: %a, %xa, %sa (also b, c). Returns how many characters of
// the sentence it took; 0 when it is no directive.
static size_t directive(const char *at, const struct trace_entry *e, char *out, size_t size)
{
	char kind = at[1] == 'x' || at[1] == 's' ? at[1] : 'd';
	char which = kind == 'd' ? at[1] : at[2];
	uint64_t value;

	if (which < 'a' || which > 'c')
		return 0;
	value = which == 'a' ? e->a : which == 'b' ? e->b : e->c;
	if (kind == 'x')
		ksnprintf(out, size, "0x%lx", (unsigned long)value);
	else if (kind == 's')
		ksnprintf(out, size, "%s", value ? (const char *)(uintptr_t)value : "(none)");
	else
		ksnprintf(out, size, "%lu", (unsigned long)value);
	return kind == 'd' ? 2 : 3;
}

static void format_entry(const struct trace_entry *e, char *out, size_t size)
{
	uint64_t us = clock_cycles_to_ns(e->stamp >> 8) / NS_PER_US;
	const char *text = texts[(e->stamp & 0xff) - 1];
	size_t used = (size_t)ksnprintf(out, size, "%6lu.%06lu ", (unsigned long)(us / 1000000),
					(unsigned long)(us % 1000000));

	while (*text && used + 1 < size) {
		size_t took = *text == '%' ? directive(text, e, out + used, size - used) : 0;

		if (took) {
			text += took;
			used += strlen(out + used);
		} else {
			out[used++] = *text++;
		}
	}
	out[used] = 0;
}

void trace_dump(unsigned count, void (*line)(void *ctx, const char *text), void *ctx)
{
	uint64_t end = __atomic_load_n(&written, __ATOMIC_RELAXED);
	uint64_t have = MIN(end, (uint64_t)TRACE_RING);
	char text[TRACE_TEXT];

	for (uint64_t n = end - MIN((uint64_t)count, have); n < end; n++) {
		struct trace_entry e = ring[n % TRACE_RING];
		unsigned event = e.stamp & 0xff;

		if (event == 0 || event > TRACE_EVENTS)
			continue; // taken by a writer that has not filled it yet
		format_entry(&e, text, sizeof(text));
		line(ctx, text);
	}
}
