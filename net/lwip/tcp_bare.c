// SPDX-License-Identifier: BSD-2-Clause
// Segments without a PCB, see tcp_bare.h. The card makes the checksum, as for all others. RFC 9293, 3.1.
#include "tcp_bare.h"
#include "hooks.h"
#include "kernel/kstring.h"
#include "kernel/pool.h"
#include "lwip/etharp.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "net/iface.h"
#include "net/straight.h"
#include "tcp_straight.h"
#include "tcp_wire.h"
#include "tcp_timestamp.h"

static void put_addresses(const struct tcp_tuple *tuple, struct netif *arrival, ip_addr_t *local,
			  ip_addr_t *remote)
{
	if (!tuple->ipv6) {
		ip_addr_set_ip4_u32_val(*local, tuple->local[0]);
		ip_addr_set_ip4_u32_val(*remote, tuple->remote[0]);
		return;
	}
	IP_ADDR6(local, tuple->local[0], tuple->local[1], tuple->local[2], tuple->local[3]);
	IP_ADDR6(remote, tuple->remote[0], tuple->remote[1], tuple->remote[2], tuple->remote[3]);
	if (arrival) {
		ip6_addr_assign_zone(ip_2_ip6(local), IP6_UNICAST, arrival);
		ip6_addr_assign_zone(ip_2_ip6(remote), IP6_UNICAST, arrival);
	}
}

// size: what fits through the interface, of segment->mss.
static void put_options(uint8_t *at, const struct tcp_bare *segment, uint16_t size)
{
	const uint8_t mss[] = {LWIP_TCP_OPT_MSS, 4, size >> 8, size & 0xff};
	const uint8_t scale[] = {LWIP_TCP_OPT_NOP, LWIP_TCP_OPT_WS, 3, TCP_RCV_SCALE};
	const uint8_t sack[] = {LWIP_TCP_OPT_NOP, LWIP_TCP_OPT_NOP, LWIP_TCP_OPT_SACK_PERM, 2};

	if (segment->mss) {
		memcpy(at, mss, 4);
		at += 4;
	}
	if (segment->scale) {
		memcpy(at, scale, 4);
		at += 4;
	}
	if (segment->sack) {
		memcpy(at, sack, 4);
		at += 4;
	}
	if (segment->timestamps) {
		const struct tcp_times_option times = {TCP_TIMES_KIND,
						       lwip_htonl(tcp_now() + segment->ts_offset),
						       lwip_htonl(segment->ts_echo)};
		memcpy(at, &times, sizeof(times));
	}
}

static inline uint16_t header_bytes(const struct tcp_bare *segment)
{
	return TCP_HLEN +
	       4U * (!!segment->mss + segment->scale + segment->sack + 3U * segment->timestamps);
}

static void put_header(struct tcp_hdr *header, const struct tcp_tuple *tuple,
		       const struct tcp_bare *segment, uint16_t size)
{
	header->src = lwip_htons(tuple->local_port);
	header->dest = lwip_htons(tuple->remote_port);
	header->seqno = lwip_htonl(segment->seqno);
	header->ackno = lwip_htonl(segment->ackno);
	TCPH_HDRLEN_FLAGS_SET(header, header_bytes(segment) / 4, segment->flags);
	header->wnd = lwip_htons(segment->window);
	header->chksum = 0;
	header->urgp = 0;
	put_options((uint8_t *)(header + 1), segment, size);
}

// ---- the straight way ---------------------------------------------------------------------------------
// Through the only card, to a neighbour that we know: one object, all headers written as they lie.

struct head {
	struct tcp_wire_head wire;
	struct tcp_hdr tcp;
	uint8_t options[TCP_MAX_OPTION_BYTES];
} __attribute__((packed));

struct bare {
	struct pbuf_custom custom;
	struct head head;
};
// What the card and the queue in front of it hold, twice; beyond that they are lwIP's.
static struct pool bares = POOL_INIT_RAW("tcp_bare", struct bare, 4096);
uint16_t tcp_bare_neighbour;
_Static_assert(sizeof(netif_addr_idx_t) == sizeof(tcp_bare_neighbour), "as lwIP's");

static void bare_free(struct pbuf *p)
{
	pool_free(&bares, CONTAINER_OF((struct pbuf_custom *)(void *)p, struct bare, custom));
}

// The only card's, if it is the one that the segment is to go by.
static inline struct netif *only_card(const struct tcp_bare *segment)
{
	struct netif *netif = netif_list;

	return netif && !netif->next && netif_default == netif && netif_is_up(netif) &&
		       netif_is_link_up(netif) && netif_get_index(netif) == segment->netif_idx
		   ? netif
		   : NULL;
}

static inline const struct eth_addr *address_of(struct netif *netif, uint32_t remote)
{
	const ip4_addr_t ip = {remote};
	const struct eth_addr *to = etharp_known(netif, &ip, tcp_bare_neighbour);

	if (LIKELY(to))
		return to;
	tcp_bare_neighbour = etharp_place(netif, &ip);
	return etharp_known(netif, &ip, tcp_bare_neighbour);
}

static bool send_straight(const struct tcp_tuple *tuple, const struct tcp_bare *segment)
{
	struct netif *netif = only_card(segment);
	const struct eth_addr *to;
	struct bare *bare;
	struct head *h;
	uint16_t bytes = header_bytes(segment);

	if (!straight_on || tuple->ipv6 || !netif || !(to = address_of(netif, tuple->remote[0])) ||
	    !(bare = pool_alloc(&bares)))
		return false;
	h = &bare->head;
	tcp_wire_put(&h->wire, to, netif, 0, TCP_TTL, bytes, LWIP_IP_ID(),
		     tuple->local[0] | (uint64_t)tuple->remote[0] << 32);
	bytes += sizeof(h->wire);
	put_header(&h->tcp, tuple, segment, MIN(segment->mss, netif->mtu - IP_HLEN - TCP_HLEN));
	bare->custom.custom_free_function = bare_free;
	bare->custom.pbuf = (struct pbuf){.payload = h,
					  .tot_len = bytes,
					  .len = bytes,
					  .type_internal = (u8_t)PBUF_RAM,
					  .flags = PBUF_FLAG_IS_CUSTOM,
					  .ref = 1,
					  .if_idx = NETIF_NO_INDEX};
	tcp_straight_out++;
	if (UNLIKELY(iface_give_tcp(netif, &bare->custom.pbuf) != ERR_OK))
		pool_free(&bares, bare);
	return true;
}

// ---- the general way ----------------------------------------------------------------------------------

void tcp_bare_send(const struct tcp_tuple *tuple, const struct tcp_bare *segment)
{
	struct netif *arrival, *netif;
	ip_addr_t local, remote;
	struct pbuf *p;

	if (LIKELY(send_straight(tuple, segment)))
		return;
	arrival = netif_get_by_index(segment->netif_idx);
	put_addresses(tuple, arrival, &local, &remote);
	netif = ip_route(&local, &remote);
	if (!netif)
		netif = arrival;
	p = netif ? pbuf_alloc(PBUF_IP, header_bytes(segment), PBUF_RAM) : NULL;
	if (!p) {
		TCP_STATS_INC(tcp.memerr);
		return;
	}
	put_header(p->payload, tuple, segment,
		   tcp_eff_send_mss_netif(segment->mss, netif, &remote));
	TCP_STATS_INC(tcp.xmit);
	ip_output_if(p, &local, &remote, TCP_TTL, 0, IP_PROTO_TCP, netif);
	pbuf_free(p);
}
