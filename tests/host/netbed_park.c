// SPDX-License-Identifier: BSD-2-Clause
// See netbed_park.h.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "net/stack.h"
#include "netbed_park.h"

struct bed_park bed_park;
static void (*serve_it)(struct tcp_pcb *pcb);

struct tcp_pcb *bed_park_wake(struct tcp_parked *parked)
{
	struct tcp_pcb *pcb = tcp_unpark(parked);

	assert_true(bed_park.parked && parked == &bed_park.record);
	if (!pcb)
		return NULL;
	memset(&bed_park.six, 0x5a, sizeof(bed_park.six));
	bed_park.parked = false;
	serve_it(pcb);
	return pcb;
}

void bed_park_gone(struct tcp_parked *parked)
{
	assert_true(bed_park.parked && parked == &bed_park.record);
	tcp_parked_reset(parked);
	bed_park.parked = false;
	bed_park.gone++;
}

void bed_park_start(void (*serve)(struct tcp_pcb *pcb))
{
	static const struct tcp_park_server server = {bed_park_wake, bed_park_gone};

	bed_park = (struct bed_park){0};
	serve_it = serve;
	tcp_park_serve(&server);
}

enum tcp_park_verdict bed_park_of(struct bed_peer *peer)
{
	enum tcp_park_verdict verdict = tcp_park(peer->pcb, &bed_park.record);

	if (verdict == TCP_PARKED) {
		bed_park.parked = true;
		peer->pcb = NULL;
	}
	stack_flush();
	return verdict;
}
