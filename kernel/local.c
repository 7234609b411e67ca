// SPDX-License-Identifier: BSD-2-Clause
// Local sockets: their life, their state, their options (kernel/local.h).
#include "kernel/local.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/pool.h"
#include "kernel/process.h"
#include "kernel/usercopy.h"

#define RECEIVE_BYTES (208 * 1024) // as Linux has it

// A quarter of the descriptors that 64 busy processes may have.
static struct pool socket_pool = POOL_INIT("local socket", struct local_socket, 16384);

struct local_credentials local_self(void)
{
	return (struct local_credentials){.pid = process_current()->pid};
}

void local_get(struct local_socket *t)
{
	t->references++;
}

void local_put(struct local_socket *t)
{
	if (--t->references == 0)
		pool_free(&socket_pool, t);
}

// Its messages are below their low water mark again.
static void has_room(struct message_queue *q)
{
	local_has_room(CONTAINER_OF(q, struct local_socket, messages));
}

struct local_socket *local_make(int type)
{
	struct local_socket *t = pool_alloc(&socket_pool);

	if (!t)
		return NULL;
	t->references = 1;
	t->type = (uint8_t)type;
	t->rights_end = &t->rights;
	message_queue_init(&t->messages, &t->stream, RECEIVE_BYTES, has_room);
	t->receive_ns = t->send_ns = UINT64_MAX;
	t->send_bytes = RECEIVE_BYTES;
	stream_init(&t->stream, &local_stream_ops, STREAM_RDWR);
	return t;
}

int local_socket_new(int type, int protocol, struct stream **out)
{
	struct local_socket *t;

	if (protocol && protocol != AF_UNIX)
		return -EPROTONOSUPPORT;
	if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
		return -EPROTOTYPE;
	t = local_make(type);
	if (!t)
		return -ENFILE;
	*out = &t->stream;
	return 0;
}

void local_join(struct local_socket *a, struct local_socket *b)
{
	struct local_socket *both[] = {a, b};

	for (unsigned n = 0; n < 2; n++) {
		both[n]->peer = both[!n];
		local_get(both[!n]);
		both[n]->peer_of = both[!n]->of;
		if (both[n]->type != SOCK_DGRAM)
			both[n]->state = LOCAL_CONNECTED;
	}
}

int local_socket_pair(int type, int protocol, struct stream *ends[2])
{
	int error = local_socket_new(type, protocol, &ends[0]);

	if (error)
		return error;
	error = local_socket_new(type, protocol, &ends[1]);
	if (error) {
		stream_put(ends[0]);
		return error;
	}
	local_of(ends[0])->of = local_of(ends[1])->of = local_self();
	wtd_disable();
	local_join(local_of(ends[0]), local_of(ends[1]));
	wtd_enable();
	return 0;
}

// ---- waiting for somebody else's room ----

void local_wait_for(struct local_socket *t, struct local_socket *other)
{
	if (t->waits_for)
		return;
	t->waits_for = other;
	local_get(other);
	t->waiting_next = other->waiting;
	other->waiting = t;
}

static void stop_waiting(struct local_socket *t)
{
	struct local_socket **link, *other = t->waits_for;

	if (!other)
		return;
	for (link = &other->waiting; *link != t; link = &(*link)->waiting_next)
		;
	*link = t->waiting_next;
	t->waits_for = NULL;
	local_put(other);
}

void local_has_room(struct local_socket *t)
{
	struct local_socket *w;

	while ((w = t->waiting)) {
		stop_waiting(w);
		stream_notify(&w->stream);
	}
	if (t->peer && t->type != SOCK_DGRAM)
		stream_notify(&t->peer->stream);
}

// ---- state ----

static unsigned local_poll(struct stream *s)
{
	struct local_socket *t = local_of(s), *peer = t->peer;
	unsigned events = t->error ? STREAM_ERR : 0;

	if (t->state == LOCAL_LISTENING)
		return t->queue.first ? STREAM_IN : 0;
	events |= message_events(&t->messages);
	if (t->fin_seen || t->deaf)
		events |= STREAM_IN;
	if (t->type == SOCK_DGRAM)
		return events |
		       (t->waits_for || (peer && !peer->closed && !local_room(peer)) ? 0
										     : STREAM_OUT);
	if (t->waits_for)
		return events;
	if (t->state == LOCAL_FRESH)
		return events | STREAM_OUT | STREAM_HUP;
	if (t->fin_seen)
		events |= STREAM_RDHUP;
	if (!peer || peer->closed || (t->fin_seen && t->no_more_out))
		events |= STREAM_HUP;
	if (!peer || peer->closed || t->no_more_out || local_room(peer))
		events |= STREAM_OUT;
	return events;
}

static int local_shutdown(struct stream *s, int how)
{
	struct local_socket *t = local_of(s);
	int error = 0;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	wtd_disable();
	if (!t->peer && t->type != SOCK_DGRAM)
		error = -ENOTCONN;
	if (!error && how != SHUT_WR)
		t->deaf = true;
	if (!error && how != SHUT_RD) {
		t->no_more_out = true;
		if (t->peer && t->type != SOCK_DGRAM)
			t->peer->fin_seen = true;
	}
	if (!error && t->peer && t->type != SOCK_DGRAM)
		stream_notify(&t->peer->stream);
	wtd_enable();
	stream_notify(s);
	return error;
}

// WTDs off. Nobody has the stream of t any more: who is at the other end is told.
static void leave(struct local_socket *t)
{
	struct local_socket *peer = t->peer;

	t->closed = true;
	stop_waiting(t);
	local_has_room(t);
	t->peer = NULL;
	if (!peer)
		return;
	if (t->type != SOCK_DGRAM) {
		peer->fin_seen = true;
		if (message_first(&t->messages))
			peer->error = ECONNRESET; // as Linux: what was sent has not been read
		stream_notify(&peer->stream);
	}
	local_put(peer);
}

static void local_close(struct stream *s)
{
	struct local_socket *t = local_of(s), *waiting;

	local_unname(t);
	wtd_disable();
	leave(t);
	while ((waiting = local_unaccepted(accept_queue_take(&t->queue)))) {
		wtd_enable();
		if (waiting->peer)
			waiting->peer->error = ECONNRESET;
		stream_put(&waiting->stream); // its only reference was ours
		wtd_disable();
	}
	t->state = LOCAL_FRESH;
	wtd_enable();
	message_flush(&t->messages);
	wtd_disable();
	local_put(t);
	wtd_enable();
}

// ---- options ----

enum {
	SO_TYPE = 3,
	SO_ERROR,
	SO_BROADCAST = 6,
	SO_SNDBUF,
	SO_RCVBUF,
	SO_KEEPALIVE,
	SO_PASSCRED = 16,
	SO_PEERCRED,
	SO_RCVTIMEO = 20,
	SO_SNDTIMEO,
	SO_ACCEPTCONN = 30,
	SO_PROTOCOL = 38,
	SO_DOMAIN,
	SO_REUSEADDR = 2,
	SO_REUSEPORT = 15
};
#define BYTES_LEAST 4608 // of SO_SNDBUF, as Linux has it
#define BYTES_MOST  (8 * RECEIVE_BYTES)

static int take_error(struct stream *s)
{
	return __atomic_exchange_n(&local_of(s)->error, 0, __ATOMIC_ACQ_REL);
}

static int set_option(struct stream *s, int level, int name, const void *value, uint32_t len)
{
	struct local_socket *t = local_of(s);
	int n, error;

	if (level != SOL_SOCKET)
		return -ENOPROTOOPT;
	if (name == SO_RCVTIMEO)
		return socket_get_timeout(value, len, &t->receive_ns);
	if (name == SO_SNDTIMEO)
		return socket_get_timeout(value, len, &t->send_ns);
	error = socket_get_int(value, len, &n);
	if (error)
		return error;
	switch (name) {
	case SO_PASSCRED:
		t->pass_credentials = n;
		return 0;
	case SO_SNDBUF:
		t->send_bytes = (uint32_t)MIN(MAX(n, BYTES_LEAST / 2), BYTES_MOST / 2) * 2;
		return 0;
	case SO_RCVBUF: // Linux bounds local sockets by the sender's
	case SO_REUSEADDR:
	case SO_REUSEPORT:
	case SO_BROADCAST:
	case SO_KEEPALIVE:
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static int get_option(struct stream *s, int level, int name, void *value, uint32_t *len)
{
	struct local_socket *t = local_of(s);

	if (level != SOL_SOCKET)
		return -ENOPROTOOPT;
	switch (name) {
	case SO_TYPE:
		return socket_put_int(value, len, t->type);
	case SO_ERROR:
		return socket_put_int(value, len, take_error(s));
	case SO_SNDBUF:
		return socket_put_int(value, len, (int)t->send_bytes);
	case SO_RCVBUF:
		return socket_put_int(value, len, RECEIVE_BYTES);
	case SO_PASSCRED:
		return socket_put_int(value, len, t->pass_credentials);
	case SO_PEERCRED:
		*len = MIN(*len, (uint32_t)sizeof(t->peer_of));
		memcpy(value, &t->peer_of, *len);
		return 0;
	case SO_ACCEPTCONN:
		return socket_put_int(value, len, t->state == LOCAL_LISTENING);
	case SO_DOMAIN:
		return socket_put_int(value, len, AF_UNIX);
	case SO_PROTOCOL:
	case SO_REUSEADDR:
	case SO_REUSEPORT:
	case SO_BROADCAST:
	case SO_KEEPALIVE:
		return socket_put_int(value, len, 0);
	case SO_RCVTIMEO:
		return socket_put_timeout(value, len, t->receive_ns);
	case SO_SNDTIMEO:
		return socket_put_timeout(value, len, t->send_ns);
	default:
		return -ENOPROTOOPT;
	}
}

static uint64_t receive_timeout(struct stream *s)
{
	return local_of(s)->receive_ns;
}
static uint64_t send_timeout(struct stream *s)
{
	return local_of(s)->send_ns;
}

static int local_ioctl(struct stream *s, unsigned request, uintptr_t argument)
{
	enum { FIONREAD = 0x541b };
	int n;

	if (request != FIONREAD)
		return socket_ask_maker(request, argument);
	wtd_disable();
	n = (int)local_readable(local_of(s));
	wtd_enable();
	return user_put(argument, &n);
}

static const struct socket_ops socket_ops = {.bind = local_bind,
					     .connect = local_connect,
					     .listen = local_listen,
					     .accept = local_accept,
					     .name = local_name,
					     .send = local_send,
					     .receive = local_receive,
					     .shutdown = local_shutdown,
					     .set_option = set_option,
					     .get_option = get_option,
					     .error = take_error,
					     .receive_timeout_ns = receive_timeout,
					     .send_timeout_ns = send_timeout};
const struct stream_ops local_stream_ops = {.kind = STREAM_SOCKET,
					    .read = local_read,
					    .write = local_write,
					    .poll = local_poll,
					    .ioctl = local_ioctl,
					    .close = local_close,
					    .socket = &socket_ops};
