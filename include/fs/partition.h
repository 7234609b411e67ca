// SPDX-License-Identifier: BSD-2-Clause
// From a disk to the stretches of it that may hold a file system.
#pragma once

#include "kernel/block.h"

// Thread context, sleeps. Reads the disk's GPT (the backup where the primary is damaged) or its MBR
// with logical partitions and registers each partition as a block device of its own: "ahci0.1" has
// "ahci0.1p1", "ahci0.1p5", ... (Linux's numbers). Entries that overlap or leave the disk are refused and
// named in the log. Returns the number of partitions registered; 0: there is no table (or none
// usable), the disk as a whole is the candidate. They go to the end of the list, so a walk along ->next
// comes to them. Call once a disk; a partition (dev->parent set) has 0.
unsigned partition_scan(struct block_device *disk);
