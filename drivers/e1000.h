// SPDX-License-Identifier: BSD-2-Clause
// The driver's own header: one card, its two rings, and what its files ask of each other.
//
//   e1000_init.c   cold: find the card, reset it, program it, start and stop
//   e1000_link.c   cold: link changes, and the restart that takes packets back from a dead link
//   e1000_rx.c     hot: the interrupt, polling, refilling (the read path's stages 1 and 3)
//   e1000_tx.c     hot: packets to descriptors (stage 9)
//   e1000_straight.c  hot: the same for packets that are like the one before them
//   e1000_cut.c    hot: the same of super-segments over IPv6, which the card cannot cut
//   e1000_done.c   hot: the doorbell, reclaim (stages 9 and 10)
//   e1000_late.c   the `nic=late` debug mode
//   e1000_stats.c  statistics, CONFIG, the register dump
//
//             probe              start                      link lost, packets left
//   (nothing) -----> E1000_IDLE -------> E1000_RUNNING ---------------------> E1000_DRAINING
//                        ^    stop          ^   ^                               |    |
//                        +------------------+   |        all went out in 10 ms  |    |
//                        |                      +-------------------------------+    | some stayed
//                        |  stop (from any)     |    5 ms after CTRL.RST             v
//                        +----------------------+----------------------- E1000_RESETTING
//
// Everything here runs in fast WTD context or in threads between wtd_disable and wtd_enable, so the
// fields need no lock; those that the interrupt handler shares are marked (I).
#pragma once

#include "drivers/e1000_regs.h"
#include "kernel/io.h"
#include "kernel/netdev.h"
#include "kernel/pci.h"
#include "kernel/wtd.h"

// Ring sizes, powers of two, so that counters run freely and are masked on use.
//
// Receive: interrupts may be 128 us apart (QEMU always, a real card with ITR), in which a gigabit
// brings at most 1,488,095/s x 128 us = 191 frames; up to E1000_RX_REFILL - 1 = 127 slots wait for
// their batch, and one stays empty: 319, so 512.
//
// Transmit: a 64 KB super-segment of scattered pages takes a context, a header, 17 pages and a
// sentinel, 20 descriptors; one receive pass (E1000_RX_BUDGET ACKs, each opening the window for two
// segments of header and two page pieces) makes 128 x 2 x 3 = 768. Beside 10 super-segments: 968, so 1024. One
// over IPv6, of 44 packets, takes a context, as many headers and 61 pieces: nine fit.
//
// The card starts with a few of its receive buffers and gets the others E1000_RX_REST later: boot does not wait for
// them, and a link takes longer than that to come up.
#define E1000_RX_RING	      512U
#define E1000_RX_FIRST	      31U
#define E1000_RX_FIRST_REFILL 16U // half-way
#define E1000_RX_REST	      (250 * NS_PER_MS)
#define E1000_TX_RING	      1024U
_Static_assert((E1000_RX_RING & (E1000_RX_RING - 1)) == 0, "counters are masked");
_Static_assert((E1000_TX_RING & (E1000_TX_RING - 1)) == 0, "counters are masked");
_Static_assert(E1000_RX_RING % E1000_RING_MULTIPLE == 0, "RDLEN");
_Static_assert(E1000_TX_RING % E1000_RING_MULTIPLE == 0, "TDLEN");

#define E1000_RX_BUDGET 128U // frames a pass: what they bring about leaves by one doorbell
#define E1000_RX_REFILL 128U // buffers a doorbell: each may run many receives inside the store
#define E1000_RX_BYTES	2048U
// Without FCS. The longest that a card of this family takes, 16,128 bytes with it; what arrives on any link:
// Ethernet's 1514 bytes and a VLAN tag; and what a packet's bytes grow by, with one.
#define E1000_FRAME_MAX	  16124U
#define E1000_FRAME_USUAL 1518U
#define E1000_FRAME_EXTRA 18U
#define E1000_MTU_MAX	  (E1000_FRAME_MAX - 14U)
// KB of the 64 in which the card keeps frames (section 13.4.16, a multiple of eight): 24 are left for sending, the
// longest frame whole, as it must be, or two for packets of 9,000 bytes, one on the wire and one on its way in.
#define E1000_PBA_RX	40U
#define E1000_FRAME_MIN 14U
#define E1000_TSO_MAX	65535U
#define E1000_TX_PIECE	8192U // a descriptor's bytes; the card's limit is 16,288 (section 3.3.7)
#define E1000_TX_PIECE_PCIX                                                                        \
	2015U // the first descriptor's on PCI-X, where longer ones hang some cards

enum e1000_state { E1000_IDLE, E1000_RUNNING, E1000_DRAINING, E1000_RESETTING };

// Head (RDH) is the card's alone. Tail (RDT) is ours: it is written from `fill` and from nothing
// else. Slots clean .. fill-1 hold buffers and belong to the card until DD is set; of the others some have
// buffers that the stack did not keep, which come to the card again with their slot: descriptors of those are ready
// for the card.
struct e1000_rx {
	struct e1000_rx_desc *ring;
	struct netbuf slots[E1000_RX_RING];
	uint32_t clean;	    // free-running: the oldest slot with a buffer
	uint32_t fill;	    // free-running: the next slot to get one; fill - clean < E1000_RX_RING
	uint32_t room;	    // slots that may have one: E1000_RX_FIRST at first, then all but one
	uint32_t batch;	    // of slots that get theirs by one doorbell; a power of two
	uint32_t bare;	    // slots without a buffer
	bool inside;	    // a frame that spans buffers: its end has not come
	bool skipping;	    // such a one is not wanted: drop up to its EOP
	uint32_t so_far;    // its bytes
	uint32_t frame_max; // of those that are wanted
	bool hungry;	    // the pool had no buffer and `refill` is armed
	struct wtd poll;
	struct wtd_watch watch;
	struct wtd refill;
};

// Ethernet's, IPv6's and TCP's headers, 114 bytes at most.
#define E1000_HEAD_MAX 128
struct e1000_head {
	uint8_t bytes[E1000_HEAD_MAX];
};

// Head (TDH) is the card's alone and is never read: DD in memory says what is done. Tail (TDT) is
// ours: it is written from `next` by e1000_tx_doorbell (e1000_done.c). Slots clean .. rung-1 belong to the card
// until the DD of their packet's last slot, rung .. next-1 wait for the doorbell, the others are
// free.
struct e1000_tx {
	union e1000_tx_desc *ring;
	struct e1000_head *heads; // a slot's, for headers that the driver makes
	paddr_t heads_addr;
	void *cookies[E1000_TX_RING];
	uint16_t last[E1000_TX_RING]; // in a packet's first slot: the slot of its last descriptor
	uint32_t clean, rung, next;   // free-running; next - clean < E1000_TX_RING
	uint32_t wanted;	   // descriptors that a refused packet needs; 0: none was refused
	uint64_t plain[2], tso[2]; // the contexts as last given to the card; all ones: none yet
	struct netoffload
	    known[2];	    // that `plain` and `tso` were made from, of TCP in IPv4; else nobody's
	uint32_t first_max; // bytes of a packet's first descriptor
	bool after_tso;	    // see the sentinel in e1000_tx.c
	bool reclaiming;    // tx_release came back to us
	bool armed;	    // `work` is on the timer wheel
	uint32_t stuck_clean; // `clean` when it last moved, and when that was (0: not yet)
	uint64_t stuck_since;
	struct wtd work;
};

// Descriptors that can be had now.
static inline uint32_t e1000_tx_free(const struct e1000_tx *tx)
{
	return E1000_TX_RING - 1 - (tx->next - tx->clean);
}

struct e1000_late;
struct e1000 {
	struct netdev dev;
	char name[16];
	struct pci_device *pci;
	volatile uint8_t *regs;
	enum e1000_state state;
	uint32_t rctl, tctl; // as last written: 0 when the card is off
	bool pcix;
	uint32_t causes;      // (I) atomic: interrupt causes not yet looked at
	volatile bool masked; // (I) set by the interrupt, cleared when polling ends
	struct e1000_rx rx;
	struct e1000_tx tx;
	struct wtd link; // the timer of DRAINING and RESETTING
	uint64_t missed, crc_errors, no_buffers, length_errors; // read-to-clear counters, added up
	struct e1000_late *late;				// null: the normal mode
	struct e1000 *next_card;
};

static inline uint32_t e1000_read(const struct e1000 *nic, uint32_t reg)
{
	return mmio_read32(nic->regs + reg);
}
static inline void e1000_write(struct e1000 *nic, uint32_t reg, uint32_t value)
{
	mmio_write32(nic->regs + reg, value);
}

// Counted where it happens, for all cards together; exported by e1000_stats.c.
struct e1000_stats {
	uint64_t interrupts, looked, polls;
	uint64_t rx_packets, rx_bytes, rx_batches, rx_doorbells, rx_no_buffer, rx_ring_dry;
	uint64_t rx_error, rx_long, rx_short;
	uint64_t rx_high; // most frames found waiting in one pass
	uint64_t tx_packets, tx_bytes, tx_doorbells, tx_ring_full, tx_link_down, tx_invalid;
	uint64_t tx_tso, tx_cut, tx_cut_frames, context_written, context_skipped, tx_discarded;
	uint64_t tx_high; // most descriptors ever in use
	uint64_t link_changes, restarts;
};
extern struct e1000_stats e1000_stats;
struct e1000 *e1000_first(void);

// e1000_init.c. Writes every register the driver relies on; the rings are empty afterwards. Needs
// the card reset and silent. Any context.
void e1000_program(struct e1000 *nic);
// Programs the card if need be, fills the receive ring, unmasks, asks for the link. Fast WTD
// context.
void e1000_begin(struct e1000 *nic);
// Stops interrupts and DMA for good (sections 13.4.22, 13.4.33, 13.4.1): the card is silent once 1
// ms has passed. Any context.
void e1000_quiesce(struct e1000 *nic);

// e1000_rx.c
bool e1000_interrupt(void *nic);
void e1000_poll(struct wtd *work);
void e1000_look(struct wtd_watch *watch);
void e1000_look_over(struct wtd_watch *watch);
void e1000_refill_late(struct wtd *work);
void e1000_fill(struct e1000 *nic);
void e1000_rx_give_back(struct e1000 *nic); // after the DMA has stopped
void e1000_rx_refill(struct netdev *dev);
void e1000_rx_set_mtu(struct netdev *dev, uint32_t mtu);

// e1000_tx.c
int e1000_transmit(struct netdev *dev, const struct netfrag *frags, unsigned count,
		   const struct netoffload *offload);
void e1000_tx_forget_context(struct e1000 *nic); // the card lost it, or never saw it
// False: there is no room for so many descriptors; tx_room follows.
bool e1000_tx_has_room(struct e1000 *nic, uint32_t slots);
// The card is to have the context of a TCP segment that is not cut; a descriptor at `at` if it has not. Returns what
// comes next.
uint32_t e1000_tx_plain_context(struct e1000_tx *tx, uint32_t at, const struct netoffload *offload);

// e1000_straight.c: e1000_transmit of a packet whose offload is known. False: nothing was done.
bool e1000_straight(struct e1000 *nic, const struct netfrag *frags, unsigned count,
		    const struct netoffload *offload);

// e1000_cut.c: e1000_transmit of what is to be cut over IPv6.
int e1000_cut(struct e1000 *nic, const struct netfrag *frags, unsigned count,
	      const struct netoffload *offload);

// e1000_done.c
void e1000_kick(struct netdev *dev);
void e1000_tx_doorbell(struct e1000 *nic);
void e1000_tx_reclaim(struct e1000 *nic);
void e1000_tx_work(struct wtd *work);
void e1000_tx_give_back(struct e1000 *nic); // after the DMA has stopped: every cookie, done or not
void e1000_tx_drop_unrung(struct e1000 *nic);

// e1000_link.c. check: reads STATUS and tells the stack what changed. restart: takes everything
// back from a card that does not let go (fast WTD context; ends 15 ms later).
void e1000_link_check(struct e1000 *nic);
void e1000_link_work(struct wtd *work);
void e1000_restart(struct e1000 *nic);

// e1000_late.c. Only called when nic->late is set.
bool e1000_late_setup(struct e1000 *nic); // false: no memory
void e1000_late_reset(struct e1000 *nic);
void e1000_late_packet(struct e1000 *nic, uint32_t first_slot, const struct netfrag *head);
bool e1000_late_done(struct e1000 *nic, uint32_t first_slot);
void e1000_late_kick(struct e1000 *nic);
bool e1000_late_hold_rx(struct e1000 *nic);
bool e1000_late_wanted(void);
size_t e1000_late_bytes(void);
