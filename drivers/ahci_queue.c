// SPDX-License-Identifier: BSD-2-Clause
// The disk's fast path: a request waits in the elevator, becomes a command in a slot, and is completed
// when the adapter says so. The data's physical addresses go from the caller's segments into the
// command's descriptors as they are. Stage 6 of the read path, on a miss.
//
//	ahci_submit -> elevator -> ahci_issue -> PXSACT, PXCI ... interrupt -> ahci_work -> block_complete
//
// A flush runs alone, as queued and plain commands may not be mixed, and serves every flush that waits.
// Fast WTD or thread context with the port's lock; block_complete is called without it.
#include "drivers/ahci.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"

void ahci_submit(struct block_device *dev, struct block_request *r)
{
	struct ahci_port *port = dev->driver;
	spin_lock_wtd(&port->lock);
	if (port->state == AHCI_GONE) {
		r->status = -ENODEV;
		request_push(&port->over, r);
		wtd_post_fast(&port->work);
	} else if (r->op == BLOCK_FLUSH) {
		request_push(&port->flushes, r);
	} else {
		elevator_add(&port->waiting, r);
	}
	if (port->state == AHCI_RUNNING)
		ahci_issue(port);
	spin_unlock_wtd(&port->lock);
}

static void put_lba(struct fis_h2d *fis, uint64_t lba)
{
	for (int n = 0; n < 3; n++) {
		fis->lba_low[n] = (uint8_t)(lba >> 8 * n);
		fis->lba_high[n] = (uint8_t)(lba >> (24 + 8 * n));
	}
}

static void make_flush(const struct ahci_port *port, struct fis_h2d *fis)
{
	fis->command = port->identity.flush_ext ? ATA_FLUSH_CACHE_EXT : ATA_FLUSH_CACHE;
	fis->device = FIS_DEVICE_LBA;
}

// ATA8-ACS 7.24, 7.67 (DMA) and ACS-2 7.25, 7.65 (queued: the count is where the features were, the tag
// where the count was).
static void make_transfer(const struct ahci_port *port, struct fis_h2d *fis,
			  const struct block_request *r, unsigned slot, uint64_t bytes)
{
	bool write = r->op == BLOCK_WRITE;
	bool fua = write && r->fua && port->flush_needed;
	uint32_t sector_bytes = port->dev.sector_bytes;
	uint64_t count = bytes / sector_bytes;
	put_lba(fis, r->disk_lba / (sector_bytes >> SECTOR_SHIFT));
	fis->device = FIS_DEVICE_LBA;
	if (port->ncq) {
		fis->command = write ? ATA_WRITE_FPDMA_QUEUED : ATA_READ_FPDMA_QUEUED;
		fis->features_low = (uint8_t)count;
		fis->features_high = (uint8_t)(count >> 8);
		fis->count_low = (uint8_t)(slot << 3);
		fis->device |= fua && !port->fua_by_flush ? FIS_DEVICE_FUA : 0;
	} else {
		fis->command = !write			    ? ATA_READ_DMA_EXT
			       : fua && !port->fua_by_flush ? ATA_WRITE_DMA_FUA_EXT
							    : ATA_WRITE_DMA_EXT;
		fis->count_low = (uint8_t)count;
		fis->count_high = (uint8_t)(count >> 8);
	}
}

static void fill_slot(struct ahci_port *port, unsigned slot, struct block_request *r)
{
	struct ahci_table *table = port->table[slot];
	uint64_t bytes = 0;
	uint32_t prds = port->flushing ? 0 : r->nsegs;
	for (uint32_t n = 0; n < prds; n++) {
		table->prd[n] =
		    (struct ahci_prd){.dba = r->segs[n].addr, .dbc = r->segs[n].bytes - 1};
		bytes += r->segs[n].bytes;
	}
	table->fis = (struct fis_h2d){.type = FIS_H2D, .flags = FIS_H2D_COMMAND};
	if (port->flushing)
		make_flush(port, &table->fis);
	else
		make_transfer(port, &table->fis, r, slot, bytes);
	uint16_t flags = COMMAND_FIS_DWORDS;
	if (!port->flushing && r->op == BLOCK_WRITE)
		flags |= COMMAND_WRITE;
	port->memory->command[slot] = (struct ahci_command){
	    .flags = flags, .prdtl = (uint16_t)prds, .ctba = virt_to_phys(table)};
}

// What may run next beside what runs already: a suspect alone, a flush alone, else the elevator's.
static struct block_request *take_next(struct ahci_port *port)
{
	struct block_request *r = NULL;
	if (port->alone || port->flushing)
		return NULL;
	if (port->suspects.first) {
		if (port->issued)
			return NULL;
		r = request_pop(&port->suspects);
		port->alone = true;
	} else if (port->flushes.first) {
		if (port->issued)
			return NULL;
		r = port->flushes.first; // the whole list: one command is as good as many
		port->flushes.first = NULL;
		port->flushing = true;
	} else if (slots_in(port->issued) < port->depth) {
		r = elevator_take(&port->waiting);
	}
	return r;
}

void ahci_issue(struct ahci_port *port)
{
	uint32_t start = 0, queued = 0;
	struct block_request *r;
	while ((r = take_next(port))) {
		unsigned slot = (unsigned)__builtin_ctz(~port->issued);
		ASSERT(slot < port->depth);
		fill_slot(port, slot, r);
		port->slot[slot] = r;
		port->issued_ns[slot] = clock_ns();
		port->issued |= (uint32_t)BIT(slot);
		start |= (uint32_t)BIT(slot);
		if (port->ncq && !port->flushing)
			queued |= (uint32_t)BIT(slot);
		for (; r; r = port->flushing ? r->next : NULL)
			r->tries++;
	}
	if (!start)
		return;
	io_wmb();
	if (queued)
		port_write(port, AHCI_PXSACT, queued);
	port_write(port, AHCI_PXCI, start);
	if (!port->watching) {
		port->watching = true;
		wtd_post_after(&port->watch, WTD_FAST, AHCI_WATCH_NS);
	}
}

static void finish_one(struct ahci_port *port, struct block_request *r, struct request_list *over)
{
	if (!port->flushing && r->op == BLOCK_WRITE && r->fua && port->fua_by_flush) {
		r->tries = 0;
		request_push(&port->flushes, r);
		return;
	}
	r->status = 0;
	request_push(over, r);
}

void ahci_finish(struct ahci_port *port, uint32_t mask, struct request_list *over)
{
	for (; mask; mask &= mask - 1) {
		unsigned slot = (unsigned)__builtin_ctz(mask);
		struct block_request *r = port->slot[slot], *next;
		for (; r; r = next) {
			next = port->flushing ? r->next : NULL;
			finish_one(port, r, over);
		}
		port->slot[slot] = NULL;
		port->issued &= ~(uint32_t)BIT(slot);
		port->resets_in_row = 0;
	}
	if (!port->issued) {
		port->alone = false;
		port->flushing = false;
	}
}

// Queued commands: a command that failed stays in PXSACT, whatever happens to the others. An error
// shows as TFES or (QEMU before 8.1, which has no TFES here) in the task file, and where a later success
// has overwritten that, as PXSERR bits of the tags. Plain commands: an error shows as TFES; whether
// PXCI keeps the failed command differs between adapters, so none counts as done once it is up.
static void harvest(struct ahci_port *port, uint32_t note, struct request_list *over)
{
	bool failed = note & PXIS_FATAL;
	uint32_t active = port_read(port, AHCI_PXCI);
	if (port->ncq && !port->flushing) {
		active |= port_read(port, AHCI_PXSACT);
		ahci_finish(port, port->issued & ~active, over);
		if (port->issued && !failed)
			failed = port_read(port, AHCI_PXTFD) & PXTFD_ERR ||
				 port_read(port, AHCI_PXSERR) & port->issued;
	} else {
		failed = failed || port_read(port, AHCI_PXIS) & PXIS_FATAL;
		if (!failed)
			ahci_finish(port, port->issued & ~active, over);
	}
	if (failed)
		ahci_port_trouble(port, note & PXIS_LINK ? "link error" : "command failed",
				  note & PXIS_LINK);
	else
		ahci_issue(port);
}

void ahci_work(struct wtd *work)
{
	struct ahci_port *port = CONTAINER_OF(work, struct ahci_port, work);
	struct request_list over = {0};
	struct block_request *r;
	spin_lock_wtd(&port->lock);
	if (port->state == AHCI_RUNNING)
		harvest(port, __atomic_exchange_n(&port->note, 0, __ATOMIC_RELAXED), &over);
	while ((r = request_pop(&port->over)))
		request_push(&over, r);
	spin_unlock_wtd(&port->lock);
	while ((r = request_pop(&over)))
		block_complete(r, r->status);
}
