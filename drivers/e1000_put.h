// SPDX-License-Identifier: BSD-2-Clause
// Transmit descriptors, one after the other, for e1000_tx.c and e1000_straight.c; room has been reserved. `at` runs
// freely and is returned as the next one's.
#pragma once

#include "drivers/e1000.h"

#define TX_MASK	    (E1000_TX_RING - 1)
#define TX_SENTINEL 4U

// Header fields as they lie, aligned or not.
typedef uint32_t field32 __attribute__((may_alias, aligned(1)));
typedef uint16_t field16 __attribute__((may_alias, aligned(1)));
typedef uint64_t field64 __attribute__((may_alias, aligned(1)));

// Nearly all packets have the offload of the one before them of their kind, TCP: the context is in the card (but for
// the length of what it cuts), and of the checks only those that depend on the packet's length are left.
static inline bool offload_known(const struct e1000_tx *tx, const struct netoffload *offload,
				 bool cut)
{
	const field64 *a = (const field64 *)&tx->known[cut];
	const field64 *b = (const field64 *)offload;
	return a[0] == b[0] && *(const field32 *)&a[1] == *(const field32 *)&b[1];
}
_Static_assert(offsetof(struct netoffload, seeded) == 12, "compared as a word and a half");
// `what`: the descriptor's second half.
static inline uint32_t put(struct e1000_tx *tx, uint32_t at, paddr_t addr, uint64_t what,
			   void *cookie)
{
	union e1000_tx_desc *desc = &tx->ring[at & TX_MASK];
	desc->data.addr = addr;
	desc->words[1] = what;
	tx->cookies[at & TX_MASK] = cookie;
	return at + 1;
}

static inline uint32_t put_context(struct e1000_tx *tx, uint32_t at, const uint64_t words[2],
				   uint64_t have[2])
{
	union e1000_tx_desc *desc = &tx->ring[at & TX_MASK];
	tx->cookies[at & TX_MASK] = NULL;
	desc->words[0] = have[0] = words[0];
	desc->words[1] = have[1] = words[1];
	return at + 1;
}

// The packet in slots first .. at-1 is complete.
static inline void put_end(struct e1000_tx *tx, uint32_t first, uint32_t at)
{
	uint32_t last = (at - 1) & TX_MASK;
	tx->ring[last].data.lower |= TXD_EOP | TXD_RS;
	tx->last[first & TX_MASK] = (uint16_t)last;
	tx->next = at;
}
