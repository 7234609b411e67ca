// SPDX-License-Identifier: BSD-2-Clause
// TCP sockets of programs that listen (net/socket_tcp.h). Several of them may share a port (SO_REUSEPORT): lwIP has one
// listening pcb for all, they form a ring, and a new connection goes to one of them by the hash of its addresses and
// ports, which peers do not know. Who of them closes takes with it what waits in its own queue: those connections are
// reset. What has not yet said its third word, the ring's others get.
#include "kernel/kstat.h"
#include "kernel/lock.h"
#include "lwip/priv/tcp_priv.h"
#include "net/socket_tcp.h"
#include "net/stack.h"

static uint64_t refused, orphaned;
KSTAT_COUNTER(refused, "pagewire_socket_refused_total",
	      "Connections reset because a program's backlog or memory was full.");
KSTAT_COUNTER(
    orphaned, "pagewire_socket_orphaned_total",
    "Connections reset because the socket was closed at which they waited to be accepted.");

// ---- a port of one's own, or with others ----

static bool in_the_way(const struct tcp_pcb *list, const struct tcp_pcb *own, const ip_addr_t *ip,
		       uint16_t port, uint8_t bits)
{
	for (; list; list = list->next)
		if (list != own && list->local_port == port &&
		    socket_same_place(&list->local_ip, ip) &&
		    !socket_share_may(bits, list->so_options, list->state == LISTEN))
			return true;
	return false;
}

int tcp_socket_claim(struct tcp_socket *t, const ip_addr_t *ip, uint16_t port)
{
	uint8_t bits = socket_share_bits(&t->common);
	int error;

	if (port && (in_the_way(tcp_bound_pcbs, t->pcb, ip, port, bits) ||
		     in_the_way(tcp_listen_pcbs.pcbs, t->pcb, ip, port, bits)))
		return -EADDRINUSE;
	t->pcb->so_options |= bits;
	error = socket_error_of(tcp_bind(t->pcb, ip, port));
	if (error)
		t->pcb->so_options &= (u8_t)~bits;
	return error;
}

// ---- the ring ----

static struct tcp_socket *before(struct tcp_socket *t)
{
	struct tcp_socket *m = t;

	while (m->next_listener != t)
		m = m->next_listener;
	return m;
}

// The one for this connection; if its queue is full, the next one that has room.
static struct tcp_socket *choose(struct tcp_socket *first, const struct tcp_pcb *pcb)
{
	struct tcp_socket *m = first;
	uint32_t count = 1, which;

	while ((m = m->next_listener) != first)
		count++;
	for (which = (uint32_t)((uint64_t)pcb->node.hash * count >> 32); which; which--)
		m = m->next_listener;
	while (count-- && m->queue.queued >= m->queue.backlog)
		m = m->next_listener;
	return m;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct tcp_socket *l, *t;

	if (err != ERR_OK || !pcb)
		return ERR_VAL;
	l = choose(arg, pcb);
	t = l->queue.queued < l->queue.backlog ? tcp_socket_make(l->common.v6) : NULL;
	if (!t) {
		refused++;
		tcp_abort(pcb);
		return ERR_ABRT;
	}
	t->state = OPEN;
	tcp_socket_attach(t, pcb);
	t->options = l->options;
	t->linger_on = l->linger_on;
	t->linger_seconds = l->linger_seconds;
	t->common.receive_ns = l->common.receive_ns;
	t->common.send_ns = l->common.send_ns;
	t->common.receive_bytes = l->common.receive_bytes;
	t->common.send_bytes = l->common.send_bytes;
	tcp_socket_apply(t);
	tcp_socket_apply_window(t);
	accept_queue_add(&l->queue, &t->unaccepted);
	stream_notify(stream_of(l));
	return ERR_OK;
}

// The pcb that listens where this one is bound, of those that may share; null: none.
static struct tcp_pcb *to_share(const struct tcp_pcb *pcb)
{
	struct tcp_pcb_listen *l = tcp_listen_pcbs.listen_pcbs;

	if (!(pcb->so_options & SHARES_PORT))
		return NULL;
	while (l && (l->accept != on_accept || !(l->so_options & SHARES_PORT) ||
		     l->local_port != pcb->local_port ||
		     IP_GET_TYPE(&l->local_ip) != IP_GET_TYPE(&pcb->local_ip) ||
		     !ip_addr_eq(&l->local_ip, &pcb->local_ip)))
		l = l->next;
	return (struct tcp_pcb *)l;
}

// WTDs off; t->pcb is bound.
static int start(struct tcp_socket *t)
{
	struct tcp_pcb *own = t->pcb, *listener = to_share(own);
	err_t err = ERR_OK;

	if (!listener &&
	    in_the_way(tcp_listen_pcbs.pcbs, own, &own->local_ip, own->local_port, own->so_options))
		return -EADDRINUSE;
	tcp_socket_detach(own);
	if (listener) {
		struct tcp_socket *first = listener->callback_arg;

		tcp_close(own);
		t->next_listener = first->next_listener;
		first->next_listener = t;
	} else {
		listener =
		    tcp_listen_with_backlog_and_err(own, (u8_t)MIN(t->queue.backlog, 255U), &err);
		if (!listener) {
			tcp_socket_attach(t, own);
			return socket_error_of(err);
		}
		tcp_arg(listener, t);
		tcp_accept(listener, on_accept);
	}
	t->pcb = listener;
	t->state = LISTENING;
	return 0;
}

int tcp_socket_listen(struct stream *s, int backlog)
{
	struct tcp_socket *t = tcp_of(s);
	int error = 0;

	wtd_disable();
	t->queue.backlog = (uint32_t)MIN(MAX(backlog, 1), 4096);
	if (t->state != LISTENING) {
		error = t->state != FRESH ? -EINVAL : tcp_socket_need_pcb(t);
		if (!error && !t->pcb->local_port)
			error = tcp_socket_claim(t, &t->pcb->local_ip, 0);
		if (!error)
			error = start(t);
	}
	wtd_enable();
	return error;
}

// WTDs off. The oldest that waits, or null.
static struct tcp_socket *take(struct tcp_socket *l)
{
	struct accept_entry *entry = accept_queue_take(&l->queue);

	return entry ? CONTAINER_OF(entry, struct tcp_socket, unaccepted) : NULL;
}

int tcp_socket_accept(struct stream *s, struct stream **out, struct socket_address *name)
{
	struct tcp_socket *l = tcp_of(s), *t;

	wtd_disable();
	t = take(l);
	if (t) {
		if (t->pcb)
			socket_from_ip(&t->common, &t->pcb->remote_ip, t->pcb->remote_port, name);
		else
			*name = (struct socket_address){0};
	}
	wtd_enable();
	if (!t)
		return l->state == LISTENING ? -EAGAIN : -EINVAL;
	*out = stream_of(t);
	return 0;
}

void tcp_socket_stop_listening(struct tcp_socket *t)
{
	struct tcp_socket *waiting, *other = t->next_listener;

	while ((waiting = take(t))) {
		if (waiting->pcb) {
			orphaned++;
			tcp_socket_detach(waiting->pcb);
			tcp_abort(waiting->pcb);
		}
		tcp_socket_forget(waiting);
	}
	if (other != t) {
		before(t)->next_listener = other;
		tcp_arg(t->pcb, other);
	} else {
		tcp_arg(t->pcb, NULL);
		tcp_accept(t->pcb, NULL);
		tcp_close(t->pcb);
	}
	t->pcb = NULL;
	stack_flush();
}
