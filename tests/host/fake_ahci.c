// SPDX-License-Identifier: BSD-2-Clause
// See fake_ahci.h. Written from AHCI 1.3.1 and Serial ATA, and from how QEMU 7.2 differs.
#include "fake_ahci.h"
#include "shim.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/pci.h"
#include "kernel/vmm.h"

struct fake_ahci fake;
static uint8_t registers[AHCI_PORTS + AHCI_MAX_PORTS * AHCI_PORT_BYTES]; // addresses only
static uint32_t host_is;

#define REG(n, name) fake.port[n].reg[(name) / 4]
#define STATUS_READY 0x50

uint8_t fake_ahci_pattern(uint64_t byte)
{
	return (uint8_t)((byte >> 9) * 31 + byte * 7 + (byte >> 17));
}

static void raise_interrupts(void)
{
	for (int rounds = 0; fake.ghc & GHC_IE; rounds++) {
		assert(rounds < 100 && "interrupt storm");
		host_is = 0;
		for (unsigned n = 0; n < AHCI_MAX_PORTS; n++)
			if (REG(n, AHCI_PXIS) & REG(n, AHCI_PXIE))
				host_is |= (uint32_t)BIT(n);
		if (!host_is)
			return;
		ahci_interrupt(&fake.hba);
	}
}

static uint64_t read64(const uint32_t *reg)
{
	return (uint64_t)reg[1] << 32 | reg[0];
}

static struct ahci_command *header(unsigned n, unsigned slot)
{
	return (struct ahci_command *)phys_to_virt(read64(&REG(n, AHCI_PXCLB))) + slot;
}

static struct ahci_table *table(unsigned n, unsigned slot)
{
	return phys_to_virt(header(n, slot)->ctba);
}

static bool is_queued(const struct fis_h2d *fis)
{
	return fis->command == ATA_READ_FPDMA_QUEUED || fis->command == ATA_WRITE_FPDMA_QUEUED;
}

static void dma(unsigned n, unsigned slot, uint8_t *data, size_t bytes, bool to_memory)
{
	struct ahci_command *h = header(n, slot);
	struct ahci_table *t = table(n, slot);
	size_t at = 0;
	for (unsigned i = 0; i < h->prdtl; i++) {
		size_t len = t->prd[i].dbc + 1;
		assert(t->prd[i].dbc & 1 && !(t->prd[i].dba & 1) && len <= PRD_MAX_BYTES);
		assert(at + len <= bytes);
		if (to_memory)
			shim_dma_write(t->prd[i].dba, data + at, len);
		else
			shim_dma_read(t->prd[i].dba, data + at, len);
		at += len;
	}
	assert(at == bytes);
	h->prdbc = (uint32_t)at;
}

static void put_text(uint16_t *words, const char *text, unsigned count)
{
	char padded[41];
	snprintf(padded, sizeof padded, "%-40s", text);
	for (unsigned n = 0; n < count; n++)
		words[n] = (uint16_t)((uint8_t)padded[2 * n] << 8 | (uint8_t)padded[2 * n + 1]);
}

static void identify(unsigned n, uint16_t words[256])
{
	struct fake_disk *d = &fake.disk[n];
	memset(words, 0, 512);
	put_text(words + 10, "  SN-42", 10);
	put_text(words + 27, "FAKE DISK", 20);
	if (d->queue_depth) {
		words[75] = (uint16_t)(d->queue_depth - 1);
		words[76] = 1 << 8;
	}
	words[83] = (uint16_t)(0x4000 | 1 << 13 | (d->no_lba48 ? 0 : 1 << 10));
	words[84] = (uint16_t)(0x4000 | (d->fua ? 1 << 6 : 0));
	words[85] = d->no_write_cache ? 0 : 1 << 5;
	for (int i = 0; i < 4; i++)
		words[100 + i] = (uint16_t)(d->sectors >> 16 * i);
	if (d->sector_bytes != 512) {
		words[106] = 0x4000 | 1 << 12;
		words[117] = (uint16_t)(d->sector_bytes / 2);
	}
}

static void end_well(unsigned n, unsigned slot, bool queued)
{
	fake.disk[n].running &= ~(uint32_t)BIT(slot);
	REG(n, AHCI_PXTFD) = STATUS_READY;
	if (queued) {
		REG(n, AHCI_PXSACT) &= ~(uint32_t)BIT(slot);
		REG(n, AHCI_PXIS) |= PXIS_SDBS;
	} else {
		REG(n, AHCI_PXCI) &= ~(uint32_t)BIT(slot);
		REG(n, AHCI_PXIS) |= PXIS_DHRS;
	}
}

static void end_badly(unsigned n, unsigned slot, bool queued)
{
	struct fake_disk *d = &fake.disk[n];
	d->running &= ~(uint32_t)BIT(slot);
	d->error_tag = queued ? (int)slot : -1;
	REG(n, AHCI_PXTFD) = 0x0400 | STATUS_READY | PXTFD_ERR;
	if (!d->like_qemu) {
		d->halted = true;
		REG(n, AHCI_PXIS) |= PXIS_TFES;
	} else if (queued) {
		REG(n, AHCI_PXSERR) |= (uint32_t)BIT(slot);
		REG(n, AHCI_PXIS) |= PXIS_SDBS;
	} else {
		REG(n, AHCI_PXCI) &= ~(uint32_t)BIT(slot);
		REG(n, AHCI_PXIS) |= PXIS_TFES | PXIS_DHRS;
	}
}

static void error_log(struct fake_disk *d, uint8_t page[512])
{
	memset(page, 0, 512);
	page[0] = d->error_tag < 0 ? 0x80 : (uint8_t)d->error_tag;
	page[2] = STATUS_READY | PXTFD_ERR;
	for (int i = 0; i < 511; i++)
		page[511] = (uint8_t)(page[511] - page[i]);
}

// Data transfers. True when it went well.
static bool transfer(unsigned n, unsigned slot, const struct fis_h2d *fis, bool write)
{
	struct fake_disk *d = &fake.disk[n];
	bool queued = is_queued(fis);
	uint64_t lba = 0;
	for (int i = 0; i < 3; i++)
		lba |= (uint64_t)fis->lba_low[i] << 8 * i | (uint64_t)fis->lba_high[i]
								<< (24 + 8 * i);
	uint64_t count = queued ? fis->features_low | fis->features_high << 8
				: fis->count_low | fis->count_high << 8;
	count = count ? count : 65536;
	assert(lba + count <= d->sectors);
	assert(!queued || fis->count_low >> 3 == slot);
	assert(!(header(n, slot)->flags & COMMAND_WRITE) == !write);
	d->backwards += lba < d->last_lba;
	d->last_lba = lba;
	if (d->bad_times && d->bad_sector >= lba && d->bad_sector < lba + count) {
		d->bad_times -= d->bad_times > 0;
		return false;
	}
	dma(n, slot, d->data + lba * d->sector_bytes, count * d->sector_bytes, !write);
	if (write && (fis->device & FIS_DEVICE_FUA || fis->command == ATA_WRITE_DMA_FUA_EXT))
		d->fua_writes++;
	return true;
}

static void execute(unsigned n, unsigned slot)
{
	struct fake_disk *d = &fake.disk[n];
	struct fis_h2d fis = table(n, slot)->fis;
	bool queued = is_queued(&fis), well = true;
	uint8_t page[512];
	d->commands++;
	switch (fis.command) {
	case ATA_IDENTIFY_DEVICE:
		identify(n, (uint16_t *)page);
		dma(n, slot, page, 512, true);
		break;
	case ATA_READ_LOG_EXT:
		well = !d->no_error_log && !d->like_qemu;
		error_log(d, page);
		if (well)
			dma(n, slot, page, 512, true);
		REG(n, AHCI_PXSACT) = 0;
		d->running &= (uint32_t)BIT(slot);
		d->halted = false;
		break;
	case ATA_CHECK_POWER_MODE:
		break;
	case ATA_FLUSH_CACHE_EXT:
		d->flushes++;
		well = !d->flush_fails;
		d->flush_fails -= d->flush_fails > 0;
		break;
	default:
		well = transfer(n, slot, &fis,
				fis.command == ATA_WRITE_DMA_EXT ||
				    fis.command == ATA_WRITE_DMA_FUA_EXT ||
				    fis.command == ATA_WRITE_FPDMA_QUEUED);
	}
	well ? end_well(n, slot, queued) : end_badly(n, slot, queued);
}

static bool polled(unsigned n, unsigned slot)
{
	uint8_t command = table(n, slot)->fis.command;
	return command == ATA_IDENTIFY_DEVICE || command == ATA_READ_LOG_EXT ||
	       command == ATA_CHECK_POWER_MODE;
}

static bool swallowed(unsigned n, unsigned slot)
{
	struct fake_disk *d = &fake.disk[n];
	struct fis_h2d fis = table(n, slot)->fis;
	uint64_t lba = fis.lba_low[0] | fis.lba_low[1] << 8 | fis.lba_low[2] << 16;
	if (!d->silent_times || lba != d->silent_sector || polled(n, slot))
		return false;
	d->silent_times -= d->silent_times > 0;
	return true;
}

static void accept(unsigned n, uint32_t slots)
{
	struct fake_disk *d = &fake.disk[n];
	bool queued = false, plain = false;
	for (uint32_t left = slots; left; left &= left - 1) {
		unsigned slot = (unsigned)__builtin_ctz(left);
		if (is_queued(&table(n, slot)->fis)) {
			assert(REG(n, AHCI_PXSACT) & BIT(slot));
			REG(n, AHCI_PXCI) &= ~(uint32_t)BIT(slot);
		}
		if (swallowed(n, slot)) {
			d->dropped |= (uint32_t)BIT(slot);
			continue;
		}
		d->running |= (uint32_t)BIT(slot);
	}
	for (uint32_t left = d->running; left; left &= left - 1)
		if (is_queued(&table(n, (unsigned)__builtin_ctz(left))->fis))
			queued = true;
		else
			plain = true;
	d->mixed += queued && plain;
	unsigned at_once = (unsigned)__builtin_popcount(d->running);
	d->most_at_once = MAX(d->most_at_once, at_once);
}

static void write_cmd(unsigned n, uint32_t value)
{
	struct fake_disk *d = &fake.disk[n];
	uint32_t old = REG(n, AHCI_PXCMD);
	value &= ~(uint32_t)(PXCMD_CR | PXCMD_FR | PXCMD_ICC);
	value |= (value & PXCMD_ST ? PXCMD_CR : 0) | (value & PXCMD_FRE ? PXCMD_FR : 0);
	REG(n, AHCI_PXCMD) = value;
	if (old & PXCMD_ST && !(value & PXCMD_ST) && !d->like_qemu) {
		REG(n, AHCI_PXCI) = 0;
		REG(n, AHCI_PXSACT) = 0;
		d->running = 0;
		d->dropped = 0;
		if (d->error_tag < 0) // a queued command's error ends with the log or a reset
			d->halted = false;
	}
	if (!(old & PXCMD_ST) && value & PXCMD_ST && REG(n, AHCI_PXCI))
		accept(n, REG(n, AHCI_PXCI) & ~d->running);
}

static void comreset(unsigned n)
{
	struct fake_disk *d = &fake.disk[n];
	d->resets++;
	d->running = 0;
	d->dropped = 0;
	d->halted = false;
	d->slow_start = false;
	REG(n, AHCI_PXSACT) = 0;
	REG(n, AHCI_PXSSTS) = d->present && !d->gone ? 0x123 : 0;
	REG(n, AHCI_PXTFD) = d->present && !d->gone ? STATUS_READY : 0x7f;
	REG(n, AHCI_PXSERR) = d->like_qemu ? 0 : 0x04050000;
	REG(n, AHCI_PXSIG) = d->atapi ? SIGNATURE_ATAPI : SIGNATURE_ATA;
}

static uint32_t *host_register(size_t offset)
{
	switch (offset) {
	case AHCI_CAP:
		return &fake.cap;
	case AHCI_GHC:
		return &fake.ghc;
	case AHCI_IS:
		return &host_is;
	case AHCI_PI:
		return &fake.pi;
	case AHCI_CAP2:
		return &fake.cap2;
	case AHCI_BOHC:
		return &fake.bohc;
	}
	assert(!"a register the driver has no business with");
	return NULL;
}

uint32_t mmio_read32(const volatile void *addr)
{
	size_t offset = (size_t)((const volatile uint8_t *)addr - registers);
	if (offset < AHCI_PORTS)
		return *host_register(offset);
	unsigned n = (unsigned)(offset - AHCI_PORTS) / AHCI_PORT_BYTES;
	unsigned reg = (offset - AHCI_PORTS) % AHCI_PORT_BYTES;
	if (reg == AHCI_PXCI)
		for (uint32_t left = fake.disk[n].running; left; left &= left - 1)
			if (polled(n, (unsigned)__builtin_ctz(left)))
				execute(n, (unsigned)__builtin_ctz(left));
	return fake.port[n].reg[reg / 4];
}

static void write_port(unsigned n, unsigned reg, uint32_t value)
{
	uint32_t *r = &fake.port[n].reg[reg / 4];
	switch (reg) {
	case AHCI_PXIS:
	case AHCI_PXSERR:
		*r &= ~value;
		break;
	case AHCI_PXCMD:
		write_cmd(n, value);
		break;
	case AHCI_PXSACT:
		*r |= value;
		break;
	case AHCI_PXCI:
		assert(REG(n, AHCI_PXCMD) & PXCMD_ST);
		*r |= value;
		accept(n, value);
		break;
	case AHCI_PXSCTL:
		if ((*r & PXSCTL_DET) == DET_COMRESET && !(value & PXSCTL_DET))
			comreset(n);
		*r = value;
		break;
	default:
		*r = value;
	}
}

void mmio_write32(volatile void *addr, uint32_t value)
{
	size_t offset = (size_t)((volatile uint8_t *)addr - registers);
	if (offset >= AHCI_PORTS)
		write_port((unsigned)(offset - AHCI_PORTS) / AHCI_PORT_BYTES,
			   (offset - AHCI_PORTS) % AHCI_PORT_BYTES, value);
	else if (offset == AHCI_IS)
		host_is &= ~value;
	else
		*host_register(offset) = value;
	if (offset == AHCI_BOHC && value & BOHC_OOS)
		fake.bohc = BOHC_OOS;
}

bool fake_ahci_step(unsigned n)
{
	struct fake_disk *d = &fake.disk[n];
	if (!d->running || d->halted)
		return false;
	unsigned slot = (unsigned)__builtin_ctz(d->running);
	if (is_queued(&table(n, slot)->fis)) {
		uint32_t left = d->running;
		for (uint64_t skip = shim_random_below((uint64_t)__builtin_popcount(left)); skip;
		     skip--)
			left &= left - 1;
		slot = (unsigned)__builtin_ctz(left);
	}
	execute(n, slot);
	raise_interrupts();
	return true;
}

void fake_ahci_settle(unsigned n)
{
	do
		shim_run();
	while (fake_ahci_step(n));
}

void fake_ahci_reset(unsigned ports)
{
	for (unsigned n = 0; n < AHCI_MAX_PORTS; n++)
		free(fake.disk[n].data);
	memset(&fake, 0, sizeof fake);
	fake.cap = (uint32_t)(CAP_S64A | CAP_SNCQ) | 31 << 8 | (ports - 1);
	fake.pi = (uint32_t)(BIT(ports) - 1);
	fake.hba.regs = registers;
}

unsigned fake_ahci_start(void)
{
	for (unsigned n = 0; n < AHCI_MAX_PORTS; n++) {
		struct fake_disk *d = &fake.disk[n];
		REG(n, AHCI_PXTFD) = d->present && !d->slow_start ? STATUS_READY : 0x7f | 0x80;
		REG(n, AHCI_PXSSTS) = d->present ? 0x123 : 0;
		REG(n, AHCI_PXSIG) = d->atapi ? SIGNATURE_ATAPI : SIGNATURE_ATA;
		if (!d->present)
			continue;
		size_t bytes = d->sectors * d->sector_bytes;
		d->data = malloc(bytes);
		for (size_t i = 0; i < bytes; i++)
			d->data[i] = fake_ahci_pattern(i);
	}
	return ahci_hba_start(&fake.hba);
}

// What the PCI side of the driver calls; not used here.
void pci_enable(const struct pci_device *dev) {}
int pci_irq_attach(struct pci_device *dev, irq_handler handler, void *arg, const char *name)
{
	return -ENODEV;
}
void *vmm_map_io(paddr_t addr, size_t len)
{
	return NULL;
}
