// SPDX-License-Identifier: BSD-2-Clause
// TCP connections on which nothing happens, without a PCB: a server parks one that waits for its client, and has it
// back when a segment comes for it, or when the server wants it. The peer sees no difference
// (tests/host/test_tcp_park.c).
//
//     ESTABLISHED, nothing under way ----tcp_park----> parked ----a segment comes: wake() ----> ESTABLISHED
//                                                        |  '----the server: tcp_unpark----> ESTABLISHED
//                                                        '----tcp_parked_reset, gone()----> nothing
//
// Only connections with another machine. One server in the system parks. Fast WTD context, or WTDs off; whoever parks
// or wakes ends with stack_flush().
#pragma once

#include "kernel/base.h"
#include "lwip/tcp.h"

// What is left of one, net/lwip/tcp_park.c's: of one over IPv6 the larger. The server's own facts lie before it, and
// everybody knows either by its first part.
struct tcp_parked {
	uint64_t private[11];
};
struct tcp_parked6 {
	struct tcp_parked first;
	uint64_t private[3]; // the rest of the addresses
};

enum tcp_park_verdict {
	TCP_PARKED,
	TCP_PARK_LATER, // something is under way, or was a moment ago
	TCP_PARK_NEVER	// it is of a kind that is not parked
};

struct tcp_park_server {
	// A segment has come. Makes what the server has for a connection, with a PCB from tcp_unpark, and gives up the
	// record. Null: there is no memory; nothing was done, the segment is dropped, and the peer sends it again.
	struct tcp_pcb *(*wake)(struct tcp_parked *parked);
	// Our address has gone: ends it with tcp_parked_reset.
	void (*gone)(struct tcp_parked *parked);
};
void tcp_park_serve(const struct tcp_park_server *server); // the server is static. Start

// The connection is parked in `into`, over IPv6 the first part of a struct tcp_parked6, and the PCB is gone; or
// neither. Not from a callback of lwIP's. Between two requests: the server waits for nothing but data.
enum tcp_park_verdict tcp_park(struct tcp_pcb *pcb, struct tcp_parked *into);
// Its PCB anew, without callbacks; the record is the server's again. Null: there is no memory, it stays parked.
struct tcp_pcb *tcp_unpark(struct tcp_parked *parked);
// It ends with a RST; the record is the server's again. Needs no PCB.
void tcp_parked_reset(struct tcp_parked *parked);
// The peer's address.
ip_addr_t tcp_parked_peer(const struct tcp_parked *parked);
