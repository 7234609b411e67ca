// SPDX-License-Identifier: BSD-2-Clause
// How many ICMP and ICMPv6 error messages go out: a token bucket for all of them together (RFC 4443, 2.4 (f); RFC 1812,
// 4.3.2.8), so that whoever sends what is refused, or says that another does, makes us send little. Path MTU
// discovery, traceroute and a resolver that asks a closed port need few. lwIP asks before each (hooks.h); echo replies,
// neighbour discovery and TCP's resets are none of them. Fast WTD context.
#include "hooks.h"
#include "kernel/kstat.h"
#include "lwip/sys.h"

#define A_SECOND 100
#define AT_ONCE	 50
#define TOKEN	 1000 // in thousandths: what comes in a millisecond is A_SECOND

static uint32_t tokens = AT_ONCE * TOKEN, filled; // at that sys_now
static uint64_t held;
KSTAT_COUNTER(held, "pagewire_icmp_errors_held_total",
	      "ICMP and ICMPv6 error messages not sent because there were so many.");

int icmp_error_allowed(void)
{
	uint32_t now = sys_now(), gone = now - filled;

	filled = now;
	tokens = MIN(tokens + MIN(gone, AT_ONCE * TOKEN / A_SECOND) * A_SECOND, AT_ONCE * TOKEN);
	if (tokens < TOKEN) {
		held++;
		return 0;
	}
	tokens -= TOKEN;
	return 1;
}
