// SPDX-License-Identifier: BSD-2-Clause
// TIME_WAIT (RFC 9293, 3.3.2) as an entry of a hundred bytes: what remains of a connection that its server
// has closed is its name, two sequence numbers and a time. When there are too many, the oldest goes: it
// has the least left to wait for. Fast WTD context. Included by lwIP's tcp.c and tcp_in.c.
#pragma once

#include "kernel/base.h"
#include "tcp_hash.h"
#include "tcp_timestamp.h"

// 1,000 connections a second that we close first, for 2 MSL.
#define TCP_TW_ENTRIES 32768

struct tcp_tw_facts {
	uint32_t snd_nxt, rcv_nxt;
	uint16_t window; // as a header carries it
	uint8_t netif_idx;
	bool timestamps;
	uint32_t ts_recent, ts_offset;
};

// The connection, with that tcp_hash of its tuple, enters TIME_WAIT; its PCB can go. When there is no memory even for
// this, it is not remembered at all (counted).
void tcp_tw_enter(const struct tcp_tuple *tuple, uint32_t hash, const struct tcp_tw_facts *facts);
// The ACK that a connection in TIME_WAIT answers with.
void tcp_tw_acknowledge(const struct tcp_tuple *tuple, const struct tcp_tw_facts *facts);
// A segment for it. True: dealt with. False: a SYN that may open a new connection; the entry is gone, and
// *least_iss is where our sequence numbers must begin at least (RFC 9293, 3.10.7.4; RFC 6191).
bool tcp_tw_input(struct tcp_hash_node *entry, uint8_t flags, uint32_t seqno, uint32_t length,
		  const struct tcp_times *times, uint32_t *least_iss);
// Every slow tick.
void tcp_tw_tmr(void);
// All entries go.
void tcp_tw_forget_all(void);
