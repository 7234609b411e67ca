// SPDX-License-Identifier: BSD-2-Clause
// Stages 9 and 10 of the read path: a doorbell sends the batch, and done descriptors give their references
// back.
//
//	kick       one TDT write for all packets since the last, then reclaim.
//	reclaim    DD of a packet's last descriptor gives back every cookie of the packet, once.
//	           It runs at each kick and poll, before a refusal, and from `work`, which stays on
//	           the timer wheel while the card holds anything: no page waits for the next packet
//	           to be unlocked.
//
// QEMU's card sends inside the TDT write, so there the reclaim in kick finds everything done and no
// timer is ever armed. TXDW and TXQE stay masked. Forbidden: reading TDH.
#include "drivers/e1000.h"
#include "kernel/timer.h"

#define TX_MASK	      (E1000_TX_RING - 1)
#define TX_LOOK_AGAIN NS_PER_MS		// while the card holds packets and nothing else happens
#define TX_LOOK_SOON  (100 * NS_PER_US) // the same while a refused packet waits for room
#define TX_STUCK      (5 * NS_PER_SEC)	// no progress for so long with the link up: a hung card

static bool tx_room_for_refused(const struct e1000_tx *tx)
{
	return tx->wanted && e1000_tx_free(tx) >= MAX(tx->wanted, E1000_TX_RING / 4);
}

// The cookies of slots from .. to-1 go back. Those slots are not free yet: the client may come and send.
static void tx_release(struct e1000 *nic, uint32_t from, uint32_t to)
{
	while (from != to) {
		uint32_t slot = from & TX_MASK, count = MIN(to - from, E1000_TX_RING - slot);
		nic->dev.client->tx_release(nic->dev.client_ctx, &nic->tx.cookies[slot], count);
		from += count;
	}
}

// Section 3.4.1 and 13.4.39: descriptors are done when DD is set in memory, in order.
void e1000_tx_reclaim(struct e1000 *nic)
{
	struct e1000_tx *tx = &nic->tx;
	if (tx->reclaiming)
		return;
	tx->reclaiming = true;
	uint32_t done = tx->clean;
	while (done != tx->rung) {
		uint32_t first = done & TX_MASK, last = tx->last[first];
		const volatile uint32_t *upper = &tx->ring[last].data.upper;
		if (!(*upper & TXD_STAT_DD))
			break;
		if (UNLIKELY(nic->late) && !e1000_late_done(nic, first))
			break;
		done += ((last - first) & TX_MASK) + 1;
	}
	tx_release(nic, tx->clean, done);
	tx->clean = done;
	tx->reclaiming = false;
	// From `work`, not from here: whoever called may be in the middle of sending.
	if (UNLIKELY(tx_room_for_refused(tx)))
		wtd_post_fast(&tx->work);
}

// While the card holds something, someone looks again.
static void tx_watch(struct e1000_tx *tx)
{
	if (tx->clean == tx->next || tx->armed)
		return;
	tx->armed = true;
	wtd_post_after(&tx->work, WTD_FAST, tx->wanted ? TX_LOOK_SOON : TX_LOOK_AGAIN);
}

void e1000_tx_doorbell(struct e1000 *nic)
{
	struct e1000_tx *tx = &nic->tx;
	uint32_t used = tx->next - tx->clean;
	if (used > e1000_stats.tx_high)
		e1000_stats.tx_high = used;
	tx->rung = tx->next;
	e1000_stats.tx_doorbells++;
	io_wmb();
	e1000_write(nic, E1000_TDT, tx->next & TX_MASK);
	e1000_tx_reclaim(nic);
	tx_watch(tx);
}

void e1000_kick(struct netdev *dev)
{
	struct e1000 *nic = dev->driver;
	if (nic->tx.next == nic->tx.rung || nic->state != E1000_RUNNING)
		return;
	if (UNLIKELY(nic->late))
		e1000_late_kick(nic);
	else
		e1000_tx_doorbell(nic);
}

// True when the card has had packets for TX_STUCK and finished none of them.
static bool tx_stuck(struct e1000_tx *tx)
{
	uint64_t now = clock_ns();
	if (tx->clean == tx->rung) {
		tx->stuck_since = 0;
		return false;
	}
	if (tx->clean != tx->stuck_clean || !tx->stuck_since) {
		tx->stuck_clean = tx->clean;
		tx->stuck_since = now;
	}
	return now - tx->stuck_since > TX_STUCK;
}

// The timer and the notice of room. Fast WTD.
void e1000_tx_work(struct wtd *work)
{
	struct e1000 *nic = CONTAINER_OF(work, struct e1000, tx.work);
	struct e1000_tx *tx = &nic->tx;
	tx->armed = false;
	if (nic->state != E1000_RUNNING)
		return;
	e1000_tx_reclaim(nic);
	if (UNLIKELY(tx_stuck(tx))) {
		e1000_restart(nic);
		return;
	}
	if (tx_room_for_refused(tx)) {
		tx->wanted = 0;
		nic->dev.client->tx_room(nic->dev.client_ctx);
	}
	tx_watch(tx);
}

// Releases the cookies of slots from .. to-1 and makes those slots free again, from the back.
static void tx_discard(struct e1000 *nic, uint32_t from)
{
	struct e1000_tx *tx = &nic->tx;
	uint32_t end = tx->next;
	e1000_stats.tx_discarded += end != from;
	tx_release(nic, from, end);
	tx->next = from;
}

void e1000_tx_drop_unrung(struct e1000 *nic)
{
	tx_discard(nic, nic->tx.rung);
	e1000_tx_forget_context(nic);
}

void e1000_tx_give_back(struct e1000 *nic)
{
	struct e1000_tx *tx = &nic->tx;
	wtd_cancel(&tx->work);
	tx->armed = false;
	tx->rung = tx->clean;
	tx->stuck_since = 0;
	tx_discard(nic, tx->clean);
	e1000_tx_forget_context(nic);
}
