// SPDX-License-Identifier: BSD-2-Clause
// Between drivers/pci.c and drivers/pci_config.c.
#pragma once

#include "kernel/pci.h"

void pci_config_init(void); // thread context, once: finds ECAM
// Thread context. Makes a bus reachable; false when memory for the mapping is short.
bool pci_config_open_bus(unsigned bus);
