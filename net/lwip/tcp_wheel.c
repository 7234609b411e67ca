// SPDX-License-Identifier: BSD-2-Clause
// The timing wheel, see tcp_wheel.h.
#include "tcp_wheel.h"

static struct tcp_wheel_node **slot_of(struct tcp_wheel *wheel, unsigned level, uint32_t at)
{
	return &wheel->slots[level][(at >> TCP_WHEEL_BITS * level) % TCP_WHEEL_SLOTS];
}

// A slot of a higher level is as far away as its number tells, modulo a turn: one that is a whole turn away has the
// number of the one that was dealt out last.
static void place(struct tcp_wheel *wheel, struct tcp_wheel_node *node)
{
	uint32_t ahead = node->at - wheel->now;
	unsigned level = 0;

	while (ahead >> TCP_WHEEL_BITS * (level + 1))
		level++;
	tcp_wheel_push(slot_of(wheel, level, node->at), node);
}

void tcp_wheel_put(struct tcp_wheel *wheel, struct tcp_wheel_node *node, uint32_t ticks)
{
	node->at = wheel->now + MIN(MAX(ticks, 1U), TCP_WHEEL_MOST);
	place(wheel, node);
}

static void deal_out(struct tcp_wheel *wheel, unsigned level)
{
	struct tcp_wheel_node **slot = slot_of(wheel, level, wheel->now), *node;

	while ((node = *slot)) {
		tcp_wheel_take(node);
		place(wheel, node);
	}
}

void tcp_wheel_turn(struct tcp_wheel *wheel, struct tcp_wheel_node **due)
{
	struct tcp_wheel_node **slot, *node;
	unsigned level = 0;

	wheel->now++;
	while (level + 1 < TCP_WHEEL_LEVELS &&
	       !(wheel->now & ((1U << TCP_WHEEL_BITS * (level + 1)) - 1)))
		level++;
	for (; level; level--)
		deal_out(wheel, level);
	slot = slot_of(wheel, 0, wheel->now);
	while ((node = *slot)) {
		tcp_wheel_take(node);
		tcp_wheel_push(due, node);
	}
}
