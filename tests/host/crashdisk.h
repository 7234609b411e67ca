// SPDX-License-Identifier: BSD-2-Clause
// A make-believe disk with a volatile write cache, for tests of what survives a power cut. It is a block device
// (kernel/block.c in SOURCES) over an image in memory. Everything that happens to it is written down: when a write
// was asked for and when it was over, flushes, and the test's own marks. Afterwards the disk can be had as any
// power cut would have left it:
//
//	crashdisk_load("small.img");                 // everything durable, nothing written down
//	volume_mount(crashdisk_device(), &ext4_filesystem); ... work; crashdisk_mark(n) when n is promised ...
//	for (uint32_t cut = 0; cut <= crashdisk_events(); cut++) {
//		crashdisk_power_cut(cut, CRASH_TORN);    // the disk is now what was left; and empty of notes
//		... mount, check: every mark that crashdisk_marked(cut, n) knows must hold ...
//	}
//
// A write is durable when a flush that was asked for after it was over is over itself, or when it had FUA and is
// over. Of every other write anything may be there: all, nothing, some of its sectors; in any order, but not
// older than what is durable. Two writes of one sector at the same time, and memory that changes while it is
// written, are mistakes of the code under test, and a panic.
#pragma once

#include "kernel/block.h"

extern struct crashdisk_rules {
	uint64_t
	    delay_max_ns; // a request takes up to so long, and they end in any order; 0: at once, in order
	uint32_t max_segs, max_sectors; // 0: 128, 1024
	uint32_t sector_bytes;		// 0: 512
	// Sectors that are never torn apart; 0 of them: 2 from sector 2 on, an ext4 superblock, which has its checksum
	// in the second one: the format itself cannot do with less.
	uint64_t whole_first, whole_count;
} crashdisk_rules;
extern struct crashdisk_counts {
	uint64_t ops[BLOCK_OPS], sectors[BLOCK_OPS], fua, in_flight_high;
} crashdisk_counts;

struct block_device *crashdisk_device(void);
void crashdisk_load(const char *path); // forgets everything, rules and failures too
void crashdisk_load_bytes(const void *bytes, uint64_t size);
void crashdisk_save(const char *path); // as it reads now
const uint8_t *crashdisk_bytes(void);  // ditto
uint64_t crashdisk_size(void);
void crashdisk_free(void); // end of a test

void crashdisk_mark(uint64_t what);
uint32_t crashdisk_events(void);
bool crashdisk_marked(uint32_t cut, uint64_t what); // before the cut; of the last recording
// Whether the event before the cut can make a difference: not a mark.
bool crashdisk_worth_a_cut(uint32_t cut);

enum crash_how {
	CRASH_NOTHING, // nothing that was not durable survives
	CRASH_ALL,     // everything that was asked for
	CRASH_WHOLE,   // of the writes that were not durable each whole or not at all, at random
	CRASH_TORN,    // each of their sectors or not, at random, the writes in any order
	CRASH_HOWS,
};
// What the disk would hold. The caller frees it. Randomness is the shim's.
uint8_t *crashdisk_after(uint32_t cut, enum crash_how how);
// ... and the disk goes on with that. The recording stays as it was, for more cuts, until crashdisk_record.
void crashdisk_power_cut(uint32_t cut, enum crash_how how);
// The disk holds that from now on; the recording stays.
void crashdisk_swap(const uint8_t *bytes);
// Writes down from here on: what is on the disk now is durable, what was written down before is forgotten.
void crashdisk_record(void);

// The k-th request of that kind from now on (0: the next) fails with -EIO, and `more` after it.
void crashdisk_fail(enum block_op op, uint64_t k, uint64_t more);
void crashdisk_unplug(bool out); // every request fails from now on, and those under way
