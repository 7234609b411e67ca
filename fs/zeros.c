// SPDX-License-Identifier: BSD-2-Clause
// Arrays of zeros (zeros.h).
#include "fs/zeros.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"

static const uint8_t nothing[PAGE_SIZE];

static void fill_pointers(const uint8_t **to, const uint8_t *pointer, size_t count)
{
#pragma GCC unroll 8
	for (size_t i = 0; i < count; i++)
		to[i] = pointer;
}

bool zeros_make(struct zeros *z, size_t bytes)
{
	size_t parts;

	*z = (struct zeros){.bytes = ALIGN_UP(bytes, PAGE_SIZE)};
	ASSERT(z->bytes <= ZEROS_BLOCK * ZEROS_BLOCKS);
	parts = z->bytes / PAGE_SIZE;
	z->part = kpages_alloc_raw(parts * sizeof(*z->part));
	if (!z->part)
		return false;
	fill_pointers(z->part, nothing, parts);
	for (size_t at = 0; at < z->bytes; at += ZEROS_BLOCK) {
		uint8_t *block = kpages_alloc_bare(MIN(z->bytes - at, ZEROS_BLOCK));

		z->block[at / ZEROS_BLOCK] = block;
		if (!block) {
			zeros_free(z);
			return false;
		}
	}
	return true;
}

void zeros_free(struct zeros *z)
{
	for (size_t at = 0; at < z->bytes; at += ZEROS_BLOCK)
		kpages_free_bare(z->block[at / ZEROS_BLOCK], MIN(z->bytes - at, ZEROS_BLOCK));
	kpages_free(z->part, z->bytes / PAGE_SIZE * sizeof(*z->part));
	*z = (struct zeros){.part = NULL};
}

void *zeros_write(struct zeros *z, size_t i, size_t entry_bytes)
{
	size_t at = i * entry_bytes, part = at / PAGE_SIZE;
	uint8_t *to = z->block[at / ZEROS_BLOCK] + at % ZEROS_BLOCK;

	if (UNLIKELY(z->part[part] == nothing))
		z->part[part] = memset(to - at % PAGE_SIZE, 0, PAGE_SIZE);
	return to;
}
