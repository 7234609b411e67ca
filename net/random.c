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
#include "tcp_hash.h"
#include "tcp_timestamp.h"

// Fast WTD context only (as all of the stack), so no lock.
static struct siphash_key counter_key, sequence_key;
static uint64_t counter, bank; // bank: random bits not yet given out,
static unsigned banked;	       // this many

void net_random_init(void)
{
	banked = 0;
	counter_key = (struct siphash_key){cpu_random(), cpu_random()};
	sequence_key = (struct siphash_key){cpu_random(), cpu_random()};
}

static inline uint64_t take(unsigned bits)
{
	uint64_t out;

	if (banked < bits) {
		bank = siphash_word(&counter_key, counter++);
		banked = 64;
	}
	out = bank;
	bank >>= bits;
	banked -= bits;
	return out;
}

uint32_t net_random32(void)
{
	return (uint32_t)take(32);
}

uint16_t net_random16(void)
{
	return (uint16_t)take(16);
}

// Two secrets of a connection's ends: the lower half for sequence numbers, the upper one for time stamps.
static uint64_t of_the_ends(const uint32_t *local, const uint32_t *remote, size_t words,
			    uint32_t ports)
{
	uint32_t tuple[2 * 4 + 1];

	memcpy(tuple, local, words * 4);
	memcpy(tuple + words, remote, words * 4);
	tuple[2 * words] = ports;
	return siphash(&sequence_key, tuple, (2 * words + 1) * 4);
}

// RFC 6528, 3: ISN = M + F(localip, localport, remoteip, remoteport, secretkey), M a timer that ticks
// every 4 microseconds.
static uint32_t sequence(uint64_t secret)
{
	return (uint32_t)(clock_ns() / 4000) + (uint32_t)secret;
}

uint32_t tcp_initial_sequence(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote,
			      uint16_t remote_port)
{
	uint32_t ports = (uint32_t)local_port << 16 | remote_port;

	if (IP_IS_V6(local))
		return sequence(
		    of_the_ends(ip_2_ip6(local)->addr, ip_2_ip6(remote)->addr, 4, ports));
	return sequence(of_the_ends(&ip_2_ip4(local)->addr, &ip_2_ip4(remote)->addr, 1, ports));
}

static uint64_t of_tuple(const struct tcp_tuple *tuple)
{
	return of_the_ends(tuple->local, tuple->remote, tuple->ipv6 ? 4 : 1,
			   (uint32_t)tuple->local_port << 16 | tuple->remote_port);
}

// RFC 7323, 5.4 and 7.1: the bits that sequence numbers leave.
uint32_t tcp_timestamp_offset(const struct tcp_tuple *tuple)
{
	return of_tuple(tuple) >> 32;
}

uint32_t tcp_initial_sequence_tuple(const struct tcp_tuple *tuple, uint32_t *ts_offset)
{
	uint64_t secret = of_tuple(tuple);

	*ts_offset = secret >> 32;
	return sequence(secret);
}
