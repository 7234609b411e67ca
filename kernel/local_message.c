// SPDX-License-Identifier: BSD-2-Clause
// What local sockets carry (kernel/local.h): each message is copied once from the sender and once to the receiver, as
// on a pipe, and waits in between at the receiver. High water is the sender's SO_SNDBUF; who was turned away is told
// when half of it is free.
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/local.h"
#include "kernel/lock.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"

#define PIECE_MOST 32768       // of a stream, in one piece of memory
#define BYTES_ALL  (64U << 20) // kept by all local sockets together; more is -ENOBUFS

static uint64_t bytes_all; // (W)
KSTAT_GAUGE(bytes_all, "pagewire_local_socket_bytes",
	    "Memory of unread messages of local sockets.");

// SO_SNDBUF's worth of small messages for 300 sockets that nobody reads.
static struct pool message_pool = POOL_INIT_RAW("local message", struct local_message, 131072);

static uint32_t memory_of(uint32_t bytes)
{
	uint32_t size = PAGE_SIZE;

	if (bytes <= LOCAL_INLINE)
		return 0;
	while (size < bytes) // as kpages_alloc rounds
		size *= 2;
	return size;
}

static uint32_t cost(uint32_t bytes)
{
	return (uint32_t)sizeof(struct local_message) + memory_of(bytes);
}

static struct local_message *new_message(uint32_t bytes)
{
	struct local_message *m = NULL;
	bool room;

	wtd_disable();
	room = bytes_all + cost(bytes) <= BYTES_ALL;
	if (room)
		bytes_all += cost(bytes);
	wtd_enable();
	if (room)
		m = pool_alloc(&message_pool);
	if (m) {
		m->next = NULL;
		m->from = NULL;
		m->rights = NULL;
		m->at = 0;
		m->bytes = bytes;
		m->data = bytes <= LOCAL_INLINE ? m->inline_data : kpages_alloc(bytes);
	}
	if (m && m->data)
		return m;
	if (m)
		pool_free(&message_pool, m);
	wtd_disable();
	if (room)
		bytes_all -= cost(bytes);
	wtd_enable();
	return NULL;
}

// It is on no list, and its rights are somebody else's.
static void message_free(struct local_message *m)
{
	wtd_disable();
	if (m->from)
		local_put(m->from);
	bytes_all -= cost(m->bytes);
	wtd_enable();
	if (m->data != m->inline_data)
		kpages_free(m->data, m->bytes);
	pool_free(&message_pool, m);
}

static int take(int *error)
{
	return __atomic_exchange_n(error, 0, __ATOMIC_ACQ_REL);
}

// ---- sending ----

bool local_room(const struct local_socket *t)
{
	return t->deaf || t->closed || t->bytes <= t->receive_bytes / 2;
}

// WTDs off. Whether a message of so many bytes may go to `to` now.
static int may_send(struct local_socket *t, struct local_socket *to, uint32_t bytes)
{
	bool stream = t->type != SOCK_DGRAM;

	if (t->no_more_out)
		return -EPIPE;
	if (to->closed)
		return stream ? -EPIPE : -ECONNREFUSED;
	if (to->deaf)
		return -EPIPE;
	if (!to->bytes || to->bytes + cost(bytes) <= MAX(t->send_bytes, to->receive_bytes))
		return 0;
	if (!stream)
		local_wait_for(t, to);
	return -EAGAIN;
}

// Where a message goes, with a reference.
static int target(struct local_socket *t, const struct socket_message *m, struct local_socket **to)
{
	int error = 0;

	if (m && m->name && m->name->len && t->type == SOCK_DGRAM) {
		error = local_find(m->name, t->type, to);
		if (!error && (*to)->peer && (*to)->peer != t) {
			wtd_disable();
			local_put(*to);
			wtd_enable();
			return -EPERM;
		}
		return error;
	}
	if (m && m->name && m->name->len)
		return t->peer ? -EISCONN : -EOPNOTSUPP;
	wtd_disable();
	*to = t->peer;
	if (*to)
		local_get(*to);
	else
		error = t->error ? -take(&t->error) : -ENOTCONN;
	wtd_enable();
	return error;
}

// WTDs off. The message is the receiver's.
static void append(struct local_socket *t, struct local_socket *to, struct local_message *message,
		   struct local_rights *rights)
{
	if (t->type == SOCK_DGRAM && t->name.len)
		local_get(message->from = t);
	if (rights)
		local_rights_attach(to, message, rights);
	*to->end = message;
	to->end = &message->next;
	to->bytes += cost(message->bytes);
	stream_notify(&to->stream);
}

// One message, or one piece of a stream. Bytes, or an error; then io has not moved on.
static int64_t send_one(struct local_socket *t, struct local_socket *to, struct stream_io *io,
			const struct local_credentials *sender, struct local_rights *rights)
{
	struct stream_io before = *io;
	uint32_t bytes = (uint32_t)MIN(io->left, UINT32_MAX);
	struct local_message *message;
	int error;

	if (t->type == SOCK_STREAM)
		bytes = MIN(bytes, PIECE_MOST);
	else if (bytes > t->send_bytes)
		return -EMSGSIZE;
	wtd_disable();
	error = may_send(t, to, bytes);
	wtd_enable();
	if (error)
		return error;
	message = new_message(bytes);
	if (!message)
		return -ENOBUFS;
	message->sender = *sender;
	error = bytes ? stream_io_in(io, message->data, bytes) : 0;
	wtd_disable();
	if (!error && to->closed)
		error = t->type == SOCK_DGRAM ? -ECONNREFUSED : -EPIPE;
	if (!error)
		append(t, to, message, rights);
	wtd_enable();
	if (error) {
		*io = before;
		message_free(message);
	}
	return error ? error : (int64_t)bytes;
}

static int64_t send(struct local_socket *t, struct stream_io *io, struct socket_message *m)
{
	struct local_credentials sender = local_self();
	struct local_rights *rights = NULL;
	struct local_socket *to;
	int64_t done = 0, n = target(t, m, &to);

	if (n)
		return n;
	if (m && m->control_len)
		n = local_rights_take(m, &sender, &rights);
	while (!n) {
		n = send_one(t, to, io, &sender, rights);
		if (n < 0)
			break;
		rights = NULL;
		if (m)
			m->control_len = 0; // on its way, with the first piece
		done += n;
		n = 0;
		if (!io->left)
			break;
	}
	local_rights_drop(rights);
	wtd_disable();
	local_put(to);
	wtd_enable();
	return done ? done : n;
}

int64_t local_send(struct stream *s, struct socket_message *m)
{
	return m->flags & MSG_OOB ? -EOPNOTSUPP : send(local_of(s), &m->io, m);
}

int64_t local_write(struct stream *s, struct stream_io *io, uint64_t offset)
{
	return send(local_of(s), io, NULL);
}

// ---- receiving ----

// (R) The first message has been read.
static void drop_first(struct local_socket *t)
{
	struct local_message *message = t->first;
	uint32_t was = t->bytes;
	struct local_rights *rights;

	wtd_disable();
	t->first = message->next;
	if (!t->first)
		t->end = &t->first;
	t->bytes -= cost(message->bytes);
	rights = local_rights_detach(t, message);
	if (local_room(t) && (t->waiting || was > t->receive_bytes / 2))
		local_has_room(t);
	wtd_enable();
	local_rights_drop(rights);
	message_free(message);
}

void local_drop_messages(struct local_socket *t)
{
	while (t->first)
		drop_first(t);
}

uint32_t local_readable(const struct local_socket *t)
{
	uint32_t bytes = 0;

	for (const struct local_message *m = t->first; m; m = m->next) {
		bytes += m->bytes - m->at;
		if (t->type != SOCK_STREAM)
			break;
	}
	return bytes;
}

static int64_t nothing(struct local_socket *t)
{
	int error = take(&t->error);

	if (error)
		return -error;
	if (t->type != SOCK_DGRAM && t->state != LOCAL_CONNECTED)
		return t->type == SOCK_STREAM ? -EINVAL : -ENOTCONN;
	return t->fin_seen || t->deaf ? 0 : -EAGAIN;
}

static void beside(struct local_socket *t, struct local_message *message, struct socket_message *m)
{
	if (m && t->pass_credentials)
		control_put(m, SOL_SOCKET, SCM_CREDENTIALS, &message->sender,
			    sizeof(message->sender));
	if (message->rights)
		local_rights_receive(t, message, m);
}

// Whether a stream's next piece may follow in the same read: not from somebody else, nor after descriptors.
static bool goes_on(const struct local_socket *t, const struct local_message *a,
		    const struct local_message *b)
{
	return !b->rights && (!t->pass_credentials || a->sender.pid == b->sender.pid);
}

// (R)
static int64_t receive_bytes(struct local_socket *t, struct stream_io *io, struct socket_message *m)
{
	bool peek = m && m->flags & MSG_PEEK, again;
	struct local_message *message = t->first, *next;
	int64_t done = 0;

	do {
		uint32_t n = (uint32_t)MIN(io->left, (uint64_t)(message->bytes - message->at));
		bool carried = message->rights;
		int error = stream_io_out(io, message->data + message->at, n);

		if (error)
			return done ? done : error;
		if (!done)
			beside(t, message, m);
		done += n;
		next = message->next;
		again = io->left && next && !carried && goes_on(t, message, next);
		if (!peek) {
			message->at += n;
			if (message->at == message->bytes)
				drop_first(t);
		}
		message = next;
	} while (again);
	return done;
}

// (R) A packet or a datagram: what the program has no room for is lost.
static int64_t receive_record(struct local_socket *t, struct stream_io *io,
			      struct socket_message *m)
{
	struct local_message *message = t->first;
	uint32_t n = (uint32_t)MIN(io->left, (uint64_t)message->bytes);
	int64_t result = n;
	int error = n ? stream_io_out(io, message->data, n) : 0;

	if (error)
		return error;
	beside(t, message, m);
	if (m && m->name) {
		m->name->len = 0;
		if (message->from)
			*m->name = message->from->name;
	}
	if (m && n < message->bytes) {
		m->out_flags |= MSG_TRUNC;
		if (m->flags & MSG_TRUNC)
			result = message->bytes;
	}
	if (!m || !(m->flags & MSG_PEEK))
		drop_first(t);
	return result;
}

static int64_t receive(struct local_socket *t, struct stream_io *io, struct socket_message *m)
{
	int64_t result;

	mutex_lock(&t->reader);
	if (!t->first)
		result = nothing(t);
	else if (t->type == SOCK_STREAM)
		result = receive_bytes(t, io, m);
	else
		result = receive_record(t, io, m);
	mutex_unlock(&t->reader);
	return result;
}

int64_t local_receive(struct stream *s, struct socket_message *m)
{
	if (m->flags & MSG_OOB)
		return -EOPNOTSUPP;
	return m->flags & MSG_ERRQUEUE ? -EAGAIN : receive(local_of(s), &m->io, m);
}

int64_t local_read(struct stream *s, struct stream_io *io, uint64_t offset)
{
	return receive(local_of(s), io, NULL);
}
