// SPDX-License-Identifier: BSD-2-Clause
// Names of local sockets (kernel/local.h): abstract ones, which are bytes, and paths. A path's name is a file of the
// volume: bind makes an empty one, which the socket keeps open, and connect finds the socket by the file's device and
// number. So renaming and removing mean what they mean on Linux; what is different is that a file whose socket is
// gone is an empty file, for volumes get no inodes of type socket.
#include "kernel/files.h"
#include "kernel/kstring.h"
#include "kernel/local.h"
#include "kernel/lock.h"
#include "kernel/pmm.h"
#include "kernel/process.h"
#include "kernel/syscall.h"

#define BUCKETS	     256
#define BACKLOG_MOST 4096 // somaxconn

static struct local_socket *buckets[BUCKETS]; // (W) abstract names and files
static uint32_t next_name;		      // (W) for who wants any

static unsigned bucket_of(const struct local_socket *t)
{
	uint64_t hash = t->number * 0x9e3779b97f4a7c15UL + t->device;

	if (!t->file)
		for (uint32_t n = 0; n < t->name.len; n++)
			hash = (hash ^ ((const uint8_t *)&t->name)[n]) * 0x100000001b3UL;
	return (unsigned)(hash >> 40) % BUCKETS;
}

static bool same_name(const struct local_socket *a, const struct local_socket *b)
{
	if (a->file || b->file)
		return a->file && b->file && a->device == b->device && a->number == b->number;
	return a->name.len == b->name.len && !memcmp(&a->name, &b->name, a->name.len);
}

// WTDs off. Who is called as `like` is.
static struct local_socket *look_up(const struct local_socket *like)
{
	struct local_socket *t;

	for (t = buckets[bucket_of(like)]; t && !same_name(t, like); t = t->name_next)
		;
	return t;
}

static void enter(struct local_socket *t)
{
	struct local_socket **bucket = &buckets[bucket_of(t)];

	t->name_next = *bucket;
	*bucket = t;
}

void local_unname(struct local_socket *t)
{
	struct local_socket **link;
	struct stream *file = t->file;

	wtd_disable();
	if (t->name.len && (t->file || !t->name.bytes[0])) {
		for (link = &buckets[bucket_of(t)]; *link && *link != t; link = &(*link)->name_next)
			;
		if (*link)
			*link = t->name_next;
	}
	t->file = NULL;
	wtd_enable();
	if (file)
		stream_put(file);
}

bool local_socket_at(uint64_t device, uint64_t number)
{
	uint64_t hash = number * 0x9e3779b97f4a7c15UL + device;
	const struct local_socket *t;

	wtd_disable();
	for (t = buckets[(unsigned)(hash >> 40) % BUCKETS];
	     t && !(t->file && t->device == device && t->number == number); t = t->name_next)
		;
	wtd_enable();
	return t;
}

// ---- paths ----

// The file of a path's name, opened or made, into t->file, t->device, t->number. Relative to the working directory.
static int open_path(struct local_socket *t, const struct socket_address *name, unsigned flags)
{
	size_t most = name->len - sizeof(name->family), len;
	char *path = kpages_alloc(2 * PATH_BYTES);
	struct stream_stat st;
	int64_t have;
	int error;

	if (!path)
		return -ENOMEM;
	len = strnlen((const char *)name->bytes, most);
	process_get_directory(process_current(), path + PATH_BYTES);
	have = path_normalise(path, path + PATH_BYTES, (const char *)name->bytes, len);
	error = have < 0 ? (int)have : path_open(path, (size_t)have, flags, 0777, &t->file);
	kpages_free(path, 2 * PATH_BYTES);
	if (error)
		return error;
	error = t->file->ops->kind == STREAM_FILE ? stream_stat_of(t->file, &st) : -ECONNREFUSED;
	if (error) {
		stream_put(t->file);
		t->file = NULL;
		return error;
	}
	t->device = st.device;
	t->number = st.number;
	return 0;
}

static bool is_path(const struct socket_address *name)
{
	return name->len > sizeof(name->family) && name->bytes[0];
}

static int check(const struct socket_address *name)
{
	if (name->family != AF_UNIX || name->len < sizeof(name->family) ||
	    name->len > sizeof(name->family) + LOCAL_NAME_MOST)
		return -EINVAL;
	return 0;
}

// ---- bind ----

static int bind_path(struct local_socket *t, const struct socket_address *name)
{
	struct local_socket *scratch = local_make(t->type); // only for its name
	int error;

	if (!scratch)
		return -ENOMEM;
	error = open_path(scratch, name, STREAM_RDWR | OPEN_CREATE | OPEN_EXCLUSIVE);
	wtd_disable();
	if (!error && t->name.len)
		error = -EINVAL;
	if (!error) {
		t->file = scratch->file;
		t->device = scratch->device;
		t->number = scratch->number;
		t->name = *name;
		scratch->file = NULL;
		enter(t);
	}
	wtd_enable();
	if (scratch->file)
		stream_put(scratch->file);
	wtd_disable();
	local_put(scratch);
	wtd_enable();
	return error == -EEXIST ? -EADDRINUSE : error;
}

// WTDs off. "\0" and five digits: unix(7), autobind.
static void any_name(struct local_socket *t)
{
	do {
		uint32_t n = next_name++;

		t->name = (struct socket_address){.family = AF_UNIX, .len = sizeof(uint16_t) + 6};
		for (unsigned i = 5; i; i--, n >>= 4)
			t->name.bytes[i] = (uint8_t) "0123456789abcdef"[n & 15];
	} while (look_up(t));
	enter(t);
}

int local_bind(struct stream *s, const struct socket_address *name)
{
	struct local_socket *t = local_of(s);
	int error = check(name);

	if (error)
		return error;
	if (is_path(name))
		return t->name.len ? -EINVAL : bind_path(t, name);
	wtd_disable();
	if (t->name.len) {
		error = -EINVAL;
	} else if (name->len == sizeof(name->family)) {
		any_name(t);
	} else {
		t->name = *name;
		if (look_up(t)) {
			t->name.len = 0;
			error = -EADDRINUSE;
		} else {
			enter(t);
		}
	}
	wtd_enable();
	return error;
}

int local_find(const struct socket_address *name, int type, struct local_socket **out)
{
	struct local_socket *like, *found;
	int error = check(name);

	if (error)
		return error;
	if (name->len == sizeof(name->family))
		return -EINVAL;
	like = local_make(type);
	if (!like)
		return -ENOMEM;
	like->name = *name;
	if (is_path(name))
		error = open_path(like, name, STREAM_RDONLY);
	wtd_disable();
	if (!error) {
		found = look_up(like);
		if (!found || found->closed)
			error = -ECONNREFUSED;
		else if (found->type != type)
			error = -EPROTOTYPE;
		else
			local_get(*out = found);
	}
	wtd_enable();
	if (like->file)
		stream_put(like->file);
	wtd_disable();
	local_put(like);
	wtd_enable();
	return error;
}

// ---- connect, listen, accept ----

// Datagrams: where to, from now on.
static int connect_datagrams(struct local_socket *t, const struct socket_address *name)
{
	struct local_socket *other = NULL, *old;
	int error = name->family ? local_find(name, t->type, &other) : 0;

	if (error)
		return error;
	wtd_disable();
	old = t->peer;
	if (other && other->peer && other->peer != t) {
		local_put(other);
		error = -EPERM; // it only talks to another one
	} else {
		t->peer = other;
		if (old)
			local_put(old);
	}
	wtd_enable();
	return error;
}

// WTDs off. `server` is the new end that accept will give.
static int meet(struct local_socket *t, struct local_socket *listener, struct local_socket *server)
{
	if (t->state != LOCAL_FRESH)
		return t->state == LOCAL_CONNECTED ? -EISCONN : -EINVAL;
	if (listener->closed || listener->state != LOCAL_LISTENING)
		return -ECONNREFUSED;
	if (listener->queue.queued >= listener->queue.backlog) {
		local_wait_for(t, listener);
		return -EAGAIN;
	}
	server->name = listener->name; // of the listener, which alone is found by it
	server->of = listener->of;
	server->send_bytes = listener->send_bytes;
	server->pass_credentials = listener->pass_credentials;
	t->of = local_self();
	local_join(t, server);
	accept_queue_add(&listener->queue, &server->unaccepted);
	stream_notify(&listener->stream);
	return 0;
}

int local_connect(struct stream *s, const struct socket_address *name)
{
	struct local_socket *t = local_of(s), *listener, *server;
	int error;

	if (t->type == SOCK_DGRAM)
		return connect_datagrams(t, name);
	error = local_find(name, t->type, &listener);
	if (error)
		return error;
	server = local_make(t->type);
	if (!server)
		error = -ENFILE;
	wtd_disable();
	if (!error)
		error = meet(t, listener, server);
	if (error && server)
		local_put(server);
	local_put(listener);
	wtd_enable();
	return error;
}

int local_listen(struct stream *s, int backlog)
{
	struct local_socket *t = local_of(s);
	int error = 0;

	if (t->type == SOCK_DGRAM)
		return -EOPNOTSUPP;
	wtd_disable();
	if (!t->name.len || t->state == LOCAL_CONNECTED) {
		error = -EINVAL;
	} else {
		t->queue.backlog = (uint32_t)MIN(MAX(backlog, 0), BACKLOG_MOST - 1) + 1;
		t->state = LOCAL_LISTENING;
		t->of = local_self();
		local_has_room(t);
	}
	wtd_enable();
	return error;
}

int local_accept(struct stream *s, struct stream **out, struct socket_address *name)
{
	struct local_socket *l = local_of(s), *t;

	if (l->type == SOCK_DGRAM)
		return -EOPNOTSUPP;
	wtd_disable();
	t = local_unaccepted(accept_queue_take(&l->queue));
	if (t) {
		*name = (struct socket_address){.family = AF_UNIX, .len = sizeof(name->family)};
		if (t->peer && t->peer->name.len)
			*name = t->peer->name;
		local_has_room(l);
	}
	wtd_enable();
	if (!t)
		return l->state == LOCAL_LISTENING ? -EAGAIN : -EINVAL;
	*out = &t->stream;
	return 0;
}

int local_name(struct stream *s, bool peer, struct socket_address *out)
{
	struct local_socket *t = local_of(s);
	const struct local_socket *whose;
	int error = 0;

	wtd_disable();
	whose = peer ? t->peer : t;
	*out = (struct socket_address){.family = AF_UNIX, .len = sizeof(out->family)};
	if (!whose)
		error = -ENOTCONN;
	else if (whose->name.len)
		*out = whose->name;
	wtd_enable();
	return error;
}
