// SPDX-License-Identifier: BSD-2-Clause
// Segments without a PCB, see tcp_bare.h. The card makes the checksum, as for all others. RFC 9293, 3.1.
#include "tcp_bare.h"
#include "kernel/kstring.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
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

static void put_timestamps(uint8_t *at, const struct tcp_tuple *tuple, uint32_t echo)
{
	const uint32_t option[] = {PP_HTONL(0x0101080a),
				   lwip_htonl(tcp_now() + tcp_timestamp_offset(tuple)),
				   lwip_htonl(echo)};

	memcpy(at, option, sizeof(option));
}

// size: what fits through the interface, of segment->mss.
static uint8_t *put_syn_options(uint8_t *at, const struct tcp_bare *segment, uint16_t size)
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
	return at;
}

void tcp_bare_send(const struct tcp_tuple *tuple, const struct tcp_bare *segment)
{
	uint16_t len = TCP_HLEN + 4 * (!!segment->mss + segment->scale + segment->sack +
				       3 * segment->timestamps);
	struct netif *arrival = netif_get_by_index(segment->netif_idx), *netif;
	ip_addr_t local, remote;
	struct tcp_hdr *header;
	struct pbuf *p;
	uint8_t *options;

	put_addresses(tuple, arrival, &local, &remote);
	netif = ip_route(&local, &remote);
	if (!netif)
		netif = arrival;
	p = netif ? pbuf_alloc(PBUF_IP, len, PBUF_RAM) : NULL;
	if (!p) {
		TCP_STATS_INC(tcp.memerr);
		return;
	}
	header = p->payload;
	header->src = lwip_htons(tuple->local_port);
	header->dest = lwip_htons(tuple->remote_port);
	header->seqno = lwip_htonl(segment->seqno);
	header->ackno = lwip_htonl(segment->ackno);
	TCPH_HDRLEN_FLAGS_SET(header, len / 4, segment->flags);
	header->wnd = lwip_htons(segment->window);
	header->chksum = 0;
	header->urgp = 0;
	options = put_syn_options((uint8_t *)(header + 1), segment,
				  tcp_eff_send_mss_netif(segment->mss, netif, &remote));
	if (segment->timestamps)
		put_timestamps(options, tuple, segment->ts_echo);
	TCP_STATS_INC(tcp.xmit);
	ip_output_if(p, &local, &remote, TCP_TTL, 0, IP_PROTO_TCP, netif);
	pbuf_free(p);
}
