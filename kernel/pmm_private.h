// SPDX-License-Identifier: BSD-2-Clause
// Frames before there is an allocator: vmm_init builds the page tables with them. Boot only.
#pragma once

#include "kernel/base.h"

// Takes `frames` zeroed, contiguous frames off the end of a usable range that the boot page tables map
// (below 4 GB). Panics when there are none.
paddr_t pmm_early_alloc(size_t frames);
paddr_t pmm_early_alloc_raw(size_t frames); // contents undefined
