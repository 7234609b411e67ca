// SPDX-License-Identifier: BSD-2-Clause
// When a command fails or is not answered: AHCI 1.3.1 section 6.2.2. A worker stops the port, learns
// which request did it, and puts the others back as if nothing had been; the culprit is tried again,
// alone, up to AHCI_RETRIES times and then fails with -EIO. Where the disk cannot say which it was, all
// of them are suspects and run one at a time, so that the next error names its command. A disk that is
// gone, or needs reset after reset and does nothing in between, fails everything with -ENODEV. A flush is tried again
// only when it was not the disk that failed it.
#include "drivers/ahci.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/timer.h"
#include "kernel/trace.h"

#define DISARM_NS (1 * NS_PER_SEC)

void ahci_port_trouble(struct ahci_port *port, const char *why, bool reset)
{
	port->state = AHCI_RECOVERING;
	port->trouble = why;
	port->reset_wanted = reset;
	port_write(port, AHCI_PXIE, 0);
	wtd_post(&port->recover);
}

void ahci_watch(struct wtd *work)
{
	struct ahci_port *port = CONTAINER_OF(work, struct ahci_port, watch);
	spin_lock_wtd(&port->lock);
	uint64_t now = clock_ns(), limit = port->flushing ? AHCI_FLUSH_NS : AHCI_COMMAND_NS;
	bool late = false;
	for (uint32_t left = port->issued; left; left &= left - 1)
		late = late || now - port->issued_ns[__builtin_ctz(left)] >= limit;
	if (port->state == AHCI_RUNNING && late) {
		port->timeouts++;
		ahci_port_trouble(port, "no answer", true);
	}
	port->watching = port->issued != 0;
	if (port->watching)
		wtd_post_after(&port->watch, WTD_FAST, AHCI_WATCH_NS);
	spin_unlock_wtd(&port->lock);
}

// PXCMD.ST going off clears PXCI (3.3.7). Adapters that keep it (QEMU before 8.1) would run old
// commands into memory that has other owners by now: those slots are made to hold CHECK POWER MODE,
// which touches nothing, and run empty.
static bool disarm(struct ahci_port *port)
{
	uint32_t left = port_read(port, AHCI_PXCI);
	if (!left)
		return true;
	for (uint32_t mask = left; mask; mask &= mask - 1) {
		unsigned slot = (unsigned)__builtin_ctz(mask);
		if (slot >= port->depth)
			return false;
		port->table[slot]->fis = (struct fis_h2d){
		    .type = FIS_H2D, .flags = FIS_H2D_COMMAND, .command = ATA_CHECK_POWER_MODE};
		port->memory->command[slot].flags = COMMAND_FIS_DWORDS;
		port->memory->command[slot].prdtl = 0;
	}
	io_wmb();
	ahci_port_start_commands(port);
	return ahci_wait(port, AHCI_PXCI, ~0u, 0, DISARM_NS) && ahci_port_stop_commands(port);
}

static bool same_disk(struct ahci_port *port)
{
	struct ata_identity now;
	uint16_t words[256];
	if (ahci_poll_command(port, ATA_IDENTIFY_DEVICE, 0))
		return false;
	memcpy(words, port->memory->scratch, sizeof words);
	return !ata_parse_identity(words, &now) && now.sectors == port->identity.sectors &&
	       now.sector_bytes == port->identity.sector_bytes &&
	       !strcmp(now.serial, port->identity.serial) &&
	       !strcmp(now.model, port->identity.model);
}

// Command engine off before, on after. False: the disk is gone.
static bool reset(struct ahci_port *port)
{
	port->resets++;
	port->resets_in_row++;
	if (port->resets_in_row > AHCI_RESETS_IN_ROW || !ahci_port_comreset(port) || !disarm(port))
		return false;
	ahci_port_start_commands(port);
	return same_disk(port);
}

// Section 6.2.2. False: the disk is gone. *culprit: the slot to blame, -1: any of them. The outstanding
// commands are the disk's no more when this returns.
static bool revive(struct ahci_port *port, uint32_t outstanding, bool link_reset, int *culprit)
{
	*culprit = slots_in(outstanding) == 1 ? __builtin_ctz(outstanding) : -1;
	bool stopped = ahci_port_stop_commands(port);
	uint32_t kept = port_read(port, AHCI_PXSACT) | port_read(port, AHCI_PXCI);
	if (link_reset || !stopped || kept || port_read(port, AHCI_PXTFD) & (PXTFD_BSY | PXTFD_DRQ))
		return reset(port);
	ahci_port_start_commands(port);
	if (!port->ncq)
		return true;
	// Reading the log also ends the disk's error state and aborts what it still had queued.
	if (ahci_poll_command(port, ATA_READ_LOG_EXT, ATA_LOG_NCQ_ERROR) == 0) {
		int tag = ata_parse_ncq_error(port->memory->scratch);
		if (tag >= 0 && outstanding & BIT(tag))
			*culprit = tag;
		return true;
	}
	ahci_port_stop_commands(port);
	return reset(port);
}

static void fail(struct ahci_port *port, struct block_request *r, int status)
{
	r->status = status;
	request_push(&port->over, r);
}

// (D held) What becomes of a request whose command was outstanding. A flush that the disk itself ends with an error is
// not tried again: the sector that it could not write has left the disk's cache, and the next flush goes on behind it
// as if nothing had been (ATA/ATAPI-6, 8.12.6).
static void put_back(struct ahci_port *port, struct block_request *r, bool blamed, bool suspect,
		     bool refused)
{
	if (blamed) {
		kprintf("%s: %s of sector %lu failed, try %u\n", port->name,
			port->flushing	      ? "flush"
			: r->op == BLOCK_READ ? "read"
					      : "write",
			(unsigned long)r->disk_lba, r->tries);
		if (r->tries > AHCI_RETRIES || (refused && port->flushing)) {
			fail(port, r, -EIO);
			return;
		}
	} else {
		r->tries--;
	}
	if (port->flushing)
		request_push(&port->flushes, r);
	else if (suspect)
		request_push(&port->suspects, r);
	else
		elevator_add(&port->waiting, r);
}

static void put_all_back(struct ahci_port *port, int culprit, bool refused)
{
	for (uint32_t left = port->issued; left; left &= left - 1) {
		int slot = __builtin_ctz(left);
		struct block_request *r = port->slot[slot], *next;
		for (; r; r = next) {
			next = port->flushing ? r->next : NULL;
			put_back(port, r, slot == culprit, culprit < 0 || slot == culprit, refused);
		}
		port->slot[slot] = NULL;
	}
	port->issued = 0;
	port->alone = false;
	port->flushing = false;
}

static void fail_all(struct ahci_port *port)
{
	struct block_request *r;
	for (uint32_t left = port->issued; left; left &= left - 1) {
		unsigned slot = (unsigned)__builtin_ctz(left);
		struct block_request *next;
		for (r = port->slot[slot]; r; r = next) {
			next = port->flushing ? r->next : NULL;
			fail(port, r, -ENODEV);
		}
		port->slot[slot] = NULL;
	}
	port->issued = 0;
	port->alone = false;
	port->flushing = false;
	while ((r = request_pop(&port->suspects)))
		fail(port, r, -ENODEV);
	while ((r = request_pop(&port->flushes)))
		fail(port, r, -ENODEV);
	while ((r = elevator_take(&port->waiting)))
		fail(port, r, -ENODEV);
}

void ahci_recover(struct wtd *work)
{
	struct ahci_port *port = CONTAINER_OF(work, struct ahci_port, recover);
	int culprit;
	spin_lock_wtd(&port->lock);
	ASSERT(port->state == AHCI_RECOVERING);
	port->recoveries++;
	uint32_t outstanding = port->issued;
	const char *why = port->trouble;
	bool link_reset = port->reset_wanted;
	spin_unlock_wtd(&port->lock);

	trace(TRACE_DISK_TROUBLE, (uint64_t)port->name, (uint64_t)why, outstanding);
	bool refused = port_read(port, AHCI_PXTFD) & PXTFD_ERR; // the disk's word, not the link's
	bool alive = revive(port, outstanding, link_reset, &culprit);

	spin_lock_wtd(&port->lock);
	__atomic_store_n(&port->note, 0, __ATOMIC_RELAXED);
	if (alive) {
		put_all_back(port, culprit, refused);
		port->state = AHCI_RUNNING;
		port_write(port, AHCI_PXIS, ~0u);
		port_write(port, AHCI_PXIE, PXIE_WANTED);
		ahci_issue(port);
	} else {
		port->state = AHCI_GONE;
		fail_all(port);
	}
	wtd_post_fast(&port->work);
	spin_unlock_wtd(&port->lock);
	if (!alive)
		kprintf("%s: the disk is gone (%s); its requests fail\n", port->name, why);
}
