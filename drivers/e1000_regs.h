// SPDX-License-Identifier: BSD-2-Clause
// What the card looks like: its registers as one table (from which the console's dump comes), the
// bits the driver uses, and the descriptors in memory. Section numbers here and in the driver are
// those of Intel's "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual"
// (82540EM, 82545EM, 82544GC and relatives), 317453-006.
#pragma once

#include "kernel/base.h"

// R(name, offset, access, datasheet's name), section 13.2. Access: RW, RO, WO, or RC for what a
// read clears: the dump leaves RC and WO alone.
#define E1000_REGISTERS(R)                                                                         \
	R(CTRL, 0x0000, RW, "Device Control")                                                      \
	R(STATUS, 0x0008, RO, "Device Status")                                                     \
	R(EERD, 0x0014, RW, "EEPROM Read")                                                         \
	R(FCAL, 0x0028, RW, "Flow Control Address Low")                                            \
	R(FCAH, 0x002c, RW, "Flow Control Address High")                                           \
	R(FCT, 0x0030, RW, "Flow Control Type")                                                    \
	R(VET, 0x0038, RW, "VLAN Ether Type")                                                      \
	R(ICR, 0x00c0, RC, "Interrupt Cause Read")                                                 \
	R(ITR, 0x00c4, RW, "Interrupt Throttling")                                                 \
	R(ICS, 0x00c8, WO, "Interrupt Cause Set")                                                  \
	R(IMS, 0x00d0, RW, "Interrupt Mask Set/Read")                                              \
	R(IMC, 0x00d8, WO, "Interrupt Mask Clear")                                                 \
	R(RCTL, 0x0100, RW, "Receive Control")                                                     \
	R(FCTTV, 0x0170, RW, "Flow Control Transmit Timer Value")                                  \
	R(TCTL, 0x0400, RW, "Transmit Control")                                                    \
	R(TIPG, 0x0410, RW, "Transmit Inter Packet Gap")                                           \
	R(AIFS, 0x0458, RW, "Adaptive IFS Throttle")                                               \
	R(PBA, 0x1000, RW, "Packet Buffer Allocation")                                             \
	R(FCRTL, 0x2160, RW, "Flow Control Receive Threshold Low")                                 \
	R(FCRTH, 0x2168, RW, "Flow Control Receive Threshold High")                                \
	R(RDBAL, 0x2800, RW, "Receive Descriptor Base Low")                                        \
	R(RDBAH, 0x2804, RW, "Receive Descriptor Base High")                                       \
	R(RDLEN, 0x2808, RW, "Receive Descriptor Length")                                          \
	R(RDH, 0x2810, RW, "Receive Descriptor Head")                                              \
	R(RDT, 0x2818, RW, "Receive Descriptor Tail")                                              \
	R(RDTR, 0x2820, RW, "Receive Delay Timer")                                                 \
	R(RXDCTL, 0x2828, RW, "Receive Descriptor Control")                                        \
	R(RADV, 0x282c, RW, "Receive Interrupt Absolute Delay")                                    \
	R(TDBAL, 0x3800, RW, "Transmit Descriptor Base Low")                                       \
	R(TDBAH, 0x3804, RW, "Transmit Descriptor Base High")                                      \
	R(TDLEN, 0x3808, RW, "Transmit Descriptor Length")                                         \
	R(TDH, 0x3810, RW, "Transmit Descriptor Head")                                             \
	R(TDT, 0x3818, RW, "Transmit Descriptor Tail")                                             \
	R(TIDV, 0x3820, RW, "Transmit Interrupt Delay Value")                                      \
	R(TXDCTL, 0x3828, RW, "Transmit Descriptor Control")                                       \
	R(TADV, 0x382c, RW, "Transmit Interrupt Absolute Delay")                                   \
	R(CRCERRS, 0x4000, RC, "CRC Error Count")                                                  \
	R(RXERRC, 0x400c, RC, "RX Error Count")                                                    \
	R(MPC, 0x4010, RC, "Missed Packets Count")                                                 \
	R(RNBC, 0x40a0, RC, "Receive No Buffers Count")                                            \
	R(RUC, 0x40a4, RC, "Receive Undersize Count")                                              \
	R(ROC, 0x40ac, RC, "Receive Oversize Count")                                               \
	R(RXCSUM, 0x5000, RW, "Receive Checksum Control")                                          \
	R(MTA, 0x5200, RW, "Multicast Table Array")                                                \
	R(RAL, 0x5400, RW, "Receive Address Low")                                                  \
	R(RAH, 0x5404, RW, "Receive Address High")                                                 \
	R(VFTA, 0x5600, RW, "VLAN Filter Table Array")                                             \
	R(WUC, 0x5800, RW, "Wakeup Control")

enum e1000_register {
#define E1000_OFFSET(name, offset, access, text) E1000_##name = (offset),
	E1000_REGISTERS(E1000_OFFSET)
#undef E1000_OFFSET
};

enum {
	E1000_MTA_WORDS = 128,	 // section 13.5.1
	E1000_VFTA_WORDS = 128,	 // section 13.5.4
	E1000_RA_PAIRS = 16,	 // section 13.5.2; pair n is 8 n bytes above RAL, RAH
	E1000_RING_MULTIPLE = 8, // RDLEN and TDLEN are multiples of 128 bytes
};

// Section 13.4.1, Device Control
enum {
	CTRL_LRST = BIT(3),	// link reset
	CTRL_ASDE = BIT(5),	// automatic speed detection
	CTRL_SLU = BIT(6),	// set link up
	CTRL_ILOS = BIT(7),	// invert loss of signal
	CTRL_FRCSPD = BIT(11),	// force speed
	CTRL_FRCDPLX = BIT(12), // force duplex
	CTRL_RST = BIT(26),
	CTRL_RFCE = BIT(27), // obey pause frames
	CTRL_TFCE = BIT(28), // send pause frames
	CTRL_VME = BIT(30),  // VLAN mode
};

// Section 13.4.2, Device Status
enum {
	STATUS_FD = BIT(0),
	STATUS_LU = BIT(1),
	STATUS_SPEED_SHIFT = 6, // 00b 10, 01b 100, 1xb 1000 Mb/s
	STATUS_SPEED_MASK = 3,
	STATUS_PCIX = BIT(13),
};

// Section 13.4.4, EEPROM Read
enum {
	EERD_START = BIT(0),
	EERD_DONE = BIT(4),
	EERD_ADDR_SHIFT = 8,
	EERD_DATA_SHIFT = 16,
};

// Section 13.4.17, interrupt causes (the same bits in ICR, ICS, IMS, IMC)
enum {
	ICR_TXDW = BIT(0), // transmit descriptor written back
	ICR_TXQE = BIT(1), // transmit queue empty
	ICR_LSC = BIT(2),  // link status change
	ICR_RXDMT0 = BIT(4),
	ICR_RXO = BIT(6),
	ICR_RXT0 = BIT(7), // a frame is in memory (with RDTR 0)
};

// Section 13.4.22, Receive Control
enum {
	RCTL_EN = BIT(1),
	RCTL_MPE = BIT(4),  // all multicast
	RCTL_LPE = BIT(5),  // long frames
	RCTL_BAM = BIT(15), // broadcast
	RCTL_BSIZE_2048 = 0,
	RCTL_SECRC = BIT(26), // strip the FCS
};

// Section 13.4.16, Packet Buffer Allocation: KB of 64 for receiving, a multiple of eight; the rest is for sending.
enum { PBA_RXA_SHIFT = 0 };

// Section 13.4.33, Transmit Control
enum {
	TCTL_EN = BIT(1),
	TCTL_PSP = BIT(3), // pad short packets
	TCTL_CT_SHIFT = 4,
	TCTL_COLD_SHIFT = 12,
};

// Section 13.4, Transmit Descriptor Control
enum { TXDCTL_GRAN = BIT(24) /* thresholds count descriptors */ };

// Section 13.5.3, Receive Address High
#define RAH_AV 0x80000000U

// Section 3.2.3, the legacy receive descriptor (the only kind the card has).
struct e1000_rx_desc {
	uint64_t addr;
	uint16_t length;
	uint16_t checksum;
	uint8_t status;
	uint8_t errors;
	uint16_t special;
};
_Static_assert(sizeof(struct e1000_rx_desc) == 16, "section 3.2.3");
_Static_assert(offsetof(struct e1000_rx_desc, length) == 8, "section 3.2.3");
_Static_assert(offsetof(struct e1000_rx_desc, status) == 12, "section 3.2.3.1");
_Static_assert(offsetof(struct e1000_rx_desc, errors) == 13, "section 3.2.3.2");

enum {
	RXD_STAT_DD = BIT(0),
	RXD_STAT_EOP = BIT(1),
	RXD_STAT_IXSM = BIT(2), // ignore the checksum results
	RXD_ERR_CE = BIT(0),	// CRC or alignment
	RXD_ERR_SE = BIT(1),	// symbol
	RXD_ERR_SEQ = BIT(2),	// sequence
	RXD_ERR_CXE = BIT(4),	// carrier extension
	RXD_ERR_RXE = BIT(7),	// data
	RXD_ERR_FRAME = RXD_ERR_CE | RXD_ERR_SE | RXD_ERR_SEQ | RXD_ERR_CXE | RXD_ERR_RXE,
};

// Sections 3.3.6 (context) and 3.3.7 (data): the extended transmit descriptors. `lower` and `upper`
// are the second quadword's halves in a data descriptor.
union e1000_tx_desc {
	struct {
		uint64_t addr;
		uint32_t lower; // DTALEN 19:0, DTYP 23:20, DCMD 31:24
		uint32_t upper; // STA 3:0, POPTS 15:8, special 31:16
	} data;
	struct {
		uint8_t ipcss, ipcso; // where the IP checksum's sum starts; where it is stored
		uint16_t ipcse;	      // last byte summed
		uint8_t tucss, tucso; // the same for TCP or UDP
		uint16_t tucse;	      // 0: to the end of the packet
		uint32_t lower;	      // PAYLEN 19:0, DTYP 23:20, TUCMD 31:24
		uint8_t status;
		uint8_t hdrlen;
		uint16_t mss;
	} context;
	uint64_t words[2];
};
_Static_assert(sizeof(union e1000_tx_desc) == 16, "sections 3.3.6, 3.3.7");
_Static_assert(offsetof(union e1000_tx_desc, data.upper) == 12, "section 3.3.7");
_Static_assert(offsetof(union e1000_tx_desc, context.tucss) == 4, "section 3.3.6");
_Static_assert(offsetof(union e1000_tx_desc, context.lower) == 8, "section 3.3.6");
_Static_assert(offsetof(union e1000_tx_desc, context.mss) == 14, "section 3.3.6");

#define TXD_DTYP_DATA (1U << 20) // DTYP 0001b; a context's is 0000b
#define TXD_EOP	      (1U << 24) // end of packet
#define TXD_IFCS      (1U << 25) // insert the FCS
#define TXD_TSE	      (1U << 26) // TCP segmentation
#define TXD_RS	      (1U << 27) // report status: write DD back
#define TXD_DEXT      (1U << 29) // an extended descriptor
#define TXD_IDE	      (1U << 31) // delay the interrupt
#define TXD_STAT_DD   (1U << 0)	 // in data.upper
#define TXD_IXSM      (1U << 8)	 // in data.upper: insert the IP checksum
#define TXD_TXSM      (1U << 9)	 // in data.upper: insert the TCP or UDP checksum
#define TXC_TCP	      (1U << 24) // in context.lower: TCP rather than UDP
#define TXC_IP	      (1U << 25) // in context.lower: IPv4 rather than IPv6
#define TXD_LEN_MASK  0xfffffU
