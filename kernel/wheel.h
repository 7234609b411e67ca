// SPDX-License-Identifier: BSD-2-Clause
// The timer wheel of one processor: armed WTDs by due time. Arming and cancelling are O(1), the
// earliest due time is found by looking at eight bitmaps.
//
// Time is cut into ticks of 2^16 ns. Level l has 64 slots of 64^l ticks. A node lies on the level
// of the highest base-64 digit in which its due tick differs from the wheel's, in the slot that
// digit names: all of a level comes before all of the next, and within a level slots come in order.
// When time enters a slot of a higher level, its nodes are dealt out again below. Nodes of the
// present tick wait in their slot of level 0 until they are due exactly, so the tick is not the
// resolution: WHEEL_GRAIN is.
//
// The caller holds the scheduler's lock of the wheel's processor (S).
#pragma once

#include "kernel/wtd.h"

// Due times are rounded up to the grain, so that near ones share an interrupt.
#define WHEEL_GRAIN	 (1ULL << 12)
#define WHEEL_TICK_SHIFT 16
#define WHEEL_LEVELS	 8 // 8 * 6 bits + 16: every 64-bit due time has a place
#define WHEEL_SLOTS	 64

struct wheel_slot {
	struct wtd *first, *last;
	uint64_t earliest; // no node here is due before; may be early after a removal
};

struct wheel {
	uint64_t now;			 // ns up to which everything due was handed out
	uint64_t occupied[WHEEL_LEVELS]; // bit s: slot s has nodes
	uint32_t count;
	struct wheel_slot slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

// Arms an IDLE node for work->due (rounded up here), which may be past: it is then due at once.
void wheel_insert(struct wheel *wheel, struct wtd *work);
void wheel_remove(struct wheel *wheel, struct wtd *work); // an ARMED node; its state becomes IDLE
// When the wheel next wants wheel_advance: never later than the earliest due time. UINT64_MAX:
// empty.
uint64_t wheel_next(const struct wheel *wheel);
// Moves time on and gives out every node that is due, IDLE, in order of their slots. `due` must not
// change the wheel.
void wheel_advance(struct wheel *wheel, uint64_t now, void (*due)(void *ctx, struct wtd *work),
		   void *ctx);
