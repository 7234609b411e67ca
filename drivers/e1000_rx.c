// SPDX-License-Identifier: BSD-2-Clause
// Stages 1 and 3 of the read path: the card's interrupt, and frames from descriptors to the stack.
//
// The interrupt takes a note: it reads the cause, masks the card and posts `poll`. Polling goes on,
// E1000_RX_BUDGET frames a pass, until no descriptor is done. The card is unmasked only when the processor is
// to halt or a thread to run: an idle one looks at the ring itself for a while (wtd_watch_for), so
// a frame that comes soon costs no register access. The stack hears of a pass's frames with rx_frames and of its
// end with rx_batch_end, where it sends what the frames produced. Then the ring gets new buffers,
// E1000_RX_REFILL a doorbell.
//
// The card may run receives inside any register write (an answer arrives within the doorbell that
// asked for it): nothing here assumes that memory holds still across one.
//
// Device accesses: two in the interrupt, two when looking ends, one for each E1000_RX_REFILL
// frames. Forbidden: reading RDH, or any register but ICR.
#include "drivers/e1000.h"
#include "kernel/panic.h"

#define RX_MASK		(E1000_RX_RING - 1)
#define RX_STARVED_WAIT (10 * NS_PER_MS) // before the pool is asked again when nothing else happens
#define RX_WATCH	(100 * NS_PER_US) // how long the next frame is looked for instead of waited for
#define IMS_ENABLED	(ICR_RXT0 | ICR_LSC)

// Of a descriptor's second half: status and errors.
#define RX_DONE	 ((uint64_t)RXD_STAT_DD << 32)
#define RX_WHOLE ((uint64_t)RXD_STAT_EOP << 32)
#define RX_BAD	 ((uint64_t)RXD_ERR_FRAME << 40)

// Stage 1. Interrupt context. While we poll, the card is masked, so an interrupt on a shared line
// is somebody else's: the card is not even asked. Section 13.4.17: reading ICR clears it.
bool e1000_interrupt(void *arg)
{
	struct e1000 *nic = arg;
	if (nic->masked)
		return false;
	uint32_t causes = e1000_read(nic, E1000_ICR);
	if (!(causes & IMS_ENABLED))
		return false;
	e1000_write(nic, E1000_IMC, 0xffffffff);
	nic->masked = true;
	__atomic_fetch_or(&nic->causes, causes, __ATOMIC_RELAXED);
	e1000_stats.interrupts++;
	return wtd_post_interrupt(&nic->rx.poll);
}

// The second half of a descriptor, as the card wrote it: length, status and errors in one load. The first, the
// buffer's address, the card only reads (section 3.2.3).
typedef uint64_t rx_word_t __attribute__((may_alias));
static inline volatile rx_word_t *rx_word(const struct e1000_rx *rx, uint32_t at)
{
	return (volatile rx_word_t *)&rx->ring[at & RX_MASK].length;
}

// Section 3.2.3.1: DD says that the card has written the frame and the rest of the descriptor.
static inline bool rx_ready(const struct e1000_rx *rx)
{
	return rx->clean != rx->fill && *rx_word(rx, rx->clean) & RX_DONE;
}

// The processor has nothing to do, and frames came a moment ago. The card may hold its interrupt back (QEMU's
// for 128 us after the last), or is masked: a frame that is in memory is taken as if it had interrupted.
void e1000_look(struct wtd_watch *watch)
{
	struct e1000 *nic = CONTAINER_OF(watch, struct e1000, rx.watch);
	if (nic->state != E1000_RUNNING || !rx_ready(&nic->rx))
		return;
	if (nic->masked ? wtd_post_fast(&nic->rx.poll) : e1000_interrupt(nic))
		e1000_stats.looked++;
}

// Section 3.2.3.2: errors stand in a frame's last descriptor. Checksum bits are not errors here: the stack verifies in
// software.
static bool rx_wanted(const struct e1000_rx *rx, uint64_t word, uint32_t bytes)
{
	if (word & RX_BAD)
		e1000_stats.rx_error++;
	else if (bytes > rx->frame_max)
		e1000_stats.rx_long++;
	else if (bytes < E1000_FRAME_MIN)
		e1000_stats.rx_short++;
	else
		return true;
	return false;
}

// A part of a frame that spans buffers (section 3.2.3.1). With the FCS stripped, nothing may be left for the last.
// Parts behind the one that made it too long are dropped up to the end, which says so to whoever has the others.
static enum netbuf_part rx_part(struct e1000_rx *rx, uint64_t word, uint32_t bytes)
{
	bool last = word & RX_WHOLE;
	if (!rx->inside)
		rx->so_far = 0;
	rx->inside = !last;
	if (!rx->skipping) {
		rx->so_far += bytes;
		if (last)
			return rx_wanted(rx, word, rx->so_far) ? NETBUF_LAST : NETBUF_NONE;
		if (rx->so_far <= rx->frame_max && bytes == E1000_RX_BYTES)
			return NETBUF_PART;
		e1000_stats.rx_long++;
	}
	rx->skipping = !last;
	return NETBUF_NONE;
}

// What is no whole frame of a usual length. Returns the bytes of one that is only longer; else the slot says what there
// is of one.
static __attribute__((noinline)) uint32_t rx_unusual(struct e1000_rx *rx, struct netbuf *slot,
						     uint64_t word)
{
	uint32_t bytes = (uint16_t)word;
	slot->part = NETBUF_NONE;
	if (!rx->inside && word & RX_WHOLE)
		return rx_wanted(rx, word, bytes) ? bytes : 0;
	slot->part = rx_part(rx, word, bytes);
	slot->part_bytes = (uint16_t)bytes;
	if (slot->part == NETBUF_LAST) {
		e1000_stats.rx_packets++;
		e1000_stats.rx_bytes += rx->so_far;
	}
	return 0;
}

static inline bool rx_usual(const struct e1000_rx *rx, uint64_t word)
{
	uint32_t bytes = (uint16_t)word;
	return (word & (RX_WHOLE | RX_BAD)) == RX_WHOLE && !rx->inside &&
	       bytes - E1000_FRAME_MIN <= E1000_FRAME_USUAL - E1000_FRAME_MIN;
}

// What has come, in at most so many descriptors that lie behind each other: each slot gets its frame's length, and its
// descriptor is as the card wants it. Returns how many.
static inline uint32_t rx_measure(struct e1000_rx *rx, uint32_t most)
{
	volatile rx_word_t *at = rx_word(rx, rx->clean);
	struct netbuf *first = &rx->slots[rx->clean & RX_MASK], *slot = first;
	uint32_t none = 0;
	uint64_t total = 0;
	for (const struct netbuf *end = first + most; slot != end; slot++, at += 2) {
		uint64_t word = *at;
		uint32_t bytes = (uint16_t)word;
		if (!(word & RX_DONE))
			break;
		*at = 0;
		if (UNLIKELY(!rx_usual(rx, word))) {
			bytes = rx_unusual(rx, slot, word);
			none += !bytes;
		}
		slot->bytes = bytes;
		total += bytes;
	}
	e1000_stats.rx_packets += (uint32_t)(slot - first) - none;
	e1000_stats.rx_bytes += total;
	return (uint32_t)(slot - first);
}

// Stage 3. Returns how many descriptors it took. What the stack did not keep stays in its slot, for the next
// time round. Slots behind each other are shown in one go; what comes meanwhile belongs to the same pass, because fewer
// and larger ones ring fewer doorbells.
static uint32_t rx_pass(struct e1000 *nic)
{
	struct e1000_rx *rx = &nic->rx;
	const struct netdev_client *client = nic->dev.client;
	uint32_t taken = 0;
	while (taken < E1000_RX_BUDGET) {
		uint32_t first = rx->clean & RX_MASK,
			 most = MIN(rx->fill - rx->clean, E1000_RX_BUDGET - taken);
		uint32_t found = rx_measure(rx, MIN(most, E1000_RX_RING - first));
		if (!found)
			break;
		rx->clean += found;
		taken += found;
		rx->bare += client->rx_frames(nic->dev.client_ctx, &rx->slots[first], found);
	}
	if (taken > e1000_stats.rx_high)
		e1000_stats.rx_high = taken;
	return taken;
}

// The card has the slots before `fill`.
static void rx_doorbell(struct e1000 *nic, uint32_t fill)
{
	nic->rx.fill = fill;
	io_wmb();
	e1000_stats.rx_doorbells++;
	e1000_write(nic, E1000_RDT, fill & RX_MASK);
}

// The slot has a buffer and its descriptor says which, from the last time round or from now on. False: there is none.
static inline bool rx_buffer(struct e1000 *nic, uint32_t at)
{
	struct netbuf *slot = &nic->rx.slots[at & RX_MASK];
	if (LIKELY(slot->cookie))
		return true;
	if (UNLIKELY(!nic->dev.client->rx_buffer(nic->dev.client_ctx, &slot->addr, &slot->cookie)))
		return false;
	nic->rx.ring[at & RX_MASK] = (struct e1000_rx_desc){.addr = slot->addr};
	nic->rx.bare--;
	return true;
}

// So do all up to `end`, or up to what is returned.
static inline uint32_t rx_buffers(struct e1000 *nic, uint32_t at, uint32_t end)
{
	if (!nic->rx.bare)
		return end;
	while (at != end && rx_buffer(nic, at))
		at++;
	return at;
}

// Section 3.2.6: the tail is never moved onto the head (one slot stays empty), so head == tail
// always means a ring without buffers, in which the card keeps or drops frames and harms nothing.
void e1000_fill(struct e1000 *nic)
{
	struct e1000_rx *rx = &nic->rx;
	uint32_t space = rx->room - (rx->fill - rx->clean), at = rx->fill, rest = rx->batch - 1;
	if (space < rx->batch || nic->state != E1000_RUNNING)
		return;
	uint32_t end = at + space, bell = at;
	if (rx->clean !=
	    rx->fill) // batches end before a multiple of their size, wherever the last one ended
		end -= (end + 1) & rest;
	while (at != end && at == bell) {
		bell = end - ((end - at - 1) & ~rest);
		at = rx_buffers(nic, at, bell);
		if (at != rx->fill)
			rx_doorbell(nic, at);
	}
	rx->hungry = at != end;
	if (LIKELY(!rx->hungry))
		return;
	e1000_stats.rx_no_buffer++;
	e1000_stats.rx_ring_dry += rx->clean == rx->fill;
	wtd_post_after(&rx->refill, WTD_FAST, RX_STARVED_WAIT);
}

// The card was started, or the pool was empty, a while ago. A hypervisor may hold an RDT write back until another
// register is touched (KVM's coalesced MMIO); the read sees to it, in this rare path only.
void e1000_refill_late(struct wtd *work)
{
	struct e1000 *nic = CONTAINER_OF(work, struct e1000, rx.refill);
	nic->rx.room = E1000_RX_RING - 1;
	nic->rx.batch = E1000_RX_REFILL;
	e1000_fill(nic);
	(void)e1000_read(nic, E1000_STATUS);
}

void e1000_rx_refill(struct netdev *dev)
{
	struct e1000 *nic = dev->driver;
	if (!nic->rx.hungry)
		return;
	wtd_cancel(&nic->rx.refill);
	e1000_refill_late(&nic->rx.refill);
}

void e1000_rx_set_mtu(struct netdev *dev, uint32_t mtu)
{
	struct e1000 *nic = dev->driver;
	nic->rx.frame_max = MAX(mtu + E1000_FRAME_EXTRA, E1000_FRAME_USUAL);
}

// Causes that came up while we polled are old news: ICR is read first, so that they do not
// interrupt again. A frame that slips in before that read is seen by the look at the ring
// afterwards; one that slips in after it raises RXT0 anew.
static void rx_unmask(struct e1000 *nic)
{
	if (nic->masked) {
		uint32_t causes = e1000_read(nic, E1000_ICR);
		__atomic_fetch_or(&nic->causes, causes & ICR_LSC, __ATOMIC_RELAXED);
		nic->masked = false;
		e1000_write(nic, E1000_IMS, IMS_ENABLED);
	}
	if (rx_ready(&nic->rx) || __atomic_load_n(&nic->causes, __ATOMIC_RELAXED) & ICR_LSC)
		wtd_post_fast(&nic->rx.poll);
}

// The processor stops looking: from here on frames interrupt.
void e1000_look_over(struct wtd_watch *watch)
{
	struct e1000 *nic = CONTAINER_OF(watch, struct e1000, rx.watch);
	if (nic->state == E1000_RUNNING)
		rx_unmask(nic);
}

// Its order is the driver's: link, reclaim, receive, send (in rx_batch_end), refill, sleep.
void e1000_poll(struct wtd *work)
{
	struct e1000 *nic = CONTAINER_OF(work, struct e1000, rx.poll);
	if (nic->state != E1000_RUNNING && nic->state != E1000_DRAINING)
		return;
	e1000_stats.polls++;
	uint32_t causes = __atomic_exchange_n(&nic->causes, 0, __ATOMIC_RELAXED);
	if (UNLIKELY(causes & ICR_LSC))
		e1000_link_check(nic);
	e1000_tx_reclaim(nic);
	if (UNLIKELY(nic->late) && rx_ready(&nic->rx) && e1000_late_hold_rx(nic))
		return;
	uint32_t taken = rx_pass(nic);
	if (taken) {
		e1000_stats.rx_batches++;
		nic->dev.client->rx_batch_end(nic->dev.client_ctx);
	}
	e1000_fill(nic);
	if (rx_ready(&nic->rx))
		wtd_post_fast(&nic->rx.poll);
	else if (!taken || !wtd_watch_for(&nic->rx.watch, RX_WATCH))
		rx_unmask(nic);
}

void e1000_rx_give_back(struct e1000 *nic)
{
	struct e1000_rx *rx = &nic->rx;
	wtd_cancel(&rx->refill);
	rx->hungry = false;
	if (rx->inside) { // its rest will not come
		struct netbuf none = {.part = NETBUF_NONE};
		nic->dev.client->rx_frames(nic->dev.client_ctx, &none, 1);
	}
	rx->inside = rx->skipping = false;
	rx->clean = rx->fill;
	for (struct netbuf *slot = rx->slots; slot < rx->slots + E1000_RX_RING; slot++) {
		if (slot->cookie)
			nic->dev.client->rx_unused(nic->dev.client_ctx, slot->cookie);
		slot->cookie = NULL;
	}
	rx->bare = E1000_RX_RING;
}
