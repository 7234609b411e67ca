// SPDX-License-Identifier: BSD-2-Clause
// The cold part of the driver: find the card, reset it, program it, start it, stop it. Thread
// context but for e1000_program and e1000_begin, which the link's restart calls from a fast WTD.
//
// The card is programmed at probe, receiver on, with an empty ring: QEMU's card does not receive
// for one second after any write to RCTL, and that second then passes while the rest of the system
// boots.
#include "drivers/e1000.h"
#include "kernel/console.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/pmm.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"

#define RESET_SETTLE_NS (5 * NS_PER_MS) // section 14.3: the EEPROM is read again after CTRL.RST
#define INTEL		0x8086

static struct e1000 *cards;
static unsigned card_count;

struct e1000 *e1000_first(void)
{
	return cards;
}

static const struct model {
	uint16_t device;
	const char *name;
} models[] = {
    {0x1008, "82544EI"}, {0x100c, "82544GC"}, {0x100e, "82540EM"}, {0x100f, "82545EM"},
    {0x1015, "82540EM"}, {0x101e, "82540EP"}, {0x1026, "82545GM"},
};

static bool is_82544(const struct e1000 *nic)
{
	return nic->pci->device == 0x1008 || nic->pci->device == 0x100c;
}

static const char *model_name(uint16_t device)
{
	for (size_t n = 0; n < ARRAY_SIZE(models); n++)
		if (models[n].device == device)
			return models[n].name;
	return "8254x";
}

// Receiver and transmitter off first, so that no DMA is cut in the middle; then section 14.3's
// reset.
void e1000_quiesce(struct e1000 *nic)
{
	nic->rctl = 0;
	nic->masked = true;
	e1000_write(nic, E1000_IMC, 0xffffffff);
	e1000_write(nic, E1000_RCTL, 0);
	e1000_write(nic, E1000_TCTL, TCTL_PSP);
	(void)e1000_read(nic, E1000_STATUS);
	clock_delay_ns(10 * NS_PER_US);
	e1000_write(nic, E1000_CTRL, e1000_read(nic, E1000_CTRL) | CTRL_RST);
}

// Section 13.4.4. False when the card has no such register or no EEPROM.
static bool eeprom_word(struct e1000 *nic, uint32_t word, uint16_t *value)
{
	e1000_write(nic, E1000_EERD, EERD_START | word << EERD_ADDR_SHIFT);
	for (unsigned tries = 0; tries < 1000; tries++) {
		uint32_t eerd = e1000_read(nic, E1000_EERD);
		if (eerd & EERD_DONE) {
			*value = (uint16_t)(eerd >> EERD_DATA_SHIFT);
			return true;
		}
		clock_delay_ns(5 * NS_PER_US);
	}
	return false;
}

static bool mac_valid(const uint8_t *mac)
{
	static const uint8_t none[6];
	return !(mac[0] & 1) && memcmp(mac, none, 6);
}

// Section 13.5.2: the reset loads RAL and RAH from the EEPROM; where it did not, words 0 to 2 of
// the EEPROM are read (section 5.6.1).
static bool read_mac(struct e1000 *nic)
{
	uint32_t low = e1000_read(nic, E1000_RAL), high = e1000_read(nic, E1000_RAH);
	uint16_t words[3] = {(uint16_t)low, (uint16_t)(low >> 16), (uint16_t)high};
	memcpy(nic->dev.mac, words, 6);
	if (high & RAH_AV && mac_valid(nic->dev.mac))
		return true;
	for (uint32_t n = 0; n < 3; n++)
		if (!eeprom_word(nic, n, &words[n]))
			return false;
	memcpy(nic->dev.mac, words, 6);
	return mac_valid(nic->dev.mac);
}

// Section 14.3: link up, speed and duplex as negotiated; no VLANs, no pause frames (TCP has its
// own). The VLAN table is not read with RCTL.VFE off.
static void program_general(struct e1000 *nic)
{
	uint32_t ctrl = e1000_read(nic, E1000_CTRL);
	ctrl &= ~(uint32_t)(CTRL_LRST | CTRL_ILOS | CTRL_FRCSPD | CTRL_FRCDPLX | CTRL_RST |
			    CTRL_RFCE | CTRL_TFCE | CTRL_VME);
	e1000_write(nic, E1000_CTRL, ctrl | CTRL_SLU | CTRL_ASDE);
	e1000_write(nic, E1000_FCAL, 0);
	e1000_write(nic, E1000_FCAH, 0);
	e1000_write(nic, E1000_FCT, 0);
	e1000_write(nic, E1000_FCTTV, 0);
	e1000_write(nic, E1000_FCRTL, 0);
	e1000_write(nic, E1000_FCRTH, 0);
	e1000_write(nic, E1000_VET, 0);
	e1000_write(nic, E1000_WUC, 0);
	e1000_write(nic, E1000_ITR, 0);
}

// Section 14.4. Our own address, broadcast, and all multicast (neighbour discovery, RFC 4861, and
// whatever the stack joins), so that the table of multicast hashes is not read; the FCS stripped; long frames, so that
// the link's MTU may change without a second in which QEMU's card is deaf: e1000_rx.c drops what is too long; no
// checksum filter (QEMU's card has none, so the stack verifies in software on every card). RCTL is written last.
static void program_receive(struct e1000 *nic)
{
	const uint8_t *mac = nic->dev.mac;
	e1000_write(nic, E1000_RAL, mac[0] | mac[1] << 8 | mac[2] << 16 | (uint32_t)mac[3] << 24);
	e1000_write(nic, E1000_RAH, mac[4] | mac[5] << 8 | RAH_AV);
	for (uint32_t n = 1; n < E1000_RA_PAIRS; n++) {
		e1000_write(nic, E1000_RAL + 8 * n, 0);
		e1000_write(nic, E1000_RAH + 8 * n, 0);
	}
	paddr_t ring = virt_to_phys(nic->rx.ring);
	nic->rx.clean = nic->rx.fill = 0;
	nic->rx.bare = E1000_RX_RING;
	nic->rx.room = E1000_RX_FIRST;
	nic->rx.batch = E1000_RX_FIRST_REFILL;
	e1000_write(nic, E1000_RDBAL, (uint32_t)ring);
	e1000_write(nic, E1000_RDBAH, (uint32_t)(ring >> 32));
	e1000_write(nic, E1000_RDLEN, E1000_RX_RING * sizeof(struct e1000_rx_desc));
	e1000_write(nic, E1000_RDH, 0);
	e1000_write(nic, E1000_RDT, 0);
	e1000_write(nic, E1000_RDTR, 0);
	e1000_write(nic, E1000_RADV, 0);
	e1000_write(nic, E1000_RXDCTL, TXDCTL_GRAN);
	e1000_write(nic, E1000_RXCSUM, 0);
	nic->rctl = RCTL_EN | RCTL_MPE | RCTL_LPE | RCTL_BAM | RCTL_BSIZE_2048 | RCTL_SECRC;
	e1000_write(nic, E1000_RCTL, nic->rctl);
}

// Section 14.5, with the values of 13.4.33 (collision threshold 15, distance 64 byte times for full
// duplex) and 13.4.34 (gaps of 10, 8 and 6; 8, 8 and 6 for the 82544). TIDV may not be 0 (13.4.41)
// and does nothing, because no descriptor sets IDE. Thresholds of 0: DD is written back at once.
static void program_transmit(struct e1000 *nic)
{
	paddr_t ring = virt_to_phys(nic->tx.ring);
	nic->tx.clean = nic->tx.rung = nic->tx.next = 0;
	nic->tx.wanted = 0;
	e1000_tx_forget_context(nic);
	e1000_write(nic, E1000_TDBAL, (uint32_t)ring);
	e1000_write(nic, E1000_TDBAH, (uint32_t)(ring >> 32));
	e1000_write(nic, E1000_TDLEN, E1000_TX_RING * sizeof(union e1000_tx_desc));
	e1000_write(nic, E1000_TDH, 0);
	e1000_write(nic, E1000_TDT, 0);
	e1000_write(nic, E1000_TIDV, 1);
	e1000_write(nic, E1000_TADV, 0);
	e1000_write(nic, E1000_TXDCTL, TXDCTL_GRAN);
	e1000_write(nic, E1000_AIFS, 0);
	uint32_t gap = is_82544(nic) ? 8 : 10;
	e1000_write(nic, E1000_TIPG, gap | 8 << 10 | 6 << 20);
	nic->tctl = TCTL_EN | TCTL_PSP | 15 << TCTL_CT_SHIFT | 0x40 << TCTL_COLD_SHIFT;
	e1000_write(nic, E1000_TCTL, nic->tctl);
}

void e1000_program(struct e1000 *nic)
{
	program_general(nic);
	program_transmit(nic);
	program_receive(nic);
}

// Gives the ring its first buffers, then lets the card interrupt, then asks for the link, so that no change is
// missed.
void e1000_begin(struct e1000 *nic)
{
	if (!nic->rctl)
		e1000_program(nic);
	nic->state = E1000_RUNNING;
	e1000_fill(nic);
	wtd_post_after(&nic->rx.refill, WTD_FAST, E1000_RX_REST);
	wtd_post_fast(&nic->rx.poll); // unmasks
	e1000_link_check(nic);
}

static int e1000_start(struct netdev *dev)
{
	struct e1000 *nic = dev->driver;
	if (!dev->client)
		return -EINVAL;
	if (nic->state != E1000_IDLE)
		return -EBUSY;
	e1000_begin(nic);
	return 0;
}

static void e1000_stop(struct netdev *dev)
{
	struct e1000 *nic = dev->driver;
	if (nic->state == E1000_IDLE)
		return;
	nic->state = E1000_IDLE;
	dev->link_up = false;
	wtd_cancel(&nic->rx.poll);
	wtd_cancel(&nic->link);
	if (nic->late)
		e1000_late_reset(nic);
	e1000_quiesce(nic);
	clock_delay_ns(RESET_SETTLE_NS);
	e1000_tx_give_back(nic);
	e1000_rx_give_back(nic);
}

// A card that still receives would write into the memory of whatever is started next.
static void silence(void)
{
	wtd_disable();
	for (struct e1000 *nic = cards; nic; nic = nic->next_card)
		e1000_stop(&nic->dev);
	wtd_enable();
}
SHUTDOWN_STEP(e1000, 95, "Stopping the network cards", silence);

static void fill_netdev(struct e1000 *nic)
{
	nic->dev.name = nic->name;
	nic->dev.model = model_name(nic->pci->device);
	nic->dev.mtu = E1000_MTU_MAX;
	nic->dev.rx_buffer_bytes = E1000_RX_BYTES;
	nic->dev.rx_ring_size = E1000_RX_RING;
	nic->dev.tx_ring_size = E1000_TX_RING;
	nic->dev.tso_max = E1000_TSO_MAX;
	nic->dev.transmit = e1000_transmit;
	nic->dev.kick = e1000_kick;
	nic->dev.start = e1000_start;
	nic->dev.stop = e1000_stop;
	nic->dev.rx_refill = e1000_rx_refill;
	nic->dev.set_mtu = e1000_rx_set_mtu;
	nic->dev.driver = nic;
	e1000_rx_set_mtu(&nic->dev, 1500);
}

// The 82544 hangs on PCI-X when a buffer ends badly aligned; nothing here guards against that.
static int bring_up(struct e1000 *nic)
{
	// The reset lets it take effect and does not change it.
	e1000_write(nic, E1000_PBA, E1000_PBA_RX << PBA_RXA_SHIFT);
	e1000_quiesce(nic);
	if (may_sleep())
		thread_sleep_ns(RESET_SETTLE_NS);
	else
		clock_delay_ns(RESET_SETTLE_NS);
	e1000_write(nic, E1000_IMC, 0xffffffff);
	(void)e1000_read(nic, E1000_ICR);
	nic->pcix = e1000_read(nic, E1000_STATUS) & STATUS_PCIX;
	nic->tx.first_max = nic->pcix ? E1000_TX_PIECE_PCIX : E1000_TX_PIECE;
	if (nic->pcix && is_82544(nic))
		return -ENODEV;
	if (!read_mac(nic))
		return -EIO;
	e1000_program(nic);
	return pci_irq_attach(nic->pci, e1000_interrupt, nic, nic->name);
}

static void forget(struct e1000 *nic)
{
	if (nic->rx.ring)
		kpages_free(nic->rx.ring, E1000_RX_RING * sizeof(struct e1000_rx_desc));
	if (nic->tx.ring)
		kpages_free(nic->tx.ring, E1000_TX_RING * sizeof(union e1000_tx_desc));
	if (nic->tx.heads)
		kpages_free(nic->tx.heads, E1000_TX_RING * sizeof(struct e1000_head));
	if (nic->late)
		kpages_free(nic->late, e1000_late_bytes());
	if (nic->regs)
		vmm_unmap((void *)nic->regs, nic->pci->bar[0].bytes);
	kpages_free(nic, sizeof(*nic));
}

static int allocate(struct e1000 *nic)
{
	nic->regs = vmm_map_io(nic->pci->bar[0].addr, nic->pci->bar[0].bytes);
	// The card reads nothing that was not written, nor do we before the card had it.
	nic->rx.ring = kpages_alloc_raw(E1000_RX_RING * sizeof(struct e1000_rx_desc));
	nic->tx.ring = kpages_alloc_raw(E1000_TX_RING * sizeof(union e1000_tx_desc));
	nic->tx.heads = kpages_alloc_raw(E1000_TX_RING * sizeof(struct e1000_head));
	if (!nic->regs || !nic->rx.ring || !nic->tx.ring || !nic->tx.heads)
		return -ENOMEM;
	nic->tx.heads_addr = virt_to_phys(nic->tx.heads);
	if (e1000_late_wanted() && !e1000_late_setup(nic))
		return -ENOMEM;
	wtd_init(&nic->rx.poll, e1000_poll, "e1000 poll");
	nic->rx.watch.look = e1000_look;
	nic->rx.watch.over = e1000_look_over;
	wtd_init(&nic->rx.refill, e1000_refill_late, "e1000 refill");
	wtd_init(&nic->tx.work, e1000_tx_work, "e1000 transmit timer");
	wtd_init(&nic->link, e1000_link_work, "e1000 link");
	return 0;
}

static int e1000_probe(struct pci_device *pci)
{
	if (pci->bar[0].io || pci->bar[0].bytes < 0x20000)
		return -ENODEV;
	struct e1000 *nic = kpages_alloc(sizeof(*nic));
	if (!nic)
		return -ENOMEM;
	nic->pci = pci;
	ksnprintf(nic->name, sizeof(nic->name), "e1000.%u", card_count);
	pci_enable(pci);
	int error = allocate(nic);
	if (!error)
		error = bring_up(nic);
	if (error) {
		kprintf("%s: %s not usable (error %d)\n", nic->name, model_name(pci->device),
			-error);
		forget(nic);
		return error;
	}
	fill_netdev(nic);
	nic->next_card = cards;
	cards = nic;
	card_count++;
	netdev_register(&nic->dev);
	const uint8_t *mac = nic->dev.mac;
	kprintf("%s: %s, %02x:%02x:%02x:%02x:%02x:%02x\n", nic->name, nic->dev.model, mac[0],
		mac[1], mac[2], mac[3], mac[4], mac[5]);
	return 0;
}

#define E1000_ROW(id)                                                                              \
	PCI_DRIVER(driver_##id) = {.name = "e1000",                                                \
				   .vendor = INTEL,                                                \
				   .device = id,                                                   \
				   .class = 0xff,                                                  \
				   .subclass = 0xff,                                               \
				   .probe = e1000_probe}
E1000_ROW(0x1008);
E1000_ROW(0x100c);
E1000_ROW(0x100e);
E1000_ROW(0x100f);
E1000_ROW(0x1015);
E1000_ROW(0x101e);
E1000_ROW(0x1026);
