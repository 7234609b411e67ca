// SPDX-License-Identifier: BSD-2-Clause
// What local sockets carry (kernel/local.h): each message is copied once from the sender and once to the receiver, as
// on a pipe, and waits in between at the receiver's stream head (kernel/message.h). High water is the sender's
// SO_SNDBUF; who was turned away is told at the low mark.
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

static const void *local_piece(const struct message *m, uint32_t offset, uint32_t *bytes)
{
	*bytes = m->bytes - offset;
	return CONTAINER_OF(m, const struct local_message, message)->data + offset;
}

static void local_free(struct message *message)
{
	struct local_message *m = CONTAINER_OF(message, struct local_message, message);
	struct local_rights *rights = NULL;

	wtd_disable();
	if (m->rights)
		rights = local_rights_detach(
		    CONTAINER_OF(message->queue, struct local_socket, messages), m);
	if (m->from)
		local_put(m->from);
	bytes_all -= message->cost;
	wtd_enable();
	local_rights_drop(rights);
	if (m->data != m->inline_data)
		kpages_free(m->data, message->bytes);
	pool_free(&message_pool, m);
}

static const struct message_kind local_kind = {.piece = local_piece, .free = local_free};

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
		m->message = (struct message){.kind = &local_kind,
					      .control = &m->sender,
					      .control_bytes = sizeof(m->sender),
					      .bytes = bytes,
					      .cost = cost(bytes)};
		m->from = NULL;
		m->rights = NULL;
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

static int take(int *error)
{
	return __atomic_exchange_n(error, 0, __ATOMIC_ACQ_REL);
}

// ---- sending ----

bool local_room(const struct local_socket *t)
{
	return t->deaf || t->closed || message_room(&t->messages, MESSAGE_NORMAL);
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
	if (message_may_put(&to->messages, MESSAGE_NORMAL, cost(bytes), t->send_bytes))
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
	message_put(&to->messages, &message->message);
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
		message_free(&message->message);
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
	while (!n && (io->left || t->type != SOCK_STREAM)) { // no bytes are nothing in a stream
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

uint32_t local_readable(const struct local_socket *t)
{
	uint32_t bytes = 0;

	for (const struct message *m = message_first(&t->messages); m; m = m->next) {
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

struct receiving {
	struct local_socket *socket;
	struct socket_message *m; // null: read()
};

// What lies beside the data: who sent it, and descriptors.
static void beside(struct message *message, void *arg)
{
	const struct receiving *r = arg;
	struct local_message *l = CONTAINER_OF(message, struct local_message, message);

	if (!r->m)
		return;
	if (r->socket->pass_credentials)
		control_put(r->m, SOL_SOCKET, SCM_CREDENTIALS, message->control,
			    message->control_bytes);
	if (l->rights)
		local_rights_receive(l, r->m);
	if (r->m->name && r->socket->type != SOCK_STREAM) {
		r->m->name->len = 0;
		if (l->from)
			*r->m->name = l->from->name;
	}
}

// Whether a stream's next piece may follow in the same read: not from somebody else, nor after descriptors.
static bool goes_on(const struct local_socket *t, const struct local_message *a,
		    const struct message *next)
{
	const struct local_message *b = CONTAINER_OF(next, const struct local_message, message);

	return !b->rights && (!t->pass_credentials || a->sender.pid == b->sender.pid);
}

// (R) Bytes: as many pieces as may be joined. What a peek leaves is looked at piece by piece.
static int64_t receive_bytes(struct local_socket *t, struct stream_io *io, struct receiving *r)
{
	bool peek = r->m && r->m->flags & MSG_PEEK, again;
	struct message *message = message_first(&t->messages), *next;
	int64_t done = 0;

	do {
		const struct local_message *l =
		    CONTAINER_OF(message, const struct local_message, message);
		uint32_t n = (uint32_t)MIN(io->left, (uint64_t)(message->bytes - message->at));
		int error = message_out(message, io, message->at, n);

		if (error)
			return done ? done : error;
		if (!done)
			beside(message, r);
		done += n;
		next = message->next;
		again = io->left && next && !l->rights && goes_on(t, l, next);
		if (!peek) {
			message->at += n;
			if (message->at == message->bytes)
				message_free(message_take(&t->messages));
		}
		message = next;
	} while (again);
	return done;
}

// A packet or a datagram: what the program has no room for is lost.
static int64_t receive_record(struct local_socket *t, struct stream_io *io, struct receiving *r)
{
	struct socket_message *m = r->m;
	struct message_get get = {.data = io,
				  .flags = MESSAGE_DISCARD |
					   (m && m->flags & MSG_PEEK ? MESSAGE_PEEK : 0),
				  .seen = beside,
				  .arg = r};
	int error = message_get(&t->messages, &get);

	if (error)
		return error == -EAGAIN ? nothing(t) : error;
	if (m && get.more & MORE_DATA)
		m->out_flags |= MSG_TRUNC;
	return m && m->flags & MSG_TRUNC ? get.whole : get.data_bytes;
}

static int64_t receive(struct local_socket *t, struct stream_io *io, struct socket_message *m)
{
	struct receiving r = {t, m};
	int64_t result;

	if (t->type != SOCK_STREAM)
		return receive_record(t, io, &r);
	mutex_lock(&t->messages.reader);
	result = message_first(&t->messages) ? receive_bytes(t, io, &r) : nothing(t);
	mutex_unlock(&t->messages.reader);
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
