// SPDX-License-Identifier: BSD-2-Clause
// Random changes of blocks that ext4 does not use, and what must be found of them later: blocks are changed, changes
// cancelled, blocks freed, written as file data and taken back as metadata; some operations are waited for. All that is
// found must be what was there after one operation, whole, and not before the last one that was promised; and file
// data that was written must not be written over by a replay.
#pragma once

#include "fs/volume.h"

extern struct volume *model_volume;
extern uint32_t model_ops; // so far

void model_start(const char *mke2fs_words, const char *size); // mounts, and begins to write down
int model_work(uint32_t count); // up to that many operations; the error that ended it
void model_end(void);		// fails if somebody who waited was not told

// The last operation that was promised before the cut.
uint32_t model_promised(uint32_t cut);
// Panics if the disk does not hold what some operation from `promised` on left.
void model_check(const uint8_t *disk, uint32_t cut, uint32_t promised, const char *who);
