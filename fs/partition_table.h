// SPDX-License-Identifier: BSD-2-Clause
// Between fs/partition.c and fs/partition_gpt.c. Sectors here are the disk's own (sector_bytes).
#pragma once

#include "kernel/block.h"

struct partition {
	struct block_device dev;
	char name[40];
	unsigned number;
	uint64_t first, last; // sectors, inclusive
	struct partition *next;
};

// What was found on one disk so far; partitions are registered when the whole table has been read.
struct partition_table {
	struct block_device *disk;
	uint64_t sectors;
	struct partition *partitions;
	unsigned count;
};

int partition_read(const struct partition_table *table, uint64_t sector, void *buffer,
		   uint32_t bytes) MUST_CHECK;
// Takes a partition, or refuses it by name in the log: empty, outside [low, high], or overlapping one
// taken before.
void partition_add(struct partition_table *table, unsigned number, uint64_t first, uint64_t last,
		   uint64_t low, uint64_t high);

// True if a valid GPT was found, primary or backup. `sector` is a buffer of sector_bytes.
bool partition_read_gpt(struct partition_table *table, void *sector);
