// SPDX-License-Identifier: BSD-2-Clause
// Configuration space accesses: through memory (ECAM, where ACPI's MCFG table describes segment 0) or
// through the ports 0xcf8 and 0xcfc (PCI 3.0 section 3.2.2.3.2). Any context after pci_config_init.
#include "drivers/pci_config.h"
#include "drivers/pci_regs.h"
#include "kernel/boot.h"
#include "kernel/io.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/vmm.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define CONFIG_ENABLE  0x80000000u

// PCI Firmware Specification 3.3 table 4-3.
struct mcfg_header {
	char signature[4];
	uint32_t length;
	uint8_t rest[36];
} __attribute__((packed));
struct mcfg_entry {
	uint64_t base;
	uint16_t segment;
	uint8_t first_bus, last_bus;
	uint32_t reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct mcfg_header) == 44, "MCFG header");
_Static_assert(sizeof(struct mcfg_entry) == 16, "MCFG entry");

static paddr_t ecam_base; // of bus 0; 0: none
static unsigned ecam_first, ecam_last;
static uint8_t *ecam_bus[PCI_BUSES]; // mapped one bus at a time, when the walk reaches it
static struct spinlock port_lock = SPINLOCK_INIT("pci config ports", RANK_DRIVER); // the port pair

void pci_config_init(void)
{
	const struct mcfg_header *mcfg = acpi_find("MCFG");
	if (!mcfg)
		return;
	const uint8_t *p = (const uint8_t *)(mcfg + 1);
	for (size_t left = mcfg->length - MIN(mcfg->length, sizeof *mcfg);
	     left >= sizeof(struct mcfg_entry);
	     left -= sizeof(struct mcfg_entry), p += sizeof(struct mcfg_entry)) {
		struct mcfg_entry entry;
		memcpy(&entry, p, sizeof entry);
		if (entry.segment || !entry.base || entry.last_bus < entry.first_bus)
			continue;
		ecam_base = entry.base;
		ecam_first = entry.first_bus;
		ecam_last = entry.last_bus;
		return;
	}
}

static uint32_t address_of(const struct pci_device *dev, unsigned offset)
{
	return CONFIG_ENABLE | (uint32_t)dev->bus << 16 | (uint32_t)dev->slot << 11 |
	       (uint32_t)dev->function << 8 | (offset & 0xfc);
}

static uint32_t by_ports(const struct pci_device *dev, unsigned offset)
{
	spin_lock_irq(&port_lock);
	outl(CONFIG_ADDRESS, address_of(dev, offset));
	uint32_t value = inl(CONFIG_DATA);
	spin_unlock_irq(&port_lock);
	return value;
}

// What MCFG says is tried on function 0 of device 0 before it is believed.
void pci_config_open_bus(unsigned bus)
{
	if (!ecam_base || bus < ecam_first || bus > ecam_last)
		return;
	uint8_t *mapped =
	    vmm_map_io(ecam_base + (paddr_t)bus * PCI_BUS_ECAM_BYTES, PCI_BUS_ECAM_BYTES);
	if (mapped &&
	    mmio_read32(mapped) == by_ports(&(struct pci_device){.bus = (uint8_t)bus}, 0)) {
		ecam_bus[bus] = mapped;
		return;
	}
	kprintf("pci: bus %02x is not in memory where MCFG says (0x%lx), it is reached by ports\n",
		bus, ecam_base);
	if (mapped)
		vmm_unmap(mapped, PCI_BUS_ECAM_BYTES);
	ecam_base = 0;
}

static volatile uint8_t *ecam_of(const struct pci_device *dev, unsigned offset)
{
	uint8_t *bus = ecam_bus[dev->bus];
	return bus ? bus + (dev->slot << 15 | dev->function << 12 | offset) : NULL;
}

uint32_t pci_read32(const struct pci_device *dev, unsigned offset)
{
	volatile uint8_t *ecam = ecam_of(dev, offset & ~3u);
	return ecam ? mmio_read32(ecam) : by_ports(dev, offset);
}

void pci_write32(const struct pci_device *dev, unsigned offset, uint32_t value)
{
	volatile uint8_t *ecam = ecam_of(dev, offset & ~3u);
	if (ecam) {
		mmio_write32(ecam, value);
		return;
	}
	spin_lock_irq(&port_lock);
	outl(CONFIG_ADDRESS, address_of(dev, offset));
	outl(CONFIG_DATA, value);
	spin_unlock_irq(&port_lock);
}

uint16_t pci_read16(const struct pci_device *dev, unsigned offset)
{
	return (uint16_t)(pci_read32(dev, offset) >> (offset & 2) * 8);
}

uint8_t pci_read8(const struct pci_device *dev, unsigned offset)
{
	return (uint8_t)(pci_read32(dev, offset) >> (offset & 3) * 8);
}

// The other half of the doubleword is written back as it was read, but for PCI_STATUS beside
// PCI_COMMAND: its bits are cleared by writing ones, so zeros go there.
void pci_write16(const struct pci_device *dev, unsigned offset, uint16_t value)
{
	unsigned shift = (offset & 2) * 8;
	uint32_t other = pci_read32(dev, offset) & ~(0xffffu << shift);
	if (offset == PCI_COMMAND)
		other = 0;
	pci_write32(dev, offset, other | (uint32_t)value << shift);
}
