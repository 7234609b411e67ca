// SPDX-License-Identifier: BSD-2-Clause
// A hierarchical timing wheel that counts ticks (Varghese and Lauck, 1987, scheme 7): entering, leaving and a tick at
// which nothing is due cost the same however many entries there are. Level 0 has a slot for each of the next
// 64 ticks, a slot of level 1 is 64 of them, of level 2 4,096; where a slot of a higher level begins, its entries are
// dealt out below. TCP's wheels are in tcp_timer.c; fast WTD context.
//
//	tcp_wheel_turn(&wheel, &due);		// each tick
//	while ((node = due)) {
//		tcp_wheel_take(node);
//		...				// may put it in again, take out any other, or free what it is in
//	}
//
// Included by lwIP's tcp.h: no lwIP types here.
#pragma once

#include "kernel/base.h"

#define TCP_WHEEL_BITS	 6
#define TCP_WHEEL_SLOTS	 (1U << TCP_WHEEL_BITS)
#define TCP_WHEEL_LEVELS 3
// The farthest tick that can be asked for.
#define TCP_WHEEL_MOST ((1U << TCP_WHEEL_BITS * TCP_WHEEL_LEVELS) - 1)

struct tcp_wheel_node {
	struct tcp_wheel_node *next, **link; // link: what points here; null: in no list
	uint32_t at;			     // in a wheel: its time when this is due
	uint32_t seen;			     // its owner's: the tick up to which time was counted
};

struct tcp_wheel {
	uint32_t now; // ticks so far; wraps
	struct tcp_wheel_node *slots[TCP_WHEEL_LEVELS][TCP_WHEEL_SLOTS];
};

// Puts a node that is in no list before all others.
static inline void tcp_wheel_push(struct tcp_wheel_node **list, struct tcp_wheel_node *node)
{
	node->next = *list;
	node->link = list;
	if (node->next)
		node->next->link = &node->next;
	*list = node;
}

// Takes a node out of the list that it is in, a wheel's or another; nothing happens when it is in none.
static inline void tcp_wheel_take(struct tcp_wheel_node *node)
{
	if (!node->link)
		return;
	*node->link = node->next;
	if (node->next)
		node->next->link = node->link;
	node->link = NULL;
}

// A node that is in no list is due in so many ticks from now; 0 counts as 1, too many as TCP_WHEEL_MOST.
void tcp_wheel_put(struct tcp_wheel *wheel, struct tcp_wheel_node *node, uint32_t ticks);
// A tick. What is due now is put into the list.
void tcp_wheel_turn(struct tcp_wheel *wheel, struct tcp_wheel_node **due);
