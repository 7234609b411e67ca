// SPDX-License-Identifier: BSD-2-Clause
// A port's engines and link, and what is plugged into it. Thread or worker context; section numbers are
// of AHCI 1.3.1.
#include "drivers/ahci.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"

#define ENGINE_NS    (500 * NS_PER_MS) // 10.1.2: CR and FR go off within 500 ms
#define COMRESET_NS  (1 * NS_PER_MS)   // 10.4.2: at least this long
#define PRESENCE_NS  (100 * NS_PER_MS) // after COMRESET, until a disk shows at all
#define LINK_NS	     (1 * NS_PER_SEC)
#define SPIN_UP_NS   (30 * NS_PER_SEC) // a large disk from standstill, until BSY goes
#define POLLED_NS    (10 * NS_PER_SEC)
#define BUSY_POLL_NS (2 * NS_PER_MS) // polled by spinning at first, then by sleeping
#define MAX_SECTORS  8192	     // 4 MB: no segment needs two descriptors
_Static_assert((MAX_SECTORS << SECTOR_SHIFT) <= PRD_MAX_BYTES, "AHCI 4.2.3.3");

static struct ahci_port *first_port, **last_port = &first_port; // written at boot only

struct ahci_port *ahci_first_port(void)
{
	return first_port;
}

bool ahci_wait(struct ahci_port *port, enum ahci_port_register reg, uint32_t mask, uint32_t value,
	       uint64_t ns)
{
	uint64_t start = clock_ns();
	for (;;) {
		uint64_t waited = clock_ns() - start;
		if ((port_read(port, reg) & mask) == value)
			return true;
		if (waited >= ns)
			return false;
		if (waited < BUSY_POLL_NS)
			clock_delay_ns(5 * NS_PER_US);
		else
			thread_sleep_ns(NS_PER_MS);
	}
}

bool ahci_port_stop_commands(struct ahci_port *port)
{
	port_write(port, AHCI_PXCMD, port_read(port, AHCI_PXCMD) & ~(uint32_t)PXCMD_ST);
	return ahci_wait(port, AHCI_PXCMD, PXCMD_CR, 0, ENGINE_NS);
}

void ahci_port_start_commands(struct ahci_port *port)
{
	port_write(port, AHCI_PXSERR, ~0u);
	port_write(port, AHCI_PXIS, ~0u);
	port_write(port, AHCI_PXCMD, port_read(port, AHCI_PXCMD) | PXCMD_ST);
}

bool ahci_port_comreset(struct ahci_port *port)
{
	// No power saving on the link (IPM 3), any speed.
	port_write(port, AHCI_PXSCTL, 0x300 | DET_COMRESET);
	thread_sleep_ns(COMRESET_NS);
	port_write(port, AHCI_PXSCTL, 0x300);
	uint64_t start = clock_ns();
	if (!ahci_wait(port, AHCI_PXSSTS, PXSSTS_DET, DET_UP, PRESENCE_NS) &&
	    ((port_read(port, AHCI_PXSSTS) & PXSSTS_DET) == DET_NONE ||
	     !ahci_wait(port, AHCI_PXSSTS, PXSSTS_DET, DET_UP, LINK_NS)))
		return false;
	port_write(port, AHCI_PXSERR, ~0u);
	if (ahci_wait(port, AHCI_PXTFD, PXTFD_BSY | PXTFD_DRQ, 0, SPIN_UP_NS))
		return true;
	kprintf("%s: busy for %lu s after a reset\n", port->name,
		(unsigned long)((clock_ns() - start) / NS_PER_SEC));
	return false;
}

int ahci_poll_command(struct ahci_port *port, enum ata_command command, uint8_t lba_low)
{
	struct ahci_memory *memory = port->memory;
	bool data = command == ATA_IDENTIFY_DEVICE || command == ATA_READ_LOG_EXT;
	port->table[0]->fis = (struct fis_h2d){.type = FIS_H2D,
					       .flags = FIS_H2D_COMMAND,
					       .command = command,
					       .lba_low = {lba_low},
					       .device = FIS_DEVICE_LBA,
					       .count_low = command == ATA_READ_LOG_EXT};
	port->table[0]->prd[0] = (struct ahci_prd){.dba = virt_to_phys(memory->scratch),
						   .dbc = sizeof memory->scratch - 1};
	memory->command[0] = (struct ahci_command){
	    .flags = COMMAND_FIS_DWORDS, .prdtl = data, .ctba = virt_to_phys(port->table[0])};
	memset(memory->scratch, 0, sizeof memory->scratch);
	port_write(port, AHCI_PXIS, ~0u);
	io_wmb();
	port_write(port, AHCI_PXCI, 1);
	uint64_t start = clock_ns();
	for (;;) {
		uint64_t waited = clock_ns() - start;
		if (port_read(port, AHCI_PXIS) & PXIS_FATAL)
			return -EIO;
		if (!(port_read(port, AHCI_PXCI) & 1))
			break;
		if (waited >= POLLED_NS)
			return -ETIMEDOUT;
		if (waited < BUSY_POLL_NS)
			clock_delay_ns(5 * NS_PER_US);
		else
			thread_sleep_ns(NS_PER_MS);
	}
	return port_read(port, AHCI_PXTFD) & PXTFD_ERR ? -EIO : 0;
}

// Section 10.3.1. The link of a port that the BIOS left running is not disturbed.
bool ahci_port_prepare(struct ahci_port *port)
{
	port_write(port, AHCI_PXIE, 0);
	uint32_t cmd = port_read(port, AHCI_PXCMD);
	bool stopped = ahci_port_stop_commands(port);
	port_write(port, AHCI_PXCMD, port_read(port, AHCI_PXCMD) & ~(uint32_t)PXCMD_FRE);
	if (!stopped || !ahci_wait(port, AHCI_PXCMD, PXCMD_FR, 0, ENGINE_NS)) {
		kprintf("%s: the port's engines do not stop, not used\n", port->name);
		return false;
	}
	// Of both the adapter reads only what was written for a command.
	port->memory = kpages_alloc_raw(sizeof *port->memory);
	port->table[0] = kpages_alloc_raw(sizeof *port->table[0]);
	if (!port->memory || !port->table[0]) {
		kprintf("%s: no memory, not used\n", port->name);
		return false;
	}
	paddr_t list = virt_to_phys(port->memory->command);
	paddr_t fis = virt_to_phys(port->memory->received_fis);
	port_write(port, AHCI_PXCLB, (uint32_t)list);
	port_write(port, AHCI_PXCLBU, (uint32_t)(list >> 32));
	port_write(port, AHCI_PXFB, (uint32_t)fis);
	port_write(port, AHCI_PXFBU, (uint32_t)(fis >> 32));
	port_write(port, AHCI_PXSERR, ~0u);
	cmd &= ~(uint32_t)(PXCMD_ST | PXCMD_ICC);
	cmd |= PXCMD_FRE | PXCMD_POD | PXCMD_SUD | PXCMD_ACTIVE;
	port_write(port, AHCI_PXCMD, cmd);
	if (port_read(port, AHCI_PXSCTL) & PXSCTL_DET)
		port_write(port, AHCI_PXSCTL, 0x300);
	return true;
}

static bool read_identity(struct ahci_port *port, struct ata_identity *identity)
{
	uint16_t words[256];
	if (ahci_poll_command(port, ATA_IDENTIFY_DEVICE, 0)) {
		if (!ahci_port_stop_commands(port) || !ahci_port_comreset(port))
			return false;
		ahci_port_start_commands(port);
		if (ahci_poll_command(port, ATA_IDENTIFY_DEVICE, 0)) {
			kprintf("%s: the disk does not identify itself, not used\n", port->name);
			return false;
		}
	}
	memcpy(words, port->memory->scratch, sizeof words);
	const char *why = ata_parse_identity(words, identity);
	if (why)
		kprintf("%s: %s %s has %s, not used\n", port->name, identity->model,
			identity->serial, why);
	return !why;
}

static bool is_disk(struct ahci_port *port)
{
	uint32_t signature = port_read(port, AHCI_PXSIG);
	if (signature == SIGNATURE_ATA)
		return true;
	if (signature == SIGNATURE_ATAPI)
		kprintf("%s: an optical drive, not used\n", port->name);
	else
		kprintf("%s: not a disk (signature %08x), not used\n", port->name, signature);
	return false;
}

// Tables for up to `wanted` slots: as many as there is memory for in one piece.
static void make_tables(struct ahci_port *port, uint32_t wanted)
{
	struct ahci_table *more = NULL;

	for (; wanted > 1 && !more; wanted = more ? wanted : (wanted + 1) / 2)
		more = kpages_alloc_raw((wanted - 1) * sizeof(*more));
	for (port->depth = 1; port->depth < wanted; port->depth++)
		port->table[port->depth] = more++;
}

// Slots, tables and the block device, from what the disk said.
static void set_up_disk(struct ahci_port *port)
{
	const struct ata_identity *id = &port->identity;
	uint32_t wanted = CAP_NCS(port->hba->cap);
	port->ncq = port->hba->cap & CAP_SNCQ && id->queue_depth;
	if (port->ncq)
		wanted = MIN(wanted, id->queue_depth);
	make_tables(port, wanted);
	port->flush_needed = id->write_cache;
	// A queued write always has the FUA bit, but who does not say that it writes through (QEMU up to 7.2 at
	// least, and disks that Linux keeps a list of) may take it and not obey.
	port->fua_by_flush = id->write_cache && !id->fua;
	port->dev = (struct block_device){
	    .name = port->name,
	    .sectors = id->sectors * (id->sector_bytes >> SECTOR_SHIFT),
	    .sector_bytes = id->sector_bytes,
	    .max_segs = AHCI_TABLE_PRDS,
	    .max_sectors = MAX_SECTORS,
	    .queue_depth = port->depth,
	    .submit = ahci_submit,
	    .driver = port,
	};
	kstrlcpy(port->dev.model, id->model, sizeof port->dev.model);
	kstrlcpy(port->dev.serial, id->serial, sizeof port->dev.serial);
}

// The FIS engine goes off first: it writes to this memory.
static void release_memory(struct ahci_port *port)
{
	port_write(port, AHCI_PXCMD, port_read(port, AHCI_PXCMD) & ~(uint32_t)PXCMD_FRE);
	if (!ahci_wait(port, AHCI_PXCMD, PXCMD_FR, 0, ENGINE_NS))
		return;
	kpages_free(port->memory, sizeof *port->memory);
	kpages_free(port->table[0], sizeof *port->table[0]);
	port->memory = NULL;
	port->table[0] = NULL;
}

// True with port->identity read and the command engine on.
static bool find_disk(struct ahci_port *port)
{
	if ((port_read(port, AHCI_PXSSTS) & PXSSTS_DET) != DET_UP)
		return false;
	if (!ahci_wait(port, AHCI_PXTFD, PXTFD_BSY | PXTFD_DRQ, 0, SPIN_UP_NS) &&
	    !ahci_port_comreset(port)) {
		kprintf("%s: the disk stays busy, not used\n", port->name);
		return false;
	}
	if (!is_disk(port))
		return false;
	ahci_port_start_commands(port);
	if (!read_identity(port, &port->identity)) {
		ahci_port_stop_commands(port);
		return false;
	}
	return true;
}

bool ahci_port_start(struct ahci_port *port)
{
	if (!find_disk(port)) {
		release_memory(port);
		return false;
	}
	set_up_disk(port);
	kprintf("%s: %s, %lu MB, %s depth %u\n", port->name, port->identity.model,
		(unsigned long)(port->dev.sectors >> (20 - SECTOR_SHIFT)),
		port->ncq ? "command queue" : "slots", port->depth);
	port_write(port, AHCI_PXIS, ~0u);
	port->state = AHCI_RUNNING;
	port_write(port, AHCI_PXIE, PXIE_WANTED);
	*last_port = port;
	last_port = &port->next;
	block_register(&port->dev);
	return true;
}
