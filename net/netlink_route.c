// SPDX-License-Identifier: BSD-2-Clause
// What NETLINK_ROUTE tells (rtnetlink(7)): interfaces, their addresses, and the routes that follow from both. It is all
// made anew from lwIP's structures for each question (net/netlink.h).
#include "kernel/kstring.h"
#include "lwip/dhcp.h"
#include "lwip/ethip6.h"
#include "lwip/priv/nd6_priv.h"
#include "net/iface.h"
#include "net/netlink.h"

enum { NEWLINK = 16, GETLINK = 18, NEWADDR = 20, GETADDR = 22, NEWROUTE = 24, GETROUTE = 26 };
#define MESSAGE_MOST                                                                               \
	256 // of one message; the largest is an interface's, with 88 bytes of attributes

struct link_body { // struct ifinfomsg
	uint8_t family, pad;
	uint16_t hardware;
	int32_t number;
	uint32_t flags, change;
};
enum { LINK_ADDRESS = 1, LINK_BROADCAST, LINK_NAME, LINK_MTU, LINK_TXQLEN = 13, LINK_STATE = 16 };
enum { STATE_UNKNOWN = 0, STATE_DOWN = 2, STATE_UP = 6 }; // RFC 2863's

struct address_body { // struct ifaddrmsg
	uint8_t family, prefix, flags, scope;
	uint32_t number;
};
enum { ADDRESS_PEER = 1, ADDRESS_LOCAL, ADDRESS_LABEL, ADDRESS_BROADCAST, ADDRESS_FLAGS = 8 };
enum {
	FLAG_DUPLICATE = 0x08,
	FLAG_DEPRECATED = 0x20,
	FLAG_TENTATIVE = 0x40,
	FLAG_PERMANENT = 0x80
};
enum { SCOPE_GLOBAL = 0, SCOPE_LINK = 253, SCOPE_HOST = 254 };

struct route_body { // struct rtmsg
	uint8_t family, to_prefix, from_prefix, tos, table, by, scope, type;
	uint32_t flags;
};
enum { ROUTE_TO = 1, ROUTE_OUT = 4, ROUTE_GATEWAY, ROUTE_FROM = 7, ROUTE_TABLE = 15 };
enum {
	TABLE_MAIN = 254,
	BY_KERNEL = 2,
	BY_BOOT = 3,
	BY_ROUTER = 9,
	BY_DHCP = 16,
	TYPE_UNICAST = 1
};
_Static_assert(sizeof(struct link_body) == 16 && sizeof(struct address_body) == 8 &&
		   sizeof(struct route_body) == 12,
	       "rtnetlink(7)");

static void put_u32(struct netlink_answer *a, uint16_t type, uint32_t value)
{
	netlink_put(a, type, &value, sizeof(value));
}

static uint8_t prefix_of(uint32_t mask)
{
	uint32_t rest = ~lwip_ntohl(mask);

	return rest ? (uint8_t)__builtin_clz(rest) : 32;
}

// ---- interfaces ----

static void tell_link(struct netlink_answer *a, int number)
{
	static const uint8_t nowhere[6], all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	const struct iface *card = socket_iface_card(number);
	struct link_body *body = netlink_begin(a, NEWLINK, sizeof(*body), MESSAGE_MOST);
	uint8_t state = !card				 ? STATE_UNKNOWN
			: netif_is_link_up(&card->netif) ? STATE_UP
							 : STATE_DOWN;
	char name[SOCKET_IFACE_NAME];

	if (!body)
		return;
	body->hardware = socket_iface_hardware(number);
	body->number = number;
	body->flags = socket_iface_flags(number);
	socket_iface_name(number, name);
	netlink_put(a, LINK_NAME, name, (uint32_t)strlen(name) + 1);
	put_u32(a, LINK_TXQLEN, SOCKET_IFACE_QUEUE);
	netlink_put(a, LINK_STATE, &state, sizeof(state));
	put_u32(a, LINK_MTU, socket_iface_mtu(number));
	netlink_put(a, LINK_ADDRESS, card ? card->netif.hwaddr : nowhere, sizeof(nowhere));
	netlink_put(a, LINK_BROADCAST, card ? all : nowhere, sizeof(all));
}

static void all_links(struct netlink_answer *a)
{
	for (int n = SOCKET_IFACE_LOOPBACK; socket_iface_there(n); n++)
		tell_link(a, n);
}

// The one that the question names by its number or its name.
static int one_link(const struct netlink_header *question, struct netlink_answer *a)
{
	enum { NAME = LINK_NAME, OTHER_NAME = 53 };
	const struct link_body *asked = (const void *)(question + 1);
	const char *at = (const char *)(asked + 1);
	uint32_t left = question->len - (uint32_t)(sizeof(*question) + sizeof(*asked));
	int number = asked->number;

	for (uint32_t step; !number && left >= sizeof(struct netlink_attribute); at += step) {
		const struct netlink_attribute *t = (const void *)at;
		char name[SOCKET_IFACE_NAME] = "";

		if (t->len < sizeof(*t) || t->len > left)
			break;
		if (t->type == NAME || t->type == OTHER_NAME) {
			memcpy(name, t + 1, MIN(t->len - sizeof(*t), sizeof(name) - 1));
			number = socket_iface_find(name);
			if (!number)
				return -ENODEV;
		}
		step = MIN((uint32_t)ALIGN_UP(t->len, NLM_ALIGN), left);
		left -= step;
	}
	if (!number)
		return -EINVAL;
	if (!socket_iface_there(number))
		return -ENODEV;
	tell_link(a, number);
	return 1;
}

// ---- addresses ----

static void tell_address4(struct netlink_answer *a, int number)
{
	const struct iface *card = socket_iface_card(number);
	ip4_addr_t own = {PP_HTONL(IPADDR_LOOPBACK)}, mask = {PP_HTONL(0xff000000UL)};
	bool leased = card && dhcp_supplied_address(&card->netif);
	struct address_body *body;
	char name[SOCKET_IFACE_NAME];

	if (card) {
		own = *netif_ip4_addr(&card->netif);
		mask = *netif_ip4_netmask(&card->netif);
	}
	if (ip4_addr_isany_val(own))
		return;
	body = netlink_begin(a, NEWADDR, sizeof(*body), MESSAGE_MOST);
	if (!body)
		return;
	*body = (struct address_body){.family = AF_INET,
				      .prefix = prefix_of(mask.addr),
				      .flags = leased ? 0 : FLAG_PERMANENT,
				      .scope = !card			    ? SCOPE_HOST
					       : ip4_addr_islinklocal(&own) ? SCOPE_LINK
									    : SCOPE_GLOBAL,
				      .number = (uint32_t)number};
	put_u32(a, ADDRESS_PEER, own.addr);
	put_u32(a, ADDRESS_LOCAL, own.addr);
	if (card)
		put_u32(a, ADDRESS_BROADCAST, own.addr | ~mask.addr);
	socket_iface_name(number, name);
	netlink_put(a, ADDRESS_LABEL, name, (uint32_t)strlen(name) + 1);
	put_u32(a, ADDRESS_FLAGS, leased ? 0 : FLAG_PERMANENT);
}

static void tell_address6(struct netlink_answer *a, int number, const void *address, uint8_t prefix,
			  uint8_t scope, uint8_t flags)
{
	struct address_body *body = netlink_begin(a, NEWADDR, sizeof(*body), MESSAGE_MOST);

	if (!body)
		return;
	*body = (struct address_body){AF_INET6, prefix, flags, scope, (uint32_t)number};
	netlink_put(a, ADDRESS_PEER, address, 16);
	put_u32(a, ADDRESS_FLAGS, flags);
}

static void tell_addresses6(struct netlink_answer *a, int number)
{
	static const uint8_t loopback[16] = {[15] = 1};
	const struct iface *card = socket_iface_card(number);

	if (!card)
		tell_address6(a, number, loopback, 128, SCOPE_HOST, FLAG_PERMANENT);
	for (unsigned n = 0; card && n < LWIP_IPV6_NUM_ADDRESSES; n++) {
		const ip6_addr_t *own = netif_ip6_addr(&card->netif, n);
		uint8_t state = netif_ip6_addr_state(&card->netif, n), flags = 0;

		if (ip6_addr_isinvalid(state))
			continue;
		if (netif_ip6_addr_isstatic(&card->netif, n))
			flags = FLAG_PERMANENT;
		if (ip6_addr_isduplicated(state))
			flags |= FLAG_DUPLICATE;
		else if (ip6_addr_istentative(state))
			flags |= FLAG_TENTATIVE;
		else if (!ip6_addr_ispreferred(state))
			flags |= FLAG_DEPRECATED;
		tell_address6(a, number, own->addr, 64,
			      ip6_addr_islinklocal(own) ? SCOPE_LINK : SCOPE_GLOBAL, flags);
	}
}

static void all_addresses(struct netlink_answer *a, uint8_t family)
{
	for (int n = SOCKET_IFACE_LOOPBACK; family != AF_INET6 && socket_iface_there(n); n++)
		tell_address4(a, n);
	for (int n = SOCKET_IFACE_LOOPBACK; family != AF_INET && socket_iface_there(n); n++)
		tell_addresses6(a, n);
}

// ---- routes ----

// Its message, with where it goes out; attributes may follow. False: no memory.
static bool tell_route(struct netlink_answer *a, uint8_t family, uint8_t prefix, const void *to,
		       uint8_t by, uint8_t scope, const struct netif *out)
{
	struct route_body *body = netlink_begin(a, NEWROUTE, sizeof(*body), MESSAGE_MOST);

	if (!body)
		return false;
	*body = (struct route_body){.family = family,
				    .to_prefix = prefix,
				    .table = TABLE_MAIN,
				    .by = by,
				    .scope = scope,
				    .type = TYPE_UNICAST};
	put_u32(a, ROUTE_TABLE, TABLE_MAIN);
	if (prefix)
		netlink_put(a, ROUTE_TO, to, family == AF_INET ? 4 : 16);
	put_u32(a, ROUTE_OUT, (uint32_t)socket_iface_number(out));
	return true;
}

// Each card leads to its network, and the first one's gateway to all others: as lwIP has it.
static void routes4(struct netlink_answer *a)
{
	for (const struct iface *i = iface_first(); i; i = i->next) {
		const struct netif *netif = &i->netif;
		uint32_t own = netif_ip4_addr(netif)->addr, mask = netif_ip4_netmask(netif)->addr;
		uint32_t gateway = netif_ip4_gw(netif)->addr, to = own & mask;

		if (!own)
			continue;
		if (netif == netif_default && gateway &&
		    tell_route(a, AF_INET, 0, NULL,
			       dhcp_supplied_address(netif) ? BY_DHCP : BY_BOOT, SCOPE_GLOBAL,
			       netif))
			put_u32(a, ROUTE_GATEWAY, gateway);
		if (tell_route(a, AF_INET, prefix_of(mask), &to, BY_KERNEL, SCOPE_LINK, netif))
			put_u32(a, ROUTE_FROM, own);
	}
}

static void routes6(struct netlink_answer *a)
{
	static const uint8_t local[16] = {0xfe, 0x80};

	for (unsigned n = 0; n < LWIP_ND6_NUM_PREFIXES; n++)
		if (prefix_list[n].netif && prefix_list[n].invalidation_timer)
			tell_route(a, AF_INET6, 64, prefix_list[n].prefix.addr, BY_KERNEL,
				   SCOPE_GLOBAL, prefix_list[n].netif);
	for (const struct iface *i = iface_first(); i; i = i->next)
		tell_route(a, AF_INET6, 64, local, BY_KERNEL, SCOPE_GLOBAL, &i->netif);
	for (unsigned n = 0; n < LWIP_ND6_NUM_ROUTERS; n++) {
		const struct nd6_neighbor_cache_entry *router =
		    default_router_list[n].neighbor_entry;

		if (router && default_router_list[n].invalidation_timer &&
		    tell_route(a, AF_INET6, 0, NULL, BY_ROUTER, SCOPE_GLOBAL, router->netif))
			netlink_put(a, ROUTE_GATEWAY, router->next_hop_address.addr, 16);
	}
}

// ---- questions ----

static void done(struct netlink_answer *a)
{
	(void)netlink_begin(a, NLMSG_DONE, sizeof(int32_t), MESSAGE_MOST); // 0: all of it
}

int netlink_route_request(const struct netlink_header *question, struct netlink_answer *a)
{
	// Questions begin with the family; a short one (struct rtgenmsg) is for all that there is.
	uint8_t family = question->len > sizeof(*question) ? *(const uint8_t *)(question + 1) : 0;
	bool dump = (question->flags & NLM_DUMP) == NLM_DUMP;

	if (question->len == sizeof(*question))
		return -EINVAL;
	if (question->type == GETLINK && !dump)
		return question->len < sizeof(*question) + sizeof(struct link_body)
			   ? -EINVAL
			   : one_link(question, a);
	if (!dump ||
	    (question->type != GETLINK && question->type != GETADDR && question->type != GETROUTE))
		return -EOPNOTSUPP;
	a->flags = NLM_MULTI;
	if (question->type == GETLINK) {
		all_links(a);
	} else if (question->type == GETADDR) {
		all_addresses(a, family);
	} else {
		if (family != AF_INET6)
			routes4(a);
		if (family != AF_INET)
			routes6(a);
	}
	done(a);
	return 1;
}
