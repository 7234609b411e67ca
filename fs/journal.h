// SPDX-License-Identifier: BSD-2-Clause
// jbd2's log, read-only. Replaying it here means: finding out which blocks of the volume have their
// true content in the log, and where. Nothing is written; the result is a map.
//
//	struct journal_source source = { .dev = ..., .block_bytes = ..., .map = ..., ... };
//	int error = journal_replay(&source, &map, &result);       // thread context, sleeps
//	... journal_map_get(&map, block, &replacement, &escaped)  // any context, no more sets
//	journal_map_free(&map);
#pragma once

#include "kernel/base.h"

struct block_device;

#define JBD2_MAGIC 0xc03b3998U

// ---- journal_map.c: numbers to numbers, as large as it must be and no larger than its bound ----
struct journal_map_entry {
	uint64_t key; // plus one; 0: free
	uint64_t value;
};
#define JOURNAL_MAP_CHUNK_ENTRIES 4096 // 64 KB a chunk
#define JOURNAL_MAP_CHUNKS	  1024 // 4 Mi entries, 64 MB: a log of 8 GB full of 4 KB blocks
struct journal_map {
	struct journal_map_entry **chunks; // an open-addressed table, in pieces
	uint32_t chunk_count;		   // a power of two, or 0
	uint32_t used;
	uint64_t lowest, highest; // keys, for a quick no
	uint64_t multiplier;
};
// 0, -ENOMEM, -E2BIG at the bound.
int journal_map_set(struct journal_map *map, uint64_t key, uint64_t value) MUST_CHECK;
bool journal_map_find(const struct journal_map *map, uint64_t key, uint64_t *value);
// Calls visit for each pair until it gives something other than 0, and gives that.
int journal_map_each(const struct journal_map *map,
		     int (*visit)(void *ctx, uint64_t key, uint64_t value), void *ctx) MUST_CHECK;
void journal_map_free(struct journal_map *map); // empty afterwards

// What a value of the replay's map means. An escaped block began with jbd2's magic; the log has
// zeros there.
static inline uint64_t journal_value(uint64_t replacement, bool escaped)
{
	return replacement << 1 | escaped;
}
static inline bool journal_map_get(const struct journal_map *map, uint64_t block,
				   uint64_t *replacement, bool *escaped)
{
	uint64_t value;
	if (!journal_map_find(map, block, &value))
		return false;
	*replacement = value >> 1;
	*escaped = value & 1;
	return true;
}

// ---- journal.c ----
struct journal_source {
	const char *name; // of the device, for messages
	struct block_device *dev;
	uint32_t block_bytes;
	uint64_t volume_blocks;
	uint64_t log_blocks; // that the journal's inode has
	// Where log block `index` is on the volume, and how many from there on are contiguous.
	// Sleeps.
	int (*map)(void *ctx, uint32_t index, uint64_t *block, uint32_t *count);
	void *ctx;
};
struct journal_result {
	uint32_t transactions, blocks, revoked;
	uint32_t error; // s_errno: the last user aborted the journal with it
	uint32_t
	    next; // sequence number that no transaction in the log has; 0: nothing was replayed
};
// Is there anything to replay? 1, 0, or as below.
int journal_needs_replay(const struct journal_source *source) MUST_CHECK;
// 0; -EUCLEAN: the log is damaged before its end (said in the log); -EOPNOTSUPP: refused by name;
// -EIO, -ENOMEM, -E2BIG.
int journal_replay(const struct journal_source *source, struct journal_map *map,
		   struct journal_result *result) MUST_CHECK;
