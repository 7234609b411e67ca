// SPDX-License-Identifier: BSD-2-Clause
// The devices there are. Firmware has numbered the buses and given out addresses and interrupt lines; the walk reads
// what it did and changes nothing. Devices that no driver takes lose their interrupt. Boot, thread context; the list
// never changes later.
#include "drivers/pci_config.h"
#include "drivers/pci_regs.h"
#include "kernel/console.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/pool.h"

// A machine full of bridges has some hundreds of functions; what is over the maximum is reported.
static struct pool device_pool = POOL_INIT("pci devices", struct pci_device, 4096);
static struct pci_device *first, **last = &first;
static uint64_t device_count;
KSTAT_GAUGE(device_count, "pagewire_pci_devices", "PCI functions found at boot.");

extern const struct pci_driver __start_pci_drivers[] __attribute__((weak));
extern const struct pci_driver __stop_pci_drivers[] __attribute__((weak));

struct pci_device *pci_first(void)
{
	return first;
}

// Section 6.2.5.1: all ones written, the address bits that stick give the size. Decoding is off meanwhile, so that the
// device answers nowhere else: only that of a device which a driver is to have, for what else hangs on the others
// (chipsets' timers and interrupt controllers) is not known.
static void size_bars(struct pci_device *dev)
{
	const unsigned count = ARRAY_SIZE(dev->bar);
	uint16_t command = pci_read16(dev, PCI_COMMAND);
	pci_write16(dev, PCI_COMMAND, command & (uint16_t) ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
	for (unsigned n = 0; n < count; n++) {
		unsigned offset = PCI_BAR0 + 4 * n, slot = n;
		uint32_t low = pci_read32(dev, offset), high = 0;
		pci_write32(dev, offset, 0xffffffff);
		uint32_t mask_low = pci_read32(dev, offset), mask_high = 0xffffffff;
		pci_write32(dev, offset, low);
		if (!mask_low)
			continue;
		bool wide = !(low & PCI_BAR_IO) && (low & PCI_BAR_TYPE_MASK) == PCI_BAR_TYPE_64;
		dev->bar[slot].io = low & PCI_BAR_IO;
		dev->bar[slot].prefetchable = !(low & PCI_BAR_IO) && low & PCI_BAR_PREFETCHABLE;
		if (wide && n + 1 < count) {
			n++;
			high = pci_read32(dev, offset + 4);
			pci_write32(dev, offset + 4, 0xffffffff);
			mask_high = pci_read32(dev, offset + 4);
			pci_write32(dev, offset + 4, high);
		}
		uint32_t bits = low & PCI_BAR_IO ? PCI_BAR_IO_MASK : PCI_BAR_MEMORY_MASK;
		uint64_t mask = (uint64_t)mask_high << 32 | (mask_low & bits);
		// An I/O decoder may implement 16 address bits only.
		if (low & PCI_BAR_IO && !(mask_low & 0xffff0000))
			mask |= 0xffff0000;
		dev->bar[slot].addr = (uint64_t)high << 32 | (low & bits);
		dev->bar[slot].bytes = wide ? ~mask + 1 : (uint32_t)(~mask + 1);
	}
	pci_write16(dev, PCI_COMMAND, command);
}

static void add_device(const struct pci_device *found, uint8_t header)
{
	struct pci_device *dev = pool_alloc(&device_pool);
	if (!dev) {
		kprintf("pci: no memory for %02x:%02x.%x, ignored\n", found->bus, found->slot,
			found->function);
		return;
	}
	*dev = *found;
	uint32_t class_code = pci_read32(dev, PCI_REVISION_ID);
	dev->revision = (uint8_t)class_code;
	dev->interface = (uint8_t)(class_code >> 8);
	dev->subclass = (uint8_t)(class_code >> 16);
	dev->class = (uint8_t)(class_code >> 24);
	dev->irq_line = pci_read8(dev, PCI_INTERRUPT_LINE);
	dev->irq_pin = pci_read8(dev, PCI_INTERRUPT_PIN);
	dev->has_bars = header == PCI_HEADER_NORMAL;
	*last = dev;
	last = &dev->next;
	device_count++;
}

// The buses still to walk: a bit each, so that a bridge that names a bus already seen (a loop, or an
// unconfigured 0) adds nothing.
struct walk {
	bool seen[PCI_BUSES], todo[PCI_BUSES];
};

static void note_bus(struct walk *walk, unsigned bus)
{
	if (!walk->seen[bus]) {
		walk->seen[bus] = true;
		walk->todo[bus] = true;
	}
}

static void look_at(struct walk *walk, const struct pci_device *at, uint8_t header_type)
{
	uint8_t header = header_type & PCI_HEADER_TYPE_MASK;
	add_device(at, header);
	if (header == PCI_HEADER_BRIDGE)
		note_bus(walk, pci_read8(at, PCI_SECONDARY_BUS));
}

static void walk_bus(struct walk *walk, unsigned bus)
{
	struct pci_device at = {.bus = (uint8_t)bus};
	pci_config_open_bus(bus);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		unsigned functions = 1;
		for (unsigned function = 0; function < functions; function++) {
			at.slot = (uint8_t)slot;
			at.function = (uint8_t)function;
			uint32_t id = pci_read32(&at, PCI_VENDOR_ID);
			at.vendor = (uint16_t)id;
			at.device = (uint16_t)(id >> 16);
			if (at.vendor == PCI_VENDOR_NONE)
				continue;
			uint8_t header_type = pci_read8(&at, PCI_HEADER_TYPE);
			if (function == 0 && header_type & PCI_HEADER_MULTI_FUNCTION)
				functions = PCI_FUNCTIONS;
			look_at(walk, &at, header_type);
			// Several host bridges: function n is the root of bus n.
			if (bus == 0 && slot == 0 && functions > 1)
				note_bus(walk, function);
		}
	}
}

// The lowest bus still to walk (a bridge may lead to a lower number than its own), or -1.
static int next_bus(struct walk *walk)
{
	for (int bus = 0; bus < PCI_BUSES; bus++)
		if (walk->todo[bus]) {
			walk->todo[bus] = false;
			return bus;
		}
	return -1;
}

void pci_init(void)
{
	static struct walk walk;
	pci_config_init();
	note_bus(&walk, 0);
	for (int bus = next_bus(&walk); bus >= 0; bus = next_bus(&walk))
		walk_bus(&walk, (unsigned)bus);
}

unsigned pci_find_capability(const struct pci_device *dev, uint8_t id)
{
	if (!(pci_read16(dev, PCI_STATUS) & PCI_STATUS_CAPABILITIES))
		return 0;
	unsigned offset = pci_read8(dev, PCI_CAPABILITIES) & 0xfc;
	for (int left = PCI_MAX_CAPS; offset >= PCI_FIRST_CAP && left; left--) {
		uint16_t head = pci_read16(dev, offset);
		if ((head & 0xff) == id)
			return offset;
		offset = head >> 8 & 0xfc;
	}
	return 0;
}

void pci_enable(const struct pci_device *dev)
{
	uint16_t command = pci_read16(dev, PCI_COMMAND);
	command |= PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	command &= (uint16_t)~PCI_COMMAND_INTX_DISABLE;
	pci_write16(dev, PCI_COMMAND, command);
}

static int attach_msi(struct pci_device *dev, unsigned cap, irq_handler handler, void *arg,
		      const char *name)
{
	uint64_t address;
	uint32_t data;
	int error = irq_attach_msi(handler, arg, name, &address, &data);
	if (error)
		return error;
	uint16_t control = pci_read16(dev, cap + PCI_MSI_CONTROL);
	pci_write32(dev, cap + PCI_MSI_ADDRESS, (uint32_t)address);
	if (control & PCI_MSI_64) {
		pci_write32(dev, cap + PCI_MSI_ADDRESS_HI, (uint32_t)(address >> 32));
		pci_write16(dev, cap + PCI_MSI_DATA_64, (uint16_t)data);
	} else {
		pci_write16(dev, cap + PCI_MSI_DATA_32, (uint16_t)data);
	}
	control = (uint16_t)((control & ~PCI_MSI_MULTIPLE) | PCI_MSI_ENABLE);
	pci_write16(dev, cap + PCI_MSI_CONTROL, control);
	uint16_t command = pci_read16(dev, PCI_COMMAND);
	pci_write16(dev, PCI_COMMAND, command | PCI_COMMAND_INTX_DISABLE);
	return 0;
}

int pci_irq_attach(struct pci_device *dev, irq_handler handler, void *arg, const char *name)
{
	unsigned cap = pci_find_capability(dev, PCI_CAP_MSI);
	if (cap && attach_msi(dev, cap, handler, arg, name) == 0)
		return 0;
	if (!dev->irq_pin) {
		kprintf("%s: the device has no interrupt\n", name);
		return -ENODEV;
	}
	if (dev->irq_line == PCI_LINE_UNROUTED || dev->irq_line == 0) {
		kprintf("%s: firmware left interrupt pin %c unrouted (line 0x%02x)\n", name,
			'A' + dev->irq_pin - 1, dev->irq_line);
		return -ENXIO;
	}
	return irq_attach_line(dev->irq_line, true, true, handler, arg, name);
}

static bool matches(const struct pci_driver *driver, const struct pci_device *dev)
{
	return (driver->vendor == 0xffff || driver->vendor == dev->vendor) &&
	       (driver->device == 0xffff || driver->device == dev->device) &&
	       (driver->class == 0xff || driver->class == dev->class) &&
	       (driver->subclass == 0xff || driver->subclass == dev->subclass);
}

static bool probe(struct pci_device *dev)
{
	bool sized = false;

	for (const struct pci_driver *d = __start_pci_drivers; d < __stop_pci_drivers; d++) {
		if (!matches(d, dev))
			continue;
		if (!sized && dev->has_bars)
			size_bars(dev);
		sized = true;
		int error = d->probe(dev);
		if (error == 0)
			return true;
		kprintf("%s: %04x:%04x at %02x:%02x.%x is not used (error %d)\n", d->name,
			dev->vendor, dev->device, dev->bus, dev->slot, dev->function, -error);
	}
	return false;
}

// Whom nobody listens to may not pull a line that others share: it would be masked for all of them.
void pci_probe_all(void)
{
	for (struct pci_device *dev = first; dev; dev = dev->next)
		if (!probe(dev) && dev->irq_pin) {
			uint16_t command = pci_read16(dev, PCI_COMMAND);
			pci_write16(dev, PCI_COMMAND, command | PCI_COMMAND_INTX_DISABLE);
		}
}

static void print_devices(int argc, char **argv)
{
	for (const struct pci_device *dev = first; dev; dev = dev->next)
		console_printf("%02x:%02x.%x  %04x:%04x  class %02x%02x%02x  line %u\n", dev->bus,
			       dev->slot, dev->function, dev->vendor, dev->device, dev->class,
			       dev->subclass, dev->interface, dev->irq_line);
}
CONSOLE_COMMAND(pci, "PCI", "PCI", "Lists the PCI devices found at boot.", print_devices);
