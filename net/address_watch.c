// SPDX-License-Identifier: BSD-2-Clause
// See net/address_watch.h. A machine whose ARP says that our address is its own is an address conflict (RFC 5227,
// 2.4). We keep the address, as a server that others know by it has to ((c) there): we announce it again, at most
// once in ten seconds, say so, and count.
#include "net/address_watch.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/timer.h"
#include "kernel/wtd.h"
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/prot/etharp.h"
#include "net/iface.h"
#include "net/stack.h"
#include "netif/ethernet.h"

#define PATIENCE_NS                                                                                \
	(10 * NS_PER_SEC) // a card's link takes some three seconds, a server's answer one or two
#define DEFEND_NS (10 * NS_PER_SEC) // RFC 5227, 1.1: DEFEND_INTERVAL

static uint64_t conflicts, defended; // defended: clock_ns, 0: never
KSTAT_COUNTER(conflicts, "pagewire_arp_conflicts_total",
	      "ARP packets of others that said our IPv4 address was theirs.");

static void look(struct wtd *work)
{
	for (struct iface *iface = iface_first(); iface; iface = iface->next) {
		struct netif *netif = &iface->netif;

		if (!netif_is_link_up(netif))
			kprintf("net: %s: no link yet\n", iface->dev->name);
		else if (netif_dhcp_data(netif) && ip4_addr_isany_val(*netif_ip4_addr(netif)))
			kprintf("net: %s: no DHCP server has answered yet; it is asked on\n",
				iface->dev->name);
	}
}
static struct wtd look_work = WTD_INIT(look, "address watch");

void address_watch_start(void)
{
	wtd_post_after(&look_work, WTD_FAST, PATIENCE_NS);
}

static void conflict(struct netif *netif, const uint8_t *mac)
{
	const struct iface *iface = netif->state;
	char text[IP4ADDR_STRLEN_MAX];
	uint64_t now = clock_ns();

	conflicts++;
	if (defended && now - defended < DEFEND_NS)
		return;
	defended = now;
	ip4addr_ntoa_r(netif_ip4_addr(netif), text, sizeof(text));
	kprintf("net: %s: %02x:%02x:%02x:%02x:%02x:%02x has our address %s, too\n",
		iface->dev->name, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], text);
	etharp_gratuitous(netif);
}

static bool is_ours(const struct netif *netif, const struct etharp_hdr *arp)
{
	const ip4_addr_t *own = netif_ip4_addr(netif);

	return !ip4_addr_isany_val(*own) && !memcmp(&arp->sipaddr, own, sizeof(arp->sipaddr)) &&
	       memcmp(&arp->shwaddr, netif->hwaddr, ETH_HWADDR_LEN);
}

err_t address_watch_input(struct pbuf *p, struct netif *netif)
{
	const struct eth_hdr *frame = p->payload;

	if (p->len >= SIZEOF_ETH_HDR + SIZEOF_ETHARP_HDR && frame->type == PP_HTONS(ETHTYPE_ARP)) {
		const struct etharp_hdr *arp =
		    (const void *)((const uint8_t *)frame + SIZEOF_ETH_HDR);

		if (UNLIKELY(arp->proto == PP_HTONS(ETHTYPE_IP) && is_ours(netif, arp)))
			conflict(netif, arp->shwaddr.addr);
	}
	return ethernet_input(p, netif);
}
