// SPDX-License-Identifier: BSD-2-Clause
// Disks and partitions. Drivers register block devices, the volume layer finds them here; neither
// knows the other. Requests are asynchronous and belong to the caller until `done` is called.
//
// Usage:
//	struct block_request *r = ...;                 // caller-allocated, stays put until done
//	r->op = BLOCK_READ; r->lba = ...; r->segs = ...; r->nsegs = ...; r->done = finished;
//	block_submit(dev, r);                          // any context but interrupt
//	finished(r):  r->status is 0 or -EIO, -ENODEV  // fast WTD context
#pragma once

#include "kernel/base.h"

#define SECTOR_SHIFT 9 // lba and counts are in 512-byte units whatever the device's own sector is

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_OPS };

struct block_seg {
	paddr_t addr;
	uint32_t bytes; // multiple of 512
};

struct block_device;
struct block_request {
	enum block_op op;
	bool fua;      // write: durable when done
	uint8_t tries; // driver's: attempts so far
	uint32_t nsegs;
	const struct block_seg *segs;
	uint64_t lba; // 512-byte sectors from the start of `dev`
	int status;   // valid in done
	void (*done)(struct block_request *request);
	void *context; // caller's
	// block_submit's.
	struct block_device *dev; // the device asked, for messages and figures
	uint64_t disk_lba;	  // 512-byte sectors from the start of the whole disk
	uint64_t started;	  // clock_cycles at submission, for statistics
	// The driver's while it has the request: queue links.
	struct block_request *next, *child;
};

struct block_device {
	const char *name;      // "ahci0.1", partitions "ahci0.1p2"
	uint64_t sectors;      // 512-byte units
	uint32_t sector_bytes; // the device's logical sector
	uint32_t max_segs;     // in one request
	uint32_t max_sectors;  // in one request
	uint32_t queue_depth;  // commands in flight the device takes at once
	bool read_only;
	struct block_device *parent; // partition: the disk, which gets disk_lba = lba + start
	uint64_t start;
	char model[41], serial[21]; // what the disk calls itself; empty: nothing known
	// Driver's (null for a partition). Acts on request->disk_lba. Must accept the request
	// (queueing it when the hardware is full), any context but interrupt; calls
	// block_complete when it is over.
	void (*submit)(struct block_device *dev, struct block_request *request);
	void *driver;
	// Figures (block.c keeps them; any context may read).
	uint64_t ops[BLOCK_OPS], sector_count[BLOCK_OPS], errors, retries;
	uint32_t in_flight, in_flight_high;
	struct block_device *next;
};

void block_register(struct block_device *dev); // thread context; dev must stay
struct block_device *block_first(void);	       // list through ->next
// Range, read-only and alignment are checked here; a bad request completes with -EINVAL or -EROFS.
void block_submit(struct block_device *dev, struct block_request *request);
void block_complete(struct block_request *request, int status); // driver, fast WTD context
// Sleeps until the request is done; for mounting and metadata. Thread or worker context.
int block_rw_sync(struct block_device *dev, enum block_op op, uint64_t lba, void *buffer,
		  uint32_t bytes) MUST_CHECK; // buffer: direct-map memory, bytes a multiple of 512
