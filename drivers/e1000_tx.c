// SPDX-License-Identifier: BSD-2-Clause
// Stage 9 of the read path: packets become descriptors.
// Checks the packet, reserves every descriptor it needs or none, writes the checksum seed into the header, the
// context if it changed, then the data. No register access: the doorbell, and what is done, are
// e1000_done.c's. Most packets are like the one before them and take the straight way (e1000_straight.c).
//
// Forbidden: touching a payload's bytes (they are named by physical address), filling the ring (TDT == TDH
// means empty).
#include "drivers/e1000.h"
#include "drivers/e1000_put.h"
#include "kernel/vmm.h"

struct tx_plan {
	union e1000_tx_desc context;
	bool with_context;     // the packet refers to a context
	bool new_context;      // and the card does not have it
	bool sentinel;	       // the last four bytes go in a descriptor of their own
	uint32_t bytes;	       // of the frame
	uint32_t slots;	       // descriptors in all
	uint32_t lower, upper; // what all data descriptors have in common
};

static inline uint64_t plan_word(const struct tx_plan *plan)
{
	return (uint64_t)plan->upper << 32 | plan->lower;
}

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

// A fragment over the limit of a descriptor, in pieces; the cookie goes with the first.
static uint32_t put_pieces(struct e1000_tx *tx, uint32_t at, const struct netfrag *frag,
			   uint32_t most, const struct tx_plan *plan)
{
	void *cookie = frag->cookie;
	for (uint32_t from = 0; from < frag->bytes; from += most) {
		uint32_t piece = MIN(frag->bytes - from, most);
		at = put(tx, at, frag->addr + from, plan_word(plan) | piece, cookie);
		cookie = NULL;
	}
	return at;
}

// Cuts the last descriptor's last bytes off into one of their own.
static inline uint32_t put_sentinel(struct e1000_tx *tx, uint32_t at, uint64_t what)
{
	union e1000_tx_desc *desc = &tx->ring[(at - 1) & TX_MASK];
	uint32_t bytes = (desc->data.lower & TXD_LEN_MASK) - TX_SENTINEL;
	desc->data.lower = (uint32_t)what | bytes;
	return put(tx, at, desc->data.addr + bytes, what | TX_SENTINEL, NULL);
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
			at = put(tx, at, frag->addr, plan_word(plan) | frag->bytes, frag->cookie);
		else
			at = put_pieces(tx, at, frag, most, plan);
		most = E1000_TX_PIECE;
	}
	if (UNLIKELY(plan->sentinel))
		at = put_sentinel(tx, at, plan_word(plan));
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
	if (LIKELY(offload && e1000_straight(nic, frags, count, offload))) {
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
	if (LIKELY(offload_known(tx, &plain, false))) {
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
