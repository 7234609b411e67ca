// SPDX-License-Identifier: BSD-2-Clause
// Two pairing heaps, one for this sweep and one for the next. `child` leads to a request's first child,
// `next` to its right sibling; adding is one comparison, taking is logarithmic on average.
#include "drivers/elevator.h"

static struct block_request *meld(struct block_request *a, struct block_request *b)
{
	if (!a || !b)
		return a ? a : b;
	if (b->disk_lba < a->disk_lba) {
		struct block_request *swap = a;
		a = b;
		b = swap;
	}
	b->next = a->child;
	a->child = b;
	return a;
}

// Melds siblings in pairs from the left, then the pairs from the right: what keeps taking logarithmic.
static struct block_request *meld_siblings(struct block_request *list)
{
	struct block_request *pairs = NULL, *heap = NULL;
	while (list) {
		struct block_request *a = list, *b = a->next;
		list = b ? b->next : NULL;
		a->next = NULL;
		if (b)
			b->next = NULL;
		a = meld(a, b);
		a->next = pairs;
		pairs = a;
	}
	while (pairs) {
		struct block_request *rest = pairs->next;
		pairs->next = NULL;
		heap = meld(heap, pairs);
		pairs = rest;
	}
	return heap;
}

void elevator_add(struct elevator *e, struct block_request *r)
{
	r->next = NULL;
	r->child = NULL;
	if (r->disk_lba >= e->head)
		e->sweep = meld(e->sweep, r);
	else
		e->next_sweep = meld(e->next_sweep, r);
	if (++e->waiting > e->waiting_high)
		e->waiting_high = e->waiting;
}

struct block_request *elevator_take(struct elevator *e)
{
	if (!e->sweep) {
		e->sweep = e->next_sweep;
		e->next_sweep = NULL;
	}
	struct block_request *r = e->sweep;
	if (!r)
		return NULL;
	e->sweep = meld_siblings(r->child);
	e->head = r->disk_lba + 1; // every sweep moves on, whatever is added meanwhile
	e->waiting--;
	r->next = NULL;
	r->child = NULL;
	return r;
}
