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

#define TX_MASK		    (E1000_TX_RING - 1)
#define IPV6_PAYLOAD_LENGTH 4 // offsets in the headers
#define IPV6_ADDRESSES	    8
#define IPV6_HEADER	    40
#define TCP_SEQUENCE	    4
#define TCP_FLAGS	    13
#define TCP_CHECKSUM	    16
#define TCP_FIN_PSH	    0x09

typedef uint16_t field16 __attribute__((may_alias, aligned(1)));
typedef uint32_t field32 __attribute__((may_alias, aligned(1)));

// What is left of the packet: from `at` in *frag on.
struct rest {
	const struct netfrag *frag;
	uint32_t at;
};

struct cut {
	const struct netoffload *offload;
	uint32_t payload, frames, slots; // slots: at most
	struct e1000_head head;		 // as in each packet, but for what is the packet's own
	uint32_t seed;			 // without the length, not folded
	uint32_t sequence;
	uint8_t flags;
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
	if (offload->udp || !offload->l4_csum || offload->l3_offset < E1000_FRAME_MIN ||
	    offload->l4_offset != offload->l3_offset + IPV6_HEADER ||
	    head < offload->l4_offset + 20U || head > sizeof(struct e1000_head) ||
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
static void read_headers(struct cut *cut, const uint8_t *frame)
{
	const struct netoffload *offload = cut->offload;
	const uint8_t *addresses = frame + offload->l3_offset + IPV6_ADDRESSES;
	const uint8_t *tcp = frame + offload->l4_offset;
	uint64_t sum = 6 << 8;
	if (LIKELY(offload->seeded)) {
		cut->seed = *(const field16 *)(tcp + TCP_CHECKSUM);
	} else {
		for (unsigned at = 0; at < 32; at += 4)
			sum += *(const field32 *)(addresses + at);
		cut->seed = (uint32_t)(sum & 0xffff) + (sum >> 16 & 0xffff) + (uint32_t)(sum >> 32);
	}
	cut->sequence = __builtin_bswap32(*(const field32 *)(tcp + TCP_SEQUENCE));
	cut->flags = tcp[TCP_FLAGS];
	__builtin_memcpy(&cut->head, frame, offload->header_bytes);
	((uint8_t *)&cut->head)[offload->l4_offset + TCP_FLAGS] &= (uint8_t)~TCP_FIN_PSH;
}

// What packets with so much payload have in common: the length and the seed.
static void put_length(struct cut *cut, uint32_t payload)
{
	const struct netoffload *offload = cut->offload;
	uint8_t *frame = (uint8_t *)&cut->head;
	uint32_t bytes = offload->header_bytes - offload->l4_offset + payload;
	uint32_t sum = cut->seed + __builtin_bswap16((uint16_t)bytes);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	*(field16 *)(frame + offload->l3_offset + IPV6_PAYLOAD_LENGTH) =
	    __builtin_bswap16((uint16_t)bytes);
	*(field16 *)(frame + offload->l4_offset + TCP_CHECKSUM) = (uint16_t)sum;
}

static inline uint32_t put(struct e1000_tx *tx, uint32_t at, paddr_t addr, uint32_t bytes,
			   void *cookie)
{
	union e1000_tx_desc *desc = &tx->ring[at & TX_MASK];
	desc->data.addr = addr;
	desc->words[1] = (uint64_t)TXD_TXSM << 32 | TXD_DTYP_DATA | TXD_DEXT | TXD_IFCS | bytes;
	tx->cookies[at & TX_MASK] = cookie;
	return at + 1;
}

// The headers of the next packet.
static inline uint32_t put_head(struct e1000_tx *tx, uint32_t at, const struct cut *cut, bool last,
				void *cookie)
{
	struct e1000_head *head = &tx->heads[at & TX_MASK];
	uint8_t *tcp = (uint8_t *)head + cut->offload->l4_offset;
	uint32_t words = (cut->offload->header_bytes + 7U) / 8;
#pragma GCC unroll 2
	for (uint32_t n = 0; n < words; n++)
		head->words[n] = cut->head.words[n];
	*(field32 *)(tcp + TCP_SEQUENCE) = __builtin_bswap32(cut->sequence);
	if (last)
		tcp[TCP_FLAGS] = cut->flags;
	return put(tx, at, tx->heads_addr + (at & TX_MASK) * sizeof(*head),
		   cut->offload->header_bytes, cookie);
}

// So many bytes of the rest.
static inline uint32_t put_pieces(struct e1000_tx *tx, uint32_t at, struct rest *rest,
				  uint32_t bytes, const struct netfrag *first)
{
	while (bytes) {
		const struct netfrag *frag = rest->frag;
		uint32_t left = frag->bytes - rest->at, piece = MIN(left, bytes);
		bool done = piece == left;
		at = put(tx, at, frag->addr + rest->at, piece,
			 done && frag != first ? frag->cookie : NULL);
		bytes -= piece;
		rest->at = done ? 0 : rest->at + piece;
		rest->frag += done;
	}
	return at;
}

static void put_packets(struct e1000 *nic, struct cut *cut, const struct netfrag *frags)
{
	struct e1000_tx *tx = &nic->tx;
	uint32_t mss = cut->offload->mss, left = cut->payload, first = tx->next;
	uint32_t at = e1000_tx_plain_context(tx, first, cut->offload);
	struct rest rest = {frags, cut->offload->header_bytes};
	if (rest.at == frags->bytes)
		rest = (struct rest){frags + 1, 0};
	put_length(cut, mss);
	while (left) {
		bool last = left <= mss;
		uint32_t bytes = last ? left : mss, head = at;
		if (last)
			put_length(cut, bytes);
		at = put_head(tx, at, cut, last, last ? frags->cookie : NULL);
		at = put_pieces(tx, at, &rest, bytes, frags);
		tx->ring[(at - 1) & TX_MASK].data.lower |= TXD_EOP | TXD_RS;
		tx->last[first & TX_MASK] = (uint16_t)((at - 1) & TX_MASK);
		tx->next = at;
		if (UNLIKELY(nic->late)) {
			const struct netfrag copy = {tx->heads_addr + (head & TX_MASK) *
									  sizeof(struct e1000_head),
						     cut->offload->header_bytes, NULL};
			e1000_late_packet(nic, first & TX_MASK, &copy);
		}
		cut->sequence += mss;
		left -= bytes;
		first = at;
	}
}

int e1000_cut(struct e1000 *nic, const struct netfrag *frags, unsigned count,
	      const struct netoffload *offload)
{
	struct cut cut = {.offload = offload};
	if (UNLIKELY(!plan(&cut, frags, count))) {
		e1000_stats.tx_invalid++;
		return -EINVAL;
	}
	if (UNLIKELY(!e1000_tx_has_room(nic, cut.slots)))
		return -ENOBUFS;
	read_headers(&cut, phys_to_virt(frags[0].addr));
	put_packets(nic, &cut, frags);
	e1000_stats.tx_cut++;
	e1000_stats.tx_cut_frames += cut.frames;
	e1000_stats.tx_packets++;
	e1000_stats.tx_bytes += cut.payload + offload->header_bytes;
	return 0;
}
