// SPDX-License-Identifier: BSD-2-Clause
// Network interfaces as programs ask for them on any socket (netdevice(7)): names, addresses, flags. "lo" has number 1,
// the cards are "eth0" and so on from 2. They are configured by the kernel's command line: programs only look.
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/usercopy.h"
#include "net/iface.h"
#include "net/socket.h"

enum {
	SIOCGIFNAME = 0x8910,
	SIOCGIFCONF = 0x8912,
	SIOCGIFFLAGS,
	SIOCGIFADDR = 0x8915,
	SIOCGIFDSTADDR = 0x8917,
	SIOCGIFBRDADDR = 0x8919,
	SIOCGIFNETMASK = 0x891b,
	SIOCGIFMETRIC = 0x891d,
	SIOCGIFMTU = 0x8921,
	SIOCGIFHWADDR = 0x8927,
	SIOCGIFINDEX = 0x8933,
	SIOCGIFTXQLEN = 0x8942,
	SIOCGIFMAP = 0x8970,
};
enum {
	IFF_UP = 1,
	IFF_BROADCAST = 2,
	IFF_LOOPBACK = 8,
	IFF_RUNNING = 0x40,
	IFF_MULTICAST = 0x1000,
	IFF_LOWER_UP = 0x10000 // beyond what struct ifreq has room for
};
enum { ARPHRD_ETHER = 1, ARPHRD_LOOPBACK = 772 };
#define LOOPBACK_NUMBER SOCKET_IFACE_LOOPBACK
#define LOOPBACK_MTU	65536

struct ifreq {
	char name[16];
	union {
		struct {
			uint16_t family;
			uint8_t bytes[22];
		} address;
		int32_t number;
		int16_t flags;
		uint8_t all[24];
	};
};
_Static_assert(sizeof(struct ifreq) == 40, "struct ifreq");
struct ifconf {
	int32_t bytes, pad;
	uint64_t at;
};

struct iface *socket_iface_card(int number)
{
	struct iface *i = iface_first();

	for (int n = LOOPBACK_NUMBER + 1; i && n < number; n++)
		i = i->next;
	return number > LOOPBACK_NUMBER ? i : NULL;
}

bool socket_iface_there(int number)
{
	return number == LOOPBACK_NUMBER || socket_iface_card(number);
}

int socket_iface_number(const struct netif *netif)
{
	int n = LOOPBACK_NUMBER + 1;

	for (const struct iface *i = iface_first(); i; i = i->next, n++)
		if (&i->netif == netif)
			return n;
	return LOOPBACK_NUMBER;
}

void socket_iface_name(int number, char name[SOCKET_IFACE_NAME])
{
	if (number == LOOPBACK_NUMBER)
		ksnprintf(name, SOCKET_IFACE_NAME, "lo");
	else
		ksnprintf(name, SOCKET_IFACE_NAME, "eth%d", number - LOOPBACK_NUMBER - 1);
}

int socket_iface_find(const char *name)
{
	char own[SOCKET_IFACE_NAME];

	for (int n = LOOPBACK_NUMBER; socket_iface_there(n); n++) {
		socket_iface_name(n, own);
		if (!strncmp(own, name, sizeof(own)))
			return n;
	}
	return 0;
}

// IPv4's. False: it has none (yet).
static bool address_of(int number, unsigned request, uint32_t *out)
{
	const struct iface *i = socket_iface_card(number);
	uint32_t address = i ? netif_ip4_addr(&i->netif)->addr : PP_HTONL(IPADDR_LOOPBACK);
	uint32_t mask = i ? netif_ip4_netmask(&i->netif)->addr : PP_HTONL(0xff000000UL);

	*out = request == SIOCGIFNETMASK   ? mask
	       : request == SIOCGIFBRDADDR ? (i ? address | ~mask : 0)
					   : address;
	return address;
}

static void put_address(struct ifreq *r, uint32_t address)
{
	memset(r->all, 0, sizeof(r->all));
	r->address.family = AF_INET;
	memcpy(r->address.bytes + 2, &address, sizeof(address));
}

uint32_t socket_iface_flags(int number)
{
	const struct iface *i = socket_iface_card(number);

	if (!i)
		return IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_LOWER_UP;
	return (netif_is_up(&i->netif) ? IFF_UP : 0) | IFF_BROADCAST | IFF_MULTICAST |
	       (netif_is_link_up(&i->netif) ? IFF_RUNNING | IFF_LOWER_UP : 0);
}

uint32_t socket_iface_mtu(int number)
{
	const struct iface *i = socket_iface_card(number);

	return i ? i->netif.mtu : LOOPBACK_MTU;
}

uint16_t socket_iface_hardware(int number)
{
	return socket_iface_card(number) ? ARPHRD_ETHER : ARPHRD_LOOPBACK;
}

// WTDs off.
static int answer(unsigned request, int number, struct ifreq *r)
{
	const struct iface *i = socket_iface_card(number);
	uint32_t address;

	switch (request) {
	case SIOCGIFFLAGS:
		r->flags = (int16_t)socket_iface_flags(number);
		return 0;
	case SIOCGIFADDR:
	case SIOCGIFDSTADDR:
	case SIOCGIFBRDADDR:
	case SIOCGIFNETMASK:
		if (!address_of(number, request, &address))
			return -EADDRNOTAVAIL;
		put_address(r, address);
		return 0;
	case SIOCGIFMETRIC:
		r->number = 0;
		return 0;
	case SIOCGIFMTU:
		r->number = (int32_t)socket_iface_mtu(number);
		return 0;
	case SIOCGIFHWADDR:
		memset(r->all, 0, sizeof(r->all));
		r->address.family = socket_iface_hardware(number);
		if (i)
			memcpy(r->address.bytes, i->netif.hwaddr, sizeof(i->netif.hwaddr));
		return 0;
	case SIOCGIFINDEX:
		r->number = number;
		return 0;
	case SIOCGIFTXQLEN:
		r->number = SOCKET_IFACE_QUEUE;
		return 0;
	case SIOCGIFMAP:
		memset(r->all, 0, sizeof(r->all));
		return 0;
	default:
		return -ENOTTY;
	}
}

static int get_one(unsigned request, uintptr_t argument)
{
	struct ifreq r;
	int number, error = user_get(&r, argument);

	if (error)
		return error;
	wtd_disable();
	if (request == SIOCGIFNAME) {
		number = r.number;
		error = socket_iface_there(number) ? 0 : -ENODEV;
		if (!error)
			socket_iface_name(number, r.name);
	} else {
		r.name[sizeof(r.name) - 1] = 0;
		number = socket_iface_find(r.name);
		error = number ? answer(request, number, &r) : -ENODEV;
	}
	wtd_enable();
	return error ? error : user_put(argument, &r);
}

// Those that have an IPv4 address, as many as there is room for; without a buffer: how much they need.
static int get_all(uintptr_t argument)
{
	struct ifconf conf;
	int32_t used = 0;
	int error = user_get(&conf, argument);

	for (int n = LOOPBACK_NUMBER; !error; n++) {
		struct ifreq r = {0};
		uint32_t address = 0;
		bool there, has;

		wtd_disable();
		there = socket_iface_there(n);
		has = there && address_of(n, SIOCGIFADDR, &address);
		wtd_enable();
		if (!there || (conf.at && conf.bytes - used < (int32_t)sizeof(r)))
			break;
		if (!has)
			continue;
		socket_iface_name(n, r.name);
		put_address(&r, address);
		if (conf.at)
			error = user_put(conf.at + (uint64_t)used, &r);
		used += (int32_t)sizeof(r);
	}
	conf.bytes = used;
	return error ? error : user_put(argument, &conf);
}

int socket_iface_ioctl(unsigned request, uintptr_t argument)
{
	switch (request) {
	case SIOCGIFCONF:
		return get_all(argument);
	case SIOCGIFNAME:
	case SIOCGIFFLAGS:
	case SIOCGIFADDR:
	case SIOCGIFDSTADDR:
	case SIOCGIFBRDADDR:
	case SIOCGIFNETMASK:
	case SIOCGIFMETRIC:
	case SIOCGIFMTU:
	case SIOCGIFHWADDR:
	case SIOCGIFINDEX:
	case SIOCGIFTXQLEN:
	case SIOCGIFMAP:
		return get_one(request, argument);
	default:
		return -ENOTTY;
	}
}
