// SPDX-License-Identifier: BSD-2-Clause
// ifaces DIRECTORY: what sockets tell of network interfaces (SIOCGIF...), and of a datagram beside its bytes
// (IP_PKTINFO and its kin). Runs on Linux, too. "ok", or what went wrong.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "must.h"

#define FAILS(call, error) (errno = 0, (call) == -1 && errno == (error))

static struct ifreq asked(int fd, unsigned long request, const char *name)
{
	struct ifreq r = {0};

	strcpy(r.ifr_name, name);
	MUST(!ioctl(fd, request, &r));
	return r;
}

static struct in_addr address_in(const struct sockaddr *name)
{
	return ((const struct sockaddr_in *)(const void *)name)->sin_addr;
}

static void interfaces(int type)
{
	struct ifreq all[32], r;
	struct ifconf conf = {.ifc_len = sizeof(all), .ifc_req = all}, wanted = {0};
	int fd = socket(AF_INET, type, 0), loopbacks = 0;

	MUST(fd >= 0 && !ioctl(fd, SIOCGIFCONF, &wanted) && !ioctl(fd, SIOCGIFCONF, &conf));
	MUST(conf.ifc_len == wanted.ifc_len && conf.ifc_len > 0 && conf.ifc_len % sizeof(r) == 0);
	for (size_t n = 0; n < (size_t)conf.ifc_len / sizeof(r); n++) {
		const char *name = all[n].ifr_name;
		int number = asked(fd, SIOCGIFINDEX, name).ifr_ifindex;

		MUST(number > 0 && asked(fd, SIOCGIFMTU, name).ifr_mtu >= 1280);
		r = asked(fd, SIOCGIFADDR, name);
		MUST(address_in(&r.ifr_addr).s_addr == address_in(&all[n].ifr_addr).s_addr);
		r = (struct ifreq){.ifr_ifindex = number};
		MUST(!ioctl(fd, SIOCGIFNAME, &r) && !strcmp(r.ifr_name, name));
		MUST(asked(fd, SIOCGIFFLAGS, name).ifr_flags & IFF_UP);
		loopbacks += !strcmp(name, "lo");
	}
	MUST(loopbacks == 1 && asked(fd, SIOCGIFINDEX, "lo").ifr_ifindex == 1);
	MUST(asked(fd, SIOCGIFFLAGS, "lo").ifr_flags == (IFF_UP | IFF_LOOPBACK | IFF_RUNNING));
	MUST(asked(fd, SIOCGIFMTU, "lo").ifr_mtu == 65536 &&
	     asked(fd, SIOCGIFHWADDR, "lo").ifr_hwaddr.sa_family == 772);
	r = asked(fd, SIOCGIFADDR, "lo");
	MUST(address_in(&r.ifr_addr).s_addr == htonl(INADDR_LOOPBACK));
	r = asked(fd, SIOCGIFNETMASK, "lo");
	MUST(address_in(&r.ifr_netmask).s_addr == htonl(0xff000000));
	conf.ifc_len = (int)sizeof(r) - 1;
	MUST(!ioctl(fd, SIOCGIFCONF, &conf) && conf.ifc_len == 0);
	strcpy(r.ifr_name, "none");
	MUST(FAILS(ioctl(fd, SIOCGIFADDR, &r), ENODEV) &&
	     FAILS(ioctl(fd, SIOCGIFFLAGS, (void *)8), EFAULT));
	r.ifr_ifindex = 9999;
	MUST(FAILS(ioctl(fd, SIOCGIFNAME, &r), ENODEV) && !close(fd));
}

struct notes {
	uint8_t to[16];
	int interface, ttl, tos;
};

// One datagram, and what came with it.
static struct notes receive(int fd, int v6)
{
	char bytes[8], control[256];
	struct iovec part = {bytes, sizeof(bytes)};
	struct msghdr m = {.msg_iov = &part,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct notes notes = {.interface = -1, .ttl = -1, .tos = -1};

	MUST(recvmsg(fd, &m, 0) == 2 && !memcmp(bytes, "hi", 2) && !(m.msg_flags & MSG_CTRUNC));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		const void *data = CMSG_DATA(c);

		MUST(c->cmsg_level == (v6 ? IPPROTO_IPV6 : IPPROTO_IP));
		if (!v6 && c->cmsg_type == IP_PKTINFO) {
			notes.interface = ((const struct in_pktinfo *)data)->ipi_ifindex;
			memcpy(notes.to, &((const struct in_pktinfo *)data)->ipi_addr, 4);
		} else if (v6 && c->cmsg_type == IPV6_PKTINFO) {
			notes.interface = (int)((const struct in6_pktinfo *)data)->ipi6_ifindex;
			memcpy(notes.to, &((const struct in6_pktinfo *)data)->ipi6_addr, 16);
		} else if (c->cmsg_type == (v6 ? IPV6_HOPLIMIT : IP_TTL)) {
			memcpy(&notes.ttl, data, sizeof(int));
		} else if (c->cmsg_type == (v6 ? IPV6_TCLASS : IP_TOS)) {
			notes.tos = *(const uint8_t *)data;
		}
	}
	return notes;
}

static void option(int fd, int level, int name, int value)
{
	int now = -1;
	socklen_t len = sizeof(now);

	MUST(!setsockopt(fd, level, name, &value, sizeof(value)));
	MUST(!getsockopt(fd, level, name, &now, &len) && now == value);
}

static struct sockaddr_in place(uint32_t address, int fd)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof(at);

	if (fd >= 0)
		MUST(!getsockname(fd, (void *)&at, &len));
	at.sin_addr.s_addr = htonl(address);
	return at;
}

// With that source; how it went.
static ssize_t send_from(int fd, struct sockaddr_in *to, uint32_t from)
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
		struct cmsghdr header;
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo)),
				.cmsg_level = IPPROTO_IP,
				.cmsg_type = IP_PKTINFO}};
	struct iovec part = {"hi", 2};
	struct msghdr m = {.msg_name = to,
			   .msg_namelen = sizeof(*to),
			   .msg_iov = &part,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(from)};

	memcpy(CMSG_DATA(&control.header), &info, sizeof(info));
	return sendmsg(fd, &m, 0);
}

static void over_ipv4(void)
{
	int to = socket(AF_INET, SOCK_DGRAM, 0), from = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in at = place(INADDR_ANY, -1), seen;
	uint32_t other = 0x7f040302;
	socklen_t len = sizeof(seen);
	struct notes n;

	MUST(!bind(to, (void *)&at, sizeof(at)));
	at = place(other, to);
	MUST(sendto(from, "hi", 2, 0, (void *)&at, sizeof(at)) == 2);
	n = receive(to, 0);
	MUST(n.interface == -1 && n.ttl == -1 && n.tos == -1); // nobody asked
	option(to, IPPROTO_IP, IP_PKTINFO, 1);
	option(to, IPPROTO_IP, IP_RECVTTL, 1);
	option(to, IPPROTO_IP, IP_RECVTOS, 1);
	MUST(sendto(from, "hi", 2, 0, (void *)&at, sizeof(at)) == 2);
	n = receive(to, 0);
	other = htonl(other);
	MUST(n.interface == 1 && !memcmp(n.to, &other, 4) && n.ttl == 64 && n.tos == 0);
	option(from, IPPROTO_IP, IP_TTL, 7);
	option(from, IPPROTO_IP, IP_TOS, 0x10);
	MUST(sendto(from, "hi", 2, 0, (void *)&at, sizeof(at)) == 2);
	n = receive(to, 0);
	MUST(n.ttl == 7 && n.tos == 0x10);
	MUST(setsockopt(from, IPPROTO_IP, IP_TTL, &(int){256}, sizeof(int)) == -1 &&
	     errno == EINVAL);
	MUST(send_from(from, &at, 0x7f010101) == 2 &&
	     recvfrom(to, &n, 2, MSG_PEEK, (void *)&seen, &len) == 2);
	MUST(seen.sin_addr.s_addr == htonl(0x7f010101) && receive(to, 0).interface == 1);
	MUST(send_from(from, &at, 0xc0000201) == -1); // 192.0.2.1 is nobody here
	MUST(!close(to) && !close(from));
}

static void over_ipv6(void)
{
	int to = socket(AF_INET6, SOCK_DGRAM, 0), from = socket(AF_INET6, SOCK_DGRAM, 0),
	    old = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in6 at = {.sin6_family = AF_INET6};
	struct sockaddr_in at4 = place(INADDR_LOOPBACK, -1);
	socklen_t len = sizeof(at);
	struct notes n;

	MUST(!bind(to, (void *)&at, len) && !getsockname(to, (void *)&at, &len));
	at.sin6_addr = in6addr_loopback;
	option(to, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	option(to, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
	option(to, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	option(from, IPPROTO_IPV6, IPV6_TCLASS, 0x20);
	MUST(sendto(from, "hi", 2, 0, (void *)&at, sizeof(at)) == 2);
	n = receive(to, 1);
	MUST(n.interface == 1 && !memcmp(n.to, &in6addr_loopback, 16) && n.ttl == 64 &&
	     n.tos == 0x20);
	at4.sin_port = at.sin6_port;
	MUST(sendto(old, "hi", 2, 0, (void *)&at4, sizeof(at4)) == 2);
	n = receive(to, 1);
	MUST(n.interface == 1 && !memcmp(n.to, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1", 16));
	close(to), close(from), close(old);
}

int main(void)
{
	interfaces(SOCK_STREAM);
	interfaces(SOCK_DGRAM);
	over_ipv4();
	over_ipv6();
	puts("ok");
	return 0;
}
