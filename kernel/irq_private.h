// SPDX-License-Identifier: BSD-2-Clause
// Between irq.c (who handles an interrupt) and apic.c (how the hardware is told).
#pragma once

#include "kernel/base.h"

void apic_init(unsigned timer_vector, unsigned error_vector, unsigned spurious_vector);

// trap.asm's stubs call this with their row of irq_vectors.
struct vector;
void irq_dispatch(struct vector *v);

extern volatile char *lapic_registers; // null in x2APIC mode; constant after apic_init
static inline void lapic_eoi(void)
{
	if (LIKELY(lapic_registers != NULL))
		*(volatile uint32_t *)(lapic_registers + 0xb0) = 0;
	else
		__asm__ volatile("wrmsr" ::"c"(0x80b), "a"(0), "d"(0) : "memory");
}
void lapic_clear_error(void);
void lapic_self_ipi(unsigned vector);
uint32_t lapic_id(void);

// Global system interrupt of a legacy line; an override of the MADT replaces level and active_low.
unsigned ioapic_gsi_of_line(unsigned line, bool *level, bool *active_low);
bool ioapic_has(unsigned gsi);
void ioapic_route(unsigned gsi, unsigned vector, bool level, bool active_low);
void ioapic_mask(unsigned gsi);
