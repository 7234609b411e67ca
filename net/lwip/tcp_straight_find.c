// SPDX-License-Identifier: BSD-2-Clause
// The table of connections, searched by what a packet says; see tcp_straight_find.h.
#include "tcp_straight_find.h"
#include "kernel/kstring.h"
#include "tcp_park.h"

static __attribute__((cold)) struct tcp_pcb *find_parked(struct tcp_hash_node *node, uint16_t guess)
{
	struct tcp_pcb *pcb = tcp_park_wake(node);

	if (pcb)
		tcp_hash_guess_next(&pcb->node, guess);
	return pcb;
}

__attribute__((noinline)) struct tcp_pcb *tcp_find_hashed(uint64_t addresses, uint32_t ports,
							  uint16_t guess)
{
	uint32_t both = lwip_ntohl(ports); // the peer's, ours
	uint32_t hash = tcp_hash_ip4((uint32_t)(addresses >> 32), (uint32_t)addresses,
				     (uint16_t)both, (uint16_t)(both >> 16));

	for (struct tcp_hash_node *node = *tcp_hash_bucket(hash); node; node = node->next) {
		struct tcp_pcb *pcb = CONTAINER_OF(node, struct tcp_pcb, node);
		tcp_hash_steps++;
		if (node->hash == hash && node->kind == TCP_HASH_PCB &&
		    tcp_is_between(pcb, addresses, ports)) {
			tcp_hash_guess_next(node, guess);
			return pcb;
		}
		if (node->kind == TCP_HASH_PARKED && tcp_park_is_between(node, addresses, ports))
			return find_parked(node, guess);
	}
	return NULL;
}

__attribute__((noinline)) struct tcp_pcb *tcp_find_hashed6(const struct tcp_addresses6 *addresses,
							   uint32_t ports, uint8_t index,
							   uint16_t guess)
{
	uint32_t both = lwip_ntohl(ports), hash;
	struct tcp_tuple tuple = {
	    .local_port = (uint16_t)both, .remote_port = (uint16_t)(both >> 16), .ipv6 = 1};

	memcpy(tuple.local, addresses->dest, sizeof(tuple.local));
	memcpy(tuple.remote, addresses->source, sizeof(tuple.remote));
	hash = tcp_hash(&tuple);
	for (struct tcp_hash_node *node = *tcp_hash_bucket(hash); node; node = node->next) {
		struct tcp_pcb *pcb = CONTAINER_OF(node, struct tcp_pcb, node);
		tcp_hash_steps++;
		if (node->hash == hash && node->kind == TCP_HASH_PCB &&
		    tcp_is_between6(pcb, addresses, ports, index)) {
			tcp_hash_guess_next(node, guess);
			return pcb;
		}
		if (node->kind == TCP_HASH_PARKED &&
		    tcp_park_is_between6(node, addresses, ports, index))
			return find_parked(node, guess);
	}
	return NULL;
}
