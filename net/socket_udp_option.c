// SPDX-License-Identifier: BSD-2-Clause
// Options of UDP sockets and ancillary data of datagrams (net/socket.h; ip(7), ipv6(7) for the numbers): where a
// datagram was sent to, with what TTL and TOS it came, and which address an answer is to be from. WTDs off.
#include "kernel/kstring.h"
#include "lwip/ip.h"
#include "lwip/udp.h"
#include "net/loopback.h"
#include "net/socket.h"

enum { LEVEL_IP = 0, LEVEL_IPV6 = 41 };
enum {
	IP_TOS_OPTION = 1,
	IP_TTL_OPTION,
	IP_PKTINFO = 8,
	IP_MTU_DISCOVER = 10,
	IP_RECVERR,
	IP_RECVTTL,
	IP_RECVTOS,
};
enum {
	IPV6_UNICAST_HOPS = 16,
	IPV6_MTU_DISCOVER = 23,
	IPV6_RECVERR = 25,
	IPV6_RECVPKTINFO = 49,
	IPV6_PKTINFO,
	IPV6_RECVHOPLIMIT,
	IPV6_HOPLIMIT,
	IPV6_RECVTCLASS = 66,
	IPV6_TCLASS,
};

struct in_pktinfo {
	int32_t interface;
	uint32_t local, to;
};
struct in6_pktinfo {
	uint8_t to[16];
	uint32_t interface;
};
_Static_assert(sizeof(struct in_pktinfo) == 12 && sizeof(struct in6_pktinfo) == 20,
	       "ip(7), ipv6(7)");

void socket_udp_note(struct udp_notes *out)
{
	const struct ip_hdr *v4 = ip4_current_header();
	const struct ip6_hdr *v6 = ip6_current_header();
	bool six = ip_current_is_v6();

	*out = (struct udp_notes){.to = *ip_current_dest_addr(),
				  .interface = socket_iface_number(ip_current_input_netif()),
				  .ttl = six ? IP6H_HOPLIM(v6) : IPH_TTL(v4),
				  .tos = six ? (uint8_t)IP6H_TC(v6) : IPH_TOS(v4)};
}

static void tell_to(bool v6, const struct udp_notes *notes, struct socket_message *m)
{
	const struct socket_common as = {.v6 = true};
	struct socket_address name;
	struct in6_pktinfo six = {.interface = (uint32_t)notes->interface};
	struct in_pktinfo four = {.interface = notes->interface};

	if (v6) {
		socket_from_ip(&as, &notes->to, 0, &name); // mapped, if it is an IPv4 address
		memcpy(six.to, name.bytes + 6, sizeof(six.to));
		control_put(m, LEVEL_IPV6, IPV6_PKTINFO, &six, sizeof(six));
	} else {
		four.to = four.local = ip_2_ip4(&notes->to)->addr;
		control_put(m, LEVEL_IP, IP_PKTINFO, &four, sizeof(four));
	}
}

void socket_udp_tell(bool v6, const struct udp_options *o, const struct udp_notes *notes,
		     struct socket_message *m)
{
	int ttl = notes->ttl, tos = notes->tos;

	if (o->tell_to)
		tell_to(v6, notes, m);
	if (o->tell_ttl && v6)
		control_put(m, LEVEL_IPV6, IPV6_HOPLIMIT, &ttl, sizeof(ttl));
	else if (o->tell_ttl)
		control_put(m, LEVEL_IP, IP_TTL_OPTION, &ttl, sizeof(ttl));
	if (o->tell_tos && v6)
		control_put(m, LEVEL_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
	else if (o->tell_tos)
		control_put(m, LEVEL_IP, IP_TOS_OPTION, &notes->tos, sizeof(notes->tos));
}

int socket_udp_source(const struct socket_message *m, ip_addr_t *from)
{
	const struct socket_common as6 = {.v6 = true, .v6_only = true};
	struct socket_address name = {.family = AF_INET6, .len = 28};
	struct control c;
	uint32_t at = 0;
	uint16_t port;
	int more, found = 0;

	while ((more = control_next(m, &at, &c)) > 0) {
		if (c.level == LEVEL_IP && c.type == IP_PKTINFO) {
			struct in_pktinfo four;

			if (c.len != sizeof(four))
				return -EINVAL;
			memcpy(&four, c.data, sizeof(four));
			ip_addr_set_ip4_u32(from, four.local);
			found = four.local != 0;
		} else if (c.level == LEVEL_IPV6 && c.type == IPV6_PKTINFO) {
			if (c.len != sizeof(struct in6_pktinfo))
				return -EINVAL;
			memcpy(name.bytes + 6, c.data, 16);
			found = !socket_to_ip(&as6, &name, from, &port) && !ip_addr_isany(from);
		} else if (c.level != LEVEL_IP && c.level != LEVEL_IPV6) {
			return -EINVAL;
		}
	}
	return more < 0 ? more : found && !loopback_owns(from) ? -EINVAL : found;
}

static bool *flag_of(bool v6, struct udp_options *o, int level, int name)
{
	if (level == LEVEL_IPV6 && v6)
		return name == IPV6_RECVPKTINFO	   ? &o->tell_to
		       : name == IPV6_RECVHOPLIMIT ? &o->tell_ttl
		       : name == IPV6_RECVTCLASS   ? &o->tell_tos
						   : NULL;
	if (level == LEVEL_IP && !v6)
		return name == IP_PKTINFO   ? &o->tell_to
		       : name == IP_RECVTTL ? &o->tell_ttl
		       : name == IP_RECVTOS ? &o->tell_tos
					    : NULL;
	return NULL;
}

// The byte of the pcb that an option sets; null: none.
static u8_t *byte_of(struct udp_pcb *pcb, int level, int name)
{
	bool six = level == LEVEL_IPV6;

	if (name == (six ? IPV6_UNICAST_HOPS : IP_TTL_OPTION))
		return &pcb->ttl;
	return name == (six ? IPV6_TCLASS : IP_TOS_OPTION) ? &pcb->tos : NULL;
}

int socket_udp_set(bool v6, struct udp_options *o, struct udp_pcb *pcb, int level, int name, int n)
{
	bool *flag = flag_of(v6, o, level, name), six = level == LEVEL_IPV6, ttl;
	u8_t *byte;

	if (level != LEVEL_IP && (level != LEVEL_IPV6 || !v6))
		return -ENOPROTOOPT;
	if (flag) {
		*flag = n;
		return 0;
	}
	byte = byte_of(pcb, level, name);
	if (byte) {
		ttl = byte == &pcb->ttl;
		if (n == -1 && (ttl || six))
			n = ttl ? UDP_TTL : 0;
		if (n < ttl || n > 255)
			return -EINVAL;
		*byte = (u8_t)n;
		return 0;
	}
	// Nothing is cut or told by routers here.
	return name == (six ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER) ||
		       name == (six ? IPV6_RECVERR : IP_RECVERR)
		   ? 0
		   : -ENOPROTOOPT;
}

int socket_udp_get(bool v6, const struct udp_options *o, const struct udp_pcb *pcb, int level,
		   int name, int *n)
{
	struct udp_options copy = *o;
	const bool *flag = flag_of(v6, &copy, level, name);
	const u8_t *byte = level == LEVEL_IP || (level == LEVEL_IPV6 && v6)
			       ? byte_of((struct udp_pcb *)(uintptr_t)pcb, level, name)
			       : NULL;

	if (!flag && !byte)
		return -ENOPROTOOPT;
	*n = flag ? *flag : *byte;
	return 0;
}
