// SPDX-License-Identifier: BSD-2-Clause
// How long packets may be on a card's link: `mtu=`, else what DHCP says (option 26, RFC 2132, 5.1), else 1,500
// bytes; at most what the card takes. TCP's segments, the MSS it announces, IPv4's fragments and the frames that the
// card lets in follow it. IPv6 is for links of 1,280 bytes and more (RFC 8200, 5): with less from the command line a
// card has no IPv6. What a router advertises is for IPv6 only, and never more than the link's (RFC 2464, 2): it stays
// when DHCP says something later. Start, and fast WTD context.
#include "net/mtu.h"
#include "kernel/cmdline.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "hooks.h"
#include "lwip/ip6.h"
#include "lwip/netif.h"
#include "lwip/prot/dhcp.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "net/iface.h"
#include "tcp_path.h"

#define LEAST 576U			     // RFC 791, 3.2: what every host takes
#define MOST  (TCP_MSS + IP_HLEN + TCP_HLEN) // a frame of 16,128 bytes, the most that cards take

static uint32_t word; // 0: none

static bool parse(const char *value)
{
	uint32_t n = 0;

	if (!value || !*value)
		return false;
	for (; *value; value++) {
		if (*value < '0' || *value > '9' || n > MOST)
			return false;
		n = n * 10 + (uint32_t)(*value - '0');
	}
	if (n < LEAST || n > MOST)
		return false;
	word = n;
	return true;
}
CMDLINE_OPTION(mtu, "mtu",
	       "mtu=576 to 16110  the longest packet on the network cards' links, in bytes", parse);
_Static_assert(MOST == 16110, "as the option says");

uint16_t tcp_mss_offer = MTU_USUAL - IP_HLEN - TCP_HLEN;

static void use(struct iface *iface, uint32_t mtu)
{
	struct netif *netif = &iface->netif;
	uint32_t most = iface->advertised ? MIN(iface->advertised, mtu) : mtu;

	netif->mtu6 = (u16_t)MAX(most, IP6_MIN_MTU_LENGTH);
	netif->mtu = (u16_t)mtu;
	tcp_mss_offer = (uint16_t)MAX(tcp_mss_offer, mtu - IP_HLEN - TCP_HLEN);
	if (iface->dev->set_mtu)
		iface->dev->set_mtu(iface->dev, mtu);
}

void mtu_begin(struct iface *iface)
{
	if (word > iface->dev->mtu)
		kprintf("net: %s takes packets of at most %u bytes\n", iface->dev->name,
			iface->dev->mtu);
	if (word)
		use(iface, MIN(word, iface->dev->mtu));
}

bool mtu_takes_ip6(const struct iface *iface)
{
	return iface->netif.mtu >= IP6_MIN_MTU_LENGTH;
}

void mtu_advertised(struct netif *netif, uint32_t mtu)
{
	struct iface *iface = netif->state;

	iface->advertised = (uint16_t)MIN(mtu, UINT16_MAX);
	tcp_path_link(netif);
}

void mtu_dhcp_option(struct netif *netif, uint8_t message, uint8_t option, uint8_t bytes,
		     struct pbuf *p, uint16_t at)
{
	const struct iface *iface = netif->state;
	uint32_t mtu;

	if (message != DHCP_ACK || option != DHCP_OPTION_MTU || bytes != 2 || word)
		return;
	mtu = (uint32_t)pbuf_get_at(p, at) << 8 | pbuf_get_at(p, at + 1);
	if (mtu < LEAST)
		return;
	mtu = MIN(mtu, iface->dev->mtu);
	if (mtu == netif->mtu)
		return;
	use(netif->state, mtu);
	kprintf("net: %s: packets of at most %u bytes, says DHCP\n", iface->dev->name, mtu);
	tcp_path_link(netif);
}
