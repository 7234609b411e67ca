// SPDX-License-Identifier: BSD-2-Clause
// A path with a round trip and loss between netbed's server and a receiver with SACK (RFC 2018, 2883), in steps of a
// millisecond of the shim's clock. Each segment's bytes are compared with what was written.
//
//     struct lossnet net = {.rtt = 50, .loss = 10, .sack = true};
//     lossnet_open(&net);
//     ms = lossnet_transfer(&net, 10 << 20);
//     lossnet_close(&net);
#pragma once

#include "netbed.h"

#define LOSSNET_RANGES 256

struct lossnet {
	uint32_t rtt;		// ms
	uint32_t rate, queue;	// bytes a ms at the narrowest place (0: any); bytes that wait there
	uint32_t loss, reorder; // in a thousand, of segments with data
	uint32_t late_by;	// segments that overtake one that is reordered, 0: three
	bool sack, duplicate_sack, times; // the receiver's
	uint32_t spike_at,
	    spike_ms; // what would arrive from then on for so long arrives when it is over
	bool (*drops)(struct lossnet *net, const struct bed_segment *segment); // or null
	bool (*drops_ack)(struct lossnet *net); // or null; asked for each ACK
	// what the test may look at
	struct bed_peer *peer;
	uint32_t base, edge,
	    written; // sequence number of byte 0; received in order; queued by the server
	uint32_t lost, repeated, segments; // dropped by the path; got twice; seen
	uint64_t timeouts, probes, fast, resent_bytes, lost_again, undone,
	    overdue; // of the kernel's counters, since the opening
	// private
	struct {
		uint32_t left, right;
	} got[LOSSNET_RANGES];
	unsigned ranges;
	uint32_t ts_recent;
	uint64_t now_ms;     // since the opening, while this path was the one that was used
	uint64_t busy_until; // us: the narrow place has work
	struct page *page;
	uint8_t *bytes;
};

// Several may be open, one of them with something on its way at a time.
void lossnet_open(struct lossnet *net);
// The server sends so many bytes; returns the milliseconds until the last has arrived, or fails after a minute per MB.
uint32_t lossnet_transfer(struct lossnet *net, uint32_t bytes);
// Nothing more is sent, and time goes by.
void lossnet_rest(struct lossnet *net, uint32_t ms);
void lossnet_close(struct lossnet *net);
