// SPDX-License-Identifier: BSD-2-Clause
// What lwIP asks us while it runs (LWIP_HOOK_FILENAME; included after lwIP's own headers).
#pragma once

#include "kernel/base.h"
#include "lwip/ip_addr.h"

struct netif;
struct pbuf;

// net/random.c, RFC 6528.
uint32_t tcp_initial_sequence(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote,
			      uint16_t remote_port);
// The same from what the table of connections knows a connection by, and tcp_timestamp_offset() in one go.
struct tcp_tuple;
uint32_t tcp_initial_sequence_tuple(const struct tcp_tuple *tuple, uint32_t *ts_offset);
#define LWIP_HOOK_TCP_ISN(local, local_port, remote, remote_port)                                  \
	tcp_initial_sequence(local, local_port, remote, remote_port)

// net/rxpool.c: how far a receive window may be opened now.
uint32_t rxpool_window_limit(void);
#define LWIP_HOOK_TCP_RCV_WND_LIMIT() rxpool_window_limit()
// Bytes that all peers together may send ahead of us beyond TCP_WND each (tcp_rcvbuf.h).
uint64_t tcp_rcvbuf_most(void);

// net/pagebuf.c: bytes that all connections together may have queued beyond TCP_SND_BUF each (tcp_sndbuf.h).
uint64_t tcp_sndbuf_most(void);

// net/pagebuf.c: a segment that is part of an answer (TF_SEG_LENT) is not needed any more.
struct tcp_seg;
void answer_segment_free(struct tcp_seg *seg);
#define LWIP_HOOK_TCP_SEG_FREE(seg) answer_segment_free(seg)
// Frees such a segment with its two pbufs. False: there are others, or somebody else holds one; nothing was done.
bool answer_free(struct tcp_seg *seg);

// net/icmp_limit.c: whether another ICMP or ICMPv6 error message may go out now.
int icmp_error_allowed(void);
#define LWIP_HOOK_ICMP_ERROR() icmp_error_allowed()

// net/path_mtu.c: a message that something of ours could not be delivered; whether it was about TCP and the size of a
// packet, and so is done with. The pbuf stays the caller's.
int path_mtu_unreachable(struct pbuf *p);
int path_mtu_too_big(struct pbuf *p, struct netif *arrival);
#define LWIP_HOOK_ICMP_UNREACHABLE(p)	  path_mtu_unreachable(p)
#define LWIP_HOOK_ND6_TOO_BIG(p, arrival) path_mtu_too_big(p, arrival)

// net/mtu.c: TCP_MSS_OFFER.
extern uint16_t tcp_mss_offer;
// net/mtu.c: what a router says that its link takes, 1,280 bytes or more; netif->mtu6 follows it already.
void mtu_advertised(struct netif *netif, uint32_t mtu);
#define LWIP_HOOK_ND6_LINK_MTU(netif, mtu) mtu_advertised(netif, mtu)
// net/mtu.c: an option of a DHCP server's message that lwIP does not know; `bytes` of it at `at`.
void mtu_dhcp_option(struct netif *netif, uint8_t message, uint8_t option, uint8_t bytes,
		     struct pbuf *p, uint16_t at);
#define LWIP_HOOK_DHCP_PARSE_OPTION(netif, dhcp, state, msg, type, option, len, p, offset)         \
	((void)(msg), mtu_dhcp_option(netif, type, option, len, p, offset))

// net/netdev.c: TCP could not send because a card holds the segment, or memory was short; tcp_txnow is
// wanted when the card has completed something.
void netdev_tcp_waits(void);
#define LWIP_HOOK_TCP_OUTPUT_WAITS() netdev_tcp_waits()

// net/loopback.c: the interface for a packet to ourselves, null: another one's; and whether a packet from the wire is
// refused (then it is freed).
struct netif *loopback_route4(const ip4_addr_t *from, const ip4_addr_t *to);
struct netif *loopback_route6(const ip6_addr_t *from, const ip6_addr_t *to);
int loopback_refuses4(struct pbuf *p, const struct netif *arrival);
int loopback_refuses6(struct pbuf *p, const struct netif *arrival);
#define LWIP_HOOK_IP6_ROUTE_OWN(from, to) loopback_route6(from, to)
#define LWIP_HOOK_IP4_INPUT(p, arrival)	  loopback_refuses4(p, arrival)
#define LWIP_HOOK_IP6_INPUT(p, arrival)	  loopback_refuses6(p, arrival)
