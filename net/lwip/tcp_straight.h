// SPDX-License-Identifier: BSD-2-Clause
// What happens a million times on an established connection, as one page of code (tcp_straight.c). Called by
// net/straight.c for a TCP segment in a plain IPv4 or IPv6 packet that is sound. Fast WTD context.
//
//	pcb = tcp_straight_takes(addresses, ports, header, payload_bytes, netif); (IPv6: tcp_straight_takes6)
//	if (!pcb)
//		... tcp_input
//	tcp_straight(pcb, header);
//	if (payload_bytes && !tcp_straight_in_place(pcb, data, payload_bytes, netif))
//		tcp_straight_data(pcb, header, the payload as a pbuf, netif);
#pragma once

#include "lwip/netif.h"
#include "lwip/prot/tcp.h"
#include "lwip/tcp.h"
#include "tcp_timestamp.h"

// Segments that came this way, and packets that left it; lwIP's counters do not have them (net/netstat.c adds).
// Those over IPv6 are counted in both.
extern uint64_t tcp_straight_in, tcp_straight_out, tcp_straight_in6, tcp_straight_out6;

struct tcp_addresses6; // tcp_straight_find.h

// Bytes of the segment's header, which may be more than there are: such a segment is not taken.
static inline uint32_t tcp_straight_header(const struct tcp_hdr *header)
{
	return *((const uint8_t *)header + 12) >> 2 & 0x3c;
}
// RFC 7323, 5.3 R1: the option is time stamps in the usual form, and none from before the newest.
static inline bool tcp_straight_times_fit(const struct tcp_pcb *pcb,
					  const struct tcp_times_option *times)
{
	return times->kind == TCP_TIMES_KIND &&
	       !tcp_time_before(lwip_ntohl(times->value), pcb->ts_recent);
}
// Before the first segment of a batch that comes by this interface.
void tcp_straight_batch(struct netif *netif);
// The connection of a segment with these addresses and ports (as they lie in the packet, the source's first) and
// so many bytes of payload; null: none, or the segment is not one that tcp_straight knows what to do with. What other
// connections acknowledged is settled.
struct tcp_pcb *tcp_straight_takes(uint64_t addresses, uint32_t ports, const struct tcp_hdr *header,
				   uint32_t bytes, struct netif *netif);
struct tcp_pcb *tcp_straight_takes6(const struct tcp_addresses6 *addresses, uint32_t ports,
				    const struct tcp_hdr *header, uint32_t bytes,
				    struct netif *netif);
// Does what tcp_input would with all of the segment but its payload, and but for what tcp_straight_settle does.
// True: it acknowledges more, and so did the one before it.
bool tcp_straight(struct tcp_pcb *pcb, const struct tcp_hdr *header);
// Then, with the segment's payload: offers it to the server where it lies (tcp_take). True: there is no more to
// do, and the connection may be gone. False: it is to be handed up.
bool tcp_straight_in_place(struct tcp_pcb *pcb, const void *data, uint32_t bytes,
			   struct netif *netif);
// Hands it up. The payload is the stack's; the connection may be gone afterwards.
void tcp_straight_data(struct tcp_pcb *pcb, const struct tcp_hdr *header, struct pbuf *payload,
		       struct netif *netif);
// For tcp_leave.c: the connection, whatever its state (null: none); what tcp_straight took in as acknowledged is freed,
// and the server's to hear of; that it hears of it, with tcp_input_pcb set (false: the connection is gone).
struct tcp_pcb *tcp_straight_find(uint64_t addresses, uint32_t ports);
uint32_t tcp_straight_free(void);
bool tcp_straight_tell(struct tcp_pcb *pcb, uint32_t bytes);
// Or there is no memory for it: as if only the segment's acknowledgement had come.
void tcp_straight_lost(struct tcp_pcb *pcb, uint32_t bytes, struct netif *netif);
// Frees what the last segments acknowledged, tells the server and sends what came of it. Before anything else
// is done with any connection, and at the end of a batch. The interface is the one they came by.
void tcp_straight_settle(struct netif *netif);

// A TCP header with time stamps; the card a batch came by, if it is the only one, and up; the same while a server is
// offered data in place, else null: what it answers may leave at once (net/answer_now.c).
#define TIMES_HLEN (TCP_HLEN + LWIP_TCP_OPT_LEN_TS_OUT)
extern struct netif *tcp_straight_card, *tcp_straight_turn;
// What tcp_output does: all that may leave. There is something. False: what is to be done is tcp_output's.
bool tcp_straight_send(struct tcp_pcb *pcb, struct netif *netif);
