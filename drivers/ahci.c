// SPDX-License-Identifier: BSD-2-Clause
// An AHCI adapter: found on the PCI bus, taken over from the BIOS, its ports started. And its interrupt
// handler, which takes a note for each port that wants attention and posts the port's work (stage 6 of
// the read path, on a miss). Serial ATA AHCI 1.3.1.
#include "drivers/ahci.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/pci.h"
#include "kernel/pmm.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"

#define PCI_CLASS_STORAGE  0x01
#define PCI_SUBCLASS_SATA  0x06
#define PCI_INTERFACE_AHCI 0x01
#define ABAR		   5 // section 2.1.11
#define HOST_BYTES	   (AHCI_PORTS + AHCI_MAX_PORTS * AHCI_PORT_BYTES)

// Section 10.6.3: the BIOS gets 25 ms to say that it is busy and then two seconds to finish.
#define HANDOFF_BUSY_NS (25 * NS_PER_MS)
#define HANDOFF_NS	(2 * NS_PER_SEC)
// A disk answers COMRESET within 10 ms (section 10.4.2); a link takes up to a second to train.
#define PRESENCE_NS (20 * NS_PER_MS)
#define LINK_NS	    (1 * NS_PER_SEC)
#define POLL_NS	    (1 * NS_PER_MS)

static unsigned hba_count;

bool ahci_interrupt(void *arg)
{
	struct ahci_hba *hba = arg;
	uint32_t pending = mmio_read32(hba->regs + AHCI_IS);
	if (!pending)
		return false;
	for (uint32_t left = pending & hba->implemented; left; left &= left - 1) {
		struct ahci_port *port = hba->port[__builtin_ctz(left)];
		uint32_t status = port_read(port, AHCI_PXIS);
		port_write(port, AHCI_PXIS, status);
		// PCS and PRCS stay up until PXSERR is cleared, which recovery does.
		if (status & PXIS_FATAL)
			port_write(port, AHCI_PXIE, 0);
		__atomic_fetch_or(&port->note, status, __ATOMIC_RELAXED);
		wtd_post_fast(&port->work);
	}
	mmio_write32(hba->regs + AHCI_IS, pending);
	return true;
}

// Section 10.6.3. A BIOS that does not let go in time is ignored.
static void take_from_bios(struct ahci_hba *hba)
{
	if (!(mmio_read32(hba->regs + AHCI_CAP2) & CAP2_BOH))
		return;
	uint32_t bohc = mmio_read32(hba->regs + AHCI_BOHC);
	mmio_write32(hba->regs + AHCI_BOHC, bohc | BOHC_OOS);
	uint64_t start = clock_ns(), limit = HANDOFF_BUSY_NS;
	for (;;) {
		bohc = mmio_read32(hba->regs + AHCI_BOHC);
		if (!(bohc & BOHC_BOS))
			return;
		if (bohc & BOHC_BB)
			limit = HANDOFF_NS;
		if (clock_ns() - start >= limit)
			break;
		thread_sleep_ns(POLL_NS);
	}
	kprintf("ahci%u: the BIOS did not hand the adapter over in time\n", hba->number);
}

static struct ahci_port *make_port(struct ahci_hba *hba, unsigned number)
{
	struct ahci_port *port = kpages_alloc_raw(sizeof *port);
	if (!port)
		return NULL;
	*port = (struct ahci_port){
	    .hba = hba,
	    .number = number,
	    .regs = hba->regs + AHCI_PORTS + number * AHCI_PORT_BYTES,
	    .lock = SPINLOCK_INIT("ahci port", RANK_DRIVER),
	};
	ksnprintf(port->name, sizeof port->name, "ahci%u.%u", hba->number, number);
	wtd_init(&port->work, ahci_work, "ahci completions");
	wtd_init(&port->recover, ahci_recover, "ahci recovery");
	wtd_init(&port->watch, ahci_watch, "ahci time-outs");
	return port;
}

static bool link_settled(const struct ahci_port *port, uint64_t waited)
{
	uint32_t det = port_read(port, AHCI_PXSSTS) & PXSSTS_DET;
	return det == DET_UP || waited >= LINK_NS || (det == DET_NONE && waited >= PRESENCE_NS);
}

// All links train at the same time: the wait is that of the slowest.
static void wait_for_links(struct ahci_hba *hba, uint32_t woken)
{
	uint64_t start = clock_ns();
	for (uint32_t left = woken; left;) {
		uint64_t waited = clock_ns() - start;
		for (uint32_t look = left; look; look &= look - 1) {
			unsigned n = (unsigned)__builtin_ctz(look);
			if (link_settled(hba->port[n], waited))
				left &= ~(uint32_t)BIT(n);
		}
		if (left)
			thread_sleep_ns(POLL_NS);
	}
}

unsigned ahci_hba_start(struct ahci_hba *hba)
{
	take_from_bios(hba);
	mmio_write32(hba->regs + AHCI_GHC, GHC_AE);
	hba->cap = mmio_read32(hba->regs + AHCI_CAP);
	uint32_t prepared = 0;
	unsigned disks = 0;
	for (uint32_t left = mmio_read32(hba->regs + AHCI_PI); left; left &= left - 1) {
		unsigned n = (unsigned)__builtin_ctz(left);
		hba->port[n] = make_port(hba, n);
		if (!hba->port[n]) {
			kprintf("ahci%u.%u: no memory, not used\n", hba->number, n);
			continue;
		}
		hba->implemented |= (uint32_t)BIT(n);
		if (ahci_port_prepare(hba->port[n]))
			prepared |= (uint32_t)BIT(n);
	}
	wait_for_links(hba, prepared);
	mmio_write32(hba->regs + AHCI_IS, ~0u);
	mmio_write32(hba->regs + AHCI_GHC, GHC_AE | GHC_IE);
	for (uint32_t left = prepared; left; left &= left - 1)
		disks += ahci_port_start(hba->port[__builtin_ctz(left)]);
	return disks;
}

static int probe(struct pci_device *dev)
{
	if (dev->interface != PCI_INTERFACE_AHCI)
		return -ENODEV;
	if (dev->bar[ABAR].io || !dev->bar[ABAR].addr || dev->bar[ABAR].bytes < AHCI_PORTS) {
		kprintf("ahci%u: firmware gave the adapter no address\n", hba_count);
		return -ENXIO;
	}
	struct ahci_hba *hba = kpages_alloc(sizeof *hba);
	if (!hba)
		return -ENOMEM;
	hba->regs = vmm_map_io(dev->bar[ABAR].addr, MIN(dev->bar[ABAR].bytes, HOST_BYTES));
	if (!hba->regs) {
		kpages_free(hba, sizeof *hba);
		return -ENOMEM;
	}
	hba->number = hba_count++;
	pci_enable(dev);
	// File pages go to the disk's DMA wherever they lie: a copy to low memory is not an option.
	if (!(mmio_read32(hba->regs + AHCI_CAP) & CAP_S64A) && pages_count > BIT(32 - PAGE_SHIFT)) {
		kprintf("ahci%u: cannot address memory above 4 GB, not used\n", hba->number);
		return -ENODEV;
	}
	int error = pci_irq_attach(dev, ahci_interrupt, hba, "ahci");
	if (error)
		return error;
	ahci_hba_start(hba);
	return 0;
}
PCI_DRIVER(ahci_driver) = {.name = "ahci",
			   .vendor = 0xffff,
			   .device = 0xffff,
			   .class = PCI_CLASS_STORAGE,
			   .subclass = PCI_SUBCLASS_SATA,
			   .probe = probe};

static void write_metric(void (*emit)(void *ctx, const char *format, ...), void *ctx,
			 const char *name, const char *help, size_t offset)
{
	emit(ctx, "# HELP %s %s\n# TYPE %s counter\n", name, help, name);
	for (struct ahci_port *port = ahci_first_port(); port; port = port->next)
		emit(ctx, "%s{disk=\"%s\"} %lu\n", name, port->name,
		     (unsigned long)*(uint64_t *)((char *)port + offset));
}

static void write_metrics(void (*emit)(void *ctx, const char *format, ...), void *ctx)
{
	if (!ahci_first_port())
		return;
	write_metric(emit, ctx, "pagewire_ahci_recoveries_total", "Errors a port recovered from.",
		     offsetof(struct ahci_port, recoveries));
	write_metric(emit, ctx, "pagewire_ahci_resets_total", "COMRESETs after an error.",
		     offsetof(struct ahci_port, resets));
	write_metric(emit, ctx, "pagewire_ahci_timeouts_total", "Commands not answered in time.",
		     offsetof(struct ahci_port, timeouts));
}
KSTAT_FAMILY(ahci, write_metrics);
