// SPDX-License-Identifier: BSD-2-Clause
// PCI configuration space (type 1 ports; ECAM when MCFG says so) and the devices found in it.
#pragma once

#include "kernel/base.h"
#include "kernel/irq.h"

struct pci_device {
	uint8_t bus, slot, function;
	uint16_t vendor, device;
	uint8_t class, subclass, interface, revision;
	uint8_t irq_line, irq_pin; // as firmware left them; pin 1 = INTA
	bool has_bars;		   // those below are filled in when a driver matches
	struct {
		paddr_t addr;
		uint64_t bytes;
		bool io, prefetchable;
	} bar[6]; // a 64-bit BAR fills its first slot
	struct pci_device *next;
};

// A register of the device's configuration space, whose offset is a multiple of its size. Any context.
uint32_t pci_read32(const struct pci_device *dev, unsigned offset);
uint16_t pci_read16(const struct pci_device *dev, unsigned offset);
uint8_t pci_read8(const struct pci_device *dev, unsigned offset);
void pci_write32(const struct pci_device *dev, unsigned offset, uint32_t value);
void pci_write16(const struct pci_device *dev, unsigned offset, uint16_t value);
unsigned pci_find_capability(const struct pci_device *dev, uint8_t id); // offset, 0: none
void pci_enable(const struct pci_device *dev); // memory, I/O, bus mastering, INTx on
// All that were found at boot, in the buses' order; they never go.
struct pci_device *pci_first(void);
// Attaches a handler to the device's interrupt: MSI where the device has it, else its INTx pin (shared,
// level). 0 or a negative error. Thread context.
int pci_irq_attach(struct pci_device *dev, irq_handler handler, void *arg, const char *name);
void pci_init(void); // boot: walks the buses

// Drivers are rows of a table; pci_probe_all calls probe for each device that matches.
struct pci_driver {
	const char *name;
	uint16_t vendor, device;	      // 0xffff: any
	uint8_t class, subclass;	      // 0xff: any
	int (*probe)(struct pci_device *dev); // thread context, may sleep; 0 when taken
};
#define PCI_DRIVER(id) static const struct pci_driver id TABLE_ROW(pci_drivers)
void pci_probe_all(void); // boot, once, thread context
