// SPDX-License-Identifier: BSD-2-Clause
// Stage 9 of the read path, for packets whose offload is that of the one before them: TCP segments, to be cut or not.
// What e1000_tx.c does in steps, checking, planning, writing, is done in one go; the descriptors are the same
// (tests/host/test_e1000_tx.c). Forbidden: as there.
#include "drivers/e1000_put.h"
#include "kernel/vmm.h"

// Bytes of the packet, or 0: one of its fragments is not for the straight way. *slots: data descriptors.
static inline uint32_t measure_known(const struct e1000_tx *tx, const struct netfrag *frags,
				     const struct netfrag *end, uint32_t *slots)
{
	uint32_t bytes = frags->bytes;
	*slots = 1;
	if (bytes - 1 >= tx->first_max)
		return 0;
	for (const struct netfrag *frag = frags + 1; frag < end; frag++) {
		if (UNLIKELY(frag->bytes - 1 >= E1000_TSO_MAX))
			return 0;
		*slots += (frag->bytes + E1000_TX_PIECE - 1) / E1000_TX_PIECE;
		bytes += frag->bytes;
	}
	return bytes;
}

// What write_seed does to a packet that has its seed: the card writes the length of each piece.
static inline void write_no_length(const struct netfrag *head, const struct netoffload *offload,
				   const bool cut)
{
	uint8_t *ip = (uint8_t *)phys_to_virt(head->addr) + offload->l3_offset;
	if (cut)
		*(field16 *)(ip + 2) = 0;
}

// write_seed of a TCP segment.
static inline void write_tcp_seed(const struct netfrag *head, const struct netoffload *offload,
				  uint32_t bytes, const bool cut, const bool ipv6)
{
	uint8_t *frame = phys_to_virt(head->addr);
	uint8_t *ip = frame + offload->l3_offset, *tcp = frame + offload->l4_offset;
	uint64_t sum = 6 << 8;
	if (ipv6) {
		for (unsigned at = 8; at < 40; at += 4)
			sum += *(field32 *)(ip + at);
		sum = (uint32_t)sum + (sum >> 32);
	} else {
		sum += (uint64_t) * (field32 *)(ip + 12) + *(field32 *)(ip + 16);
		*(field16 *)(ip + 10) = 0;
	}
	if (cut)
		*(field16 *)(ip + 2) = 0;
	else
		sum += __builtin_bswap16((uint16_t)(bytes - offload->l4_offset));
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	*(field16 *)(tcp + 16) = (uint16_t)(sum + (sum >> 16));
}

// The context of a packet that is cut: it differs from the card's in what it says of the length, or not at all.
static inline uint32_t put_tso_context(struct e1000_tx *tx, uint32_t at, uint32_t payload)
{
	uint64_t word = (tx->tso[1] & ~(uint64_t)TXD_LEN_MASK) | payload;
	e1000_stats.tx_tso++;
	if (word == tx->tso[1]) {
		e1000_stats.context_skipped++;
		return at;
	}
	e1000_stats.context_written++;
	return put_context(tx, at, (const uint64_t[]){tx->tso[0], word}, tx->tso);
}

// A descriptor for each fragment.
static inline uint32_t put_fragments(struct e1000_tx *tx, uint32_t at, const struct netfrag *frag,
				     const struct netfrag *end, uint64_t what)
{
	union e1000_tx_desc *ring = tx->ring;
	do {
		uint32_t slot = at++ & TX_MASK;
		ring[slot].data.addr = frag->addr;
		ring[slot].words[1] = what | frag->bytes;
		tx->cookies[slot] = frag->cookie;
	} while (++frag < end);
	return at;
}

// The same of fragments that need more than one.
static __attribute__((noinline)) uint32_t put_long_fragments(struct e1000_tx *tx, uint32_t at,
							     const struct netfrag *frag,
							     const struct netfrag *end,
							     uint64_t what)
{
	union e1000_tx_desc *ring = tx->ring;
	for (; frag < end; frag++) {
		paddr_t addr = frag->addr;
		uint32_t left = frag->bytes;
		void *cookie = frag->cookie; // goes with the first piece
		do {
			uint32_t slot = at++ & TX_MASK, bytes = MIN(left, E1000_TX_PIECE);
			ring[slot].data.addr = addr;
			ring[slot].words[1] = what | bytes;
			tx->cookies[slot] = cookie;
			cookie = NULL;
			addr += bytes;
			left -= bytes;
		} while (left);
	}
	return at;
}

// put_sentinel, plan_sentinel.
static inline uint32_t put_known_sentinel(struct e1000_tx *tx, uint32_t at, uint64_t what, bool cut,
					  bool single)
{
	union e1000_tx_desc *desc = &tx->ring[(at - 1) & TX_MASK];
	uint32_t piece = desc->data.lower & TXD_LEN_MASK;
	bool sentinel = (cut || single) && piece > 2 * TX_SENTINEL;
	tx->after_tso = cut || !sentinel;
	if (!sentinel)
		return at;
	desc->data.lower -= TX_SENTINEL;
	return put(tx, at, desc->data.addr + piece - TX_SENTINEL, what | TX_SENTINEL, NULL);
}

// The straight way of a TCP segment with a known offload, to be cut or not: what tx_plan and
// put_packet do, from fragments to descriptors in one go. False: nothing is done.
static inline __attribute__((always_inline)) bool
transmit_known(struct e1000 *nic, const struct netfrag *frags, unsigned count,
	       const struct netoffload *offload, const bool cut, const bool ipv6)
{
	const uint64_t what = (uint64_t)(ipv6 ? TXD_TXSM : TXD_IXSM | TXD_TXSM) << 32 |
			      TXD_DTYP_DATA | TXD_DEXT | TXD_IFCS | (cut ? TXD_TSE : 0);
	struct e1000_tx *tx = &nic->tx;
	const struct netfrag *end = frags + count;
	uint32_t head = offload->header_bytes, first = tx->next, at = first, slots;
	uint32_t bytes = measure_known(tx, frags, end, &slots);
	if (bytes < head + cut || bytes > (cut ? E1000_TSO_MAX : E1000_FRAME_MAX) ||
	    frags->bytes < head || e1000_tx_free(tx) < slots + 2)
		return false;
	e1000_stats.tx_bytes += bytes;
	if (LIKELY(offload->seeded))
		write_no_length(frags, offload, cut);
	else
		write_tcp_seed(frags, offload, bytes, cut, ipv6);
	if (cut)
		at = put_tso_context(tx, at, bytes - head);
	else
		e1000_stats.context_skipped++;
	if (LIKELY(slots == count))
		at = put_fragments(tx, at, frags, end, what);
	else
		at = put_long_fragments(tx, at, frags, end, what);
	if (cut || UNLIKELY(tx->after_tso))
		at = put_known_sentinel(tx, at, what, cut, count == 1);
	put_end(tx, first, at);
	if (UNLIKELY(nic->late))
		e1000_late_packet(nic, first & TX_MASK, &frags[0]);
	return true;
}

static inline void put_at(union e1000_tx_desc *desc, void **cookies, const struct netfrag *frag,
			  uint64_t what)
{
	desc->data.addr = frag->addr;
	desc->words[1] = what;
	*cookies = frag->cookie;
}

// The straightest of all: seeded headers and one piece behind them, in two descriptors and, if it is cut, a sentinel,
// which lie behind each other. False: nothing is done, and transmit_known sees to it.
static inline __attribute__((always_inline)) bool transmit_two(struct e1000 *nic,
							       const struct netfrag *frags,
							       const struct netoffload *offload,
							       const bool cut, const bool ipv6)
{
	const uint64_t what = (uint64_t)(ipv6 ? TXD_TXSM : TXD_IXSM | TXD_TXSM) << 32 |
			      TXD_DTYP_DATA | TXD_DEXT | TXD_IFCS | (cut ? TXD_TSE : 0);
	const uint64_t end = what | TXD_EOP | TXD_RS;
	const uint32_t least = cut ? 2 * TX_SENTINEL + 1 : 1, last = cut ? TX_SENTINEL : 0;
	struct e1000_tx *tx = &nic->tx;
	uint32_t headers = offload->header_bytes, head = frags[0].bytes, body = frags[1].bytes;
	uint32_t first = tx->next, at = first, slot = first & TX_MASK;
	if (head < headers || head > tx->first_max || body - least > E1000_TX_PIECE - least ||
	    (!cut && head + body > E1000_FRAME_MAX) || e1000_tx_free(tx) < 4 ||
	    slot > E1000_TX_RING - 4)
		return false;
	e1000_stats.tx_bytes += head + body;
	write_no_length(frags, offload, cut);
	if (cut)
		at = put_tso_context(tx, at, head + body - headers);
	else
		e1000_stats.context_skipped++;
	union e1000_tx_desc *desc = &tx->ring[slot + (at - first)];
	void **cookies = &tx->cookies[slot + (at - first)];
	put_at(desc, cookies, &frags[0], what | head);
	put_at(desc + 1, cookies + 1, &frags[1], (cut ? what : end) | (body - last));
	at += 2;
	if (cut) {
		const struct netfrag sentinel = {.addr = frags[1].addr + body - last};
		put_at(desc + 2, cookies + 2, &sentinel, end | last);
		tx->after_tso = true;
		at++;
	}
	tx->last[slot] = (uint16_t)(slot + (at - first) - 1);
	tx->next = at;
	if (UNLIKELY(nic->late))
		e1000_late_packet(nic, slot, &frags[0]);
	return true;
}

static __attribute__((noinline)) bool transmit_many(struct e1000 *nic, const struct netfrag *frags,
						    unsigned count,
						    const struct netoffload *offload)
{
	if (offload->mss)
		return transmit_known(nic, frags, count, offload, true, false);
	if (count == 2 && offload->seeded == 6 && transmit_two(nic, frags, offload, false, true))
		return true;
	return offload->ipv6 ? transmit_known(nic, frags, count, offload, false, true)
			     : transmit_known(nic, frags, count, offload, false, false);
}

ONE_CALLER bool e1000_straight(struct e1000 *nic, const struct netfrag *frags, unsigned count,
			       const struct netoffload *offload)
{
	const struct e1000_tx *tx = &nic->tx;
	bool cut = offload->mss != 0;
	if (LIKELY(count == 2 && offload->seeded == 4)) {
		if (cut && offload_known(tx, offload, true) &&
		    transmit_two(nic, frags, offload, true, false))
			return true;
		if (!cut && offload_known(tx, offload, false) &&
		    transmit_two(nic, frags, offload, false, false))
			return true;
	}
	return count - 1 < NETDEV_MAX_FRAGS && offload_known(tx, offload, cut) &&
	       transmit_many(nic, frags, count, offload);
}
