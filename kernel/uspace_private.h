// SPDX-License-Identifier: BSD-2-Clause
// What uspace.c and uspace_fault.c share.
#pragma once

#include "kernel/uspace.h"

struct page *uspace_zero_page(void); // what anonymous memory reads as before it is written
void uspace_fault_init(void);
// For uspace_each_entry: the entry goes, and the frame or the page's reference with it.
void uspace_drop_entry(struct uspace *u, uintptr_t address, uint64_t *entry, void *ctx);
// Any context of a thread: if the processor's tables are this space's, it takes the kernel's.
void uspace_leave(struct uspace *u);
