// SPDX-License-Identifier: BSD-2-Clause
// Stage 9 of the read path for TCP over IPv6, where the driver cuts the super-segment: this family's cards write
// MSS + HDRLEN - IPCSS into an IPv6 header's payload length (section 3.5.9; QEMU's does, too), which is 40 too
// much. All that is above the driver sees segmentation for both families.
//
//	one packet                header | page | page | page
//	several in the ring       copy | piece      copy | piece | piece      copy | piece ...
//
// Each piece gets a copy of the headers, with its own length, sequence number and checksum seed. It lies in memory that
// belongs to its slot (e1000_tx.heads), and so until the card is done with it. The packets are taken all or none, as
// one is, and as one they are done: the last descriptor of all reports it (RS; section 3.3.3), and every fragment
// stays until then, as where the card cuts. Payload is named by physical address and never touched.
#include "drivers/e1000.h"
#include "kernel/vmm.h"

#define TX_MASK (E1000_TX_RING - 1)
#define EITHER	inline __attribute__((always_inline))
#define IPV6                                                                                       \
	14 // offsets in the headers: there are no others in front of them, and no extension headers
#define LENGTH	(IPV6 + 4)
#define ADDRS	(IPV6 + 8)
#define TCP	(IPV6 + 40)
#define SEQ	(TCP + 4)
#define FLAGS	(TCP + 13)
#define SUM	(TCP + 16)
#define FIN_PSH 0x09
#define FIXED	72 // bytes that all headers have: without options there are 74

typedef uint16_t field16 __attribute__((may_alias, aligned(1)));
typedef uint32_t field32 __attribute__((may_alias, aligned(1)));
typedef uint64_t field64 __attribute__((may_alias, aligned(1)));

// What is to be sent, and what is left of it: so many bytes of *frag from there, and what is behind it.
struct cut {
	const struct netoffload *offload;
	const uint8_t *head;	// the headers as they were given to us
	uint32_t seed;		// without the length, not folded
	uint32_t frames, slots; // slots: at most
	uint32_t sequence;	// of the next packet
	uint32_t payload;
	const struct netfrag *frag;
	paddr_t addr;
	uint32_t bytes;
};

// Where the next descriptor is put, and what belongs to its slot.
struct place {
	union e1000_tx_desc *desc;
	void **cookie;
	struct e1000_head *head;
	paddr_t head_addr;
};

// What all of them are to say but for header_bytes and mss.
static const struct netoffload shape = {
    .l4_csum = true, .ipv6 = true, .l3_offset = IPV6, .l4_offset = TCP};
_Static_assert(offsetof(struct netoffload, header_bytes) == 8, "compared as one word");

static inline bool plan(struct cut *cut, const struct netfrag *frags, unsigned count)
{
	const struct netoffload *offload = cut->offload;
	uint32_t bytes = 0, head = offload->header_bytes;
	if (!count || count > NETDEV_MAX_FRAGS)
		return false;
	for (const struct netfrag *frag = frags; frag < frags + count; frag++) {
		if (!frag->bytes || frag->bytes > E1000_TSO_MAX)
			return false;
		bytes += frag->bytes;
	}
	if (*(const field64 *)offload != *(const field64 *)&shape || head < TCP + 20 ||
	    head > E1000_HEAD_MAX || head > frags[0].bytes || bytes <= head ||
	    bytes > E1000_TSO_MAX || offload->mss + head > E1000_FRAME_MAX)
		return false;
	cut->payload = bytes - head;
	cut->frag = frags;
	cut->addr = frags[0].addr + head;
	cut->bytes = frags[0].bytes - head;
	cut->frames = (cut->payload + offload->mss - 1) / offload->mss;
	// A context; in each frame a header; the fragments, cut once more at each frame's end.
	cut->slots = 1 + cut->frames + count + cut->frames - 1;
	return cut->slots < E1000_TX_RING / 2;
}

// Sections 3.5.8 and 3.6: see write_seed in e1000_tx.c.
static inline void read_headers(struct cut *cut)
{
	const uint8_t *head = cut->head;
	uint64_t sum = 6 << 8;
	cut->sequence = __builtin_bswap32(*(const field32 *)(head + SEQ));
	cut->seed = *(const field16 *)(head + SUM);
	if (LIKELY(cut->offload->seeded))
		return;
	for (unsigned at = ADDRS; at < TCP; at += 4)
		sum += *(const field32 *)(head + at);
	cut->seed = (uint32_t)(sum & 0xffff) + (sum >> 16 & 0xffff) + (uint32_t)(sum >> 32);
}

// What packets with so much payload have in common: their length, and the seed with it.
static inline void set_payload(const struct cut *cut, uint8_t *head, uint32_t payload)
{
	uint32_t length = __builtin_bswap16((uint16_t)(cut->offload->header_bytes - TCP + payload));
	uint32_t sum = cut->seed + length;
	sum = (sum & 0xffff) + (sum >> 16);
	*(field16 *)(head + LENGTH) = (uint16_t)length;
	*(field16 *)(head + SUM) = (uint16_t)(sum + (sum >> 16));
}

// No byte more than there are: what lies behind need not be mapped.
static inline void copy_headers(uint8_t *to, const uint8_t *from, uint32_t bytes)
{
#pragma GCC unroll 9
	for (uint32_t at = 0; at < FIXED; at += 8)
		*(field64 *)(to + at) = *(const field64 *)(from + at);
	for (uint32_t at = FIXED; at < bytes - 8; at += 8)
		*(field64 *)(to + at) = *(const field64 *)(from + at);
	*(field64 *)(to + bytes - 8) = *(const field64 *)(from + bytes - 8);
}

static EITHER struct place place_of(struct e1000_tx *tx, uint32_t slot)
{
	return (struct place){&tx->ring[slot], &tx->cookies[slot], &tx->heads[slot],
			      tx->heads_addr + slot * sizeof(struct e1000_head)};
}

// wraps: it may be the ring's last. what: EOP, or nothing.
static EITHER void put(struct e1000_tx *tx, struct place *to, paddr_t addr, uint32_t what,
		       const bool wraps)
{
	to->desc->data.addr = addr;
	to->desc->words[1] = (uint64_t)TXD_TXSM << 32 | TXD_DTYP_DATA | TXD_DEXT | TXD_IFCS | what;
	*to->cookie = NULL;
	to->desc++;
	to->cookie++;
	to->head++;
	to->head_addr += sizeof(*to->head);
	if (wraps && to->desc == tx->ring + E1000_TX_RING)
		*to = place_of(tx, 0);
}

// So much of the payload ends a packet: as much as its fragment has, or less.
static EITHER void put_end(struct e1000_tx *tx, struct place *to, struct cut *cut, uint32_t bytes,
			   const bool wraps)
{
	put(tx, to, cut->addr, TXD_EOP | bytes, wraps);
	cut->addr += bytes;
	cut->bytes -= bytes;
}

// A packet: headers of so many bytes, which lie in its place, and so much of the payload.
static EITHER void put_packet(struct e1000_tx *tx, struct place *to, struct cut *cut, uint32_t head,
			      uint32_t bytes, const bool wraps)
{
	put(tx, to, to->head_addr, head, wraps);
	cut->payload -= bytes;
	cut->sequence += bytes;
	if (LIKELY(cut->bytes >= bytes)) {
		put_end(tx, to, cut, bytes, wraps);
		return;
	}
	do {
		if (cut->bytes)
			put(tx, to, cut->addr, cut->bytes, wraps);
		bytes -= cut->bytes;
		cut->frag++;
		cut->addr = cut->frag->addr;
		cut->bytes = cut->frag->bytes;
	} while (cut->bytes < bytes);
	put_end(tx, to, cut, bytes, wraps);
}

// All packets, with headers of so many bytes: those that are full begin as the first does. Returns the slot of the last
// descriptor.
static EITHER uint32_t put_packets(struct e1000_tx *tx, struct place to, struct cut *all,
				   const uint32_t head, const bool wraps)
{
	struct cut cut = *all;
	uint32_t mss = cut.offload->mss;
	uint8_t *full = to.head->bytes;
	if (LIKELY(cut.payload > mss)) {
		copy_headers(full, cut.head, head);
		set_payload(&cut, full, mss);
		full[FLAGS] &= (uint8_t)~FIN_PSH;
		put_packet(tx, &to, &cut, head, mss, wraps);
	}
	while (cut.payload > mss) {
		copy_headers(to.head->bytes, full, head);
		*(field32 *)(to.head->bytes + SEQ) = __builtin_bswap32(cut.sequence);
		put_packet(tx, &to, &cut, head, mss, wraps);
	}
	copy_headers(to.head->bytes, cut.head, head);
	set_payload(&cut, to.head->bytes, cut.payload);
	*(field32 *)(to.head->bytes + SEQ) = __builtin_bswap32(cut.sequence);
	put_packet(tx, &to, &cut, head, cut.payload, wraps);
	return (uint32_t)(to.desc - tx->ring - 1) & TX_MASK;
}

// The same, made once more for the headers that nearly all have, where the ring does not end in between.
static EITHER uint32_t put_all(struct e1000_tx *tx, uint32_t slot, struct cut *cut)
{
	const struct place to = place_of(tx, slot);
	uint32_t head = cut->offload->header_bytes;
	if (LIKELY(head == TCP + 32 && slot + cut->slots <= E1000_TX_RING))
		return put_packets(tx, to, cut, TCP + 32, false);
	return put_packets(tx, to, cut, head, true);
}

static __attribute__((noinline)) void late(struct e1000 *nic, uint32_t first, uint32_t slot,
					   uint32_t bytes)
{
	e1000_late_packet(
	    nic, first,
	    &(struct netfrag){nic->tx.heads_addr + slot * sizeof(struct e1000_head), bytes, NULL});
}

int e1000_cut(struct e1000 *nic, const struct netfrag *frags, unsigned count,
	      const struct netoffload *offload)
{
	struct e1000_tx *tx = &nic->tx;
	struct cut cut = {.offload = offload};
	uint32_t first = tx->next, start, last;
	if (UNLIKELY(!plan(&cut, frags, count))) {
		e1000_stats.tx_invalid++;
		return -EINVAL;
	}
	if (UNLIKELY(!e1000_tx_has_room(nic, cut.slots)))
		return -ENOBUFS;
	cut.head = phys_to_virt(frags[0].addr);
	read_headers(&cut);
	e1000_stats.tx_cut++;
	e1000_stats.tx_cut_frames += cut.frames;
	e1000_stats.tx_packets++;
	e1000_stats.tx_bytes += cut.payload + offload->header_bytes;
	start = e1000_tx_plain_context(tx, first, offload);
	last = put_all(tx, start & TX_MASK, &cut);
	tx->ring[last].data.lower |= TXD_RS;
	for (unsigned n = 0; n < count; n++)
		tx->cookies[(start + n) & TX_MASK] = frags[n].cookie;
	tx->last[first & TX_MASK] = (uint16_t)last;
	tx->next = first + ((last - first) & TX_MASK) + 1;
	if (UNLIKELY(nic->late))
		late(nic, first & TX_MASK, start & TX_MASK, offload->header_bytes);
	return 0;
}
