// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: drivers/pci.c drivers/pci_config.c
// The PCI walk on a make-believe machine: a host bridge, two bridges one behind the other, one that
// loops back, functions, BARs of every kind, capabilities.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "drivers/pci_regs.h"
#include "kernel/boot.h"
#include "kernel/io.h"
#include "kernel/kstring.h"
#include "kernel/pci.h"
#include "kernel/vmm.h"
#include "shim.h"

struct fake_function {
	uint8_t bus, slot, function;
	uint32_t reg[64];
	uint32_t bar_mask[6]; // writable bits
	uint64_t decoded_while_sizing;
};
static struct fake_function functions[16];
static unsigned count;
static uint32_t address;
static irq_handler attached;
static unsigned attached_line;
static bool have_msi;

static struct fake_function *at(uint32_t where)
{
	for (unsigned n = 0; n < count; n++) {
		struct fake_function *f = &functions[n];
		if ((where & 0xffff00) ==
		    ((uint32_t)f->bus << 16 | (uint32_t)f->slot << 11 | (uint32_t)f->function << 8))
			return f;
	}
	return NULL;
}

void outl(uint16_t port, uint32_t value)
{
	struct fake_function *f = at(address);
	unsigned reg = (address & 0xfc) / 4;
	if (port == 0xcf8) {
		assert_true(value & 0x80000000);
		address = value;
	} else if (f && reg >= PCI_BAR0 / 4 && reg < PCI_BAR0 / 4 + 6 &&
		   (f->reg[3] >> 16 & 0x7f) == 0) {
		uint32_t mask = f->bar_mask[reg - PCI_BAR0 / 4];
		f->decoded_while_sizing += f->reg[1] & 3;
		f->reg[reg] = (value & mask) | (f->reg[reg] & ~mask);
	} else if (f && reg == PCI_COMMAND / 4) { // the status half is cleared by ones
		f->reg[1] = (value & 0xffff) | (f->reg[1] & 0xffff0000 & ~value) |
			    (f->reg[1] & PCI_STATUS_CAPABILITIES << 16);
	} else if (f) {
		f->reg[reg] = value;
	}
}
uint32_t inl(uint16_t port)
{
	struct fake_function *f = at(address);
	return f ? f->reg[(address & 0xfc) / 4] : 0xffffffff;
}
// Memory that MCFG speaks of: the whole of it reads as ones, as where nothing answers.
static uint8_t mcfg[60] = {'M', 'C', 'F', 'G', 60, [44 + 3] = 0xb0, [44 + 11] = 0xff};
static uint8_t nothing[1];
static unsigned mapped, unmapped, reads_of_nothing;
uint32_t mmio_read32(const volatile void *addr)
{
	reads_of_nothing++;
	return 0xffffffff;
}
void mmio_write32(volatile void *addr, uint32_t value)
{
	fail();
}
void *vmm_map_io(paddr_t addr, size_t len)
{
	assert_int_equal(addr, 0xb0000000);
	mapped++;
	return nothing;
}
void vmm_unmap(void *p, size_t len)
{
	unmapped++;
}
const void *acpi_find(const char signature[4])
{
	return mcfg;
}
int irq_attach_line(unsigned line, bool level, bool active_low, irq_handler handler, void *arg,
		    const char *name)
{
	assert_true(level && active_low);
	attached = handler;
	attached_line = line;
	return 0;
}
int irq_attach_msi(irq_handler handler, void *arg, const char *name, uint64_t *msi_address,
		   uint32_t *data)
{
	if (!have_msi)
		return -ENODEV;
	attached = handler;
	*msi_address = 0x1fee00000;
	*data = 0x41;
	return 0;
}

static struct fake_function *add(uint8_t bus, uint8_t slot, uint8_t function, uint32_t id,
				 uint32_t class_code, uint8_t header)
{
	struct fake_function *f = &functions[count++];
	*f = (struct fake_function){.bus = bus, .slot = slot, .function = function};
	f->reg[0] = id;
	f->reg[1] = 3;
	f->reg[2] = class_code << 8 | 0x07;
	f->reg[3] = (uint32_t)header << 16;
	f->reg[15] = 0x010b; // INTA, line 11
	return f;
}

static struct pci_device *find(uint16_t device)
{
	for (struct pci_device *dev = pci_first(); dev; dev = dev->next)
		if (dev->device == device)
			return dev;
	return NULL;
}

static bool handler(void *arg)
{
	return true;
}

static unsigned probed;
static int probe(struct pci_device *dev)
{
	probed++;
	assert_int_equal(dev->device, 9);
	return 0;
}
PCI_DRIVER(driver) = {"test", 0x8086, 9, 0xff, 0xff, probe};

static int machine(void **state)
{
	shim_init(256);
	add(0, 0, 0, 0x00018086, 0x060000, 0x00);
	add(0, 1, 0, 0x00028086, 0x060400, 0x01)->reg[6] = 0x00050100; // bus 1
	add(0, 3, 0, 0x00038086, 0x020000, 0x80);		       // multi-function
	add(0, 3, 5, 0x00048086, 0x020000, 0x00);
	add(0, 4, 0, 0x00058086, 0x020000, 0x00);		       // not multi-function:
	add(0, 4, 1, 0x00068086, 0x020000, 0x00);		       // must not be seen
	add(1, 2, 0, 0x00078086, 0x060400, 0x01)->reg[6] = 0x00050501; // bus 5
	add(1, 3, 0, 0x00088086, 0x060400, 0x01)->reg[6] = 0x00010001; // back to bus 0
	struct fake_function *f = add(5, 31, 0, 0x00098086, 0x010601, 0x00);
	f->reg[1] |= PCI_STATUS_CAPABILITIES << 16;
	f->reg[4] = 0xfe000000; // 32-bit memory, 128 KB
	f->bar_mask[0] = 0xfffe0000;
	f->reg[5] = 0xc001; // 32 ports
	f->bar_mask[1] = 0xffe0;
	f->reg[6] = 0x0000000c; // 64-bit prefetchable at 8 GB, 4 GB long
	f->reg[7] = 0x2;
	f->bar_mask[2] = 0;
	f->bar_mask[3] = 0xffffffff;
	f->reg[6] = 0x0000000c;
	f->bar_mask[2] = 0xf0000000;
	f->reg[8] = 0x8;
	f->reg[13] = 0x50;
	f->reg[0x50 / 4] = 0x00006001;
	f->reg[0x60 / 4] = 0x00804005; // MSI, 64-bit; next 0x40
	f->reg[0x40 / 4] = 0x00005009; // and round again
	pci_init();
	pci_probe_all();
	return 0;
}

static void every_bus_is_walked_once(void **state)
{
	unsigned found = 0;
	for (struct pci_device *dev = pci_first(); dev; dev = dev->next)
		found++;
	assert_int_equal(found, 8);
	assert_non_null(find(4));
	assert_null(find(6));
	assert_int_equal(find(9)->bus, 5);
	assert_int_equal(find(9)->class, 1);
	assert_int_equal(find(9)->subclass, 6);
	assert_int_equal(find(9)->interface, 1);
	assert_int_equal(find(9)->revision, 7);
	assert_int_equal(find(9)->irq_line, 11);
	assert_int_equal(find(9)->irq_pin, 1);
}

static void what_firmware_says_of_memory_is_tried_first(void **state)
{
	assert_int_equal(mapped, 1); // and all was found by the ports
	assert_int_equal(unmapped, 1);
	assert_int_equal(reads_of_nothing, 1);
}

static void only_a_device_that_a_driver_wants_is_touched(void **state)
{
	assert_int_equal(probed, 1);
	for (unsigned n = 0; n < count; n++)
		assert_int_equal(!!(functions[n].reg[1] & PCI_COMMAND_INTX_DISABLE),
				 n != 5 &&
				     n != 8); // the one that cannot be seen, and the taken one
	assert_int_equal(find(3)->bar[0].bytes, 0);
}

static void bars_are_sized_with_decoding_off_and_put_back(void **state)
{
	struct pci_device *dev = find(9);
	assert_int_equal(dev->bar[0].addr, 0xfe000000);
	assert_int_equal(dev->bar[0].bytes, 128 << 10);
	assert_false(dev->bar[0].io);
	assert_int_equal(dev->bar[1].addr, 0xc000);
	assert_int_equal(dev->bar[1].bytes, 32);
	assert_true(dev->bar[1].io);
	assert_int_equal(dev->bar[2].addr, 0x200000000);
	assert_int_equal(dev->bar[2].bytes, 0x10000000);
	assert_true(dev->bar[2].prefetchable);
	assert_int_equal(dev->bar[3].bytes, 0);
	assert_int_equal(dev->bar[4].bytes,
			 0); // prefetchable, says its type, and no address bit sticks
	assert_int_equal(dev->bar[5].bytes, 0);
	for (unsigned n = 0; n < count; n++) {
		assert_int_equal(functions[n].decoded_while_sizing, 0);
		assert_int_equal(functions[n].reg[1] & 3, 3);
	}
}

static void capabilities_are_found_in_a_list_that_loops(void **state)
{
	assert_int_equal(pci_find_capability(find(9), 0x09), 0x40);
	assert_int_equal(pci_find_capability(find(9), PCI_CAP_MSI), 0x60);
	assert_int_equal(pci_find_capability(find(9), 0x77), 0);
	assert_int_equal(pci_find_capability(find(3), PCI_CAP_MSI), 0);
}

static void interrupts_by_msi_where_there_is_one(void **state)
{
	struct fake_function *f = &functions[8];
	have_msi = true;
	assert_int_equal(pci_irq_attach(find(9), handler, NULL, "test"), 0);
	assert_int_equal(f->reg[0x64 / 4], 0xfee00000);
	assert_int_equal(f->reg[0x68 / 4], 1);
	assert_int_equal(f->reg[0x6c / 4] & 0xffff, 0x41);
	assert_int_equal(f->reg[0x60 / 4] >> 16, 0x81);
	assert_true(f->reg[1] & PCI_COMMAND_INTX_DISABLE);
	attached_line = 0;
	assert_int_equal(pci_irq_attach(find(3), handler, NULL, "test"), 0);
	assert_int_equal(attached_line, 11);
}

static void an_unrouted_line_is_an_error(void **state)
{
	struct pci_device dev = *find(3);
	dev.irq_line = 0xff;
	assert_int_equal(pci_irq_attach(&dev, handler, NULL, "test"), -ENXIO);
	dev.irq_pin = 0;
	assert_int_equal(pci_irq_attach(&dev, handler, NULL, "test"), -ENODEV);
}

static void enabling_leaves_the_status_bits_alone(void **state)
{
	struct fake_function *f = &functions[2];
	f->reg[1] = 0xf9000400;
	pci_enable(find(3));
	assert_int_equal(f->reg[1], 0xf9000007);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_bus_is_walked_once),
	    cmocka_unit_test(what_firmware_says_of_memory_is_tried_first),
	    cmocka_unit_test(only_a_device_that_a_driver_wants_is_touched),
	    cmocka_unit_test(bars_are_sized_with_decoding_off_and_put_back),
	    cmocka_unit_test(capabilities_are_found_in_a_list_that_loops),
	    cmocka_unit_test(interrupts_by_msi_where_there_is_one),
	    cmocka_unit_test(an_unrouted_line_is_an_error),
	    cmocka_unit_test(enabling_leaves_the_status_bits_alone),
	};
	return cmocka_run_group_tests_name("pci", tests, machine, NULL);
}
