// SPDX-License-Identifier: BSD-2-Clause
// The two 32-bit cyclic redundancy checks that disks use, both reflected. A call takes the remainder
// so far and gives the remainder after `len` more bytes; neither end is inverted, so calls chain:
//
//	ext4, jbd2:  sum = crc32c(seed, data, len)          first seed ~0, no inversion at the end
//	GPT:         sum = ~crc32(~0u, data, len)           UEFI 2.10 section 5.3.2
//
// Pure; any context.
#pragma once

#include "kernel/base.h"

uint32_t crc32(uint32_t seed, const void *data, size_t len);  // ISO 3309, polynomial 0x04c11db7
uint32_t crc32c(uint32_t seed, const void *data, size_t len); // Castagnoli, polynomial 0x1edc6f41
