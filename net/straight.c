// SPDX-License-Identifier: BSD-2-Clause
// Stage 4 of the read path, for what happens a million times: an Ethernet frame with an IPv4 packet without
// options, whole, to the address of the card it came in by, that carries a TCP segment. One look at the
// headers and one pass over the bytes for the checksum, then tcp_input. Everything else, and everything
// that is wrong in any way, goes through lwIP's Ethernet and IP layers, which know what to do with it and
// count it; both ways give the same answers (tests/host/test_straight.c).
//
//     Ethernet   0  to, from, type 0x0800
//     IPv4      14  0x45, length, no fragment, protocol 6, checksum, addresses         RFC 791, 3.1
//     TCP       34  a checksum over it, the addresses, 6 and its length                RFC 9293, 3.1
//
// Not tested here but by tcp_input: everything that is TCP's.
#include "net/straight.h"
#include "kernel/base.h"
#include "kernel/kstat.h"
#include "lwip/arch.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ip4.h"
#include "lwip/stats.h"

#define ETHERNET_BYTES 14
#define PLAIN_IP       0x45
#define FRAGMENT_BITS  PP_HTONS(0x3fff) // more fragments, offset

bool straight_on = true;

static uint64_t taken;
KSTAT_COUNTER(taken, "pagewire_net_straight_total", "TCP segments that took the straight way in.");

struct headers { // of the frame, fields as they lie
	uint8_t to[6], from[6];
	uint16_t type;
	uint8_t version, service;
	uint16_t length, id, fragment;
	uint8_t ttl, protocol;
	uint16_t checksum;
	uint32_t source, dest;
} __attribute__((packed));
_Static_assert(sizeof(struct headers) == ETHERNET_BYTES + IP_HLEN, "Ethernet and IPv4 headers");

static bool plain(const struct headers *h, const struct netif *netif, uint32_t frame_bytes)
{
	uint32_t bytes = PP_NTOHS(h->length), mask = ip4_addr_get_u32(netif_ip4_netmask(netif));
	uint32_t mine = ip4_addr_get_u32(netif_ip4_addr(netif));

	return h->type == PP_HTONS(0x0800) && h->version == PLAIN_IP &&
	       h->protocol == IP_PROTO_TCP && !(h->fragment & FRAGMENT_BITS) &&
	       !(h->to[0] & 1) && // to one station
	       h->dest == mine && mine && netif_is_up(netif) && bytes >= IP_HLEN + TCP_HLEN &&
	       bytes + ETHERNET_BYTES <= frame_bytes && h->source &&
	       (h->source & 0xff) < 224 && // no multicast, no limited broadcast
	       (h->source | mask) != ~0U &&
	       (h->source & ~mask || (h->source & mask) != (mine & mask));
}

// RFC 1071: a sum of sound headers, or of a sound segment with its pseudo-header, is all ones.
static bool sound(const struct headers *h)
{
	uint32_t segment = PP_NTOHS(h->length) - IP_HLEN, sum;

	if (net_checksum(&h->version, IP_HLEN) != 0xffff)
		return false;
	sum = net_checksum(h + 1, (int)segment);
	sum += (h->source & 0xffff) + (h->source >> 16) + (h->dest & 0xffff) + (h->dest >> 16);
	sum += PP_HTONS(IP_PROTO_TCP) + PP_HTONS((uint16_t)segment);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16)) == 0xffff;
}

bool straight_input(struct netif *netif, struct pbuf *p)
{
	const struct headers *h = p->payload;
	uint16_t checks = netif->chksum_flags;

	if (p->next || p->len < sizeof(*h) || !plain(h, netif, p->len) || !straight_on || !sound(h))
		return false;
	taken++;
	IP_STATS_INC(ip.recv);
	MIB2_STATS_INC(mib2.ipinreceives);
	MIB2_STATS_INC(mib2.ipindelivers);
	ip_addr_set_ip4_u32(&ip_data.current_iphdr_dest, h->dest);
	ip_addr_set_ip4_u32(&ip_data.current_iphdr_src, h->source);
	ip_data.current_netif = netif;
	ip_data.current_input_netif = netif;
	ip_data.current_ip4_header = (const struct ip_hdr *)(const void *)&h->version;
	ip_data.current_ip_header_tot_len = IP_HLEN;
	p->len = p->tot_len =
	    (u16_t)(PP_NTOHS(h->length) - IP_HLEN); // without a short frame's padding
	p->payload = (uint8_t *)p->payload + sizeof(*h);
	netif->chksum_flags = checks & (uint16_t)~NETIF_CHECKSUM_CHECK_TCP; // done
	tcp_input(p, netif);
	netif->chksum_flags = checks;
	ip_data.current_netif = NULL;
	ip_data.current_input_netif = NULL;
	ip_data.current_ip4_header = NULL;
	ip_data.current_ip_header_tot_len = 0;
	ip4_addr_set_any(ip4_current_src_addr());
	ip4_addr_set_any(ip4_current_dest_addr());
	return true;
}
