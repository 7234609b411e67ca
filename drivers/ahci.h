// SPDX-License-Identifier: BSD-2-Clause
// Between the files of the AHCI driver:
//	ahci.c        the adapter: finding it, taking it from the BIOS, its interrupt   (cold)
//	ahci_port.c   a port: engines, link, IDENTIFY, registering the disk             (cold)
//	ahci_queue.c  requests to commands to completions                               (hot)
//	ahci_error.c  recovery and time-outs                                            (cold)
//
// A port's life. The interrupt handler only takes notes; everything else is as follows.
//
//	      disk found            error, time-out, link change            given up, disk gone
//	OFF ------------> RUNNING ---------------------------> RECOVERING -----------------> GONE
//	   ahci_port_start   ^        ahci_port_trouble             |      ahci_recover
//	                     +--------------------------------------+
//	                              ahci_recover: as good as new
//
// Lock key. D: the port's lock. I: atomic, written by the interrupt handler. R: in RUNNING with D; before
// that by ahci_port_start, in RECOVERING by ahci_recover alone. Unmarked: constant once started.
#pragma once

#include "drivers/ahci_regs.h"
#include "drivers/ata.h"
#include "drivers/elevator.h"
#include "kernel/block.h"
#include "kernel/io.h"
#include "kernel/lock.h"
#include "kernel/wtd.h"

#define AHCI_RETRIES 3 // a request is tried once and then this often again
#define AHCI_RESETS_IN_ROW                                                                         \
	6 // COMRESETs with no request done in between before the disk is given up

// How long a command may take before the port is reset. Disks repeat reads of weak sectors for seconds,
// and a cache of 256 MB takes some to write.
#define AHCI_COMMAND_NS (15 * NS_PER_SEC)
#define AHCI_FLUSH_NS	(60 * NS_PER_SEC)
#define AHCI_WATCH_NS	(1 * NS_PER_SEC)

// First in, first out, through request->next.
struct request_list {
	struct block_request *first, *last;
};
static inline void request_push(struct request_list *list, struct block_request *r)
{
	r->next = NULL;
	if (list->first)
		list->last->next = r;
	else
		list->first = r;
	list->last = r;
}
static inline struct block_request *request_pop(struct request_list *list)
{
	struct block_request *r = list->first;
	if (r)
		list->first = r->next;
	return r;
}

enum ahci_state { AHCI_OFF, AHCI_RUNNING, AHCI_RECOVERING, AHCI_GONE };

struct ahci_port {
	struct ahci_hba *hba;
	unsigned number;
	volatile uint8_t *regs; // (R)
	struct ahci_memory *memory;
	struct ahci_table *table[AHCI_MAX_SLOTS];
	struct ata_identity identity;
	struct block_device dev;
	char name[16];
	bool ncq;		// reads and writes are queued commands
	bool flush_needed;	// the disk has a write cache
	bool fua_by_flush;	// the disk cannot write through its cache: a flush follows
	uint32_t depth;		// commands at once
	struct ahci_port *next; // all ports with a disk

	uint32_t note; // (I) PXIS bits seen since the last look
	struct spinlock lock;
	enum ahci_state state;			    // (D)
	uint32_t issued;			    // (D) slots the adapter has
	struct block_request *slot[AHCI_MAX_SLOTS]; // (D) a flush serves a whole list
	uint64_t issued_ns[AHCI_MAX_SLOTS];	    // (D)
	bool flushing;				    // (D) the one command issued is a flush
	bool alone;				    // (D) the one command issued is from `suspects`
	bool watching;				    // (D) `watch` is armed
	struct elevator waiting;		    // (D) reads and writes
	struct request_list flushes;		    // (D)
	// (D) One of these may be what made the disk fail: they run one at a time, before all others.
	struct request_list suspects;
	struct request_list over; // (D) failed; `work` completes them
	const char *trouble;	  // (D) why recovery was asked for
	bool reset_wanted;	  // (D) and that the link must be reset for it
	unsigned resets_in_row;	  // (D)
	struct wtd work, recover, watch;
	uint64_t recoveries, resets, timeouts; // (D)
};

struct ahci_hba {
	unsigned number;
	volatile uint8_t *regs;
	uint32_t cap;
	uint32_t implemented; // a bit a port
	struct ahci_port *port[AHCI_MAX_PORTS];
};

static inline uint32_t slots_in(uint32_t mask)
{
	uint32_t count = 0;
	for (; mask; mask &= mask - 1)
		count++;
	return count;
}
static inline uint32_t port_read(const struct ahci_port *port, enum ahci_port_register reg)
{
	return mmio_read32(port->regs + reg);
}
static inline void port_write(struct ahci_port *port, enum ahci_port_register reg, uint32_t value)
{
	mmio_write32(port->regs + reg, value);
}

// ahci.c
// Thread context. Takes over an adapter whose registers are mapped: hand-off, ports, disks. The
// interrupt is attached already; it is enabled at the end. Returns the number of disks.
unsigned ahci_hba_start(struct ahci_hba *hba);
bool ahci_interrupt(void *hba); // irq_handler

// ahci_port.c; all thread or worker context, sleeping
// Makes a port able to receive FISes and its link come up. False when memory is short or the port is
// stuck; the reason is in the log.
bool ahci_port_prepare(struct ahci_port *port);
// Looks at what is attached and registers the disk. False: nothing, or nothing we use.
bool ahci_port_start(struct ahci_port *port);
bool ahci_port_stop_commands(struct ahci_port *port); // PXCMD.ST off; false: it will not
void ahci_port_start_commands(struct ahci_port *port);
// Resets the link and the disk behind it; command engine off before and after. False: no disk.
bool ahci_port_comreset(struct ahci_port *port);
// One non-data or PIO-in command by polling, alone, answer in memory->scratch. 0, -EIO or -ETIMEDOUT.
int ahci_poll_command(struct ahci_port *port, enum ata_command command, uint8_t lba_low);
// Waits until (register & mask) == value, for at most ns.
bool ahci_wait(struct ahci_port *port, enum ahci_port_register reg, uint32_t mask, uint32_t value,
	       uint64_t ns);
struct ahci_port *ahci_first_port(void);

// ahci_queue.c
void ahci_submit(struct block_device *dev, struct block_request *request);
void ahci_work(struct wtd *work);	 // fast WTD: what the interrupt noted
void ahci_issue(struct ahci_port *port); // (D held) fills free slots
// (D held) The slots in `mask` are done well.
void ahci_finish(struct ahci_port *port, uint32_t mask, struct request_list *over);

// ahci_error.c
// (D held) Stops using the port and has the recovery worker look at it.
void ahci_port_trouble(struct ahci_port *port, const char *why, bool reset);
void ahci_recover(struct wtd *work); // WTD, sleeps
void ahci_watch(struct wtd *work);   // fast WTD, each second while commands are out
