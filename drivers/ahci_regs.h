// SPDX-License-Identifier: BSD-2-Clause
// The registers and memory structures of a Serial ATA AHCI 1.3.1 host bus adapter, with that
// specification's names; FIS layouts of Serial ATA 3.x section 10.5. Offsets in bytes.
#pragma once

#include "kernel/base.h"

// Section 3.1: generic host control.    access  what
enum ahci_host_register {
	AHCI_CAP = 0x00,  // RO     capabilities
	AHCI_GHC = 0x04,  // RW     global control
	AHCI_IS = 0x08,	  // RW1C   interrupt pending, a bit a port
	AHCI_PI = 0x0c,	  // RO     ports implemented, a bit a port
	AHCI_VS = 0x10,	  // RO     version
	AHCI_CAP2 = 0x24, // RO     capabilities, extended
	AHCI_BOHC = 0x28, // RW     BIOS/OS hand-off control
	AHCI_PORTS = 0x100,
};
#define AHCI_PORT_BYTES 0x80
#define AHCI_MAX_PORTS	32
#define AHCI_MAX_SLOTS	32

#define CAP_NCS(cap) (((cap) >> 8 & 0x1f) + 1) // command slots
#define CAP_SSS	     BIT(27)		       // staggered spin-up
#define CAP_SNCQ     BIT(30)		       // native command queuing
#define CAP_S64A     BIT(31)		       // 64-bit addresses
#define CAP2_BOH     BIT(0)		       // hand-off registers exist
#define GHC_IE	     BIT(1)
#define GHC_AE	     BIT(31)
#define BOHC_BOS     BIT(0) // BIOS owns
#define BOHC_OOS     BIT(1) // OS owns
#define BOHC_BB	     BIT(4) // BIOS busy

// Section 3.3: port registers.
enum ahci_port_register {
	AHCI_PXCLB = 0x00,  // RW     command list base, 1 KB aligned
	AHCI_PXCLBU = 0x04, // RW
	AHCI_PXFB = 0x08,   // RW     received FIS base, 256-byte aligned
	AHCI_PXFBU = 0x0c,  // RW
	AHCI_PXIS = 0x10,   // RW1C   interrupt status
	AHCI_PXIE = 0x14,   // RW     interrupt enable, same bits
	AHCI_PXCMD = 0x18,  // RW     command and status
	AHCI_PXTFD = 0x20,  // RO     task file: status and error of the last FIS
	AHCI_PXSIG = 0x24,  // RO     signature
	AHCI_PXSSTS = 0x28, // RO     link status
	AHCI_PXSCTL = 0x2c, // RW     link control
	AHCI_PXSERR = 0x30, // RW1C   link errors
	AHCI_PXSACT = 0x34, // RW1    queued commands outstanding
	AHCI_PXCI = 0x38,   // RW1    commands issued
};

#define PXIS_DHRS    BIT(0)  // device to host register FIS
#define PXIS_SDBS    BIT(3)  // set device bits FIS
#define PXIS_PCS     BIT(6)  // port connect change
#define PXIS_PRCS    BIT(22) // PhyRdy change
#define PXIS_OFS     BIT(24) // overflow
#define PXIS_IFS     BIT(27) // interface fatal error
#define PXIS_HBDS    BIT(28) // host bus data error
#define PXIS_HBFS    BIT(29) // host bus fatal error
#define PXIS_TFES    BIT(30) // task file error
#define PXIS_FATAL   (PXIS_PCS | PXIS_PRCS | PXIS_OFS | PXIS_IFS | PXIS_HBDS | PXIS_HBFS | PXIS_TFES)
#define PXIS_LINK    (PXIS_PCS | PXIS_PRCS | PXIS_IFS | PXIS_HBDS | PXIS_HBFS)
#define PXIE_WANTED  (PXIS_DHRS | PXIS_SDBS | PXIS_FATAL)
#define PXCMD_ST     BIT(0)  // start
#define PXCMD_SUD    BIT(1)  // spin up
#define PXCMD_POD    BIT(2)  // power on
#define PXCMD_FRE    BIT(4)  // receive FISes
#define PXCMD_FR     BIT(14) // FIS engine runs
#define PXCMD_CR     BIT(15) // command engine runs
#define PXCMD_ICC    0xf0000000u
#define PXCMD_ACTIVE 0x10000000u
#define PXTFD_ERR    0x01
#define PXTFD_DRQ    0x08
#define PXTFD_BSY    0x80
#define PXSSTS_DET   0x0f // 0 no device, 1 device without link, 3 device and link
#define PXSCTL_DET   0x0f // 1: COMRESET, 4: off
#define DET_NONE     0
#define DET_UP	     3
#define DET_COMRESET 1

#define SIGNATURE_ATA	0x00000101u
#define SIGNATURE_ATAPI 0xeb140101u
#define SIGNATURE_SEMB	0xc33c0101u
#define SIGNATURE_PM	0x96690101u

// Section 4.2.2: command header.
struct ahci_command {
	uint16_t flags; // CFL in doublewords, W
	uint16_t prdtl; // entries in the table's scatter-gather list
	uint32_t prdbc; // bytes moved
	uint64_t ctba;	// command table, 128-byte aligned
	uint32_t reserved[4];
};
_Static_assert(sizeof(struct ahci_command) == 32, "AHCI 4.2.2");
#define COMMAND_FIS_DWORDS 5
#define COMMAND_WRITE	   0x0040

// Section 4.2.3.3: physical region descriptor.
struct ahci_prd {
	uint64_t dba; // even
	uint32_t reserved;
	uint32_t dbc; // bytes - 1, at most 4 MB
};
_Static_assert(sizeof(struct ahci_prd) == 16, "AHCI 4.2.3.3");
#define PRD_MAX_BYTES 0x400000u

// Register FIS, host to device.
struct fis_h2d {
	uint8_t type;  // FIS_H2D
	uint8_t flags; // bit 7: this is a command
	uint8_t command;
	uint8_t features_low;
	uint8_t lba_low[3];
	uint8_t device;
	uint8_t lba_high[3];
	uint8_t features_high;
	uint8_t count_low, count_high;
	uint8_t icc;
	uint8_t control;
	uint8_t reserved[4];
};
_Static_assert(sizeof(struct fis_h2d) == 20, "Serial ATA 10.5.5");
#define FIS_H2D		0x27
#define FIS_H2D_COMMAND 0x80
#define FIS_DEVICE_LBA	0x40
#define FIS_DEVICE_FUA	0x80 // queued writes

// Section 4.2.3: a command table, one page, as many descriptors as fit.
#define AHCI_TABLE_PRDS 248
struct ahci_table {
	struct fis_h2d fis;
	uint8_t rest_of_fis[0x40 - sizeof(struct fis_h2d)];
	uint8_t atapi[0x10];
	uint8_t reserved[0x30];
	struct ahci_prd prd[AHCI_TABLE_PRDS];
};
_Static_assert(sizeof(struct ahci_table) == PAGE_SIZE, "AHCI 4.2.3, one page");

// What a port needs in memory besides its tables: one page.
struct ahci_memory {
	struct ahci_command command[AHCI_MAX_SLOTS]; // 1 KB aligned
	uint8_t received_fis[256];		     // 256-byte aligned
	uint8_t scratch[512];			     // answers to polled commands
};
_Static_assert(offsetof(struct ahci_memory, received_fis) % 256 == 0, "AHCI 3.3.3");
_Static_assert(sizeof(struct ahci_memory) <= PAGE_SIZE, "one page");
