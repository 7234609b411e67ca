// SPDX-License-Identifier: BSD-2-Clause
// Parked connections in the HTTP server's world (http_world.h): the PCB waits with its callbacks taken off, as if it
// were gone, and whatever the client does wakes it first.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "http_world_private.h"
#include "kernel/kstring.h"
#include "net/park.h"

static const struct tcp_park_server *server;
bool world_no_pcbs;

void tcp_park_serve(const struct tcp_park_server *its)
{
	server = its;
}

// The last word of a record: over IPv6 it is a longer one.
static uint64_t *last_of(const struct tcp_pcb *pcb, struct tcp_parked *parked)
{
	return pcb->remote_ip.v6 ? &CONTAINER_OF(parked, struct tcp_parked6, first)->private[2]
				 : &parked->private[10];
}

static struct tcp_pcb *pcb_of(const struct tcp_parked *parked)
{
	struct tcp_pcb *pcb = (struct tcp_pcb *)parked->private[0];

	assert_true(pcb->parked == parked && *last_of(pcb, pcb->parked) == 0xabc);
	return pcb;
}

enum tcp_park_verdict tcp_park(struct tcp_pcb *pcb, struct tcp_parked *into)
{
	assert_true(pcb->recv && !pcb->aborted && !pcb->closed);
	if (pcb->first || pcb->refused || pcb->unread || pcb->fin_sent || pcb->fin_received)
		return TCP_PARK_LATER;
	memset(into, 0, pcb->remote_ip.v6 ? sizeof(struct tcp_parked6) : sizeof(*into));
	into->private[0] = (uintptr_t)pcb;
	*last_of(pcb, into) = 0xabc;
	pcb->parked = into;
	pcb->arg = NULL;
	pcb->recv = NULL;
	pcb->take = NULL;
	pcb->sent = NULL;
	pcb->err = NULL;
	return TCP_PARKED;
}

struct tcp_pcb *tcp_unpark(struct tcp_parked *parked)
{
	struct tcp_pcb *pcb = pcb_of(parked);

	if (world_no_pcbs)
		return NULL;
	pcb->parked = NULL;
	return pcb;
}

void tcp_parked_reset(struct tcp_parked *parked)
{
	struct tcp_pcb *pcb = pcb_of(parked);

	pcb->parked = NULL;
	pcb->aborted = true;
}

ip_addr_t tcp_parked_peer(const struct tcp_parked *parked)
{
	return pcb_of(parked)->remote_ip;
}

void world_address_goes(struct tcp_pcb *pcb)
{
	server->gone(pcb->parked);
}

bool world_wakes(struct tcp_pcb *pcb)
{
	struct tcp_pcb *woken;

	if (!pcb->parked)
		return true;
	woken = server->wake(pcb->parked);
	assert_true(!woken || (woken == pcb && pcb->recv && pcb->arg));
	return woken;
}
