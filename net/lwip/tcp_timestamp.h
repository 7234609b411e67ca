// SPDX-License-Identifier: BSD-2-Clause
// Time stamps in segments (RFC 7323, 3 to 5): what they say of the round trip, and which segment is from before
// what has been received (PAWS). A time stamp of ours is tcp_now() and an offset that only we know, the same for
// each connection of the same two ends, so that it does not tell how long we have been up, and never goes back.
// Fast WTD context. Included by lwIP's sources.
#pragma once

#include "kernel/base.h"
#include "tcp_hash.h"

struct tcp_pcb;

// What a segment carries.
struct tcp_times {
	bool seen;
	uint32_t value, echo; // TSval, TSecr
};
extern struct tcp_times tcp_times; // of the segment that tcp_input is at

// RFC 7323, appendix A: all the options that a segment of an established connection has, without SACK.
struct tcp_times_option {
	uint32_t kind; // TCP_TIMES_KIND
	uint32_t value, echo;
};
#define TCP_TIMES_KIND PP_HTONL(0x0101080a) // two NOPs, 8, 10
struct tcp_hdr;
// What follows the header.
static inline struct tcp_times_option *tcp_times_of(const struct tcp_hdr *header)
{
	return (struct tcp_times_option *)(void *)((uint8_t *)(uintptr_t)header + 20);
}

// RFC 7323, 5.5: a time stamp remembered for longer may have come round.
#define TCP_PAWS_TICKS (24U * 24 * 3600 * (1000 / TCP_SLOW_INTERVAL))

// Whether connections that begin may have them: the command line's word.
extern bool tcp_timestamps_on;
// Modulo 2^32.
static inline bool tcp_time_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}
// net/random.c.
uint32_t tcp_timestamp_offset(const struct tcp_tuple *tuple);

// A round trip of so many milliseconds was measured, `weight` times within a round trip (RFC 6298; RFC 7323, appendix
// G): the estimates and the time-out follow.
void tcp_rtt_take(struct tcp_pcb *pcb, uint32_t ms, uint32_t weight);
// What was timed, at rttest, is acknowledged.
void tcp_rtt_timed(struct tcp_pcb *pcb);
// An acknowledgement of what was taken for lost echoes it: the estimates are at least what such a round trip alone
// would make them (RFC 4015, 3.2, step 8).
void tcp_rtt_late(struct tcp_pcb *pcb, uint32_t echo);
// An acknowledgement of so many new bytes, which lastack counts already, echoes a time stamp. The last of what was sent
// in one millisecond is not timed if something before it was: its acknowledgement may have waited for data to go with.
void tcp_rtt_echo(struct tcp_pcb *pcb, uint32_t echo, uint32_t acked);
