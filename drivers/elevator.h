// SPDX-License-Identifier: BSD-2-Clause
// The order in which a disk with more requests than slots is asked for them: ascending sectors, then
// from the lowest again (C-SCAN). A request below the head's place waits for the next sweep, so every
// request is served within two sweeps however many others come. Not locked: the owner's lock.
#pragma once

#include "kernel/block.h"

struct elevator {
	struct block_request *sweep;	  // heap by disk_lba: at or above `head`
	struct block_request *next_sweep; // heap by disk_lba: below
	uint64_t head;			  // the sector after the last request taken began
	uint32_t waiting, waiting_high;
};

void elevator_add(struct elevator *e, struct block_request *request);
struct block_request *elevator_take(struct elevator *e); // null: none waits
