// SPDX-License-Identifier: BSD-2-Clause
// links DIRECTORY: what a netlink socket tells of interfaces, addresses and routes, held against what other calls say
// of them; how it answers what it does not do. Runs on Linux, too. "ok", or what went wrong.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "must.h"

#define FAILS(call, error) (errno = 0, (call) == -1 && errno == (error))

enum { // linux/netlink.h, linux/rtnetlink.h, which musl has not
	NETLINK_ROUTE = 0,
	NLM_F_REQUEST = 1,
	NLM_F_MULTI = 2,
	NLM_F_ACK = 4,
	NLM_F_DUMP = 0x300,
	NLMSG_NOOP = 1,
	NLMSG_ERROR,
	NLMSG_DONE,
	RTM_NEWLINK = 16,
	RTM_GETLINK = 18,
	RTM_NEWADDR = 20,
	RTM_GETADDR = 22,
	RTM_NEWROUTE = 24,
	RTM_GETROUTE = 26,
	RTM_NONE = 5000,
	IFLA_IFNAME = 3,
};
struct sockaddr_nl {
	uint16_t nl_family, nl_pad;
	uint32_t nl_pid, nl_groups;
};
struct nlmsghdr {
	uint32_t nlmsg_len;
	uint16_t nlmsg_type, nlmsg_flags;
	uint32_t nlmsg_seq, nlmsg_pid;
};
struct nlmsgerr {
	int error;
	struct nlmsghdr msg;
};
struct ifinfomsg {
	uint8_t ifi_family, pad;
	uint16_t ifi_type;
	int ifi_index;
	unsigned ifi_flags, ifi_change;
};
struct rtattr {
	uint16_t rta_len, rta_type;
};
#define ALIGNED(bytes)	    (((bytes) + 3) & ~3U)
#define NLMSG_LENGTH(bytes) (sizeof(struct nlmsghdr) + (bytes))
#define ROUTE_BYTES	    12

static int netlink(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	MUST(fd >= 0);
	return fd;
}

// ---- by way of the C library ----

static void library(void)
{
	struct ifreq all[32];
	struct ifconf conf = {.ifc_len = sizeof(all), .ifc_req = all};
	struct if_nameindex *names = if_nameindex();
	struct ifaddrs *list;
	int fd = socket(AF_INET, SOCK_DGRAM, 0), links = 0, seen = 0, named = 0, loopback6 = 0;

	MUST(fd >= 0 && !ioctl(fd, SIOCGIFCONF, &conf) && names && !getifaddrs(&list));
	for (int n = 0; names[n].if_index; n++, named++) {
		char name[IF_NAMESIZE];

		MUST(if_indextoname(names[n].if_index, name) && !strcmp(name, names[n].if_name));
		MUST(if_nametoindex(name) == names[n].if_index);
	}
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		const struct sockaddr_ll *link = (const void *)i->ifa_addr;
		const struct sockaddr_in6 *six = (const void *)i->ifa_addr;
		struct ifreq r = {0};

		strcpy(r.ifr_name, i->ifa_name);
		if (!i->ifa_addr)
			continue;
		if (i->ifa_addr->sa_family == AF_PACKET) {
			links++;
			MUST(link->sll_ifindex == (int)if_nametoindex(i->ifa_name));
			MUST(!ioctl(fd, SIOCGIFFLAGS, &r));
			MUST((uint16_t)r.ifr_flags == (uint16_t)i->ifa_flags);
			MUST(!ioctl(fd, SIOCGIFHWADDR, &r) &&
			     r.ifr_hwaddr.sa_family == link->sll_hatype);
			MUST(link->sll_halen != 6 || // a tunnel's
			     !memcmp(r.ifr_hwaddr.sa_data, link->sll_addr, 6));
		} else if (i->ifa_addr->sa_family == AF_INET6) {
			loopback6 += !memcmp(&six->sin6_addr, &in6addr_loopback, 16) &&
				     !strcmp(i->ifa_name, "lo");
		}
	}
	for (size_t n = 0; n < (size_t)conf.ifc_len / sizeof(*all); n++, seen = 0) {
		for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
			struct ifreq r = all[n];

			if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET ||
			    memcmp((char *)i->ifa_addr + 4, (char *)&all[n].ifr_addr + 4, 4) != 0)
				continue;
			seen++;
			MUST(!strcmp(i->ifa_name, r.ifr_name) && !ioctl(fd, SIOCGIFNETMASK, &r));
			MUST(!memcmp((char *)i->ifa_netmask + 4, (char *)&r.ifr_netmask + 4, 4));
		}
		MUST(seen == 1);
	}
	MUST(links == named && loopback6 <= 1);
	freeifaddrs(list);
	if_freenameindex(names);
	close(fd);
}

// ---- by hand ----

struct question {
	struct nlmsghdr h;
	union {
		uint8_t family;
		struct ifinfomsg link;
	};
	char rest[64];
};

static struct question question(int type, int flags, uint32_t seq)
{
	return (struct question){.h = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
				       .nlmsg_type = (uint16_t)type,
				       .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
				       .nlmsg_seq = seq}};
}

static void ask(int fd, const struct question *q)
{
	MUST(send(fd, q, q->h.nlmsg_len, 0) == (ssize_t)q->h.nlmsg_len);
}

// Reads an answer to its end: how many messages of that type it has. Each has the question's number and our port.
static int count(int fd, uint32_t seq, int type)
{
	struct sockaddr_nl self;
	socklen_t len = sizeof(self);
	int found = 0;

	MUST(!getsockname(fd, (void *)&self, &len) && len == sizeof(self) && self.nl_pid);
	for (;;) {
		static char bytes[65536] __attribute__((aligned(8)));
		struct sockaddr_nl from;
		socklen_t from_len = sizeof(from);
		ssize_t whole = recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC);
		ssize_t n = recvfrom(fd, bytes, sizeof(bytes), 0, (void *)&from, &from_len);

		MUST(n > 0 && n == whole && from_len == sizeof(from) && !from.nl_pid);
		for (ssize_t at = 0; at < n; found++) {
			const struct nlmsghdr *h = (void *)(bytes + at);

			at += ALIGNED(h->nlmsg_len);
			MUST(h->nlmsg_len >= sizeof(*h) && at <= n && h->nlmsg_seq == seq);
			MUST(h->nlmsg_pid == self.nl_pid && h->nlmsg_flags & NLM_F_MULTI);
			if (h->nlmsg_type == NLMSG_DONE) {
				MUST(!*(const int *)(const void *)(h + 1) && at == n);
				return found;
			}
			MUST(h->nlmsg_type == type);
		}
	}
}

// What one message that is no dump is answered with.
static int error_of(int fd, uint32_t seq, size_t repeated)
{
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		char rest[512];
	} answer;
	ssize_t n = recv(fd, &answer, sizeof(answer), 0);

	MUST(n >= (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)));
	MUST(answer.h.nlmsg_type == NLMSG_ERROR && answer.h.nlmsg_seq == seq &&
	     answer.e.msg.nlmsg_seq == seq);
	MUST(answer.h.nlmsg_len >= NLMSG_LENGTH(sizeof(int)) + repeated);
	return answer.e.error;
}

static void dumps(void)
{
	struct if_nameindex *names = if_nameindex();
	struct question two[2] = {question(RTM_GETLINK, NLM_F_DUMP, 7),
				  question(RTM_GETLINK, 0, 8)};
	char bytes[20];
	int fd = netlink(), named = 0, all, four, six;

	while (names[named].if_index)
		named++;
	if_freenameindex(names);
	ask(fd, &two[0]);
	MUST(count(fd, 7, RTM_NEWLINK) == named);
	two[0] = question(RTM_GETADDR, NLM_F_DUMP, 1);
	ask(fd, &two[0]);
	all = count(fd, 1, RTM_NEWADDR);
	two[0].family = AF_INET;
	ask(fd, &two[0]);
	four = count(fd, 1, RTM_NEWADDR);
	two[0].family = AF_INET6;
	ask(fd, &two[0]);
	six = count(fd, 1, RTM_NEWADDR);
	MUST(four >= 1 && four + six == all);
	two[0] = question(RTM_GETROUTE, NLM_F_DUMP, UINT32_MAX);
	two[0].h.nlmsg_len = NLMSG_LENGTH(ROUTE_BYTES);
	ask(fd, &two[0]);
	(void)count(fd, UINT32_MAX, RTM_NEWROUTE);
	// A packet that is longer than there is room for is cut off, and the next read has the next one.
	two[1].link.ifi_index = 1;
	ask(fd, &two[1]);
	MUST(recv(fd, bytes, sizeof(bytes), MSG_TRUNC) > (ssize_t)sizeof(bytes));
	MUST(FAILS(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), EAGAIN) && !close(fd));
}

static void one_by_one(void)
{
	struct question q = question(RTM_GETLINK, 0, 3);
	struct rtattr name = {.rta_len = sizeof(name) + 3, .rta_type = IFLA_IFNAME};
	char answer[4096] __attribute__((aligned(8)));
	const struct nlmsghdr *h = (void *)answer;
	const struct ifinfomsg *link = (const void *)(h + 1);
	int fd = netlink();

	memcpy(q.rest, &name, sizeof(name));
	memcpy(q.rest + sizeof(name), "lo", 3);
	q.h.nlmsg_len = NLMSG_LENGTH(sizeof(q.link) + 8);
	ask(fd, &q);
	MUST(recv(fd, answer, sizeof(answer), 0) == (ssize_t)h->nlmsg_len);
	MUST(h->nlmsg_type == RTM_NEWLINK && link->ifi_index == 1 && link->ifi_type == 772 &&
	     !(h->nlmsg_flags & NLM_F_MULTI) && link->ifi_flags & IFF_LOOPBACK);
	strcpy(q.rest + sizeof(name), "no");
	ask(fd, &q);
	MUST(error_of(fd, 3, q.h.nlmsg_len) == -ENODEV);
	q = question(RTM_GETLINK, 0, 4);
	q.link.ifi_index = 99999;
	ask(fd, &q);
	MUST(error_of(fd, 4, q.h.nlmsg_len) == -ENODEV);
	q.link.ifi_index = 0;
	ask(fd, &q);
	MUST(error_of(fd, 4, 0) == -EINVAL && !close(fd));
}

static void what_is_not_there(void)
{
	struct question q = question(RTM_NONE, 0, 5), two[2];
	struct pollfd p = {.events = POLLIN | POLLOUT};
	int fd = netlink();

	p.fd = fd;
	ask(fd, &q);
	MUST(error_of(fd, 5, q.h.nlmsg_len) == -EOPNOTSUPP);
	q = question(NLMSG_NOOP, NLM_F_ACK, 6); // nothing to do, and that is said
	ask(fd, &q);
	MUST(poll(&p, 1, 0) == 1 && p.revents == (POLLIN | POLLOUT));
	MUST(error_of(fd, 6, sizeof(q.h)) == 0);
	q.h.nlmsg_flags = 0; // no question
	ask(fd, &q);
	q = question(RTM_GETLINK, 0, 6);
	q.h.nlmsg_len = 15; // no message
	MUST(send(fd, &q, sizeof(q), 0) == sizeof(q));
	q.h.nlmsg_len = sizeof(q) + 1; // longer than what came
	MUST(send(fd, &q, sizeof(q), 0) == sizeof(q));
	MUST(poll(&p, 1, 0) == 1 && p.revents == POLLOUT);
	two[0] = question(RTM_NONE, 0, 8); // two in one: each is answered
	two[0].h.nlmsg_len = sizeof(two[0]);
	two[1] = question(NLMSG_NOOP, NLM_F_ACK, 9);
	two[1].h.nlmsg_len = sizeof(two[1]);
	MUST(send(fd, two, sizeof(two), 0) == sizeof(two));
	MUST(error_of(fd, 8, sizeof(two[0])) == -EOPNOTSUPP && error_of(fd, 9, 0) == 0);
	MUST(FAILS(send(fd, (void *)8, 16, 0), EFAULT) && !close(fd));
}

static void ports(void)
{
	struct sockaddr_nl at = {.nl_family = AF_NETLINK}, other = at;
	socklen_t len = sizeof(at);
	int a = netlink(), b = netlink(), value = 0, pair[2];

	MUST(!getsockname(a, (void *)&other, &len) && !other.nl_pid && len == sizeof(at));
	MUST(!bind(a, (void *)&at, len) && !getsockname(a, (void *)&at, &len));
	MUST(at.nl_pid && at.nl_family == AF_NETLINK && !at.nl_groups);
	MUST(FAILS(bind(b, (void *)&at, len), EADDRINUSE));
	other.nl_pid = 0;
	MUST(!bind(b, (void *)&other, len) && !getsockname(b, (void *)&other, &len));
	MUST(other.nl_pid && other.nl_pid != at.nl_pid);
	MUST(FAILS(bind(b, (void *)&at, len), EINVAL) && !bind(a, (void *)&at, len));
	at.nl_family = AF_INET;
	MUST(FAILS(bind(a, (void *)&at, len), EINVAL) && FAILS(bind(a, (void *)&at, 4), EINVAL));
	len = sizeof(value);
	MUST(!getsockopt(a, SOL_SOCKET, SO_DOMAIN, &value, &len) && value == AF_NETLINK);
	MUST(!getsockopt(a, SOL_SOCKET, SO_PROTOCOL, &value, &len) && value == NETLINK_ROUTE);
	MUST(!getsockopt(a, SOL_SOCKET, SO_TYPE, &value, &len) && value == SOCK_RAW);
	MUST(FAILS(listen(a, 1), EOPNOTSUPP) && FAILS(accept(a, NULL, NULL), EOPNOTSUPP) &&
	     FAILS(shutdown(a, SHUT_RD), EOPNOTSUPP));
	MUST(FAILS(socket(AF_NETLINK, SOCK_STREAM, 0), ESOCKTNOSUPPORT) &&
	     FAILS(socketpair(AF_NETLINK, SOCK_RAW, 0, pair), EOPNOTSUPP));
	MUST(FAILS(socket(AF_NETLINK, SOCK_RAW, 100), EPROTONOSUPPORT));
	MUST(!close(a) && !close(b));
}

// Who asks and does not read is told, and what it reads afterwards is whole.
static void unread(void)
{
	struct question q = question(NLMSG_NOOP, NLM_F_ACK, 1);
	char answer[512];
	int fd = netlink(), told = 0, value = 4096;

	MUST(!setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, sizeof(value)));
	for (int n = 0; n < 1000; n++) {
		ask(fd, &q);
	}
	for (;;) {
		ssize_t n = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);

		told += n < 0 && errno == ENOBUFS;
		if (n < 0 && errno == EAGAIN)
			break;
		MUST(n == NLMSG_LENGTH(sizeof(struct nlmsgerr)) || (n < 0 && errno == ENOBUFS));
	}
	MUST(told >= 1);
	ask(fd, &q);
	MUST(error_of(fd, 1, 0) == 0 && !close(fd));
}

int main(void)
{
	library();
	dumps();
	one_by_one();
	what_is_not_there();
	ports();
	unread();
	puts("ok");
	return 0;
}
