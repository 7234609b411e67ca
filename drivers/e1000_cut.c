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
// one is. Payload is named by physical address and never touched. A fragment's cookie goes with its last piece;
// the first one's, whose headers nobody needs any more, with the last packet: TCP sees its segment at the card until
// all of it is done.
#include "drivers/e1000.h"
#include "kernel/vmm.h"

#define TX_MASK (E1000_TX_RING - 1)
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

// What is left of the packet: so many bytes of *frag, and what is behind it.
struct rest {
	const struct netfrag *frag;
	paddr_t addr;
	uint32_t bytes;
	void *cookie; // goes with the last of them
};

// Where things are put: copies, since whatever is written might otherwise be one of them.
struct slots {
	union e1000_tx_desc *ring;
	void **cookies;
	struct e1000_head *heads;
	paddr_t heads_addr;
};

struct cut {
	const struct netoffload *offload;
	uint32_t payload, frames, slots; // slots: at most
	const uint8_t *head;		 // as it was given to us
	uint32_t seed;			 // without the length, not folded
	uint32_t sequence;		 // of the next packet
	uint16_t length, sum;		 // its own, and its seed, as they lie
};

static bool plan(struct cut *cut, const struct netfrag *frags, unsigned count)
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
	if (offload->udp || !offload->l4_csum || offload->l3_offset != IPV6 ||
	    offload->l4_offset != TCP || head < TCP + 20 || head > E1000_HEAD_MAX ||
	    head > frags[0].bytes || bytes <= head || bytes > E1000_TSO_MAX ||
	    offload->mss + head > E1000_FRAME_MAX)
		return false;
	cut->payload = bytes - head;
	cut->frames = (cut->payload + offload->mss - 1) / offload->mss;
	// A context; in each frame a header; the fragments, cut once more at each frame's end.
	cut->slots = 1 + cut->frames + count + cut->frames - 1;
	return cut->slots < E1000_TX_RING / 2;
}

// Sections 3.5.8 and 3.6: see write_seed in e1000_tx.c.
static void read_headers(struct cut *cut)
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

// What packets with so much payload have in common.
static inline void set_payload(struct cut *cut, uint32_t payload)
{
	uint32_t sum;
	cut->length = __builtin_bswap16((uint16_t)(cut->offload->header_bytes - TCP + payload));
	sum = cut->seed + cut->length;
	sum = (sum & 0xffff) + (sum >> 16);
	cut->sum = (uint16_t)(sum + (sum >> 16));
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

static inline uint32_t put(struct slots to, uint32_t at, paddr_t addr, uint32_t bytes, void *cookie)
{
	uint32_t slot = at & TX_MASK;
	to.ring[slot].data.addr = addr;
	to.ring[slot].words[1] =
	    (uint64_t)TXD_TXSM << 32 | TXD_DTYP_DATA | TXD_DEXT | TXD_IFCS | bytes;
	to.cookies[slot] = cookie;
	return at + 1;
}

// The headers of the next packet.
static inline uint32_t put_head(struct slots to, uint32_t at, const struct cut *cut, bool last,
				void *cookie)
{
	uint32_t bytes = cut->offload->header_bytes, slot = at & TX_MASK;
	uint8_t *head = to.heads[slot].bytes;
	copy_headers(head, cut->head, bytes);
	*(field16 *)(head + LENGTH) = cut->length;
	*(field32 *)(head + SEQ) = __builtin_bswap32(cut->sequence);
	*(field16 *)(head + SUM) = cut->sum;
	if (!last)
		head[FLAGS] &= (uint8_t)~FIN_PSH;
	return put(to, at, to.heads_addr + slot * sizeof(*to.heads), bytes, cookie);
}

// So many bytes of the rest, at least one.
static inline uint32_t put_pieces(struct slots to, uint32_t at, struct rest *rest, uint32_t bytes)
{
	do {
		if (!rest->bytes) {
			const struct netfrag *next = ++rest->frag;
			rest->addr = next->addr;
			rest->bytes = next->bytes;
			rest->cookie = next->cookie;
		}
		uint32_t piece = MIN(rest->bytes, bytes);
		rest->bytes -= piece;
		at = put(to, at, rest->addr, piece, rest->bytes ? NULL : rest->cookie);
		rest->addr += piece;
		bytes -= piece;
	} while (bytes);
	return at;
}

static __attribute__((noinline)) void late(struct e1000 *nic, uint32_t first, uint32_t head,
					   uint32_t bytes)
{
	const struct netfrag copy = {
	    nic->tx.heads_addr + (head & TX_MASK) * sizeof(struct e1000_head), bytes, NULL};
	e1000_late_packet(nic, first & TX_MASK, &copy);
}

// One packet, of so many bytes of the rest, from slot `at`, and `first` if there is a context in front of it. Returns
// the slot behind it.
static inline __attribute__((always_inline)) uint32_t
put_packet(struct e1000 *nic, struct slots to, uint32_t first, uint32_t at, struct cut *cut,
	   struct rest *rest, uint32_t bytes, bool last, void *cookie)
{
	uint32_t head = at, end;
	at = put_pieces(to, put_head(to, at, cut, last, cookie), rest, bytes);
	end = (at - 1) & TX_MASK;
	to.ring[end].data.lower |= TXD_EOP | TXD_RS;
	nic->tx.last[first & TX_MASK] = (uint16_t)end;
	nic->tx.next = at;
	if (UNLIKELY(nic->late))
		late(nic, first, head, cut->offload->header_bytes);
	return at;
}

static void put_packets(struct e1000 *nic, struct cut *cut, const struct netfrag *frags)
{
	struct e1000_tx *tx = &nic->tx;
	const struct slots to = {tx->ring, tx->cookies, tx->heads, tx->heads_addr};
	uint32_t mss = cut->offload->mss, left = cut->payload, head = cut->offload->header_bytes;
	uint32_t first = tx->next, at = e1000_tx_plain_context(tx, first, cut->offload);
	struct rest rest = {frags, frags->addr + head, frags->bytes - head, NULL};
	set_payload(cut, mss);
	for (; left > mss; left -= mss, cut->sequence += mss)
		first = at = put_packet(nic, to, first, at, cut, &rest, mss, false, NULL);
	set_payload(cut, left);
	put_packet(nic, to, first, at, cut, &rest, left, true, frags->cookie);
}

int e1000_cut(struct e1000 *nic, const struct netfrag *frags, unsigned count,
	      const struct netoffload *offload)
{
	struct cut cut;
	cut.offload = offload;
	if (UNLIKELY(!plan(&cut, frags, count))) {
		e1000_stats.tx_invalid++;
		return -EINVAL;
	}
	if (UNLIKELY(!e1000_tx_has_room(nic, cut.slots)))
		return -ENOBUFS;
	cut.head = phys_to_virt(frags[0].addr);
	read_headers(&cut);
	put_packets(nic, &cut, frags);
	e1000_stats.tx_cut++;
	e1000_stats.tx_cut_frames += cut.frames;
	e1000_stats.tx_packets++;
	e1000_stats.tx_bytes += cut.payload + offload->header_bytes;
	return 0;
}
