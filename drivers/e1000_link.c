// SPDX-License-Identifier: BSD-2-Clause
// Link changes. A card without a link keeps what it was given to send until the link comes back,
// which may be never; pages and headers must not wait for that. So when the link goes, packets that
// were not yet rung in are released at once, the transmitter is stopped, and 10 ms later what is
// not done is taken back by resetting the card. The same restart serves a card that hangs.
#include "drivers/e1000.h"
#include "kernel/kprintf.h"

#define DRAIN_NS (10 * NS_PER_MS) // longer than a full transmit FIFO (16 KB) takes at 100 Mb/s
#define RESET_NS (5 * NS_PER_MS)  // section 14.3: the EEPROM is read again after CTRL.RST

static void link_tell(struct e1000 *nic, bool up)
{
	nic->dev.link_up = up;
	e1000_stats.link_changes++;
	kprintf("%s: link %s\n", nic->name, up ? "up" : "down");
	nic->dev.client->link_changed(nic->dev.client_ctx, up);
}

// Section 13.4.33: half duplex needs a longer collision distance; the link may have come up so.
static void link_set_duplex(struct e1000 *nic, uint32_t status)
{
	uint32_t distance = status & STATUS_FD ? 0x40 : 0x200;
	uint32_t tctl = (nic->tctl & ~(0x3ffU << TCTL_COLD_SHIFT)) | distance << TCTL_COLD_SHIFT;
	if (tctl == nic->tctl)
		return;
	nic->tctl = tctl;
	e1000_write(nic, E1000_TCTL, tctl);
}

static void link_lost(struct e1000 *nic)
{
	link_tell(nic, false);
	e1000_tx_drop_unrung(nic);
	e1000_tx_reclaim(nic);
	if (nic->tx.clean == nic->tx.rung)
		return;
	e1000_write(nic, E1000_TCTL, nic->tctl & ~(uint32_t)TCTL_EN);
	nic->state = E1000_DRAINING;
	wtd_post_after(&nic->link, WTD_FAST, DRAIN_NS);
}

// Fast WTD, after LSC (section 13.4.17), and whenever DRAINING or RESETTING ends. The bit says that
// something changed, not what; STATUS says what is.
void e1000_link_check(struct e1000 *nic)
{
	if (nic->state != E1000_RUNNING)
		return;
	uint32_t status = e1000_read(nic, E1000_STATUS);
	bool up = status & STATUS_LU;
	if (up)
		link_set_duplex(nic, status);
	if (up == nic->dev.link_up)
		return;
	if (up)
		link_tell(nic, true);
	else
		link_lost(nic);
}

void e1000_restart(struct e1000 *nic)
{
	e1000_stats.restarts++;
	kprintf("%s: %u descriptors stay undone, restarting the card\n", nic->name,
		nic->tx.rung - nic->tx.clean);
	if (nic->dev.link_up)
		link_tell(nic, false);
	e1000_quiesce(nic);
	nic->state = E1000_RESETTING;
	wtd_post_after(&nic->link, WTD_FAST, RESET_NS);
}

static void link_drained(struct e1000 *nic)
{
	e1000_tx_reclaim(nic);
	if (nic->tx.clean != nic->tx.rung) {
		e1000_restart(nic);
		return;
	}
	nic->state = E1000_RUNNING;
	e1000_write(nic, E1000_TCTL, nic->tctl);
	e1000_fill(nic);
	e1000_link_check(nic);
}

// The card is silent since 5 ms: everything in its rings is ours again.
static void link_reset_done(struct e1000 *nic)
{
	e1000_tx_give_back(nic);
	e1000_rx_give_back(nic);
	e1000_begin(nic);
}

void e1000_link_work(struct wtd *work)
{
	struct e1000 *nic = CONTAINER_OF(work, struct e1000, link);
	if (nic->state == E1000_DRAINING)
		link_drained(nic);
	else if (nic->state == E1000_RESETTING)
		link_reset_done(nic);
}
