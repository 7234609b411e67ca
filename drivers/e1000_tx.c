// SPDX-License-Identifier: BSD-2-Clause
// Stage 9 of the read path: packets become descriptors.
// Checks the packet, reserves every descriptor it needs or none, writes the checksum seed into the header, the
// context if it changed, then the data. No register access: the doorbell, and what is done, are
// e1000_done.c's. Most packets are like the one before them and take the straight way (transmit_known).
//
// Forbidden: touching a payload's bytes (they are named by physical address), filling the ring (TDT == TDH
// means empty).
#include "drivers/e1000.h"
#include "kernel/vmm.h"

#define TX_MASK	    (E1000_TX_RING - 1)
#define TX_SENTINEL 4U

// Header fields as they lie, aligned or not.
typedef uint32_t field32 __attribute__((may_alias, aligned(1)));
typedef uint16_t field16 __attribute__((may_alias, aligned(1)));
typedef uint64_t field64 __attribute__((may_alias, aligned(1)));

struct tx_plan {
	union e1000_tx_desc context;
	bool with_context;     // the packet refers to a context
	bool new_context;      // and the card does not have it
	bool sentinel;	       // the last four bytes go in a descriptor of their own
	uint32_t bytes;	       // of the frame
	uint32_t slots;	       // descriptors in all
	uint32_t lower, upper; // what all data descriptors have in common
};

// Section 3.3.6. The TCP or UDP checksum runs to the end of the packet (TUCSE 0). A packet with
// only an IP checksum takes the context that TCP packets with the same offsets use.
static void plan_context(struct tx_plan *plan, const struct netoffload *offload)
{
	plan->context.context.ipcss = (uint8_t)offload->l3_offset;
	plan->context.context.ipcso = (uint8_t)(offload->l3_offset + 10);
	plan->context.context.ipcse = offload->ipv6 ? 0 : (uint16_t)(offload->l4_offset - 1);
	plan->context.context.tucss = (uint8_t)offload->l4_offset;
	plan->context.context.tucso = (uint8_t)(offload->l4_offset + (offload->udp ? 6 : 16));
	plan->context.context.lower =
	    TXD_DEXT | (offload->udp ? 0 : TXC_TCP) | (offload->ipv6 ? 0 : TXC_IP);
	plan->upper =
	    (offload->ip_csum && !offload->ipv6 ? TXD_IXSM : 0) | (offload->l4_csum ? TXD_TXSM : 0);
	if (!offload->mss)
		return;
	plan->context.context.lower |= TXD_TSE | (plan->bytes - offload->header_bytes);
	plan->context.context.hdrlen = (uint8_t)offload->header_bytes;
	plan->context.context.mss = offload->mss;
	plan->lower |= TXD_TSE;
}

// Segmentation is for IPv4 only (e1000_cut.c). HDRLEN may be up to 240 (section 3.5.7).
static bool offload_valid(const struct netfrag *head, const struct netoffload *offload,
			  uint32_t bytes)
{
	uint32_t l3 = offload->l3_offset, l4 = offload->l4_offset, end = offload->header_bytes;
	if (l3 < 14 || l4 < l3 + (offload->ipv6 ? 40 : 20) || l4 > end || end > 240)
		return false;
	if (offload->l4_csum && end < l4 + (offload->udp ? 8 : 20))
		return false;
	if (end > head->bytes || end > bytes)
		return false;
	if (!offload->mss)
		return bytes <= E1000_FRAME_MAX;
	return !offload->ipv6 && !offload->udp && offload->l4_csum && offload->ip_csum &&
	       bytes > end && bytes <= E1000_TSO_MAX && offload->mss + end <= E1000_FRAME_MAX;
}

// Nearly all packets have the offload of the one before them of their kind, TCP: the context is in the card (but for
// the length of what it cuts), and of the checks only those that depend on the packet's length are left.
static inline bool offload_known(const struct e1000_tx *tx, const struct netoffload *offload)
{
	const field64 *a = (const field64 *)&tx->known[offload->mss != 0];
	const field64 *b = (const field64 *)offload;
	return a[0] == b[0] && *(const field32 *)&a[1] == *(const field32 *)&b[1];
}
_Static_assert(offsetof(struct netoffload, seeded) == 12, "compared as a word and a half");
static const struct netoffload unknown = {.l3_offset = UINT16_MAX}; // no packet's

static bool is_tcp(const struct netoffload *offload)
{
	return offload->ip_csum != offload->ipv6 && offload->l4_csum && !offload->udp;
}

static bool plan_offload(const struct e1000_tx *tx, struct tx_plan *plan,
			 const struct netfrag *head, const struct netoffload *offload)
{
	plan->with_context = true;
	if (!offload_valid(head, offload, plan->bytes))
		return false;
	plan_context(plan, offload);
	const uint64_t *have = offload->mss ? tx->tso : tx->plain;
	plan->new_context = have[0] != plan->context.words[0] || have[1] != plan->context.words[1];
	plan->slots += plan->new_context;
	return true;
}

// Adds up bytes and descriptors; false: an empty or oversized fragment.
static bool count_fragments(const struct e1000_tx *tx, struct tx_plan *plan,
			    const struct netfrag *frags, unsigned count)
{
	uint32_t most = tx->first_max, bytes = 0, slots = count;
	for (const struct netfrag *frag = frags; frag < frags + count; frag++) {
		if (UNLIKELY(frag->bytes - 1 >= most)) {
			if (!frag->bytes || frag->bytes > E1000_TSO_MAX)
				return false;
			slots += (frag->bytes - 1) / most;
		}
		bytes += frag->bytes;
		most = E1000_TX_PIECE;
	}
	plan->bytes = bytes;
	plan->slots = slots;
	return true;
}

// Cards of this family may report a descriptor done before its data is fetched, when it is the last
// of a segmented packet or the whole of the packet after one; a sentinel of four bytes behind it
// takes that away (and with it a page unlocked too early).
static void plan_sentinel(const struct e1000_tx *tx, struct tx_plan *plan,
			  const struct netfrag *end, unsigned count)
{
	uint32_t most = count == 1 ? tx->first_max : E1000_TX_PIECE;
	uint32_t last_piece = (end->bytes - 1) % most + 1;
	bool risky = plan->lower & TXD_TSE || count == 1;
	plan->sentinel = risky && last_piece > 2 * TX_SENTINEL;
	plan->slots += plan->sentinel;
}

// Checks the packet and counts its descriptors. Nothing is changed.
static bool tx_plan(const struct e1000_tx *tx, struct tx_plan *plan, const struct netfrag *frags,
		    unsigned count, const struct netoffload *offload)
{
	*plan = (struct tx_plan){.lower = TXD_DTYP_DATA | TXD_DEXT | TXD_IFCS};
	if (!count || count > NETDEV_MAX_FRAGS || !count_fragments(tx, plan, frags, count))
		return false;
	if (offload && (offload->ip_csum || offload->l4_csum || offload->mss)) {
		if (!plan_offload(tx, plan, &frags[0], offload))
			return false;
	} else if (plan->bytes > E1000_FRAME_MAX || plan->bytes < E1000_FRAME_MIN) {
		return false;
	}
	if (UNLIKELY(plan->lower & TXD_TSE || tx->after_tso))
		plan_sentinel(tx, plan, &frags[count - 1], count);
	return true;
}

// Sections 3.5.8 and 3.6: the checksum field starts as the pseudo-header's sum (RFC 9293 section
// 3.1, RFC 8200 section 8.1), folded, not complemented; for segmentation without the length, which
// the card adds. The sum is the same whatever the byte order it is taken in (RFC 1071), so the
// addresses are added as they lie.
static void write_seed(const struct netfrag *head, const struct netoffload *offload, uint32_t bytes)
{
	uint8_t *frame = phys_to_virt(head->addr);
	uint8_t *ip = frame + offload->l3_offset, *l4 = frame + offload->l4_offset;
	if (!offload->ipv6) {
		if (offload->ip_csum)
			*(field16 *)(ip + 10) = 0;
		if (offload->mss)
			*(field16 *)(ip + 2) = 0;
	}
	if (!offload->l4_csum)
		return;
	uint64_t sum = offload->udp ? 17 << 8 : 6 << 8; // the protocol as the wire has it
	if (!offload->mss)
		sum += __builtin_bswap16((uint16_t)(bytes - offload->l4_offset));
	if (LIKELY(!offload->ipv6))
		sum += (uint64_t) * (field32 *)(ip + 12) + *(field32 *)(ip + 16);
	else
		for (unsigned at = 8; at < 40; at += 4)
			sum += *(field32 *)(ip + at);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	*(field16 *)(l4 + (offload->udp ? 6 : 16)) = (uint16_t)(sum + (sum >> 16));
}

static inline uint32_t put(struct e1000_tx *tx, uint32_t at, paddr_t addr, uint32_t lower,
			   uint32_t upper, void *cookie)
{
	union e1000_tx_desc *desc = &tx->ring[at & TX_MASK];
	desc->data.addr = addr;
	desc->words[1] = (uint64_t)upper << 32 | lower;
	tx->cookies[at & TX_MASK] = cookie;
	return at + 1;
}

// A fragment over the limit of a descriptor, in pieces; the cookie goes with the first.
static uint32_t put_pieces(struct e1000_tx *tx, uint32_t at, const struct netfrag *frag,
			   uint32_t most, const struct tx_plan *plan)
{
	void *cookie = frag->cookie;
	for (uint32_t from = 0; from < frag->bytes; from += most) {
		uint32_t piece = MIN(frag->bytes - from, most);
		at = put(tx, at, frag->addr + from, plan->lower | piece, plan->upper, cookie);
		cookie = NULL;
	}
	return at;
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

// Cuts the last descriptor's last bytes off into one of their own.
static inline uint32_t put_sentinel(struct e1000_tx *tx, uint32_t at, uint32_t lower,
				    uint32_t upper)
{
	union e1000_tx_desc *desc = &tx->ring[(at - 1) & TX_MASK];
	uint32_t bytes = (desc->data.lower & TXD_LEN_MASK) - TX_SENTINEL;
	desc->data.lower = lower | bytes;
	return put(tx, at, desc->data.addr + bytes, lower | TX_SENTINEL, upper, NULL);
}

// The packet in slots first .. at-1 is complete.
static inline void put_end(struct e1000_tx *tx, uint32_t first, uint32_t at)
{
	uint32_t last = (at - 1) & TX_MASK;
	tx->ring[last].data.lower |= TXD_EOP | TXD_RS;
	tx->last[first & TX_MASK] = (uint16_t)last;
	tx->next = at;
}

// Room has been reserved; this cannot fail.
static void put_packet(struct e1000 *nic, const struct tx_plan *plan, const struct netfrag *frags,
		       unsigned count, const struct netoffload *offload)
{
	struct e1000_tx *tx = &nic->tx;
	uint32_t first = tx->next, at = first, most = tx->first_max;
	if (UNLIKELY(plan->new_context))
		at = put_context(tx, at, plan->context.words, offload->mss ? tx->tso : tx->plain);
	for (const struct netfrag *frag = frags; frag < frags + count; frag++) {
		if (LIKELY(frag->bytes <= most))
			at = put(tx, at, frag->addr, plan->lower | frag->bytes, plan->upper,
				 frag->cookie);
		else
			at = put_pieces(tx, at, frag, most, plan);
		most = E1000_TX_PIECE;
	}
	if (UNLIKELY(plan->sentinel))
		at = put_sentinel(tx, at, plan->lower, plan->upper);
	put_end(tx, first, at);
	tx->after_tso = plan->lower & TXD_TSE || (tx->after_tso && !plan->sentinel);
	if (UNLIKELY(nic->late))
		e1000_late_packet(nic, first & TX_MASK, &frags[0]);
}

// When the ring is full, what is held back is sent and what is done is taken.
bool e1000_tx_has_room(struct e1000 *nic, uint32_t slots)
{
	if (LIKELY(e1000_tx_free(&nic->tx) >= slots))
		return true;
	e1000_kick(&nic->dev);
	e1000_tx_reclaim(nic);
	if (e1000_tx_free(&nic->tx) >= slots)
		return true;
	e1000_stats.tx_ring_full++;
	nic->tx.wanted = slots;
	return false;
}

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
	return put(tx, at, desc->data.addr + piece - TX_SENTINEL, (uint32_t)what | TX_SENTINEL,
		   (uint32_t)(what >> 32), NULL);
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

static __attribute__((noinline)) int transmit_planned(struct e1000 *nic,
						      const struct netfrag *frags, unsigned count,
						      const struct netoffload *offload)
{
	struct e1000_tx *tx = &nic->tx;
	struct tx_plan plan;
	if (UNLIKELY(!tx_plan(tx, &plan, frags, count, offload))) {
		e1000_stats.tx_invalid++;
		return -EINVAL;
	}
	if (UNLIKELY(!e1000_tx_has_room(nic, plan.slots)))
		return -ENOBUFS;
	if (plan.with_context) {
		write_seed(&frags[0], offload, plan.bytes);
		e1000_stats.context_written += plan.new_context;
		e1000_stats.context_skipped += !plan.new_context;
		e1000_stats.tx_tso += offload->mss != 0;
		tx->known[offload->mss != 0] = is_tcp(offload) ? *offload : unknown;
	}
	put_packet(nic, &plan, frags, count, offload);
	e1000_stats.tx_packets++;
	e1000_stats.tx_bytes += plan.bytes;
	return 0;
}

int e1000_transmit(struct netdev *dev, const struct netfrag *frags, unsigned count,
		   const struct netoffload *offload)
{
	struct e1000 *nic = dev->driver;
	if (UNLIKELY(!dev->link_up || nic->state != E1000_RUNNING)) {
		e1000_stats.tx_link_down++;
		return -ENODEV;
	}
	if (LIKELY(offload && count - 1 < NETDEV_MAX_FRAGS && offload_known(&nic->tx, offload)) &&
	    (offload->mss     ? transmit_known(nic, frags, count, offload, true, false)
	     : !offload->ipv6 ? transmit_known(nic, frags, count, offload, false, false)
			      : transmit_known(nic, frags, count, offload, false, true))) {
		e1000_stats.tx_packets++;
		return 0;
	}
	if (offload && offload->mss && offload->ipv6)
		return e1000_cut(nic, frags, count, offload);
	return transmit_planned(nic, frags, count, offload);
}

uint32_t e1000_tx_plain_context(struct e1000_tx *tx, uint32_t at, const struct netoffload *offload)
{
	struct netoffload plain = *offload;
	struct tx_plan plan = {0};
	plain.mss = 0;
	if (LIKELY(offload_known(tx, &plain))) {
		e1000_stats.context_skipped++;
		return at;
	}
	plan_context(&plan, &plain);
	tx->known[0] = plain;
	e1000_stats.context_written++;
	return put_context(tx, at, plan.context.words, tx->plain);
}

void e1000_tx_forget_context(struct e1000 *nic)
{
	nic->tx.plain[0] = nic->tx.plain[1] = UINT64_MAX;
	nic->tx.tso[0] = nic->tx.tso[1] = UINT64_MAX;
	nic->tx.known[0] = nic->tx.known[1] = unknown;
	nic->tx.after_tso = false;
}
