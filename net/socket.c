// SPDX-License-Identifier: BSD-2-Clause
// What TCP and UDP sockets have in common: addresses, options, errors (net/socket.h).
#include "net/socket.h"
#include "kernel/kstring.h"
#include "kernel/vmm.h"
#include "lwip/err.h"
#include "lwip/ip.h"
#include "lwip/pbuf.h"
#include "net/loopback.h"

enum { IPPROTO_IPV6 = 41 };
enum {
	SO_REUSEADDR = 2,
	SO_TYPE,
	SO_ERROR,
	SO_BROADCAST = 6,
	SO_SNDBUF,
	SO_RCVBUF,
	SO_REUSEPORT = 15,
	SO_RCVTIMEO = 20,
	SO_SNDTIMEO,
	SO_PROTOCOL = 38,
	SO_DOMAIN,
	IPV6_V6ONLY = 26,
};

struct sockaddr_in {
	uint16_t family, port;
	uint32_t address;
	uint8_t zero[8];
};
struct sockaddr_in6 {
	uint16_t family, port;
	uint32_t flow;
	uint8_t address[16];
	uint32_t scope;
};
_Static_assert(sizeof(struct sockaddr_in) == 16 && sizeof(struct sockaddr_in6) == 28, "RFC 3493");

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; // RFC 4291, 2.5.5.2

int socket_to_ip(const struct socket_common *c, const struct socket_address *name, ip_addr_t *ip,
		 uint16_t *port)
{
	const struct sockaddr_in *in = (const void *)name;
	const struct sockaddr_in6 *in6 = (const void *)name;

	if (name->family != (c->v6 ? AF_INET6 : AF_INET))
		return -EAFNOSUPPORT;
	if (name->len < (c->v6 ? sizeof(*in6) : sizeof(*in)))
		return -EINVAL;
	*port = lwip_ntohs(in->port);
	if (!c->v6) {
		ip_addr_set_ip4_u32(ip, in->address);
	} else if (!memcmp(in6->address, mapped, sizeof(mapped))) {
		uint32_t address;

		memcpy(&address, in6->address + sizeof(mapped), sizeof(address));
		ip_addr_set_ip4_u32(ip, address);
	} else {
		static const uint8_t any[16];

		*ip = (ip_addr_t){.type = IPADDR_TYPE_V6};
		memcpy(ip_2_ip6(ip)->addr, in6->address, sizeof(in6->address));
		ip6_addr_clear_zone(ip_2_ip6(ip));
		if (!memcmp(in6->address, any, sizeof(any)) && !c->v6_only)
			ip->type = IPADDR_TYPE_ANY;
	}
	return 0;
}

void socket_from_ip(const struct socket_common *c, const ip_addr_t *ip, uint16_t port,
		    struct socket_address *out)
{
	struct sockaddr_in *in = (void *)out;
	struct sockaddr_in6 *in6 = (void *)out;

	*out = (struct socket_address){.family = c->v6 ? AF_INET6 : AF_INET,
				       .len = c->v6 ? sizeof(*in6) : sizeof(*in)};
	in->port = lwip_htons(port);
	if (!c->v6) {
		in->address = IP_IS_V4(ip) ? ip_2_ip4(ip)->addr : 0;
	} else if (IP_IS_V4_VAL(*ip) && !ip_addr_isany(ip)) {
		memcpy(in6->address, mapped, sizeof(mapped));
		memcpy(in6->address + sizeof(mapped), &ip_2_ip4(ip)->addr, 4);
	} else if (IP_IS_V6(ip)) {
		memcpy(in6->address, ip_2_ip6(ip)->addr, sizeof(in6->address));
	}
}

void socket_peer_ip(ip_addr_t *ip)
{
	if (!ip_addr_isany(ip))
		return;
	if (IP_IS_V4_VAL(*ip))
		ip_addr_set_ip4_u32_val(*ip, PP_HTONL(IPADDR_LOOPBACK));
	else
		IP_ADDR6_HOST(ip, 0, 0, 0, 1);
}

uint8_t socket_share_bits(const struct socket_common *c)
{
	uint8_t bits = (c->reuse_address ? SHARES_ADDRESS : 0) | (c->reuse_port ? SHARES_PORT : 0);

	return bits ? bits | SOF_REUSEADDR : 0;
}

bool socket_share_may(uint8_t mine, uint8_t other, bool other_listens)
{
	uint8_t both = mine & other;

	return both & SHARES_PORT || (both & SHARES_ADDRESS && !other_listens);
}

bool socket_same_place(const ip_addr_t *a, const ip_addr_t *b)
{
	bool both4 = IP_GET_TYPE(a) != IPADDR_TYPE_V6 && IP_GET_TYPE(b) != IPADDR_TYPE_V6;
	bool both6 = IP_GET_TYPE(a) != IPADDR_TYPE_V4 && IP_GET_TYPE(b) != IPADDR_TYPE_V4;

	return (both4 || both6) && (ip_addr_isany(a) || ip_addr_isany(b) || ip_addr_eq(a, b));
}

bool socket_may_bind(const ip_addr_t *ip)
{
	if (ip_addr_isany(ip) || ip_addr_ismulticast(ip) || loopback_owns(ip))
		return true;
	return IP_IS_V6(ip) ? ip6_addr_islinklocal(ip_2_ip6(ip))
			    : ip_2_ip4(ip)->addr == IPADDR_BROADCAST;
}

int socket_error_of(int8_t err)
{
	switch (err) {
	case ERR_OK:
		return 0;
	case ERR_MEM:
	case ERR_BUF:
		return -ENOBUFS;
	case ERR_TIMEOUT:
	case ERR_ABRT:
		return -ETIMEDOUT;
	case ERR_RTE:
		return -ENETUNREACH;
	case ERR_USE:
		return -EADDRINUSE;
	case ERR_ISCONN:
		return -EISCONN;
	case ERR_CONN:
		return -ENOTCONN;
	case ERR_RST:
	case ERR_CLSD:
		return -ECONNRESET;
	default:
		return -EINVAL;
	}
}

int socket_set_common(struct stream *s, int level, int name, const void *value, uint32_t len)
{
	struct socket_common *c = socket_common(s);
	int n;

	if (level == SOL_SOCKET && name == SO_RCVTIMEO)
		return socket_get_timeout(value, len, &c->receive_ns);
	if (level == SOL_SOCKET && name == SO_SNDTIMEO)
		return socket_get_timeout(value, len, &c->send_ns);
	if (socket_get_int(value, len, &n))
		return -EINVAL;
	if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && c->v6) {
		c->v6_only = n;
		return 0;
	}
	if (level != SOL_SOCKET)
		return -ENOPROTOOPT;
	switch (name) {
	case SO_REUSEADDR:
		c->reuse_address = n;
		return 0;
	case SO_REUSEPORT:
		c->reuse_port = n;
		return 0;
	case SO_BROADCAST:
		c->broadcast = n;
		return 0;
	case SO_RCVBUF:
		c->receive_bytes = (uint32_t)MAX(n, 0);
		return 0;
	case SO_SNDBUF:
		c->send_bytes = (uint32_t)MAX(n, 0);
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

int socket_get_common(struct stream *s, int level, int name, int type, void *value, uint32_t *len)
{
	const struct socket_common *c = socket_common(s);

	if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && c->v6)
		return socket_put_int(value, len, c->v6_only);
	if (level != SOL_SOCKET)
		return -ENOPROTOOPT;
	switch (name) {
	case SO_TYPE:
		return socket_put_int(value, len, type);
	case SO_ERROR:
		return socket_put_int(value, len, socket_take_error(s));
	case SO_REUSEADDR:
		return socket_put_int(value, len, c->reuse_address);
	case SO_REUSEPORT:
		return socket_put_int(value, len, c->reuse_port);
	case SO_BROADCAST:
		return socket_put_int(value, len, c->broadcast);
	case SO_RCVBUF:
		return socket_put_int(value, len, (int)c->receive_bytes);
	case SO_SNDBUF:
		return socket_put_int(value, len, (int)c->send_bytes);
	case SO_DOMAIN:
		return socket_put_int(value, len, c->v6 ? AF_INET6 : AF_INET);
	case SO_PROTOCOL:
		return socket_put_int(value, len, type == SOCK_STREAM ? 6 : 17);
	case SO_RCVTIMEO:
		return socket_put_timeout(value, len, c->receive_ns);
	case SO_SNDTIMEO:
		return socket_put_timeout(value, len, c->send_ns);
	default:
		return -ENOPROTOOPT;
	}
}

int socket_take_error(struct stream *s)
{
	return __atomic_exchange_n(&socket_common(s)->error, 0, __ATOMIC_ACQ_REL);
}

void socket_told(struct stream *s, int error)
{
	(void)__atomic_compare_exchange_n(&socket_common(s)->error, &error, 0, false,
					  __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

uint64_t socket_receive_timeout(struct stream *s)
{
	return socket_common(s)->receive_ns;
}

uint64_t socket_send_timeout(struct stream *s)
{
	return socket_common(s)->send_ns;
}

static int make(int family, int type, int protocol, struct stream **out)
{
	if (family == AF_NETLINK)
		return socket_netlink_new(type, protocol, out);
	if (family != AF_INET && family != AF_INET6)
		return -EAFNOSUPPORT;
	if (type == SOCK_STREAM)
		return protocol && protocol != 6 ? -EPROTONOSUPPORT
						 : socket_tcp_new(family == AF_INET6, out);
	if (type == SOCK_DGRAM)
		return protocol && protocol != 17 ? -EPROTONOSUPPORT
						  : socket_udp_new(family == AF_INET6, out);
	return -EPROTOTYPE;
}

void socket_init(void)
{
	socket_maker_register(make, socket_iface_ioctl);
}
