// SPDX-License-Identifier: BSD-2-Clause
// Mutated ext4 metadata. An input chooses one of the small images that tests/host/ext4_images.py
// makes and says which bytes of the blocks that are read as metadata to change; the image is then
// mounted and everything in it read. Crashes, sanitizer reports, leaked blocks and frames, and
// inputs that take too long are what is looked for. Run from the project's root.
//
// Input: a byte for the image, then records of five: position (24 bits, modulo what there is), how,
// value.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ext4_tree.h"
#include "kernel/panic.h"
#include "shim.h"

#define RECORD 5

struct base {
	const char *path;
	uint8_t *bytes, *whole;
	uint64_t size;
	uint32_t *touched; // numbers of the KBs that mounting and reading touch as metadata
	uint32_t touched_count;
};
static struct base bases[] = {
    {.path = EXT4_IMAGES "/damage/nocsum.img"},
    {.path = EXT4_IMAGES "/damage/ext3.img"},
    {.path = EXT4_IMAGES "/damage/csum.img"},
    {.path = EXT4_IMAGES "/journals/busy-old.img"},
    {.path = EXT4_IMAGES "/journals/busy-1024-nocsum.img"},
};

static void load(struct base *base)
{
	struct image image;
	FILE *f = fopen(base->path, "rb");
	ASSERT(f);
	fseek(f, 0, SEEK_END);
	base->size = (uint64_t)ftell(f);
	rewind(f);
	base->bytes = malloc(base->size);
	base->whole = malloc(base->size);
	ASSERT(fread(base->bytes, 1, base->size, f) == base->size);
	fclose(f);
	memcpy(base->whole, base->bytes, base->size);
	uint8_t *touched = calloc(base->size / 1024, 1);
	ASSERT(!image_open_memory(&image, base->bytes, base->size, touched));
	ASSERT(!ext4_read_everything(&image));
	image_close(&image);
	base->touched = calloc(base->size / 1024, sizeof(uint32_t));
	for (uint32_t kb = 0; kb < base->size / 1024; kb++)
		if (touched[kb])
			base->touched[base->touched_count++] = kb;
	free(touched);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	ext4_make_images("damage");
	ext4_make_images("journals");
	shim_init(1024);
	for (size_t i = 0; i < ARRAY_SIZE(bases); i++)
		load(&bases[i]);
	return 0;
}

static uint32_t apply(struct base *base, const uint8_t *record)
{
	uint32_t at = record[0] | (uint32_t)record[1] << 8 | (uint32_t)record[2] << 16;
	uint32_t kb = base->touched[at / 1024 % base->touched_count];
	uint8_t *byte = base->bytes + kb * 1024UL + at % 1024, value = record[4];
	switch (record[3] % 4) {
	case 0:
		*byte = value;
		break;
	case 1:
		*byte ^= value;
		break;
	case 2: // a 32-bit field, all of it
		memset(base->bytes + kb * 1024UL + (at % 1024 & ~3U), value, 4);
		break;
	default:
		*byte = (uint8_t)(*byte + value);
	}
	return kb;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct image image;
	if (len < 1 + RECORD || len > 1 + 64 * RECORD)
		return -1;
	struct base *base = &bases[data[0] % ARRAY_SIZE(bases)];
	size_t records = (len - 1) / RECORD, frames = shim_frames_free();
	uint32_t changed[64];
	for (size_t i = 0; i < records; i++)
		changed[i] = apply(base, data + 1 + i * RECORD);
	if (!image_open_memory(&image, base->bytes, base->size, NULL))
		ext4_read_everything(&image);
	image_close(&image);
	ASSERT(shim_frames_free() == frames);
	for (size_t i = 0; i < records; i++)
		memcpy(base->bytes + changed[i] * 1024UL, base->whole + changed[i] * 1024UL, 1024);
	return 0;
}
