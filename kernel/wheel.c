// SPDX-License-Identifier: BSD-2-Clause
// The timer wheel (kernel/wheel.h). While a node is ARMED its `posted` field says which slot it is
// in.
#include "kernel/wheel.h"
#include "kernel/panic.h"

static unsigned level_of(uint64_t tick, uint64_t now_tick)
{
	return (unsigned)(63 - __builtin_clzll((tick ^ now_tick) | (WHEEL_SLOTS - 1))) / 6;
}

static void put(struct wheel *wheel, struct wtd *work)
{
	uint64_t now_tick = wheel->now >> WHEEL_TICK_SHIFT;
	uint64_t tick = MAX(work->due >> WHEEL_TICK_SHIFT, now_tick);
	unsigned level = level_of(tick, now_tick);
	unsigned number = (tick >> (6 * level)) % WHEEL_SLOTS;
	struct wheel_slot *slot = &wheel->slots[level][number];

	work->posted = level * WHEEL_SLOTS + number;
	work->next = NULL;
	work->prev = slot->last;
	if (slot->last)
		slot->last->next = work;
	else
		slot->first = work;
	slot->last = work;
	if (!(wheel->occupied[level] & BIT(number)) || work->due < slot->earliest)
		slot->earliest = work->due;
	wheel->occupied[level] |= BIT(number);
}

void wheel_insert(struct wheel *wheel, struct wtd *work)
{
	if (work->due < UINT64_MAX - WHEEL_GRAIN)
		work->due = ALIGN_UP(work->due, WHEEL_GRAIN);
	work->state = WTD_ARMED;
	wheel->count++;
	put(wheel, work);
}

static void take_out(struct wheel *wheel, struct wtd *work)
{
	unsigned level = work->posted / WHEEL_SLOTS, number = work->posted % WHEEL_SLOTS;
	struct wheel_slot *slot = &wheel->slots[level][number];

	if (work->prev)
		work->prev->next = work->next;
	else
		slot->first = work->next;
	if (work->next)
		work->next->prev = work->prev;
	else
		slot->last = work->prev;
	if (!slot->first)
		wheel->occupied[level] &= ~BIT(number);
	work->next = work->prev = NULL;
}

void wheel_remove(struct wheel *wheel, struct wtd *work)
{
	ASSERT(work->state == WTD_ARMED);
	take_out(wheel, work);
	work->state = WTD_IDLE;
	wheel->count--;
}

// The first occupied slot: its level, or WHEEL_LEVELS when there is none.
static unsigned first_slot(const struct wheel *wheel, unsigned *number)
{
	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		if (!wheel->occupied[level])
			continue;
		*number = (unsigned)__builtin_ctzll(wheel->occupied[level]);
		return level;
	}
	return WHEEL_LEVELS;
}

uint64_t wheel_next(const struct wheel *wheel)
{
	unsigned number, level = first_slot(wheel, &number);

	return level == WHEEL_LEVELS ? UINT64_MAX : wheel->slots[level][number].earliest;
}

// When time enters the slot.
static uint64_t slot_start(const struct wheel *wheel, unsigned level, unsigned number)
{
	unsigned shift = WHEEL_TICK_SHIFT + 6 * level;
	uint64_t above = shift + 6 < 64 ? wheel->now >> (shift + 6) << (shift + 6) : 0;

	return above + ((uint64_t)number << shift);
}

// Gives out what is due in a slot of level 0 that time has reached; the rest of the present tick
// stays.
static void expire(struct wheel *wheel, struct wheel_slot *slot, uint64_t now,
		   void (*due)(void *ctx, struct wtd *work), void *ctx)
{
	uint64_t earliest = UINT64_MAX;
	struct wtd *next;

	for (struct wtd *work = slot->first; work; work = next) {
		next = work->next;
		if (work->due <= now) {
			wheel_remove(wheel, work);
			due(ctx, work);
		} else {
			earliest = MIN(earliest, work->due);
		}
	}
	slot->earliest = earliest;
}

static void deal_out(struct wheel *wheel, struct wheel_slot *slot)
{
	struct wtd *next;

	for (struct wtd *work = slot->first; work; work = next) {
		next = work->next;
		take_out(wheel, work);
		put(wheel, work);
	}
}

void wheel_advance(struct wheel *wheel, uint64_t now, void (*due)(void *ctx, struct wtd *work),
		   void *ctx)
{
	unsigned number, level;

	while ((level = first_slot(wheel, &number)) < WHEEL_LEVELS) {
		struct wheel_slot *slot = &wheel->slots[level][number];
		uint64_t start = slot_start(wheel, level, number);

		if (start > now || (level == 0 && slot->earliest > now))
			break;
		wheel->now = MAX(wheel->now, start);
		if (level > 0)
			deal_out(wheel, slot);
		else
			expire(wheel, slot, now, due, ctx);
	}
	wheel->now = MAX(wheel->now, now);
}
