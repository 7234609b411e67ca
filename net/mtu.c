// SPDX-License-Identifier: BSD-2-Clause
// How long packets may be on a card's link: `mtu=`, else what DHCP says (option 26, RFC 2132, 5.1), else what
// the card has. TCP's segments, the MSS it announces and IPv4's fragments follow it. IPv6 is for links of 1,280
// bytes and more (RFC 8200, 5): with less from the command line a card has no IPv6; DHCP speaks for IPv4. Start,
// and fast WTD context.
#include "net/mtu.h"
#include "kernel/cmdline.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "hooks.h"
#include "lwip/ip6.h"
#include "lwip/netif.h"
#include "lwip/prot/dhcp.h"
#include "net/iface.h"
#include "tcp_path.h"

#define LEAST 576U // RFC 791, 3.2: what every host takes
#define MOST  1500U

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
	       "mtu=576 to 1500  the longest packet on the network cards' links, in bytes", parse);

void mtu_begin(struct iface *iface)
{
	if (!word)
		return;
	iface->netif.mtu = (u16_t)MIN(word, iface->dev->mtu);
	iface->netif.mtu6 = MAX(iface->netif.mtu, IP6_MIN_MTU_LENGTH);
}

bool mtu_takes_ip6(const struct iface *iface)
{
	return iface->netif.mtu >= IP6_MIN_MTU_LENGTH;
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
	netif->mtu = (u16_t)mtu;
	netif->mtu6 = (u16_t)MAX(mtu, IP6_MIN_MTU_LENGTH);
	kprintf("net: %s: packets of at most %u bytes, says DHCP\n", iface->dev->name, mtu);
	tcp_path_link(netif);
}
