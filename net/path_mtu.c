// SPDX-License-Identifier: BSD-2-Clause
// What routers say of packets that are too big: ICMP's "fragmentation needed" (RFC 792, 1191, 4) and ICMPv6's
// "packet too big" (RFC 4443, 3.2), read as far as they are about TCP, and shown to tcp_path.h, which believes
// them or not. Fast WTD context.
//
//     ICMP    type 3, code 4, checksum, 2 unused, MTU (16 bits)   the packet's IPv4 header, 8 bytes of TCP's
//     ICMPv6  type 2, code 0, checksum, MTU (32 bits)             as much of the packet as fits
#include "kernel/console.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "hooks.h"
#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/icmp.h"
#include "lwip/prot/icmp6.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/stats.h"
#include "tcp_hash.h"
#include "tcp_path.h"

#define QUOTED_TCP 8U // ports and sequence number are in it
#define SHOWN	   16U

struct too_big4 {
	uint8_t type, code;
	uint16_t checksum, unused, mtu;
	struct ip_hdr ip;
} __attribute__((packed));
struct too_big6 {
	uint8_t type, code;
	uint16_t checksum;
	uint32_t mtu;
	struct ip6_hdr ip;
	uint8_t tcp[QUOTED_TCP];
} __attribute__((packed));
_Static_assert(sizeof(struct too_big4) == 28 && sizeof(struct too_big6) == 56, "as on the wire");

static uint32_t word_at(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

// The packet was ours: its source is our end.
static void too_big(const ip_addr_t *local, const ip_addr_t *remote, const uint8_t *tcp,
		    uint32_t mtu, uint32_t length)
{
	struct tcp_tuple tuple;
	uint32_t ports = word_at(tcp);

	tcp_tuple_fill(&tuple, local, (uint16_t)(ports >> 16), remote, (uint16_t)ports);
	tcp_path_too_big(&tuple, word_at(tcp + 4), mtu, length);
}

int path_mtu_unreachable(struct pbuf *p)
{
	const struct too_big4 *message = p->payload;
	ip_addr_t local, remote;
	uint32_t header;

	if (p->len < sizeof(*message) || message->code != ICMP_DUR_FRAG)
		return false;
	header = IPH_HL_BYTES(&message->ip);
	if (IPH_V(&message->ip) != 4 || header < IP_HLEN ||
	    IPH_PROTO(&message->ip) != IP_PROTO_TCP ||
	    IPH_OFFSET(&message->ip) & PP_HTONS(IP_OFFMASK) ||
	    p->len < sizeof(*message) - IP_HLEN + header + QUOTED_TCP)
		return false;
	if (inet_chksum_pbuf(p)) {
		ICMP_STATS_INC(icmp.chkerr);
		return true;
	}
	ip_addr_set_ip4_u32_val(local, message->ip.src.addr);
	ip_addr_set_ip4_u32_val(remote, message->ip.dest.addr);
	too_big(&local, &remote, (const uint8_t *)&message->ip + header, lwip_ntohs(message->mtu),
		lwip_ntohs(IPH_LEN(&message->ip)));
	return true;
}

int path_mtu_too_big(struct pbuf *p, struct netif *arrival)
{
	const struct too_big6 *message = p->payload;
	ip_addr_t local = *IP6_ADDR_ANY, remote = *IP6_ADDR_ANY;

	if (p->len < sizeof(*message) || IP6H_NEXTH(&message->ip) != IP6_NEXTH_TCP)
		return false;
	ip6_addr_copy_from_packed(*ip_2_ip6(&local), message->ip.src);
	ip6_addr_copy_from_packed(*ip_2_ip6(&remote), message->ip.dest);
	ip6_addr_assign_zone(ip_2_ip6(&local), IP6_UNICAST, arrival);
	ip6_addr_assign_zone(ip_2_ip6(&remote), IP6_UNICAST, arrival);
	too_big(&local, &remote, message->tcp, lwip_ntohl(message->mtu),
		IP6_HLEN + IP6H_PLEN(&message->ip));
	return true;
}

static void show(void)
{
	struct tcp_path_entry entry;
	char text[IPADDR_STRLEN_MAX];

	for (unsigned n = 0; n < SHOWN && tcp_path_entry(n, &entry); n++)
		console_printf("Packets to %s are at most %u bytes (for %u s)\n",
			       ipaddr_ntoa_r(&entry.to, text, sizeof(text)), entry.mtu,
			       entry.age_s);
	if (tcp_path_entries > SHOWN)
		console_printf("... and to %u addresses more less than a link's\n",
			       tcp_path_entries - SHOWN);
}
CONSOLE_SECTION(path_mtu_config, "CONFIG", 42, show);
