// SPDX-License-Identifier: BSD-2-Clause
// The netlink socket (net/netlink.h): ports, questions as they come, answers that wait to be read.
#include "net/netlink.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/pool.h"
#include "kernel/process.h"

enum { NETLINK_ROUTE = 0, SOCK_RAW = 3, SOL_NETLINK = 270 };
enum { // options of SOL_NETLINK
	ADD_MEMBERSHIP = 1,
	DROP_MEMBERSHIP,
	NO_ENOBUFS = 5,
	CAP_ACK = 10,
	EXT_ACK,
};
enum { SO_PROTOCOL = 38, SO_DOMAIN };

struct netlink_address {
	uint16_t family, pad;
	uint32_t port, groups; // port 0: the kernel
};
_Static_assert(sizeof(struct netlink_address) == 12, "struct sockaddr_nl");

struct netlink_socket {
	struct socket_common common; // first
	struct message_queue answers;
	uint32_t port; // (W) 0: none yet
	bool capped;   // own calls: errors repeat the question's header only
	uint8_t type;  // constant
	struct netlink_socket *next;
};

static struct pool socket_pool =
    POOL_INIT("netlink socket", struct netlink_socket, 1024); // programs ask one by one
static struct netlink_socket *sockets;			      // (W) all of them
static uint64_t lost;
KSTAT_COUNTER(lost, "pagewire_netlink_answers_lost_total",
	      "Answers for a program that had too many unread, or for lack of memory.");

static struct netlink_socket *netlink_of(struct stream *s)
{
	return CONTAINER_OF(socket_common(s), struct netlink_socket, common);
}

// ---- questions and answers ----

// WTDs off. As a whole, or not at all, which the next receive tells.
static void answer_send(struct netlink_socket *n, struct netlink_answer *a)
{
	uint32_t cost = a->packets * (uint32_t)sizeof(struct netlink_packet);

	if (a->failed ||
	    (cost && !message_may_put(&n->answers, MESSAGE_NORMAL, cost,
				      NETLINK_WAITING_MOST * sizeof(struct netlink_packet)))) {
		netlink_drop(a);
		lost++;
		n->common.error = ENOBUFS;
		stream_notify(&n->common.stream);
		return;
	}
	for (struct netlink_packet *p = a->first, *next; p; p = next) {
		next = p->next;
		message_put(&n->answers, &p->message);
	}
}

// WTDs off: how it went, and an answer if one is due.
static void ask(struct netlink_socket *n, const struct netlink_header *question)
{
	struct netlink_answer a = {.sequence = question->sequence, .port = n->port};
	int result = 0;

	if (!(question->flags & NLM_REQUEST))
		return;
	if (question->type >= NLMSG_FIRST)
		result = netlink_route_request(question, &a);
	if (result < 0 || (result == 0 && question->flags & NLM_ACK))
		netlink_error(&a, question, result, n->capped);
	answer_send(n, &a);
}

static void ask_all(struct netlink_socket *n, const char *bytes, uint32_t left)
{
	const struct netlink_header *question = (const void *)bytes;

	while (left >= sizeof(*question) && question->len >= sizeof(*question) &&
	       question->len <= left) {
		uint32_t step = MIN((uint32_t)ALIGN_UP(question->len, NLM_ALIGN), left);

		wtd_disable();
		ask(n, question);
		wtd_enable();
		left -= step;
		bytes += step;
		question = (const void *)bytes;
	}
}

// ---- ports ----

static bool taken(uint32_t port) // WTDs off
{
	for (const struct netlink_socket *n = sockets; n; n = n->next)
		if (n->port == port)
			return true;
	return false;
}

// WTDs off. One of its own: the process' number, and for further sockets of it a large one, as Linux has it.
static void give_port(struct netlink_socket *n)
{
	static uint32_t next; // (W)
	uint32_t port = (uint32_t)process_current()->pid;

	while (n->port == 0) {
		if (!taken(port))
			n->port = port;
		port = 0x80000000U | next++;
	}
}

static int get_name(const struct socket_address *from, struct netlink_address *to)
{
	if (from->len < sizeof(*to))
		return -EINVAL;
	memcpy(to, from, sizeof(*to));
	return to->family == AF_NETLINK ? 0 : -EINVAL;
}

static int netlink_bind(struct stream *s, const struct socket_address *name)
{
	struct netlink_socket *n = netlink_of(s);
	struct netlink_address at;
	int error = get_name(name, &at);

	if (error)
		return error;
	wtd_disable();
	if (at.port && n->port && n->port != at.port)
		error = -EINVAL;
	else if (at.port && !n->port && taken(at.port))
		error = -EADDRINUSE;
	else if (at.port)
		n->port = at.port;
	else if (!n->port)
		give_port(n);
	wtd_enable();
	return error;
}

static int netlink_connect(struct stream *s, const struct socket_address *name)
{
	struct netlink_address at;
	int error = name->family == 0 ? 0 : get_name(name, &at);

	if (error || name->family == 0)
		return error;
	return at.port ? -ECONNREFUSED : 0; // programs do not talk to each other here
}

static void put_name(uint32_t port, struct socket_address *out)
{
	struct netlink_address at = {.family = AF_NETLINK, .port = port};

	*out = (struct socket_address){.len = sizeof(at)};
	memcpy(out, &at, sizeof(at));
}

static int netlink_name(struct stream *s, bool peer, struct socket_address *out)
{
	put_name(peer ? 0 : netlink_of(s)->port, out);
	return 0;
}

// ---- bytes ----

static int64_t send(struct netlink_socket *n, struct stream_io *io, const struct socket_address *to)
{
	uint64_t bytes = io->left;
	struct netlink_packet *p;
	struct netlink_address at;
	int error = to ? get_name(to, &at) : 0;

	if (!error && to && at.port)
		error = -ECONNREFUSED;
	if (error)
		return error;
	// So that NLMSG_ERROR has room for it: its header, the number, the question.
	if (bytes > NETLINK_ROOM - sizeof(struct netlink_header) - sizeof(int32_t))
		return -EMSGSIZE;
	p = netlink_packet_new();
	if (!p)
		return -ENOBUFS;
	error = bytes ? stream_io_in(io, p->bytes, (size_t)bytes) : 0;
	if (!error) {
		wtd_disable();
		if (!n->port)
			give_port(n);
		wtd_enable();
		ask_all(n, p->bytes, (uint32_t)bytes);
	}
	message_free(&p->message);
	return error ? error : (int64_t)bytes;
}

static int64_t receive(struct netlink_socket *n, struct stream_io *io, struct socket_message *m)
{
	struct message_get get = {
	    .data = io, .flags = MESSAGE_DISCARD | (m && m->flags & MSG_PEEK ? MESSAGE_PEEK : 0)};
	int error = socket_take_error(&n->common.stream);

	error = error ? -error : message_get(&n->answers, &get);
	if (error)
		return error;
	if (m && m->name)
		put_name(0, m->name);
	if (m && get.more & MORE_DATA)
		m->out_flags |= MSG_TRUNC;
	return m && m->flags & MSG_TRUNC ? get.whole : get.data_bytes;
}

static int64_t netlink_read(struct stream *s, struct stream_io *io, uint64_t offset)
{
	return receive(netlink_of(s), io, NULL);
}
static int64_t netlink_write(struct stream *s, struct stream_io *io, uint64_t offset)
{
	return send(netlink_of(s), io, NULL);
}
static int64_t netlink_receive(struct stream *s, struct socket_message *m)
{
	return receive(netlink_of(s), &m->io, m);
}
static int64_t netlink_send(struct stream *s, struct socket_message *m)
{
	return m->flags & MSG_OOB ? -EOPNOTSUPP : send(netlink_of(s), &m->io, m->name);
}

// ---- state ----

static unsigned netlink_poll(struct stream *s)
{
	const struct netlink_socket *n = netlink_of(s);

	return STREAM_OUT | message_events(&n->answers) | (n->common.error ? STREAM_ERR : 0);
}

static int netlink_shutdown(struct stream *s, int how)
{
	return -EOPNOTSUPP;
}

static int netlink_set_option(struct stream *s, int level, int name, const void *value,
			      uint32_t len)
{
	int v;

	if (level != SOL_NETLINK)
		return socket_set_common(s, level, name, value, len);
	if (socket_get_int(value, len, &v))
		return -EINVAL;
	if (name == CAP_ACK)
		netlink_of(s)->capped = v;
	else if (name != ADD_MEMBERSHIP && name != DROP_MEMBERSHIP && name != NO_ENOBUFS &&
		 name != EXT_ACK)
		return -ENOPROTOOPT;
	return 0;
}

static int netlink_get_option(struct stream *s, int level, int name, void *value, uint32_t *len)
{
	if (level == SOL_NETLINK)
		return name == CAP_ACK ? socket_put_int(value, len, netlink_of(s)->capped)
				       : -ENOPROTOOPT;
	if (level == SOL_SOCKET && name == SO_DOMAIN)
		return socket_put_int(value, len, AF_NETLINK);
	if (level == SOL_SOCKET && name == SO_PROTOCOL)
		return socket_put_int(value, len, NETLINK_ROUTE);
	return socket_get_common(s, level, name, netlink_of(s)->type, value, len);
}

static int netlink_ioctl(struct stream *s, unsigned request, uintptr_t argument)
{
	return socket_iface_ioctl(request, argument);
}

static void netlink_close(struct stream *s)
{
	struct netlink_socket *n = netlink_of(s), **at = &sockets;

	wtd_disable();
	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	wtd_enable();
	message_flush(&n->answers);
	pool_free(&socket_pool, n);
}

static const struct socket_ops netlink_socket_ops = {.bind = netlink_bind,
						     .connect = netlink_connect,
						     .name = netlink_name,
						     .send = netlink_send,
						     .receive = netlink_receive,
						     .shutdown = netlink_shutdown,
						     .set_option = netlink_set_option,
						     .get_option = netlink_get_option,
						     .error = socket_take_error,
						     .receive_timeout_ns = socket_receive_timeout,
						     .send_timeout_ns = socket_send_timeout};
static const struct stream_ops netlink_stream_ops = {.kind = STREAM_SOCKET,
						     .read = netlink_read,
						     .write = netlink_write,
						     .poll = netlink_poll,
						     .close = netlink_close,
						     .ioctl = netlink_ioctl,
						     .socket = &netlink_socket_ops};

int socket_netlink_new(int type, int protocol, struct stream **out)
{
	struct netlink_socket *n;

	if (type != SOCK_DGRAM && type != SOCK_RAW)
		return -ESOCKTNOSUPPORT;
	if (protocol != NETLINK_ROUTE)
		return -EPROTONOSUPPORT;
	n = pool_alloc(&socket_pool);
	if (!n)
		return -ENFILE;
	n->type = (uint8_t)type;
	n->common = (struct socket_common){.receive_ns = UINT64_MAX,
					   .send_ns = UINT64_MAX,
					   .receive_bytes = NETLINK_WAITING_MOST * PAGE_SIZE,
					   .send_bytes = NETLINK_WAITING_MOST * PAGE_SIZE};
	stream_init(&n->common.stream, &netlink_stream_ops, STREAM_RDWR);
	message_queue_init(&n->answers, &n->common.stream, 0, NULL);
	wtd_disable();
	n->next = sockets;
	sockets = n;
	wtd_enable();
	*out = &n->common.stream;
	return 0;
}
