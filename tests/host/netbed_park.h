// SPDX-License-Identifier: BSD-2-Clause
// A server that parks its one connection of the test bed's (include/net/park.h), as HTTP parks its many.
#pragma once

#include "net/park.h"
#include "netbed.h"

extern struct bed_park {
	union {
		struct tcp_parked record;
		struct tcp_parked6 six;
	};
	bool parked;   // the record has the connection, and no pcb does
	unsigned gone; // times the stack said that it cannot stay
} bed_park;

// From now on it is this server; a connection that is woken is given to `serve`, which sees to its callbacks.
void bed_park_start(void (*serve)(struct tcp_pcb *pcb));
// tcp_park of the peer's connection; peer->pcb is null where it was parked.
enum tcp_park_verdict bed_park_of(struct bed_peer *peer);
// What the stack calls; tests may. wake: null without memory.
struct tcp_pcb *bed_park_wake(struct tcp_parked *parked);
void bed_park_gone(struct tcp_parked *parked);
