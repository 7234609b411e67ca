// SPDX-License-Identifier: BSD-2-Clause
// Receive buffers: 2 KB each, two in a frame, given to the card empty and handed up full as custom pbufs
// without a copy. A buffer is in one place at a time:
//
//            rxpool_get               card fills it, rxpool_packet        last pbuf_free
//     FREE -------------> WITH CARD ------------------------> HELD ------------------------> FREE
//                            | rxpool_put (dropped or given back)                              ^
//                            +-----------------------------------------------------------------+
//
// HELD buffers belong to the stack and the servers (requests being parsed, bodies being written, data
// out of order). The card must never run out because of them: no ACKs in means no pages out. See
// rxpool_packet for what is done when free buffers run low. Fast WTD context throughout.
#pragma once

#include "kernel/base.h"
#include "lwip/pbuf.h"

#define RXBUF_BYTES 2048

enum rx_place { RX_FREE, RX_WITH_CARD, RX_HELD };
struct rxbuf {
	struct pbuf_custom custom; // first: the free function is given its pbuf
	uint8_t *data;		   // RXBUF_BYTES in the direct map: where the card writes the frame
	struct rxbuf *next_free;   // rxpool.c's
	uint8_t place;		   // enum rx_place; rxpool.c's
};

// The number of buffers grows with use up to what rxpool_init computes from memory, `with_card` (all
// rings together) counted extra. Thread context, boot, once for each card.
void rxpool_init(uint32_t with_card);
struct rxbuf *rxpool_get(paddr_t *addr); // null: none, and no memory for more
void rxpool_put(struct rxbuf *buf);

// The frame of `bytes` bytes in buf as a pbuf with one reference. Null: dropped and counted, the buffer
// is free again. When free buffers run low, in this order:
//   1. small frames (ACKs, short requests) are copied aside into small pbufs, their buffer is free at
//      once, and receive windows are not opened beyond two segments (net/lwip/hooks.h);
//   2. data that waits out of order is thrown away, connection by connection (the peer sends it again);
//   3. large frames are dropped: what free buffers are left stay for small ones and for the card.
struct pbuf *rxpool_packet(struct rxbuf *buf, uint32_t bytes);

// Called (fast WTD, not nested in the stack) when there are buffers again after rxpool_get had none.
void rxpool_set_refill_hook(void (*fn)(void));
