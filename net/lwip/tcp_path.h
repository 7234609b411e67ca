// SPDX-License-Identifier: BSD-2-Clause
// How long packets may be on the way to a peer: path MTU discovery for TCP. RFC 1191 and 8201, where routers
// say; what RFC 4821 (7.7) does about silence, where they do not.
//
//     router: "too big"  --quotes what is in flight-->  all connections to that address have smaller segments, at
//                                                       once; what is under way is sent again; the window stays
//     silence            --two time-outs, a second-->  this connection has smaller segments; if they get through,
//                                                       the address is remembered
//
// What an address takes is remembered for ten minutes, for new connections. A connection that was made smaller stays
// so. Over IPv4 nothing becomes smaller than 552 bytes: where a router says less, packets may be cut on the way
// (TF_FRAGMENTED: no DF). Over IPv6 every link takes 1,280 bytes, and who says less is not believed (RFC 8201, 4).
//
// net/path_mtu.c reads routers' messages; tcp_in.c calls begin, tcp_recover.c and tcp_undo.c what is about
// silence. Fast WTD context.
#pragma once

#include "kernel/base.h"
#include "lwip/tcp.h"

#define TCP_PATH_LEAST4 552U // as other systems: below, a forged message costs more than a fragment
#define TCP_PATH_LEAST6 1280U
#define TCP_PATH_AGE_MS 600000U // RFC 1191, 6.3

struct tcp_tuple;

// A router had no room for a packet of `length` bytes between these ends that began with that sequence number; a
// packet of `mtu` bytes would have fitted (0: the router is older than RFC 1191). Not believed unless all of it
// makes sense.
void tcp_path_too_big(const struct tcp_tuple *quoted, uint32_t seq, uint32_t mtu, uint32_t length);
// The link itself takes less than it did, or more, which only new connections make use of.
void tcp_path_link(const struct netif *netif);

// The longest packet of the connection, with all headers.
uint16_t tcp_path_mtu(const struct tcp_pcb *pcb);

// Whether anything is remembered of any address: most machines never do.
extern uint32_t tcp_path_entries;
void tcp_path_recall(struct tcp_pcb *pcb);
// A connection begins: pcb->mss is what both ends' links take, without options.
static inline void tcp_path_begin(struct tcp_pcb *pcb)
{
	if (UNLIKELY(tcp_path_entries))
		tcp_path_recall(pcb);
}

// A connection goes on after it was parked (tcp_park.c): its packets go by that link now.
void tcp_path_woken(struct tcp_pcb *pcb, const struct netif *netif);

// Nothing was heard for so many time-outs, since segments had the size that they have. True: they are smaller
// now, and *worth_it says whether tcp_path_got_through is to be told when something is acknowledged.
bool tcp_path_silent(struct tcp_pcb *pcb, unsigned timeouts, bool *worth_it);
void tcp_path_got_through(const struct tcp_pcb *pcb);
// It was for nothing: the answers were only late.
void tcp_path_try_again(struct tcp_pcb *pcb, uint16_t mss);

// The n-th address that is remembered, false: there are fewer. *age_s: for how long it has been.
struct tcp_path_entry {
	ip_addr_t to;
	uint16_t mtu;
	uint32_t age_s;
};
bool tcp_path_entry(unsigned n, struct tcp_path_entry *entry);
// For tests.
void tcp_path_forget_all(void);
