// SPDX-License-Identifier: BSD-2-Clause
// Interrupts: local APIC and I/O APIC, found through ACPI's MADT. A handler takes a note (reads the
// cause, masks the source, posts a WTD) and returns; the posted work runs on the way out.
#pragma once

#include "kernel/base.h"

// Interrupt context, interrupts off. True if the device had raised it (lines are shared).
typedef bool (*irq_handler)(void *arg);

// Thread context. Legacy line (ISA or PCI INTx) by its firmware number, with the MADT's overrides
// applied; level and polarity are used where no override says otherwise. 0 or negative error.
int irq_attach_line(unsigned line, bool level, bool active_low, irq_handler handler, void *arg,
		    const char *name);
// An MSI vector: fills address and data for the device's capability. 0 or negative error.
int irq_attach_msi(irq_handler handler, void *arg, const char *name, uint64_t *address,
		   uint32_t *data);
// Raises the given handlers' vector on this processor, for tests: a real interrupt through the local
// APIC (self-IPI) that calls handler. Thread context.
int irq_attach_self(irq_handler handler, void *arg, const char *name, unsigned *vector);
void irq_raise_self(unsigned vector);

void irq_init(void); // boot: masks the 8259s, programs local APIC and I/O APICs
// Calls visit for each handler: its name, its line (-1: none), the interrupts it claimed. Any context.
void irq_each(void (*visit)(void *ctx, const char *name, int line, uint64_t count), void *ctx);
