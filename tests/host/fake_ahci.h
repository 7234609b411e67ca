// SPDX-License-Identifier: BSD-2-Clause
// A make-believe AHCI adapter with one disk behind each of its first ports, for driver tests: registers
// behind mmio_read32 and mmio_write32, DMA into the shim's RAM, commands that end when the test says so
// and in the order its seed says. One at a time.
#pragma once

#include "drivers/ahci.h"

struct fake_disk {
	// What it is; set before fake_ahci_start.
	bool present, atapi;
	uint32_t sector_bytes;
	uint64_t sectors;
	uint32_t queue_depth; // 0: no native command queuing
	bool fua, no_write_cache, no_lba48;
	bool slow_start; // busy until COMRESET
	// How its adapter and it behave when a command fails: as the specification says, or as QEMU 7.2
	// does (no TFES for queued commands, PXSACT and PXCI survive a stop, others go on, a failed plain
	// command leaves PXCI).
	bool like_qemu;
	bool no_error_log;
	// What goes wrong; may change at any time.
	uint64_t bad_sector;	// of sector_bytes
	int bad_times;		// how often it fails, -1: always
	uint64_t silent_sector; // never answered
	int silent_times;
	bool gone; // unplugged: found out at the next COMRESET
	int flush_fails;
	// What it saw.
	uint8_t *data;
	unsigned commands, flushes, fua_writes, resets, most_at_once, mixed;
	uint64_t last_lba;
	unsigned backwards; // commands that began below the one before
	// Its own.
	uint32_t running; // slots accepted and not ended
	uint32_t dropped; // slots silently swallowed
	bool halted;
	int error_tag;
};

struct fake_ahci {
	uint32_t cap, ghc, pi, bohc, cap2;
	struct {
		uint32_t reg[AHCI_PORT_BYTES / 4];
	} port[AHCI_MAX_PORTS];
	struct fake_disk disk[AHCI_MAX_PORTS];
	struct ahci_hba hba;
};
extern struct fake_ahci fake;

void fake_ahci_reset(unsigned ports); // a new adapter, with no disks
unsigned fake_ahci_start(void);	      // brings the driver up on it
// Ends one command of those running, any of them when there is a queue. False: none runs.
bool fake_ahci_step(unsigned port);
// Steps and runs WTDs until nothing moves.
void fake_ahci_settle(unsigned port);
uint8_t fake_ahci_pattern(uint64_t byte); // what the disk holds at first
