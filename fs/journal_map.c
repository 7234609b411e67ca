// SPDX-License-Identifier: BSD-2-Clause
// A map from numbers to numbers that grows: an open-addressed table of 16-byte entries in 64 KB
// chunks, at most three quarters full, doubled when it is fuller. The multiplier is random, so that
// a crafted log cannot make the chains long. Changed by one thread only; read by any context once
// made.
#include "fs/journal.h"

#include "kernel/cpu.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"

#define CHUNK_BYTES	(JOURNAL_MAP_CHUNK_ENTRIES * sizeof(struct journal_map_entry))
#define DIRECTORY_BYTES (JOURNAL_MAP_CHUNKS * sizeof(struct journal_map_entry *))

static uint64_t capacity(const struct journal_map *map)
{
	return (uint64_t)map->chunk_count * JOURNAL_MAP_CHUNK_ENTRIES;
}

// The key's entry, or the free one where it would go. The table is never full.
static struct journal_map_entry *slot_of(const struct journal_map *map, uint64_t key)
{
	uint64_t mask = capacity(map) - 1;
	uint64_t at = (key * map->multiplier) >> 32 & mask;
	for (;; at = (at + 1) & mask) {
		struct journal_map_entry *entry =
		    &map->chunks[at / JOURNAL_MAP_CHUNK_ENTRIES][at % JOURNAL_MAP_CHUNK_ENTRIES];
		if (!entry->key || entry->key == key + 1)
			return entry;
	}
}

static bool make_chunks(struct journal_map *map, uint32_t count)
{
	map->chunks = kpages_alloc(DIRECTORY_BYTES);
	if (!map->chunks)
		return false;
	while (map->chunk_count < count) {
		map->chunks[map->chunk_count] = kpages_alloc(CHUNK_BYTES);
		if (!map->chunks[map->chunk_count])
			return false;
		map->chunk_count++;
	}
	return true;
}

static int grow(struct journal_map *map)
{
	uint32_t count = map->chunk_count ? map->chunk_count * 2 : 1;
	struct journal_map larger = *map;
	if (count > JOURNAL_MAP_CHUNKS)
		return -E2BIG;
	larger.chunks = NULL;
	larger.chunk_count = 0;
	if (!map->chunk_count) {
		larger.multiplier = cpu_random() | 1;
		larger.lowest = UINT64_MAX;
	}
	if (!make_chunks(&larger, count)) {
		journal_map_free(&larger);
		return -ENOMEM;
	}
	for (uint64_t i = 0; i < capacity(map); i++) {
		const struct journal_map_entry *entry =
		    &map->chunks[i / JOURNAL_MAP_CHUNK_ENTRIES][i % JOURNAL_MAP_CHUNK_ENTRIES];
		if (entry->key)
			*slot_of(&larger, entry->key - 1) = *entry;
	}
	struct journal_map old = *map;
	*map = larger;
	journal_map_free(&old);
	return 0;
}

int journal_map_set(struct journal_map *map, uint64_t key, uint64_t value)
{
	if (map->used + 1UL > capacity(map) / 4 * 3) {
		int error = grow(map);
		if (error)
			return error;
	}
	struct journal_map_entry *entry = slot_of(map, key);
	if (!entry->key) {
		entry->key = key + 1;
		map->used++;
		map->lowest = MIN(map->lowest, key);
		map->highest = MAX(map->highest, key);
	}
	entry->value = value;
	return 0;
}

bool journal_map_find(const struct journal_map *map, uint64_t key, uint64_t *value)
{
	if (!map->used || key < map->lowest || key > map->highest)
		return false;
	const struct journal_map_entry *entry = slot_of(map, key);
	*value = entry->value;
	return entry->key;
}

int journal_map_each(const struct journal_map *map,
		     int (*visit)(void *ctx, uint64_t key, uint64_t value), void *ctx)
{
	for (uint32_t c = 0; c < map->chunk_count; c++)
		for (uint32_t i = 0; i < JOURNAL_MAP_CHUNK_ENTRIES; i++) {
			const struct journal_map_entry *entry = &map->chunks[c][i];
			int status = entry->key ? visit(ctx, entry->key - 1, entry->value) : 0;
			if (status)
				return status;
		}
	return 0;
}

void journal_map_free(struct journal_map *map)
{
	for (uint32_t c = 0; c < map->chunk_count; c++)
		kpages_free(map->chunks[c], CHUNK_BYTES);
	if (map->chunks)
		kpages_free(map->chunks, DIRECTORY_BYTES);
	*map = (struct journal_map){.chunk_count = 0};
}
