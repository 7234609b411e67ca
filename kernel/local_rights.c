// SPDX-License-Identifier: BSD-2-Clause
// Descriptors that lie in messages of local sockets (kernel/local.h): under way, they are references that no process
// has. Sockets that are only held by messages in each other's queues would stay for ever; who drops a reference to a
// stream that flies, so that only flying ones are left (stream_put), has them looked for:
//
//   in question   each local socket all of whose references fly
//   alive         of those, the ones that lie in a queue that is not itself in question; and what lies in theirs
//   the rest      their messages' descriptors are dropped, and with them they go
//
// What is dropped is dropped by a work of its own, one after the other, for what goes may be a queue with more.
#include "kernel/files.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/local.h"
#include "kernel/lock.h"
#include "kernel/pool.h"
#include "kernel/process.h"
#include "kernel/wtd.h"

#define RIGHTS_MOST 253	 // of one message: SCM_MAX_FD
#define FLYING_MOST 4096 // in all, so that looking for the lost takes no long time with WTDs off

struct local_rights {
	struct local_rights *next;     // (W) of the socket's, or of those to be dropped
	struct local_message *message; // whose they are; null: not attached
	uint32_t count;
	struct stream *streams[RIGHTS_MOST]; // a reference to each
};

static struct pool rights_pool = POOL_INIT_RAW("descriptors under way", struct local_rights, 1024);
static uint64_t flying_all;	     // (W)
static struct local_socket *flying;  // (W) local sockets among them
static struct local_rights *to_drop; // (W)
static uint64_t collected;
KSTAT_GAUGE(flying_all, "pagewire_descriptors_under_way",
	    "Descriptors in messages of local sockets.");
KSTAT_COUNTER(collected, "pagewire_local_sockets_collected_total",
	      "Local sockets that only each other's messages held.");

static struct local_socket *local_socket(struct stream *s)
{
	return s->ops == &local_stream_ops ? local_of(s) : NULL;
}

// ---- up and down: WTDs off ----

static void take_off(struct stream *s)
{
	struct local_socket *t = local_socket(s);

	flying_all++;
	s->flying++;
	if (!t || t->flies)
		return;
	t->flies = true;
	t->flying_prev = NULL;
	t->flying_next = flying;
	if (flying)
		flying->flying_prev = t;
	flying = t;
}

static void land(struct stream *s)
{
	struct local_socket *t = local_socket(s);

	flying_all--;
	if (--s->flying || !t)
		return;
	t->flies = false;
	*(t->flying_prev ? &t->flying_prev->flying_next : &flying) = t->flying_next;
	if (t->flying_next)
		t->flying_next->flying_prev = t->flying_prev;
}

void local_rights_attach(struct local_socket *to, struct local_message *message,
			 struct local_rights *r)
{
	r->message = message;
	r->next = NULL;
	message->rights = r;
	*to->rights_end = r;
	to->rights_end = &r->next;
}

struct local_rights *local_rights_detach(struct local_socket *t, struct local_message *message)
{
	struct local_rights *r = message->rights, **link;

	if (!r)
		return NULL;
	for (link = &t->rights; *link != r; link = &(*link)->next)
		;
	*link = r->next;
	if (!r->next)
		t->rights_end = link;
	message->rights = NULL;
	r->message = NULL;
	return r;
}

// ---- dropping ----

static void drop(struct wtd *work)
{
	struct local_rights *r;

	for (;;) {
		wtd_disable();
		r = to_drop;
		if (r) {
			to_drop = r->next;
			for (uint32_t n = 0; n < r->count; n++)
				land(r->streams[n]);
		}
		wtd_enable();
		if (!r)
			return;
		for (uint32_t n = 0; n < r->count; n++)
			stream_put(r->streams[n]);
		pool_free(&rights_pool, r);
	}
}
static struct wtd drop_work = WTD_INIT(drop, "descriptors under way");

void local_rights_drop(struct local_rights *r)
{
	if (!r)
		return;
	wtd_disable();
	r->next = to_drop;
	to_drop = r;
	wtd_enable();
	wtd_post(&drop_work);
}

// ---- the lost ----

// Each local socket in question that lies in t's queues: in its own, and in those of sockets it has not accepted yet.
static void visit(struct local_socket *t, void (*fn)(struct local_socket *, void *), void *arg)
{
	struct local_socket *holder = t, *waiting = local_unaccepted(t->queue.first);

	while (holder) {
		for (const struct local_rights *r = holder->rights; r; r = r->next)
			for (uint32_t n = 0; n < r->count; n++) {
				struct local_socket *other = local_socket(r->streams[n]);

				if (other && other->in_question)
					fn(other, arg);
			}
		holder = waiting;
		waiting = waiting ? local_unaccepted(waiting->unaccepted.next) : NULL;
	}
}

static void count_inside(struct local_socket *t, void *arg)
{
	t->outside--;
}

static void found_alive(struct local_socket *t, void *arg)
{
	struct local_socket **todo = arg;

	t->in_question = false;
	t->alive_next = *todo;
	*todo = t;
}

static struct local_rights *take_rights(struct local_socket *t, struct local_rights *list)
{
	struct local_socket *holder = t, *waiting = local_unaccepted(t->queue.first);
	struct local_rights *r;

	while (holder) {
		while ((r = holder->rights)) {
			(void)local_rights_detach(holder, r->message);
			r->next = list;
			list = r;
		}
		holder = waiting;
		waiting = waiting ? local_unaccepted(waiting->unaccepted.next) : NULL;
	}
	return list;
}

static void collect(struct wtd *work)
{
	struct local_socket *todo = NULL, *t;
	struct local_rights *lost = NULL, *r;

	wtd_disable();
	for (t = flying; t; t = t->flying_next) {
		t->in_question = t->stream.references == t->stream.flying;
		t->outside = t->stream.flying;
	}
	for (t = flying; t; t = t->flying_next)
		if (t->in_question)
			visit(t, count_inside, NULL);
	for (t = flying; t; t = t->flying_next)
		if (t->in_question && t->outside)
			found_alive(t, &todo);
	while ((t = todo)) {
		todo = t->alive_next;
		visit(t, found_alive, &todo);
	}
	for (t = flying; t; t = t->flying_next)
		if (t->in_question) {
			collected++;
			t->in_question = false;
			lost = take_rights(t, lost);
		}
	wtd_enable();
	while ((r = lost)) {
		lost = r->next;
		local_rights_drop(r);
	}
}
static struct wtd collect_work = WTD_INIT(collect, "local sockets, lost");

void stream_only_flies(void)
{
	wtd_post(&collect_work);
}

// ---- from and to programs ----

static int take_credentials(const struct control *c, struct local_credentials *sender)
{
	struct local_credentials given;

	if (c->len != sizeof(given))
		return -EINVAL;
	memcpy(&given, c->data, sizeof(given));
	if (given.pid != sender->pid)
		return -EPERM; // whoever else it says to be
	*sender = given;
	return 0;
}

static int take_descriptors(const struct control *c, struct local_rights **out)
{
	uint32_t count = c->len / sizeof(int);
	struct local_rights *r;
	int fd;

	if (count > RIGHTS_MOST || *out)
		return -EINVAL;
	if (!count)
		return 0;
	if (flying_all + count > FLYING_MOST)
		return -ETOOMANYREFS;
	*out = r = pool_alloc(&rights_pool);
	if (!r)
		return -ETOOMANYREFS;
	r->count = 0;
	r->message = NULL;
	for (uint32_t n = 0; n < count; n++) {
		struct stream *s;

		memcpy(&fd, (const char *)c->data + n * sizeof(fd), sizeof(fd));
		s = files_find(fd);
		if (!s)
			return -EBADF;
		wtd_disable();
		take_off(s);
		r->streams[r->count++] = s;
		wtd_enable();
	}
	return 0;
}

int local_rights_take(const struct socket_message *m, struct local_credentials *sender,
		      struct local_rights **out)
{
	struct control c;
	uint32_t at = 0;
	int more, error = 0;

	*out = NULL;
	while (!error && (more = control_next(m, &at, &c))) {
		if (more < 0)
			error = more;
		else if (c.level != SOL_SOCKET)
			continue;
		else if (c.type == SCM_RIGHTS)
			error = take_descriptors(&c, out);
		else if (c.type == SCM_CREDENTIALS)
			error = take_credentials(&c, sender);
		else
			error = -EINVAL;
	}
	if (error) {
		local_rights_drop(*out);
		*out = NULL;
	}
	return error;
}

// As many as the program has room for, in its buffer and in its table.
void local_rights_receive(struct local_message *message, struct socket_message *m)
{
	const struct local_rights *r = message->rights;
	uint32_t room = control_room(m) / (uint32_t)sizeof(int), count = 0;
	int fds[RIGHTS_MOST];

	for (; count < MIN(r->count, room); count++) {
		struct stream *s = r->streams[count];

		stream_get(s);
		fds[count] = files_take(s, 0, m->flags & MSG_CMSG_CLOEXEC);
		if (fds[count] < 0) {
			stream_put(s);
			break;
		}
	}
	if (count)
		control_put(m, SOL_SOCKET, SCM_RIGHTS, fds, count * (uint32_t)sizeof(int));
	if (count < r->count)
		m->out_flags |= MSG_CTRUNC;
}
