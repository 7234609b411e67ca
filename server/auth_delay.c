// SPDX-License-Identifier: BSD-2-Clause
// Addresses and users with wrong passwords: see auth_delay.h.
#include "server/auth_delay.h"
#include "kernel/kstat.h"
#include "kernel/timer.h"

#define SETS	   64
#define WAYS	   4
#define FREE	   3 // failures without a delay
#define FORGET_NS  (600 * NS_PER_SEC)
#define ADDRESS_NS (60 * NS_PER_SEC) // the longest delay
#define USER_NS	   (8 * NS_PER_SEC)

struct record {
	uint64_t key[2]; // address; or the user's hash and all ones
	uint64_t last;	 // clock_ns; 0: free
	uint64_t until;	 // no attempt before
	uint32_t failures;
	bool good; // the last thing heard of this address was a right password
};

static struct record records[SETS][WAYS];
static uint64_t failures, delayed;
KSTAT_COUNTER(failures, "pagewire_auth_failures_total",
	      "Wrong passwords and answers to challenges");
KSTAT_COUNTER(delayed, "pagewire_auth_delayed_total",
	      "Attempts refused because of wrong ones before them");

// The record of a key; null: none. make: takes a free one's place, or that of who was quiet longest.
static struct record *find(uint64_t a, uint64_t b, bool make)
{
	struct record *set = records[(a * 0x9e3779b97f4a7c15UL ^ b * 0xc2b2ae3d27d4eb4fUL) >> 58];
	struct record *oldest = set;
	uint64_t now = clock_ns();

	_Static_assert(SETS == 1 << (64 - 58), "six bits of the hash");
	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].last && now - set[i].last > FORGET_NS)
			set[i].last = 0;
		if (set[i].last && set[i].key[0] == a && set[i].key[1] == b)
			return &set[i];
		if (set[i].last < oldest->last)
			oldest = &set[i];
	}
	if (!make)
		return NULL;
	*oldest = (struct record){.key = {a, b}, .last = now};
	return oldest;
}

bool auth_delayed(const struct auth_source *s)
{
	const struct record *address = find(s->address[0], s->address[1], false);
	const struct record *user = find(s->user, UINT64_MAX, false);
	uint64_t now = clock_ns();
	bool wait = (address && now < address->until) ||
		    (user && now < user->until && !(address && address->good));

	delayed += wait;
	return wait;
}

static void fail(struct record *r, uint64_t most)
{
	uint64_t delay = 0;

	r->failures++;
	r->last = clock_ns();
	if (r->failures > FREE)
		delay = MIN(NS_PER_SEC << MIN(r->failures - FREE - 1, 10u), most);
	r->until = r->last + delay;
	r->good = false;
}

void auth_failed(const struct auth_source *s)
{
	failures++;
	fail(find(s->address[0], s->address[1], true), ADDRESS_NS);
	fail(find(s->user, UINT64_MAX, true), USER_NS);
}

void auth_succeeded(const struct auth_source *s)
{
	struct record *r = find(s->address[0], s->address[1], true);

	*r = (struct record){.key = {r->key[0], r->key[1]}, .last = clock_ns(), .good = true};
}
