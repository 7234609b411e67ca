// SPDX-License-Identifier: BSD-2-Clause
// The network card as seen from both sides. The driver (drivers/e1000_*.c) knows descriptors, the
// stack (net/netdev.c) knows pbufs; this header is all they share, so that neither includes the other.
//
// Transmit: the stack hands over a packet as fragments, each physically contiguous, each with a
// cookie (its pbuf, on which the stack took a reference for the card). The driver takes all or none.
// When the descriptors are done it gives every cookie back, once, with tx_release. Order of doorbells:
// transmit() only writes descriptors; kick() rings the bell for the batch.
//
// Receive: the driver asks rx_buffer for empty buffers and shows filled ones with rx_frames, as they lie in its ring,
// in batches closed by rx_batch_end (where the stack sends what the batch produced and kicks once). A buffer
// that the stack does not keep, and a bad frame's, are given to the card again.
//
// All of it runs in fast WTD context, or in threads between wtd_disable and wtd_enable.
#pragma once

#include "kernel/base.h"

#define NETDEV_MAX_FRAGS 64 // a 64 KB super-segment of scattered pages (17) with room to spare

struct netfrag {
	paddr_t addr;
	uint32_t bytes;
	void
	    *cookie; // given back with tx_release when the card is done; null: nothing to give back
};

// What the card is asked to do with a packet's headers. l3_offset is 14; all zero: send as it is.
// The driver writes the checksum seed (folded pseudo-header sum, without the length if the packet is cut; datasheet
// 3.3.7 and 3.6) itself into the header, which therefore must be the first fragment, writable and whole.
struct netoffload {
	bool ip_csum; // IPv4 header checksum
	bool l4_csum; // TCP or UDP checksum
	bool ipv6;
	bool udp;	       // l4 is UDP rather than TCP
	uint16_t l3_offset;    // start of the IP header
	uint16_t l4_offset;    // start of the TCP or UDP header
	uint16_t header_bytes; // all headers: where the payload starts
	uint16_t mss;	       // not 0: cut the payload into segments of this size (TSO)
	uint8_t
	    seeded; // of TCP over IPv4 (4) or IPv6 (6): the seed is there, and IPv4's checksum 0
};

// A receive buffer that the card has. A frame longer than a buffer is shown as its parts, in order, nothing of another
// frame between them, not always in one batch; all but the last fill their buffers. A part of NETBUF_NONE instead of
// the next one says that the frame is none that anybody wants after all.
enum netbuf_part { NETBUF_NONE, NETBUF_PART, NETBUF_LAST };
struct netbuf {
	void *cookie; // null: no buffer
	paddr_t addr;
	uint32_t bytes;	     // of the whole frame in it, without FCS; 0: there is none, and
	uint16_t part_bytes; // so many of a longer one (none may be left for the last)
	uint8_t part;	     // enum netbuf_part; NETBUF_NONE: nothing that anybody wants
};

struct netdev;
struct netdev_client {
	// An empty receive buffer of at least `rx_buffer_bytes`, or false when the pool has none.
	bool (*rx_buffer)(void *ctx, paddr_t *addr, void **cookie);
	void (*rx_unused)(void *ctx, void *cookie); // a buffer given back empty (reset, shutdown)
	// Received frames, in order. The cookie of a buffer that is the stack's again is null afterwards; returns how
	// many are.
	uint32_t (*rx_frames)(void *ctx, struct netbuf *frames, uint32_t count);
	void (*rx_batch_end)(void *ctx);
	// The card is done with so many fragments, in order, whose cookies these are (some null).
	void (*tx_release)(void *ctx, void *const *cookies, unsigned count);
	void (*tx_room)(void *ctx); // transmit had refused for lack of room; there is room now
	void (*link_changed)(void *ctx, bool up);
};

struct netdev {
	const char *name;  // "e1000.0"
	const char *model; // "82540EM"
	uint8_t mac[6];
	bool link_up;
	uint32_t mtu;		  // the largest there is; set_mtu says which is used
	uint32_t rx_buffer_bytes; // 2048
	uint32_t rx_ring_size, tx_ring_size;
	uint32_t tso_max;		    // largest TSO payload + headers, 0: none
	const struct netdev_client *client; // the stack's
	void *client_ctx;
	// 0, or -ENOBUFS when the ring lacks room for all of it (nothing was taken, nothing is
	// referenced; tx_room follows), or -ENETDOWN's place taken by -ENODEV when the link is down.
	int (*transmit)(struct netdev *dev, const struct netfrag *frags, unsigned count,
			const struct netoffload *offload);
	void (*kick)(struct netdev *dev);
	int (*start)(
	    struct netdev *dev); // fills the ring from client->rx_buffer, enables interrupts
	void (*stop)(struct netdev *dev); // quiesces DMA, gives every buffer and cookie back
	// Frames for packets of up to so many bytes are taken from now on, longer ones dropped; 1500 at first. What is
	// sent may have any length up to `mtu`.
	void (*set_mtu)(struct netdev *dev, uint32_t mtu);
	void (*rx_refill)(
	    struct netdev *dev); // the pool has buffers again after rx_buffer had none
	void *driver;
	struct netdev *next;
};

// kernel/netdev_list.c: drivers register, the stack walks. Thread context.
void netdev_register(struct netdev *dev);
struct netdev *netdev_first(void);
