// SPDX-License-Identifier: BSD-2-Clause
// UDP sockets of programs. Datagrams wait in the receive buffers they came in, up to SO_RCVBUF bytes, as messages of
// the stream head (kernel/message.h): the control part says who sent it, the data part is the pbuf. They are copied
// once, to the program; what is sent is copied once, into a pbuf.
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/message.h"
#include "kernel/pool.h"
#include "kernel/usercopy.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/udp.h"
#include "net/loopback.h"
#include "net/socket.h"
#include "net/stack.h"

#define RECEIVE_BYTES  (208 * 1024) // as Linux has it
#define DATAGRAM_MAX   65507
#define DATAGRAM_COSTS 2048 // of the bound: each buffer that it lies in

struct sender { // the control part
	ip_addr_t ip;
	uint16_t port;
	struct udp_notes notes;
};
struct datagram {
	struct message message; // first
	struct pbuf *p;
	struct sender from;
};
struct udp_socket {
	struct socket_common common; // first
	struct udp_pcb *pcb;	     // (W)
	struct udp_options options;  // (W)
	struct message_queue messages;
	bool connected, bound, deaf; // (W)
};

static struct pool socket_pool =
    POOL_INIT("udp socket", struct udp_socket, 4096); // descriptors of programs
// RECEIVE_BYTES of a hundred sockets that nobody reads, in the smallest datagrams that the bound counts.
static struct pool datagram_pool =
    POOL_INIT("datagram", struct datagram, 100 * RECEIVE_BYTES / DATAGRAM_COSTS);
static uint64_t dropped;
KSTAT_COUNTER(dropped, "pagewire_socket_datagrams_dropped_total",
	      "Datagrams for a program that had too many unread.");

static struct udp_socket *udp_of(struct stream *s)
{
	return CONTAINER_OF(socket_common(s), struct udp_socket, common);
}

// ---- datagrams as messages ----

static const void *datagram_piece(const struct message *m, uint32_t offset, uint32_t *bytes)
{
	const struct pbuf *p = CONTAINER_OF(m, const struct datagram, message)->p;

	while (offset >= p->len) {
		offset -= p->len;
		p = p->next;
	}
	*bytes = p->len - offset;
	return (const char *)p->payload + offset;
}

static void datagram_free(struct message *m)
{
	struct datagram *d = CONTAINER_OF(m, struct datagram, message);

	wtd_disable();
	pbuf_free(d->p);
	pool_free(&datagram_pool, d);
	wtd_enable();
}

static const struct message_kind datagram_kind = {.piece = datagram_piece, .free = datagram_free};

// ---- receiving from the network ----

static void on_datagram(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from,
			u16_t port);

// Whether both get what comes for their port, by turns of the hash: SO_REUSEPORT. Who is connected, does not.
static bool shares(const struct udp_pcb *a, const struct udp_pcb *b)
{
	return b->recv == on_datagram && b->so_options & SHARES_PORT &&
	       a->local_port == b->local_port && !(b->flags & UDP_FLAGS_CONNECTED) &&
	       IP_GET_TYPE(&a->local_ip) == IP_GET_TYPE(&b->local_ip) &&
	       ip_addr_eq(&a->local_ip, &b->local_ip);
}

// Of those that share the pcb's port, the one for that peer.
static struct udp_socket *shared(struct udp_pcb *pcb, const ip_addr_t *from, u16_t port)
{
	struct tcp_tuple tuple;
	uint32_t count = 0, which;

	if (pcb->flags & UDP_FLAGS_CONNECTED)
		return pcb->recv_arg;
	for (const struct udp_pcb *p = udp_pcbs; p; p = p->next)
		count += shares(pcb, p);
	tcp_tuple_fill(&tuple, ip_current_dest_addr(), pcb->local_port, from, port);
	which = (uint32_t)((uint64_t)tcp_hash(&tuple) * count >> 32);
	for (const struct udp_pcb *p = udp_pcbs;; p = p->next)
		if (shares(pcb, p) && !which--)
			return p->recv_arg;
}

// What it takes of the bound. One that came in fragments of a few bytes holds a receive buffer for each; over
// loopback the first pbuf, where the headers were, is empty.
static uint32_t cost_of(const struct pbuf *p)
{
	uint32_t buffers = p->len > 0;

	for (const struct pbuf *q = p->next; q; q = q->next)
		buffers++;
	return MAX((uint32_t)p->tot_len, MAX(buffers, 1U) * DATAGRAM_COSTS);
}

// lwIP's callback: fast WTD.
static void on_datagram(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from,
			u16_t port)
{
	struct udp_socket *u = pcb->so_options & SHARES_PORT ? shared(pcb, from, port) : arg;
	struct datagram *d = NULL;
	uint32_t cost = cost_of(p);

	if (!u->deaf &&
	    message_may_put(&u->messages, MESSAGE_NORMAL, cost, u->common.receive_bytes))
		d = pool_alloc(&datagram_pool);
	if (!d) {
		dropped++;
		pbuf_free(p);
		return;
	}
	*d = (struct datagram){.message = {.kind = &datagram_kind,
					   .control = &d->from,
					   .control_bytes = sizeof(d->from),
					   .bytes = p->tot_len,
					   .cost = cost},
			       .p = p,
			       .from = {.ip = *from, .port = port}};
	socket_udp_note(&d->from.notes);
	message_put(&u->messages, &d->message);
}

// WTDs off.
static int claim(struct udp_socket *u, const ip_addr_t *ip, uint16_t port)
{
	uint8_t bits = socket_share_bits(&u->common);
	int error;

	for (const struct udp_pcb *p = udp_pcbs; p && port; p = p->next)
		if (p != u->pcb && p->local_port == port && socket_same_place(&p->local_ip, ip) &&
		    !socket_share_may(bits, p->so_options, false))
			return -EADDRINUSE;
	u->pcb->so_options |= bits;
	error = socket_error_of(udp_bind(u->pcb, ip, port));
	if (error)
		u->pcb->so_options &= (u8_t)~bits;
	return error;
}

static int udp_socket_bind(struct stream *s, const struct socket_address *name)
{
	struct udp_socket *u = udp_of(s);
	ip_addr_t ip;
	uint16_t port;
	int error = socket_to_ip(&u->common, name, &ip, &port);

	if (error)
		return error;
	wtd_disable();
	error = u->bound ? -EINVAL : !socket_may_bind(&ip) ? -EADDRNOTAVAIL : claim(u, &ip, port);
	u->bound = !error;
	wtd_enable();
	return error;
}

static int udp_socket_connect(struct stream *s, const struct socket_address *name)
{
	struct udp_socket *u = udp_of(s);
	ip_addr_t ip;
	uint16_t port;
	int error = 0;

	wtd_disable();
	if (name->family == 0) { // AF_UNSPEC: no peer any more
		udp_disconnect(u->pcb);
		u->connected = false;
	} else {
		error = socket_to_ip(&u->common, name, &ip, &port);
		if (!error) {
			socket_peer_ip(&ip);
			error = socket_error_of(udp_connect(u->pcb, &ip, port));
		}
		u->connected = !error;
	}
	wtd_enable();
	return error;
}

// Where its datagrams come from: a connected socket that is bound to no address has, as on Linux, the one that leads
// to its peer. Programs find their machine's address so.
static ip_addr_t local_ip(const struct udp_socket *u)
{
	const struct udp_pcb *pcb = u->pcb;
	ip_addr_t own = pcb->local_ip;
	const ip_addr_t *ip = NULL;
	struct netif *netif;

	if (!u->connected || !ip_addr_isany(&own) || loopback_source(&pcb->remote_ip, &own))
		return own;
	netif = ip_route(&pcb->local_ip, &pcb->remote_ip);
	ip = netif ? ip_netif_get_local_ip(netif, &pcb->remote_ip) : NULL;
	return ip ? *ip : own;
}

static int udp_socket_name(struct stream *s, bool peer, struct socket_address *out)
{
	struct udp_socket *u = udp_of(s);
	ip_addr_t ip;
	int error = 0;

	wtd_disable();
	ip = local_ip(u);
	if (peer && !u->connected)
		error = -ENOTCONN;
	else if (peer)
		socket_from_ip(&u->common, &u->pcb->remote_ip, u->pcb->remote_port, out);
	else
		socket_from_ip(&u->common, &ip, u->pcb->local_port, out);
	wtd_enable();
	return error;
}

// ---- receiving ----

struct receiving {
	struct udp_socket *socket;
	struct socket_message *m; // null: read()
};

static void tell_sender(struct message *message, void *arg)
{
	const struct receiving *r = arg;
	const struct sender *from = message->control;

	if (r->m && r->m->name)
		socket_from_ip(&r->socket->common, &from->ip, from->port, r->m->name);
	if (r->m)
		socket_udp_tell(r->socket->common.v6, &r->socket->options, &from->notes, r->m);
}

static int64_t receive(struct udp_socket *u, struct stream_io *io, struct socket_message *m)
{
	struct receiving r = {u, m};
	struct message_get get = {.data = io,
				  .flags = MESSAGE_DISCARD |
					   (m && m->flags & MSG_PEEK ? MESSAGE_PEEK : 0),
				  .seen = tell_sender,
				  .arg = &r};
	int error = message_get(&u->messages, &get);

	if (error == -EAGAIN) {
		error = socket_take_error(&u->common.stream);
		return error ? -error : u->deaf ? 0 : -EAGAIN;
	}
	if (error)
		return error;
	if (m && get.more & MORE_DATA)
		m->out_flags |= MSG_TRUNC;
	return m && m->flags & MSG_TRUNC ? get.whole : get.data_bytes;
}

static int64_t udp_read(struct stream *s, struct stream_io *io, uint64_t offset)
{
	return receive(udp_of(s), io, NULL);
}
static int64_t udp_socket_receive(struct stream *s, struct socket_message *m)
{
	return receive(udp_of(s), &m->io, m);
}

// ---- sending ----

// WTDs off. `wanted`: the address it is to be from; null: what the socket and the way say.
static err_t send_to(struct udp_socket *u, struct pbuf *p, ip_addr_t *ip, uint16_t port,
		     const ip_addr_t *wanted)
{
	ip_addr_t from;
	struct netif *netif;

	socket_peer_ip(ip);
	netif = loopback_source(ip, &from);
	if (!netif && !wanted)
		return udp_sendto(u->pcb, p, ip, port);
	if (!ip_addr_isany(&u->pcb->local_ip))
		from = u->pcb->local_ip;
	if (wanted)
		from = *wanted;
	if (!netif)
		netif = ip_route(&from, ip);
	if (!netif)
		return ERR_RTE;
	return IP_GET_TYPE(&from) == IP_GET_TYPE(ip)
		   ? udp_sendto_if_src(u->pcb, p, ip, port, netif, &from)
		   : ERR_VAL;
}

// `m` null: write(), to the peer.
static int64_t send(struct udp_socket *u, struct stream_io *io, const struct socket_message *m)
{
	const struct socket_address *name = m ? m->name : NULL;
	uint64_t bytes = io->left;
	struct pbuf *p;
	ip_addr_t ip, from;
	uint16_t port;
	int error = name	   ? socket_to_ip(&u->common, name, &ip, &port)
		    : u->connected ? 0
				   : -EDESTADDRREQ;
	int wanted = 0;

	if (!error && m && m->control_len) {
		wtd_disable();
		wanted = socket_udp_source(m, &from);
		wtd_enable();
		error = MIN(wanted, 0);
	}
	if (error)
		return error;
	if (bytes > DATAGRAM_MAX)
		return -EMSGSIZE;
	wtd_disable();
	p = pbuf_alloc(PBUF_TRANSPORT, (u16_t)bytes, PBUF_RAM);
	wtd_enable();
	if (!p)
		return -ENOBUFS;
	error = bytes ? stream_io_in(io, p->payload, (size_t)bytes) : 0;
	wtd_disable();
	if (!error && u->common.broadcast)
		ip_set_option(u->pcb, SOF_BROADCAST);
	if (!error && !name) {
		ip = u->pcb->remote_ip;
		port = u->pcb->remote_port;
	}
	if (!error)
		error = socket_error_of(send_to(u, p, &ip, port, wanted ? &from : NULL));
	u->bound |= !error;
	pbuf_free(p);
	stack_flush();
	wtd_enable();
	return error ? error : (int64_t)bytes;
}

static int64_t udp_write(struct stream *s, struct stream_io *io, uint64_t offset)
{
	return send(udp_of(s), io, NULL);
}
static int64_t udp_socket_send(struct stream *s, struct socket_message *m)
{
	return send(udp_of(s), &m->io, m);
}

// ---- state ----

static unsigned udp_socket_poll(struct stream *s)
{
	struct udp_socket *u = udp_of(s);

	return STREAM_OUT | message_events(&u->messages) | (u->deaf ? STREAM_IN : 0) |
	       (u->common.error ? STREAM_ERR : 0);
}

static int udp_socket_shutdown(struct stream *s, int how)
{
	struct udp_socket *u = udp_of(s);

	if (!u->connected)
		return -ENOTCONN;
	if (how != SHUT_WR)
		u->deaf = true;
	stream_notify(s);
	return 0;
}

static int udp_set_option(struct stream *s, int level, int name, const void *value, uint32_t len)
{
	struct udp_socket *u = udp_of(s);
	int n, error = -ENOPROTOOPT;

	if (!socket_get_int(value, len, &n)) {
		wtd_disable();
		error = socket_udp_set(u->common.v6, &u->options, u->pcb, level, name, n);
		wtd_enable();
	}
	return error == -ENOPROTOOPT ? socket_set_common(s, level, name, value, len) : error;
}

static int udp_get_option(struct stream *s, int level, int name, void *value, uint32_t *len)
{
	const struct udp_socket *u = udp_of(s);
	int n;

	if (!socket_udp_get(u->common.v6, &u->options, u->pcb, level, name, &n))
		return socket_put_int(value, len, n);
	return socket_get_common(s, level, name, SOCK_DGRAM, value, len);
}

static int udp_ioctl(struct stream *s, unsigned request, uintptr_t argument)
{
	enum { FIONREAD = 0x541b, TIOCOUTQ = 0x5411 };
	const struct message *first;
	int n;

	if (request != FIONREAD && request != TIOCOUTQ)
		return socket_iface_ioctl(request, argument);
	wtd_disable();
	first = message_first(&udp_of(s)->messages);
	n = request == FIONREAD && first ? (int)first->bytes : 0;
	wtd_enable();
	return user_put(argument, &n);
}

static void udp_close(struct stream *s)
{
	struct udp_socket *u = udp_of(s);

	wtd_disable();
	udp_remove(u->pcb);
	wtd_enable();
	message_flush(&u->messages);
	pool_free(&socket_pool, u);
}

static const struct socket_ops udp_socket_ops = {.bind = udp_socket_bind,
						 .connect = udp_socket_connect,
						 .name = udp_socket_name,
						 .send = udp_socket_send,
						 .receive = udp_socket_receive,
						 .shutdown = udp_socket_shutdown,
						 .set_option = udp_set_option,
						 .get_option = udp_get_option,
						 .error = socket_take_error,
						 .receive_timeout_ns = socket_receive_timeout,
						 .send_timeout_ns = socket_send_timeout};
static const struct stream_ops udp_stream_ops = {.kind = STREAM_SOCKET,
						 .read = udp_read,
						 .write = udp_write,
						 .poll = udp_socket_poll,
						 .close = udp_close,
						 .ioctl = udp_ioctl,
						 .socket = &udp_socket_ops};

int socket_udp_new(bool v6, struct stream **out)
{
	struct udp_socket *u = pool_alloc(&socket_pool);

	if (!u)
		return -ENFILE;
	u->common = (struct socket_common){.v6 = v6,
					   .receive_ns = UINT64_MAX,
					   .send_ns = UINT64_MAX,
					   .receive_bytes = RECEIVE_BYTES,
					   .send_bytes = RECEIVE_BYTES};
	stream_init(&u->common.stream, &udp_stream_ops, STREAM_RDWR);
	message_queue_init(&u->messages, &u->common.stream, 0, NULL);
	wtd_disable();
	u->pcb = udp_new_ip_type(v6 ? IPADDR_TYPE_ANY : IPADDR_TYPE_V4);
	if (u->pcb)
		udp_recv(u->pcb, on_datagram, u);
	wtd_enable();
	if (!u->pcb) {
		pool_free(&socket_pool, u);
		return -ENOBUFS;
	}
	*out = &u->common.stream;
	return 0;
}
