// SPDX-License-Identifier: BSD-2-Clause
// Between drivers/pci.c and drivers/pci_config.c.
#pragma once

#include "kernel/pci.h"

void pci_config_init(void); // thread context, once: finds ECAM
// Thread context, once a bus: reaches it through memory where that is possible.
void pci_config_open_bus(unsigned bus);
