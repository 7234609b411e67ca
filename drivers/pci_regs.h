// SPDX-License-Identifier: BSD-2-Clause
// Configuration space, as offsets. Names of PCI Local Bus Specification 3.0 chapter 6 and PCI-to-PCI
// Bridge Architecture 1.2 chapter 3.
#pragma once

#include "kernel/base.h"

enum pci_register {
	PCI_VENDOR_ID = 0x00,
	PCI_DEVICE_ID = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION_ID = 0x08, // with the three bytes of class code above it
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_SECONDARY_BUS = 0x19, // header type 1
	PCI_CAPABILITIES = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_INTERRUPT_PIN = 0x3d,
};

#define PCI_COMMAND_IO		 0x0001
#define PCI_COMMAND_MEMORY	 0x0002
#define PCI_COMMAND_MASTER	 0x0004
#define PCI_COMMAND_INTX_DISABLE 0x0400
#define PCI_STATUS_CAPABILITIES	 0x0010

#define PCI_HEADER_TYPE_MASK	  0x7f
#define PCI_HEADER_NORMAL	  0
#define PCI_HEADER_BRIDGE	  1
#define PCI_HEADER_MULTI_FUNCTION 0x80

#define PCI_BAR_IO	     0x1
#define PCI_BAR_TYPE_MASK    0x6
#define PCI_BAR_TYPE_64	     0x4
#define PCI_BAR_PREFETCHABLE 0x8
#define PCI_BAR_MEMORY_MASK  0xfffffff0u
#define PCI_BAR_IO_MASK	     0xfffffffcu

#define PCI_VENDOR_NONE	   0xffff
#define PCI_CLASS_BRIDGE   0x06
#define PCI_SUBCLASS_PCI   0x04
#define PCI_SUBCLASS_HOST  0x00
#define PCI_LINE_UNROUTED  0xff
#define PCI_FIRST_CAP	   0x40
#define PCI_MAX_CAPS	   48 // as many as fit between 0x40 and 0xff: bounds a looping list
#define PCI_BUSES	   256
#define PCI_SLOTS	   32
#define PCI_FUNCTIONS	   8
#define PCI_BUS_ECAM_BYTES 0x100000u // 32 slots x 8 functions x 4 KB

// Message Signalled Interrupts, section 6.8.1: offsets inside the capability.
#define PCI_CAP_MSI	   0x05
#define PCI_MSI_CONTROL	   2
#define PCI_MSI_ADDRESS	   4
#define PCI_MSI_ADDRESS_HI 8  // 64-bit capability
#define PCI_MSI_DATA_32	   8  // data, 32-bit capability
#define PCI_MSI_DATA_64	   12 // data, 64-bit capability
#define PCI_MSI_ENABLE	   0x0001
#define PCI_MSI_MULTIPLE   0x0070 // how many vectors are enabled: 0 is one
#define PCI_MSI_64	   0x0080
