// SPDX-License-Identifier: BSD-2-Clause
// ACPI tables: static ones only (no AML interpreter). Everything is length- and checksum-checked when it
// is found; acpi_find (boot.h) gives the whole table.
#pragma once

#include "kernel/base.h"

struct acpi_header { // ACPI 6.4, 5.2.6
	char signature[4];
	uint32_t length; // of the whole table
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision, creator, creator_revision;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_header) == 36, "ACPI 5.2.6");

void acpi_init(void);  // boot: after vmm_init and pmm_init
void acpi_reset(void); // by the FADT's reset register; returns if that is absent or does nothing
void acpi_power_off(void); // S5; returns if the tables do not say how
