// SPDX-License-Identifier: BSD-2-Clause
// What a flow label is made of (tcp_label.h): a keyed hash, so that nobody who sees some of them knows others, or what
// else a hash over the same addresses and ports would be.
#include "tcp_label.h"
#include "kernel/kstring.h"
#include "kernel/siphash.h"
#include "lwip/prot/ip6.h"

// Of our packets, as they lie in them.
struct ends {
	uint8_t source[16], dest[16];
	uint32_t ports; // the source's first
};
_Static_assert(sizeof(struct ends) == 36, "without a hole");

static uint16_t make(const struct ends *ends)
{
	static struct siphash_key key;
	uint16_t made;

	if (!key.k0 && !key.k1) {
		key.k0 = (uint64_t)LWIP_RAND() << 32 | LWIP_RAND();
		key.k1 = (uint64_t)LWIP_RAND() << 32 | LWIP_RAND();
	}
	made = (uint16_t)siphash(&key, ends, sizeof(*ends));
	return made ? made : 1; // 0: a packet without a label
}

uint16_t tcp_label_of(const void *ip6)
{
	struct ends ends; // addresses and ports are neighbours in the packet, too

	memcpy(&ends, (const uint8_t *)ip6 + offsetof(struct ip6_hdr, src), sizeof(ends));
	return make(&ends);
}

uint16_t tcp_label_make(const struct tcp_pcb *pcb)
{
	struct ends ends = {.ports = (uint32_t)lwip_htons(pcb->remote_port) << 16 |
				     lwip_htons(pcb->local_port)};

	memcpy(ends.source, ip_2_ip6(&pcb->local_ip)->addr, sizeof(ends.source));
	memcpy(ends.dest, ip_2_ip6(&pcb->remote_ip)->addr, sizeof(ends.dest));
	return make(&ends);
}
