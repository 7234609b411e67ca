// SPDX-License-Identifier: BSD-2-Clause
// The timer of connections that recover, see tcp_overdue.h.
#include "tcp_overdue.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/timeouts.h"
#include "tcp_holes.h"

static struct tcp_wheel wheel; // ticks of a millisecond, while `waiting`
static uint32_t turned_at;     // tcp_now() of its last tick
static uint32_t waiting;       // recoveries that are in it
static bool armed;

static void turn(void *unused)
{
	struct tcp_wheel_node *node, *due = NULL;

	armed = false;
	for (uint32_t now = tcp_now(); turned_at != now && waiting; turned_at++)
		tcp_wheel_turn(&wheel, &due);
	while ((node = due)) {
		struct tcp_recovery *r = CONTAINER_OF(node, struct tcp_recovery, due);

		tcp_overdue_never(r);
		tcp_recover_overdue(r->pcb);
	}
	if (waiting && !armed) {
		armed = true;
		sys_timeout(1, turn, NULL);
	}
}

void tcp_overdue_in(struct tcp_recovery *r, uint32_t ms)
{
	tcp_overdue_never(r);
	if (!waiting)
		turned_at = tcp_now();
	// What is put in while time goes by unturned would be due too soon.
	tcp_wheel_put(&wheel, &r->due, MAX(ms, 1) + tcp_now() - turned_at);
	waiting++;
	if (!armed) {
		armed = true;
		sys_timeout(1, turn, NULL);
	}
}

void tcp_overdue_never(struct tcp_recovery *r)
{
	if (!r->due.link)
		return;
	tcp_wheel_take(&r->due);
	waiting--;
}
