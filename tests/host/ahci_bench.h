// SPDX-License-Identifier: BSD-2-Clause
// For the AHCI driver's tests: one disk on the make-believe adapter, requests and what became of them.
// Included by each test once.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "fake_ahci.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/thread.h"
#include "kernel/vmm.h"
#include "shim.h"

#define SECTORS	  4096
#define MAX_SEGS  8
#define SEG_BYTES 4096
#define NEVER	  -1

struct io {
	struct block_request r;
	struct block_seg segs[MAX_SEGS];
	struct page *page[MAX_SEGS];
	unsigned calls;
};
static bool submitting, preempting;
static size_t frames_before;

static inline void io_done(struct block_request *r)
{
	struct io *io = CONTAINER_OF(r, struct io, r);
	assert_true(!submitting || preempting); // never from inside block_submit
	io->calls++;
}

static inline struct block_device *the_disk(void)
{
	return &fake.hba.port[0]->dev;
}

static inline void plug_in(void)
{
	fake_ahci_reset(1);
	fake.disk[0] = (struct fake_disk){
	    .present = true, .sector_bytes = 512, .sectors = SECTORS, .queue_depth = 32};
}

static inline void start(void)
{
	fake.hba.number++;
	assert_int_equal(fake_ahci_start(), 1);
	frames_before = shim_frames_free();
}

static inline void unplug(void)
{
	fake_ahci_settle(0);
	shim_advance(5 * NS_PER_SEC); // the watch goes to sleep
	assert_int_equal(the_disk()->in_flight, 0);
	assert_int_equal(fake.disk[0].mixed, 0);
	assert_int_equal(shim_frames_free(), frames_before);
}

static inline struct io *make_io(enum block_op op, uint64_t lba, unsigned segs, uint32_t seg_bytes)
{
	struct io *io = calloc(1, sizeof *io);
	for (unsigned n = 0; n < segs; n++) {
		io->page[n] = pmm_alloc(0);
		io->segs[n] = (struct block_seg){page_phys(io->page[n]), seg_bytes};
		if (op == BLOCK_WRITE)
			shim_dma_fill(io->segs[n].addr, (int)(lba + n), seg_bytes);
	}
	io->r = (struct block_request){
	    .op = op, .lba = lba, .segs = io->segs, .nsegs = segs, .done = io_done};
	return io;
}

static inline struct io *submit(struct io *io)
{
	submitting = true;
	block_submit(the_disk(), &io->r);
	submitting = false;
	return io;
}

static inline struct io *start_read(uint64_t lba)
{
	return submit(make_io(BLOCK_READ, lba, 1, 512));
}

static inline void free_io(struct io *io)
{
	assert_int_equal(io->calls, 1);
	for (unsigned n = 0; n < io->r.nsegs; n++)
		pmm_free(io->page[n], 0);
	free(io);
}

// Checks what a read brought, then frees it.
static inline void expect_pattern(struct io *io)
{
	uint64_t byte = io->r.lba * 512;
	assert_int_equal(io->calls, 1);
	assert_int_equal(io->r.status, 0);
	for (unsigned n = 0; n < io->r.nsegs; n++) {
		const uint8_t *p = phys_to_virt(io->segs[n].addr);
		for (unsigned i = 0; i < io->segs[n].bytes; i++, byte++)
			assert_int_equal(p[i], fake_ahci_pattern(byte));
	}
	free_io(io);
}

static inline void expect_status(struct io *io, int status)
{
	assert_int_equal(io->calls, 1);
	assert_int_equal(io->r.status, status);
	free_io(io);
}

static inline int set_up_ahci(void **state)
{
	shim_init(16384);
	shim_seed();
	return 0;
}
