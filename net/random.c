// SPDX-License-Identifier: BSD-2-Clause
// Numbers that outsiders cannot predict: SipHash of a counter, keyed at boot. For IP identifications,
// ephemeral ports, DHCP transactions (LWIP_RAND), and the initial sequence numbers of RFC 6528.
#include "kernel/cpu.h"
#include "kernel/kstring.h"
#include "kernel/siphash.h"
#include "kernel/timer.h"
#include "lwip/arch.h"
#include "hooks.h"
#include "net/random.h"

// Fast WTD context only (as all of the stack), so no lock.
static struct siphash_key counter_key, sequence_key;
static uint64_t counter, leftover;
static bool have_leftover;

void net_random_init(void)
{
	counter_key = (struct siphash_key){cpu_random(), cpu_random()};
	sequence_key = (struct siphash_key){cpu_random(), cpu_random()};
}

uint32_t net_random32(void)
{
	if (have_leftover) {
		have_leftover = false;
		return leftover;
	}
	leftover = siphash(&counter_key, &counter, sizeof(counter));
	counter++;
	have_leftover = true;
	return leftover >> 32;
}

static size_t put_address(uint8_t *to, const ip_addr_t *ip)
{
	if (IP_IS_V6(ip)) {
		memcpy(to, ip_2_ip6(ip)->addr, 16);
		return 16;
	}
	memcpy(to, &ip_2_ip4(ip)->addr, 4);
	return 4;
}

// RFC 6528, 3: ISN = M + F(localip, localport, remoteip, remoteport, secretkey), M a timer that ticks
// every 4 microseconds.
uint32_t tcp_initial_sequence(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote,
			      uint16_t remote_port)
{
	uint8_t tuple[2 * 16 + 4];
	size_t len = put_address(tuple, local);

	len += put_address(tuple + len, remote);
	memcpy(tuple + len, &local_port, 2);
	memcpy(tuple + len + 2, &remote_port, 2);
	return (uint32_t)(clock_ns() / 4000) + (uint32_t)siphash(&sequence_key, tuple, len + 4);
}
