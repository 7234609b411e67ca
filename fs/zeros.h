// SPDX-License-Identifier: BSD-2-Clause
// A large array of zeros that is cleared where something is first written: a hash table sized by the machine's memory
// costs next to nothing at boot. It is made of parts of a page; those that nothing was written to all lead to one
// page of zeros. The memory for all of them is taken at once, so that nothing can fail later. Entries are of a size
// that is a power of two; whatever guards them guards the array.
//
//	static struct zeros table;
//	if (!zeros_make(&table, count * sizeof(entry)))
//	...	entry = *(const struct entry *)zeros_read(&table, i, sizeof(entry));
//	...	*(struct entry *)zeros_write(&table, i, sizeof(entry)) = entry;
#pragma once

#include "kernel/base.h"
#include "kernel/page.h"
#include "kernel/pmm.h"

#define ZEROS_BLOCK  ((size_t)PAGE_SIZE << PMM_MAX_ORDER)
#define ZEROS_BLOCKS 64

struct zeros {
	const uint8_t **part; // where each is to be read
	size_t bytes;
	uint8_t *block[ZEROS_BLOCKS]; // their memory
};

// Boot. At most ZEROS_BLOCK * ZEROS_BLOCKS bytes. False: no memory.
bool zeros_make(struct zeros *z, size_t bytes) MUST_CHECK;
void zeros_free(struct zeros *z);

static inline const void *zeros_read(const struct zeros *z, size_t i, size_t entry_bytes)
{
	size_t in_part = PAGE_SIZE / entry_bytes;

	return z->part[i / in_part] + i % in_part * entry_bytes;
}

// The same, to be written. What was read at the same place before may be elsewhere now.
void *zeros_write(struct zeros *z, size_t i, size_t entry_bytes);
