// SPDX-License-Identifier: BSD-2-Clause
// Symbols and backtraces; contract in include/kernel/debug.h. The table is made from the first link's
// symbols by boot/ksyms.py, which describes it, and linked in; the first link has none, and then there
// are numbers only.
#include "kernel/debug.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/vmm.h"

#define FRAMES_MAX  40
#define KSYMS_MAGIC 0x4d59534b

struct ksyms_function {
	uint32_t start; // low half of the address; the upper half is all ones
	uint32_t name;	// offset among the names
	uint32_t lines; // offset among the line rows
};
struct ksyms {
	uint32_t magic;
	uint32_t functions, functions_at;
	uint32_t files, files_at; // numbers: offsets among the names
	uint32_t names_at, lines_at, lines_bytes;
};
_Static_assert(sizeof(struct ksyms) == 32, "boot/ksyms.py");
extern const struct ksyms ksyms __attribute__((weak));

extern char text_start[], text_end[];

static const void *at(uint32_t offset)
{
	return (const char *)&ksyms + offset;
}

// The last function that starts at or before the address.
static const struct ksyms_function *find_function(uint32_t address)
{
	const struct ksyms_function *f = at(ksyms.functions_at);
	uint32_t low = 0, high = ksyms.functions;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (f[mid].start <= address)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &f[low - 1] : NULL;
}

static uint32_t varint(const uint8_t **p, const uint8_t *end)
{
	uint32_t value = 0;

	for (unsigned shift = 0; *p < end && shift < 32; shift += 7) {
		uint8_t byte = *(*p)++;

		value |= (uint32_t)(byte & 127) << shift;
		if (byte < 128)
			break;
	}
	return value;
}

// File and line of the last row at or before the address; false when the function has none.
static bool find_line(const struct ksyms_function *f, uint32_t address, const char **file,
		      uint32_t *line)
{
	const struct ksyms_function *last =
	    (const struct ksyms_function *)at(ksyms.functions_at) + ksyms.functions - 1;
	const uint8_t *rows = at(ksyms.lines_at), *p = rows + f->lines;
	const uint8_t *end = rows + (f < last ? f[1].lines : ksyms.lines_bytes);
	const uint32_t *files = at(ksyms.files_at);
	uint32_t here = f->start, number = 0, index = 0;
	bool found = false;

	while (p < end) {
		uint32_t step = varint(&p, end), delta;

		if (here + step / 2 > address)
			break;
		here += step / 2;
		if (step & 1)
			index = varint(&p, end);
		delta = varint(&p, end);
		number += delta & 1 ? 0 - (delta + 1) / 2 : delta / 2;
		found = true;
	}
	*file = index < ksyms.files ? (const char *)at(ksyms.names_at) + files[index] : "";
	*line = number;
	return found;
}

void debug_place(uintptr_t address, char *out, size_t size)
{
	const struct ksyms_function *f = NULL;
	const char *file;
	uint32_t line;
	int len;

	if (&ksyms && ksyms.magic == KSYMS_MAGIC && address >= (uintptr_t)text_start &&
	    address < (uintptr_t)text_end)
		f = find_function((uint32_t)address);
	if (!f) {
		ksnprintf(out, size, "0x%lx", address);
		return;
	}
	len = ksnprintf(out, size, "%s+0x%x", (const char *)at(ksyms.names_at) + f->name,
			(uint32_t)address - f->start);
	if (len < (int)size && find_line(f, (uint32_t)address, &file, &line))
		ksnprintf(out + len, size - (size_t)len, " (%s:%u)", file, line);
}

static bool is_text(uintptr_t address)
{
	return address >= (uintptr_t)text_start && address < (uintptr_t)text_end;
}

void debug_backtrace(uintptr_t rip, uintptr_t rbp)
{
	for (unsigned n = 0; n < FRAMES_MAX; n++) {
		const uintptr_t *frame = (const uintptr_t *)rbp;
		char place[160];

		// A return address is behind its call, perhaps in the next line or function.
		debug_place(n && is_text(rip) ? rip - 1 : rip, place, sizeof(place));
		kprintf("  %016lx %s\n", rip, place);
		// A chain that does not climb is broken; it ends with a null frame pointer.
		if (!rbp || rbp % 8 || !vmm_readable(rbp) || !vmm_readable(rbp + 8) ||
		    (frame[0] && frame[0] <= rbp) || !is_text(frame[1]))
			return;
		rip = frame[1];
		rbp = frame[0];
	}
}
