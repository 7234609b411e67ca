// SPDX-License-Identifier: BSD-2-Clause
// Between irq.c (who handles an interrupt) and apic.c (how the hardware is told).
#pragma once

#include "kernel/base.h"

void apic_init(unsigned timer_vector, unsigned error_vector, unsigned spurious_vector);

void lapic_eoi(void);
void lapic_clear_error(void);
void lapic_self_ipi(unsigned vector);
uint32_t lapic_id(void);

// Global system interrupt of a legacy line; an override of the MADT replaces level and active_low.
unsigned ioapic_gsi_of_line(unsigned line, bool *level, bool *active_low);
bool ioapic_has(unsigned gsi);
void ioapic_route(unsigned gsi, unsigned vector, bool level, bool active_low);
void ioapic_mask(unsigned gsi);
