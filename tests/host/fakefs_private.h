// SPDX-License-Identifier: BSD-2-Clause
// What the two halves of the make-believe file system share.
#pragma once

#include "fakefs.h"

#define FAKE_NODES 4096

extern const struct filesystem_writing fake_writing;
void fake_write_start(void);
void fake_write_stop(void);
// The sector's 512 bytes, if it was ever written.
bool fake_sector_get(uint64_t lba, void *out);
void fake_sector_put(uint64_t lba, const void *bytes);
bool fake_sector_busy(uint64_t lba); // in a write on the disk now
// Where a block lies that was allocated since fake_start.
bool fake_block_of(uint64_t number, uint64_t block, uint64_t *disk);
void fake_set_disk_size(uint64_t number, uint64_t size);
// What a sector that was never written holds; whether it cannot be read or written.
uint64_t fake_sector_word(uint64_t lba, unsigned i);
bool fake_sector_bad(uint64_t lba);
void fake_disk_start(void);
void fake_disk_stop(void); // nothing may be on its way
